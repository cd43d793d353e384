"""An emulated Zaber stage on a line that takes one client, with the twin's coarse stage behind it.

Protocol: Zaber Technologies, *ASCII Protocol Manual*, firmware 7 (zaber.com/protocol-manual), sections "Message
Format", "Warning Flags", "Commands" and "Settings"; and what `zaber-motion` 10.3 sends, which was logged here.
Left out: alerts, info messages, streams, lockstep, several axes, and `home`, because opsicm never homes.
"""

from __future__ import annotations

import re
import socket
from typing import Final

from opsicm.emulators.paced_world import PacedWorld, carriage
from opsicm.emulators.registry import Entry
from opsicm.emulators.tcp_server import TcpServer
from opsicm.emulators.wire_faults import WireFaults

FAULTS: Final = ("late", "silent", "busy", "partial", "reset", "garbage", "nan", "stuck")
_GARBAGE: Final = b"\xff\x00?!@@ 7\r\n"
# An X-LSM025A: a lead screw with 25.4 mm of travel, 47.625 nm a microstep at its resolution of 64 (data sheet).
STEP: Final = 47.625e-9  # [m]
LIMIT_MAX: Final = 533_333
ACCELERATION: Final = 205  # the default of that stage, as the settings motion.accelonly and motion.decelonly say it
# Manual, settings maxspeed and accel: 1/1.6384 microsteps a second, and 10⁴/1.6384 of them a second squared.
SPEED_UNIT: Final = STEP / 1.6384  # [m/s]
ACCELERATION_UNIT: Final = 1e4 * STEP / 1.6384  # [m/s²]
MAX_SPEED: Final = 153_600
# Manual, "Commands": "/", then address, axis and message number where there are any, the command, and ":" with the
# checksum. Logged: b"/1 1 04 move abs 1000 1000:0B\n".
_COMMAND: Final = re.compile(r"/(?:(\d+)(?: (\d+)(?: (\d+|--))?)?)? ?([^:]*?)(?::([0-9A-F]{2}))?\r?")
_LONGEST: Final = 256  # [bytes]


