"""What the rows read from runs, against arrays whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.result import Result
from opsicm.experiment.file import experiment_from_text
from opsicm.reproduction.cases import Case
from opsicm.reproduction.evaluation import currents, heights, images, pipettes, rig_drift, towers
from opsicm.reproduction.evaluation.estimators import Estimate, onset
from opsicm.reproduction.evaluation.rig_drift import estimate_with_walk
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.paper import ROWS
from opsicm.reproduction.variants import AS_DECLARED

F64 = NDArray[np.float64]
TEXT = "opsicm: 1\ntitle: t\nrig: twin/graphite\npipette: {bias_V: 0.7}\ncell: [{open_circuit: {for_s: 1}}]\n"
LOADED = experiment_from_text(TEXT)


def _analysed(variant: str = AS_DECLARED, values: tuple[tuple[str, Any], ...] = (), **arrays: Any) -> AnalysedRun:
    run = SimpleNamespace(segments=list, **arrays)
    return AnalysedRun(Case("E1", variant, values, None, LOADED), cast(Any, run), arrays.get("results", ()))


def _by_id(results: list[Result], reading: str = "") -> dict[str, Result]:
    """Results by row: as declared, or by another `reading`."""
    return {result.name: result for result in results if result.of.part == reading}


def _rows(**columns: Any) -> xr.Dataset:
    return xr.Dataset({name: ("row", values) for name, values in columns.items()})


def _pipette_run(radius: float, salt: float, factor: float) -> AnalysedRun:
    bias = np.linspace(-0.8, 0.8, 41)
    slow = _rows(t_ns=np.arange(41) * 10**9, pipette_bias=bias, pipette_current=factor * bias)
    values = (("pipette.radius_nm", radius * 1e9), ("electrolyte.salt_M", salt))
    return _analysed(AS_DECLARED, values, slow=slow, parameters={"pipette": {"radius_m": radius}})


def test_the_calibration_knows_a_line_from_a_flat_curve() -> None:
    straight, curved = [], []
    for radius in (47e-9, 50e-9, 53e-9):
        for salt in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5):
            straight.append(_pipette_run(radius, salt, radius * 0.1 * (1.0 + 0.5 * (salt - 1.0))))
            curved.append(_pipette_run(radius, salt, radius * 0.1 * (1.0 - 0.07 * (salt - 1.05) ** 2)))
    line = _by_id(pipettes.calibration(ExperimentRuns(tuple(straight))))
    assert line["E1.linearity"].value == pytest.approx(1.0, abs=1e-9)
    assert line["E1.slope"].value == pytest.approx(50.0, rel=1e-6)
    found = _by_id(pipettes.calibration(ExperimentRuns(tuple(curved))))
    assert (found["E1.linearity"].value or 0.0) < 0.85
    # What rises and falls has no slope; below the maximum the same curve is nearly a line.
    assert found["E1.slope"].value is None
    assert "follows no line" in found["E1.slope"].reason
    assert 0.85 < (found["E1.linearity_low"].value or 0.0) < 0.99
    assert (found["E1.slope_low"].value or 0.0) > 1.0
    few = [run for run in curved if run.value("salt_M") in (0.5, 1.0)]
    assert "2 concentrations of salt" in pipettes.calibration(ExperimentRuns(tuple(few)))[0].reason


def test_pipettes_of_several_sizes_alike_and_drifting() -> None:
    t = np.arange(0, 3600 * 10**9, 10 * 10**9)
    runs = []
    for radius in (30e-9, 49e-9, 50e-9, 51e-9, 75e-9):
        bias = np.where(np.arange(t.size) < 41, np.linspace(-0.7, 0.7, 41)[np.minimum(np.arange(t.size), 40)], 0.7)
        current = 0.13 * radius * bias * (1.0 + 0.02 * t * 1e-9 / 3600.0)
        slow = _rows(t_ns=t, pipette_bias=bias, pipette_current=current)
        runs.append(_analysed(slow=slow, parameters={"pipette": {"radius_m": radius}}))
    found = _by_id(pipettes.pipettes(ExperimentRuns(tuple(runs))))
    assert found["E12.size"].value == pytest.approx(0.13, rel=0.05)
    assert found["E12.spread"].value == pytest.approx(2.0, rel=0.05)
    assert found["E12.drift"].value == pytest.approx(2.0, rel=0.05)


def _tower(near_less_far: dict[str, float], reach: float) -> ExperimentRuns:
    """One cycle 1.7 → 0 → 1.7 V at 0.5 mV/s; a gradient that changes at the moments, exp(-z/reach) above the sample."""
    t = np.arange(0.0, 6800.0, 0.2)
    swept = np.abs(1.7 - t * 0.5e-3)
    height = 0.1e-3 + 2.5e-3 * np.abs((t / 5.0) % 2.0 - 1.0)
    times = [0.0, 1400.0, 3300.0, 4400.0, 5000.0, 6794.0]
    order = np.argsort(times)
    gains = np.array([0.0, *(near_less_far[name] for name in "ABCDE")])
    gain = np.interp(t, np.array(times)[order], gains[order])
    shape = (np.exp(-height / reach) - np.exp(-2.6e-3 / reach)) / (np.exp(-0.1e-3 / reach) - np.exp(-2.6e-3 / reach))
    current = 4.7e-9 + gain * shape + np.random.default_rng(3).normal(0.0, 1e-13, t.size)
    cell = 1e-3 * np.exp(-(((t - 5000.0) / 400.0) ** 2))  # largest at D
    t_ns = np.round(t * 1e9).astype(np.int64)
    slow = _rows(t_ns=t_ns, coarse_z=height, pipette_current=current)
    return ExperimentRuns((_analysed(slow=slow, cell=_rows(t_ns=t_ns, set_point=swept, current=cell)),))


def test_the_tower_gives_near_less_far_at_its_five_times() -> None:
    given = {"A": 0.0, "B": 1e-9, "C": -0.4e-9, "D": -0.8e-9, "E": 0.0}
    rows = towers.tower(_tower(given, 0.4e-3))
    found = _by_id(rows)
    assert found["E11.B"].value == pytest.approx(1.0, rel=0.08)
    assert found["E11.D"].value == pytest.approx(-0.8, rel=0.08)
    assert abs(found["E11.E"].value or 0.0) < 2.0
    assert found["E11.C"].value == pytest.approx(0.4, rel=0.1)
    assert _by_id(rows, "one exponential, no line")["E11.C"].value == pytest.approx(0.4, rel=0.1)
    # The largest current is at D, 600 s after C; on the way from B to C the sign changes once.
    assert found["E11.order"].value == pytest.approx(10.0, abs=0.1)
    assert found["E11.reversal_first"].value == found["E11.reversal_last"].value
    turned_at = 3300.0 + 1100.0 * 1.0 / 1.4  # from +1 nA at B to -0.4 nA at C
    assert found["E11.reversal_first"].value == pytest.approx(abs(1.7 - turned_at * 0.5e-3), abs=0.01)
    assert (found["E11.traces"].value or 0.0) < -1.0


def test_a_flat_profile_has_no_reach_and_says_so() -> None:
    found = _by_id(towers.tower(_tower({"A": 0.0, "B": 1e-9, "C": 0.0, "D": 0.0, "E": 0.0}, 0.4e-3)))
    assert found["E11.C"].value is None
    assert found["E11.C"].outcome == "not determined"
    assert "more than noise" in found["E11.C"].reason


def _place(total: float, knee: float, other_knee: float) -> list[Result]:
    """What one place gives: sizes with the u of its noise, and the knee by two readings."""
    knees = [Result("E9.knee", value, 0.004, "V", "breaks") for value in (knee, other_knee)]
    return [
        Result("E9.total", total, 0.0008, "%", "hops"),
        Result("E9.mirror", 1.0 + 1e-5 * total, 1e-4, "1", "hops"),
        knees[0],
        knees[1].within(part="three breaks"),
    ]


def test_sizes_are_means_over_places_and_at_one_place_their_u_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {0: _place(6.0, 0.18, 0.17), 1: _place(7.5, 0.20, 0.19), 2: _place(6.6, 0.19, 0.12)}
    monkeypatch.setattr(heights, "_expansion", lambda run: places[run.values][:2])
    monkeypatch.setattr(heights, "_potentials", lambda run: places[run.values][2:])

    def evaluated(*which: int) -> tuple[dict[str, Result], dict[str, Result]]:
        bulk = Result("ten_hop_bulk_change", 0.2, 0.03, "%", "hops")
        runs = [SimpleNamespace(case=SimpleNamespace(variant=AS_DECLARED), values=k) for k in which]
        for run in runs:
            run.result = lambda _: bulk
        rows = heights.one_point(ExperimentRuns(cast(Any, tuple(runs))))
        return _by_id(rows), _by_id(rows, "three breaks")

    rows, otherwise = evaluated(0, 1, 2)
    assert rows["E9.total"].value == pytest.approx(6.7)
    assert rows["E9.total"].u == pytest.approx(np.std([6.0, 7.5, 6.6], ddof=1) / np.sqrt(3.0))
    assert "mean of 3 places, 6, 7.5, 6.6" in rows["E9.total"].method
    assert rows["E9.knee"].value == pytest.approx(0.19)
    assert rows["E9.knee"].u == pytest.approx(0.01 / np.sqrt(3.0))
    assert otherwise["E9.knee"].value == pytest.approx(0.16)
    assert rows["E9.mirror"].u == 1e-4  # that of one run, for the places happen to lie nearer together
    assert rows["E9.repeats"].value == pytest.approx(20.0)
    alone, _ = evaluated(1)
    assert alone["E9.total"].value == 7.5
    assert alone["E9.total"].u is None
    assert "one place" in alone["E9.total"].method
    assert alone["E9.knee"].u == 0.004
    assert alone["E9.repeats"].value is None
    # A place that has no number is no reason to leave it out of the mean.
    places[2][0] = replace(places[2][0], value=None, u=None, outcome="no branch", reason="the run ended before")
    without, _ = evaluated(0, 1, 2)
    assert without["E9.total"].value is None
    assert without["E9.total"].reason == "the run ended before"
    assert without["E9.knee"].value == pytest.approx(0.19)
    # Nor can a number agree with the paper's whose u is not known, however near it comes.
    row = next(row for row in ROWS if row.id == "E9.total")
    assert row.judge(5.89, 0.001) == "agrees"
    assert row.judge(5.89, alone["E9.total"].u) == "same trend"


def test_a_hollow_with_less_current_above_it_is_found_and_a_wide_bend_is_none() -> None:
    random = np.random.default_rng(9)
    x = np.linspace(0.0, 8e-6, 64)
    bend = 1e-6 * np.cos(x / 8e-6 * np.pi)  # lower at one end: the line's, not a hollow's
    depth = 300e-9 * (np.exp(-(((x - 2e-6) / 3e-7) ** 2)) + np.exp(-(((x - 6e-6) / 3e-7) ** 2)))
    difference = -14e-12 + random.normal(0.0, 0.1e-12, 64)
    none = heights.hollows("E10.hollows", x, difference, x, bend - depth)
    assert abs(none.value or 0.0) < 3.0 * (none.u or 0.0) < 0.3
    seen = heights.hollows("E10.hollows", x, difference - 0.5e-12 * (depth > 20e-9), x, bend - depth)
    assert seen.value == pytest.approx(-0.45, abs=0.1)  # some of a dip is not deep enough to be a hollow
    few = heights.hollows("E10.hollows", x[:5], difference[:5], x, bend - depth)
    assert few.value is None
    assert "fewer than three approaches" in few.reason


def test_the_reach_of_a_lower_current_follows_the_threshold_and_may_lie_beyond_the_section() -> None:
    distance = np.arange(10e-9, 600e-9, 10e-9)
    lower = -10e-12 * np.exp(-distance / 100e-9)  # A, below the mode
    for threshold, reach in ((5e-12, 70e-9), (1e-12, 240e-9)):  # ln 2 and ln 10 times 100 nm, to the next bin
        assert heights._reach(distance, lower, threshold).value == pytest.approx(reach)
    beyond = heights._reach(distance, lower, 1e-14)
    assert beyond.value is None
    assert "lower up to 590 nm, the end of the section" in beyond.reason


def test_a_level_over_no_step_is_not_determined() -> None:
    assert currents._ratio(1e-10, 1e-12, 2e-10, 1e-12, "initial step").value == pytest.approx(0.5)
    none = currents._ratio(1e-10, 1e-12, 2e-12, 1e-12, "initial step")
    assert none.value is None
    assert "initial step is within 3 u of none" in none.reason


STILL = _rows(t_ns=np.array([0, 10**12]), coarse_z=np.zeros(2))


def _hops(frames: list[F64], potential: list[float], one_segment: bool) -> xr.Dataset:
    names = ("outcome", "step", "segment", "line", "pixel", "z_stop", "x", "y", "cell_potential", "i_ref", "t_ns")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for k, frame in enumerate(frames):
        ny, nx = frame.shape
        for row in range(ny):
            for column in range(nx) if row % 2 == 0 else range(nx - 1, -1, -1):
                missed = np.isnan(frame[row, column])
                for name, value in (
                    ("outcome", 1 if missed else 0),
                    ("step", "probe[0]"),
                    ("segment", 1 if one_segment else k + 1),
                    ("line", k * ny + row),
                    ("pixel", column),
                    ("z_stop", 0.0 if missed else frame[row, column]),
                    ("x", column * 1e-7),
                    ("y", row * 1e-7),
                    ("cell_potential", potential[k]),
                    ("i_ref", 5e-9),
                    ("t_ns", 10**8 * len(columns["t_ns"])),
                ):
                    columns[name].append(value)
    return xr.Dataset({name: ("hop", np.array(values)) for name, values in columns.items()})


@pytest.mark.parametrize("one_segment", [True, False])
def test_images_come_back_whether_their_passes_share_a_segment_or_not(one_segment: bool) -> None:
    rng = np.random.default_rng(5)
    frames = [rng.normal(0.0, 1e-6, (6, 5)) for _ in range(3)]
    frames[1][2, 3] = np.nan
    hops = _hops(frames, [1.7, 0.1, 1.7], one_segment)
    between = np.array([0, 29 * 10**8, 30 * 10**8, 10**12])
    travelled = _rows(t_ns=between, coarse_z=np.array([0.0, 0.0, 2e-6, 2e-6]))
    found, potential = images.frames_of(_analysed(hops=hops, slow=STILL))
    np.testing.assert_allclose([frame.values for frame in found], frames, rtol=1e-9)
    # The coarse stage moves 2 µm up after the first image, and so begins a segment.
    moved, _ = images.frames_of(_analysed(hops=hops, slow=travelled))
    rise = np.nanmean(moved[-1].values - frames[-1]) - np.nanmean(moved[0].values - frames[0])
    assert rise == pytest.approx(0.0 if one_segment else 2e-6)
    np.testing.assert_array_equal(potential, [1.7, 0.1, 1.7])


def test_a_series_gives_no_change_swelling_shrinkage_and_the_event() -> None:
    rng = np.random.default_rng(6)
    surface = rng.normal(0.0, 1.27e-6, (24, 24))
    down = [1.7, 1.5, 1.3, 1.1, 0.9, 0.7, 0.5, 0.3, 0.1]
    up = [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
    rise = [0.0] * 5 + [1e-7, 2e-7, 4e-7, 1e-6] + [8e-7, 4e-7, 2e-7, 1e-7, 0.0, 0.0, 0.0, 0.0]
    frames = []
    for k, height in enumerate(rise):
        frame = surface + height + rng.normal(0.0, 1e-9, surface.shape)
        if k >= down.index(0.1) + 1:
            frame[8:14, 8:14] -= 1e-6  # detached at 0.2 V on the way back
        frames.append(frame)
    run = _analysed(hops=_hops(frames, down + up, one_segment=False), slow=STILL)
    rows = images.held_potentials(ExperimentRuns((run,)))
    found = _by_id(rows)
    assert abs(found["E6.no_change"].value or 9.0) < 0.1
    assert found["E6.expansion"].value == pytest.approx(1000.0, rel=1e-3)
    assert found["E6.shrinkage"].value == pytest.approx(-800.0, rel=1e-3)
    assert found["E6.event"].value == 1.0  # the first image after the turn
    assert "that at 0.2 V" in found["E6.event"].method
    assert found["E6.Rq_0.7"].value == pytest.approx(1.27, rel=0.1)
    assert found["E6.Rq_0.7"].unit == "µm"
    readings = ("", "after a plane", "after total degree 2")
    levelled = [_by_id(rows, reading)["E6.Rq_0.7"].value or 0.0 for reading in readings]
    assert levelled[0] > levelled[1] > levelled[2] > 1.0


def test_flakes_are_measured_where_the_pixels_are_fine_enough() -> None:
    rows, columns = np.mgrid[0:90, 0:90]
    # Plates 30 pixels wide, each at a height of its own.
    heights = 1e-6 * np.random.default_rng(4).permutation(9).reshape(3, 3)[rows // 30, columns // 30]
    heights = heights + np.random.default_rng(5).normal(0.0, 1e-9, heights.shape)
    fine = images.frames_of(_analysed(hops=_hops([heights], [1.7], one_segment=True), slow=STILL))[0][0]
    found = images._flakes(fine)
    assert found.value == pytest.approx(2.0 * 3.0 / np.pi**0.5, rel=0.05)  # of 3 µm squares, pixels of 0.1 µm
    coarse = fine[::5, ::5]
    assert "take more pixels" in images._flakes(coarse).reason


def test_three_images_give_reversible_and_irreversible_change() -> None:
    rng = np.random.default_rng(7)
    surface = rng.normal(0.0, 1e-6, (20, 20))
    back = surface.copy()
    back[:5] += 1.5e-7
    run = _analysed(hops=_hops([surface, surface + 1e-6, back], [1.7, 0.0, 1.7], one_segment=False), slow=STILL)
    rows = images.charged_and_discharged(ExperimentRuns((run,)))
    found = _by_id(rows)
    assert found["E7.expansion"].value == pytest.approx(1000.0)
    assert found["E7.reversible"].value == pytest.approx(-962.5)
    assert found["E7.irreversible"].value == pytest.approx(25.0)  # these kept 15 % of their swelling
    assert _by_id(rows, "20 % of its own swelling")["E7.irreversible"].value == pytest.approx(0.0)
    # The same lift everywhere takes the roughness nowhere; the lifted rows make it larger on the way back.
    assert found["E7.Rq_charge"].value == pytest.approx(0.0, abs=1e-9)
    expected = 1e6 * (float(np.std(back)) - float(np.std(surface)))
    assert found["E7.Rq_discharge"].value == pytest.approx(expected)
    assert found["E7.section"].value is None


def test_a_swollen_edge_between_terraces_under_a_tilt() -> None:
    rows, columns = np.mgrid[0:24, 0:64]
    x = columns * 1e-7
    rim = np.where(columns >= 20, 1e-8 * np.exp(-np.maximum(x - 2e-6, 0.0) / 3e-7), 0.0)
    frame = rim - 2e-9 * (columns >= 20) + 3e-10 * rows + 1e-10 * columns
    frame = frame + np.random.default_rng(8).normal(0.0, 3e-10, frame.shape)
    run = _analysed(hops=_hops([frame], [1.0], one_segment=True), slow=STILL)
    found, *others = images.step_edge(ExperimentRuns((run,)))
    # The rim stands on the lower of its terraces: 10 nm above that one, 9 nm above the mean of both.
    assert found.value == pytest.approx(9.0, abs=0.3)
    assert 0.0 < (found.u or 0.0) < 0.2
    lower, upper = (
        _by_id(others, f"above the {which} terrace")["E8.step"].value or 0.0 for which in ("lower", "upper")
    )
    assert lower == pytest.approx(10.0, abs=0.3)
    assert upper == pytest.approx(8.0, abs=0.3)
    assert "no step with a swollen edge" in _by_id(others)["E8.recovered"].reason
    # The packaged HOPG has a rim of 10 nm on a step of 2 nm: 11 nm above the mean of both terraces.
    hopg = replace(run, case=replace(run.case, loaded=experiment_from_text(TEXT.replace("graphite", "hopg"))))
    recovered = _by_id(images.step_edge(ExperimentRuns((hopg,))))["E8.recovered"].value
    assert recovered == pytest.approx((found.value or 0.0) / 11.0)


def test_a_constant_current_that_drifts_evenly_is_even() -> None:
    t = np.arange(0.0, 4000.0, 1.0)
    cell = np.where((t > 100) & (t < 1900), -2e-4, np.where((t > 2100) & (t < 3900), 2e-4, 0.0))
    pipette = 4.7e-9 - 1e-6 * cell
    pipette = pipette + np.where(cell < 0, 1e-13 * (t - 100), 0.0) - np.where(cell > 0, 1e-13 * (t - 2100), 0.0)
    pipette = pipette + np.random.default_rng(9).normal(0.0, 1e-13, t.size)
    run = _analysed(
        cell=_rows(
            t_ns=np.round(t * 1e9).astype(np.int64),
            current=cell,
            potential=np.zeros(t.size),
            set_point=np.full(t.size, np.nan),
            control=np.where(cell == 0.0, "open_circuit", "current"),
        ),
        slow=_rows(pipette_current=pipette),
    )
    found = _by_id(currents.constant_current(ExperimentRuns((run,))))
    assert found["E4.slope_lithiation"].value == pytest.approx(6.0, rel=0.01)
    assert found["E4.slope_delithiation"].value == pytest.approx(-6.0, rel=0.01)
    assert found["E4.constancy"].value == pytest.approx(1.0, abs=0.01)
    assert found["E4.change_lithiation"].value == pytest.approx(0.38, rel=0.01)
    # 0.2 nA at once and 0.18 nA evenly over the charge: levels of 1 + 0.09, 0.45 and 0.9.
    for share, level in ((10, 1.09), (50, 1.45), (100, 1.9)):
        assert found[f"E4.level_{share}_lithiation"].value == pytest.approx(level, abs=0.02)
        assert found[f"E4.level_{share}_delithiation"].value == pytest.approx(level, abs=0.02)


# -- what the rig's slow noise adds ------------------------------------------------------------------------------------


def _rig(monkeypatch: pytest.MonkeyPatch, **wander: float) -> AnalysedRun:
    monkeypatch.setattr(rig_drift, "load_rig", lambda *_: None)
    monkeypatch.setattr(rig_drift, "noise", lambda _: {"height_wander": 0.0, "pipette_wander": 0.0, **wander})
    return _analysed()


def test_a_height_carries_the_walk_of_its_rig_and_a_rig_without_one_none(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _rig(monkeypatch, height_wander=5e-9)
    assert rig_drift.height_walk(run, 3600.0) == pytest.approx(5e-9 * 60.0**0.5)  # 39 nm in an hour
    change = Result("E10.kymograph", 700.0, 30.0, "nm", "passes")
    moved = rig_drift.with_walk(change, 40.0)
    assert moved.u == pytest.approx(50.0)
    assert "u holds 40 nm of drift" in moved.method
    assert rig_drift.with_walk(change, 0.0) is change
    # The drift of images taken 1000 s apart and more is in the change of their height: 5 nm in a minute is 20 nm.
    frames = [1e-6 * np.random.default_rng(7).normal(size=(20, 20))] * 3
    hops = _hops([frame + rise for frame, rise in zip(frames, (0.0, 1e-6, 0.0), strict=True)], [1.7, 0.0, 1.7], False)
    hops["t_ns"] = hops["t_ns"] + np.repeat([0, 1, 2], 400) * (960 - 40) * 10**9
    run = replace(run, run=cast(Any, SimpleNamespace(hops=hops, slow=STILL, segments=list)))
    found = _by_id(images.charged_and_discharged(ExperimentRuns((run,))))
    assert found["E7.expansion"].u == pytest.approx(20.0, rel=0.01)


def test_a_line_through_a_walk_has_the_slope_of_many_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3000 walks of 500 ppm in a minute over ten of them: least squares, drawn and not derived."""
    run = _rig(monkeypatch, pipette_wander=500e-6)
    t = np.arange(0.0, 600.0, 3.0)
    steps = np.random.default_rng(1).normal(0.0, 500e-6 * (3.0 / 60.0) ** 0.5, (3000, t.size))
    slopes = np.polyfit(t, np.cumsum(steps, axis=1).T, 1)[0]
    assert rig_drift.slope_of_walk(run, float(np.ptp(t))) == pytest.approx(np.std(slopes), rel=0.04)


