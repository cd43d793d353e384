"""What must agree between the cell program, the probe program and the envelope.

Works on the file's form of an experiment that may be wrong elsewhere: a step or a key that is wrong in itself
stands there as None, any key may be missing, and then the checks that need it say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opsicm.protocol.envelope import Envelope
from opsicm.protocol.one_key import word_of
from opsicm.protocol.probe_program import cell_index
from opsicm.protocol.refusal import KeyPath, Refusal, path_text
from opsicm.protocol.specimen import Specimen
from opsicm.units import to_si

Settings = Mapping[str, Any]
_POTENTIALS = ("from_V", "to_V", "potential_V")
_LASTS = ("during", "for_s", "hops", "passes")


def refusals_between(given: Settings) -> Iterator[Refusal]:
    """Every disagreement in `given`, the file's form of an experiment."""
    envelope = {**Envelope().model_dump(), **_sound(given.get("envelope"))}
    specimen = {**Specimen().model_dump(), **_sound(given.get("specimen"))}
    cell = list(_steps(given, "cell"))
    probe = list(_steps(given, "probe"))
    yield from _potentials(cell, envelope["cell_V"])
    yield from _currents(cell, envelope["cell_mA"], specimen["area_cm2"])
    yield from _duration(cell, envelope["run_h"])
    yield from _amplitudes(probe, envelope["approach_um"])
    yield from _order(probe, len(given.get("cell") or ()))


def _sound(settings: Settings | None) -> Settings:
    return {key: value for key, value in (settings or {}).items() if value is not None}


def _steps(given: Settings, program: str) -> Iterator[tuple[tuple[str, int, str], Settings]]:
    for index, step in enumerate(given.get(program) or ()):
        word = word_of(step)
        if word is not None and isinstance(step[word], dict):
            yield (program, index, word), step[word]


Steps = list[tuple[tuple[str, int, str], Settings]]


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


def _duration(cell: Steps, longest_h: float) -> Iterator[Refusal]:
    elapsed = 0.0
    for path, settings in cell:
        elapsed += _seconds(path[-1], settings)
        if elapsed > to_si("run_h", longest_h):
            hours = elapsed / to_si("run_h", 1)
            limit = f"the cell program reaches {hours:.4g} h here and envelope.run_h allows {longest_h:g} h"
            yield Refusal(path, "", limit, "shorten the program, or raise envelope.run_h")
            return


def _seconds(word: str, settings: Settings) -> float:
    settings = _sound(settings)
    if word == "sweep" and {"from_V", "to_V", "rate_mV_s"} <= settings.keys():
        span = abs(settings["to_V"] - settings["from_V"])
        return float(2 * span / to_si("rate_mV_s", settings["rate_mV_s"]) * settings.get("cycles", 1))
    return float(settings.get("for_s", 0))


def _amplitudes(probe: Steps, approach_um: float) -> Iterator[Refusal]:
    for path, settings in probe:
        amplitude = settings.get("amplitude_nm")
        if amplitude is not None and to_si("amplitude_nm", amplitude) > to_si("approach_um", approach_um):
            limit = f"a fall may not be longer than envelope.approach_um, {approach_um:g} µm"
            yield Refusal(
                (*path, "amplitude_nm"), amplitude, limit, "lower the amplitude, or raise envelope.approach_um"
            )


def _order(probe: Steps, cell_steps: int) -> Iterator[Refusal]:
    """Each `during` names a cell step that exists and has not gone by; nothing follows a step without an end."""
    latest = -1
    for position, (path, settings) in enumerate(probe):
        reference = settings.get("during")
        if reference is None:  # not given, or wrong in itself
            follower = probe[position + 1][0] if position + 1 < len(probe) else None
            if follower is not None and not any(bound in settings for bound in _LASTS):
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
        elif index <= latest:
            limit = f"an earlier probe step already accompanies cell[{latest}]"
            yield Refusal((*path, "during"), reference, limit, "put the probe steps in the order of the cell steps")
        else:
            latest = index
