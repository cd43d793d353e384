"""The experiment: a cell program and a probe program on one clock, within an envelope; and how these must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

from pydantic import Field, ValidationError

from opsicm.core.units import to_si
from opsicm.experiment.cell_steps import CELL_STEPS, CellStep, SingleCellStep
from opsicm.experiment.controls import nominal_controls, program_duration, step_duration
from opsicm.experiment.current_words import DIRECTIONS, magnitude
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_bounds import COUNTS, BaseProbeStep, cell_index
from opsicm.experiment.probe_steps import PROBE_STEPS, ApproachingStep, HoppingStep, ProbeStep, has_end
from opsicm.experiment.program import RepeatStep, Settings, Track, steps_inside, top_level_steps, written_steps
from opsicm.experiment.refusal import KeyPath, Refusal, path_text
from opsicm.experiment.setup import ElectrolyteSettings, Envelope, PipetteSettings, RecordingPolicies, SpecimenSettings
from opsicm.experiment.step_model import FileModel, Text, Whole
from opsicm.experiment.twin_settings import TwinSettings
from opsicm.experiment.vary import Vary, vary_refusals

# -- Steps in the file's form, repeats included, and how long they last. A step that is wrong in itself is left out; a
# -- key that is wrong is None.

Steps = list[tuple[KeyPath, Settings]]


def valid_settings(settings: Settings | None) -> Settings:
    """The settings without those that are wrong in themselves."""
    return {key: value for key, value in (settings or {}).items() if value is not None}


def steps_in_file(given: Settings, track: Track) -> Steps:
    """(key path with the word at its end, settings) of every step that is no repeat."""
    return [(placed.key_path, placed.step) for placed in written_steps(track, given.get(track))]


def valid_step(model: type[FileModel], settings: Settings) -> FileModel | None:
    """The step with these settings; None where they are wrong in themselves, which is reported there."""
    try:
        return model.model_validate(valid_settings(settings))
    except ValidationError:
        return None


def valid_cell_step(word: str, settings: Settings) -> SingleCellStep | None:
    """The cell step with these settings, which is no repeat; None where they are wrong in themselves."""
    return cast("SingleCellStep | None", valid_step(CELL_STEPS[word], settings) if word in CELL_STEPS else None)


def longest_cell_duration(word: str, settings: Settings) -> float:
    """The longest that a cell step of the file can last [s]; 0 where it is wrong or only a cut-off ends it."""
    if word == RepeatStep.word:
        once = sum(longest_cell_duration(str(entry.key_path[-1]), entry.step) for entry in steps_inside(settings))
        return float((settings.get("times") or 1) * once)
    step = valid_cell_step(word, settings)
    return (step_duration(step) if step is not None else None) or 0.0


# -- Refusals of the probe program: each `during` names a cell step that exists and is not over; nothing follows a step
# -- without an end; events occur and leave enough time; a landmark is imaged before `return_to`.

_BOUNDS = ("during", "for_s", *COUNTS)
_ROUNDING = 1.0 + 1e-12  # so that 5000 nm are not more than 5 µm


def probe_refusals(given: Settings, approach_um: float) -> Iterator[Refusal]:
    """Every disagreement of the probe program in `given`, the file's form of an experiment."""
    everything, cell = steps_in_file(given, "probe"), steps_in_file(given, "cell")
    entries = [(entry.key_path, entry.step) for entry in top_level_steps("probe", given.get("probe"))]
    yield from _amplitudes(everything, approach_um)
    cell_steps = len(given.get("cell") or ())
    yield from _order([entry for entry in entries if not _deferred(entry[1])], cell_steps)
    yield from _landmarks(everything)
    for path, settings in everything:
        if "every_min" in settings:
            yield from _during(path, settings.get("during"), cell_steps)
        at = settings.get("at")
        if isinstance(at, Mapping) and cell:
            yield from _events(path, at, cell)
            yield from _fits_rest(path, settings, at, cell)


def _amplitudes(probe: Steps, approach_um: float) -> Iterator[Refusal]:
    for path, settings in probe:
        amplitude = settings.get("amplitude_nm")
        if amplitude is not None and to_si("amplitude_nm", amplitude) > to_si("approach_um", approach_um) * _ROUNDING:
            limit = f"an approach may not be longer than envelope.approach_um, {approach_um:g} µm"
            yield Refusal(
                (*path, "amplitude_nm"), amplitude, limit, "lower the amplitude, or raise envelope.approach_um"
            )


def _deferred(settings: Settings) -> bool:
    """Whether a step waits for an event or for its next time, and so has no place in the order of the others."""
    return "at" in settings or "every_min" in settings


