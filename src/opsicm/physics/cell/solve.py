"""The scalar equation of a step, and the adaptive march from one time to another."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.constants import FARADAY
from opsicm.physics.cell.bath_mixing import mixing_factors
from opsicm.physics.cell.electrolyte import TABLE_END, table_value
from opsicm.physics.cell.kernel import (
    BRANCH,
    C_REFERENCE,
    C_SPECIMEN,
    C_SURFACE,
    CHARGE,
    CHARGE_F,
    CHARGE_RESPONSE,
    CHARGE_SEI,
    COMPENSATION,
    CONDUCTANCE,
    CURRENT,
    D_C,
    D_CURRENT,
    D_INTERFACE,
    D_X,
    DEPLETED_COUNTER,
    DEPLETED_SPECIMEN,
    FARADAIC,
    HIGHEST,
    HISTORY,
    INTERFACE,
    LAST_STEP,
    LOWEST,
    MODE,
    NEXT_STEP,
    OF_SURFACE,
    OF_VOLUME,
    OK,
    OLD_BRANCH,
    OWN_CURRENT,
    OWN_SURFACE,
    P_AREAL,
    P_CAPACITANCE,
    P_FILM,
    P_PORE_FACTOR,
    P_PORE_R,
    P_R_FROM_MEAN,
    P_SEI_RESISTIVITY,
    P_SEI_VOLUME,
    P_TOLERANCE,
    P_TRANSFERENCE,
    P_UD,
    P_X_HIGH,
    P_X_LOW,
    P_Z_REFERENCE,
    P_Z_SALT,
    PARTICLE_STATE,
    POTENTIAL,
    POTENTIOSTAT,
    R_BATH,
    RATE,
    RESPONSE_TIME,
    SALT_TOO_HIGH,
    SEI,
    SEI_CURRENT,
    SET_TIME,
    SET_VALUE,
    SLOPE,
    STEPS,
    STOICHIOMETRY,
    TIME,
    TRIAL,
    UNSTABLE_COMPENSATION,
    X_RESPONSE,
    X_SURFACE,
    X_VALUE,
    bath_response,
    branch_after,
    class_potential,
    ohmic_integral,
    particle_response,
    sei_current,
    surface_value,
    value_at,
)

Floats = NDArray[np.float64]

CUT_OFF: Final = 10
_X_EDGE: Final = 1e-10
_PATIENCE: Final = 20  # steps by Newton before every other one halves the bracket instead
_C_EDGE: Final = 1e-6
_SMALLEST_STEP: Final = 1e-6  # [s]
_SALT_LIMIT: Final = TABLE_END
_OFF: Final = 1e-4  # [V or A/m²] that a root may be off by: more, and the bracket has closed on one of its ends
# Newton's next error is the square of its last change: at these it is rounding.
_SETTLED: Final = 1e-6  # [1]
_SETTLED_CURRENT: Final = 1e-7  # [A/m²]


@compiled
def control_error(
    h: float,
    psi: float,
    dpsi: float,
    i_f: float,
    di_f: float,
    linear: Floats,
    state: Floats,
    control: Floats,
    parameters: Floats,
) -> tuple[float, float, float, float, float]:
    """What the control law is off by at ψ and intercalation current `i_f` [A/m²]: (error, slope, i, E, i_SEI).

    `dpsi` and `di_f` are their slopes in the unknown, which is one of the two. `linear` holds value and response of
    x_s, c at the specimen and c at the reference, then the bath's ohmic integral.
    Potentiostat:  ψ + i R − U_d ln(c_ref/c_el) − E_applied [V]; galvanostat:  i − i_set [A/m²].
    """
    i_sei, dsei = sei_current(psi, h, state[SEI], parameters)
    capacitive = parameters[P_CAPACITANCE] / h
    i = i_f + capacitive * (psi - state[INTERFACE]) + i_sei
    di = di_f + (capacitive + dsei) * dpsi
    c_el = linear[2] + linear[3] * i
    c_ref = linear[4] + linear[5] * i
    R = linear[6] + parameters[P_PORE_R]
    if control[MODE] != POTENTIOSTAT:
        E = psi + i * R - parameters[P_UD] * np.log(max(c_ref, _C_EDGE) / max(c_el, _C_EDGE))
        return i - control[SET_VALUE], di, i, E, i_sei
    if c_el <= _C_EDGE:
        return -1e3, 0.0, i, 0.0, i_sei
    if c_ref <= _C_EDGE:
        return 1e3, 0.0, i, 0.0, i_sei
    E = psi + i * R - parameters[P_UD] * np.log(c_ref / c_el)
    set_point = control[SET_VALUE] + control[SLOPE] * (state[TIME] + h - control[SET_TIME])
    weight = 1.0
    if control[RESPONSE_TIME] > 0.0:
        weight = 1.0 - np.exp(-h / control[RESPONSE_TIME])
    applied = state[POTENTIAL] + weight * (set_point + control[COMPENSATION] * i - state[POTENTIAL])
    dE = dpsi + di * (R - parameters[P_UD] * (linear[5] / c_ref - linear[3] / c_el))
    return E - applied, dE - weight * control[COMPENSATION] * di, i, applied, i_sei


@compiled
def residual(
    i_f: float, h: float, linear: Floats, state: Floats, control: Floats, parameters: Floats, ocp: Floats
) -> tuple[float, float, float, float, float, float]:
    """`control_error` of one size of particles, at intercalation current `i_f`: (error, slope, i, ψ, E, i_SEI)."""
    film = parameters[P_FILM] + parameters[P_SEI_RESISTIVITY] * state[SEI]
    psi, dpsi = class_potential(i_f, linear, state[C_SPECIMEN], parameters, ocp, film)
    value, slope, i, E, i_sei = control_error(h, psi, dpsi, i_f, 1.0, linear, state, control, parameters)
    return value, slope, i, psi, E, i_sei


@compiled
def without_root(i: float, slope: float, linear: Floats) -> int:
    """Why a step has no root with x in its range and salt left: its bracket has closed on one of its ends."""
    if linear[2] + linear[3] * i <= 2.0 * _C_EDGE:
        return DEPLETED_SPECIMEN
    if linear[4] + linear[5] * i <= 2.0 * _C_EDGE:
        return DEPLETED_COUNTER
    return UNSTABLE_COMPENSATION if slope <= 0.0 else STOICHIOMETRY


@compiled
def solve_current(
    h: float, linear: Floats, state: Floats, control: Floats, parameters: Floats, ocp: Floats
) -> tuple[int, float, float, float, float, float]:
    """(outcome, i_F, i, ψ, E, i_SEI): Newton inside the material's range of x, halving it whenever Newton leaves it."""
    low = (parameters[P_X_HIGH] - _X_EDGE - linear[0]) / linear[1]
    high = (parameters[P_X_LOW] + _X_EDGE - linear[0]) / linear[1]
    guess = min(max(state[FARADAIC], low + 0.01 * (high - low)), high - 0.01 * (high - low))
    width = high - low
    slope = 1.0
    i, psi, E, i_sei = 0.0, 0.0, 0.0, 0.0
    settled = False
    for attempt in range(200):
        value, slope, i, psi, E, i_sei = residual(guess, h, linear, state, control, parameters, ocp)
        if value > 0.0:
            high = guess
        else:
            low = guess
        new = guess - value / slope if slope > 0.0 else high + 1.0
        # Far out on both sides of a steep root Newton goes to and fro without end: asinh is nearly flat there.
        lost = attempt > _PATIENCE and attempt % 2 == 1
        if lost or not low <= new <= high:  # equality is convergence: the bound is the guess itself
            new = 0.5 * (low + high)
        change = abs(new - guess)
        guess = new
        if change <= 1e-10 * abs(guess) + 1e-9 or high - low <= 1e-13 * width:
            settled = True
            break
    value, slope, i, psi, E, i_sei = residual(guess, h, linear, state, control, parameters, ocp)
    if not settled or abs(value) > _OFF:
        return without_root(i, slope, linear), guess, i, psi, E, i_sei
    if slope <= 0.0:
        return UNSTABLE_COMPENSATION, guess, i, psi, E, i_sei
    return OK, guess, i, psi, E, i_sei


