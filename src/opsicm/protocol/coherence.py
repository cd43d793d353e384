"""What must agree between the cell program, the probe program and the envelope.

Works on the file's form of an experiment that may be wrong elsewhere: a step or a key that is wrong in itself
stands there as None, any key may be missing, and then the checks that need it say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opsicm.protocol.envelope import Envelope
from opsicm.protocol.file_steps import Steps, seconds, sound, steps_in, steps_within
from opsicm.protocol.probe_coherence import probe_refusals
from opsicm.protocol.refusal import KeyPath, Refusal
from opsicm.protocol.specimen import Specimen
from opsicm.units import to_si

_POTENTIALS = ("from_V", "to_V", "start_V", "potential_V")


def refusals_between(given: Mapping[str, Any]) -> Iterator[Refusal]:
    """Every disagreement in `given`, the file's form of an experiment."""
    envelope = {**Envelope().model_dump(), **sound(given.get("envelope"))}
    specimen = {**Specimen().model_dump(), **sound(given.get("specimen"))}
    cell = list(steps_within(given, "cell"))
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


def _duration(given: Mapping[str, Any], longest_h: float) -> Iterator[Refusal]:
    elapsed = 0.0
    for path, settings in steps_in(given, "cell"):
        elapsed += seconds(str(path[-1]), settings) or 0.0
        if elapsed > to_si("run_h", longest_h):
            hours = elapsed / to_si("run_h", 1)
            limit = f"the cell program reaches {hours:.4g} h here and envelope.run_h allows {longest_h:g} h"
            yield Refusal(path, "", limit, "shorten the program, or raise envelope.run_h")
            return
