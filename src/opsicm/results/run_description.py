"""What was run, in words: the cell program, the probe program, pipette and bath, from the stored experiment file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opsicm.experiment.cell_steps import (
    CellRepeat,
    CellStep,
    Conditioning,
    ConstantCurrentStep,
    CurrentSetting,
    Gitt,
    Hold,
    Ladder,
    OpenCircuitStep,
    Sweep,
)
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import AwaitedEvents, BaseProbeStep
from opsicm.experiment.probe_steps import (
    ExchangeTip,
    LineScan,
    Park,
    PipetteSweep,
    PointStep,
    ProbeRepeat,
    ProbeStep,
    Raster,
    ReturnTo,
    Tower,
)
from opsicm.results.number_text import duration

_LONGEST_GROUP: Final = 6  # steps that are recognised as repeated
_MOST: Final = 6  # steps of a program that are spelt out


def described(experiment: Experiment) -> list[tuple[str, str]]:
    """(what, words) of an experiment: cell, probe, pipette, bath."""
    pipette = experiment.pipette
    fill = "" if pipette.fill_M is None else f", filled with {pipette.fill_M:g} M"
    return [
        ("cell", _program([_cell_words(step) for step in experiment.cell])),
        ("probe", _program([_probe_words(step) for step in experiment.probe]) or "no probe program"),
        ("pipette", f"{pipette.radius_nm:g} nm radius, bias {pipette.bias_V:g} V vs Li/Li⁺{fill}"),
        ("bath", f"{experiment.electrolyte.salt_M:g} M salt"),
    ]


def _program(words: Sequence[str]) -> str:
    """The steps in order; a group that follows itself is written once with its number."""
    out: list[str] = []
    k = 0
    while k < len(words):
        length, times = max(
            ((n, _times(words, k, n)) for n in range(1, min(_LONGEST_GROUP, len(words) - k) + 1)),
            key=lambda group: (group[0] * group[1] if group[1] > 1 else 1, -group[0]),
        )
        if times > 1:
            inside = ", ".join(words[k : k + length])
            out.append(f"{times} × ({inside})" if length > 1 else f"{times} × {inside}")
            k += length * times
        else:
            out.append(words[k])
            k += 1
    if len(out) > _MOST:
        out = [*out[: _MOST - 1], f"… {len(out) - _MOST} more …", out[-1]]
    return "; then ".join(out)


def _times(words: Sequence[str], k: int, length: int) -> int:
    """How often the `length` words from `k` on follow one another."""
    times = 1
    while list(words[k + times * length : k + (times + 1) * length]) == list(words[k : k + length]):
        times += 1
    return times


def _cell_words(step: CellStep) -> str:
    match step:
        case CellRepeat():
            return f"{step.times} × ({', '.join(_cell_words(inner) for inner in step.steps)})"
        case Sweep():
            begin = step.from_V if step.start_V is None else step.start_V
            ends = [begin, step.to_V, step.from_V] + ([step.start_V] if step.start_V is not None else [])
            name = "conditioning" if isinstance(step, Conditioning) else "sweep"
            cycles = f", {step.cycles} cycles" if step.cycles > 1 else ""
            compensated = f", {step.ir_compensation_pct:g} % iR compensated" if step.ir_compensation_pct else ""
            return f"{name} {' → '.join(f'{e:g}' for e in ends)} V at {step.rate_mV_s:g} mV/s{cycles}{compensated}"
        case Hold():
            ends_at = [
                f"for {duration(step.for_s)}" if step.for_s is not None else "",
                f"until below {_magnitude_words(step.until)}" if step.until is not None else "",
            ]
            return f"hold {step.potential_V:g} V {' or '.join(filter(None, ends_at))}"
        case Ladder():
            return (
                f"{len(step.levels())} levels {step.from_V:g} → {step.to_V:g} V, each held for "
                f"{duration(step.rest_s + step.hold_s)}"
            )
        case ConstantCurrentStep():
            until = step.until
            ends_at = [
                f"to {until.potential_V:g} V" if until.potential_V is not None else "",
                f"for {duration(until.for_s)}" if until.for_s is not None else "",
                f"for {until.charge_mAh:g} mAh" if until.charge_mAh is not None else "",
                f"to {until.soc_pct:g} % SOC" if until.soc_pct is not None else "",
            ]
            return f"{_current_words(step)} {' or '.join(filter(None, ends_at))}"
        case Gitt():
            count = "" if step.pulses is None else f"{step.pulses} "
            stop = "" if step.until is None else f" to {step.until.potential_V:g} V"
            return (
                f"{count}pulses of {_current_words(step)} for {duration(step.pulse_s)} with rests of "
                f"{duration(step.rest_s)}{stop}"
            )
        case OpenCircuitStep():
            return f"open circuit for {duration(step.for_s)}"


def _magnitude_words(setting: CurrentSetting) -> str:
    key, value = setting.signed
    unit = {"current_mA": "mA", "current_mA_cm2": "mA/cm²", "c_rate": "C"}[key]
    return f"{abs(value):g} {unit}"


def _current_words(step: CurrentSetting) -> str:
    return f"{'lithiation' if step.signed[1] < 0 else 'delithiation'} at {_magnitude_words(step)}"


def _probe_words(step: ProbeStep) -> str:
    if isinstance(step, ProbeRepeat):
        return f"{step.times} × ({', '.join(_probe_words(inner) for inner in step.steps)})"
    return f"{_probe_action(step)}{_how_often(step)}{_when(step)}"


def _probe_action(step: BaseProbeStep) -> str:
    match step:
        case Park():
            return f"parked {step.height_um:g} µm above the surface"
        case Tower():
            return f"up and down between {step.low_um:g} and {step.high_um:g} µm at {step.speed_mm_s:g} mm/s"
        case PipetteSweep():
            return f"pipette voltammogram {step.from_V:g} → {step.to_V:g} V at {step.height_um:g} µm"
        case PointStep():
            return f"hopping at ({step.at_um[0]:g}, {step.at_um[1]:g}) µm, setpoint {step.setpoint_pct:g} %"
        case LineScan():
            length = 1e6 * sum((a - b) ** 2 for a, b in zip(step.start, step.end, strict=True)) ** 0.5
            return f"a line of {length:.3g} µm, {step.pixels} pixels, setpoint {step.setpoint_pct:g} %"
        case Raster():
            (w, h), (nx, ny), (x, y) = step.size_um, step.pixels, step.center_um
            return f"images of {w:g} × {h:g} µm about ({x:g}, {y:g}) µm, {nx} × {ny} pixels"
        case ReturnTo():
            return f"back to landmark {step.name}"
        case ExchangeTip():
            return f"new tip: {step.note}"
        case _:
            return step.word.replace("_", " ")


def _when(step: BaseProbeStep) -> str:
    if step.during is not None:
        return f" during {step.during}"
    if step.at is not None:
        return f" {_event_words(step.at)}"
    return "" if step.time_bound is None else f" for {duration(step.time_bound)}"


def _how_often(step: BaseProbeStep) -> str:
    return "" if step.every_min is None else f" every {duration(60.0 * step.every_min)}"


def _event_words(at: AwaitedEvents) -> str:
    if at.after_each is not None:
        return "after each rest"
    values, unit = (at.soc_pct, "% SOC") if at.soc_pct is not None else (at.potential_V, "V")
    return f"at {', '.join(f'{v:g}' for v in values or ())} {unit}"
