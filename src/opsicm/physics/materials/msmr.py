"""Graphite's open-circuit potential as a sum of galleries: the multi-site, multi-reaction form."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.materials.graphite import ocp_curve

Floats = NDArray[np.float64]

# Six galleries: U⁰ [V], share X [1], ω [1]. Verbrugge, Baker, Koch, Xiao, Gu, J. Electrochem. Soc. 164 (2017) E3243,
# in the rounding of PyBaMM's MSMR example set (BSD-3-Clause).
GRAPHITE_GALLERIES: Final[Floats] = np.array(
    [
        [0.08843, 0.43336, 0.08611],
        [0.12799, 0.23963, 0.08009],
        [0.14331, 0.15018, 0.72469],
        [0.16984, 0.05462, 2.53277],
        [0.21446, 0.06744, 0.09470],
        [0.36325, 0.05476, 5.97354],
    ]
)
THERMAL_VOLTAGE: Final = 0.0256926  # [V] at 298.15 K


def gallery_occupations(potential: ArrayLike, galleries: Floats = GRAPHITE_GALLERIES) -> Floats:
    """x_j = X_j / (1 + exp((U − U⁰_j)/(ω_j V_T))) [galleries, potentials]: lithium in each gallery at `potential` [V].

    Assumes independent galleries that exchange lithium freely (Verbrugge 2017, equation 5); ω < 1 is a phase
    transition, ω > 1 a solid solution. Fails where staging has hysteresis.
    """
    U = np.atleast_1d(np.asarray(potential, dtype=np.float64))
    exponent = (U[None, :] - galleries[:, :1]) / (galleries[:, 2:] * THERMAL_VOLTAGE)
    return np.asarray(galleries[:, 1:2] / (1.0 + np.exp(np.clip(exponent, -500.0, 500.0))))


def msmr_stoichiometry(potential: ArrayLike, galleries: Floats = GRAPHITE_GALLERIES) -> Floats:
    """Σ_j x_j at `potential` [V], over Σ_j X_j: 0 when empty, 1 when full."""
    return np.asarray(gallery_occupations(potential, galleries).sum(axis=0) / galleries[:, 1].sum())


def msmr_curve(galleries: Floats = GRAPHITE_GALLERIES) -> Floats:
    """The rows of `graphite.ocp_curve` for these galleries, sampled from 2 V to −0.2 V where x changes."""
    if galleries.ndim != 2 or galleries.shape[1] != 3 or not (galleries[:, 1:] > 0.0).all():
        limit = "rows of U⁰, X > 0, ω > 0"
        raise OutsideDomain(Problem("galleries", str(galleries.shape), limit, "give one row for each gallery"))
    U = np.concatenate([np.linspace(2.0, 0.5, 76), np.linspace(0.498, -0.2, 1400)])
    x = msmr_stoichiometry(U, galleries)
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(x)) > 0.0]) & (x < 0.99999)
    return ocp_curve(x[keep], U[keep])


@cache
def graphite_msmr() -> Floats:
    """The rows for Verbrugge's six galleries of graphite; named `msmr-verbrugge-2017` in a parameter set."""
    rows = msmr_curve()
    rows.setflags(write=False)
    return rows
