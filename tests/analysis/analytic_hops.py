"""A trace built from closed forms, sharing no code with the package: plateau, fall, overshoot, withdrawal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
C = 0.7e-9  # 98 % at 34.3 nm
DT = 1e-5


@dataclass(frozen=True)
class Made:
    """What was put in: the truth of the trace."""

    current: F64
    z: F64
    start: NDArray[np.int64]
    fall: NDArray[np.int64]
    stop: NDArray[np.int64]
    turn: NDArray[np.int64]
    surface: F64
    t: F64


def made(
    hops: int, seed: int = 0, noise: float = 2e-12, z_noise: float = 0.2e-9, bulk: float = 3e-9,
    transient: float = 0.0, depletion: float = 0.0, extent: float = 270e-9, amplitude: float = 2e-6,
    surface: F64 | None = None, rate: float = 30e-6, setpoint: float = 0.02,
) -> Made:  # fmt: skip
    """Hops of I = (bulk + transient·sqrt(t/T) - depletion·exp(-d/extent))·d/(d + C), d = z - surface."""
    rng = np.random.default_rng(seed)
    h = np.zeros(hops) if surface is None else surface
    stop_at = C * (1 - setpoint) / setpoint
    plateau, over = 300, 60
    pieces, marks = [], []
    n = 0
    for k in range(hops):
        fall = np.arange(h[k] + stop_at + amplitude, h[k] + stop_at, -rate * DT)
        beyond = fall[-1] - rate * DT * np.arange(1, over + 1)
        following = h[min(k + 1, hops - 1)] + stop_at + amplitude
        rise = np.linspace(beyond[-1], following, 200)[1:]
        marks.append((n, n + plateau, n + plateau + fall.size, n + plateau + fall.size + over - 1))
        piece = np.concatenate((np.full(plateau, fall[0]), fall, beyond, rise))
        pieces.append(np.column_stack((piece, np.full(piece.size, h[k]))))
        n += piece.size
    table = np.concatenate(pieces)
    z, below = table[:, 0], table[:, 1]
    d = z - below
    t: F64 = DT * np.arange(z.size, dtype=np.float64)
    far = bulk + transient * np.sqrt(t / t[-1]) - depletion * np.exp(-d / extent)
    current = far * d / (d + C) + noise * rng.standard_normal(z.size)
    m = np.array(marks, dtype=np.int64)
    return Made(current, z + z_noise * rng.standard_normal(z.size), m[:, 0], m[:, 1], m[:, 2], m[:, 3], h, t)
