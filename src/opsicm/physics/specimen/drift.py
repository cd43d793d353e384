"""Drift of the bulk current during one fall: whether a threshold can still tell the surface from the cell."""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.5  # of the setpoint that a drift may take during one fall before contacts are no longer trusted


def drift_per_fall(before: float, after: float, elapsed: float, fall_time: float) -> float:
    """Relative change [1] of the bulk current during one fall: |I2 - I1| / |I2| · fall_time / elapsed.

    `before`, `after` [A] are currents far from the surface, `elapsed` [s] apart; `fall_time` [s] of a hop. Assumes a
    straight drift. Fails (infinite) for a current of 0. Source: dz = ds/(dlnI/dz), the project's physics, section 4.
    """
    if after == 0.0:
        return float("inf")
    return abs(after - before) / abs(after) * fall_time / elapsed


def restless(drift: float, setpoint: float) -> bool:
    """Whether a drift per fall is so large that a fall would stop, or pass the surface, because of the cell."""
    return drift > SHARE * setpoint
