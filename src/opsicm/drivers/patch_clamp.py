"""A patch clamp by its analogue interface: scaled output, external command input, telegraphs, behind a card.

    amplifier:
      driver: patch_clamp
      address: localhost:31763              # the card's, as its driver takes it
      settings: {scaled_output: Dev1/ai0, command_output: Dev1/ao0, gain_mV_per_pA: 1, filter_kHz: 5,
                 model: axopatch_200b, gain_telegraph: Dev1/ai4, filter_telegraph: Dev1/ai5, mode_telegraph: Dev1/ai6}

The scale of the command is the rig file's `wiring.external_bias_mV_per_V`. A switch at another position than the rig
file says is a factor in every current; where telegraphs are wired it is refused when the rig is connected, and told by
`state()` from then on. The driver changes nothing but the command: an amplifier of this kind is set by hand. Its
currents are always scaled by the rig file's gain, so that a record whose gain was wrong can be mended afterwards.

The safe channel is the card's: a second client of it zeroes the command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, OpsicmError, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.core.units import to_si
from opsicm.drivers.card import Card
from opsicm.drivers.card_of_rig import card_of, scale_of
from opsicm.drivers.telegraphs import PUBLISHED, VOLTAGE_CLAMP, Table, Telegraphs, parsed, position, tolerance
from opsicm.experiment.step_model import FileModel, Number, Text, Whole
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import AmplifierSpecification, RigSpecification

_AGREES: Final = 0.01  # relative: two positions of a switch differ by far more, two ways to write one number by less
_FULL: Final = 0.99  # of the output's range counts as clipped
_TELEGRAPH_SECONDS: Final = 0.01  # averaged: a switch is not turned faster, and 50 Hz pick-up is small beside a step
_UNIT: Final = {"gain": "mV/pA", "filter": "kHz"}
_SETTLES: Final = 50  # looks at the telegraphs before a position between two counts: a switch may just be turning


class PatchClampSettings(FileModel):
    """Where the amplifier's outputs and inputs are on the card, and what its switches are expected to say."""

    display_name = "the patch clamp"
    scaled_output: Text | None = None
    gain_mV_per_pA: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    filter_kHz: Annotated[Number, Field(gt=0, le=1000)] | None = None
    mode: Literal["voltage_clamp"] = "voltage_clamp"
    output_range_V: Annotated[Number, Field(gt=0, le=20)] = 10.0
    reading_ms: Annotated[Number, Field(ge=0.1, le=100)] = 10.0
    noise_fA_rtHz: Annotated[Number, Field(ge=0, le=1e6)] = 15.0
    command_output: Text | None = None
    command_V: Annotated[Number, Field(gt=0, le=20)] = 10.0
    command_sign: Annotated[Whole, Field(ge=-1, le=1)] = 1
    command_monitor: Text | None = None
    monitor_V_per_V: Annotated[Number, Field(gt=0, le=1000)] = 10.0
    model: Text | None = None
    gain_telegraph: Text | None = None
    filter_telegraph: Text | None = None
    mode_telegraph: Text | None = None
    gain_table: Text | None = None
    filter_table: Text | None = None
    mode_table: Text | None = None