@compiled
def class_current(psi: float, of_class: Floats, c: float, parameters: Floats, ocp: Floats, film: float) -> None:
    """The current at which a class of particles has the potential ψ, and di/dψ, into its TRIAL and CONDUCTANCE.

    Newton inside the material's range of x. Beyond what the class can take it stays at that end, whatever ψ is.
    """
    low, high = of_class[LOWEST], of_class[HIGHEST]
    guess = of_class[TRIAL]
    width = high - low
    slope = 1.0
    for attempt in range(200):
        value, slope = class_potential(guess, of_class, c, parameters, ocp, film)
        if value > psi:
            high = guess
        else:
            low = guess
        new = guess + (psi - value) / slope
        if (attempt > _PATIENCE and attempt % 2 == 1) or not low <= new <= high:
            new = 0.5 * (low + high)
        change = abs(new - guess)
        guess = new
        if change <= 1e-10 * abs(guess) + 1e-10 or high - low <= 1e-14 * width:
            break
    of_class[TRIAL], of_class[CONDUCTANCE] = guess, 1.0 / slope


@compiled
def solve_classes(
    h: float, classes: Floats, linear: Floats, state: Floats, control: Floats, parameters: Floats, ocp: Floats
) -> tuple[int, float, float, float, float, float]:
    """As `solve_current`, for particles of several sizes that share one ψ; the currents of the `classes` into TRIAL.

    Newton in ψ and all currents at once: the matrix is an arrow, so a step of it is one step of each class towards ψ,
    then one of ψ for all. Should that not settle, ψ is bracketed and each class solved for it: slower, and never lost.
    """
    film = parameters[P_FILM] + parameters[P_SEI_RESISTIVITY] * state[SEI]
    c = state[C_SPECIMEN]
    n = classes.shape[0]
    psi = state[INTERFACE]
    value, slope, i, E, i_sei, total = 0.0, 1.0, 0.0, 0.0, 0.0, 0.0
    settled = False
    for _ in range(_PATIENCE):
        total, conductance, settled = 0.0, 0.0, True
        for k in range(n):
            one = classes[k]
            there, steepness = class_potential(one[TRIAL], one, c, parameters, ocp, film)
            new = one[TRIAL] + (psi - there) / steepness
            settled = settled and abs(new - one[TRIAL]) <= _SETTLED * abs(new) + _SETTLED_CURRENT
            one[TRIAL] = inside(new, one)
            one[CONDUCTANCE] = 1.0 / steepness
            total += classes[k, OF_SURFACE] * one[TRIAL]
            conductance += classes[k, OF_SURFACE] * one[CONDUCTANCE]
        value, slope, i, E, i_sei = control_error(h, psi, 1.0, total, conductance, linear, state, control, parameters)
        if not slope > 0.0:
            settled = False
            break
        change = -value / slope
        psi += change
        for k in range(n):
            step = classes[k, CONDUCTANCE] * change
            settled = settled and abs(step) <= _SETTLED * abs(classes[k, TRIAL]) + _SETTLED_CURRENT
            classes[k, TRIAL] = inside(classes[k, TRIAL] + step, classes[k])
        if settled:
            break
    if not settled:
        psi, settled = bracketed_potential(h, classes, linear, state, control, parameters, ocp)
    total, conductance = 0.0, 0.0
    for k in range(n):
        total += classes[k, OF_SURFACE] * classes[k, TRIAL]
        conductance += classes[k, OF_SURFACE] * classes[k, CONDUCTANCE]
    value, slope, i, E, i_sei = control_error(h, psi, 1.0, total, conductance, linear, state, control, parameters)
    if not settled or not abs(value) <= _OFF:
        return without_root(i, slope, linear), total, i, psi, E, i_sei
    if slope <= 0.0:
        return UNSTABLE_COMPENSATION, total, i, psi, E, i_sei
    return OK, total, i, psi, E, i_sei


