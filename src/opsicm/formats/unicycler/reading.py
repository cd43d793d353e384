"""Cell programs from aurora-unicycler's JSON.

**Signs.** In aurora-unicycler a positive current charges: the potential of the working electrode rises, and its cut-off
is an upper limit. In opsicm a positive current delithiates the specimen, whose potential against lithium rises as well.
So the sign is kept. That holds for a half cell, specimen against lithium, as opsicm measures it. Charging a full cell
lithiates its graphite: a protocol for a full cell means something else, and no file states which cell it is for.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from opsicm.core.errors import BadInput
from opsicm.experiment.cell_steps import CellRepeat, CellStep, ConstantCurrentStep, Hold, OpenCircuitStep, Sweep, Until
from opsicm.experiment.key_refusals import name_of
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.setup import Envelope
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.yaml_file import Document
from opsicm.formats.unicycler import vocabulary
from opsicm.formats.unicycler.vocabulary import read_protocol

__all__ = ["CyclerProgram", "from_unicycler"]

Model = TypeVar("Model", bound=FileModel)


@dataclass(frozen=True, slots=True)
class CyclerProgram:
    """A protocol as opsicm's cell program: the sample's name if it has one, the cell steps, and their limits."""

    name: str | None
    steps: tuple[CellStep, ...]
    envelope: Envelope


def from_unicycler(text: str, name: str = "<text>") -> CyclerProgram:
    """Cell steps from a JSON text of aurora-unicycler.

    `rate_C` becomes `current_mA` with the sample's capacity, as on a cycler; without one it becomes `c_rate`, of the
    specimen's own capacity. Limits that the file does not give are the envelope's own. A `voltage_scan` is read with
    the one or two that bring it back to its start, as a sweep. Raises `BadInput` with what cannot be read; `name`
    stands in it as the file.
    """
    document, protocol = read_protocol(text, name)
    sample = protocol.sample.name
    steps = _Nesting(document, protocol).steps()
    return CyclerProgram(
        None if sample == vocabulary.UNNAMED_SAMPLE else sample, steps, _envelope(document, protocol.safety)
    )


def _envelope(document: Document, safety: vocabulary.SafetyLimits) -> Envelope:
    low, high = Envelope().cell_V
    low = low if safety.min_voltage_V is None else safety.min_voltage_V
    high = high if safety.max_voltage_V is None else safety.max_voltage_V
    if not low < high:
        limit = f"the cell may go from {low:g} to {high:g} V"
        remedy = "give min_voltage_V and max_voltage_V, the first below the second"
        raise BadInput(document.problem(("safety",), "", limit, remedy))
    if safety.max_current_mA is None:
        return Envelope(cell_V=(low, high))
    return Envelope(cell_V=(low, high), cell_mA=safety.max_current_mA)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A step, or one segment of a sweep, and the first and last entries of the file that it comes from."""

    first: int
    last: int
    step: CellStep | vocabulary.VoltageScanStep


