"""How near the surface will come to a pipette that stands still, by the rule of a run and the forecast of the swelling.

A pipette without a task waits far up; so only steps that keep it at a height are judged here, where a hop begins, and
how far the surface rises during one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from opsicm.core.errors import Problem
from opsicm.core.units import at_least
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import (
    Engage,
    ExchangeTip,
    HoppingStep,
    Park,
    PipetteSweep,
    ReturnTo,
    Tower,
    Zero,
    landmarks,
)
from opsicm.experiment.program import written_steps
from opsicm.forecast.cell import CellForecast, Floats
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window
from opsicm.physics.specimen.clearance import SHARE, clear_height, comes_too_near

_TURN: Final = 2.0  # [s] after which a run looks at the latest at how far the surface has risen
_LOW: Final = 30e-6  # [m]: no surface of the twin's stands higher above the place where the operator has engaged
_HEIGHT_KEY: Final[Mapping[type, str]] = {Park: "height_um", PipetteSweep: "height_um", Tower: "low_um"}


@dataclass(frozen=True, slots=True)
class NearPass:
    """A surface that comes too near to the step at `path`, first at `time` [s].

    The step `stands` at `height` [m], `starts` its approach there, or `hops` with that amplitude; the surface rises by
    `rise` [m] since the last contact until `until` [s], and `clear` [m] would be enough. `engaged` [m] is how far the
    surface is above the height where the operator has engaged, for a step before the first contact.
    """

    path: str
    what: Literal["stands", "starts", "hops"]
    time: float
    height: float
    rise: float
    until: float
    clear: float
    engaged: float = 0.0


def near_passes(
    experiment: Experiment,
    cell: CellForecast,
    windows: Sequence[Window],
    rig: RigNumbers,
    amplitude_maps: Mapping[str, Floats],
) -> tuple[NearPass, ...]:
    """The first near pass of every step, in the order of time."""
    if not cell.time.size:
        return ()
    engaged: float | None = None if rig.relief is not None else 0.0  # not asked for where nothing stands low
    contact: float = float(cell.expansion[0])
    passes: dict[str, NearPass] = {}
    for window in windows:
        found, step = None, window.step
        now = float(np.interp(window.start, cell.time, cell.expansion))
        inside = (cell.time >= window.start) & (cell.time <= window.end)
        if isinstance(step, Engage):
            contact, engaged = float(np.interp(window.end, cell.time, cell.expansion)), 0.0
        elif isinstance(step, ReturnTo | HoppingStep):
            hopping = landmarks(experiment.probe)[step.name] if isinstance(step, ReturnTo) else step
            found = _start(window, now - contact, experiment, rig)
            if found is None:
                found = _within_a_hop(window, hopping, experiment, cell, inside, rig, amplitude_maps)
            contact, engaged = float(np.interp(window.end, cell.time, cell.expansion)), 0.0
        elif not isinstance(step, ExchangeTip):
            height = rig.start_height if isinstance(step, Zero) else min(step.heights(rig.start_height))
            if engaged is None and rig.relief is not None and height < _LOW:
                engaged = float(rig.relief(np.zeros(1), np.zeros(1))[0])
            rises = cell.expansion[inside] - contact
            found = _standing(window, height, now - contact, cell.time[inside], rises, engaged or 0.0)
        if found is not None:
            passes.setdefault(found.path, found)
    return tuple(passes.values())


def _standing(
    window: Window, height: float, rise: float, time: Floats, rises: Floats, engaged: float
) -> NearPass | None:
    """A step that goes to `height` [m] above the surface and stays there; a run goes higher where it must at once."""
    above = max(rise, 0.0) + height - engaged
    near = np.array([comes_too_near(above, float(r)) for r in rises], bool)
    if above > 0.0 and not near.any():
        return None
    worst = int(np.argmax(rises)) if rises.size else 0
    highest = max(float(rises[worst]), rise, 0.0) if rises.size else max(rise, 0.0)
    first = float(time[np.argmax(near)]) if near.any() else window.start
    clear = highest / SHARE - max(rise, 0.0) + max(engaged, 0.0)
    return NearPass(
        window.path, "stands", first, height, highest, float(time[worst]) if time.size else first, clear, engaged
    )


def _start(window: Window, rise: float, experiment: Experiment, rig: RigNumbers) -> NearPass | None:
    """A hopping step begins its start height above the expected surface, or higher where the rise is uncertain."""
    begins = clear_height(rig.start_height, rise)
    if begins - max(rise, 0.0) < experiment.envelope.approach:
        return None
    return NearPass(window.path, "starts", window.start, begins, rise, window.start, experiment.envelope.approach)


def _within_a_hop(
    window: Window,
    step: HoppingStep,
    experiment: Experiment,
    cell: CellForecast,
    inside: np.ndarray,
    rig: RigNumbers,
    amplitude_maps: Mapping[str, Floats],
) -> NearPass | None:
    """The fastest rise of the surface in the time between two looks, against the amplitude."""
    if np.count_nonzero(inside) < 2:
        return None
    amplitude_map = amplitude_maps.get(window.path)
    amplitude = step.amplitude if amplitude_map is None else float(np.min(amplitude_map))
    lasts = max(_TURN, rig.timing.period(experiment.hop_parameters(step)))
    time, expansion = cell.time[inside], cell.expansion[inside]
    later = np.interp(np.minimum(time + lasts, time[-1]), time, expansion)
    fastest = int(np.argmax(later - expansion))
    rise = float(later[fastest] - expansion[fastest])
    if not comes_too_near(amplitude, rise):
        return None
    at = float(time[fastest])
    return NearPass(window.path, "hops", at, amplitude, rise, at + lasts, rise / SHARE)


def clearance_problems(loaded: LoadedExperiment, near: Sequence[NearPass]) -> Iterator[Problem]:
    """A problem for every near pass, with how high the surface comes, and when."""
    by_path = {one.path: one for one in near}
    for placed in written_steps("probe", loaded.experiment.probe):
        one = by_path.get(placed.path)
        if one is None:
            continue
        path, step = placed.key_path, placed.step
        if one.what == "starts":
            limit = (
                f"begins at {one.time:.0f} s, and the surface has risen by {_um(one.rise)} since the last contact, as "
                f"far as the swelling is known: the approach begins {_um(one.height - one.rise)} above it and may be "
                f"{_um(one.clear)} long"
            )
            remedy = "put an engage before it, or raise envelope.approach_um"
            yield loaded.problem(path, "", limit, remedy)
        elif one.what == "hops":
            limit = (
                f"the surface rises by {one.rise * 1e9:.3g} nm from {one.time:.0f} to {one.until:.0f} s, within one "
                f"hop or turn of the run, and more than {SHARE:g} of the amplitude is too near"
            )
            remedy = f"use at least {math.ceil(one.clear * 1e9)} nm, or let the cell go more slowly"
            yield loaded.problem((*path, "amplitude_nm"), round(one.height * 1e9, 3), limit, remedy)
        else:
            key = _HEIGHT_KEY.get(type(step))
            where, value = ((*path, key), getattr(step, key)) if key else (path, "")
            higher = f"park: {{height_um: {_rounded_up(one.clear)}}} instead" if key is None else ""
            yield loaded.problem(
                where, value, _standing_text(one), higher or f"use {key}: {_rounded_up(one.clear)} or more"
            )


def _standing_text(one: NearPass) -> str:
    before = f"the surface under the tip is {_um(one.engaged)} above the height where the rig has engaged"
    if one.engaged > 0.0 and one.rise <= 0.0:
        return f"{before}, and nothing has found it yet: the tip would touch"
    prefix = f"{before}, and " if one.engaged > 0.0 else ""
    return (
        f"{prefix}the surface is expected to rise by {_um(one.rise)} until {one.until:.0f} s since the last contact, "
        f"and comes too near at {one.time:.0f} s: a part of it may rise {1.0 / SHARE:g} times as far, and touch"
    )


def _um(metres: float) -> str:
    return f"{metres * 1e6:.3g} µm"


def _rounded_up(metres: float) -> str:
    """[µm], two figures, never below the value."""
    return at_least(metres * 1e6 * (1.0 + 1e-6))
