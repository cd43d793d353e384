"""IO Rodeo's Rodeostat on a pseudo-terminal, the twin's cell at its electrodes.

Written from its firmware, https://github.com/iorodeo/potentiostat at 86e4708 (FW0.1.0, hardware V0.2, 10 mA variant on
an ItsyBitsy M4), `firmware/libraries/potentiostat/`: `ps_system_state.cpp` (commands), `ps_constants.cpp` (names and
ranges), `ps_range.h` (converters), `ps_message_sender.cpp` (answers). Its running tests (`runTest`) are not emulated.
"""

from __future__ import annotations

import json
import os
import pty
import select
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import BadInput, Problem
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.controls import CellControl, OpenCircuit, PotentialRamp
from opsicm.instruments.clock import pause
from opsicm.instruments.roles import Rig

FAULTS: Final = ("late", "silent", "partial", "reset", "garbage", "nan", "stuck", "detached")
_STEPS: Final = 4095  # analogWriteResolution and analogReadResolution of an ItsyBitsy M4 are 12
_BUFFER: Final = 2000  # SerialBufferSize
_VOLT_RANGES: Final = {"1V": 1.0, "2V": 2.0, "5V": 5.0, "10V": 10.0}
_CURR_RANGES: Final = {"10uA": 10.0, "100uA": 100.0, "1000uA": 1000.0, "10000uA": 10000.0}


def converted(value: float, reach: float) -> float:
    """`value` as a converter over ± `reach` gives it back: `valueToInt`, then `intToValue` of ps_range.h."""
    steps = int(_STEPS / (2.0 * reach) * (reach - value))
    return reach - min(max(steps, 0), _STEPS) / _STEPS * 2.0 * reach


class _Firmware:
    """The state after `SystemState::initialize`: 0 V in the 1 V range, all electrodes off."""

    def __init__(self, world: PacedWorld, faults: WireFaults) -> None:
        self._world, self._faults = world, faults
        self.switched_on()

    def switched_on(self) -> None:
        """As after a reset."""
        self.volt_range, self.ref_range, self.curr_range = "1V", "1V", "100uA"
        self.volt = 0.0
        self.electrodes = dict.fromkeys(("Ref", "Ctr", "Wrk"), False)
        self.stuck: float | None = None
        self._update()

    def answer(self, line: str) -> dict[str, Any]:
        """`CommandTable::apply`, and what `sendCommandResponse` makes of it."""
        response: dict[str, Any] = {}
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return {"success": False, "message": "unable to parse json", "response": response}
        if "command" not in message:
            return {"success": False, "message": "CommandTable: command not found", "response": response}
        command = str(message["command"]).strip()
        response["command"] = message["command"]
        failure = self._apply(command, message, response)
        if failure is not None:
            return {"success": False, "message": failure, "response": response}
        return {"success": True, "response": response}

    def _apply(self, command: str, message: dict[str, Any], response: dict[str, Any]) -> str | None:
        match command:
            case "getVersion":
                response["version"] = "FW0.1.0"
            case "getVariant":
                response["variant"] = "10V_10MilliAmpV0.2"
            case "getHardwareVersion":
                response["version"] = "V0.2"
            case "getDeviceId":
                response["deviceId"] = 7
            case "stopTest":
                pass
            case "setVolt":
                if not isinstance(message.get("v"), int | float):
                    return "json does not contain key: v" if "v" not in message else "unable to convert volt to float"
                # SignDac is -1: the reference is driven.
                self.volt = -converted(-float(message["v"]), _VOLT_RANGES[self.volt_range])
                self._update()
                response["v"] = round(self.volt, 6)
            case "getVolt":
                response["v"] = round(self.volt, 6)
            case "getCurr":
                current = self._cell().current * 1e6 if self._closed() else 0.0
                response["i"] = round(converted(current, _CURR_RANGES[self.curr_range]), 6)
            case "getRefVolt":
                shown = converted(self._reference(), _VOLT_RANGES[self.ref_range])
                response["r"] = float("nan") if self._faults.takes("nan") is not None else round(shown, 6)
            case "setVoltRange" | "setRefElectVoltRange" | "setCurrRange":
                return self._set_range(command, message, response)
            case "getVoltRange":
                response["voltRange"] = self.volt_range
            case "getRefElectVoltRange":
                response["voltRange"] = self.ref_range
            case "getCurrRange":
                response["currRange"] = self.curr_range
            case _:
                return self._electrodes(command, message, response)
        return None

    def _set_range(self, command: str, message: dict[str, Any], response: dict[str, Any]) -> str | None:
        key, known = ("currRange", _CURR_RANGES) if command == "setCurrRange" else ("voltRange", _VOLT_RANGES)
        if key not in message:
            return f"json does not contain key: {key}"
        name = str(message[key])
        attribute = {"setVoltRange": "volt_range", "setCurrRange": "curr_range"}.get(command, "ref_range")
        if name in known:
            setattr(self, attribute, name)
        response[key] = getattr(self, attribute)
        return None if name in known else f"{key}, {name}, not found"

    def _electrodes(self, command: str, message: dict[str, Any], response: dict[str, Any]) -> str | None:
        name = command[3:].removesuffix("ElectConnected")
        known = ("All", *self.electrodes)
        if command[:3] not in {"get", "set"} or not command.endswith("ElectConnected") or name not in known:
            return f"command, {command}, not found"
        if command.startswith("set"):
            if "connected" not in message:
                return "json does not contain key: connected"
            if not isinstance(message["connected"], bool):
                return "unable to convert 'connected' to bool"
            for each in self.electrodes if name == "All" else (name,):
                self.electrodes[each] = message["connected"]
            self._update()
        response["connected"] = all(self.electrodes.values()) if name == "All" else self.electrodes[name]
        return None

    def _closed(self) -> bool:
        return all(self.electrodes.values())

    def _cell(self) -> Any:
        return self._world.ask(lambda rig: rig.potentiostat.read())

    def _reference(self) -> float:
        """[V] of working against reference electrode; an input without a wire floats to the end of its range."""
        if self._faults.takes("detached") is not None or not self.electrodes["Ref"]:
            return _VOLT_RANGES[self.ref_range]
        shown = self._cell().potential
        if self._faults.takes("stuck") is not None:
            self.stuck = shown if self.stuck is None else self.stuck
            return float(self.stuck)
        self.stuck = None
        return float(shown)

    def _update(self) -> None:
        """Let the cell see what is set; without its reference or its counter there is no loop."""
        control: CellControl = PotentialRamp(self.volt) if self._closed() else OpenCircuit()

        def apply(rig: Rig) -> None:
            rig.potentiostat.apply(control, rig.clock.now_ns())

        self._world.ask(apply)


