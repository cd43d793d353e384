"""What the pipette's own steps of a run show: towers, current-voltage curves, several biases at a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from opsicm.analysis.concentration_results import no_calibration
from opsicm.analysis.current_voltage import iv_results
from opsicm.analysis.modulation import Modulated, conductance_fit, level_means, modulation_results
from opsicm.analysis.result import Result
from opsicm.analysis.tower_results import tower_results
from opsicm.app.modulated_hops import MOST_SAMPLES, Place, levels_of_hops, modulated_steps
from opsicm.app.probe_stretches import Stretch, stretches
from opsicm.record.reader import Run

F64 = NDArray[np.float64]
_MOST_POINTS: Final = 20_000
_NOTHING: Final = 0.05  # [V]
_CALIBRATION: Final = 0.7  # [V]
_LEVEL: Final = 5e-3  # [V] a plateau this near a level of the step is that level


def pipette_results(run: Run) -> list[Result]:
    """Results of every tower, pipette_sweep and modulation of a run; named after their step where a word came twice."""
    found = stretches(run)
    results: list[Result] = []
    for word, of in (("tower", _tower), ("pipette_sweep", _sweep)):
        mine = [stretch for stretch in found if stretch.word == word]
        for k, stretch in enumerate(mine, start=1):
            own = of(run, stretch)
            results += [replace(r, name=f"{r.name} {stretch.step}#{k}") for r in own] if len(mine) > 1 else own
    return results + _modulated(run, found)


def two_electrode(run: Run) -> bool:
    """Whether the rig had no specimen at the potentiostat: the command is then the wire's potential itself."""
    try:
        rig = yaml.safe_load(run.rig_text)
    except yaml.YAMLError:
        return False
    wiring = rig.get("wiring") if isinstance(rig, dict) else None
    return isinstance(wiring, dict) and wiring.get("grounding") == "two_electrode"


def _tower(run: Run, stretch: Stretch) -> list[Result]:
    slow, cell = run.slow, run.cell
    t = slow["t_ns"].values
    rows = (t >= stretch.start_ns) & (t <= stretch.stop_ns)
    seconds = t[rows] * 1e-9
    beside = {
        name: np.interp(seconds, cell["t_ns"].values * 1e-9, cell[name].values) if cell.sizes["row"] else 0.0 * seconds
        for name in ("current", "potential")
    }
    height, pipette = slow["coarse_z"].values[rows], slow["pipette_current"].values[rows]
    return tower_results(seconds, height, pipette, beside["current"], beside["potential"])


def _samples(run: Run, start_ns: float, stop_ns: float) -> Iterator[tuple[F64, F64, F64, float]]:
    """(t [s], wire's potential [V], current [A], period [s]) of every segment's part between two moments."""
    both = two_electrode(run)
    for segment in run.segments():
        length = run.length(segment)
        if not length:
            continue
        begin = float(run.samples(segment, 0, 1)["t_ns"].values[0])
        first = max(0, int(np.ceil((start_ns - begin) / run.dt_ns)))
        last = min(length, int(np.floor((stop_ns - begin) / run.dt_ns)) + 1)
        if last - first < 2 or last - first > MOST_SAMPLES:
            continue
        part = run.samples(segment, first, last)
        if "pipette_current" not in part or "pipette_bias" not in part:
            continue
        t = part["t_ns"].values * 1e-9
        wire = part["pipette_bias"].values
        if not both and run.cell.sizes["row"]:
            wire = wire + np.interp(t, run.cell["t_ns"].values * 1e-9, run.cell["potential"].values)
        yield t, wire, part["pipette_current"].values, run.dt_ns * 1e-9


def _sweep(run: Run, stretch: Stretch) -> list[Result]:
    # At a bias of nothing no current says how much salt there is: the paper's calibration was read at +0.7 V.
    held = float(run.parameters["pipette"]["bias_V"])
    at = held if abs(held) > _NOTHING else _CALIBRATION
    for _, wire, current, _ in _samples(run, stretch.start_ns, stretch.stop_ns):
        # Means of neighbours: a curve of 20 000 points holds all that a sweep of seconds can say.
        of = max(1, wire.size // _MOST_POINTS)
        n = wire.size // of * of
        return iv_results(wire[:n].reshape(-1, of).mean(axis=1), current[:n].reshape(-1, of).mean(axis=1), at)
    slow = run.slow
    t = slow["t_ns"].values
    rows = (t >= stretch.start_ns) & (t <= stretch.stop_ns)
    wire, current = slow["pipette_bias"].values[rows], slow["pipette_current"].values[rows]
    kept = _decimated(run, stretch)
    if kept is not None and kept[0].size > wire.size:
        wire, current = kept
    elif not two_electrode(run) and run.cell.sizes["row"]:
        wire = wire + np.interp(t[rows], run.cell["t_ns"].values, run.cell["potential"].values)
    return iv_results(wire, current, at)


def _decimated(run: Run, stretch: Stretch) -> tuple[F64, F64] | None:
    """(wire's potential [V], current [A]) of the means that were kept of a sweep whose samples were not.

    The means carry no time of their own: the k-th sweep of the run is the k-th segment over which the bias moved. None
    where these do not tally, or where the specimen has a potential, which would have to be added at the same time.
    """
    if not two_electrode(run):
        return None
    swept = []
    for segment in run.segments():
        kept = run.decimated(segment)["mean"]
        if not {"pipette_bias", "pipette_current"} <= set(kept["channel"].values.tolist()):
            continue
        wire = kept.sel(channel="pipette_bias").values
        if wire.size and np.ptp(wire) > _NOTHING:
            swept.append((wire, kept.sel(channel="pipette_current").values))
    order = [one.start_ns for one in stretches(run) if one.word == "pipette_sweep"]
    return swept[order.index(stretch.start_ns)] if len(swept) == len(order) else None


def _fit(place: Place | None, keys: Mapping[str, Any]) -> tuple[float, float, float, float, float] | None:
    if place is None:
        return None
    t, wire, current, period = place
    blanking = round(1e-3 * float(keys.get("blanking_ms", 0.0)) / period)
    level, mean, u = level_means(wire, current, blanking)
    wanted = np.asarray(keys["levels_V"], dtype=np.float64)
    is_one = np.array([bool(np.min(np.abs(wanted - v)) < _LEVEL) for v in level], dtype=bool)
    fit = conductance_fit(level[is_one], mean[is_one], u[is_one]) if is_one.any() else None
    return None if fit is None else (*fit, float(t.mean()))


def _modulated(run: Run, found: list[Stretch]) -> list[Result]:
    """Conductance and intercept of every hop of every step that steps the wire; named after the step if several do."""
    steps = modulated_steps(run, found)
    results: list[Result] = []
    for step, keys in steps.items():
        places = [_fit(place, keys) for place in levels_of_hops(run, step, keys, two_electrode(run))]
        good = np.array([place for place in places if place is not None], dtype=np.float64).reshape(-1, 5)
        levels = [float(level) for level in keys["levels_V"]]
        own = modulation_results(Modulated(*good.T), levels, sum(place is None for place in places))
        if good.size:
            own.append(no_calibration())
        results += [replace(r, name=f"{r.name} {step}") for r in own] if len(steps) > 1 else own
    return results
