"""The paper's figures from arrays: units, signs, shared limits and scale bars, and that each can be drawn and saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import xarray as xr
from matplotlib.animation import FFMpegWriter
from matplotlib.colors import rgb_to_hsv, to_hex, to_rgb
from PIL import Image as Picture

from opsicm.core.errors import BadInput
from opsicm.figures import hops, images, pipette, towers
from opsicm.figures.colours import COLOUR, COLOUR_MAP, DIVERGING, MISSING, Shows
from opsicm.figures.draw import draw, png, save
from opsicm.figures.movie import image_frames, line_frames, write_movie
from opsicm.figures.pipette import ParkedPipette
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, View, thinned, to_csv

T = np.linspace(0.0, 600.0, 301)
E = np.abs(1.7 - T / 176.0)
CELL = -1e-3 * np.sin(T / 95.0)


def _held(label: str, gain: float) -> ParkedPipette:
    return ParkedPipette(label, T, E, 4.7e-9 - gain * CELL, CELL, 4.7e-9)


def _curves(view: View, k: int) -> CurvePanel:
    panel = view.panels[k]
    assert isinstance(panel, CurvePanel)
    return panel


def test_voltammograms_at_distances_are_a_family_in_order() -> None:
    runs = [_held("10 µm", 2e-6), _held("100 µm", 1.9e-6), _held("3000 µm", 5e-7)]
    view = pipette.parked_voltammograms_view(runs, "E2")
    upper, lower = _curves(view, 0), _curves(view, 1)
    assert [s.label for s in upper.series] == ["10 µm", "100 µm", "3000 µm"]
    assert [s.shade for s in upper.series] == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(upper.series[0].y, 4.7 - 2e3 * CELL)
    np.testing.assert_allclose(lower.series[0].y, 1e3 * CELL)
    assert "negative cell current lithiates" in lower.note
    assert (upper.y.unit, lower.y.unit, upper.x.unit) == ("nA", "mA", "V")


def test_a_contribution_is_all_terms_less_the_run_without_it() -> None:
    whole, no_ohmic, no_salt = _held("all terms", 2e-6), _held("ohmic off", 1e-8), _held("salt off", 1.99e-6)
    later = replace(no_salt, t=T[::2], potential=E[::2], pipette=no_salt.pipette[::2], cell=CELL[::2])
    view = pipette.contributions_view([whole, no_ohmic, later], "E2", against_potential=True)
    largest, small = _curves(view, 1), _curves(view, 2)
    assert [s.label for s in largest.series] == ["ohmic"]
    np.testing.assert_allclose(largest.series[0].y, -1.99e3 * CELL, atol=1e-9)
    np.testing.assert_allclose(small.series[0].y[::2], -1e4 * CELL[::2], atol=1e-6)
    assert (largest.y.unit, small.y.unit) == ("nA", "pA")


def image_of(heights: np.ndarray, size: float = 20e-6) -> xr.DataArray:
    """An image of `size` [m] about the origin."""
    at = [size * ((np.arange(n) + 0.5) / n - 0.5) for n in heights.shape]
    return xr.DataArray(heights, dims=("y", "x"), coords={"y": at[0], "x": at[1]})


def test_a_series_of_images_has_one_scale_and_a_bar_of_fixed_length() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(0.0, 1e-6, (16, 16))
    first[3, 4] = np.nan
    view = images.image_series_view([("1.7 V", image_of(first)), ("0.1 V", image_of(2.0 * first))], "E6")
    panels = [panel for panel in view.panels if isinstance(panel, ImagePanel)]
    assert len({panel.limits for panel in panels}) == 1
    assert [panel.scale_bar for panel in panels] == [5.0, 5.0]
    assert panels[0].extent == pytest.approx((-10.0, 10.0, -10.0, 10.0))
    np.testing.assert_allclose(panels[1].values, 2e6 * first)


def test_changes_of_images_have_zero_in_the_middle_of_one_scale() -> None:
    rng = np.random.default_rng(4)
    changes = [(f"{k}", image_of(rng.normal(30e-9 * k, 5e-9, (16, 16)))) for k in range(1, 8)]
    view = images.image_changes_view(changes)
    panels = [panel for panel in view.panels if isinstance(panel, ImagePanel)]
    assert {panel.shows for panel in panels} == {"change"}
    (limits,) = {panel.limits for panel in panels}
    assert limits is not None
    assert limits[0] == -limits[1]
    assert 210.0 < limits[1] < 230.0  # nm
    assert view.columns == 4  # seven in two rows
    figure = draw(view)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert all(one.get_cmap().name == COLOUR_MAP["change"] for one in shown)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert len(bars) == 1


@pytest.mark.parametrize(("count", "columns"), [(1, 2), (3, 3), (5, 5), (6, 6), (7, 4), (17, 6)])
def test_a_strip_has_full_rows(count: int, columns: int) -> None:
    flat = image_of(np.zeros((4, 4)))
    assert images.image_series_view([("", flat)] * count).columns == columns


def test_profiles_are_drawn_with_their_line_in_the_image() -> None:
    image = image_of(1e-7 * np.arange(64.0).reshape(8, 8))
    line = (-5e-6, 0.0, 5e-6, 2.5e-6)
    distance = np.linspace(0.0, 10e-6, 5)
    view = images.image_profiles_view([("0.1 V", image)], [("0.1 V", distance, 1e-9 * distance / 1e-6)], line)
    above, below = view.panels
    assert isinstance(above, ImagePanel)
    assert above.line == pytest.approx((-5.0, 0.0, 5.0, 2.5))
    assert isinstance(below, CurvePanel)
    assert "(-5, 0) to (5, 2.5) µm" in below.note
    np.testing.assert_allclose(below.series[0].y, distance * 1e6)
    assert draw(view).axes[0].lines[0].get_xdata() == pytest.approx([-5.0, 5.0])


def test_the_course_of_images_is_in_order_of_time_with_directions_apart() -> None:
    e = np.array([1.7, 0.3, 0.1, 0.3])
    change = 1e-9 * np.array([0.0, 250.0, 530.0, 200.0])
    view = images.image_summary_view(
        e, Axis("potential", "V"), change, 1e-9 * np.ones(4), 1e-6 * np.ones(4), np.array([True, True, True, False])
    )
    upper = _curves(view, 0)
    assert [s.label for s in upper.series] == ["in order of time", "lithiation or first", "delithiation"]
    np.testing.assert_allclose(upper.series[0].y, [0.0, 250.0, 530.0, 200.0])
    np.testing.assert_allclose(upper.series[2].y, [200.0])
    assert upper.series[2].band == pytest.approx([1.0])
    assert _curves(view, 1).y.unit == "nm"


@pytest.mark.parametrize(("size", "bar"), [(1e-6, 0.2), (2e-6, 0.5), (20e-6, 5.0), (9e-6, 2.0)])
def test_the_bar_of_a_step_edge_is_a_round_length(size: float, bar: float) -> None:
    x = np.linspace(0.0, size, 8)
    view = images.step_view(image_of(np.zeros((8, 8)), size), x, np.zeros(8), (0.0, 1e-8))
    image = view.panels[0]
    assert isinstance(image, ImagePanel)
    assert image.scale_bar == pytest.approx(bar)


def test_a_tower_image_puts_every_row_where_it_was_read() -> None:
    t = np.arange(0.0, 60.0, 0.5)
    height = 0.1e-3 + 2.5e-3 * np.abs((t / 5.0) % 2.0 - 1.0)
    view = towers.tower_time_view(t, height, 1e-6 * height, T, E, CELL, (0.1e-3, 2.6e-3), {"A": 20.0}, 5.0)
    image = view.panels[3]
    assert isinstance(image, ImagePanel)
    centres = np.linspace(image.extent[2], image.extent[3], image.values.shape[0] + 1)
    middles = 0.5 * (centres[1:] + centres[:-1])
    seen = np.isfinite(image.values)
    expected = np.broadcast_to(middles[:, None], image.values.shape)
    # The current is the height in µA here: a cell shows a mean of its rows, which is no farther off than half a cell.
    half = 0.5 * float(centres[1] - centres[0])
    np.testing.assert_allclose(image.values[seen], expected[seen], rtol=0.0, atol=half + 1e-9)
    assert [s.label for s in _curves(view, 2).series] == ["0.1 mm", "2.6 mm"]


def test_three_heights_have_the_papers_colours_and_moments_their_letters() -> None:
    t = np.arange(0.0, 60.0, 0.5)
    height = 0.1e-3 + 2.5e-3 * np.abs((t / 5.0) % 2.0 - 1.0)
    at = (0.1e-3, 1.35e-3, 2.6e-3)
    view = towers.tower_time_view(t, height, 1e-6 * height, T, E, CELL, at, {"A": 20.0, "B": 40.0}, 5.0)
    hues = [rgb_to_hsv(to_rgb(COLOUR[s.role]))[0] * 360.0 for s in _curves(view, 2).series]
    assert hues == pytest.approx([200.0, 25.0, 165.0], abs=25.0)  # blue, red, green
    figure = draw(view)
    assert {note.get_text() for note in figure.axes[0].texts} == {"A", "B"}
    assert figure.axes[0].get_legend() is None
    assert len({axes.get_xlim() for axes in figure.axes[:4]}) == 1


def line_of(change: np.ndarray, t: np.ndarray) -> xr.DataArray:
    """A kymograph as the analysis leaves it: `change` [m] (line, pixel), `t` [s]."""
    n = t.size
    per_line = {"potential": np.linspace(1.2, 0.0, n), "cell_current": np.full(n, -1e-4), "reference": np.full(n, 4e-9)}
    pixel = np.arange(change.shape[1])
    coords = {
        "x": ("pixel", 1e-6 * pixel),
        "first": ("pixel", 1e-7 * np.sin(pixel)),
        "t": ("line", t),
        **{name: ("line", values) for name, values in per_line.items()},
    }
    return xr.DataArray(change, dims=("line", "pixel"), coords=coords)


def test_what_an_image_shows_has_one_colour_map() -> None:
    assert set(COLOUR_MAP) == {*get_args(Shows), "family"}
    assert all(COLOUR_MAP[shows].startswith("RdBu") == (shows in DIVERGING) for shows in get_args(Shows))
    view = hops.line_view(line_of(np.array([[-1e-9, 3e-9], [0.0, 2e-9]]), np.array([0.0, 1.0])))
    shown = draw(view).axes[0].images[0]
    assert shown.get_cmap().name == COLOUR_MAP["change"]
    assert shown.get_clim()[0] == -shown.get_clim()[1]


def test_a_pause_of_a_line_is_grey_and_does_not_move_what_follows() -> None:
    t = np.concatenate((np.arange(10.0), np.arange(20.0, 30.0)))
    view = hops.line_view(line_of(1e-9 * t[:, None] * np.ones(3), t))
    image = view.panels[0]
    assert isinstance(image, ImagePanel)
    assert image.values.shape == (3, 30)
    assert image.extent[:2] == (-0.5, 29.5)
    assert np.isnan(image.values[0, 10:20]).all()
    missing = draw(view).axes[0].images[0].get_cmap().get_bad()
    red, green, blue, opaque = missing.tolist()
    assert to_hex((red, green, blue, opaque)) == MISSING  # white would be zero
    np.testing.assert_allclose(image.values[0, 20:], np.arange(20.0, 30.0))
    assert [panel.y.quantity for panel in view.panels[1:]] == ["potential vs Li/Li+", "cell current", "pipette current"]


@pytest.mark.parametrize(("span", "unit", "last"), [(300.0, "s", 300.0), (6000.0, "min", 100.0), (36_000.0, "h", 10.0)])
def test_a_run_of_hours_is_in_hours(span: float, unit: str, last: float) -> None:
    run = replace(_held("", 1e-6), t=np.linspace(0.0, span, T.size))
    panel = _curves(pipette.parked_time_view(run, "E4"), 0)
    assert (panel.x.unit, panel.series[0].x[-1]) == (unit, pytest.approx(last))


def test_a_long_record_keeps_its_spikes_and_its_gaps() -> None:
    x = np.arange(100_000.0)
    y = np.sin(x / 9000.0)
    y[51_234] = 7.0
    y[20_000:30_000] = np.nan
    short_x, short_y = thinned(x, y)
    assert short_x.size < 6000
    assert short_y[short_x == 51_234.0] == [7.0]
    (gap,) = np.flatnonzero(np.isnan(short_y))
    assert short_x[gap - 1] < 20_000.0 <= short_x[gap]
    assert short_x[gap + 1] >= 30_000.0


def test_the_data_of_a_figure_are_a_table_per_panel() -> None:
    line = hops.line_view(line_of(np.array([[0.0, 1e-9, 2e-9], [3e-9, np.nan, 5e-9]]), np.array([0.0, 10.0])))
    text = to_csv(line)
    image, potential = text.split("\n\n")[1:3]
    rows = image.splitlines()
    assert rows[0].startswith("# panel 1: of each pixel since its own")
    assert rows[1] == '"time (s)","position along the line (µm)","height change (nm)"'
    assert rows[2:5] == ["0,0,0", "10,0,3", "0,1,1"]
    assert "10,1," in rows
    assert potential.splitlines()[1:] == ['"measured: time (s)","measured: potential vs Li/Li+ (V)"', "0,1.2", "10,0"]


def test_a_long_legend_is_beside_its_panel_and_drawn_once() -> None:
    runs = [_held(f"{rate} mV/s", 1e-6 * rate) for rate in range(1, 8)]
    figure = draw(pipette.parked_voltammograms_view(runs, "E3"))
    png(figure)  # lays it out
    above, below = figure.axes
    legend = above.get_legend()
    assert legend is not None
    assert below.get_legend() is None
    assert [text.get_text() for text in legend.get_texts()] == [run.label for run in runs]
    assert legend.get_window_extent().x0 >= above.get_window_extent().x1
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_approach_curves_are_differences_from_far_away() -> None:
    z = np.linspace(0.1e-3, 2.6e-3, 20)
    view = towers.tower_profiles_view({"B": (z, 5e-9 - 1e-6 * z)})
    series = _curves(view, 0).series[0]
    assert series.y[-1] == 0.0
    assert series.y[0] == pytest.approx(2500.0)


def test_state_of_charge_has_a_panel_only_where_it_is_known() -> None:
    h = 1e-6 * np.sin(T / 200.0)
    unknown = hops.point_view(T, h, np.full(T.size, 4e-9), T, E, np.full(T.size, np.nan), CELL, "E9")
    known = hops.point_view(T, h, np.full(T.size, 4e-9), T, E, T / 600.0, CELL, "E9")
    assert "SOC" not in [panel.y.quantity for panel in unknown.panels]
    assert "SOC" in [panel.y.quantity for panel in known.panels]


def _every_view() -> list[View]:
    rng = np.random.default_rng(2)
    image = rng.normal(0.0, 1e-6, (12, 12))
    line = line_of(rng.normal(0.0, 1e-8, (20, 8)), np.linspace(0.0, 600.0, 20))
    salt = np.linspace(500.0, 1500.0, 5)
    bias = np.linspace(-0.7, 0.7, 21)
    return [
        pipette.parked_voltammograms_view([_held("10 µm", 2e-6)], "E2"),
        pipette.parked_time_view(_held("", 2e-6), "E4"),
        pipette.contributions_view(
            [_held("all terms", 2e-6), _held("salt off", 1.9e-6)], "E5", against_potential=False
        ),
        pipette.calibration_view(
            [("1 M", bias, 5e-9 * bias)],
            [("κ ∝ c", salt, 3e-12 * salt)],
            [("line", salt, 3e-12 * salt, 1e-14 * salt)],
            0.7,
        ),
        pipette.pipettes_view([("50 nm", bias, 5e-9 * bias)], np.array([2e8, 2.1e8]), T, 4e-9 + 0.0 * T),
        images.image_series_view([("1.7 V", image_of(image)), ("0.1 V", image_of(image))], "E6"),
        images.image_changes_view([("0.1 V: $x_", image_of(image))], "changes of $100"),
        images.step_view(image_of(image, 1e-6), np.linspace(0, 1e-6, 12), image.mean(axis=0), (0.0, 1e-8)),
        hops.line_view(line, "E10"),
        towers.tower_profiles_view({"A": (np.linspace(1e-4, 2.6e-3, 9), np.linspace(4e-9, 5e-9, 9))}),
    ]


@pytest.mark.parametrize("view", _every_view(), ids=lambda view: view.title)
def test_every_figure_is_drawn_and_saved_as_vectors_and_pixels(view: View, tmp_path: Path) -> None:
    vectors, pixels = save(draw(view), tmp_path / "figures" / view.name)
    text = vectors.read_text(encoding="utf-8")
    assert view.title in text  # text stays text
    with Picture.open(pixels) as picture:
        assert picture.width > 400
    for panel in view.panels:
        assert panel.x.label
        assert panel.y.label


def _movie(path: Path) -> list[np.ndarray]:
    with Picture.open(path) as movie:
        frames = []
        for k in range(getattr(movie, "n_frames")):  # noqa: B009  the stub knows it for some formats only
            movie.seek(k)
            frames.append(np.asarray(movie.convert("L"), dtype=float))
    return frames


def test_the_movie_of_a_line_moves(tmp_path: Path) -> None:
    t = np.linspace(0.0, 600.0, 12)
    change = 1e-7 * np.outer(t / 600.0, np.sin(np.arange(8.0)))
    frames = _movie(write_movie(line_frames(line_of(change, t), most=5), tmp_path / "m" / "movie.gif"))
    assert len(frames) == 5
    assert np.abs(frames[4] - frames[0]).max() > 50.0


def test_the_movie_of_images_shows_each_on_one_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(0.0, 1e-6, (16, 16))
    named = [(f"{e} V", image_of(first + k * 1e-6)) for k, e in enumerate((1.7, 0.5, 0.1))]
    t = np.linspace(0.0, 1200.0, 50)
    views = image_frames(named, np.array([0.0, 400.0, 800.0]), t, 1.7 - t / 800.0)
    panels = [view.panels[0] for view in views]
    assert len({panel.limits for panel in panels if isinstance(panel, ImagePanel)}) == 1
    clocks = [view.panels[1].series[1].x[0] for view in views if isinstance(view.panels[1], CurvePanel)]
    np.testing.assert_allclose(clocks, [0.0, 400.0 / 60.0, 800.0 / 60.0])
    frames = _movie(write_movie(views, tmp_path / "images.gif", per_second=2.0))
    assert len(frames) == 3
    assert np.abs(frames[2] - frames[1]).max() > 50.0


def test_a_movie_has_a_known_kind(tmp_path: Path) -> None:
    views = line_frames(line_of(np.zeros((8, 3)), np.arange(8.0)), most=2)
    with pytest.raises(BadInput, match=r"movies are \.gif or \.mp4; name it so, as movie\.gif"):
        write_movie(views, tmp_path / "movie.avi")
    with pytest.raises(BadInput, match="at least one frame"):
        write_movie([], tmp_path / "movie.gif")
    if not FFMpegWriter.isAvailable():
        with pytest.raises(
            BadInput, match=r"ffmpeg, which is not on the PATH.*pip install imageio-ffmpeg, or name a \.gif"
        ):
            write_movie(views, tmp_path / "movie.mp4")
