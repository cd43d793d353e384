"""Branches of cycling: intervals over which the specimen is lithiated or delithiated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

_REST: Final = 1e-4  # of a branch's charge: less than this passes in a rest before or after it
_TURN: Final = 0.1  # of the whole charge swing: a smaller turn is a relaxation, not a branch


Kind = Literal["lithiation", "delithiation"]


@dataclass(frozen=True, slots=True)
class Branch:
    """An interval [start, stop] [s] and the charge [C] passed in it; `charge` < 0 lithiates."""

    kind: Kind
    start: float
    stop: float
    charge: float


def branches(t: NDArray[np.float64], charge: NDArray[np.float64], negligible_charge: float = 0.0) -> list[Branch]:
    """Branches of a charge record: `t` [s], `charge` [C] since the start, both (n,), in time order.

    Branches turn where the charge does, not where the potential does: after the vertex of a voltammogram the specimen
    is still lithiated for a while. Reversals smaller than a tenth of the whole swing are ignored. Fails (empty
    list) when no more than `negligible_charge` [C] has passed.
    """
    if t.size < 3:
        return []
    swing = float(np.ptp(charge))
    if swing <= negligible_charge:
        return []
    turns = {0, t.size - 1}
    for sign in (1.0, -1.0):
        peaks, _ = find_peaks(sign * charge, prominence=_TURN * swing)
        turns.update(int(p) for p in peaks)
    edges = sorted(turns)
    branch_list: list[Branch] = []
    for a, b in pairwise(edges):
        passed = float(charge[b] - charge[a])
        if abs(passed) >= _TURN * swing:
            # A rest before or after belongs to no branch, so the branch is trimmed to where its charge passes.
            share = (charge[a : b + 1] - charge[a]) / passed
            begin = a + int(np.flatnonzero(share <= _REST)[-1])
            end = a + int(np.flatnonzero(share >= 1.0 - _REST)[0])
            kind: Kind = "lithiation" if passed < 0.0 else "delithiation"
            branch_list.append(Branch(kind, float(t[begin]), float(t[end]), float(charge[end] - charge[begin])))
    return branch_list


def numbered(branch_list: list[Branch]) -> list[tuple[int | None, Branch]]:
    """Each branch with its number among those of its kind, from 1; None where it is the only one of its kind."""
    kinds = [branch.kind for branch in branch_list]
    return [
        (kinds[: k + 1].count(kind) if kinds.count(kind) > 1 else None, branch)
        for k, (kind, branch) in enumerate(zip(kinds, branch_list, strict=True))
    ]


def time_at_charge(t: NDArray[np.float64], charge: NDArray[np.float64], branch: Branch, share: float) -> float:
    """Time [s] within `branch` at which `share` of its charge has passed, by linear interpolation."""
    inside = (t >= branch.start) & (t <= branch.stop)
    passed = (charge[inside] - charge[inside][0]) / branch.charge
    return float(np.interp(share, np.maximum.accumulate(passed), t[inside]))
