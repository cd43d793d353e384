"""What the pipette's own steps of a run show: towers, current-voltage curves, several biases at a place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.calibration import no_calibration
from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.modulation import Modulated, conductance_fit, level_means, modulation_results
from opsicm.analysis.pipette.towers import tower_results
from opsicm.analysis.result import Result, failed
from opsicm.core.errors import BadInput
from opsicm.experiment.hop_parameters import BiasLevels
from opsicm.experiment.probe_steps import HoppingStep, PipetteSweep, Tower
from opsicm.experiment.rig_file import rig_from_text
from opsicm.instruments.wiring import GROUNDINGS, REFERENCE_FOLLOWS_CELL, tip_potential_of
from opsicm.record.reader import Run
from opsicm.results.probe_intervals import ProbeInterval, probe_intervals

# -- Hops with `modulate`: the wire's levels before each hop, from the recorded bias or as the file has them.


F64 = NDArray[np.float64]
Place = tuple[F64, F64, F64, float]
MOST_SAMPLES: Final = 20_000_000


def modulated_steps(run: Run, intervals: list[ProbeInterval]) -> dict[str, BiasLevels]:
    """The bias levels of every step that has them and hopped, by the step's path."""
    levels = {one.path: one.step.bias_levels for one in intervals if isinstance(one.step, HoppingStep)}
    steps = run.hops["step"].values
    return {path: bias for path, bias in levels.items() if bias is not None and (steps == path).any()}


def levels_of_hops(run: Run, step: str, bias: BiasLevels, grounding: str) -> Iterator[Place | None]:
    """(t [s], wire's potential [V], current [A], period [s]) of the levels before every hop; None where none are.

    The levels end where the hop begins. With a recorded bias they begin after the hop before, without one at so many
    dwells before this hop, and the wire stands where the file says.
    """
    hops = run.hops
    of = np.flatnonzero(hops["step"].values == step)
    segment, start, top = (hops[key].values[of] for key in ("segment", "sample_start", "sample_top"))
    dwell = round(1e9 * bias.dwell / run.dt_ns)
    levels = np.asarray(bias.levels, dtype=np.float64)
    whole = dwell * levels.size
    for number in np.unique(segment):
        members = np.flatnonzero(segment == number)
        before = np.append(0, top[members][:-1])
        first = np.maximum(np.maximum(start[members] - whole - dwell, before), 0)
        for block in _blocks(first, start[members]):
            low = int(first[block[0]])
            part = run.samples(int(number), low, int(start[members][block[-1]]))
            if "pipette_current" not in part:
                continue
            wire = _electrode_potential(run, part, grounding)
            t, current = part["t_ns"].values * 1e-9, part["pipette_current"].values
            for k in block:
                stop = int(start[members][k])
                if wire is not None:
                    rows = slice(int(first[k]) - low, stop - low)
                    yield (t[rows], wire[rows], current[rows], run.dt_ns * 1e-9)
                elif stop - whole >= before[k]:
                    rows = slice(stop - whole - low, stop - low)
                    yield (t[rows], np.repeat(levels, dwell), current[rows], run.dt_ns * 1e-9)
                else:
                    yield None


def _electrode_potential(run: Run, rows: xr.Dataset, grounding: str) -> F64 | None:
    """The pipette electrode's potential [V vs Li/Li+] in these rows, None where no bias was recorded."""
    if "pipette_bias" not in rows:
        return None
    command: F64 = rows["pipette_bias"].values
    if not run.cell.sizes["row"]:
        return command
    specimen: F64 = np.interp(rows["t_ns"].values, run.cell["t_ns"].values, run.cell["potential"].values)
    return tip_potential_of(command, specimen, grounding)


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
    """Results of every tower, pipette_sweep and modulation of a run; named after their step where a word came twice.

    Where the experiment or the rig that the run holds cannot be read, one result says so in place of these.
    """
    try:
        intervals, grounding = probe_intervals(run), _grounding(run)
    except BadInput as error:
        method = "towers, pipette sweeps and modulations, by the experiment and the rig that the run holds"
        return [failed("probe_steps", "1", method, "experiment or rig not readable", str(error))]
    results: list[Result] = []
    evaluations: list[tuple[type, Callable[[ProbeInterval], list[Result]]]] = [
        (Tower, lambda interval: _tower(run, interval)),
        (PipetteSweep, lambda interval: _sweep(run, interval, intervals, grounding)),
    ]
    for kind, evaluate in evaluations:
        executions = [interval for interval in intervals if isinstance(interval.step, kind)]
        for k, interval in enumerate(executions, start=1):
            own = evaluate(interval)
            results += [r.within(step=interval.path, occurrence=k) for r in own] if len(executions) > 1 else own
    return results + _modulated(run, intervals, grounding)


def _grounding(run: Run) -> str:
    """How the rig's grounds were joined; `BadInput` where its signs are not known."""
    rig = rig_from_text(run.rig_text, f"rig of {run.path}")
    grounding = rig.rig.wiring.grounding
    if grounding not in GROUNDINGS:
        limit = f"the sign of the bias is known for {', '.join(GROUNDINGS)}"
        raise BadInput(rig.problem(("wiring", "grounding"), grounding, limit, "update opsicm"))
    return grounding