@compiled
def inside(current: float, of_class: Floats) -> float:
    """`current`, or half of the way from the present one to the end of the range that it has left."""
    if current <= of_class[LOWEST]:
        return 0.5 * float(of_class[TRIAL] + of_class[LOWEST])
    if current >= of_class[HIGHEST]:
        return 0.5 * float(of_class[TRIAL] + of_class[HIGHEST])
    return current


@compiled
def bracketed_potential(
    h: float, classes: Floats, linear: Floats, state: Floats, control: Floats, parameters: Floats, ocp: Floats
) -> tuple[float, bool]:
    """(ψ, whether it settled), between the potentials at which every class is full and at which every one is empty."""
    film = parameters[P_FILM] + parameters[P_SEI_RESISTIVITY] * state[SEI]
    c = state[C_SPECIMEN]
    low, high = 1e30, -1e30
    for k in range(classes.shape[0]):
        one = classes[k]
        low = min(low, class_potential(one[LOWEST], one, c, parameters, ocp, film)[0])
        high = max(high, class_potential(one[HIGHEST], one, c, parameters, ocp, film)[0])
    psi = min(max(state[INTERFACE], low), high)
    width = high - low
    for attempt in range(200):
        total, conductance = 0.0, 0.0
        for k in range(classes.shape[0]):
            class_current(psi, classes[k], c, parameters, ocp, film)
            total += classes[k, OF_SURFACE] * classes[k, TRIAL]
            conductance += classes[k, OF_SURFACE] * classes[k, CONDUCTANCE]
        value, slope = control_error(h, psi, 1.0, total, conductance, linear, state, control, parameters)[:2]
        if value > 0.0:
            high = psi
        else:
            low = psi
        new = psi - value / slope if slope > 0.0 else high + 1.0
        if (attempt > _PATIENCE and attempt % 2 == 1) or not low <= new <= high:
            new = 0.5 * (low + high)
        change = abs(new - psi)
        psi = new
        settled = change * conductance <= 1e-10 * abs(total) + 1e-9 and change <= 1e-11
        if settled or high - low <= 1e-14 * width:
            for k in range(classes.shape[0]):
                class_current(psi, classes[k], c, parameters, ocp, film)
            return psi, True
    return psi, False