def _during(path: KeyPath, reference: Any, cell_steps: int) -> Iterator[Refusal]:
    """A `during` that names no step of the cell program."""
    index = cell_index(reference) if isinstance(reference, str) else None
    if index is not None and 0 < cell_steps <= index:
        names = f"cell[0] to cell[{cell_steps - 1}]" if cell_steps > 1 else "cell[0] only"
        yield Refusal((*path, "during"), reference, f"the cell program has {names}", "steps are counted from 0")


def _order(probe: Steps, cell_steps: int) -> Iterator[Refusal]:
    """Steps in order beside the cell steps; `probe` is without the steps that wait for events."""
    latest, free = -1, False  # the cell step last accompanied, and whether its companion ends before it
    for position, (path, settings) in enumerate(probe):
        model = PROBE_STEPS.get(str(path[-1]))
        ends = model is not None and has_end(model, settings)
        reference = settings.get("during")
        if reference is None:  # not given, or wrong in itself
            follower = probe[position + 1][0] if position + 1 < len(probe) else None
            if follower is not None and not ends and not any(bound in settings for bound in _BOUNDS):
                never = path_text(follower[:2])
                limit = f"has no bound, so it lasts until the cell program ends and {never} never starts"
                yield Refusal(path, "", limit, "give it during, for_s or a count")
            continue
        index = cell_index(reference)
        if index is None or not cell_steps:  # reported already
            continue
        if index >= cell_steps:
            yield from _during(path, reference, cell_steps)
        elif index < latest or (index == latest and not free):
            limit = f"an earlier probe step already accompanies cell[{latest}]"
            yield Refusal((*path, "during"), reference, limit, "put the probe steps in the order of the cell steps")
        else:
            latest, free = index, _ends_before_its_cell_step(str(path[-1]), ends)


def _ends_before_its_cell_step(word: str, ends: bool) -> bool:
    # A raster with `during` images until the cell step ends; its single pass is the default without a bound.
    return ends and word != "raster"


def _landmarks(probe: Steps) -> Iterator[Refusal]:
    known: list[str] = []
    for path, settings in probe:
        name = settings.get("name")
        if name is None:
            continue
        if path[-1] == "landmark" and name in known:
            yield Refusal((*path, "name"), name, "a landmark has this name already", "give it another name")
        elif path[-1] == "landmark":
            known.append(name)
        elif path[-1] == "return_to" and name not in known:
            names = ", ".join(known) or "none"
            limit = f"no landmark of this name was imaged before; there is {names}"
            yield Refusal((*path, "name"), name, limit, "image it first with landmark: {name: …}")


def _events(path: KeyPath, at: Settings, cell: Steps) -> Iterator[Refusal]:
    """Events that the cell program never causes. Nothing is reported where a cell step is wrong in itself."""
    steps = [valid_cell_step(str(step[-1]), settings) for step, settings in cell]
    controls = [None if step is None else nominal_controls(step) for step in steps]
    if at.get("after_each") is not None and all(c is not None and c.time_after_rest is None for c in controls):
        limit = "the cell program has no rest"
        yield Refusal((*path, "at"), dict(at), limit, "add an open_circuit, rest, ladder or gitt to cell")
    spans = [None if c is None else c.potential_span for c in controls]
    if any(span is None for span in spans):  # under a current the specimen decides on the potential
        return
    for index, value in enumerate(at.get("potential_V") or ()):
        if not any(span is not None and span[0] <= value <= span[1] for span in spans):
            limit = "the cell program never reaches this potential"
            yield Refusal((*path, "at", "potential_V", index), value, limit, "name a potential that it passes or holds")


def _fits_rest(path: KeyPath, settings: Settings, at: Settings, cell: Steps) -> Iterator[Refusal]:
    """Hops at a rest must end within it; their approaches alone are a lower bound of the time that they take."""
    least = _shortest_duration(str(path[-1]), settings)
    if least is None or at.get("after_each") is None:
        return
    for step, rest in cell:
        resting = valid_cell_step(str(step[-1]), rest)
        available = None if resting is None else nominal_controls(resting).time_after_rest
        if resting is not None and available is not None and least > available:
            where = path_text((*step, resting.rest_key))
            limit = f"its approaches alone take {least:.4g} s and {where} leaves {available:g} s"
            remedy = f"raise {where} to {least * 1.5:.3g} or more, or take fewer pixels"
            yield Refusal(path, "", limit, remedy)
            return


def _shortest_duration(word: str, settings: Settings) -> float | None:
    """The shortest that a step with its own end can last [s]."""
    step = valid_step(PROBE_STEPS[word], settings) if word in PROBE_STEPS else None
    if isinstance(step, HoppingStep) and step.count is not None:
        return step.count * step.amplitude / step.fall_rate
    return step.time_bound if isinstance(step, BaseProbeStep) else None


# -- Refusals of the programs against the envelope, on the file's form of an experiment that may be wrong elsewhere: a
# -- check whose key is missing or wrong in itself reports nothing.

