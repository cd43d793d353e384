"""Liquid that follows the bias: electro-osmosis carries outside liquid into the tip, or inside liquid out."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.cell.electrolyte import conductivity as kappa_at
from opsicm.physics.pipette.ion_current import Curve, positive_concentrations

F64 = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
LARGEST_PECLET: Final = 60.0  # [1] the salt's boundary layer is then 1/60 of the path, still resolved by 48 nodes
LARGEST_RATIO: Final = 100.0  # [1] of the two concentrations; 48 nodes then hold 1e-8
IDENTIFIABLE: Final = 0.05  # [1] |dlnI/dlnc| below which a current says nothing useful about a concentration


def electroosmotic_peclet(
    bias: ArrayLike, zeta: float, permittivity: float, viscosity: float, diffusivity: float
) -> NDArray[np.float64]:
    """Pe [1] = epsilon zeta V / (eta D), positive for flow of bath liquid **into** the pipette.

    `bias` V [V] of the pipette against the bath, `zeta` [V] of the glass, `permittivity` [F/m], `viscosity` [Pa s],
    `diffusivity` [m²/s] of the salt. Negative glass and V > 0 push liquid out: Pe < 0. Assumes a thin double layer
    and no pressure, so that velocity and field are parallel everywhere (similitude). Fails when a pressure head or
    a Debye length near a adds another flow. The sign of zeta in EC:DEC is unknown: calibrate. Source: Smoluchowski;
    Cummings et al., Anal. Chem. 2000, 72, 2526 for the similitude.
    """
    return np.asarray(permittivity * zeta * np.asarray(bias) / (viscosity * diffusivity))


def _peclet_in_range(peclet: ArrayLike) -> F64:
    Pe = np.asarray(peclet, dtype=np.float64)
    if not np.all(np.abs(Pe) <= LARGEST_PECLET):
        raise OutsideDomain(
            Problem(
                "Péclet number",
                f"{float(Pe.flat[np.argmax(np.abs(Pe))]):g}",
                f"it must lie within ±{LARGEST_PECLET:g}",
                "use a smaller bias or zeta; above this the tip is full of one liquid",
            )
        )
    return Pe


def _profile(c_in: F64, c_out: F64, Pe: F64) -> F64:
    """c at the quadrature points of the harmonic coordinate u (0 far outside, 1 far inside), last axis [48]."""
    u = 0.5 * (_NODES + 1.0)
    P = Pe[..., None]
    size = np.maximum(np.abs(P), 1e-8)
    # (e^(Pe u) - 1) / (e^Pe - 1) with negative exponents only: neither sign overflows, and Pe -> 0 gives u.
    inward = np.exp(-size * (1.0 - u)) * np.expm1(-size * u) / np.expm1(-size)
    outward = np.expm1(-size * u) / np.expm1(-size)
    fraction = np.where(P > 0.0, inward, outward)
    return np.asarray(c_out[..., None] + (c_in - c_out)[..., None] * fraction)


def flow_conductance(
    geometric_resistance: float, kappa: Curve, c_in: ArrayLike, c_out: ArrayLike, peclet: ArrayLike
) -> F64:
    """G [S] with flow: 1/G = R_geo · int du / kappa(c(u)), c(u) = c_out + (c_in - c_out)(e^(Pe u) - 1)/(e^Pe - 1).

    Arguments as `ion_current.conductance`; `peclet` [1] as `electroosmotic_peclet`; shapes broadcast. u is the
    harmonic coordinate of the tip. Assumes constant D, irrotational flow, steady state. Fails beyond |Pe| = 60
    and a ratio of 100 (refused). Source: steady convection–diffusion in u
    (docs/explanations/pipette.md, section 6).
    """
    inner, outer, Pe = _in_range(c_in, c_out, peclet)
    mean = np.sum(0.5 * _WEIGHTS / kappa(_profile(inner, outer, Pe)), axis=-1)
    return np.asarray(1.0 / (geometric_resistance * mean))


def flow_conductance_from_table(
    geometric_resistance: float, kappa_table: F64, c_in: float, c_out: F64, peclet: F64
) -> F64:
    """`flow_conductance` [S, n] of a table of `Electrolyte.kappa_table`, for a twin that asks at every step.

    `c_out` [mol/m³, n] and `peclet` [1, n]; the same nodes, and compiled. Assumes and fails as there.
    """
    if c_out.shape != peclet.shape:
        c_out, peclet = np.broadcast_arrays(c_out, peclet)
    # Compiled code takes no broadcast views.
    outer, Pe = np.ascontiguousarray(c_out), np.ascontiguousarray(peclet)
    if not _plainly_in_range(c_in, outer, Pe):
        _in_range(c_in, outer, Pe)  # says what is not; in arrays it takes nine times as long as the integral of one row
    return np.asarray(_flow_conductances(geometric_resistance, kappa_table, c_in, outer, Pe))


@compiled
def _plainly_in_range(inner: float, outer: F64, peclet: F64) -> bool:
    """Whether all is positive and finite and within the limits of `_in_range`, or it must be asked."""
    for n in range(outer.size):
        if not (0.0 < inner < np.inf and 0.0 < outer[n] < np.inf and abs(peclet[n]) <= LARGEST_PECLET):
            return False
        if max(inner / outer[n], outer[n] / inner) > LARGEST_RATIO:
            return False
    return True


@compiled
def _flow_conductances(geometric_resistance: float, kappa_table: F64, inner: float, outer: F64, peclet: F64) -> F64:
    out = np.empty(outer.size)
    for n in range(outer.size):
        size = max(abs(peclet[n]), 1e-8)
        whole, mean = np.expm1(-size), 0.0
        for k in range(_NODES.size):
            u = 0.5 * (_NODES[k] + 1.0)
            fraction = np.expm1(-size * u) / whole  # as in `_profile`
            if peclet[n] > 0.0:
                fraction *= np.exp(-size * (1.0 - u))
            mean += 0.5 * _WEIGHTS[k] / kappa_at(outer[n] + (inner - outer[n]) * fraction, kappa_table)
        out[n] = 1.0 / (geometric_resistance * mean)
    return out


def _in_range(c_in: ArrayLike, c_out: ArrayLike, peclet: ArrayLike) -> tuple[F64, F64, F64]:
    both = positive_concentrations(c_in, c_out)
    ratio = float(np.exp(np.max(np.abs(np.log(both[0] / both[1])))))
    if ratio > LARGEST_RATIO * (1.0 + 1e-9):
        raise OutsideDomain(
            Problem(
                "ratio of concentrations",
                f"{ratio:g}",
                f"it must be at most {LARGEST_RATIO:g}",
                "raise the smaller one",
            )
        )
    inner, outer, Pe = np.broadcast_arrays(*both, _peclet_in_range(peclet))
    return inner, outer, Pe


def effective_concentration(c_in: ArrayLike, c_out: ArrayLike, peclet: ArrayLike) -> F64:
    """c_eff [mol/m³] that an electrolyte with kappa proportional to c shows: 1 / int du/c(u); shapes broadcast.

    Equal to A / (1 - ln(c_in/c_out)/Pe) with A = (c_out e^Pe - c_in)/(e^Pe - 1) and to the log mean at Pe = 0;
    computed by quadrature, because the closed form is 0/0 at Pe = 0 and at Pe = ln(c_in/c_out).
    """
    return flow_conductance(1.0, lambda c: c, c_in, c_out, peclet)


def sensitivity(kappa: Curve, c_in: float, c_out: float, peclet: float = 0.0) -> float:
    """dlnI/dlnc_out [1] at fixed bias, by a central difference of 0.1 %.

    For kappa ∝ c and c_in = c_out it is 1 - 1/Pe + 1/(e^Pe - 1), 1/2 without flow. An inversion of current into
    concentration where its size is below `IDENTIFIABLE` must be flagged: near the maximum of kappa it is about 0.02.
    """
    step = 1e-3
    outer = c_out * np.exp(np.array([-step, step]))
    low, high = np.log(flow_conductance(1.0, kappa, c_in, outer, peclet))
    return float((high - low) / (2.0 * step))
