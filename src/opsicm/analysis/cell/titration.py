"""Galvanostatic intermittent titration: pulses, relaxed potentials, and a diffusivity where it is identifiable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.cell.charge import charge_of
from opsicm.analysis.cell.control import controlled_parts
from opsicm.analysis.cell.parts import ControlledPart
from opsicm.core.statistics import linear_fit, u_of_rectangle

F64 = NDArray[np.float64]
_STRAIGHT: Final = 0.99  # R² of E against sqrt(t)
_SKIP: Final = 0.05  # of a pulse: double layer and ohmic step
_FLATTEST: Final = 2e-3  # [V] of the relaxed potential in a step: less is a plateau, which hides the diffusion
_UNEVEN: Final = 0.3  # of a step: the largest difference from its neighbours
_SHORT: Final = 1.0 / 16.0  # of R²/D: longer pulses give ever higher D
_BIAS: Final = 0.12  # of D: how much too high short pulses are against a solved sphere
_SETTLED: Final = 0.2  # of the relaxed change: what may still be to come
_ROWS: Final = 3
# The relaxation still to come over the change in the last half, for 1/sqrt(t).
_LEFT: Final = 1.0 / (2.0**0.5 - 1.0)


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse and the rest after it: `start`, `end` [s]; `charge` [C]; `before` and `relaxed_potential` [V] after
    rests; `before` is nan of a pulse with which the record begins.

    `u_relaxed` [V] is the relaxation still to come, as 1/sqrt(t), from the change in the last half. `ohmic_step` [V]
    at the start, `slope` [V/sqrt(s)] against sqrt(t) with `u_slope` and `r_squared`. `diffusivity` [m²/s] and
    `u_diffusivity`, or None with the `reason`. `missing` rows; the rest after it ended at `rest_end` [s].
    """

    start: float
    end: float
    charge: float
    before: float
    relaxed_potential: float
    u_relaxed: float
    ohmic_step: float
    slope: float
    u_slope: float
    r_squared: float
    diffusivity: float | None
    u_diffusivity: float | None
    reason: str
    missing: int
    rest_end: float


def titration(
    t: F64,
    potential: F64,
    current: F64,
    particle_radius: float | None = None,
    parts: Sequence[ControlledPart] | None = None,
) -> list[Pulse]:
    """Pulses of constant current between rests, each with the rest before and after it; sweeps and holds do not count.

    D = (4/pi) (R/3)² (dE_s / (tau dE_t/d sqrt(t) · ...))², written with the slope b = dE/d sqrt(t) of E = a + b sqrt(t)
    + c t:
        D = (4/(9 pi)) R² (dE_s / (b tau))²
    with `t` [s], `potential` [V], `current` [A] (negative lithiates), (n,); `particle_radius` R [m], spheres; dE_s the
    change of the relaxed potential, tau the pulse's length. Without R no diffusivity is given.
    Assumes: one size of spheres (with a spread of 0.45 in ln R, R that of the same V/S, D is 1 to 5 % higher
    still), a short pulse (tau well below R²/D), dE/dx constant over the step, no potential drop
    that follows sqrt(t) elsewhere (the salt in the bath does, and is taken for solid diffusion). Identifiable only if E
    is straight in sqrt(t) (R² > 0.99), the relaxed potential moved by at least 2 mV (not on a plateau), the rest had
    settled, the step agrees within 30 % with that of the pulse before and with those of the (2/3) R/sqrt(pi D tau)
    pulses that the surface is ahead by, and tau < R²/(16 D); otherwise `reason` says which failed. u from
    slope, rests, how those steps differ, the row within which the pulse began, and the bias: against a solved sphere
    with linear dE/dx D is 10 % high at tau D/R² = 0.01 and 12 % at 0.05 (36 % at 0.12, 56 % at 0.16: not short).
    The value is not corrected, because the bias depends on dE/dx.
    Source: Weppner and Huggins, J. Electrochem. Soc. 1977, 124, 1569, equation (18), with V_m/S = R/3 for spheres.
    """
    known = np.isfinite(potential) & np.isfinite(current)
    missing_before = np.append(0, np.cumsum(~known))
    if parts is None:
        index = np.flatnonzero(known)
        found = controlled_parts(t[known], potential[known], current[known]) if index.size > 1 else []
        parts = [replace(p, first=int(index[p.first]), stop=int(index[p.stop - 1]) + 1) for p in found]
    pulses = []
    # A record may begin with its first pulse: what was before is then not known, but where it relaxed to is.
    for before, pulse, after in zip((None, *parts), parts, parts[1:], strict=False):
        kinds = ("rest" if before is None else before.kind, pulse.kind, after.kind)
        enough = min(p.stop - p.first for p in (before or after, pulse, after)) >= _ROWS
        # Rests that begin or end with an interval of which nothing is known do not say what was before the pulse.
        joined = (before is None or before.end == pulse.begin) and pulse.end == after.begin
        if kinds == ("rest", "current", "rest") and enough and joined:
            e0 = math.nan if before is None else _relaxed(t, potential, before.first, before.stop)[0]
            e1, u1 = _relaxed(t, potential, after.first, after.stop)
            rows = np.flatnonzero(known[pulse.rows]) + pulse.first
            within = replace(pulse, first=0, stop=rows.size)
            pulses.append(
                _pulse(
                    t,
                    potential,
                    pulse,
                    charge_of(within, t[rows], current[rows]).value,
                    (e0, e1, u1),
                    particle_radius,
                    int(missing_before[pulse.stop] - missing_before[pulse.first]),
                    float(t[after.stop - 1]),
                )
            )
    if len(pulses) == 1 and math.isnan(pulses[0].before):  # a current and a rest are no titration yet
        pulses = []
    return _without_uneven(pulses, particle_radius)


