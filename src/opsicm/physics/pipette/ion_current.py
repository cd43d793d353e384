"""The pipette's current: conductance between two concentrations, and the potentials that drive it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc

from opsicm.core.compiled import compiled
from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.cell.electrolyte import Electrolyte
from opsicm.physics.cell.electrolyte import conductivity as kappa_at
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_HALF_NODES: Final = 0.5 * (_NODES + 1.0)
_HALF_WEIGHTS: Final = 0.5 * _WEIGHTS


def positive_concentrations(*values: ArrayLike) -> list[NDArray[np.float64]]:
    """The values as float64 arrays; refuses any that is not above zero [mol/m³]."""
    arrays = [np.asarray(value, dtype=np.float64) for value in values]
    for array in arrays:
        if not np.all(array > 0.0):
            raise OutsideDomain(
                Problem(
                    "concentration",
                    f"{float(np.min(array)):g} mol/m³",
                    "it must be above 0 mol/m³",
                    "pure solvent has no conductance; use a small positive value",
                )
            )
    return arrays


def log_mean(c_in: ArrayLike, c_out: ArrayLike) -> NDArray[np.float64]:
    """Logarithmic mean (c_in - c_out) / ln(c_in / c_out) [mol/m³], any shapes that broadcast.

    The effective concentration of an uncharged pipette with kappa proportional to c and constant D, for any
    geometry: every field is a function of one harmonic function. Near equality a series keeps full precision.
    Fails with charged walls or flow. Derived in docs/explanations/pipette.md, section 5.
    """
    a, b = positive_concentrations(c_in, c_out)
    q = (a - b) / (a + b)
    small = np.abs(q) < 1e-3
    safe = np.where(small, 0.5, q)
    # ln(a/b) = 2 artanh(q); q / artanh(q) = 1 - q²/3 - 4q⁴/45 - ...
    ratio = np.where(small, 1.0 - q**2 / 3.0 - 4.0 * q**4 / 45.0, safe / np.arctanh(safe))
    return np.asarray(0.5 * (a + b) * ratio)


def conductance(
    geometric_resistance: float, kappa: Curve, c_in: ArrayLike, c_out: ArrayLike, diffusivity: Curve | None = None
) -> NDArray[np.float64]:
    """G [S] of a pipette filled at `c_in` in a bath of `c_out` at its mouth [mol/m³], any shapes that broadcast.

        1/G = R_geo · (int D/kappa dc) / (int D dc)   over c from c_out to c_in

    with `geometric_resistance` R·kappa [1/m] and the curves `kappa` [S/m] and `diffusivity` [m²/s] of c [mol/m³];
    without `diffusivity` D is constant and the ratio is the mean of 1/kappa. Assumes electroneutrality, uncharged
    walls, no flow, constant t+, steady state (the tip takes about 0.1 s). For kappa proportional to c it is the
    log mean exactly. Fails where kappa is so curved that 12 Gauss nodes are too few (c_in/c_out above about 1e3).
    Source: div(D grad c) = 0 and div i = 0 share one harmonic
    function (docs/explanations/pipette.md); Newman & Balsara, Electrochemical Systems, 4th ed., chapter 12.
    """
    inner, outer = np.broadcast_arrays(*positive_concentrations(c_in, c_out))
    # Nodes in ln c: the integrand of kappa ∝ c is then smooth however far apart the two concentrations are.
    log_ratio = np.log(inner / outer)
    c = outer[..., None] * np.exp(log_ratio[..., None] * _HALF_NODES)
    weight = _HALF_WEIGHTS * c * (1.0 if diffusivity is None else diffusivity(c))
    mean = np.sum(weight / kappa(c), axis=-1) / np.sum(weight, axis=-1)
    return np.asarray(1.0 / (geometric_resistance * mean))


def resistance(geometric_resistance: float, electrolyte: Electrolyte, c_in: float) -> float:
    """1/`conductance` [Ohm] of a pipette filled at `c_in` [mol/m³] in the undisturbed bath."""
    return 1.0 / float(conductance(geometric_resistance, electrolyte.conductivity, c_in, electrolyte.concentration))


@compiled
def conductance_from_table(
    geometric_resistance: float, kappa_table: NDArray[np.float64], c_in: float, c_out: float
) -> float:
    """`conductance` [S] of one pair of concentrations [mol/m³] and a table of `Electrolyte.kappa_table`, constant D.

    The same twelve nodes; a hundred times quicker, for a twin that asks at every step. Assumes both above zero.
    """
    log_ratio = math.log(c_in / c_out)
    top, bottom = 0.0, 0.0
    for k in range(_HALF_NODES.size):
        c = c_out * math.exp(log_ratio * _HALF_NODES[k])
        weight = _HALF_WEIGHTS[k] * c
        top += weight / kappa_at(c, kappa_table)
        bottom += weight
    return bottom / (geometric_resistance * top)


@compiled
def conductances_from_table(
    geometric_resistance: float, kappa_table: NDArray[np.float64], c_in: float, c_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`conductance_from_table` [S, n] for every entry of `c_out` [mol/m³, n]."""
    out = np.empty(c_out.size)
    for k in range(c_out.size):
        out[k] = conductance_from_table(geometric_resistance, kappa_table, c_in, c_out[k])
    return out