def test_an_onset_moves_with_a_walk_by_what_its_slope_makes_of_it() -> None:
    """Height that rises by 1 µm/V from 1 V on: 10 nm of walk until there move a threshold by 10 mV."""
    potential = np.linspace(1.7, 0.0, 120)
    height = np.maximum(0.0, 1.0 - potential) * 1e-6
    before = int(np.argmax(height > 0.1e-6))

    def of(moved: F64) -> Estimate:
        return onset(potential, moved, 0.1)

    steps = np.full(119, 10e-9 / before**0.5)
    moved = estimate_with_walk(of(height), of, height, steps)
    assert of(height).u < 5e-3
    assert moved.value == of(height).value
    assert 5e-3 < moved.u < 25e-3
    assert estimate_with_walk(of(height), of, height, 0.0 * steps) == of(height)


def test_the_state_of_charge_of_a_figure_is_the_rows_own() -> None:
    """Two cycles; the second passes 2 C of a capacity of 5: the figure ends at 100 %, where the rows' halves end."""
    t = np.arange(0.0, 401.0)
    charge = np.interp(t, [0.0, 100.0, 200.0, 300.0, 400.0], [0.0, -1.0, 0.0, -2.0, 0.0])
    cell = _rows(t_ns=np.round(1e9 * t).astype(np.int64), charge=charge, soc=-charge / 5.0)
    share = heights.share_of_lithiation(cell, 210.0)
    np.testing.assert_allclose(share[[200, 250, 300, 400]], [0.0, 0.5, 1.0, 0.0], atol=0.01)
    assert np.isnan(heights.share_of_lithiation(cell, 350.0)).all()


