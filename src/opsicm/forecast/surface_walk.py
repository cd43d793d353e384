"""A hopping step walked over the surface, where the surface is known before the run: a twin's, or a map of a real one.

Which hop would find nothing within the longest approach, which point stands higher than the tip passes over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from opsicm.core.errors import Problem
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.model import Experiment
from opsicm.experiment.patterns import pattern_of
from opsicm.experiment.probe_steps import HoppingStep, ReturnTo, landmarks
from opsicm.experiment.program import written_steps
from opsicm.forecast.cell import Floats
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window
from opsicm.instruments.hop import LOST_AFTER
from opsicm.physics.specimen.clearance import NEAR_ENOUGH

_MOST_HOPS: Final = 40_000  # walked: two images of 128², one line of 4096 ten times over


@dataclass(frozen=True, slots=True)
class Walk:
    """What a step meets on its first passes. Heights and distances in metres; a hop is counted from 0.

    `hops` walked, `reach` the longest approach that any of them needs, `misses` how many find nothing within the
    longest allowed; `lost_at` is the hop at which the run would give the surface up. `climb` is how much higher a point
    lies than the contact before it, and `struck` how many lie higher than the tip passes, the first at `struck_at`.
    `depth` and `top` are the scanner's positions, and `leaves_at` the hop that leaves its range.
    """

    path: str
    hops: int
    reach: float
    misses: int
    lost_at: int | None
    climb: float
    struck: int
    struck_at: int | None
    leaves_at: int | None


def walks(
    experiment: Experiment, windows: Sequence[Window], rig: RigNumbers, amplitude_maps: Mapping[str, Floats]
) -> tuple[Walk, ...]:
    """One walk for each hopping step that runs; none where the surface is not known before the run."""
    if rig.relief is None:
        return ()
    walked: dict[str, Walk] = {}
    contact = 0.0  # where the operator has engaged
    known = np.zeros((0, 3))  # (x, y, height) of what the steps before have visited
    for window in windows:
        step = window.step
        if isinstance(step, ReturnTo):
            step = landmarks(experiment.probe)[step.name]
        if not isinstance(step, HoppingStep) or window.path in walked:
            continue
        count = int((window.end - window.start) / rig.timing.period(experiment.hop_parameters(step)) + 1e-6)
        count = min(count, step.count or count, _MOST_HOPS)
        if count < 1:
            continue
        points = pattern_of(step, amplitude_maps.get(window.path)).some(0, count)
        heights = rig.relief(points.x, points.y)
        amplitudes = np.full(count, step.amplitude) if points.amplitude is None else points.amplitude
        stop = float(rig.curve.distance(np.array(1.0 - step.setpoint)))
        distance = np.hypot(known[:, 0] - points.x[0], known[:, 1] - points.y[0])
        if known.size and distance.min() <= NEAR_ENOUGH:
            contact = max(contact, float(known[int(np.argmin(distance)), 2]))
        walk, contact = _walked(
            window.path, heights, amplitudes, stop, contact, experiment.envelope.approach, rig.start_height, rig.z_reach
        )
        known = np.concatenate([known, np.column_stack([points.x, points.y, heights])])
        walked[window.path] = walk
    return tuple(walked.values())


def _walked(
    path: str,
    heights: Floats,
    amplitudes: Floats,
    stop: float,
    contact: float,
    approach: float,
    start: float,
    reach: float,
) -> tuple[Walk, float]:
    """(the walk, the height [m] of the last contact): the hop controller's logic without its electronics."""
    zero = contact + start  # of the scanner
    top, last = zero, contact
    missed = misses = struck = 0
    lost_at = struck_at = leaves_at = None
    longest = climb = 0.0
    for k, (height, amplitude) in enumerate(zip(heights.tolist(), amplitudes.tolist(), strict=True)):
        gap = top - height
        longest = max(longest, gap - stop)
        if gap <= 0.0:  # the point stands higher than the tip: it would strike it sideways, and goes up
            climb = max(climb, height - last)
            struck, struck_at = struck + 1, k if struck_at is None else struck_at
            top += amplitude
            missed += 1
        elif gap - stop > approach:
            misses, missed = misses + 1, missed + 1
        else:
            missed, last = 0, height
            top = height + stop + amplitude
            if leaves_at is None and not -reach < height + stop - zero < reach:
                leaves_at = k
        if missed >= LOST_AFTER and lost_at is None:
            lost_at = k
            break
        if leaves_at is not None:
            break
    return Walk(path, len(heights), longest, misses, lost_at, climb, struck, struck_at, leaves_at), last


def walk_problems(loaded: LoadedExperiment, walked: Sequence[Walk]) -> Iterator[Problem]:
    """A problem for every step that would lose the surface, strike it, or leave the scanner's range."""
    by_path = {walk.path: walk for walk in walked}
    envelope = loaded.experiment.envelope
    for placed in written_steps("probe", loaded.experiment.probe):
        walk = by_path.get(placed.path)
        if walk is None:
            continue
        path, step = placed.key_path, placed.step
        if walk.struck_at == 0:
            limit = (
                f"its first point lies {walk.climb * 1e6:.3g} µm above the contact before it: the tip would strike it"
            )
            remedy = "begin with points on the way there, or raise start_height_um of the rig file above that"
            yield loaded.problem(path, "", limit, remedy)
        elif walk.struck and isinstance(step, HoppingStep):
            limit = (
                f"the surface climbs by up to {walk.climb * 1e6:.3g} µm between neighbouring points, and the tip would "
                f"strike it at {walk.struck} of {walk.hops} hops, the first at hop {walk.struck_at}"
            )
            yield loaded.problem(
                (*path, "amplitude_nm"), step.amplitude_nm, limit, _amplitude_remedy(walk, step, loaded)
            )
        elif walk.lost_at is not None:
            limit = (
                f"the surface is up to {walk.reach * 1e6:.3g} µm below the top of a hop: {LOST_AFTER} hops in a row "
                f"would find nothing by hop {walk.lost_at}, and the run would stop"
            )
            remedy = f"allow at least {walk.reach * 1.1e6:.2g} µm, or image a flatter place"
            yield loaded.problem(("envelope", "approach_um"), envelope.approach_um, limit, remedy)
        if walk.leaves_at is not None:
            limit = f"the surface leaves the scanner's range at hop {walk.leaves_at} of {walk.hops}"
            yield loaded.problem(path, "", limit, "engage in the middle of its heights, or image a smaller area")


def _amplitude_remedy(walk: Walk, step: HoppingStep, loaded: LoadedExperiment) -> str:
    needed = max(walk.climb * 1.2, step.amplitude)
    remedy = f"use at least {needed * 1e9:.0f} nm, or more pixels"
    if needed > loaded.experiment.envelope.approach:
        remedy += f", with envelope.approach_um at least {needed * 1.5e6:.2g}"
    return remedy