def _tower(run: Run, interval: ProbeInterval) -> list[Result]:
    slow, cell = run.slow, run.cell
    t = slow["t_ns"].values
    rows = (t >= interval.start_ns) & (t <= interval.stop_ns)
    seconds = t[rows] * 1e-9
    beside = {
        name: np.interp(seconds, cell["t_ns"].values * 1e-9, cell[name].values) if cell.sizes["row"] else 0.0 * seconds
        for name in ("current", "potential")
    }
    height, pipette = slow["coarse_z"].values[rows], slow["pipette_current"].values[rows]
    return tower_results(seconds, height, pipette, beside["current"], beside["potential"])


def _samples(run: Run, interval: ProbeInterval, grounding: str) -> Iterator[tuple[F64, F64]]:
    """(electrode's potential [V], current [A]) of the part of every segment that lies in the interval."""
    for segment in run.segments():
        length = run.length(segment)
        if not length:
            continue
        begin = float(run.samples(segment, 0, 1)["t_ns"].values[0])
        first = max(0, int(np.ceil((interval.start_ns - begin) / run.dt_ns)))
        last = min(length, int(np.floor((interval.stop_ns - begin) / run.dt_ns)) + 1)
        if last - first < 2 or last - first > MOST_SAMPLES:
            continue
        part = run.samples(segment, first, last)
        wire = _electrode_potential(run, part, grounding)
        if "pipette_current" in part and wire is not None:
            yield wire, part["pipette_current"].values


def _sweep(run: Run, interval: ProbeInterval, intervals: list[ProbeInterval], grounding: str) -> list[Result]:
    # At a bias of nothing no current says how much salt there is: the paper's calibration was read at +0.7 V.
    held = float(run.parameters["pipette"]["bias_V"])
    at = held if abs(held) > _NOTHING else _CALIBRATION
    for wire, current in _samples(run, interval, grounding):
        # Means of neighbours: a curve of 20 000 points holds all that a sweep of seconds can say.
        of = max(1, wire.size // _MOST_POINTS)
        n = wire.size // of * of
        return iv_results(wire[:n].reshape(-1, of).mean(axis=1), current[:n].reshape(-1, of).mean(axis=1), at)
    t = run.slow["t_ns"].values
    slow = run.slow.isel(row=(t >= interval.start_ns) & (t <= interval.stop_ns))
    potential, current = _electrode_potential(run, slow, grounding), slow["pipette_current"].values
    kept = _decimated(run, interval, intervals, grounding)
    if kept is not None and kept[0].size > current.size:
        potential, current = kept
    assert potential is not None, "slow rows hold the bias"
    return iv_results(potential, current, at)


def _decimated(
    run: Run, interval: ProbeInterval, intervals: list[ProbeInterval], grounding: str
) -> tuple[F64, F64] | None:
    """(wire's potential [V], current [A]) of the means that were kept of a sweep whose samples were not.

    The means carry no time of their own: the k-th sweep of the run is the k-th segment over which the bias moved. None
    where these do not tally, or where the specimen has a potential, which would have to be added at the same time.
    """
    if REFERENCE_FOLLOWS_CELL[grounding]:
        return None
    swept = []
    for segment in run.segments():
        kept = run.decimated(segment)["mean"]
        if not {"pipette_bias", "pipette_current"} <= set(kept["channel"].values.tolist()):
            continue
        wire = kept.sel(channel="pipette_bias").values
        if wire.size and np.ptp(wire) > _NOTHING:
            swept.append((wire, kept.sel(channel="pipette_current").values))
    order = [one for one in intervals if isinstance(one.step, PipetteSweep)]
    return swept[order.index(interval)] if len(swept) == len(order) else None


def _fit(place: Place | None, bias: BiasLevels) -> tuple[float, float, float, float, float] | None:
    if place is None:
        return None
    t, wire, current, period = place
    blanking = round(bias.blanking / period)
    level, mean, u = level_means(wire, current, blanking)
    wanted = np.asarray(bias.levels, dtype=np.float64)
    is_one = np.array([bool(np.min(np.abs(wanted - v)) < _LEVEL) for v in level], dtype=bool)
    fit = conductance_fit(level[is_one], mean[is_one], u[is_one]) if is_one.any() else None
    return None if fit is None else (*fit, float(t.mean()))


def _modulated(run: Run, intervals: list[ProbeInterval], grounding: str) -> list[Result]:
    """Conductance and intercept of every hop of every step that steps the wire; named after the step if several do."""
    steps = modulated_steps(run, intervals)
    results: list[Result] = []
    for step, bias in steps.items():
        places = [_fit(place, bias) for place in levels_of_hops(run, step, bias, grounding)]
        good = np.array([place for place in places if place is not None], dtype=np.float64).reshape(-1, 5)
        own = modulation_results(Modulated(*good.T), list(bias.levels), sum(place is None for place in places))
        if good.size:
            own.append(no_calibration())
        results += [r.within(step=step) for r in own] if len(steps) > 1 else own
    return results
