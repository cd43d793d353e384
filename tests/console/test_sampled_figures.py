"""What the samples of the last hops show: the fits and sections of the analysis, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import least_squares

from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import section_results
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import Snapshot, StoredRun
from opsicm.figures.images import section_view
from opsicm.figures.view import CurvePanel, ImagePanel
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.record.reader import Run
from opsicm.results.run_results import template_of


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    made = Sampled()
    made.prepare()
    return made


@pytest.fixture
def seen(short_run: Run) -> Iterator[Snapshot]:
    with StoredRun(short_run.path) as stored:
        yield stored.until(60.0)


def as_lines(seen: Snapshot, pixels: int) -> Snapshot:
    """The hops of a point as those of a line of so many pixels, 0.5 µm apart."""
    number = np.arange(seen.hops.sizes["hop"])
    line, pixel = np.divmod(number, pixels)
    changed = {"line": line.astype(np.int32), "pixel": pixel.astype(np.int32), "x": 0.5e-6 * pixel}
    hops = seen.hops.assign({name: ("hop", values) for name, values in changed.items()})
    return replace(seen, hops=hops)


def test_the_last_approach_is_fitted_with_its_prediction(sampled: Sampled, seen: Snapshot, short_run: Run) -> None:
    view = sampled.figures(seen)["approach"].view
    (panel,) = view.panels
    assert isinstance(panel, CurvePanel)
    last = seen.hops.isel(hop=-1)
    fall, stop = int(last["sample_fall"]), int(last["sample_stop"])
    rows = short_run.samples(int(last["segment"]), fall, stop + 1)
    z, current = rows["z"].values, rows["pipette_current"].values
    curve = approach_curve(Pipette(radius=50e-9))

    def residual(p: np.ndarray) -> np.ndarray:
        return np.asarray(current * 1e9 - p[0] * curve.relative_current(z - z[-1] + p[1] * 1e-9))

    bulk, distance = least_squares(residual, (current[0] * 1e9, 30.0)).x
    stated = re.search(r"surface, (\S+) ± (\S+) nm below the stop.*far away, (\S+) nA", view.caption)
    assert stated is not None, view.caption
    assert float(stated[1]) == pytest.approx(distance, abs=0.2)
    assert float(stated[3]) == pytest.approx(bulk, rel=1e-3)
    assert "For a drop of 2 % it predicts 33.7 nm" in view.caption
    samples, predicted, expected, reached = panel.series
    near = 1e-9 * predicted.x
    np.testing.assert_allclose(predicted.y, bulk * curve.relative_current(near), rtol=1e-3)
    assert samples.x.min() == pytest.approx(distance, abs=0.2)
    assert (np.diff(samples.x) >= 0.0).all()
    assert samples.y.max() == pytest.approx(1e9 * current.max())
    assert expected.x[0] == pytest.approx(1e9 * float(curve.distance(np.array(0.98))), abs=0.1)
    assert reached.x[0] == pytest.approx(distance, abs=0.2)


def test_a_section_of_a_line_is_that_of_the_analysis(sampled: Sampled, seen: Snapshot, short_run: Run) -> None:
    lines = as_lines(seen, 8)
    figure = sampled.figures(lines)["section"]
    whole = (lines.hops.sizes["hop"] - 1) // 8 - 1
    assert figure.view.title == f"Section x, z of line {whole}"
    chosen = np.arange(8 * whole, 8 * whole + 8)
    fall, stop, setpoint, reference = (
        lines.hops[name].values[chosen] for name in ("sample_fall", "sample_stop", "setpoint", "i_ref")
    )
    read = short_run.counts(1, ("pipette_current", "z"), int(fall[0]), int(stop[-1]) + 1)
    assert read is not None
    counts, (current, z), _ = read
    samples = RawSamples(counts, 0, 1, current.scale, current.offset, z.scale, z.offset)
    approaches = Approaches(fall - fall[0], stop - fall[0] + 1, reference, setpoint)
    trace = section_results(samples, approaches, template_of(short_run), np.linspace(0.0, 3.5e-6, 8))[0].trace
    assert isinstance(trace, xr.Dataset)
    expected = section_view(trace).panels
    for shown, one in zip(figure.view.panels, (expected[0], expected[2]), strict=True):
        assert isinstance(shown, ImagePanel)
        assert isinstance(one, ImagePanel)
        np.testing.assert_array_equal(shown.values, one.values)
        assert shown.extent == pytest.approx((-0.25, 3.75, *one.extent[2:]))
    np.testing.assert_allclose(figure.pixels[0], 1e-9 * lines.hops["t_ns"].values[chosen])


def test_a_section_in_motion_waits_and_never_shows_the_future(short_run: Run) -> None:
    sampled = Sampled()
    sampled.prepare()
    with StoredRun(short_run.path) as stored:
        titles = [
            sampled.figures(as_lines(stored.until(t), 8), in_motion)["section"].view.title
            for t, in_motion in ((60.0, True), (60.8, True), (50.0, True), (50.8, False))
        ]
        lines = [(stored.until(t).hops.sizes["hop"] - 1) // 8 - 1 for t in (60.0, 50.0, 50.8)]
    shown = [int(title.rpartition(" ")[2]) for title in titles]
    assert shown == [lines[0], lines[0], lines[1], lines[2]]


def test_without_samples_the_heights_of_the_line_are_drawn(seen: Snapshot) -> None:
    lines = as_lines(replace(seen, counts=lambda *_: None, samples=seen.samples.drop_vars("z")), 8)
    figures = Sampled().figures(lines)
    assert "hop" not in figures
    section = figures["section"].view
    whole = (lines.hops.sizes["hop"] - 1) // 8 - 1
    assert section.title == f"Height along line {whole}, the last whole one"
    assert "pipette_current and z are not kept in full" in section.caption
    (panel,) = section.panels
    assert isinstance(panel, CurvePanel)
    z = 1e9 * lines.hops["z_stop"].values[8 * whole : 8 * whole + 8]
    np.testing.assert_allclose(panel.series[0].y, z - z.mean(), atol=1e-6)
    np.testing.assert_allclose(panel.series[0].x, 0.5 * np.arange(8))
    assert not figures["approach"].view.panels
    assert "not kept in full" in figures["approach"].view.caption


def test_why_there_is_no_prediction_is_said(sampled: Sampled, seen: Snapshot) -> None:
    unknown = sampled.figures(replace(seen, parameters={"pipette": {}}))
    assert unknown["approach"].view.caption == "No prediction: the radius of the pipette is not stated."
    assert "the radius of the pipette is not stated" in unknown["section"].view.caption
    outcome = seen.hops["outcome"].values.copy()
    outcome[-1] = 1
    missed = sampled.figures(replace(seen, hops=seen.hops.assign(outcome=("hop", outcome))))
    assert "ended without contact" in missed["approach"].view.caption
    without, touched = (figures["hop"].view.panels[1] for figures in (missed, sampled.figures(seen)))
    assert isinstance(without, CurvePanel)
    assert isinstance(touched, CurvePanel)
    assert [series.label for series in without.series] == ["samples"], "a hop without contact has no stop"
    assert "no contact: lowest at z" in without.note
    assert [series.label for series in touched.series] == ["samples", "stop"]
    assert "compiles" in Sampled().figures(seen)["approach"].view.caption
