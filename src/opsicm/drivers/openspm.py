"""LBNI's OpenSPM controller with its SICM bitfile, by the text commands of its published Python client.

    scanner:
      driver: openspm
      address: tcp://127.0.0.1:6340
      settings: {z_range_um: 20, xy_range_um: 80}
    hop_controller:
      driver: openspm
      address: tcp://127.0.0.1:6340
      settings: {mode: SICM, height_channel: Topography, setpoint_is: drop, approach_rate_unit_m_s: 1e-6,
                 retract_height_unit_m: 1e-6, current_input: AI0/IN0, current_nA_per_V: 1}

Source: `RePySPM/spm_controller/lbni_controller` of marcospenedo/RePySPM at c048ff0: `tcp_backend.py` for the bytes,
`zcontrol.py`, `sicm.py`, `scanparameters.py`, `scancontrol.py`, `signals.py`, `image.py` for the commands. What the
client does not say, the rig file must: the units of the SICM controls, whether the setpoint is the drop or what remains
of the current, the name of the mode and of the channel with the height, the input with the pipette current. Whoever
writes it has measured them; without them nothing hops.

The bridge takes one client, so there is no safe channel for a watchdog; it streams no samples, so a hop is a record
with a height and the current before it. One hop at a time: some hops a second.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, Problem
from opsicm.core.facts import HOP_DTYPE, Channel, Outcome, Quality
from opsicm.core.units import to_si
from opsicm.experiment.step_model import FileModel, Number, Text
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import HopPlan, Identity, PlanOutcome, RoleState
from opsicm.instruments.specification import HopControllerSpecification, RigSpecification, ScannerSpecification

_NOT_FOUND: Final = "Indicator/control not found"
_LONGEST: Final = 1 << 26  # [bytes] of an answer
_LOOK: Final = 0.02  # [s] between two questions whether a hop has ended
_POINT: Final = 1e-12  # [m] width of a scan that only goes to a place, as the client's `set_xyposition`
_PATIENCE: Final = 2.0  # [s] and times the duration of a hop, within which it has ended
_SETPOINT: Final = 0.01  # of the current for one unit of the control: the client bounds it to 0 … 100
_NOT_PUBLISHED: Final = (
    "mode",
    "height_channel",
    "setpoint_is",
    "approach_rate_unit_m_s",
    "retract_height_unit_m",
    "current_input",
    "current_nA_per_V",
)
_VERIFIED: Final = (
    "against a bridge written from the client's source, the twin behind it; on no hardware. What the SICM "
    "controls mean, the mode's name and the height channel are not published: the rig file states them"
)


class ScannerSettings(FileModel):
    """Ranges, lag and noise of the scanner that OpenSPM drives: it does not tell them."""

    display_name = "the scanner of OpenSPM"
    z_range_um: Annotated[Number, Field(gt=0, le=1000)] = 20.0
    xy_range_um: Annotated[Number, Field(gt=0, le=10_000)] = 80.0
    lag_us: Annotated[Number, Field(ge=0, le=1e6)] = 200.0
    height_noise_nm: Annotated[Number, Field(ge=0, le=1000)] = 0.3


class HopSettings(FileModel):
    """How OpenSPM is set, and what its controls mean: one unit of `Approach rate` and of `Retract height` in SI,
    whether `Setpoint` is the drop of the current [%] or what remains of it, the scope's input of the pipette current.
    """

    display_name = "the hops of OpenSPM"
    settle_ms: Annotated[Number, Field(ge=0, le=4000)] = 4.0
    reference_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    withdraw_nm_per_ms: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    start_height_um: Annotated[Number, Field(ge=0.003, le=3000)] = 3.0
    max_fall_nm_per_ms: Annotated[Number, Field(gt=0, le=1000)] = 100.0
    mode: Text | None = None
    height_channel: Text | None = None
    setpoint_is: Literal["drop", "remaining"] | None = None
    approach_rate_unit_m_s: Annotated[Number, Field(gt=0, le=1)] | None = None
    retract_height_unit_m: Annotated[Number, Field(gt=0, le=1)] | None = None
    current_input: Text | None = None
    current_nA_per_V: Annotated[Number, Field(ge=-1000, le=1000)] | None = None


_UNREADABLE: Final = (
    *(ValueError, LookupError, TypeError, AttributeError, struct.error),
    *(OverflowError, RecursionError),  # 1e999 where a whole number belongs, brackets without end
)


class _NotThis(OSError):
    """What arrived is not the protocol."""


class _Refused(Exception):
    """The bridge does not know the control."""


class OpenSpmClient:
    """One connection: a command is a line of text, an answer a JSON header and a payload, each with its length.

    `peer` is the numeric address that answered: a name that is looked up has no time-out.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer: tuple[str, int] = self._socket.getpeername()[:2]
        self._waited = stopwatch()

    def ask(self, command: str) -> Any:
        """The answer to `Read:MODULE::CONTROL` or `Write:MODULE::CONTROL:VALUE`, within `TIMEOUT` as a whole."""
        self._send(command)
        (length,) = struct.unpack(">I", self._exactly(4))
        if not 0 < length <= 4096:
            raise _NotThis(f"a header of {length} bytes")
        try:
            header = json.loads(self._exactly(length))
            count = int(header.get("nbytes", 0))
            if not 0 <= count <= _LONGEST:
                raise _NotThis(f"an answer of {count} bytes")
            value = _decoded(header, self._exactly(count))
        except _UNREADABLE as error:
            raise _NotThis(f"an answer that cannot be read ({error})") from error
        if isinstance(value, str) and value == _NOT_FOUND:
            raise _Refused(command)
        return value

    def close(self) -> None:
        """Say so, as the client does: a session that is left open keeps the next one out."""
        with suppress(OSError):
            self._send("close")
            self._exactly(4)
        self._socket.close()

    def _send(self, command: str) -> None:
        self._waited = stopwatch()
        self._socket.settimeout(TIMEOUT)
        self._socket.sendall(command.encode("ascii") + b"\r\n")

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            # What is left of the answer's time: one that comes byte by byte would else be waited for without end.
            left = TIMEOUT - self._waited()
            if left <= 0.0:
                raise TimeoutError(f"an answer that has not ended in {TIMEOUT:g} s")
            self._socket.settimeout(left)
            data = self._socket.recv(count - len(received))
            if not data:
                raise ConnectionResetError("the bridge has closed the line")
            received += data
        return bytes(received)