class _Nesting:
    """Turns a flat list with loops into nested steps."""

    def __init__(self, document: Document, protocol: vocabulary.CyclingProtocol) -> None:
        self._document = document
        self._method = protocol.method
        self._capacity = protocol.sample.capacity_mAh
        self._every = protocol.record.time_s

    def steps(self) -> tuple[CellStep, ...]:
        """The cell program."""
        tags = self._tags()
        placed: list[_Placed] = []
        for index, step in enumerate(self._method):
            if isinstance(step, vocabulary.LoopStep):
                self._close(index, step, tags, placed)
            elif not isinstance(step, vocabulary.TagStep):
                placed.append(_Placed(index, index, self._plain(index, step)))
        if not placed:
            raise self._refusal(("method",), "", "does nothing to the cell", "add a step other than a tag")
        return self._with_sweeps(placed)

    def _tags(self) -> dict[str, int]:
        tags: dict[str, int] = {}
        for index, step in enumerate(self._method):
            if isinstance(step, vocabulary.TagStep):
                if step.tag in tags:
                    limit = f"method[{tags[step.tag]}] has this tag too"
                    raise self._refusal(("method", index, "tag", "tag"), step.tag, limit, "rename one of the two")
                tags[step.tag] = index
        return tags

    def _close(self, index: int, loop: vocabulary.LoopStep, tags: dict[str, int], placed: list[_Placed]) -> None:
        """Replace the steps that the loop repeats by one repeat step."""
        named = loop.loop_to
        path: KeyPath = ("method", index, "loop", "loop_to")
        if isinstance(named, str) and named not in tags:
            raise self._refusal(path, named, "no step has this tag", "add it before the first step of the loop")
        target = tags[named] if isinstance(named, str) else named - 1
        if target >= index:
            raise self._refusal(path, named, "a loop goes back, not on", "name a tag or a step before the loop")
        if any(one.first < target <= one.last for one in placed):
            raise self._refusal(path, named, "it leads into another loop", "let loops stand in one another or apart")
        again = [one for one in placed if one.first >= target]
        if not again:
            raise self._refusal(path, named, "there is nothing to repeat", "put steps between the tag and the loop")
        del placed[-len(again) :]
        body = self._with_sweeps(again)
        only = body[0]
        step: CellStep
        if len(body) == 1 and isinstance(only, Sweep) and only.cycles == 1:
            step = only.model_copy(update={"cycles": loop.cycle_count})
        else:
            step = self._validated_step(index, CellRepeat, times=loop.cycle_count, steps=body)
        placed.append(_Placed(again[0].first, index, step))

    def _plain(self, index: int, step: vocabulary.SingleStep) -> CellStep | vocabulary.VoltageScanStep:
        match step:
            case vocabulary.VoltageScanStep():
                return step
            case vocabulary.OpenCircuitVoltageStep():
                return OpenCircuitStep(for_s=step.until_time_s, record_every_s=self._every)
            case vocabulary.ConstantVoltageStep():
                return self._validated_step(
                    index,
                    Hold,
                    potential_V=step.voltage_V,
                    for_s=step.until_time_s,
                    until=self._end_current(step),
                    record_every_s=self._every,
                )
            case vocabulary.ConstantCurrentStep():
                until = Until(potential_V=step.until_voltage_V, for_s=step.until_time_s)
                current = self._current(step)
                return self._validated_step(
                    index, ConstantCurrentStep, until=until, record_every_s=self._every, **current
                )

    def _current(self, step: vocabulary.ConstantCurrentStep) -> dict[str, float | None]:
        """The current under opsicm's key; its sign is kept."""
        if step.rate_C is None:
            return {"current_mA": step.current_mA}
        if self._capacity is None:
            return {"c_rate": step.rate_C}
        return {"current_mA": step.rate_C * self._capacity}

    def _end_current(self, step: vocabulary.ConstantVoltageStep) -> dict[str, float | None] | None:
        """The current that ends a hold, under opsicm's key: a magnitude in either direction."""
        if step.until_rate_C is None:
            return None if step.until_current_mA is None else {"current_mA": abs(step.until_current_mA)}
        if self._capacity is None:
            return {"c_rate": abs(step.until_rate_C)}
        return {"current_mA": abs(step.until_rate_C) * self._capacity}

    def _with_sweeps(self, placed: list[_Placed]) -> tuple[CellStep, ...]:
        """The steps of a list, its scans joined to closed sweeps."""
        steps: list[CellStep] = []
        rest = list(placed)
        while rest:
            step = rest[0].step
            if not isinstance(step, vocabulary.VoltageScanStep):
                steps.append(step)
                del rest[0]
                continue
            following = itertools.takewhile(
                lambda other: isinstance(other, vocabulary.VoltageScanStep), _steps_of(rest[:3])
            )
            count, corners = _one_cycle([scan for scan in following if isinstance(scan, vocabulary.VoltageScanStep)])
            if not count:
                limit = "a sweep of opsicm returns to its start, at one rate"
                remedy = f"let a voltage_scan from {step.end_voltage_V:g} to {step.start_voltage_V:g} V follow"
                raise self._refusal(("method", rest[0].first), "", limit, remedy)
            rate = step.scan_rate_mV_per_s
            sweep = self._validated_step(rest[0].first, Sweep, rate_mV_s=rate, record_every_s=self._every, **corners)
            steps.append(sweep)
            del rest[:count]
        return tuple(steps)

    def _validated_step(self, index: int, model: type[Model], **settings: Any) -> Model:
        try:
            return model(**settings)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in detail["loc"])
            limit = f"{name_of(model)} {key}: {detail['msg']}"
            raise self._refusal(("method", index), "", limit, "change this step") from None

    def _refusal(self, path: KeyPath, value: object, limit: str, remedy: str) -> BadInput:
        return BadInput(self._document.problem(path, value, limit, remedy))


def _steps_of(placed: list[_Placed]) -> list[CellStep | vocabulary.VoltageScanStep]:
    return [entry.step for entry in placed]


def _one_cycle(scans: list[vocabulary.VoltageScanStep]) -> tuple[int, dict[str, float]]:
    """(how many of the scans make one cycle of a sweep, its corners [V]); none where they do not."""
    if len({scan.scan_rate_mV_per_s for scan in scans[:2]}) > 1:
        return 0, {}
    turns = [(scan.start_voltage_V, scan.end_voltage_V) for scan in scans]
    begin, top = turns[0]
    if len(turns) > 1 and turns[1] == (top, begin):
        return 2, {"from_V": begin, "to_V": top}
    one_rate = len({scan.scan_rate_mV_per_s for scan in scans}) == 1
    if len(turns) > 2 and one_rate and turns[1][0] == top and turns[2] == (turns[1][1], begin):
        bottom = turns[1][1]
        if min(top, bottom) < begin < max(top, bottom):
            return 3, {"from_V": bottom, "to_V": top, "start_V": begin}
    return 0, {}