@compiled
def trial_step(
    h: float,
    state: Floats,
    c: Floats,
    x: Floats,
    new_state: Floats,
    new_c: Floats,
    new_x: Floats,
    control: Floats,
    parameters: Floats,
    grid: Floats,
    particle: Floats,
    classes: Floats,
    mixing: Floats,
    D_table: Floats,
    kappa_table: Floats,
    ocp: Floats,
    first: int,
    work: Floats,
    particle_work: Floats,
) -> int:
    """One backward-Euler step of `h` [s] from (state, c, x) into (new_state, new_c, new_x); an outcome.

    `grid` rows: centres, faces, volume, conductance, source, area ([·, n + 1]); `particle` rows: volume, conductance.
    `x` and `classes` have a row for each class of particles. `first` is the first cell of the free bath: cells below it
    are pores.
    """
    n, m = c.size, x.shape[1] - PARTICLE_STATE
    centres, volume, source, area = grid[0, :n], grid[2, :n], grid[4, :n], grid[5, :n]
    faces, conductance = grid[1], grid[3]
    gain = (1.0 - parameters[P_TRANSFERENCE]) / FARADAY
    bath_response(h, c, volume, conductance, source, mixing, D_table, gain, work)
    particle_response(h, x, particle[0, :m], particle[1], parameters[P_AREAL], classes, particle_work)
    for k in range(classes.shape[0]):
        one = classes[k]
        areal = parameters[P_AREAL] * one[OF_VOLUME] / one[OF_SURFACE]
        one[X_VALUE] = particle_work[3, m - 1, k]
        one[X_RESPONSE] = particle_work[4, m - 1, k] - particle[2, 0] / (3.0 * areal * one[RATE])
        one[CHARGE_RESPONSE], one[OLD_BRANCH] = h / areal, x[k, m + BRANCH]
    value, response = work[3, :n], work[4, :n]
    linear = work[5]
    for k in (X_VALUE, X_RESPONSE, CHARGE_RESPONSE, OLD_BRANCH):
        linear[k] = classes[0, k]
    if first == 0:
        linear[2] = value[0]
        linear[3] = response[0] + gain * (centres[0] - faces[0]) / (table_value(c[0], D_table) * mixing[0])
    else:
        linear[2], linear[3] = 0.0, 0.0
        for k in range(first):
            linear[2] += source[k] * value[k]
            linear[3] += source[k] * response[k]
    linear[4] = value_at(parameters[P_Z_SALT], centres, value, value[first], first)
    linear[5] = value_at(parameters[P_Z_SALT], centres, response, response[first], first)
    linear[6] = ohmic_integral(0.0, parameters[P_Z_REFERENCE], c, faces, area, kappa_table, first)
    linear[6] += parameters[P_R_FROM_MEAN]
    if classes.shape[0] == 1:
        outcome, i_f, i, psi, E, i_sei = solve_current(h, linear, state, control, parameters, ocp)
        classes[0, TRIAL] = i_f
    else:
        for k in range(classes.shape[0]):
            one = classes[k]
            one[LOWEST] = (parameters[P_X_HIGH] - _X_EDGE - one[X_VALUE]) / one[X_RESPONSE]
            one[HIGHEST] = (parameters[P_X_LOW] + _X_EDGE - one[X_VALUE]) / one[X_RESPONSE]
            one[TRIAL] = 0.0
            one[TRIAL] = inside(x[k, m + OWN_CURRENT], one)
        outcome, i_f, i, psi, E, i_sei = solve_classes(h, classes, linear, state, control, parameters, ocp)
    if outcome != OK:
        return outcome
    lowest, lowest_at, highest = 1e30, 0, 0.0
    for k in range(n):
        new_c[k] = value[k] + i * response[k]
        if new_c[k] < lowest:
            lowest, lowest_at = new_c[k], k
        highest = max(highest, new_c[k])
    if lowest <= _C_EDGE or linear[2] + linear[3] * i <= _C_EDGE:
        return DEPLETED_SPECIMEN if lowest_at < n // 2 else DEPLETED_COUNTER
    if highest > _SALT_LIMIT:
        return SALT_TOO_HIGH
    new_state[:] = state
    new_state[X_SURFACE] = 0.0
    for j in range(classes.shape[0]):
        one = classes[j]
        own = one[TRIAL]
        for k in range(m):
            new_x[j, k] = particle_work[3, k, j] + own * particle_work[4, k, j]
        new_x[j, m + OWN_CURRENT] = own
        new_x[j, m + OWN_SURFACE] = one[X_VALUE] + one[X_RESPONSE] * own
        new_x[j, m + BRANCH] = branch_after(one[CHARGE_RESPONSE] * own, one[OLD_BRANCH], parameters)[0]
        new_state[X_SURFACE] += one[OF_SURFACE] * new_x[j, m + OWN_SURFACE]
    new_state[TIME] = state[TIME] + h
    new_state[POTENTIAL], new_state[CURRENT], new_state[FARADAIC], new_state[INTERFACE] = E, i, i_f, psi
    new_state[CHARGE] = state[CHARGE] + h * i
    new_state[CHARGE_F] = state[CHARGE_F] + h * i_f
    new_state[CHARGE_SEI] = state[CHARGE_SEI] + h * i_sei
    new_state[SEI_CURRENT] = i_sei
    new_state[SEI] = state[SEI] - parameters[P_SEI_VOLUME] * h * i_sei
    new_state[C_SPECIMEN] = linear[2] + linear[3] * i
    new_state[C_SURFACE] = new_state[C_SPECIMEN]
    if first > 0:
        new_state[C_SURFACE] = surface_value(new_c, centres, faces, first, parameters[P_PORE_FACTOR])
    new_state[C_REFERENCE] = linear[4] + linear[5] * i
    new_state[R_BATH] = linear[6]
    new_state[D_CURRENT] = (i - state[CURRENT]) / h
    new_state[D_INTERFACE] = (psi - state[INTERFACE]) / h
    new_state[D_X] = (new_state[X_SURFACE] - state[X_SURFACE]) / h
    new_state[D_C] = (new_state[C_SPECIMEN] - state[C_SPECIMEN]) / h
    new_state[STEPS] = state[STEPS] + 1.0
    return OK


