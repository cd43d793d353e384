"""F14 (run files): damaged and truncated run files. Holds when reading one gives a message or the true numbers, never
a crash, never another number."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.facts.fact import Fact
from opsicm.record.shared_recorder import SharedRecorder

_PATIENCE = 120.0  # [s] for a whole batch: HDF5 can loop for ever over damaged metadata
_READER = str(Path(__file__).with_name("read_all.py"))


def whole(where: Path) -> Path:
    """A small run with a little of everything."""
    stream = Stream(channels=2, samples=2_000, per_segment=4)
    pool = stream.pool()
    recorder = SharedRecorder(folder(where))
    recorder.open(stream.header())
    for k in range(6):
        recorder.block(stream.block(pool, k))
        recorder.reading(stream.reading(k))
        recorder.fact(stream.fact(k, k))
    recorder.fact(Fact(6, 10**9, "run_ended", "run", "run", {"outcome": "completed"}))
    return recorder.close()


def damage(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """The bytes with one thing wrong, and what."""
    kind = draw.choice(["cut", "bit", "byte", "zeros", "noise", "shift"])
    at = draw.randrange(len(data))
    n = draw.choice([16, 512, 4096])
    if kind == "cut":
        return data[:at], f"cut at {at}"
    if kind == "bit":
        return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :], f"bit at {at}"
    if kind == "byte":
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :], f"byte at {at}"
    if kind == "zeros":
        return (data[:at] + bytes(n) + data[at + n :])[: len(data)], f"{n} zeros at {at}"
    if kind == "noise":
        return (data[:at] + draw.randbytes(n) + data[at + n :])[: len(data)], f"{n} bytes of noise at {at}"
    return data[:at] + draw.randbytes(1) + data[at:], f"a byte inserted at {at}"


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """100 in short, 1 000 in full; read in another process, so that a crash of the library would be seen."""
    n = 100 if short else 1000
    with tempfile.TemporaryDirectory() as where:
        good = whole(Path(where))
        data = good.read_bytes()
        names = []
        for k in range(n):
            bad, what = damage(data, draw)
            (Path(where) / f"{k}.nxs").write_bytes(bad)
            names.append(what)
        todo, crashes, said = list(range(n)), [], {"message": 0, "same": 0}
        wrong: list[str] = []
        while todo:
            files = [f"{Path(where) / str(k)}.nxs" for k in todo]
            command = [sys.executable, "-W", "error", _READER, str(good), *files]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
            except subprocess.TimeoutExpired as hung:
                text = hung.stdout.decode() if isinstance(hung.stdout, bytes) else hung.stdout or ""
                done = subprocess.CompletedProcess(command, -1, text, f"hung for {_PATIENCE:g} s")
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            for k, answer in zip(todo, answers, strict=False):
                if answer in said:
                    said[answer] += 1
                else:
                    wrong.append(f"{names[k]}: {answer}")
            if len(answers) == len(todo):
                break
            crashes.append(f"{names[todo[len(answers)]]}: ended with {done.returncode} {done.stderr[-200:]}")
            todo = todo[len(answers) + 1 :]
    seen = f"{said['message']} a message, {said['same']} read true, {len(wrong)} another number, {len(crashes)} crashes"
    seen += "".join(f"; {text}" for text in [*wrong, *crashes][:3])
    return [Outcome("F14", "damaged or truncated run files", n, seen, not wrong and not crashes)]
