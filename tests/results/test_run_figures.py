"""The figures of runs: a series of images, a pipette that parks and hops, and every record policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from opsicm.analysis.result import Result
from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.figures.draw import draw, png
from opsicm.figures.view import CurvePanel, ImagePanel, View, to_csv
from opsicm.record.reader import Run
from opsicm.results.image_figures import ImageChoice, image_choice
from opsicm.results.run_results import results_of, views_of
from tests.fixtures.laboratory import Laboratory

IMAGES = """
opsicm: 1
title: images of $5 at held potentials
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.05}
cell:
  - ladder: {from_V: 0.7, to_V: 0.1, step_mV: 200, rest_s: 60, hold_s: 40}
probe:
  - raster: {center_um: [3, -2], size_um: [6, 4.5], pixels: [20, 16], amplitude_nm: 5000, fall_nm_per_ms: 60,
             setpoint_pct: 2.0, at: {after_each: rest}}
envelope: {cell_V: [-0.05, 1.7], approach_um: 12}
record: {pipette_current: decimated, z: decimated}
"""

LINE = """
opsicm: 1
title: a line, then parked
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.05}
cell:
  - sweep: {from_V: 0.5, to_V: 0.1, rate_mV_s: 40, cycles: 1, ir_compensation_pct: 90}
  - hold: {potential_V: 0.5, for_s: 90}
probe:
  - line: {from_um: [-2, 1], to_um: [2, 1], pixels: 4, amplitude_nm: 2000, fall_nm_per_ms: 60, setpoint_pct: 2.0,
           during: "cell[0]"}
  - park: {height_um: 20, during: "cell[1]"}
envelope: {cell_V: [-0.5, 1.7], approach_um: 8}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Laboratory(tmp_path_factory.mktemp("images")).run(IMAGES) as run:
        yield run


@pytest.fixture(scope="module")
def image_results(images: Run) -> list[Result]:
    return results_of(images)


def named(views: list[View]) -> dict[str, View]:
    return {view.name: view for view in views}


def image_panels(view: View) -> list[ImagePanel]:
    return [panel for panel in view.panels if isinstance(panel, ImagePanel)]


def curves(view: View, quantity: str) -> CurvePanel:
    return next(panel for panel in view.panels if isinstance(panel, CurvePanel) and panel.y.quantity == quantity)


def test_every_image_of_a_series_is_drawn_where_the_experiment_put_it(images: Run, image_results: list[Result]) -> None:
    views = named(views_of(images, image_results))
    assert {"time", "image_series", "image_changes", "image_summary", "image_profiles"} <= set(views)
    panels = image_panels(views["image_series"])
    assert len(panels) == 4
    assert len({panel.limits for panel in panels}) == 1
    # 20 pixels over 6 µm about x = 3, 16 over 4.5 µm about y = -2, and half a pixel beyond.
    assert panels[0].extent == pytest.approx((-3.0 / 19, 6.0 + 3.0 / 19, -4.25 - 0.15, 0.25 + 0.15), abs=0.02)
    assert [panel.note.split(",")[0] for panel in panels] == ["0.70 V", "0.50 V", "0.30 V", "0.10 V"]
    assert views["image_series"].panels[0].note.endswith("s")  # the time
    assert len(image_panels(views["image_changes"])) == 3
    assert "potential" not in views  # images have their own figure against potential
    assert "voltammogram" not in views  # a ladder is no sweep


def test_the_course_of_the_images_is_that_of_their_results(images: Run, image_results: list[Result]) -> None:
    summary = named(views_of(images, image_results))["image_summary"]
    found = [r.value for r in image_results if r.name == "height_change" and r.of.image is not None]
    changes = [value for value in found if value is not None]
    assert len(changes) == 3
    course = curves(summary, "height change").series[0]
    scale = {"nm": 1.0, "µm": 1e3}[curves(summary, "height change").y.unit]
    np.testing.assert_allclose(scale * course.y, [0.0, *changes], rtol=1e-9)
    np.testing.assert_allclose(course.x, [0.7, 0.5, 0.3, 0.1], atol=1e-6)
    against_time = curves(named(views_of(images, image_results))["time"], "height change")
    during = against_time.series[0]
    scale = {"nm": 1.0, "µm": 1e3}[against_time.y.unit]
    # The median over the pixels is another estimate of the same swelling.
    np.testing.assert_allclose(scale * during.y, [0.0, *changes], atol=0.3 * max(abs(c) for c in changes))
    assert during.band is not None


