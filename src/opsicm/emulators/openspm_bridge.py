"""The TCP bridge of LBNI's OpenSPM controller as its published client meets it, the twin behind.

Source: `RePySPM/spm_controller/lbni_controller` of the public repository marcospenedo/RePySPM at c048ff0 (2026-05-11),
the Python client of OpenSPM: `tcp_backend.py` for the bytes, the other files for the names of controls. The LabVIEW
side is not published as text. Where the client does not say what a control means, this bridge chooses, and says so.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OpsicmError
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.tcp_server import listening
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.clock import pause
from opsicm.instruments.roles import HopPlan

_TICK: Final = 0.02  # [s]
_NOT_FOUND: Final = "Indicator/control not found"  # tcp_backend.py, _ERROR_RESPONSE
_CONTROLS: Final[dict[str, Any]] = {
    # zcontrol.py. `PID` is read as (setpoint, P, I).
    "ZController::Mode": "SICM",  # a name for the mode of SICM is in none of the client's files: chosen here
    "ZController::Feedback On": True,
    "ZController::Withdraw": False,
    "ZController::PID": np.zeros(3),
    # sicm.py: setpoints from 0 to 100, all others from 0 on, without units. Chosen here: the drop in %, m/s, m, s.
    "SICM::Setpoint": 2.0,
    "SICM::SetpointStiff": 4.0,
    "SICM::Approach rate": 3e-5,
    "SICM::Retract height": 2e-6,
    "SICM::Retract period": 0.0,
    "SICM::Retract delay": 0.0,
    "SICM::Average period": 4e-3,
    "SICM::Time constant": 0.0,
    "SICM::Delta": 0.0,
    "SICM::Adaptive min": 0.0,
    "SICM::Adaptive": False,
    # scancontrol.py
    "Scan::Auto Save": False,
    "Scan::Line": 0,
}
_SCAN_PARAMETERS: Final = ("Width", "Height", "X Offset", "Y Offset", "Angle", "Pixels", "Lines", "Scan Rate")
"""scanparameters.py: read together, in this order."""
_ACTIONS: Final = ("Frame up", "Frame down", "Bounce", "Continuous", "Pause", "Stop")
"""scancontrol.py: read together, `isContinuousScan` the fourth and `is_paused` the fifth; the others' order is ours."""
_CHANNELS: Final = ("Topography", "Current")  # image.py asks for names and gives none: chosen here