def _without_uneven(pulses: list[Pulse], radius: float | None) -> list[Pulse]:
    """Remove the diffusivity where the relaxed potential's steps differ as far as the surface of the sphere is ahead.

    During the pulse the surface runs ahead of the mean by (2/3) R/sqrt(pi D tau) steps, so dE/dx must be constant over
    that many of the steps that follow, not over one.
    """
    steps = [pulse.relaxed_potential - pulse.before for pulse in pulses]
    out = []
    for k, pulse in enumerate(pulses):
        if pulse.diffusivity is None or radius is None:
            out.append(pulse)
            continue
        ahead = math.ceil(2.0 / 3.0 * radius / math.sqrt(math.pi * pulse.diffusivity * (pulse.end - pulse.start)))
        beside = [steps[j] for j in range(k - 1, k + ahead + 1) if 0 <= j < len(steps) and j != k]
        beside = [step for step in beside if not math.isnan(step)]
        away = [abs(step - steps[k]) for step in beside]
        change = max(away, default=0.0)
        if change > _UNEVEN * abs(steps[k]):
            reason = (
                f"the relaxed potential's step is {1e3 * steps[k]:.2g} mV and one of its neighbours' differs by "
                f"{1e3 * change:.2g} mV, with {ahead} steps ahead that the surface reaches: dE/dx is not constant"
            )
            out.append(replace(pulse, diffusivity=None, u_diffusivity=None, reason=reason))
            continue
        # D is proportional to the square of dE/dx, which is known no better than the steps agree.
        uneven = 2.0 * (sum(a**2 for a in away) / max(len(away), 1)) ** 0.5 / abs(steps[k])
        u = math.hypot(pulse.u_diffusivity or 0.0, pulse.diffusivity * uneven)
        out.append(replace(pulse, u_diffusivity=u))
    return out


def _relaxed(t: F64, potential: F64, first: int, stop: int) -> tuple[float, float]:
    known = np.flatnonzero(np.isfinite(potential[first:stop])) + first
    half = 0.5 * (t[first] + t[stop - 1])
    middle = float(np.interp(half, t[known], potential[known]))
    tail = potential[known][t[known] >= t[stop - 1] - 0.02 * (t[stop - 1] - t[first])]
    end = float(np.mean(tail))
    return end, _LEFT * abs(end - middle)


def _pulse(
    t: F64,
    potential: F64,
    part: ControlledPart,
    charge: float,
    rests: tuple[float, float, float],
    radius: float | None,
    missing: int,
    rest_end: float,
) -> Pulse:
    e0, e1, u1 = rests
    tp, e = t[part.rows], potential[part.rows]
    begins = part.begin
    tau = float(tp[-1]) - begins
    level, slope, u_slope, r_squared = _against_root(tp - begins, e, tau)
    # It began anywhere within a row: a rectangle.
    half = 3.0**0.5 * part.u_begin
    edges = [_against_root(tp - at, e, tau)[1] for at in (begins - half, min(begins + half, float(tp[0])))]
    u_slope = math.hypot(u_slope, u_of_rectangle(edges[1] - edges[0]))
    step = e1 - e0
    D, u_D, reason = None, None, ""
    if math.isnan(e0):
        reason = "the record begins with this pulse: how far the relaxed potential moved is not known"
    elif radius is None:
        reason = "no particle radius is stated, and D goes with its square"
    elif r_squared < _STRAIGHT:
        reason = f"the potential is not straight in sqrt(t) (R² {r_squared:.3f})"
    elif abs(step) < _FLATTEST:
        reason = f"the relaxed potential moved by {1e3 * abs(step):.2g} mV: a plateau hides the diffusion"
    elif u1 > _SETTLED * abs(step):
        reason = "the rest had not settled: a fifth of the step or more may still be to come"
    elif step * slope <= 0.0:
        reason = "pulse and relaxed potential move in opposite directions"
    else:
        value = 4.0 / (9.0 * np.pi) * radius**2 * (step / (slope * tau)) ** 2
        if tau > _SHORT * radius**2 / value:
            reason = f"the pulse of {tau:.3g} s is not short against R²/16D = {_SHORT * radius**2 / value:.3g} s"
        else:
            D = float(value)
            u_D = D * math.hypot(2.0 * u_slope / slope, 2.0 * u1 / step, _BIAS)
    return Pulse(
        begins,
        float(tp[-1]),
        charge,
        e0,
        e1,
        u1,
        level - e0,
        slope,
        u_slope,
        r_squared,
        D,
        u_D,
        reason,
        missing,
        rest_end,
    )


def _against_root(since: F64, e: F64, tau: float) -> tuple[float, float, float, float]:
    """(value at t = 0 [V], slope [V/sqrt(s)], its u, R² of a line) of E = a + b sqrt(t) + c t, the first 5 % left
    out."""
    late = (since > _SKIP * tau) & np.isfinite(e)
    root = np.sqrt(since[late])
    # The next term of a sphere's response is linear in t: without it the slope, whose square is D, is 10 % off.
    basis = np.column_stack((np.ones_like(root), root, root**2))
    fit = linear_fit(basis, e[late])
    total = float(np.sum((e[late] - e[late].mean()) ** 2))
    r_squared = float(np.corrcoef(root, e[late])[0, 1] ** 2) if total > 0.0 else 0.0
    return float(fit.coefficients[0]), float(fit.coefficients[1]), float(fit.u[1]), r_squared
