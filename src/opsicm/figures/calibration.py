"""Pipettes alone: current against salt outside (Figures 2c, d), aperture and time (Figures S2, S3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.view import Axis, Curves, Role, Series, View

F64 = NDArray[np.float64]
_BIAS: Final = Axis("bias", "V")
_CURRENT: Final = Axis("pipette current", "nA")
_SIGN: Final = "positive current flows out of the pipette"


def view(
    curves: Sequence[tuple[str, F64, F64]],
    points: Sequence[tuple[str, F64, F64]],
    lines: Sequence[tuple[str, F64, F64, F64]],
    at: float,
) -> View:
    """I-V curves at several outside concentrations, and the current at one bias against the concentration.

    `curves` (label, bias [V], current [A]) of one pipette; `points` (label, salt [mol/m³], current [A]) of a set at the
    bias `at` [V], every pipette over its own factor; `lines` (label, salt, current, half width of the 95 % band [A]) as
    fitted, one a set.
    """
    family = tuple(
        Series(label, bias, 1e9 * i, shade=k / max(len(curves) - 1, 1)) for k, (label, bias, i) in enumerate(curves)
    )
    roles: tuple[Role, ...] = ("pipette", "delithiation")
    dots = [Series(label, 1e-3 * c, 1e9 * i, roles[k % 2], "marks") for k, (label, c, i) in enumerate(points)]
    fits = [
        Series(label, 1e-3 * c, 1e9 * i, roles[k % 2], band=1e9 * band) for k, (label, c, i, band) in enumerate(lines)
    ]
    note = f"at {at:+g} V, each pipette over its own factor; line and its 95 % band"
    panels = (
        Curves(_BIAS, _CURRENT, family, _SIGN),
        Curves(Axis("salt outside", "M"), _CURRENT, (*dots, *fits), note),
    )
    return View("calibration", "Current against the salt outside", panels)


def pipettes_view(curves: Sequence[tuple[str, F64, F64]], resistances: F64, t: F64, held: F64) -> View:
    """I-V by aperture, the resistance of pipettes made alike, and the current at constant bias over hours.

    `curves` (label, bias [V], current [A]); `resistances` [Ohm] (n,), may be empty; `t` [s], `held` [A] (m,), may be
    empty: a panel without data is left out.
    """
    family = tuple(
        Series(label, bias, 1e9 * i, shade=k / max(len(curves) - 1, 1)) for k, (label, bias, i) in enumerate(curves)
    )
    panels = [Curves(_BIAS, _CURRENT, family, _SIGN)]
    if resistances.size:
        number = np.arange(1.0, resistances.size + 1.0)
        mean = np.full(resistances.size, 1e-6 * resistances.mean())
        panels.append(
            Curves(Axis("pipette", ""), Axis("resistance", "MΩ"),
                   (Series("each", number, 1e-6 * resistances, "pipette", "marks"),
                    Series("mean", number, mean, "limit", "dashed")))
        )  # fmt: skip
    if t.size:
        unit, scale = ("h", 3600.0) if float(np.ptp(t)) > 7200.0 else ("min", 60.0)
        panels.append(
            Curves(Axis("time", unit), _CURRENT, (Series("at constant bias", t / scale, 1e9 * held, "pipette"),), _SIGN)
        )
    return View("pipettes", "Pipettes: aperture, reproducibility, drift", tuple(panels))
