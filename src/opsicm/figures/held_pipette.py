"""The pipette held above the specimen: voltammograms (Figures 3a, b, S4), constant current (3c, d), pulses (3e)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.view import Axis, Curves, Series, View

F64 = NDArray[np.float64]
_POTENTIAL: Final = Axis("potential vs Li/Li+", "V")
_PIPETTE: Final = Axis("pipette current", "nA")
_CELL: Final = Axis("cell current", "mA")
_MINUTES: Final = Axis("time", "min")
_SIGN_CELL: Final = "negative cell current lithiates"
_SIGN_PIPETTE: Final = "positive pipette current flows out of the pipette"


@dataclass(frozen=True, slots=True)
class Held:
    """What one run with the pipette held at a place gives, all (n,): `t` [s], `potential` [V], currents [A].

    `label` says what sets it apart from its neighbours in a figure ("10 µm", "ohmic off"); `rest` [A] is the pipette
    current before the cell did anything.
    """

    label: str
    t: F64
    potential: F64
    pipette: F64
    cell: F64
    rest: float


def voltammogram_view(runs: Sequence[Held], title: str) -> View:
    """Pipette current and cell current against potential, a curve a run, in the order given (Figures 3a, b, S4)."""
    pipette = _family(runs, lambda run: (run.potential, 1e9 * run.pipette))
    cell = _family(runs, lambda run: (run.potential, 1e3 * run.cell))
    panels = (Curves(_POTENTIAL, _PIPETTE, pipette, _SIGN_PIPETTE), Curves(_POTENTIAL, _CELL, cell, _SIGN_CELL))
    return View("voltammograms", title, panels, share_x=True)


def time_view(run: Held, title: str) -> View:
    """Pipette current, potential and cell current against time (Figures 3c, d and e)."""
    t = run.t / 60.0
    panels = (
        Curves(_MINUTES, _PIPETTE, (Series("pipette current", t, 1e9 * run.pipette, "pipette"),), _SIGN_PIPETTE),
        Curves(_MINUTES, _POTENTIAL, (Series("potential", t, run.potential, "potential"),)),
        Curves(_MINUTES, _CELL, (Series("cell current", t, 1e3 * run.cell, "cell"),), _SIGN_CELL),
    )
    return View("against_time", title, panels, share_x=True)


def made_of_view(runs: Sequence[Held], title: str, against_potential: bool) -> View:
    """What the pipette's signal is made of: the whole, and what it loses when each term of the physics is switched off.

    `runs`: first the whole, then the same with one term off each. Above, the change since rest; below, the whole less
    the run without the term (its rows interpolated in time), the largest term apart from the others so that both can be
    read. Frames hold 98 % of the rows: a switch that comes at another row shows as a spike beyond them.
    """
    whole, *without = runs
    axis = _POTENTIAL if against_potential else _MINUTES
    x = whole.potential if against_potential else whole.t / 60.0
    change = 1e9 * (whole.pipette - whole.rest)
    upper = [Series(whole.label, x, change)]
    parts = []
    for k, run in enumerate(without):
        alone = np.interp(whole.t, run.t, 1e9 * (run.pipette - run.rest))
        upper.append(Series(run.label, x, alone, style="dashed", shade=_place(k, len(without))))
        parts.append(Series(run.label.removesuffix(" off"), x, change - alone, shade=_place(k, len(without))))
    parts.sort(key=lambda part: float(np.ptp(np.percentile(part.y, (1.0, 99.0)))))
    panels = [Curves(axis, Axis("change since rest", "nA"), tuple(upper), _SIGN_PIPETTE, _frame(upper))]
    for shown, unit, scale in ((parts[-1:], "nA", 1.0), (parts[:-1], "pA", 1e3)):
        if shown:
            scaled = [replace(part, y=scale * part.y) for part in shown]
            named = "what " + " and ".join(part.label for part in scaled) + " add" + ("s" if len(scaled) == 1 else "")
            panels.append(Curves(axis, Axis("contribution", unit), tuple(scaled), named, _frame(scaled)))
    return View("made_of", title, tuple(panels), share_x=True)


def _frame(series: Sequence[Series]) -> tuple[float, float] | None:
    low = min(float(np.percentile(one.y, 1.0)) for one in series)
    high = max(float(np.percentile(one.y, 99.0)) for one in series)
    margin = 0.15 * (high - low)
    return (low - margin, high + margin) if margin > 0.0 else None


def _family(runs: Sequence[Held], xy: Callable[[Held], tuple[F64, F64]]) -> tuple[Series, ...]:
    return tuple(
        Series(run.label, *xy(run), shade=_place(k, len(runs)) if len(runs) > 1 else 0.5) for k, run in enumerate(runs)
    )


def _place(k: int, count: int) -> float:
    return k / max(count - 1, 1)
