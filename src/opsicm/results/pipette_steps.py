"""What the pipette's own steps of a run show: towers, current-voltage curves, several biases at a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray

from opsicm.analysis.pipette.calibration import no_calibration
from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.modulation import Modulated, conductance_fit, level_means, modulation_results
from opsicm.analysis.pipette.towers import tower_results
from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.results.probe_intervals import Stretch, stretches

# -- Hops with `modulate`: the wire's levels before each hop, from the recorded bias or as the file has them.


F64 = NDArray[np.float64]
Place = tuple[F64, F64, F64, float]
MOST_SAMPLES: Final = 20_000_000


def modulated_steps(run: Run, found: list[Stretch]) -> dict[str, Mapping[str, Any]]:
    """Keys of `modulate` of every hopping step that has it and hopped, by the step's path."""
    keys = {s.step: s.keys if s.word == "modulate" else s.keys.get("modulate") for s in found}
    steps = run.hops["step"].values
    return {name: key for name, key in keys.items() if isinstance(key, dict) and (steps == name).any()}


def levels_of_hops(run: Run, step: str, keys: Mapping[str, Any], two_electrode: bool) -> Iterator[Place | None]:
    """(t [s], wire's potential [V], current [A], period [s]) of the levels before every hop; None where none are.

    The levels end where the hop begins. With a recorded bias they begin after the hop before, without one at so many
    dwells before this hop, and the wire stands where the file says.
    """
    hops = run.hops
    of = np.flatnonzero(hops["step"].values == step)
    segment, start, top = (hops[key].values[of] for key in ("segment", "sample_start", "sample_top"))
    dwell = round(1e6 * float(keys["dwell_ms"]) / run.dt_ns)
    levels = np.asarray(keys["levels_V"], dtype=np.float64)
    whole = dwell * levels.size
    for number in np.unique(segment):
        mine = np.flatnonzero(segment == number)
        before = np.append(0, top[mine][:-1])
        first = np.maximum(np.maximum(start[mine] - whole - dwell, before), 0)
        for block in _blocks(first, start[mine]):
            low = int(first[block[0]])
            part = run.samples(int(number), low, int(start[mine][block[-1]]))
            if "pipette_current" not in part:
                continue
            wire = _wire(run, part, two_electrode)
            t, current = part["t_ns"].values * 1e-9, part["pipette_current"].values
            for k in block:
                stop = int(start[mine][k])
                if wire is not None:
                    rows = slice(int(first[k]) - low, stop - low)
                    yield (t[rows], wire[rows], current[rows], run.dt_ns * 1e-9)
                elif stop - whole >= before[k]:
                    rows = slice(stop - whole - low, stop - low)
                    yield (t[rows], np.repeat(levels, dwell), current[rows], run.dt_ns * 1e-9)
                else:
                    yield None


def _wire(run: Run, part: xr.Dataset, two_electrode: bool) -> F64 | None:
    """The wire's potential against the reference, None where no bias was recorded."""
    if "pipette_bias" not in part:
        return None
    wire: F64 = part["pipette_bias"].values
    if two_electrode or not run.cell.sizes["row"]:
        return wire
    specimen = np.interp(part["t_ns"].values, run.cell["t_ns"].values, run.cell["potential"].values)
    return np.asarray(wire + specimen, dtype=np.float64)


def _blocks(first: NDArray[np.int64], stop: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """Hops in order, as many together as may be read at once."""
    begin = 0
    for k in range(first.size):
        if int(stop[k] - first[begin]) > MOST_SAMPLES and k > begin:
            yield np.arange(begin, k)
            begin = k
    if first.size:
        yield np.arange(begin, first.size)


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
            results += [r.within(step=stretch.step, occurrence=k) for r in own] if len(mine) > 1 else own
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
        results += [r.within(step=step) for r in own] if len(steps) > 1 else own
    return results
