"""The figures of the page are the report's: the image that grows ends as the report's frame, and so does each curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from opsicm.analysis.hops.height_change import step_passes
from opsicm.analysis.hops.results import images_of
from opsicm.analysis.topography.levelling import plane
from opsicm.console.gauges import gauges_of
from opsicm.console.live_figures import Levelling, OverTime, views_of
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import Snapshot, StoredRun
from opsicm.figures.hops import run_time_view
from opsicm.figures.towers import traverses_view
from opsicm.figures.view import CurvePanel, ImagePanel, to_csv
from opsicm.record.reader import Run
from opsicm.results.pipette_steps import pipette_results
from tests.fixtures.raster_run import COLUMNS, EXPERIMENT, MISSING, ROWS, X, Y, height
from tests.fixtures.tower_run import TRAVERSES, current


def after(raster: Path, hops: int) -> Snapshot:
    """The run of two images after so many hops."""
    with StoredRun(raster) as stored:
        whole = stored.whole
    return replace(whole, experiment_text=EXPERIMENT, hops=whole.hops.isel(hop=slice(0, hops)))


def images(seen: Snapshot, levelling: Levelling = "none") -> tuple[ImagePanel, ...]:
    view = views_of(seen, levelling)["map"].view
    return tuple(panel for panel in view.panels if isinstance(panel, ImagePanel))


def test_an_image_grows_hop_by_hop(raster: Path) -> None:
    for hops in (1, 4, 7, 11, 20):
        (panel,) = images(after(raster, hops))
        expected = 1e9 * height(0).ravel()
        expected[hops:] = np.nan
        expected -= np.nanmean(expected)
        np.testing.assert_allclose(panel.values.ravel(), expected, atol=1e-6)
        reached = hops - (hops > MISSING[0] * COLUMNS + MISSING[1])
        assert panel.note == f"image 1: {reached} of 20 pixels"
        assert panel.extent == pytest.approx(
            (1e6 * X[0] - 0.25, 1e6 * X[-1] + 0.25, 1e6 * Y[0] - 0.25, 1e6 * Y[-1] + 0.25)
        )
        assert panel.scale_bar == 0.5


def test_a_whole_image_is_the_reports_frame(raster: Path) -> None:
    before, present = images(after(raster, 2 * ROWS * COLUMNS))
    with Run(raster) as run:
        first, second = images_of(run.hops, run.slow)
    zero = np.nanmean(first.heights)
    np.testing.assert_allclose(before.values, 1e6 * (first.heights - zero), atol=1e-9)
    np.testing.assert_allclose(present.values, 1e6 * (second.heights - zero), atol=1e-9)
    assert before.limits == present.limits, "one colour scale"


def test_a_plane_is_subtracted_from_each_image_once_it_can_be(raster: Path) -> None:
    view = views_of(after(raster, 3), "plane")["map"].view
    assert "Not levelled: too few pixels yet for a plane." in view.caption
    (panel,) = images(after(raster, 20), "plane")
    np.testing.assert_allclose(panel.values, 1e9 * plane(height(0)).heights, atol=1e-6)


def test_a_parabola_is_subtracted_as_gwyddion_does(raster: Path) -> None:
    # z = plane + 3 x² - 2 x y + y², of which a polynomial of total degree 2 leaves nothing.
    x, y = np.meshgrid(np.linspace(-1, 1, COLUMNS), np.linspace(-1, 1, ROWS))
    seen = after(raster, 2 * ROWS * COLUMNS)
    z = seen.hops["z_stop"].values.copy()
    z[ROWS * COLUMNS :] = 1e-9 * (5 + 7 * x - 4 * y + 3 * x**2 - 2 * x * y + y**2).ravel()
    hops = seen.hops.assign(z_stop=("hop", z))
    _, present = images(replace(seen, hops=hops), "parabola")
    np.testing.assert_allclose(present.values, 0.0, atol=1e-6)
    assert "polynomial of total degree 2" in views_of(replace(seen, hops=hops), "parabola")["map"].view.caption


def test_the_cursor_knows_when_each_pixel_was_hopped(raster: Path) -> None:
    figure = views_of(after(raster, ROWS * COLUMNS + 7), "none")["map"]
    before, present = figure.pixels
    expected = np.arange(ROWS * COLUMNS, dtype=float).reshape(ROWS, COLUMNS)
    np.testing.assert_allclose(present.ravel()[:7], 100.0 + np.arange(7))
    assert np.isnan(present.ravel()[7:]).all()
    expected[MISSING] = np.nan
    np.testing.assert_allclose(before, expected)
    assert figure.images is not None
    assert figure.images.tolist() == [0.0, 100.0]


def test_a_tower_grows_as_the_report_draws_it(tower: Path) -> None:
    with StoredRun(tower) as stored, Run(tower) as run:
        end = stored.duration
        figures = [views_of(stored.until(t), "none") for t in (end, 0.7 * end, 2.0)]
        (trace,) = [result.trace for result in pipette_results(run) if result.name == "tower_ways"]
    assert isinstance(trace, xr.DataArray)
    whole, growing, first = (next(p for p in one["map"].view.panels if isinstance(p, ImagePanel)) for one in figures)
    reported = next(panel for panel in traverses_view(trace).panels if isinstance(panel, ImagePanel))
    np.testing.assert_array_equal(whole.values, reported.values)
    assert whole.extent == reported.extent
    # Against what the run was written with, at the middles of the bins and of the traverses.
    rows, columns = whole.values.shape
    assert columns == TRAVERSES
    left, right, bottom, top = whole.extent
    z, t = (
        low + (high - low) * (np.arange(n) + 0.5) / n for low, high, n in ((bottom, top, rows), (left, right, columns))
    )
    expected = 1e9 * current(np.broadcast_to(t, (rows, columns)), np.broadcast_to(1e-3 * z[:, None], (rows, columns)))
    np.testing.assert_allclose(whole.values, expected, atol=0.01)
    # 70 % of six traverses: four whole ones and a fifth of the fifth, at the lower end.
    assert growing.values.shape == (rows, 5)
    np.testing.assert_array_equal(growing.values[:, :4], whole.values[:, :4])
    reached = np.flatnonzero(np.isfinite(growing.values[:, 4]))
    assert reached[0] == 0
    assert reached[-1] / rows == pytest.approx(0.2, abs=0.05)
    assert first.values.shape[1] == 1
    profiles = figures[0]["section"].view.panels[0]
    assert isinstance(profiles, CurvePanel)
    assert [series.label for series in profiles.series] == ["first", "the one before", "last"]
    np.testing.assert_allclose(profiles.series[2].y, 1e3 * (whole.values[:, -1] - whole.values[-1, -1]), atol=1e-6)


def test_the_curves_are_the_reports(short_run: Run) -> None:
    with StoredRun(short_run.path) as stored:
        figures = views_of(stored.until(1e9), "none", Sampled())
        views = {place: figure.view for place, figure in figures.items()}
    passes = step_passes(short_run.hops, short_run.slow)
    assert to_csv(views["time"]) == to_csv(run_time_view(short_run.hops, short_run.cell, short_run.slow, passes))
    (point,) = views["map"].panels
    assert isinstance(point, CurvePanel)
    np.testing.assert_allclose(np.max(point.series[0].y), 1e9 * np.max(passes[0].change))
    (current,) = views["cell"].panels
    assert isinstance(current, CurvePanel)
    assert current.y.unit == "µA"
    np.testing.assert_allclose(np.min(current.series[0].y), 1e6 * np.min(short_run.cell["current"].values))
    times = figures["cell"].points
    assert times is not None
    shown = np.interp(times * 1e9, short_run.cell["t_ns"].values, short_run.cell["current"].values)
    np.testing.assert_allclose(current.series[0].y, 1e6 * shown, atol=1e-9)
    hop = views["hop"].panels[0]
    assert isinstance(hop, CurvePanel)
    samples = 1e9 * short_run.trace(short_run.hops.sizes["hop"] - 1)["pipette_current"].values
    assert hop.series[0].y.size <= 2000 < samples.size, "decimated before it is drawn"
    assert np.isin(hop.series[0].y, samples).all()
    assert (hop.series[0].y.min(), hop.series[0].y.max()) == (samples.min(), samples.max())


def test_every_moment_of_a_run_can_be_drawn(raster: Path, short_run: Run) -> None:
    for hops in range(0, 2 * ROWS * COLUMNS + 1, 3):
        assert "time" in views_of(after(raster, hops), "plane")
        gauges_of(after(raster, hops), {}, None, None)
    with StoredRun(short_run.path) as stored:
        for t in [*np.arange(0.0, 1.0, 0.1).tolist(), *range(1, 100, 33)]:
            seen = stored.until(t)
            assert "time" in views_of(seen, "none")
            gauges_of(seen, {}, None, None)


def test_a_run_before_its_first_hop_has_what_it_has(raster: Path) -> None:
    assert "map" not in views_of(after(raster, 0), "none")


def test_the_past_of_a_stored_run_holds_nothing_of_its_future(short_run: Run) -> None:
    with StoredRun(short_run.path) as stored:
        seen = stored.until(40.0)
        assert stored.duration == pytest.approx(100.0, abs=1.0)
    assert seen.hops["t_ns"].values[-1] <= 40e9
    assert seen.hops.sizes["hop"] == int((short_run.hops["t_ns"].values <= 40e9).sum())
    assert seen.t == pytest.approx(40.0, abs=0.5)
    assert max(fact.t_ns for fact in seen.facts) <= 40e9


def test_the_figure_of_the_whole_run_takes_a_quarter_of_the_time_and_is_made_up_for(
    raster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]  # [ns]
    monkeypatch.setattr("opsicm.console.live_figures.monotonic_ns", lambda: now[0])
    monkeypatch.setattr("opsicm.console.live_figures.stopwatch", lambda: lambda: 0.5)  # [s] that it takes
    early, late = after(raster, ROWS * COLUMNS), after(raster, 2 * ROWS * COLUMNS)
    over_time = OverTime()

    def passes(seen: Snapshot, in_motion: bool = True) -> int:
        (of_raster,), figure = over_time.of(seen, in_motion)
        if in_motion:
            assert views_of(seen, "none", None, in_motion, over_time)["time"] is figure
        return of_raster.t.size

    assert (passes(early), over_time.overdue) == (1, False)
    now[0] = 1_400_000_000
    assert (passes(late), over_time.overdue) == (1, False)
    now[0] = 1_600_000_000
    assert over_time.overdue  # the run may have ended meanwhile: its last pass must be drawn all the same
    assert (passes(late), over_time.overdue) == (2, False)
    now[0] = 1_700_000_000
    assert passes(early) == 2
    assert passes(early, in_motion=False) == 1
