"""What is known at some instants and goes straight between them, at any others: the outer pieces go on beyond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def piece_of(known: Ints, t_ns: int) -> tuple[int, float]:
    """(index of the end of the piece that holds `t_ns`, share of the piece that is over then)."""
    if known.size == 1:
        return 0, 1.0
    k = min(max(int(np.searchsorted(known, t_ns, side="right")), 1), known.size - 1)
    return k, (t_ns - known[k - 1]) / (known[k] - known[k - 1])


@compiled
def values_at(known: Ints, values: Floats, t_ns: Ints) -> Floats:
    """`values` [rows, n], known at `known` [n, ns], at every one of `t_ns`: [rows, times].

    At the last instant exactly what is known there: what follows begins with it.
    """
    found = np.empty((values.shape[0], t_ns.size))
    for i in range(t_ns.size):
        k, w = piece_of(known, t_ns[i])
        for row in range(values.shape[0]):
            a, b = values[row, k - 1], values[row, k]
            found[row, i] = values[row, -1] if t_ns[i] == known[-1] else a + w * (b - a)
    return found


@compiled
def heights_at(known: Ints, rise: Floats, owners: NDArray[np.intp], rest: Floats, t_ns: Ints) -> Floats:
    """Heights [m, times × points]: `rest` [m] of a point and the mean rise of the patches that it lies on.

    `rise` [m, n × patches] is known at `known` [n, ns], `owners` [points × m] are the patches.
    """
    found = np.empty((t_ns.size, rest.size))
    for i in range(t_ns.size):
        k, w = piece_of(known, t_ns[i])
        for point in range(rest.size):
            before, after = 0.0, 0.0
            for patch in owners[point]:
                before += rise[k - 1, patch]
                after += rise[k, patch]
            a, b = rest[point] + before / owners.shape[1], rest[point] + after / owners.shape[1]
            found[i, point] = b if w == 1.0 else a + w * (b - a)
    return found
