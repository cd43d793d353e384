"""Charge that passed in a part of a record, by integration of its rows, and what it is known to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.cell.unrecorded import digits_of
from opsicm.core.statistics import noise_from_differences, rms, u_of_rectangle

F64 = NDArray[np.float64]
_LONG: Final = 5.0  # times the median interval: longer ones are interpolated, which adds to u


@dataclass(frozen=True, slots=True)
class Charge:
    """Charge [C], negative lithiates; `u_rows` [C] by its rows, `u_digits` [C] by the digits of the current."""

    value: float
    u_rows: float
    u_digits: float

    @property
    def u(self) -> float:
        """Standard uncertainty [C]; the calibration of the current is not in it."""
        return float(np.hypot(self.u_rows, self.u_digits))


def charge_of(part: ControlledPart, t: F64, current: F64, current_step: float = 0.0) -> Charge:
    """Charge of `part` of the record `t` [s], `current` [A], (n,), by trapezoids between its rows.

    From the first row back to when the control changed the first current counts, and the last one likewise at the
    end: what lies between two parts is in one of them, and once. u: the row within which the control changed; the
    noise of the rows; the digits of the current, `current_step` [A] (0: found from the values), which all rows may
    share; what a trapezoid hides where the current bends, as a third of the change with every second row (Richardson);
    a shift of the current by half a row, as some instruments write the mean of the interval;
    and half the change of the current over intervals five times the usual, within which it changed somewhere.
    """
    rows = part.rows
    ts, i = t[rows], current[rows]
    steps = np.diff(ts)
    value = (
        float(np.trapezoid(i, ts)) + float(i[0]) * float(ts[0] - part.begin) + float(i[-1]) * float(part.end - ts[-1])
    )
    variances = [(float(i[0]) * part.u_begin) ** 2, (float(i[-1]) * part.u_end) ** 2]
    weights = 0.5 * (np.append(0.0, steps) + np.append(steps, 0.0))
    noise = noise_from_differences(i, spread=rms) if i.size > 4 else 0.0
    variances.append(float(np.sum(weights**2)) * (noise if np.isfinite(noise) else 0.0) ** 2)
    if i.size > 4 and part.kind != "current":
        thin = np.append(np.arange(0, i.size - 1, 2), i.size - 1)
        variances.append(((float(np.trapezoid(i, ts)) - float(np.trapezoid(i[thin], ts[thin]))) / 3.0) ** 2)
        # A transient that was higher before the first row.
        variances.append((float(i[1] - i[0]) * (float(ts[0] - part.begin) + part.u_begin)) ** 2)
    running = steps[steps > 0.0]
    if running.size:
        # A row may hold the current of its instant or the mean since the row before: half a row earlier or later.
        shifted = u_of_rectangle(float(np.median(running))) * float(i[-1] - i[0])
        variances.append(shifted**2 if part.kind != "current" else 0.0)
        long = steps > _LONG * float(np.median(running))
        variances.append(float(np.sum(u_of_rectangle(1.0) ** 2 * (steps * np.diff(i))[long] ** 2)))
    digit = u_of_rectangle(max(current_step, digits_of(current)))
    # Noise above the digits rounds every row differently: then they average as the noise does.
    shared = noise < 0.5 * digit * 12.0**0.5 if np.isfinite(noise) else True
    of_digits = digit * (abs(part.end - part.begin) if shared else float(np.sum(weights**2)) ** 0.5)
    return Charge(value, float(np.sqrt(sum(variances))), of_digits)


def total(charges: Sequence[Charge]) -> Charge:
    """The sum: rows scatter independently, the digits may be off the same way throughout."""
    u_rows = float(np.sqrt(sum(c.u_rows**2 for c in charges)))
    return Charge(sum(c.value for c in charges), u_rows, sum(c.u_digits for c in charges))


def running_charge(t: F64, current: F64) -> F64:
    """Charge [C] passed since the first row, by trapezoids: `t` [s], `current` [A], (n,)."""
    return np.append(0.0, np.cumsum(0.5 * (current[1:] + current[:-1]) * np.diff(t)))