def specify(setup: RoleSetup) -> AmplifierSpecification:
    """What the rig file says of the amplifier; refused where it says too little, or two things at once."""
    settings: PatchClampSettings = setup.settings
    needed = {
        "gain_mV_per_pA": "write what the amplifier's gain switch says, as gain_mV_per_pA: 1",
        "filter_kHz": "write what the amplifier's low-pass switch says, as filter_kHz: 5",
        "command_output": "write the card's output that goes to the external command input, as Dev1/ao0",
    }
    problems = [
        setup.problem(key, "", "is missing", remedy) for key, remedy in needed.items() if getattr(settings, key) is None
    ]
    if settings.command_sign == 0:
        problems.append(setup.problem("command_sign", 0, "must be 1 or -1", "write -1 where the command is inverted"))
    bias = setup.rig.rig.rig.wiring.external_bias
    if bias == 0.0:
        limit = "is 0, so that no command reaches the pipette"
        remedy = "write what the amplifier's external command input does with one volt, often 20 or 100"
        problems.append(setup.rig.rig.problem(("wiring", "external_bias_mV_per_V"), 0, limit, remedy))
    problems += _table_problems(setup)
    if problems or settings.gain_mV_per_pA is None or settings.filter_kHz is None:
        raise BadInput(problems)
    gain = to_si("gain_mV_per_pA", settings.gain_mV_per_pA)
    scale_of(setup, "pipette_current", settings.scaled_output, 1.0 / gain, "gain_mV_per_pA")
    reach = settings.command_V * bias
    return AmplifierSpecification(
        noise_density=to_si("noise_fA_rtHz", settings.noise_fA_rtHz),
        filter_Hz=to_si("filter_kHz", settings.filter_kHz),
        reading_time=to_si("reading_ms", settings.reading_ms),
        command_range=(-reach, reach),
        current_range=settings.output_range_V / gain,
    )


def _table_problems(setup: RoleSetup) -> list[Problem]:
    """Telegraphs without a table, and tables that are none."""
    settings: PatchClampSettings = setup.settings
    problems = []
    if settings.model is not None and settings.model not in PUBLISHED:
        limit = f"no table of this amplifier is known; known are {', '.join(PUBLISHED)}"
        remedy = 'state its tables yourself, as gain_table: "0.5:0.05, 1.0:0.1" (volts:mV/pA), from its manual'
        problems.append(setup.problem("model", settings.model, limit, remedy))
    for name in ("gain", "filter", "mode"):
        text = getattr(settings, f"{name}_table")
        if text is not None:
            try:
                parsed(text, words=name == "mode")
            except ValueError:
                limit = "must be pairs volts:value with a comma between, each volt once"
                problems.append(setup.problem(f"{name}_table", text, limit, 'write as "0.5:0.05, 1.0:0.1"'))
        elif getattr(settings, f"{name}_telegraph") is not None and not _published(settings, name):
            limit = "has no table that says what its voltages mean"
            remedy = f"name the amplifier's model ({', '.join(PUBLISHED)}), or write {name}_table from its manual"
            problems.append(setup.problem(f"{name}_telegraph", getattr(settings, f"{name}_telegraph"), limit, remedy))
    return problems


def _published(settings: PatchClampSettings, name: str) -> Table:
    tables = PUBLISHED.get(settings.model or "", Telegraphs())
    table: Table = getattr(tables, name)
    return table


class _Told:
    """One telegraph: its lines on the card, and its table."""

    def __init__(self, name: str, lines: str, table: Table) -> None:
        self.name, self.table = name, table
        self.lines = tuple(line.strip() for line in lines.split(","))
        self.digital = "/line" in lines.lower()

    def value(self, told: float) -> float | str | None:
        """What the position means; None between two positions."""
        return position(self.table, told)

    def between(self, told: float) -> str:
        """Why `told` is no position, in words."""
        if self.digital:
            return f"the {self.name} telegraph's lines make {told:.0f}, which is no position of its table"
        near = " and ".join(f"{code:g}" for code in sorted(self.table, key=lambda code: abs(code - told))[:2])
        return (
            f"the {self.name} telegraph is at {told:.2f} V, which is no position of its table (nearest {near} V, "
            f"± {tolerance(self.table):.2g} V): a loose wire, or another amplifier's table"
        )


