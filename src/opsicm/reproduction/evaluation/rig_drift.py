"""What the slow noise of a rig adds to the uncertainty of numbers that are far apart in time.

The scatter of neighbouring hops does not hold it: a height that wanders by 5 nm in a minute scatters by 0.2 nm from hop
to hop and has gone 39 nm after an hour. Nothing in a run corrects it where no landmark is looked at between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from opsicm.analysis.result import Result
from opsicm.cli.rigs import load_rig
from opsicm.reproduction.evaluation.estimators import F64, Estimate
from opsicm.reproduction.open_runs import AnalysedRun
from opsicm.twin.settings import noise

_MINUTE: Final = 60.0  # [s] for which a rig file states a walk
_DRAWS: Final = 32  # of a walk: their spread is known to 13 %


def height_walk(run: AnalysedRun, seconds: float) -> float:
    """By how much [m rms] the height of what holds the pipette wanders within `seconds`, as its rig file states it."""
    return noise(load_rig(run.case.loaded, None))["height_wander"] * math.sqrt(max(0.0, seconds) / _MINUTE)


def current_walk(run: AnalysedRun, seconds: float) -> float:
    """By how much [1, rms] of itself the pipette's current wanders within `seconds`, as its rig file states it."""
    return noise(load_rig(run.case.loaded, None))["pipette_wander"] * math.sqrt(max(0.0, seconds) / _MINUTE)


def slope_of_walk(run: AnalysedRun, seconds: float) -> float:
    """Standard deviation [1/s] of the slope of a line through `seconds` of a current that walks as the rig states.

    The least-squares slope of a Brownian motion of variance q t over T varies by 6 q/(5 T).
    """
    wander = noise(load_rig(run.case.loaded, None))["pipette_wander"]
    return math.sqrt(1.2 * wander**2 / _MINUTE / seconds)


def with_walk(result: Result, walk: float) -> Result:
    """The result with a `walk` [its own unit, rms] in its u, and said so in its method."""
    if result.value is None or walk == 0.0:
        return result
    method = f"{result.method}; u holds {walk:.2g} {result.unit} of drift that the rig states"
    return replace(result, u=math.hypot(result.u or 0.0, walk), method=method)


def estimate_with_walk(estimate: Estimate, of: Callable[[F64], Estimate], height: F64, steps: F64) -> Estimate:
    """`estimate`, which is `of(height)`, with the spread that it has over heights on top of which a walk lies.

    `steps` [m rms, n - 1] from each of the `height` [m, n] to the next. Walks after which it is undetermined are
    left out. The numbers drawn are the same at every call.
    """
    if estimate.value is None or not np.any(steps):
        return estimate
    rng = np.random.default_rng(0)
    walks = (np.concatenate(([0.0], np.cumsum(steps * rng.standard_normal(steps.size)))) for _ in range(_DRAWS))
    values = [value for walk in walks if (value := of(height + walk).value) is not None]
    spread = float(np.std(values)) if len(values) > 1 else 0.0
    return replace(estimate, u=math.hypot(estimate.u, spread))
