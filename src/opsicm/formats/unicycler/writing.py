"""Cell programs as aurora-unicycler's JSON, which cyclers and PyBaMM read. Signs are kept, as in `reading`.

The cell is driven as before, though not always by the same steps: a ladder is written as its holds, a pulse train as a
loop of current and rest, `rest` as open circuit, `conditioning` as a sweep, a current per area in mA; read back, each
stays as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import factor
from opsicm.experiment.cell_steps import (
    CellRepeat,
    CellStep,
    ConstantCurrentStep,
    CurrentSetting,
    CurrentStep,
    Gitt,
    Hold,
    Ladder,
    OpenCircuitStep,
    PotentialStep,
    Sweep,
)
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.setup import Envelope
from opsicm.formats.unicycler import vocabulary
from opsicm.formats.unicycler.vocabulary import protocol_text

__all__ = ["to_unicycler"]

_EVERY_S = 1.0  # there is no file without time_s; a program may leave it to the runner


def to_unicycler(loaded: LoadedExperiment, capacity_mAh: float | None = None) -> str:
    """The cell program of an experiment as a JSON text of aurora-unicycler, with its envelope as `safety`.

    `capacity_mAh` [mAh] of the sample is needed for a `c_rate`. The probe program is left out: the format has none.
    Raises `BadInput` with everything that the format cannot express.
    """
    return protocol_text(_Flattening(loaded, capacity_mAh).protocol())


class _Flattening:
    """Turns nested steps into a flat list with tags and loops; collects what the format cannot express."""

    def __init__(self, loaded: LoadedExperiment, capacity_mAh: float | None) -> None:
        self._loaded = loaded
        self._experiment = loaded.experiment
        self._area = loaded.experiment.specimen.area
        self._capacity = capacity_mAh
        self._problems: list[Problem] = []
        self._periods: dict[float, KeyPath] = {}
        self._tags = 0
        self._sign = 1.0  # of the current in the last step that states one: −1 lithiates

    def protocol(self) -> vocabulary.CyclingProtocol:
        """The file; raises `BadInput` with every problem."""
        method = tuple(self._flatten(self._experiment.cell, ("cell",)))
        for varied in self._experiment.vary:
            if varied.startswith(("cell", "specimen", "envelope")):
                limit = "a cycling protocol is one run, not a series"
                self._refuse(("vary", varied), limit, "delete it, or write one value into each of several files")
        if len(self._periods) > 1:
            path = list(self._periods.values())[1]
            limit = "a cycling protocol has one period for all steps"
            self._refuse(
                (*path, "record_every_s"), limit, f"give every step {min(self._periods):g}", max(self._periods)
            )
        if self._problems:
            raise BadInput(self._problems)
        sample = vocabulary.SampleSettings(name=self._experiment.title, capacity_mAh=self._capacity)
        record = vocabulary.RecordSettings(time_s=next(iter(self._periods), _EVERY_S))
        return vocabulary.CyclingProtocol(
            sample=sample, record=record, safety=_safety(self._experiment.envelope), method=method
        )

    def _flatten(self, steps: Sequence[CellStep], path: KeyPath) -> Iterator[vocabulary.MethodStep]:
        for index, step in enumerate(steps):
            yield from self._flatten_step(step, (*path, index, step.word))

    def _flatten_step(self, step: CellStep, path: KeyPath) -> Iterator[vocabulary.MethodStep]:
        if not isinstance(step, CellRepeat) and step.record_every_s is not None:
            self._periods.setdefault(step.record_every_s, path)
        if isinstance(step, PotentialStep) and step.ir_compensation_pct:
            remedy = "set it on the cycler and delete it here"
            self._refuse(
                (*path, "ir_compensation_pct"),
                "aurora-unicycler has no iR compensation",
                remedy,
                step.ir_compensation_pct,
            )
        match step:
            case CellRepeat():
                yield from self._looped(list(self._flatten(step.steps, (*path, "steps"))), step.times)
            case Sweep():
                yield from self._sweep(step)
            case Hold():
                yield from self._hold(step, path)
            case Ladder():
                for level in step.levels():
                    yield vocabulary.ConstantVoltageStep(voltage_V=level, until_time_s=step.rest_s + step.hold_s)
            case ConstantCurrentStep():
                yield from self._constant_current(step, path)
            case Gitt():
                yield from self._titration(step, path)
            case OpenCircuitStep():
                yield vocabulary.OpenCircuitVoltageStep(until_time_s=step.for_s)
            case _:
                assert_never(step)

    def _looped(self, body: list[vocabulary.MethodStep], times: int) -> Iterator[vocabulary.MethodStep]:
        if not body:  # its only step was refused
            return
        self._tags += 1
        tag = f"loop {self._tags}"
        yield vocabulary.TagStep(tag=tag)
        yield from body
        yield vocabulary.LoopStep(loop_to=tag, cycle_count=times)

    def _sweep(self, step: Sweep) -> Iterator[vocabulary.MethodStep]:
        rate = step.rate_mV_s
        scan_corners = step.one_cycle()
        end = scan_corners[-1]
        self._sign = -1.0 if end[1] < end[0] else 1.0
        scans: list[vocabulary.MethodStep] = [
            vocabulary.VoltageScanStep(start_voltage_V=start, end_voltage_V=end, scan_rate_mV_per_s=rate)
            for start, end, _ in scan_corners
        ]
        yield from scans if step.cycles == 1 else self._looped(scans, step.cycles)

    def _constant_current(self, step: ConstantCurrentStep, path: KeyPath) -> Iterator[vocabulary.MethodStep]:
        until = step.until
        problems_before = len(self._problems)
        current = self._signed_current(step, path)
        if until.potential_V == 0:
            limit = "aurora-unicycler takes 0 for not given, so the cut-off would be lost"
            self._refuse((*path, "until", "potential_V"), limit, "write 0.001", 0)
        if until.charge_mAh is not None:
            mA = current.current_mA if current.rate_C is None else current.rate_C * (self._capacity or 0)
            seconds = f"{until.charge_mAh / abs(mA) * 3600:.6g}" if mA else "…"
            limit = "aurora-unicycler ends a current by time or potential, not by charge"
            self._refuse((*path, "until", "charge_mAh"), limit, f"write for_s: {seconds}", until.charge_mAh)
        if until.soc_pct is not None:
            limit = "aurora-unicycler ends a current by time or potential, not by state of charge"
            self._refuse((*path, "until", "soc_pct"), limit, "write for_s", until.soc_pct)
        if problems_before == len(self._problems):
            ends = {"until_time_s": until.for_s, "until_voltage_V": until.potential_V}
            yield current.model_copy(update=ends)

    def _hold(self, step: Hold, path: KeyPath) -> Iterator[vocabulary.MethodStep]:
        problems_before = len(self._problems)
        end_current: dict[str, float | None] = {}
        if step.until is not None:
            current = self._current(step.until, (*path, "until"))
            # aurora-unicycler's sign is the direction of the current, which a Neware needs: that of the step before.
            signed = {"until_rate_C": current.rate_C, "until_current_mA": current.current_mA}
            end_current = {key: None if size is None else self._sign * size for key, size in signed.items()}
        if problems_before == len(self._problems):
            yield vocabulary.ConstantVoltageStep(voltage_V=step.potential_V, until_time_s=step.for_s, **end_current)

    def _titration(self, step: Gitt, path: KeyPath) -> Iterator[vocabulary.MethodStep]:
        problems_before = len(self._problems)
        current = self._signed_current(step, path)
        if step.until is not None:
            limit = "a loop of aurora-unicycler ends by its count alone"
            self._refuse((*path, "until"), limit, "delete it and give pulses")
        if problems_before == len(self._problems) and step.pulses is not None:
            pulse = current.model_copy(update={"until_time_s": step.pulse_s})
            yield from self._looped([pulse, vocabulary.OpenCircuitVoltageStep(until_time_s=step.rest_s)], step.pulses)

    def _signed_current(self, step: CurrentStep, path: KeyPath) -> vocabulary.ConstantCurrentStep:
        self._sign = -1.0 if step.signed[1] < 0 else 1.0
        return self._current(step, path)

    def _current(self, step: CurrentSetting, path: KeyPath) -> vocabulary.ConstantCurrentStep:
        """A constant current, still without its end; its sign is kept."""
        key, value = step.signed
        if key == "c_rate":
            if self._capacity is None:
                limit = "a C-rate needs the capacity of the sample"
                self._refuse((*path, "c_rate"), limit, "give --capacity-mah, or write current_mA", value)
            return vocabulary.ConstantCurrentStep.model_construct(rate_C=value)
        # In mA as written: there and back through amperes would cost a digit.
        mA = value if key == "current_mA" else step.current(self._area) / factor("mA")
        return vocabulary.ConstantCurrentStep.model_construct(current_mA=mA)

    def _refuse(self, path: KeyPath, limit: str, remedy: str, value: object = "") -> None:
        self._problems.append(self._loaded.problem(path, value, limit, remedy))


def _safety(envelope: Envelope) -> vocabulary.SafetyLimits:
    low, high = envelope.cell_V
    largest = envelope.cell_mA
    return vocabulary.SafetyLimits(
        max_voltage_V=high, min_voltage_V=low, max_current_mA=largest, min_current_mA=-largest
    )