def test_the_slope_at_constant_current_carries_the_walk_of_its_rig(monkeypatch: pytest.MonkeyPatch) -> None:
    """4.7 nA that walk by 500 ppm in a minute: a line through half an hour of them has a slope of some 0.3 pA/min."""
    t = np.arange(0.0, 3720.0, 2.0)
    swept = (t >= 60.0) & (t < 3660.0)
    current = 4.7e-9 + np.where(swept, 0.1e-9, 0.0)
    ramp = current + np.where(swept, 5e-12 / 60.0 * (t - 1860.0), 0.0)
    first, stop = int(np.argmax(swept)), int(np.flatnonzero(swept)[-1]) + 1
    part = ControlledPart("current", first, stop, -2e-4, float(t[first]), float(t[stop]))
    found = {}
    for wander in (0.0, 500e-6):
        run = _rig(monkeypatch, pipette_wander=wander)
        rows = currents._one_direction(run, "lithiation", part, t, current)
        found[wander] = _by_id(rows)
    level = found[500e-6]["E4.slope_lithiation"]
    assert (level.value, level.outcome) == (None, "not determined")
    assert "the drift of the pipette alone would give as much" in level.reason
    steep = _by_id(currents._one_direction(_rig(monkeypatch, pipette_wander=500e-6), "lithiation", part, t, ramp))
    slope = steep["E4.slope_lithiation"]
    assert slope.value == pytest.approx(5.0, rel=1e-6)
    assert found[0.0]["E4.slope_lithiation"].u == pytest.approx(0.0, abs=1e-6)
    assert slope.u == pytest.approx(60e12 * 4.7e-9 * 500e-6 * (1.2 / 60.0 / 1798.0) ** 0.5, rel=0.01)
    assert found[500e-6]["E4.change_lithiation"].u == pytest.approx(4.7 * 500e-6 * 60.0**0.5, rel=0.01)