@compiled
def step_error(h: float, state: Floats, new: Floats, tolerance: float) -> float:
    """Backward Euler's local error h²/2·y″ over what is allowed, the worst of i, ψ, x_s and c; y″ from two slopes.

    Allowed at tolerance 1: 0.2 % of i and 0.02 A/m², 0.5 mV, 0.001 in x_s, 0.25 mol/m³ at the specimen.
    """
    scale = h * h / (h + state[LAST_STEP]) / tolerance
    worst = abs(new[D_CURRENT] - state[D_CURRENT]) / (0.02 + 0.002 * abs(new[CURRENT]))
    worst = max(worst, abs(new[D_INTERFACE] - state[D_INTERFACE]) / 5e-4)
    worst = max(worst, abs(new[D_X] - state[D_X]) / 1e-3)
    worst = max(worst, abs(new[D_C] - state[D_C]) / 0.25)
    return float(scale * worst)


@compiled
def march(
    duration: float,
    state: Floats,
    c: Floats,
    x: Floats,
    spare_state: Floats,
    spare_c: Floats,
    spare_x: Floats,
    control: Floats,
    limits: Floats,
    parameters: Floats,
    grid: Floats,
    particle: Floats,
    classes: Floats,
    mixing: Floats,
    convection: Floats,
    D_table: Floats,
    kappa_table: Floats,
    ocp: Floats,
    first: int,
    work: Floats,
    particle_work: Floats,
) -> int:
    """Advance (state, c, x) in place by `duration` [s] with as many steps as the error asks; an outcome.

    On any outcome but OK the arrays hold the last moment that could be met. `limits` (low, high) [V] end a
    galvanostatic march at the crossing, found by shortening the last step.
    """
    end = state[TIME] + duration
    while end - state[TIME] > 1e-9 * duration:
        remaining = end - state[TIME]
        wished = state[NEXT_STEP]
        h = remaining if wished >= remaining else (0.5 * remaining if 2.0 * wished > remaining else wished)
        mixing_factors(state[TIME], c, grid[1], convection, first, mixing)
        while True:
            outcome = trial_step(
                h,
                state,
                c,
                x,
                spare_state,
                spare_c,
                spare_x,
                control,
                parameters,
                grid,
                particle,
                classes,
                mixing,
                D_table,
                kappa_table,
                ocp,
                first,
                work,
                particle_work,
            )
            if outcome != OK:
                if h > 2.0 * _SMALLEST_STEP and h > 1e-3 * duration:
                    h *= 0.25
                    continue
                return outcome
            error = 0.5
            if state[HISTORY] > 0.0:
                error = step_error(h, state, spare_state, parameters[P_TOLERANCE])
            if error > 1.0 and h > _SMALLEST_STEP:
                h *= min(0.5, max(0.1, 0.8 / np.sqrt(error)))
                continue
            break
        cut = False
        if control[MODE] != POTENTIOSTAT:
            E, before = spare_state[POTENTIAL], state[POTENTIAL]
            limit = limits[0] if limits[0] > E else limits[1]
            if limits[0] > E or limits[1] < E:
                inside = limits[0] <= before <= limits[1]
                if inside and abs(E - limit) > 1e-5 and h > _SMALLEST_STEP:
                    state[NEXT_STEP] = max(_SMALLEST_STEP, h * min(0.95, max(0.05, (before - limit) / (before - E))))
                    continue
                cut = True
        growth = min(3.0, 0.9 / np.sqrt(error + 1e-12))
        next_step = h * growth
        state[:] = spare_state
        state[LAST_STEP], state[HISTORY] = h, 1.0
        state[NEXT_STEP] = max(next_step, wished) if h < wished and growth >= 1.0 else next_step
        c[:] = spare_c
        x[:] = spare_x
        if cut:
            return CUT_OFF
    return OK