_POTENTIALS = ("from_V", "to_V", "start_V", "potential_V")


def refusals_between(given: Mapping[str, Any]) -> Iterator[Refusal]:
    """Every disagreement in `given`, the file's form of an experiment."""
    envelope = {**Envelope().model_dump(), **valid_settings(given.get("envelope"))}
    specimen = {**SpecimenSettings().model_dump(), **valid_settings(given.get("specimen"))}
    cell = steps_in_file(given, "cell")
    yield from _potentials(cell, envelope["cell_V"])
    yield from _currents(cell, envelope["cell_mA"], specimen["area_cm2"])
    yield from _duration(given, envelope["run_h"])
    yield from probe_refusals(given, envelope["approach_um"])


def _potentials(cell: Steps, limits: tuple[float, float]) -> Iterator[Refusal]:
    low, high = limits
    if not low < high:  # refused by the envelope itself
        return
    for path, settings in cell:
        until = settings.get("until")
        found: list[tuple[KeyPath, Any]] = [((*path, key), settings.get(key)) for key in _POTENTIALS]
        if isinstance(until, dict):
            found.append(((*path, "until", "potential_V"), until.get("potential_V")))
        for where, potential in found:
            if potential is not None and not low <= potential <= high:
                limit = f"envelope.cell_V allows {low:g} to {high:g} V"
                yield Refusal(where, potential, limit, "stay within it, or widen envelope.cell_V if the cell allows it")


def _currents(cell: Steps, limit_mA: float, area_cm2: float) -> Iterator[Refusal]:
    for path, settings in cell:
        for key, area in (("current_mA", 1.0), ("current_mA_cm2", area_cm2)):
            current = settings.get(key)
            if current is not None and abs(current * area) > limit_mA:
                total = f" ({current * area:g} mA on {area:g} cm²)" if key == "current_mA_cm2" else ""
                limit = f"envelope.cell_mA allows −{limit_mA:g} to {limit_mA:g} mA{total}"
                yield Refusal((*path, key), current, limit, "lower the current, or widen envelope.cell_mA")
        for word in DIRECTIONS:
            if isinstance(text := settings.get(word), str):
                key, value = magnitude(text)
                total_mA = value * area_cm2 if key == "current_mA_cm2" else value
                if key != "c_rate" and total_mA > limit_mA:
                    limit = f"envelope.cell_mA allows {limit_mA:g} mA and this is {total_mA:g} mA on {area_cm2:g} cm²"
                    yield Refusal((*path, word), text, limit, "lower the current, or widen envelope.cell_mA")


def _duration(given: Mapping[str, Any], longest_h: float) -> Iterator[Refusal]:
    elapsed = 0.0
    for entry in top_level_steps("cell", given.get("cell")):
        elapsed += longest_cell_duration(str(entry.key_path[-1]), entry.step)
        if elapsed > to_si("run_h", longest_h):
            hours = elapsed / to_si("run_h", 1)
            limit = f"the cell program reaches {hours:.4g} h here and envelope.run_h allows {longest_h:g} h"
            yield Refusal(entry.key_path, "", limit, "shorten the program, or raise envelope.run_h")
            return


class Experiment(FileModel):
    """An experiment: a cell program, a probe program that runs beside it, and an envelope that neither may leave.

    `rig` names a twin (`twin/graphite`) or a rig file; `opsicm` is the version of the file format.
    """

    opsicm: Annotated[Whole, Field(ge=1, le=1, examples=[1])]
    title: Annotated[Text, Field(examples=["height during a voltammogram"])]
    rig: Annotated[Text, Field(examples=["twin/graphite"])]
    pipette: Annotated[PipetteSettings, Field(examples=[{"bias_V": 0.7}])]
    specimen: SpecimenSettings = SpecimenSettings()
    electrolyte: ElectrolyteSettings = ElectrolyteSettings()
    cell: Annotated[tuple[CellStep, ...], Field(min_length=1, examples=[[{"open_circuit": {"for_s": 300}}]])]
    probe: tuple[ProbeStep, ...] = ()
    envelope: Envelope = Envelope()
    record: RecordingPolicies = RecordingPolicies()
    twin: TwinSettings = TwinSettings()
    vary: Vary = Field(default_factory=dict)

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Contradictions between the programs and the envelope, and paths that `vary` cannot reach."""
        yield from refusals_between(given)
        yield from vary_refusals(cls, given)

    def hop_parameters(self, step: ApproachingStep) -> HopParameters:
        """The hop parameters of a step of this experiment."""
        return step.hop_parameters(self.envelope.approach)

    @property
    def longest_duration(self) -> float | None:
        """Sum of the longest durations of the cell steps [s]; None when one is bounded by cut-offs only."""
        return program_duration(self.cell)
