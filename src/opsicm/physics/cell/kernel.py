"""One implicit step of the cell: salt in the bath, lithium in the particle, both linear in the current.

With the currents as the only unknown, backward Euler makes every concentration (value at no current) + (response)·i.
What is left is one monotone equation in the intercalation current i_F; it is solved by Newton's method inside a
bracket that keeps 0 < x < 1 and c > 0, so it ends in a root or in a named outcome, never in NaN.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.physics.cell.electrolyte import table_value
from opsicm.physics.materials.open_circuit import ocp_and_slope

Floats = NDArray[np.float64]

# Outcomes of a step.
OK: Final = 0
DEPLETED_SPECIMEN: Final = 1
DEPLETED_COUNTER: Final = 2
STOICHIOMETRY: Final = 3
UNSTABLE_COMPENSATION: Final = 4
SALT_TOO_HIGH: Final = 5

# Places in the state vector.
(
    TIME,
    POTENTIAL,
    CURRENT,
    FARADAIC,
    INTERFACE,
    CHARGE,
    CHARGE_F,
    CHARGE_SEI,
    X_SURFACE,
    C_SPECIMEN,
    C_REFERENCE,
    R_BATH,
    SEI,
    NEXT_STEP,
    LAST_STEP,
    HISTORY,
    D_CURRENT,
    D_INTERFACE,
    D_X,
    D_C,
    STEPS,
    SEI_CURRENT,
    C_SURFACE,
) = range(23)
STATE_SIZE: Final = 23

# Places in the parameter vector.
(
    P_THERMAL,
    P_TRANSFERENCE,
    P_UD,
    P_X_LOW,
    P_AREAL,
    P_KINETIC,
    P_C_STANDARD,
    P_FILM,
    P_CAPACITANCE,
    P_PORE_R,
    P_Z_REFERENCE,
    P_SEI_RATE,
    P_SEI_POTENTIAL,
    P_SEI_THICKNESS,
    P_SEI_VOLUME,
    P_SEI_RESISTIVITY,
    P_TOLERANCE,
    P_PORE_FACTOR,
    P_X_HIGH,
    P_HYSTERESIS,
    P_TURN,
    P_Z_SALT,
    P_R_BEYOND,
    P_R_FROM_MEAN,
) = range(24)
PARAMETERS_SIZE: Final = 24

# What a class of particles carries along behind its shells: its current per specimen area if all surface were its own
# [A/m²], x at its surface, which branch of the open-circuit curve it is on (−1 lithiated, 1 delithiated).
(OWN_CURRENT, OWN_SURFACE, BRANCH) = range(3)
PARTICLE_STATE: Final = 3

# Places in the row of a class: x at the surface without current and per current; then, behind the bath's places (the
# row of a single class is the bath's own), −Δx̄ per current, its branch before, what solving for its current needs, and
# what it is: D_s/R² [1/s], its shares of the volume and of the surface.
(X_VALUE, X_RESPONSE) = range(2)
(CHARGE_RESPONSE, OLD_BRANCH, TRIAL, CONDUCTANCE, LOWEST, HIGHEST, RATE, OF_VOLUME, OF_SURFACE) = range(7, 16)
CLASS_SIZE: Final = 16

# Places in the control vector.
(MODE, SET_TIME, SET_VALUE, SLOPE, COMPENSATION, RESPONSE_TIME) = range(6)
CONTROL_SIZE: Final = 6
POTENTIOSTAT: Final = 0.0
GALVANOSTAT: Final = 1.0

_X_EDGE: Final = 1e-10
_C_EDGE: Final = 1e-6  # [mol/m³]


@compiled
def solve_two(lower: Floats, diagonal: Floats, upper: Floats, a: Floats, b: Floats) -> None:
    """Thomas algorithm for two right-hand sides at once, in place; stable because the diagonal dominates."""
    n = diagonal.size
    for k in range(1, n):
        w = lower[k] / diagonal[k - 1]
        diagonal[k] -= w * upper[k - 1]
        a[k] -= w * a[k - 1]
        b[k] -= w * b[k - 1]
    a[n - 1] /= diagonal[n - 1]
    b[n - 1] /= diagonal[n - 1]
    for k in range(n - 2, -1, -1):
        a[k] = (a[k] - upper[k] * a[k + 1]) / diagonal[k]
        b[k] = (b[k] - upper[k] * b[k + 1]) / diagonal[k]


@compiled
def bath_response(
    h: float,
    c: Floats,
    volume: Floats,
    conductance: Floats,
    source: Floats,
    mixing: Floats,
    D_table: Floats,
    gain: float,
    work: Floats,
) -> None:
    """Backward Euler for V dc/dt = ∇·(g D m ∇c) + gain·i·(source − counter): value and response in rows 3, 4 of `work`.

    `gain` = (1 − t⁺)/F [mol/C]; what enters at the specimen leaves at the counter, so ΣVc is conserved exactly.
    D is taken at the old concentration (first order in h); `mixing` [n + 1] multiplies D at faces.
    """
    n = c.size
    lower, diagonal, upper, value, response = work[0, :n], work[1, :n], work[2, :n], work[3, :n], work[4, :n]
    left = 0.0
    D_here = table_value(c[0], D_table)
    for k in range(n):
        right = 0.0
        D_next = D_here
        if k < n - 1:
            D_next = table_value(c[k + 1], D_table)
            right = h * conductance[k + 1] * mixing[k + 1] * 0.5 * (D_here + D_next)
        lower[k] = -left
        upper[k] = -right
        diagonal[k] = volume[k] + left + right
        value[k] = volume[k] * c[k]
        response[k] = h * gain * source[k]
        left = right
        D_here = D_next
    response[n - 1] -= h * gain
    solve_two(lower, diagonal, upper, value, response)


@compiled
def particle_response(
    h: float, x: Floats, volume: Floats, conductance: Floats, areal: float, classes: Floats, work: Floats
) -> None:
    """Backward Euler in spheres, dx/dt = ∇·(rate ∇x), rate = D_s/R² [1/s]; value and response in `work`[3] and [4].

    `x` [classes, shells and more], `work` [5, shells, classes]. The mean x of a class falls by i h over its areal
    capacity, i as if the whole surface were its own.
    """
    m, count = volume.size, classes.shape[0]
    lower, diagonal, upper, value, response = work[0], work[1], work[2], work[3], work[4]
    # Classes in the inner loop: a class is a chain of divisions, each waiting for the last; none waits for another's.
    for k in range(m):
        for j in range(count):
            left = h * conductance[k] * classes[j, RATE] if k > 0 else 0.0
            right = h * conductance[k + 1] * classes[j, RATE] if k < m - 1 else 0.0
            lower[k, j] = -left
            upper[k, j] = -right
            diagonal[k, j] = volume[k] + left + right
            value[k, j] = volume[k] * x[j, k]
            response[k, j] = 0.0
    for j in range(count):
        response[m - 1, j] = -h / (areal * classes[j, OF_VOLUME] / classes[j, OF_SURFACE])
    for k in range(1, m):
        for j in range(count):
            w = lower[k, j] / diagonal[k - 1, j]
            diagonal[k, j] -= w * upper[k - 1, j]
            value[k, j] -= w * value[k - 1, j]
    for j in range(count):
        value[m - 1, j] /= diagonal[m - 1, j]
        response[m - 1, j] /= diagonal[m - 1, j]
    for k in range(m - 2, -1, -1):
        for j in range(count):
            value[k, j] = (value[k, j] - upper[k, j] * value[k + 1, j]) / diagonal[k, j]
            response[k, j] = -upper[k, j] * response[k + 1, j] / diagonal[k, j]


@compiled
def interface_potential(
    i: float, x: float, dx: float, c: float, parameters: Floats, ocp: Floats, film: float
) -> tuple[float, float]:
    """ψ = U(x) + η + i·film and dψ/di, for x = x(i) with slope `dx`.

    η = (2RT/F) asinh(i / 2i₀), i₀ = k·2√(x(1−x))·√(c/c₀) (Butler–Volmer, α = ½); i per specimen area.
    """
    U, slope = ocp_and_slope(x, ocp)
    k = parameters[P_KINETIC]
    exchange = k * 2.0 * np.sqrt(x * (1.0 - x)) * np.sqrt(max(c, _C_EDGE) / parameters[P_C_STANDARD])
    u = i / (2.0 * exchange)
    du = 1.0 / (2.0 * exchange) - u * (1.0 - 2.0 * x) / (2.0 * x * (1.0 - x)) * dx
    two_thermal = 2.0 * parameters[P_THERMAL]
    value = U + two_thermal * np.arcsinh(u) + i * film
    return value, slope * dx + two_thermal * du / np.sqrt(1.0 + u * u) + film


@compiled
def branch_after(shift: float, branch: float, parameters: Floats) -> tuple[float, float]:
    """(branch, its slope in `shift`) of a particle on `branch` [−1 … 1] whose mean x has fallen by `shift` [1].

    dh/dq = (sign(dq) − h)/Γ with q = −x̄, solved exactly over the step: h tends to 1 on delithiation and to −1 on
    lithiation, and stays where it is at rest. It rises with the shift everywhere, so that the interface's potential
    stays monotone in the current; its slope jumps where the current turns round.
    """
    turn = parameters[P_TURN]
    if shift >= 0.0:
        left = (1.0 - branch) * np.exp(-shift / turn)
        return 1.0 - left, left / turn
    left = (1.0 + branch) * np.exp(shift / turn)
    return left - 1.0, left / turn


@compiled
def class_potential(
    i: float, of_class: Floats, c: float, parameters: Floats, ocp: Floats, film: float
) -> tuple[float, float]:
    """ψ and dψ/di of a class of particles at its current `i`: `interface_potential` on its branch of the curve."""
    dx = of_class[X_RESPONSE]
    psi, slope = interface_potential(i, of_class[X_VALUE] + dx * i, dx, c, parameters, ocp, film)
    half_gap = parameters[P_HYSTERESIS]
    if half_gap > 0.0:
        per_current = of_class[CHARGE_RESPONSE]
        branch, steepness = branch_after(per_current * i, of_class[OLD_BRANCH], parameters)
        psi += half_gap * branch
        slope += half_gap * steepness * per_current
    return psi, slope


@compiled
def sei_current(psi: float, h: float, thickness: float, parameters: Floats) -> tuple[float, float]:
    """SEI formation current [A/m², ≤ 0] over a step of `h` [s] and its slope in ψ: a Tafel law throttled by the film.

    i = −j e / (1 + e L/L₀), e = exp(−(ψ − U)/(2V_T)): reaction-limited on a bare particle, and under a film limited by
    transport through it (∝ 1/L, hence √t growth; Peled, J. Electrochem. Soc. 126 (1979) 2047). L is the film at the
    end of the step, dL = −V i h, which leaves a quadratic: an explicit L would let a bare one at 0.1 V draw 1e5 j.
    """
    j = parameters[P_SEI_RATE]
    if j <= 0.0:
        return 0.0, 0.0
    two_thermal = 2.0 * parameters[P_THERMAL]
    e = np.exp(min(-(psi - parameters[P_SEI_POTENTIAL]) / two_thermal, 40.0))
    grown = parameters[P_SEI_VOLUME] * h * j * e
    a = e / parameters[P_SEI_THICKNESS]
    b = 1.0 - a * thickness
    root = np.sqrt(b * b + 4.0 * a * (thickness + grown))
    # Two forms of the same root, each free of cancellation on its side.
    new = 2.0 * (thickness + grown) / (b + root) if b > 0.0 else (root - b) / (2.0 * a)
    throttle = 1.0 + a * new
    slope_of_new = (a * (new * new - thickness * new) - grown) / (2.0 * a * new + b)  # −dL/d ln e
    value = -j * e / throttle
    return value, -value * (1.0 - a * (new - slope_of_new) / throttle) / two_thermal


@compiled
def ohmic_integral(
    z_low: float, z_high: float, c: Floats, faces: Floats, area: Floats, kappa_table: Floats, first: int
) -> float:
    """∫ dz / (κ(c) A_rel) from `z_low` to `z_high` [Ω m²] over the free bath (cells from `first`); signed."""
    if z_high < z_low:
        return -ohmic_integral_up(z_high, z_low, c, faces, area, kappa_table, first)
    return ohmic_integral_up(z_low, z_high, c, faces, area, kappa_table, first)


@compiled
def ohmic_integral_up(
    z_low: float, z_high: float, c: Floats, faces: Floats, area: Floats, kappa_table: Floats, first: int
) -> float:
    """`ohmic_integral` for z_high ≥ z_low; κ and A of a cell are constant in it."""
    total = 0.0
    for k in range(first, c.size):
        if faces[k + 1] <= z_low:
            continue
        if faces[k] >= z_high:
            break
        width = min(faces[k + 1], z_high) - max(faces[k], z_low)
        total += width / (area[k] * max(table_value(c[k], kappa_table), 1e-9))
    return total


@compiled
def value_at(z: float, centres: Floats, values: Floats, surface: float, first: int) -> float:
    """Linear reading at `z` ≥ 0 between centres; `surface` is the value at z = 0; constant beyond the last centre."""
    n = centres.size
    if z <= 0.0:
        return surface
    if z <= centres[first]:
        return surface + float(values[first] - surface) * z / float(centres[first])
    if z >= centres[n - 1]:
        return float(values[n - 1])
    low, high = first, n - 1
    while high - low > 1:
        middle = (low + high) // 2
        if centres[middle] <= z:
            low = middle
        else:
            high = middle
    s = (z - centres[low]) / (centres[high] - centres[low])
    return float(values[low] + s * (values[high] - values[low]))


@compiled
def surface_value(values: Floats, centres: Floats, faces: Floats, first: int, factor: float) -> float:
    """Concentration at z = 0 between the last pore cell and the first free one, by the continuity of the salt flux."""
    pore = (faces[first] - centres[first - 1]) / factor
    free = centres[first] - faces[first]
    return float((values[first - 1] * free + values[first] * pore) / (free + pore))