def _decoded(header: dict[str, Any], payload: bytes) -> Any:
    """`tcp_backend.py`, `_decode_payload`: numbers and arrays are big-endian unless the header says otherwise."""
    order = {"big": ">", "little": "<", "native": "="}[header.get("endian", "big")]
    shape = tuple(map(int, header.get("shape", ())))
    match header["type"]:
        case "string":
            return payload.decode(header.get("encoding", "utf-8"))
        case "string_array":
            texts, at = [], 0
            for _ in range(shape[0]):
                (length,) = struct.unpack_from(">I", payload, at)
                texts.append(payload[at + 4 : at + 4 + length].decode(header.get("encoding", "utf-8")))
                at += 4 + length
            return texts
        case "bool" if len(payload) == 1:
            return payload != b"\x00"
        case "number":
            (number,) = np.frombuffer(payload, order + header["dtype"]).tolist()
            return number
        case "array" if header["dtype"] == "bool":
            return np.frombuffer(payload, np.uint8).astype(bool).reshape(shape)
        case "array":
            return np.frombuffer(payload, order + header["dtype"]).astype(float).reshape(shape)
        case "empty":
            return None
    raise ValueError(f"an answer of type {header['type']!r} and {len(payload)} bytes")


class OpenSpm:
    """The controller behind both roles: one connection."""

    def __init__(self, setup: RoleSetup) -> None:
        host, _, port = (setup.address or "").removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit():
            limit, remedy = "must be host:port of OpenSPM's TCP bridge", "write tcp://127.0.0.1:6340"
            raise BadInput(setup.rig.rig.problem(("roles", setup.role, "address"), setup.address or "", limit, remedy))
        self._where = host, int(port)
        name = f"OpenSPM at {host}:{port}"
        self.link: Link[OpenSpmClient] = Link(setup.role, name, self._connect, OpenSpmClient.close, (OSError,))
        self.link.open()
        setup.rig.connections.callback(self.link.close)

    def _connect(self) -> OpenSpmClient:
        client = OpenSpmClient(*self._where)
        self._where = client.peer
        return client

    def read(self, control: str) -> Any:
        """The value of `MODULE::CONTROL`."""
        return self._asked(f"Read:{control}")

    def write(self, control: str, value: float | bool | str) -> None:
        """Set `MODULE::CONTROL`."""
        self._asked(f"Write:{control}:{value}")

    def number(self, control: str) -> float:
        """A control that is a number; NaN where it answers something else."""
        value = self.read(control)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    def withdraw(self) -> None:
        """`zcontrol.py`, `retract`: the button is pressed and let go. What runs is stopped first."""
        self.write("Scan::Actions:Stop", True)
        self.write("ZController::Withdraw", True)
        self.write("ZController::Withdraw", False)

    def once(self, control: str, value: bool) -> None:
        """A command that must not act twice: where its answer is lost, `InstrumentLost` and not a repetition."""
        sent = False

        def ask(client: OpenSpmClient) -> None:
            nonlocal sent
            if sent:
                limit = "the line broke as the hop began, and what it has done is not known"
                problem = Problem(self.link.role, "hop interrupted", limit, "look at the pipette, then resume")
                raise InstrumentLost(self.link.role, problem)
            sent = True
            client.ask(f"Write:{control}:{value}")

        self._refused_as_limit(lambda: self.link.ask(ask))

    def state(self, now_ns: int) -> RoleState:
        """Height, mode and feedback as they are."""
        self.link.revive()
        try:
            z, mode, feedback = (self.read(f"ZController::{name}") for name in ("Z (m)", "Mode", "Feedback On"))
        except InstrumentLost as lost:
            return RoleState(now_ns, Quality.MISSING, str(lost))
        except LimitCrossed as error:
            return RoleState(now_ns, Quality.SUSPECT, str(error))
        height = float(z) if isinstance(z, int | float) else math.nan
        settings: dict[str, float | str] = {"z_m": height, "mode": str(mode), "feedback": str(feedback)}
        if not math.isfinite(height):
            return RoleState(now_ns, Quality.SUSPECT, "it says no height", settings)
        return RoleState(now_ns, settings=settings)

    def _asked(self, command: str) -> Any:
        return self._refused_as_limit(lambda: self.link.ask(lambda client: client.ask(command)))

    def _refused_as_limit(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except _Refused as refused:
            limit = f"this OpenSPM does not know it ({_NOT_FOUND})"
            remedy = "load the SICM bitfile and open its panels, or update OpenSPM"
            raise LimitCrossed(Problem("OpenSPM control", str(refused), limit, remedy)) from refused


def _identity() -> Identity:
    # No command of the published client asks for a version.
    return Identity("OpenSPM", client="its text commands, as RePySPM c048ff0 sends them")


class OpenSpmScanner:
    """The scanner: height, and up."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        self._openspm = _shared(setup)
        self._specification, self._clock = specification.scanner, clock

    @property
    def z_range(self) -> tuple[float, float]:
        """(lowest, highest) z [m], from the rig file."""
        return -self._specification.z_reach, self._specification.z_reach

    @property
    def xy_range(self) -> tuple[float, float]:
        """(lowest, highest) x or y [m], from the rig file."""
        return -self._specification.xy_reach, self._specification.xy_reach

    def read_z(self) -> float:
        """Z [m] as OpenSPM shows it."""
        z = self._openspm.number("ZController::Z (m)")
        if not math.isfinite(z):
            limit = "OpenSPM shows no number"
            raise InstrumentLost("scanner", Problem("height", f"{z}", limit, "look at its panel, then resume"))
        return z

    def identity(self) -> Identity:
        """OpenSPM does not say its version; that it answers is asked."""
        self._openspm.read("ZController::Mode")
        return _identity()

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        return self._openspm.state(self._clock.now_ns())

    def safe(self) -> None:
        """Stop whatever scans and withdraw."""
        self._openspm.withdraw()


class OpenSpmHopController:
    """Hops one at a time: a scan of one pixel at each place, in the controller's hopping mode.

    The published commands bound no approach. Here the height is watched during a hop, some 50 times a second, and a
    pipette that has gone farther than the plan's `approach` is withdrawn: at 30 nm/ms it is then up to 1 µm too far.
    """

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        self._openspm = _shared(setup)
        self._settings: HopSettings = setup.settings
        self._specification, self._clock = specification.hop_controller, clock
        self._scanner = specification.scanner

    @property
    def timing(self) -> HopTiming:
        """From the rig file: OpenSPM tells none of it."""
        return self._specification.timing

    @property
    def channels(self) -> tuple[Channel, ...]:
        """None: the text commands stream no samples."""
        return ()

    @property
    def start_height(self) -> float:
        """[m] above the mean surface from which the first approach of a step begins."""
        return self._specification.start_height

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """Hop by hop; `stop` is asked between two. A plan without hops waits: there is nothing to sample."""
        if not plan.x.size:
            while (now_ns := self._clock.now_ns()) < plan.until_ns and not stop():
                self._clock.wait_until(min(plan.until_ns, now_ns + round(_LOOK * 1e9)))
            return PlanOutcome([], np.zeros(0, HOP_DTYPE))
        self._refuse_beyond(plan)
        self._set_up(plan)
        records = np.zeros(plan.x.size, HOP_DTYPE)
        for k in range(plan.x.size):
            if k and (stop() or self._clock.now_ns() > plan.until_ns):
                return PlanOutcome([], records[:k])
            try:
                records[k] = self._hop(plan, k)
            except InstrumentLost as lost:
                lost.outcome = PlanOutcome([], records[:k])
                raise
        return PlanOutcome([], records)

    def identity(self) -> Identity:
        """OpenSPM does not say its version; that it answers is asked."""
        self._openspm.read("ZController::Mode")
        return _identity()

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        return self._openspm.state(self._clock.now_ns())

    def safe(self) -> None:
        """Stop whatever scans and withdraw."""
        self._openspm.withdraw()

    def _set_up(self, plan: HopPlan) -> None:
        """The plan's parameters, each read back: a pipette falls at the rate that the controller has, not that it was
        sent."""
        s, hop = self._settings, plan.parameters
        assert s.approach_rate_unit_m_s is not None
        assert s.retract_height_unit_m is not None
        for control, value in (
            ("SICM::Approach rate", hop.fall_rate / s.approach_rate_unit_m_s),
            ("SICM::Retract height", hop.amplitude / s.retract_height_unit_m),
            ("SICM::Setpoint", (hop.setpoint if s.setpoint_is == "drop" else 1.0 - hop.setpoint) / _SETPOINT),
            ("SICM::Adaptive", False),
        ):
            self._openspm.write(control, value)
            back = self._openspm.read(control)
            if isinstance(value, bool) and back is value:
                continue
            if not isinstance(back, int | float) or not math.isclose(back, value, rel_tol=1e-6):
                limit = f"{value:g} was written to it"
                remedy = "look at OpenSPM's panel: it bounds or rounds this control"
                raise LimitCrossed(
                    Problem(f"OpenSPM {control}", f"{back:g}" if isinstance(back, float) else f"{back}", limit, remedy)
                )
        for name, value in (("Width", _POINT), ("Height", _POINT), ("Pixels", 1), ("Lines", 1)):
            self._openspm.write(f"Scan::Scan Parameters:{name}", value)
        self._openspm.write("Scan::Actions:Continuous", False)

    def _hop(self, plan: HopPlan, k: int) -> NDArray[Any]:
        openspm, begin_ns, took = self._openspm, self._clock.now_ns(), stopwatch()
        top, current = openspm.number("ZController::Z (m)"), self._current()
        openspm.write("Scan::Scan Parameters:X Offset", float(plan.x[k]))
        openspm.write("Scan::Scan Parameters:Y Offset", float(plan.y[k]))
        openspm.once("Scan::Actions:Frame down", True)
        outcome, lowest = self._await_end(plan, top)
        record = np.zeros((), HOP_DTYPE)
        record["hop"], record["segment"] = plan.first_hop + k, plan.segment
        for name in ("x", "y", "line", "pixel"):
            record[name] = getattr(plan, name)[k]
        for name in ("start", "fall", "stop", "top"):
            record[f"sample_{name}"] = -1  # of no sample
        for name in ("i_stop", "cell_potential", "cell_current", "bias_residual"):
            record[name] = math.nan
        # Of the hop's end, known to `_LOOK`. Where time is simulated beside OpenSPM, it has to be brought along.
        self._clock.wait_until(begin_ns + round(took() * 1e9))
        record["t_ns"], record["setpoint"], record["outcome"] = self._clock.now_ns(), plan.parameters.setpoint, outcome
        record["i_ref"] = current
        record["z_stop"] = self._height() if outcome is Outcome.CONTACT else lowest
        record["z_min"] = min(lowest, record["z_stop"])
        return record

    def _current(self) -> float:
        """Pipette current [A] at the top; `LimitCrossed` where it is an overload: such a hop would stop at once."""
        s = self._settings
        assert s.current_nA_per_V is not None
        current = self._openspm.number(f"Scope::{s.current_input}") * to_si("current_nA", s.current_nA_per_V)
        if not math.isfinite(current):
            raise self._lost("the current before its hop is no number")
        if abs(current) > self.timing.overload:
            limit = f"limits.pipette_overload_nA is {self.timing.overload * 1e9:g}"
            remedy = "look at the tip and at current_nA_per_V"
            raise LimitCrossed(Problem("pipette current", f"{current * 1e9:.3g} nA before a hop", limit, remedy))
        return current

    def _await_end(self, plan: HopPlan, top: float) -> tuple[Outcome, float]:
        """Watch the hop: how it ended, and the lowest height [m] that was seen."""
        longest = self.timing.duration(plan.longest_hop()) + plan.parameters.approach / plan.parameters.fall_rate
        waited, lowest = stopwatch(), top
        while self._openspm.read("Scope::isScanEnable?"):
            z = self._openspm.number("ZController::Z (m)")
            lowest = min(lowest, z)
            if not z >= top - plan.parameters.approach:  # nor is it where it says nothing
                self._openspm.withdraw()
                if not math.isfinite(z):
                    raise self._lost("its height is no number")
                return Outcome.NO_CONTACT, lowest
            if waited() > _PATIENCE + 2.0 * longest:
                self._openspm.withdraw()
                raise self._lost(f"a hop of {longest:.2f} s has not ended in {waited():.1f} s")
            pause(_LOOK)
        return Outcome.CONTACT, lowest

    def _height(self) -> float:
        names = self._openspm.read("Scope::ChannelsNames")
        image = self._openspm.read("Scope::ImageChannels")
        index = names.index(self._settings.height_channel)
        if not isinstance(image, np.ndarray) or image.ndim != 4 or image.shape[1] != len(names):
            raise self._lost("its image has another shape than (2, channels, lines, pixels)")
        height = float(image[0, index, 0, 0])
        if not math.isfinite(height):
            raise self._lost("the height of its hop is no number")
        return height

    def _refuse_beyond(self, plan: HopPlan) -> None:
        s, hop, scanner = self._settings, plan.longest_hop(), self._scanner
        problems = []
        for key in _NOT_PUBLISHED:
            if getattr(s, key) is None:
                limit = "is not published, and without it nothing hops"
                problems.append(
                    Problem(f"{key} of OpenSPM", "unknown", limit, "measure it, and write it in the rig file")
                )
        for axis, positions in (("x", plan.x), ("y", plan.y)):
            if not np.all(np.abs(positions) <= scanner.xy_reach):
                limit = f"the scanner goes to ±{scanner.xy_reach * 1e6:g} µm"
                worst = positions[np.argmax(np.abs(positions))] * 1e6
                problems.append(Problem(f"hop {axis}", f"{worst:g} µm", limit, "hop within its range"))
        fastest = s.max_fall_nm_per_ms
        if hop.fall_rate * 1e6 > fastest * (1.0 + 1e-9):
            limit = f"the rig file allows at most {fastest:g} nm/ms"
            problems.append(Problem("approach rate", f"{hop.fall_rate * 1e6:g} nm/ms", limit, "approach more slowly"))
        if hop.amplitude > 2.0 * scanner.z_reach:
            limit = f"the scanner goes over {scanner.z_reach * 2e6:g} µm"
            problems.append(Problem("hop amplitude", f"{hop.amplitude * 1e6:g} µm", limit, "give a smaller one"))
        if np.ptp(plan.amplitude) > 0.0:
            limit = "OpenSPM has one retract height for all hops of a plan"
            problems.append(Problem("hop amplitude", "changing", limit, "give one amplitude"))
        if not problems:
            self._refuse_other_mode(problems)
        if problems:
            raise LimitCrossed(problems)

    def _refuse_other_mode(self, problems: list[Problem]) -> None:
        mode, names = self._openspm.read("ZController::Mode"), self._openspm.read("Scope::ChannelsNames")
        if mode != self._settings.mode:
            limit = f"the rig file says {self._settings.mode}"
            problems.append(Problem("OpenSPM's mode", str(mode), limit, "choose the hopping mode on its panel"))
        if not isinstance(names, list) or self._settings.height_channel not in names:
            limit = f"OpenSPM's channels are {names}"
            wanted = str(self._settings.height_channel)
            problems.append(Problem("height_channel", wanted, limit, "write one of them in the rig file"))

    def _lost(self, limit: str) -> InstrumentLost:
        problem = Problem("hop_controller", "lost during a hop", limit, "look at the pipette, then resume")
        return InstrumentLost("hop_controller", problem)


def _shared(setup: RoleSetup) -> OpenSpm:
    return setup.rig.shared((__name__, setup.address), lambda: OpenSpm(setup))


def specify_scanner(setup: RoleSetup) -> ScannerSpecification:
    """What the rig file says of the scanner."""
    s: ScannerSettings = setup.settings
    z_reach, xy_reach = (to_si("range_um", value) / 2.0 for value in (s.z_range_um, s.xy_range_um))
    noise = to_si("height_noise_nm", s.height_noise_nm)
    return ScannerSpecification(z_reach, xy_reach, to_si("lag_us", s.lag_us), noise)


def specify_hops(setup: RoleSetup) -> HopControllerSpecification:
    """What the rig file says of the hops."""
    s: HopSettings = setup.settings
    rig = setup.rig.rig.rig
    timing = HopTiming(
        to_si("settle_ms", s.settle_ms),
        to_si("reference_ms", s.reference_ms),
        to_si("withdraw_nm_per_ms", s.withdraw_nm_per_ms),
        rig.latency,
        rig.limits.overload,
        round(1e9 / rig.clock.rate),
    )
    return HopControllerSpecification(timing, to_si("start_height_um", s.start_height_um))


DRIVERS: Final = (
    Driver(
        "openspm",
        "scanner",
        "the scanner of LBNI's OpenSPM controller, by its text commands",
        OpenSpmScanner,
        specify_scanner,
        ScannerSettings,
        verified=_VERIFIED,
    ),
    Driver(
        "openspm",
        "hop_controller",
        "the hops of LBNI's OpenSPM controller, one at a time: heights, no samples",
        OpenSpmHopController,
        specify_hops,
        HopSettings,
        verified=_VERIFIED,
    ),
)
