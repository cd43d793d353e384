"""Results of a run's pipette steps: towers, current-voltage curves, bias levels before each hop (`modulate`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.calibration import no_calibration
from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.modulation import ConductanceSeries, conductance_fit, level_means, modulation_results
from opsicm.analysis.pipette.towers import tower_results
from opsicm.analysis.result import Result, failed
from opsicm.core.errors import BadInput
from opsicm.experiment.hop_parameters import BiasLevels
from opsicm.experiment.probe_steps import HoppingStep, PipetteSweep, Tower
from opsicm.experiment.rig_file import rig_from_text
from opsicm.instruments.wiring import GROUNDINGS, REFERENCE_FOLLOWS_CELL, tip_potential_of
from opsicm.record.reader import Run
from opsicm.results.probe_intervals import ProbeInterval, probe_intervals

F64 = NDArray[np.float64]
LevelSamples = tuple[F64, F64, F64, float]  # t [s], electrode potential [V], current [A], sample period [s]
MOST_SAMPLES: Final = 20_000_000  # read at once


def modulated_steps(run: Run, intervals: list[ProbeInterval]) -> dict[str, BiasLevels]:
    """The bias levels of every step with hops that has them, by the step's path."""
    levels = {one.path: one.step.bias_levels for one in intervals if isinstance(one.step, HoppingStep)}
    steps = run.hops["step"].values
    return {path: bias for path, bias in levels.items() if bias is not None and (steps == path).any()}


def level_samples(run: Run, step: str, bias: BiasLevels, grounding: str) -> Iterator[LevelSamples | None]:
    """The samples at the levels before every hop; None where there are none.

    The levels end where the hop begins. With a recorded bias they begin after the hop before; without one they are
    taken to have lasted as long, and to have had the values, that the experiment file states.
    """
    hops = run.hops
    of = np.flatnonzero(hops["step"].values == step)
    segment, start, top = (hops[key].values[of] for key in ("segment", "sample_start", "sample_top"))
    dwell = round(1e9 * bias.dwell / run.dt_ns)
    levels = np.asarray(bias.levels, dtype=np.float64)
    length = dwell * levels.size
    for number in np.unique(segment):
        members = np.flatnonzero(segment == number)
        before = np.append(0, top[members][:-1])
        first = np.maximum(np.maximum(start[members] - length - dwell, before), 0)
        for block in _blocks(first, start[members]):
            low = int(first[block[0]])
            part = run.samples(int(number), low, int(start[members][block[-1]]))
            if "pipette_current" not in part:
                continue
            electrode = _electrode_potential(run, part, grounding)
            t, current = part["t_ns"].values * 1e-9, part["pipette_current"].values
            for k in block:
                stop = int(start[members][k])
                if electrode is not None:
                    rows = slice(int(first[k]) - low, stop - low)
                    yield (t[rows], electrode[rows], current[rows], run.dt_ns * 1e-9)
                elif stop - length >= before[k]:
                    rows = slice(stop - length - low, stop - low)
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
    """Numbers of hops in order, in blocks of at most `MOST_SAMPLES`."""
    begin = 0
    for k in range(first.size):
        if int(stop[k] - first[begin]) > MOST_SAMPLES and k > begin:
            yield np.arange(begin, k)
            begin = k
    if first.size:
        yield np.arange(begin, first.size)


_MOST_POINTS: Final = 20_000  # of a current-voltage curve
_LEAST_BIAS: Final = 0.05  # [V]
_PAPER_BIAS: Final = 0.7  # [V] at which the paper reads its calibration
_LEVEL_TOLERANCE: Final = 5e-3  # [V] between a plateau and the level of the step that it is


def pipette_results(run: Run) -> list[Result]:
    """Results of every tower, pipette_sweep and modulation of a run; with their step where several are of one kind.

    Where the experiment or the rig stored in the run cannot be read, one failed result stands for all.
    """
    try:
        intervals, grounding = probe_intervals(run), _grounding(run)
    except BadInput as error:
        method = "towers, pipette sweeps and modulations, by the experiment and the rig stored in the run"
        return [failed("probe_steps", "1", method, "experiment or rig not readable", str(error))]
    results: list[Result] = []
    evaluations: list[tuple[type, Callable[[ProbeInterval], list[Result]]]] = [
        (Tower, lambda interval: _tower_results(run, interval)),
        (PipetteSweep, lambda interval: _sweep_results(run, interval, intervals, grounding)),
    ]
    for kind, evaluate in evaluations:
        executions = [interval for interval in intervals if isinstance(interval.step, kind)]
        for k, interval in enumerate(executions, start=1):
            step_results = evaluate(interval)
            results += (
                [r.within(step=interval.path, occurrence=k) for r in step_results]
                if len(executions) > 1
                else step_results
            )
    return results + _modulation_results(run, intervals, grounding)