class OpenSpmBridge:
    """Answers one client at a time; the next one is accepted and waits unheard, as the client's comments describe."""

    def __init__(self, world: PacedWorld, address: str = "127.0.0.1:0") -> None:
        self._world = world
        self.faults = WireFaults(
            "the OpenSPM bridge", ("late", "silent", "partial", "reset", "garbage", "nan", "stuck")
        )
        self._controls = dict(_CONTROLS)
        self._scan = dict.fromkeys(_SCAN_PARAMETERS, 0.0) | {"Pixels": 1.0, "Lines": 1.0, "Scan Rate": 1.0}
        self._continuous = self._paused = False
        self._image = np.zeros((2, len(_CHANNELS), 1, 1))
        self._scanning = threading.Event()
        self._stop = threading.Event()
        self._last: dict[str, bytes] = {}
        self.frames = 0
        """How many scans have been started."""
        self._closing = threading.Event()
        self._listener = listening(address)
        self._listener.settimeout(_TICK)
        self.address = "{}:{}".format(*self._listener.getsockname()[:2])
        self._thread = threading.Thread(target=self._accept, name="openspm-bridge", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the wire."""
        self._closing.set()
        self._stop.set()
        self._thread.join(2.0)
        self._listener.close()

    # -- the line

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                client = self._listener.accept()[0]
                with client:
                    client.settimeout(_TICK)
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        received = bytearray()
        while not self._closing.is_set():
            try:
                data = client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            received += data
            if not data or len(received) > 1 << 16:
                return
            while (end := received.find(b"\r\n")) >= 0:  # tcp_backend.py, _send_raw
                command = bytes(received[:end]).decode("ascii", errors="replace")
                del received[: end + 2]
                with suppress(OSError):
                    if self._reply(client, command):
                        continue
                return

    def _reply(self, client: socket.socket, command: str) -> bool:
        """Whether the line stays open."""
        if command == "close":
            client.sendall(_message("OK"))
            return False
        data = _message(self._obeyed(command))
        if self.faults.takes("stuck") is not None:
            data = self._last.get(command, data)
        self._last[command] = data
        if self.faults.takes("reset") is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if self.faults.takes("garbage") is not None:
            data = b"\x00\x00\x00\x05{oops" + data[9:]
        if (late := self.faults.takes("late")) is not None:
            pause(late)
        if self.faults.takes("partial") is not None:
            data = data[: len(data) // 2]
        if self.faults.takes("silent") is None:
            client.sendall(data)
        return True

    # -- commands: `Read:MODULE::CONTROL`, `Write:MODULE::CONTROL:VALUE`, `Write:MODULE::CLUSTER:ELEMENT:VALUE`

    def _obeyed(self, command: str) -> Any:
        verb, _, rest = command.partition(":")
        try:
            if verb == "Read":
                return self._read(rest)
            if verb == "Write":
                name, _, value = rest.rpartition(":")
                return self._write(name, value)
        except (LookupError, ValueError, OpsicmError):
            return _NOT_FOUND
        return _NOT_FOUND

    def _read(self, name: str) -> Any:
        nan = self.faults.takes("nan") is not None
        match name:
            case "ZController::Z (m)":
                return math.nan if nan else self._world.ask(lambda rig: rig.scanner.read_z())
            case "Scope::AI0/IN0":  # signals.py: an input [V]; the pipette current at 1 nA/V is chosen here
                return math.nan if nan else self._world.ask(lambda rig: rig.amplifier.read()[0]) * 1e9
            case "Scan::Scan Parameters":
                return np.array([self._scan[key] for key in _SCAN_PARAMETERS])
            case "Scan::Actions":
                return np.array([False, False, False, self._continuous, self._paused, self._stop.is_set()])
            case "Scope::isScanEnable?":
                return self._scanning.is_set()
            case "Scope::ChannelsNames":
                return list(_CHANNELS)
            case "Scope::ImageChannels":
                return np.full_like(self._image, math.nan) if nan else self._image
        return self._controls[name]

    def _write(self, name: str, value: str) -> str:
        if name.startswith("Scan::Scan Parameters:"):
            key = name.rpartition(":")[2]
            self._scan[key] = self._scan[key] * 0.0 + float(value)  # LookupError for a name that is none
        elif name.startswith("Scan::Actions:"):
            self._act(name.rpartition(":")[2], _truth(value))
        elif name == "ZController::Withdraw":
            if _truth(value):
                self._stop.set()
                self._world.ask(lambda rig: rig.hop_controller.safe())
        else:
            before = self._controls[name]
            self._controls[name] = _truth(value) if isinstance(before, bool) else type(before)(value)
        return "OK"

    def _act(self, action: str, on: bool) -> None:
        if action == "Continuous":
            self._continuous = on
        elif action == "Pause":
            self._paused = on
        elif action == "Stop":
            if on:
                self._stop.set()
        elif action not in _ACTIONS:
            raise ValueError(action)
        elif on and not self._scanning.is_set():
            self._stop.clear()
            self._scanning.set()
            self.frames += 1
            threading.Thread(target=self._frame, args=(action == "Frame down",), daemon=True).start()

    # -- a frame in hopping mode: one hop a pixel

    def _frame(self, down: bool) -> None:
        pixels, lines = int(self._scan["Pixels"]), int(self._scan["Lines"])
        self._image = np.zeros((2, len(_CHANNELS), lines, pixels))
        try:
            for line in range(lines)[:: -1 if down else 1]:
                self._controls["Scan::Line"] = line
                for pixel in range(pixels):
                    if self._stop.is_set() or not self._hop(line, pixel, pixels, lines):
                        return
        except OpsicmError:
            return
        finally:
            self._scanning.clear()

    def _hop(self, line: int, pixel: int, pixels: int, lines: int) -> bool:
        scan, sicm = self._scan, self._controls
        x = scan["X Offset"] + scan["Width"] * ((pixel + 0.5) / pixels - 0.5)  # pixel centres: chosen here
        y = scan["Y Offset"] + scan["Height"] * ((line + 0.5) / lines - 0.5)
        top = sicm["SICM::Retract height"]
        hop = HopParameters(top, sicm["SICM::Approach rate"], sicm["SICM::Setpoint"] / 100.0, 1e-5)
        number = np.array([0], np.int32)
        plan = HopPlan(
            "", self.frames, 0, np.array([x]), np.array([y]), number, number, np.array([top]), hop, 0.0, 2**62
        )
        records = self._world.hop(plan, self._stop.is_set).hops
        if not records.size:
            return False
        self._image[:, 0, line, pixel] = records["z_stop"][0]
        self._image[:, 1, line, pixel] = records["i_stop"][0]
        return True


def _truth(text: str) -> bool:
    return {"True": True, "False": False}[text]  # as Python prints them: the client formats with an f-string


def _message(value: Any) -> bytes:
    """Length of a JSON header (big-endian), the header, the payload: `tcp_backend.py`, `_recv_message`."""
    header: dict[str, Any] = {}
    if isinstance(value, str):
        header, payload = {"type": "string", "encoding": "utf-8"}, value.encode()
    elif isinstance(value, bool):
        header, payload = {"type": "bool"}, bytes([value])
    elif isinstance(value, list):
        texts = [text.encode() for text in value]
        header = {"type": "string_array", "encoding": "utf-8", "shape": [len(texts)]}
        payload = b"".join(struct.pack(">I", len(text)) + text for text in texts)
    elif isinstance(value, np.ndarray):
        header, payload = _array(value)
    elif isinstance(value, int):
        header, payload = {"type": "number", "dtype": "i4", "endian": "big"}, struct.pack(">i", value)
    else:
        header = {"type": "number", "dtype": "f8", "endian": "big"}
        payload = struct.pack(">d", value)
    text = json.dumps({**header, "nbytes": len(payload)}).encode()
    return struct.pack(">I", len(text)) + text + payload


def _array(value: NDArray[Any]) -> tuple[dict[str, Any], bytes]:
    if value.dtype == np.bool_:
        return {"type": "array", "dtype": "bool", "shape": list(value.shape)}, value.astype(np.uint8).tobytes()
    header = {"type": "array", "dtype": "f8", "endian": "big", "shape": list(value.shape)}
    return header, value.astype(">f8").tobytes()


def serve(world: PacedWorld, entry: Entry) -> OpenSpmBridge:
    """The bridge at the address of a rig file."""
    return OpenSpmBridge(world, entry.address.removeprefix("tcp://"))