class ZaberDevice:
    """One axis. `up` is how it is mounted; the pipette stands at half travel when the world begins.

    `flags` are the warning flags that it shows; while it has one that begins with F it does not move. `arrival_ns` of
    the world's time is when the present or last motion ends.
    """

    def __init__(self, world: PacedWorld, address: str, up: int = 1, clients: int = 1) -> None:
        self._world, self._up = world, up
        self._start = world.ask(lambda rig: rig.coarse_stage.position())
        self.arrival_ns = 0
        self._stuck: str | None = None
        self.flags: set[str] = set()
        self.faults = WireFaults("a Zaber stage", FAULTS)
        self._server = TcpServer(address, self._talk, clients)
        self.address = self._server.address

    def close(self) -> None:
        """Leave the wire."""
        self._server.close()

    def stall(self) -> None:
        """Stop where it is, as a lead screw does that meets something: flag FS, "Stalled and Stopped"."""
        self.flags.add("FS")
        self._stop()

    # -- the axis ---------------------------------------------------------------------------------------------------

    def _position(self) -> int:
        height = self._world.ask(lambda rig: rig.coarse_stage.position())
        return LIMIT_MAX // 2 + self._up * round((height - self._start) / STEP)

    def _busy(self) -> bool:
        return self._world.ask(lambda rig: rig.clock.now_ns()) < self.arrival_ns

    def _stop(self) -> None:
        self.arrival_ns = self._world.ask(lambda rig: carriage(rig).drive(rig.coarse_stage.position()))

    def _move(self, position: int, speed: int) -> None:
        """The twin's motor knows no acceleration: it goes at the mean speed, so that it arrives when a real one would.

        Manual, "move abs": the speed rises and falls by accel, and stays below it where the way is too short.
        """
        distance = abs(position - self._position()) * STEP
        rate, change = speed * SPEED_UNIT, ACCELERATION * ACCELERATION_UNIT
        longer = distance > rate * rate / change
        seconds = distance / rate + rate / change if longer else 2.0 * (distance / change) ** 0.5
        height = self._start + self._up * (position - LIMIT_MAX // 2) * STEP
        mean = distance / seconds if seconds > 0.0 else None
        self.arrival_ns = self._world.ask(lambda rig: carriage(rig).drive(height, mean))

    # -- the wire ---------------------------------------------------------------------------------------------------

    def _talk(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            while line := lines.readline(_LONGEST):
                answer = self._answer(line)
                if answer is not None and not self._server.send(client, answer, self.faults, _GARBAGE):
                    return

    def _answer(self, line: bytes) -> bytes | None:
        """The reply to a command; None where the manual says that it is ignored: no command, or a wrong checksum."""
        text = line.decode("ascii", "replace").rstrip("\r\n")
        parts = _COMMAND.fullmatch(text)
        if parts is None:
            return None
        address, axis, number, command, checksum = parts.groups()
        if checksum is not None and checksum != _checksum(text[1 : text.rindex(":")]):
            return None
        if int(address or 0) not in (0, 1):  # another device of the chain
            return None
        flag, data = self._do(command)
        # Manual, "Replies": "@", address of two digits, axis, message number where there was one, OK or RJ, BUSY or
        # IDLE, the warning flag of highest priority or "--", data.
        status, warning = "BUSY" if self._busy() else "IDLE", min(self.flags, default="--")
        head = f"01 {axis or 0}" if number is None else f"01 {axis or 0} {number}"
        body = f"{head} {flag} {status} {warning} {data}"
        return f"@{body}:{_checksum(body)}\r\n".encode("ascii")

    def _do(self, command: str) -> tuple[str, str]:
        """(reply flag, data). Manual, "Rejection reasons": BADCOMMAND, BADDATA, STATUSBUSY."""
        if self.faults.takes("busy") is not None:
            return "RJ", "STATUSBUSY"
        match command.split():
            case []:
                return "OK", "0"
            case ["get", setting]:
                return self._get(setting)
            case ["warnings"]:  # "01 WR": how many, and each
                return "OK", " ".join([f"{len(self.flags):02d}", *sorted(self.flags)])
            case ["stop"]:
                self._stop()
                return "OK", "0"
            case ["move", "abs", position, *rest] if position.lstrip("-").isdecimal():
                speed = int(rest[0]) if rest and rest[0].isdecimal() else MAX_SPEED
                if not 0 <= int(position) <= LIMIT_MAX or not 0 < speed <= MAX_SPEED:
                    return "RJ", "BADDATA"
                if any(flag.startswith("F") for flag in self.flags):
                    return "RJ", "DRIVERDISABLED"
                self._move(int(position), speed)
                return "OK", "0"
            case _:
                return "RJ", "BADCOMMAND"

    def _get(self, setting: str) -> tuple[str, str]:
        if setting == "pos":
            if self.faults.takes("nan") is not None:
                return "OK", "NA"  # manual: of an axis that has no such value
            if self.faults.takes("stuck") is None:
                self._stuck = None
                return "OK", str(self._position())
            self._stuck = self._stuck or str(self._position())
            return "OK", self._stuck
        settings = {
            "device.id": "50081",
            "system.serial": "12345",
            "version": "7.38",
            "limit.min": "0",
            "limit.max": str(LIMIT_MAX),
            "maxspeed": str(MAX_SPEED),
            "motion.accelonly": str(ACCELERATION),
            "motion.decelonly": str(ACCELERATION),
        }
        return ("OK", settings[setting]) if setting in settings else ("RJ", "BADCOMMAND")


def _checksum(message: str) -> str:
    """Manual, "Checksumming": two hexadecimal digits that bring the sum of the message's bytes to 0 modulo 256."""
    return f"{-sum(message.encode('ascii', 'replace')) & 0xFF:02X}"


def serve(world: PacedWorld, entry: Entry) -> ZaberDevice:
    """Put the stage of a rig file on the wire, mounted as the file says, for one client or for several."""
    settings = entry.roles["coarse_stage"].settings
    clients = 4 if settings.get("shared_line") else 1
    return ZaberDevice(world, entry.address, -1 if settings.get("up") == -1 else 1, clients)
