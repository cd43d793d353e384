"""The laboratory's wiring behind an emulated data-acquisition card: which voltage is which quantity of the twin.

Inputs show what the rig file's `channels` say, the factor turned round: reading = (SI - offset)/(sign · gain).
Outputs and lines drive what the settings of the roles name: `z_output`, `command_output`, `potential_output`,
`cell_line` …. Nothing here knows a driver: it is what a technician would solder, read off the same sheet of paper.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.emulators.paced_world import PacedWorld
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.experiment.rig_file import LoadedRig, RigChannel
from opsicm.instruments.roles import CellReading, Rig
from opsicm.twin.devices import TwinScanner
from opsicm.twin.driven_probe import DrivenProbe

Floats = NDArray[np.float64]
RANGE: Final = 10.0  # [V] of every input and output
_CONVERTER_NOISE: Final = 2.0 * RANGE / 65536  # [V rms] one step of 16 bits, as data sheets of such cards state
_REMEMBERED: Final = 4096  # writes to an output that its history keeps
_STEPS: Final = 32  # looked at for the slope of a staircase
_POTENTIAL_TURN_NS: Final = 20_000_000  # how often a moving potentiostat input is handed to the cell


class AnalogueCircuit:
    """Voltages of one card's terminals as functions of the world's time. Called from the threads of the server."""

    def __init__(self, world: PacedWorld, rig: LoadedRig, device: str, seed: int = 0) -> None:
        self._world, self._device = world, device
        self._file = rig.rig
        self._lock = threading.RLock()
        self._noise = np.random.default_rng(seed + 1)
        self._shows: dict[str, RigChannel] = {
            self.terminal(channel.input): channel for channel in self._file.channels if channel.input is not None
        }
        self.fixed: dict[str, float] = {}
        """[V] of inputs that stand still, as telegraphs do."""
        self.echoes: dict[str, str] = {}
        """Input → output that a wire joins."""
        self._roles = {
            name: getattr(self._file.roles, name).settings
            for name in ("amplifier", "potentiostat", "scanner", "hop_controller")
        }
        self.panel = PatchClampPanel(self._roles["amplifier"])
        self._outputs: dict[str, _Output] = {}
        self._lines: dict[str, bool] = {}
        self._sampled_ns = 0
        self._cell: CellReading | None = None
        self._applied: tuple[PotentialRamp | ConstantCurrent, int] | None = None
        self._probe = world.ask(lambda behind: DrivenProbe(_scanner_of(behind).probe, seed))
        settings = self._roles["hop_controller"]
        if "latency_input" in settings and "latency_output" in settings:
            self.echoes[self.terminal(str(settings["latency_input"]))] = self.terminal(str(settings["latency_output"]))

        self.sample(world.now_ns(), 1, 1e4, [])  # compiled before anybody waits for it

    @property
    def closest_gap(self) -> float:
        """[m] the smallest true distance between tip and surface so far: for tests of safety."""
        return self._probe.closest_gap

    def terminal(self, name: str) -> str:
        """A terminal's full name, `Dev1/ai0`, of `ai0` or `Dev1/ai0`."""
        return name if name.startswith(f"{self._device}/") else f"{self._device}/{name}"

    def write(self, output: str, volts: float) -> None:
        """An output takes a new voltage now."""
        with self._lock:
            self._output(output).write(self._world.now_ns(), volts)

    def voltage(self, output: str) -> float:
        """[V] on an output now."""
        with self._lock:
            return self._output(output).now

    def set_line(self, line: str, high: bool) -> None:
        """A digital output takes a new level now; a line that opens the cell does so at once."""
        with self._lock:
            self._lines[line] = high
        self._drive_cell(at_once=True)

    def line(self, line: str) -> bool:
        """The level of a digital line."""
        with self._lock:
            return self._lines.get(line, False)

    def catch_up(self) -> None:
        """Let the world feel the outputs although nobody samples."""
        with self._lock:
            behind_ns = self._world.now_ns() - self._sampled_ns
            if behind_ns > 0:
                self.sample(self._sampled_ns, max(1, min(behind_ns // 100_000, 1000)), 100_000, [])

    def sample(self, first_ns: int, n: int, dt_ns: float, inputs: Sequence[str]) -> Floats:
        """What `inputs` show at `n` samples from `first_ns` of the world on: [input, n] V."""
        with self._lock:
            at: Floats = first_ns + dt_ns * np.arange(n, dtype=np.float64)
            self._sampled_ns = max(self._sampled_ns, round(first_ns + dt_ns * n))
            z = self._moved("z", at)
            x, y = (float(self._moved(axis, at[-1:])[0]) for axis in "xy")
            command = float(self._roles["amplifier"].get("command_sign", 1)) * self._file.wiring.external_bias
            bias = command * self._written("amplifier", "command_output", at)
            before = self._cell
            drives = "z_output" in self._roles["scanner"]  # else a hop controller does, and this card only listens

            def look(rig: Rig) -> tuple[Floats, Floats, CellReading]:
                self._world.come_to_present(rig)
                current, height = self._probe.sample(z, bias, x, y, dt_ns * 1e-9, drives)
                return current, height, rig.potentiostat.read()

            current, height, cell = self._world.ask(look)
            self._cell = cell
            self._drive_cell(at_once=False)
            share, earlier = np.arange(1, n + 1) / n, before or cell
            quantities: dict[str, Floats | float] = {
                "pipette_current": current,
                "z": height,
                "z_command": z,
                "pipette_bias": bias,
                "x": x,
                "y": y,
                "cell_potential": earlier.potential + (cell.potential - earlier.potential) * share,
                "cell_current": earlier.current + (cell.current - earlier.current) * share,
            }
            volts = np.empty((len(inputs), n))
            for row, name in enumerate(inputs):
                volts[row] = self._shown(name, quantities, at)
                volts[row] += _CONVERTER_NOISE * self._noise.standard_normal(n, np.float32)
            return np.clip(volts, -RANGE, RANGE, out=volts)

    def _shown(self, name: str, quantities: dict[str, Floats | float], at: Floats) -> Floats | float:
        if name in self.fixed:
            return self.fixed[name]
        if name in self.echoes:
            return self._output(self.echoes[name]).at(at)
        if (told := self.panel.telegraph(name.removeprefix(f"{self._device}/"))) is not None:
            return told
        monitor = self._roles["amplifier"].get("command_monitor")
        if monitor is not None and name == self.terminal(str(monitor)):
            return self.panel.monitor_gain * quantities["pipette_bias"]
        if (channel := self._shows.get(name)) is None:
            return 0.0  # an open input of a differential pair with its bias resistors
        volts = (quantities[channel.name] - channel.offset) / (channel.sign * channel.gain)
        return volts * self.panel.turned if channel.name == "pipette_current" else volts

    def _output(self, name: str) -> _Output:
        return self._outputs.setdefault(name, _Output())

    def _written(self, role: str, key: str, at: Floats) -> Floats:
        """[V] of the output that a setting names."""
        settings = self._roles[role]
        return self._output(self.terminal(str(settings[key]))).at(at) if key in settings else np.zeros(at.size)

    def _moved(self, axis: str, at: Floats) -> Floats:
        """[m] to which the piezo's amplifier drives an axis."""
        settings, kind = self._roles["scanner"], "z" if axis == "z" else "xy"
        if f"{axis}_output" not in settings:
            return np.zeros(at.size)
        zero = float(settings.get(f"{kind}_zero_V", 0.0))
        return (
            1e-6
            * float(settings.get(f"{kind}_um_per_V", 1.0))
            * (self._written("scanner", f"{axis}_output", at) - zero)
        )

    def _drive_cell(self, at_once: bool) -> None:
        """The potentiostat's input and switches act on the cell."""
        settings, now_ns = self._roles["potentiostat"], self._world.now_ns()
        if "potential_output" not in settings:
            return
        output = self._output(self.terminal(str(settings["potential_output"])))
        if not self._is_on("cell_line", "cell_on_high", unwired=True):
            if self._applied is not None:
                self._applied = None
                self._world.ask(lambda rig: rig.potentiostat.apply(OpenCircuit(), 0))
            return
        control: PotentialRamp | ConstantCurrent
        if self._is_on("mode_line", "galvanostatic_high", unwired=False):
            control = ConstantCurrent(output.now * 1e-3 * float(settings["galvanostat_mA_per_V"]))
        else:
            scale, volts = float(settings.get("input_V_per_V", 1.0)), output.now
            slope = output.slope(now_ns)
            # A staircase of small steps is a ramp to a potentiostat, whose input and double layer smooth it.
            control = PotentialRamp(scale * volts, scale * slope)
        last = self._applied
        if last is not None and (last[0] == control or (now_ns - last[1] < _POTENTIAL_TURN_NS and not at_once)):
            return
        self._applied = (control, now_ns)
        self._world.ask(lambda rig: rig.potentiostat.apply(control, 0))

    def _is_on(self, key: str, polarity: str, unwired: bool) -> bool:
        """Whether a switch of the potentiostat that a digital line holds is on; `unwired` where no line does."""
        settings = self._roles["potentiostat"]
        if key not in settings:
            return unwired
        return self._lines.get(self.terminal(str(settings[key])), False) == bool(settings.get(polarity, True))


class PatchClampPanel:
    """The switches of the emulated amplifier and what its telegraphs say of them; `gain` [mV/pA], `filter` [kHz].

    They begin where the rig file says; a test turns them, and the scaled output follows the gain. The voltages are an
    Axopatch 200B's: half a volt for each of the gain's positions, two for each of the filter's, and those of the mode
    in Axopatch 200B Theory and Operation, 2500-121 Rev D, p. 66.
    """

    GAINS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
    FILTERS: Final = (1.0, 2.0, 5.0, 10.0, 100.0)
    MODES: Final = {"track": 4.0, "voltage_clamp": 6.0, "current_zero": 3.0, "current_clamp": 2.0}

    def __init__(self, settings: Mapping[str, float | str | bool]) -> None:
        self._settings = settings
        self._wired = float(settings.get("gain_mV_per_pA", 1.0))
        self.gain = self._wired
        self.filter = float(settings.get("filter_kHz", 5.0))
        self.mode = "voltage_clamp"
        self.monitor_gain = float(settings.get("monitor_V_per_V", 10.0))

    @property
    def turned(self) -> float:
        """The gain's present position over that at which the rig file was written."""
        return self.gain / self._wired

    def telegraph(self, name: str) -> float | None:
        """[V] at an input that a telegraph is wired to; None at any other."""
        for key in ("gain", "filter", "mode"):
            wired = self._settings.get(f"{key}_telegraph")
            if wired is not None and str(wired).rpartition("/")[2] == name:
                return self._volts(key)
        return None

    def _volts(self, key: str) -> float:
        if key == "gain":
            return 0.5 * (self.GAINS.index(self.gain) + 1)
        if key == "filter":
            return 2.0 * (self.FILTERS.index(self.filter) + 1)
        return self.MODES[self.mode]


class _Output:
    """What was written to an output, and when: a staircase."""

    def __init__(self) -> None:
        self._at = [-(2**62)]
        self._volts = [0.0]

    @property
    def now(self) -> float:
        return self._volts[-1]

    def slope(self, now_ns: int) -> float:
        """[V/s] of the steps of the last `_POTENTIAL_TURN_NS`; 0 where it stands still, or has just jumped."""
        recent = [
            k
            for k in range(max(0, len(self._at) - _STEPS), len(self._at))
            if now_ns - self._at[k] < 2 * _POTENTIAL_TURN_NS
        ]
        if len(recent) < 3 or now_ns - self._at[-1] > _POTENTIAL_TURN_NS:
            return 0.0
        steps = [(self._volts[k] - self._volts[k - 1]) / (self._at[k] - self._at[k - 1]) for k in recent[1:]]
        middle = sorted(steps)[len(steps) // 2]
        return 0.0 if max(abs(step - middle) for step in steps) > abs(middle) else 1e9 * middle

    def write(self, t_ns: int, volts: float) -> None:
        self._at.append(t_ns)
        self._volts.append(volts)
        if len(self._at) > 2 * _REMEMBERED:
            del self._at[:_REMEMBERED], self._volts[:_REMEMBERED]

    def at(self, t_ns: Floats) -> Floats:
        if t_ns.size and self._at[-1] <= t_ns[0]:
            return np.full(t_ns.size, self._volts[-1])
        return np.asarray(self._volts)[np.searchsorted(np.asarray(self._at), t_ns, side="right") - 1]


def _scanner_of(rig: Rig) -> TwinScanner:
    assert isinstance(rig.scanner, TwinScanner), "an analogue circuit needs a twin's scanner behind it"
    return rig.scanner


def device_of(address: str) -> str:
    """The device's name in `grpc://host:port/Dev1` or `Dev1`."""
    return re.sub(r"^grpc://[^/]*/", "", address)
