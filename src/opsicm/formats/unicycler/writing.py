"""Cell programs as aurora-unicycler's JSON, which cyclers and PyBaMM take. Signs as in `unicycler_import`: kept.

The same deeds, not always in the same words: a ladder goes out as its holds, a pulse train as a loop of current and
rest, `rest` as open circuit, `conditioning` as a sweep, a current per area in mA; each comes back as it went out.
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
from opsicm.formats.unicycler import vocabulary as theirs
from opsicm.formats.unicycler.vocabulary import protocol_text

__all__ = ["to_unicycler"]

_EVERY_S = 1.0  # there is no file without time_s; a program may leave it to the runner


def to_unicycler(loaded: LoadedExperiment, capacity_mAh: float | None = None) -> str:
    """The cell program of an experiment as a JSON text of aurora-unicycler, with its envelope as `safety`.

    `capacity_mAh` [mAh] of the sample is needed for a `c_rate`. The probe program has no place there and is left out.
    Raises `BadInput` with everything that cannot be said there.
    """
    return protocol_text(_Writing(loaded, capacity_mAh).protocol())


class _Writing:
    """Lays steps that nest out in a list with tags and loops; collects what it cannot say."""

    def __init__(self, loaded: LoadedExperiment, capacity_mAh: float | None) -> None:
        self._loaded = loaded
        self._experiment = loaded.experiment
        self._area = loaded.experiment.specimen.area
        self._capacity = capacity_mAh
        self._problems: list[Problem] = []
        self._every: dict[float, KeyPath] = {}
        self._tags = 0
        self._way = 1.0  # of the current, as the last step that says so leaves it: −1 lithiates

    def protocol(self) -> theirs.Protocol:
        """The file; raises `BadInput` with every problem."""
        method = tuple(self._all(self._experiment.cell, ("cell",)))
        for varied in self._experiment.vary:
            if varied.startswith(("cell", "specimen", "envelope")):
                limit = "a cycling protocol is one run, not a series"
                self._cannot(("vary", varied), limit, "delete it, or write one value into each of several files")
        if len(self._every) > 1:
            path = list(self._every.values())[1]
            limit = "a cycling protocol has one period for all steps"
            self._cannot((*path, "record_every_s"), limit, f"give every step {min(self._every):g}", max(self._every))
        if self._problems:
            raise BadInput(self._problems)
        sample = theirs.Sample(name=self._experiment.title, capacity_mAh=self._capacity)
        record = theirs.Record(time_s=next(iter(self._every), _EVERY_S))
        return theirs.Protocol(sample=sample, record=record, safety=_safety(self._experiment.envelope), method=method)

    def _all(self, steps: Sequence[CellStep], path: KeyPath) -> Iterator[theirs.MethodStep]:
        for index, step in enumerate(steps):
            yield from self._one(step, (*path, index, step.word))

    def _one(self, step: CellStep, path: KeyPath) -> Iterator[theirs.MethodStep]:
        if not isinstance(step, CellRepeat) and step.record_every_s is not None:
            self._every.setdefault(step.record_every_s, path)
        if isinstance(step, PotentialStep) and step.ir_compensation_pct:
            remedy = "set it on the cycler and delete it here"
            self._cannot(
                (*path, "ir_compensation_pct"),
                "aurora-unicycler has no iR compensation",
                remedy,
                step.ir_compensation_pct,
            )
        match step:
            case CellRepeat():
                yield from self._looped(list(self._all(step.steps, (*path, "steps"))), step.times)
            case Sweep():
                yield from self._sweep(step)
            case Hold():
                yield from self._hold(step, path)
            case Ladder():
                for level in step.levels():
                    yield theirs.ConstantVoltage(voltage_V=level, until_time_s=step.rest_s + step.hold_s)
            case ConstantCurrentStep():
                yield from self._constant_current(step, path)
            case Gitt():
                yield from self._titration(step, path)
            case OpenCircuitStep():
                yield theirs.OpenCircuitVoltage(until_time_s=step.for_s)
            case _:
                assert_never(step)

    def _looped(self, body: list[theirs.MethodStep], times: int) -> Iterator[theirs.MethodStep]:
        if not body:  # its step could not be said
            return
        self._tags += 1
        tag = f"loop {self._tags}"
        yield theirs.Tag(tag=tag)
        yield from body
        yield theirs.Loop(loop_to=tag, cycle_count=times)

    def _sweep(self, step: Sweep) -> Iterator[theirs.MethodStep]:
        rate = step.rate_mV_s
        once = step.one_cycle()
        end = once[-1]
        self._way = -1.0 if end[1] < end[0] else 1.0
        scans: list[theirs.MethodStep] = [
            theirs.VoltageScan(start_voltage_V=start, end_voltage_V=end, scan_rate_mV_per_s=rate)
            for start, end, _ in once
        ]
        yield from scans if step.cycles == 1 else self._looped(scans, step.cycles)

    def _constant_current(self, step: ConstantCurrentStep, path: KeyPath) -> Iterator[theirs.MethodStep]:
        until = step.until
        known = len(self._problems)
        current = self._driven(step, path)
        if until.potential_V == 0:
            limit = "aurora-unicycler takes 0 for not given, so the cut-off would be lost"
            self._cannot((*path, "until", "potential_V"), limit, "write 0.001", 0)
        if until.charge_mAh is not None:
            mA = current.current_mA if current.rate_C is None else current.rate_C * (self._capacity or 0)
            seconds = f"{until.charge_mAh / abs(mA) * 3600:.6g}" if mA else "…"
            limit = "aurora-unicycler ends a current by time or potential, not by charge"
            self._cannot((*path, "until", "charge_mAh"), limit, f"write for_s: {seconds}", until.charge_mAh)
        if until.soc_pct is not None:
            limit = "aurora-unicycler ends a current by time or potential, not by state of charge"
            self._cannot((*path, "until", "soc_pct"), limit, "write for_s", until.soc_pct)
        if known == len(self._problems):
            ends = {"until_time_s": until.for_s, "until_voltage_V": until.potential_V}
            yield current.model_copy(update=ends)

    def _hold(self, step: Hold, path: KeyPath) -> Iterator[theirs.MethodStep]:
        known = len(self._problems)
        fallen: dict[str, float | None] = {}
        if step.until is not None:
            current = self._current(step.until, (*path, "until"))
            # There the sign says which way the current flows, as a Neware must know: as in the step before.
            signed = {"until_rate_C": current.rate_C, "until_current_mA": current.current_mA}
            fallen = {key: None if size is None else self._way * size for key, size in signed.items()}
        if known == len(self._problems):
            yield theirs.ConstantVoltage(voltage_V=step.potential_V, until_time_s=step.for_s, **fallen)

    def _titration(self, step: Gitt, path: KeyPath) -> Iterator[theirs.MethodStep]:
        known = len(self._problems)
        current = self._driven(step, path)
        if step.until is not None:
            limit = "a loop of aurora-unicycler ends by its count alone"
            self._cannot((*path, "until"), limit, "delete it and give pulses")
        if known == len(self._problems) and step.pulses is not None:
            pulse = current.model_copy(update={"until_time_s": step.pulse_s})
            yield from self._looped([pulse, theirs.OpenCircuitVoltage(until_time_s=step.rest_s)], step.pulses)

    def _driven(self, step: CurrentStep, path: KeyPath) -> theirs.ConstantCurrent:
        given = next(value for value in (step.current_mA, step.current_mA_cm2, step.c_rate) if value is not None)
        self._way = -1.0 if given < 0 else 1.0
        return self._current(step, path)

    def _current(self, step: CurrentSetting, path: KeyPath) -> theirs.ConstantCurrent:
        """A constant current without its end yet; its sign is kept."""
        if step.c_rate is not None:
            if self._capacity is None:
                limit = "a C-rate needs the capacity of the sample"
                self._cannot((*path, "c_rate"), limit, "give --capacity-mah, or write current_mA", step.c_rate)
            return theirs.ConstantCurrent.model_construct(rate_C=step.c_rate)
        given = step.current_mA  # as written: there and back through amperes would cost a digit
        mA = step.current(self._area) / factor("mA") if given is None else given
        return theirs.ConstantCurrent.model_construct(current_mA=mA)

    def _cannot(self, path: KeyPath, limit: str, remedy: str, value: object = "") -> None:
        self._problems.append(self._loaded.problem(path, value, limit, remedy))


def _safety(envelope: Envelope) -> theirs.Safety:
    low, high = envelope.cell_V
    largest = envelope.cell_mA
    return theirs.Safety(max_voltage_V=high, min_voltage_V=low, max_current_mA=largest, min_current_mA=-largest)