class SerialPotentiostat:
    """The instrument at a pseudo-terminal; `address` is a link to it that is made, and removed at the end."""

    def __init__(self, world: PacedWorld, entry: Entry) -> None:
        self.faults = WireFaults(entry.driver, FAULTS)
        self.firmware = _Firmware(world, self.faults)
        self._link = Path(entry.address) if entry.address else None
        if self._link is not None:
            _refuse_what_is_not_ours(self._link)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self._tty = self.address = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.address)
            self.address = str(self._link)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="rodeostat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        if self._link is not None and _leads_to(self._link) == self._tty:  # else another emulator has taken the name
            self._link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)

    def _serve(self) -> None:
        received = bytearray()
        while not self._closing.is_set():
            if not select.select([self._master], [], [], 0.02)[0]:
                continue
            with suppress(OSError):
                received += os.read(self._master, _BUFFER)
            while (end := received.find(b"\n")) >= 0:
                line = bytes(received[:end]).decode(errors="replace")
                del received[: end + 1]
                self._answer(line, lambda data: os.write(self._master, data))
            del received[_BUFFER:]  # the rest does not fit its buffer

    def _answer(self, line: str, write: Callable[[bytes], object]) -> None:
        if self.faults.takes("reset") is not None:
            self.firmware.switched_on()
            return
        answer = json.dumps(self.firmware.answer(line), separators=(",", ":")).encode() + b"\r\n"
        if self.faults.takes("silent") is not None:
            return
        if (late := self.faults.takes("late")) is not None:
            pause(late)
        if self.faults.takes("partial") is not None:
            write(answer[: len(answer) // 2])
        elif self.faults.takes("garbage") is not None:
            write(b"\xff{\x00?~!\r\n")
        else:
            write(answer)


def _leads_to(link: Path) -> str:
    """Where a link leads; empty for anything else."""
    return os.readlink(link) if link.is_symlink() else ""


def _refuse_what_is_not_ours(link: Path) -> None:
    """`BadInput` for a name that is more than a link to a pseudo-terminal: a file, or the port of an instrument."""
    if os.path.lexists(link) and not _leads_to(link).startswith("/dev/pts/"):
        limit = "it exists and is no link to a pseudo-terminal, so that it is not replaced"
        raise BadInput(Problem("address", str(link), limit, "write the path of a file that does not exist"))


def serve_instrument(world: PacedWorld, entry: Entry) -> SerialPotentiostat:
    """Put it on the wire."""
    return SerialPotentiostat(world, entry)
