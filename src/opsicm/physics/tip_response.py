"""How fast the tip's conductance follows a step of the concentration outside."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc

from opsicm.errors import OutsideDomain, Problem
from opsicm.physics.pipette import Pipette, geometric_resistance

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def response_length(pipette: Pipette) -> float:
    """rho_0 [m]: the cap radius at which an endless cone of the same angle has the tip's whole resistance.

    rho_0 = 1 / (2 pi (1 - cos theta) R_geo): the access resistance counts as a little more cone.
    """
    endless = Pipette(
        pipette.radius, pipette.wall, pipette.cone_angle, 1e6 * pipette.radius / math.tan(pipette.cone_angle)
    )
    return 1.0 / (2.0 * math.pi * (1.0 - math.cos(pipette.cone_angle)) * geometric_resistance(endless))


def tip_response(pipette: Pipette, diffusivity: float, time: ArrayLike) -> NDArray[np.float64]:
    """Share [1] of the final change of current reached `time` [s] after a small step of c outside; any shape.

        S(t) = 2 int_1^inf x^-3 erfc((x - 1) / (2 sqrt(tau))) dx,   tau = D t / rho_0²

    the resistance-weighted concentration of an endless cone whose mouth is stepped (spherical diffusion, exact for
    the cone). `diffusivity` D [m²/s]. Assumes kappa ∝ c near the step's size, no flow, a bath that steps at once.
    Fails in the first a²/D (10 µs), while the mouth itself fills. Source: Carslaw & Jaeger, Conduction of Heat in
    Solids, 2nd ed., section 9.10, equation (2), with the resistance integrated over it.
    """
    if not 0.0 < diffusivity < math.inf:
        raise OutsideDomain(
            Problem(
                "diffusivity", f"{diffusivity:g} m²/s", "it must be above 0 m²/s", "salts in carbonates: 1e-10 to 5e-10"
            )
        )
    tau = diffusivity * np.maximum(np.asarray(time, dtype=np.float64), 0.0) / response_length(pipette) ** 2
    # x = 1/s maps the cone to (0, 1]: 2 int s erfc((1/s - 1) / (2 sqrt(tau))) ds; s = v² packs nodes at the mouth.
    s = 1.0 - (0.5 * (1.0 - _NODES)) ** 2
    weight = _WEIGHTS * 0.5 * 2.0 * (0.5 * (1.0 - _NODES))
    root = 2.0 * np.sqrt(np.maximum(tau, 1e-300))
    return np.asarray(np.sum(2.0 * weight * s * erfc((1.0 / s - 1.0) / root[..., None]), axis=-1))


def response_time(pipette: Pipette, diffusivity: float, share: float) -> float:
    """Time [s] until `tip_response` reaches `share` [1] (0 to 1, both excluded), by bisection in ln t."""
    if not 0.0 < share < 1.0:
        raise OutsideDomain(
            Problem("share of the response", f"{share:g}", "it must lie between 0 and 1", "try 0.5 or 0.9")
        )
    scale = response_length(pipette) ** 2 / diffusivity
    low, high = math.log(scale) - 30.0, math.log(scale) + 30.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (
            (middle, high) if float(tip_response(pipette, diffusivity, math.exp(middle))) < share else (low, middle)
        )
    return math.exp(high)