def _grounding(run: Run) -> str:
    """How the rig's grounds were joined; `BadInput` where its signs are not known."""
    rig = rig_from_text(run.rig_text, f"rig of {run.path}")
    grounding = rig.rig.wiring.grounding
    if grounding not in GROUNDINGS:
        limit = f"the sign of the bias is known for {', '.join(GROUNDINGS)}"
        raise BadInput(rig.problem(("wiring", "grounding"), grounding, limit, "update opsicm"))
    return grounding


def _tower_results(run: Run, interval: ProbeInterval) -> list[Result]:
    return tower_results(*tower_rows(run.slow, run.cell, interval))


def tower_rows(slow: xr.Dataset, cell: xr.Dataset, interval: ProbeInterval) -> tuple[F64, F64, F64, F64, F64]:
    """Time [s], height [m], pipette and cell current [A] and potential [V] of the slow rows of a tower."""
    t = slow["t_ns"].values
    rows = (t >= interval.start_ns) & (t <= interval.stop_ns)
    seconds: F64 = t[rows] * 1e-9
    beside = {
        name: np.interp(seconds, cell["t_ns"].values * 1e-9, cell[name].values) if cell.sizes["row"] else 0.0 * seconds
        for name in ("current", "potential")
    }
    height, pipette = slow["coarse_z"].values[rows], slow["pipette_current"].values[rows]
    return seconds, height, pipette, beside["current"], beside["potential"]


def _samples(run: Run, interval: ProbeInterval, grounding: str) -> Iterator[tuple[F64, F64]]:
    """(electrode potential [V], current [A]) of the part of every segment within the interval."""
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
        electrode = _electrode_potential(run, part, grounding)
        if "pipette_current" in part and electrode is not None:
            yield electrode, part["pipette_current"].values


def reading_bias(run: Run) -> float:
    """The bias [V] at which a pipette's voltammogram is read: the run's, or the paper's where that is about zero."""
    # At zero bias the current does not depend on the salt.
    bias = float(run.parameters["pipette"]["bias_V"])
    return bias if abs(bias) > _LEAST_BIAS else _PAPER_BIAS


def _sweep_results(run: Run, interval: ProbeInterval, intervals: list[ProbeInterval], grounding: str) -> list[Result]:
    at = reading_bias(run)
    for electrode, current in _samples(run, interval, grounding):
        # Means of neighbours: 20 000 points are enough for a sweep of seconds.
        group = max(1, electrode.size // _MOST_POINTS)
        n = electrode.size // group * group
        return iv_results(
            electrode[:n].reshape(-1, group).mean(axis=1), current[:n].reshape(-1, group).mean(axis=1), at
        )
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
    """(electrode potential [V], current [A]) of a sweep from the decimated means, where its samples were not kept.

    The means have no time stamps, so the k-th sweep of the run is the k-th segment over which the bias moved. None
    where their numbers differ, or where the potential of the specimen would have to be added, which needs the time.
    """
    if REFERENCE_FOLLOWS_CELL[grounding]:
        return None
    swept = []
    for segment in run.segments():
        kept = run.decimated(segment)["mean"]
        if not {"pipette_bias", "pipette_current"} <= set(kept["channel"].values.tolist()):
            continue
        electrode = kept.sel(channel="pipette_bias").values
        if electrode.size and np.ptp(electrode) > _LEAST_BIAS:
            swept.append((electrode, kept.sel(channel="pipette_current").values))
    order = [one for one in intervals if isinstance(one.step, PipetteSweep)]
    return swept[order.index(interval)] if len(swept) == len(order) else None


def _fit_hop(samples: LevelSamples | None, bias: BiasLevels) -> tuple[float, float, float, float, float] | None:
    if samples is None:
        return None
    t, electrode, current, period = samples
    blanking = round(bias.blanking / period)
    level, mean, u = level_means(electrode, current, blanking)
    wanted = np.asarray(bias.levels, dtype=np.float64)
    is_level = np.array([bool(np.min(np.abs(wanted - v)) < _LEVEL_TOLERANCE) for v in level], dtype=bool)
    fit = conductance_fit(level[is_level], mean[is_level], u[is_level]) if is_level.any() else None
    return None if fit is None else (*fit, float(t.mean()))


def _modulation_results(run: Run, intervals: list[ProbeInterval], grounding: str) -> list[Result]:
    """Conductance and intercept of every hop of every modulated step; with their step where there are several."""
    steps = modulated_steps(run, intervals)
    results: list[Result] = []
    for step, bias in steps.items():
        hop_fits = [_fit_hop(fit, bias) for fit in level_samples(run, step, bias, grounding)]
        good = np.array([fit for fit in hop_fits if fit is not None], dtype=np.float64).reshape(-1, 5)
        step_results = modulation_results(
            ConductanceSeries(*good.T), list(bias.levels), sum(fit is None for fit in hop_fits)
        )
        if good.size:
            step_results.append(no_calibration())
        results += [r.within(step=step) for r in step_results] if len(steps) > 1 else step_results
    return results