def test_a_profile_is_that_of_the_pixels_on_its_line(images: Run, image_results: list[Result]) -> None:
    row = ImageChoice("none", (0.0, -2e-6 - 0.5 * 0.3e-6, 6e-6, -2e-6 - 0.5 * 0.3e-6))
    views = named(views_of(images, image_results, row))
    (first, *_) = image_panels(views["image_series"])
    panel = views["image_profiles"].panels[1]
    assert isinstance(panel, CurvePanel)
    assert len(panel.series) == 4
    scale = {"nm": 1e3, "µm": 1.0}[panel.y.unit] / {"nm": 1e3, "µm": 1.0}[first.value.unit]
    np.testing.assert_allclose(panel.series[0].y, scale * first.values[7], rtol=1e-6)
    with pytest.raises(BadInput, match=r"x from 0 to 6 and y from -4\.25 to 0\.25 µm; name a line in them, as 0,-4"):
        views_of(images, image_results, ImageChoice(line=(1e-4, 1e-4, 2e-4, 1e-4)))


@pytest.mark.parametrize("levelling", ["plane", "parabola", "rows"])
def test_a_levelling_of_choice_changes_what_is_drawn(images: Run, image_results: list[Result], levelling: str) -> None:
    usual = image_panels(named(views_of(images, image_results))["image_series"])
    view = named(views_of(images, image_results, image_choice(levelling, None)))["image_series"]
    means = [abs(float(np.nanmean(panel.values))) for panel in image_panels(view)]
    # Each image about its own surface: the swelling of 0.1 V is gone, which the plane of the first keeps.
    assert means[3] < 0.1 * abs(float(np.nanmean(usual[3].values - usual[0].values)))
    assert "own" in view.caption


@pytest.mark.parametrize(
    ("levelling", "profile", "words"),
    [
        ("flat", None, "levelled by one of first-plane, none, plane, parabola, rows; write one of them, as plane"),
        (None, "1,2,3", "x0,y0,x1,y1 in µm, as the experiment file has them; write four numbers, as -10,0,10,0"),
        (None, "0,0,0,0", "a profile runs between two points"),
        (None, "a,b,c,d", "write four numbers"),
    ],
)
def test_a_choice_that_is_none_is_refused(levelling: str | None, profile: str | None, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        image_choice(levelling, profile)


def test_remedies_of_a_choice_work() -> None:
    choice = image_choice("plane", "-10,0,10,0")
    assert choice.levelling == "plane"
    assert choice.line == pytest.approx((-1e-5, 0.0, 1e-5, 0.0))


def test_convert_makes_a_movie_of_images_and_refuses_what_has_none(
    images: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = tmp_path / "images.gif"
    assert main(["convert", str(images.path.parent), str(movie), "--levelling", "rows"]) == 0
    assert capsys.readouterr().out.strip() == str(movie)
    assert movie.read_bytes().startswith(b"GIF8")
    assert main(["convert", str(images.path.parent), str(movie)]) == 2
    assert "a file of this name exists" in capsys.readouterr().err
    (tmp_path / "table.csv").write_text("1,2\n", encoding="utf-8")
    assert main(["convert", str(tmp_path / "table.csv"), str(tmp_path / "x.gif")]) == 2
    assert "movies are made of runs; name a run folder or its run.nxs" in " ".join(capsys.readouterr().err.split())
    assert main(["convert", str(images.path.parent), str(tmp_path / "x.gwy"), "--levelling", "rows"]) == 2
    assert "--levelling is rows; is for movies and figures; leave it out" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "record",
    [
        "{pipette_current: full, z: full}",
        "{pipette_current: decimated, z: decimated}",
        "{pipette_current: off, z: off}",
        "{pipette_current: full, z: off}",
        "{pipette_current: decimated, z: full, pipette_bias: full}",
    ],
)
def test_every_record_policy_has_its_figures(tmp_path: Path, record: str) -> None:
    with Laboratory(tmp_path).run(f"{LINE}record: {record}\n") as run:
        views = views_of(run, results_of(run))
    by_name = named(views)
    assert {"time", "potential", "charge", "kymograph", "voltammogram"} <= set(by_name)
    assert ("hop" in by_name) == ("current: full, z: full" in record)
    height = curves(by_name["time"], "height change")
    assert "of each point since its own first hop: median of 4 points" in height.note
    pipette = curves(by_name["time"], "pipette current")
    assert [one.label for one in pipette.series] == ["reference of the hops", "parked or travelling"]
    last_hop = float(pipette.series[0].x[-1])
    parked = pipette.series[1]
    assert np.isfinite(parked.y[parked.x > last_hop + 1.0]).all()
    assert not np.isfinite(parked.y[(parked.x > 1.0) & (parked.x < last_hop - 1.0)]).any()
    sweeps = by_name["voltammogram"].panels[0]
    assert isinstance(sweeps, CurvePanel)
    assert sweeps.x.label == "potential of the program vs Li/Li+ (V)"
    ends = [(float(one.x.min()), float(one.x.max())) for one in sweeps.series if one.label.startswith("sweep")]
    # Whole in spite of the compensation, but for the row before the first set point; a row is 10 mV.
    assert ends == [pytest.approx((0.1, 0.5), abs=0.011)] * 2
    for view in views:
        assert png(draw(view)).startswith(b"\x89PNG")
        assert to_csv(view).count("# panel") == len(view.panels)