def junction_coefficient(temperature: float, transference: float, tdf: float) -> float:
    """U_d [V] = (2 R T / F) (1 - t+) TDF, from `temperature` [K], `transference` t+ [1] and `tdf` [1].

    TDF = 1 + dln f±/dln c, the thermodynamic factor. Assumes a binary 1:1 salt and a Li electrode at both ends;
    the whole diffusion potential of bath and tip is then U_d ln(c_in/c_ref), whatever lies between.
    Fails for Ag/AgCl electrodes (see `junction_potential`). Source: Newman & Balsara, chapter 12.
    """
    return 2.0 * GAS_CONSTANT * temperature / FARADAY * (1.0 - transference) * tdf


def pipette_current(
    G: ArrayLike, tip_potential: ArrayLike, ohmic_drop: ArrayLike, c_in: ArrayLike, c_ref: ArrayLike, U_d: float
) -> NDArray[np.float64]:
    """I [A] = G (V_tip - ohmic_drop - U_d ln(c_in / c_ref)), any shapes that broadcast.

    `G` [S], `tip_potential` [V] of the inner Li wire against the Li reference, `ohmic_drop` [V] =
    i · int dz' / (kappa A_rel) from the tip to the reference (negative while lithiating, i < 0, so the current
    rises), `c_in`, `c_ref` [mol/m³] in the pipette and at the reference, `U_d` [V] from `junction_coefficient`.
    The concentration at the mouth acts through `G` only: its diffusion potential cancels. Adding a junction term
    to this counts it twice. Derived in docs/explanations/pipette.md, section 5.
    """
    inner, reference = positive_concentrations(c_in, c_ref)
    drive = np.asarray(tip_potential) - np.asarray(ohmic_drop) - U_d * np.log(inner / reference)
    return np.asarray(np.asarray(G) * drive)


Electrode = Literal["lithium", "silver_chloride", "anion"]


def junction_potential(
    c_in: ArrayLike, c_out: ArrayLike, temperature: float, transference: float, tdf: float, electrode: Electrode
) -> NDArray[np.float64]:
    """Reversal potential V_rev [V] = U ln(c_in / c_out) of a pipette against its bath, with two equal electrodes.

        lithium (reversible to the cation)         U = (2RT/F) (1 - t+) TDF
        silver_chloride (its own fixed chloride)   U = (RT/F) (1 - 2 t+) TDF
        anion (Ag/AgCl in a chloride salt)         U = -(2RT/F) t+ TDF

    `c_in`, `c_out` [mol/m³] at the electrodes, `temperature` [K], `transference` t+ [1], `tdf` [1]. Assumes a 1:1
    salt with constant t+ and TDF. The middle one divides the activity evenly between the ions, which no measurement
    can confirm, and takes the junction of a saturated reference as zero [assumed]. Source: Newman & Balsara,
    Electrochemical Systems, 4th ed., chapter 12; Bard & Faulkner, 2nd ed., equation (2.3.39) for the ideal limit.
    """
    thermal = GAS_CONSTANT * temperature / FARADAY * tdf
    factor = {
        "lithium": 2.0 * (1.0 - transference),
        "silver_chloride": 1.0 - 2.0 * transference,
        "anion": -2.0 * transference,
    }
    inner, outer = positive_concentrations(c_in, c_out)
    return np.asarray(factor[electrode] * thermal * np.log(inner / outer))


def reversal_potential(ohmic_drop: ArrayLike, c_in: ArrayLike, c_ref: ArrayLike, U_d: float) -> NDArray[np.float64]:
    """V_tip [V] at which `pipette_current` is zero: ohmic_drop + U_d ln(c_in / c_ref); arguments as there."""
    inner, reference = positive_concentrations(c_in, c_ref)
    return np.asarray(np.asarray(ohmic_drop) + U_d * np.log(inner / reference))


# -- How fast the tip's conductance follows a step of the concentration outside.


_RESPONSE_NODES, _RESPONSE_WEIGHTS = np.polynomial.legendre.leggauss(200)


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
    s = 1.0 - (0.5 * (1.0 - _RESPONSE_NODES)) ** 2
    weight = _RESPONSE_WEIGHTS * 0.5 * 2.0 * (0.5 * (1.0 - _RESPONSE_NODES))
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
