"""What must agree within the probe program, and between it and the cell program.

Each `during` names a cell step that exists and has not gone by; nothing follows a step without an end; events come at
all, and leave time for what is to be done; a landmark is imaged before one returns to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opsicm.protocol.file_steps import Settings, Steps, steps_in, steps_within
from opsicm.protocol.probe_bounds import COUNTS, cell_index
from opsicm.protocol.probe_program import PROBE_STEPS, has_end
from opsicm.protocol.refusal import KeyPath, Refusal, path_text
from opsicm.units import to_si

_LASTS = ("during", "for_s", *COUNTS)
_EQUAL = 1.0 + 1e-12  # 5000 nm are not more than 5 µm
_RESTS = ("open_circuit", "rest", "ladder", "gitt")
_LEVELS = ("hold", "ladder", "sweep", "conditioning")


def probe_refusals(given: Settings, approach_um: float) -> Iterator[Refusal]:
    """Every disagreement of the probe program in `given`, the file's form of an experiment."""
    everything = list(steps_within(given, "probe"))
    cell = list(steps_within(given, "cell"))
    yield from _amplitudes(everything, approach_um)
    yield from _order([step for step in steps_in(given, "probe") if "at" not in step[1]], len(given.get("cell") or ()))
    yield from _landmarks(everything)
    for path, settings in everything:
        at = settings.get("at")
        if isinstance(at, Mapping) and cell:
            yield from _events(path, at, cell)
            yield from _fits(path, settings, at, cell)


def _amplitudes(probe: Steps, approach_um: float) -> Iterator[Refusal]:
    for path, settings in probe:
        amplitude = settings.get("amplitude_nm")
        if amplitude is not None and to_si("amplitude_nm", amplitude) > to_si("approach_um", approach_um) * _EQUAL:
            limit = f"a fall may not be longer than envelope.approach_um, {approach_um:g} µm"
            yield Refusal(
                (*path, "amplitude_nm"), amplitude, limit, "lower the amplitude, or raise envelope.approach_um"
            )


def _order(probe: Steps, cell_steps: int) -> Iterator[Refusal]:
    """`probe` without the steps that wait for events: those run whenever theirs comes."""
    latest, free = -1, False  # the cell step last accompanied, and whether its companion ends before it
    for position, (path, settings) in enumerate(probe):
        model = PROBE_STEPS.get(str(path[-1]))
        ends = model is not None and has_end(model, settings)
        reference = settings.get("during")
        if reference is None:  # not given, or wrong in itself
            follower = probe[position + 1][0] if position + 1 < len(probe) else None
            if follower is not None and not ends and not any(bound in settings for bound in _LASTS):
                never = path_text(follower[:2])
                limit = f"has no bound, so it lasts until the cell program ends and {never} never starts"
                yield Refusal(path, "", limit, "give it during, for_s or a count")
            continue
        index = cell_index(reference)
        if index is None or not cell_steps:  # said of `cell` already
            continue
        if index >= cell_steps:
            names = f"cell[0] to cell[{cell_steps - 1}]" if cell_steps > 1 else "cell[0] only"
            yield Refusal((*path, "during"), reference, f"the cell program has {names}", "steps are counted from 0")
        elif index < latest or (index == latest and not free):
            limit = f"an earlier probe step already accompanies cell[{latest}]"
            yield Refusal((*path, "during"), reference, limit, "put the probe steps in the order of the cell steps")
        else:
            latest, free = index, _ends_before_its_cell_step(str(path[-1]), ends)


def _ends_before_its_cell_step(word: str, ends: bool) -> bool:
    # A raster beside a cell step goes on for as long as it: its single pass is what it does without a bound.
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
    """An event that the cell program never makes is waited for in vain."""
    if at.get("after_each") is not None and not any(step[-1] in _RESTS for step, _ in cell):
        limit = "the cell program has no rest"
        yield Refusal((*path, "at"), dict(at), limit, "add an open_circuit, rest, ladder or gitt to cell")
    spans = [_span(str(step[-1]), settings) for step, settings in cell]
    if any(span is None for span in spans):  # a current decides where the potential goes
        return
    for index, value in enumerate(at.get("potential_V") or ()):
        if not any(span is not None and span[0] <= value <= span[1] for span in spans):
            limit = "the cell program never comes there"
            yield Refusal((*path, "at", "potential_V", index), value, limit, "name a potential that it passes or holds")


def _span(word: str, settings: Settings) -> tuple[float, float] | None:
    if word not in _LEVELS:
        return None
    found = [value for key in ("from_V", "to_V", "potential_V") if (value := settings.get(key)) is not None]
    return (min(found), max(found)) if found else None


def _fits(path: KeyPath, settings: Settings, at: Settings, cell: Steps) -> Iterator[Refusal]:
    """What is done at a rest must end within it; the falls alone are a lower bound of how long it takes."""
    least = _falls(str(path[-1]), settings)
    if least is None or at.get("after_each") is None:
        return
    for step, rest in cell:
        key = {"ladder": "hold_s", "gitt": "rest_s", "open_circuit": "for_s", "rest": "for_s"}.get(str(step[-1]))
        room = rest.get(key) if key is not None else None
        if room is not None and least > room:
            where = path_text((*step, str(key)))
            limit = f"its falls alone take {least:.4g} s and {where} leaves {room:g} s"
            remedy = f"raise {where} to {least * 1.5:.3g} or more, or take fewer pixels"
            yield Refusal(path, "", limit, remedy)
            return


def _falls(word: str, settings: Settings) -> float | None:
    """The shortest that a step with its own end can last [s]."""
    amplitude, rate = settings.get("amplitude_nm"), settings.get("fall_nm_per_ms")
    pixels = settings.get("pixels")
    if word in ("raster", "landmark") and isinstance(pixels, list | tuple) and len(pixels) == 2:
        hops = float(pixels[0] * pixels[1] * (settings.get("passes") or 1))
    elif word == "line" and pixels is not None:
        hops = float(pixels * (settings.get("passes") or 1))
    elif word in ("hop", "modulate"):
        hops = float(settings.get("hops") or 0)
    else:
        return settings.get("for_s")
    if amplitude is None or rate is None:
        return None
    return hops * to_si("amplitude_nm", amplitude) / to_si("fall_nm_per_ms", rate)
