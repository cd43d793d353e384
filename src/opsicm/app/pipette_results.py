"""What the pipette's own steps of a run show: towers, current-voltage curves, several biases at a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from opsicm.analysis.current_voltage import iv_results
from opsicm.analysis.modulation import Modulated, conductance_fit, level_means, modulation_results
from opsicm.analysis.result import Result
from opsicm.analysis.tower_results import tower_results
from opsicm.app.probe_stretches import Stretch, stretches
from opsicm.record.reader import Run

F64 = NDArray[np.float64]
_MOST_SAMPLES: Final = 20_000_000
_MOST_POINTS: Final = 20_000
_NOTHING: Final = 0.05  # [V]
_CALIBRATION: Final = 0.7  # [V]
_LEVEL: Final = 5e-3  # [V] a plateau this near a level of the step is that level


def pipette_results(run: Run) -> list[Result]:
    """Results of every tower, pipette_sweep and modulate of a run; named after their step where one word came twice."""
    found = stretches(run)
    results: list[Result] = []
    for word, of in (("tower", _tower), ("pipette_sweep", _sweep), ("modulate", _modulated_place)):
        mine = [stretch for stretch in found if stretch.word == word]
        for k, stretch in enumerate(mine, start=1):
            own = of(run, stretch)
            results += [replace(r, name=f"{r.name} {stretch.step}#{k}") for r in own] if len(mine) > 1 else own
    return results + _modulated_hops(run, found)


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
        if last - first < 2 or last - first > _MOST_SAMPLES:
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
    wire = slow["pipette_bias"].values[rows]
    if not two_electrode(run) and run.cell.sizes["row"]:
        wire = wire + np.interp(t[rows], run.cell["t_ns"].values, run.cell["potential"].values)
    return iv_results(wire, slow["pipette_current"].values[rows], at)


def _modulated_place(run: Run, stretch: Stretch) -> list[Result]:
    places = []
    for t, wire, current, period in _samples(run, stretch.start_ns, stretch.stop_ns):
        levels = np.asarray(stretch.keys["levels_V"], dtype=np.float64)
        # One round of the levels is one place: cut where the first level begins again.
        first = np.abs(wire - levels[0]) < _LEVEL
        starts = np.flatnonzero(first & ~np.append(False, first[:-1]))
        for a, b in zip(starts, np.append(starts[1:], wire.size), strict=True):
            places.append(_fit(t[a:b], wire[a:b], current[a:b], period, stretch.keys))
    return _collected(places)


def _modulated_hops(run: Run, found: list[Stretch]) -> list[Result]:
    """The tops of all hops of steps with `modulate`, from the top of one hop to the fall of the next."""
    keys = {s.step: s.keys["modulate"] for s in found if isinstance(s.keys.get("modulate"), dict)}
    hops = run.hops
    places = []
    names = [name for name in keys if (hops["step"].values == name).any()]
    for name in names:
        of = np.flatnonzero(hops["step"].values == name)
        segment, start, fall = (hops[key].values[of] for key in ("segment", "sample_start", "sample_fall"))
        for number in np.unique(segment):
            mine = np.flatnonzero(segment == number)
            channels = run.samples(int(number), 0, 1)
            if "pipette_bias" not in channels or "pipette_current" not in channels:
                continue
            origin = float(channels["t_ns"].values[0])
            for k in mine:
                begin, stop = (origin + float(s) * run.dt_ns for s in (start[k], fall[k]))
                for t, wire, current, period in _samples(run, begin, stop):
                    places.append(_fit(t, wire, current, period, keys[name]))
    return _collected(places) if names else []


def _fit(
    t: F64, wire: F64, current: F64, period: float, keys: Mapping[str, Any]
) -> tuple[float, float, float, float, float] | None:
    blanking = round(1e-3 * float(keys.get("blanking_ms", 0.0)) / period)
    level, mean, u = level_means(wire, current, blanking)
    wanted = np.asarray(keys["levels_V"], dtype=np.float64)
    is_one = np.array([bool(np.min(np.abs(wanted - v)) < _LEVEL) for v in level], dtype=bool)
    fit = conductance_fit(level[is_one], mean[is_one], u[is_one]) if is_one.any() else None
    return None if fit is None else (*fit, float(t.mean()))


def _collected(places: list[tuple[float, float, float, float, float] | None]) -> list[Result]:
    good = np.array([place for place in places if place is not None], dtype=np.float64).reshape(-1, 5)
    return modulation_results(Modulated(*good.T), sum(place is None for place in places))
