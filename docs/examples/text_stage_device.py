"""The stage of text_stage.py, for who has none: `python text_stage_device.py 4000` serves it until Ctrl-C."""

from __future__ import annotations

import socketserver
import sys
import time


class Stage:
    """A stage that goes from `start` to `target` [nm] at `speed` [nm/s]."""

    def __init__(self) -> None:
        self.start = self.target = 2_000_000.0
        self.speed, self.began = 1.0, time.monotonic()

    def position(self) -> float:
        way = self.target - self.start
        gone = self.speed * (time.monotonic() - self.began)
        return self.target if gone >= abs(way) else self.start + gone * (1 if way > 0 else -1)

    def answer(self, line: str) -> str:
        """The answer to one line of a client."""
        word, *numbers = line.split()
        if word == "*IDN?":
            return "ACME,TS-25,0042,1.7"
        if word == "POS?":
            return f"{self.position():.0f}"
        self.start = self.position()
        self.target, self.speed = (float(numbers[0]), float(numbers[1])) if word == "MOVE" else (self.start, 1.0)
        self.began = time.monotonic()
        return "OK"


class Server(socketserver.ThreadingTCPServer):
    """One stage, any number of clients."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int) -> None:
        self.stage = Stage()
        super().__init__(("127.0.0.1", port), _Client)


class _Client(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(f"{self.server.stage.answer(line.decode())}\n".encode())


if __name__ == "__main__":
    with Server(int(sys.argv[1])) as server:
        server.serve_forever()