class PatchClamp:
    """The amplifier behind a card."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        settings: PatchClampSettings = setup.settings
        assert settings.gain_mV_per_pA is not None
        assert settings.filter_kHz is not None
        assert settings.command_output is not None
        self._name = settings.model or "patch clamp"
        self._clock = clock
        self._gain = to_si("gain_mV_per_pA", settings.gain_mV_per_pA)
        self._filter = to_si("filter_kHz", settings.filter_kHz)
        self._scale = scale_of(setup, "pipette_current", settings.scaled_output, 1.0 / self._gain, "gain_mV_per_pA")
        self._reading_time = specification.amplifier.reading_time
        self._full = _FULL * settings.output_range_V
        self._output = settings.command_output
        self._command_scale = settings.command_sign * setup.rig.rig.rig.wiring.external_bias
        self._monitor = settings.command_monitor
        self._monitor_scale = 1.0 / settings.monitor_V_per_V
        self._told = [
            _Told(name, lines, parsed(text, name == "mode") if text is not None else _published(settings, name))
            for name in ("gain", "filter", "mode")
            if (lines := getattr(settings, f"{name}_telegraph")) is not None
            for text in (getattr(settings, f"{name}_table"),)
        ]
        self._card: Card = card_of(setup, clock)
        low, high = self._card.output_range(self._output)
        reach = sorted(
            volts * self._command_scale for volts in (max(low, -settings.command_V), min(high, settings.command_V))
        )
        self._range = (reach[0], reach[1])
        self._refuse_other_settings(setup)

    def _refuse_other_settings(self, setup: RoleSetup) -> None:
        """`BadInput` where a telegraph says something else than the rig file; nothing has been written yet."""
        for _ in range(_SETTLES):
            told, messages = self._look()
            if not messages:
                return
            if len(told) == len(self._told):  # every switch stands at a position: they will not come to agree
                break
            self._clock.wait_until(self._clock.now_ns() + round(_TELEGRAPH_SECONDS * 1e9))
        keys = {"gain": "gain_mV_per_pA", "filter": "filter_kHz", "mode": "mode"}
        values = {"gain": self._gain * 1e-9, "filter": self._filter * 1e-3, "mode": VOLTAGE_CLAMP}
        remedy = "turn the switch, or correct the rig file"
        raise BadInput([setup.problem(keys[name], values[name], limit, remedy) for name, limit in messages.items()])

    @property
    def command_range(self) -> tuple[float, float]:
        """(lowest, highest) command [V] at the pipette: what the output reaches, times the input's scale."""
        return self._range

    def command(self, volts: float, slope: float = 0.0) -> None:
        """Apply `volts` [V] now and let it ramp by `slope` [V/s]; the card holds the ramp at the end of its range."""
        low, high = self._range
        if not low <= volts <= high:
            limit = f"the command input reaches {low:g} … {high:g} V"
            remedy = "use a wider external-bias gain or a smaller potential range"
            raise OutsideDomain(Problem("amplifier command", f"{volts:.3f} V", limit, remedy))
        self._card.write(self._output, volts / self._command_scale, slope / self._command_scale)

    def read(self) -> tuple[float, float]:
        """(pipette current [A], command [V]) averaged over the reading time; the command where it is monitored."""
        inputs = [self._scale.input, *([self._monitor] if self._monitor else [])]
        volts = self._mean(inputs, self._reading_time)
        command = float(volts[1]) * self._monitor_scale if self._monitor else self._commanded()
        return self._scale.si(float(volts[0])), command

    def _mean(self, inputs: Sequence[str], seconds: float) -> NDArray[np.float64]:
        """[V] of each input, averaged; what the card has lost, it says is no number, and is left out."""
        volts = self._card.latest(inputs, seconds).volts
        taken = np.isfinite(volts).all(axis=1)
        if not taken.any():
            problem = Problem("amplifier", "not a number", "an input shows no voltage", "check the card's inputs")
            raise InstrumentLost("amplifier", problem)
        mean: NDArray[np.float64] = volts[taken].mean(axis=0)
        return mean

    def _commanded(self) -> float:
        return self._card.written(self._output) * self._command_scale

    def identity(self) -> Identity:
        """The model that the rig file names, for an analogue amplifier cannot be asked; the card's client."""
        card = self._card.identity()
        return Identity(f"{self._name}, by the lines of {card.model}", card.serial, card.firmware, card.client)

    def state(self) -> RoleState:
        """Gain, filter and mode as the telegraphs tell them, and what to think of the currents that they scale."""
        now = self._clock.now_ns()
        card = self._card.state([self._scale.input])  # a lost card is tried once more there
        if card.quality == Quality.STALE:  # a few samples that it has lost do not make it one that is lost
            return RoleState(now, card.quality, card.message)
        try:
            told, messages = self._look()
            volts = abs(self._card.latest([self._scale.input], _TELEGRAPH_SECONDS).volts)
        except OpsicmError as error:
            return RoleState(now, Quality.MISSING, str(error.problems[0]))
        settings: dict[str, float | str] = {}
        if isinstance(gain := told.get("gain"), float):
            settings["gain_V_A"] = to_si("gain_mV_per_pA", gain)
        if isinstance(cut := told.get("filter"), float):
            settings["filter_Hz"] = to_si("filter_kHz", cut)
        if isinstance(mode := told.get("mode"), str):
            settings["mode"] = mode
        if messages:
            return RoleState(now, Quality.SUSPECT, "; ".join(messages.values()), settings)
        if (largest := float(np.nanmax(volts, initial=0.0))) >= self._full:
            clipped = f"the scaled output is at {largest:.2f} V, the end of its range"
            return RoleState(now, Quality.SATURATED, clipped, settings)
        return RoleState(now, Quality.GOOD, self._not_told(), settings)

    def _not_told(self) -> str:
        """What is not read back, in words."""
        missing = [name for name in ("gain", "filter", "mode") if name not in {each.name for each in self._told}]
        if not missing:
            return ""
        return (
            f"{' and '.join(missing)} not read back: the rig file names no telegraph for "
            f"{'it' if len(missing) == 1 else 'them'}, and a switch at another position would be a factor in every "
            "current; look at the panel"
        )

    def _look(self) -> tuple[Mapping[str, float | str], Mapping[str, str]]:
        """(what the telegraphs tell, where that is not what the rig file says: in words)."""
        analogue = [each.lines[0] for each in self._told if not each.digital]
        volts = iter(self._mean(analogue, _TELEGRAPH_SECONDS).tolist() if analogue else ())
        told: dict[str, float | str] = {}
        messages: dict[str, str] = {}
        for each in self._told:
            code = float(
                sum(self._card.line(line) << k for k, line in enumerate(each.lines)) if each.digital else next(volts)
            )
            value = each.value(code)
            if value is None:
                messages[each.name] = each.between(code)
                continue
            told[each.name] = value
            if message := self._differs(each.name, value):
                messages[each.name] = message
        return told, messages

    def _differs(self, name: str, value: float | str) -> str:
        """What a value other than the rig file's does to the record; empty where it is the same."""
        if isinstance(value, str):
            if value == VOLTAGE_CLAMP:
                return ""
            mode = value.replace("_", " ")
            return f"the mode is {mode} and the rig file says voltage clamp: the scaled output shows no current there"
        expected = self._gain * 1e-9 if name == "gain" else self._filter * 1e-3
        factor = value / expected
        if abs(factor - 1.0) <= _AGREES:
            return ""
        differs = f"is {value:g} {_UNIT[name]} and the rig file says {expected:g}"
        if name == "filter":
            effect = f"{1.0 / factor:.3g} times slower" if factor < 1.0 else f"{factor:.3g} times faster, and noisier,"
            return f"the filter {differs}: the current is {effect} than the hops assume"
        size = f"{factor:.3g} times too large" if factor > 1.0 else f"{1.0 / factor:.3g} times too small"
        return f"the gain {differs}: currents would be {size}"

    @property
    def safe_address(self) -> str:
        """The safe channel of the card that zeroes the command."""
        return self._card.safe_address("amplifier", {self._output: 0.0})

    def safe(self) -> None:
        """Command to 0 V."""
        self._card.write(self._output, 0.0)


DRIVER = Driver(
    "patch_clamp",
    "amplifier",
    "a patch clamp by scaled output, external command and telegraphs, behind a card",
    PatchClamp,
    specify,
    PatchClampSettings,
    client="nidaqmx",
    extra="ni",
    verified="through NI's client against the emulated card, never with an amplifier",
)
