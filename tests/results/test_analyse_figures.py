"""`analyse --out`: every kind of trace becomes a picture; the Views say what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.record_results import record_results
from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.modulation import ConductanceSeries, modulation_results
from opsicm.analysis.pipette.towers import tower_results
from opsicm.cli.main import main
from opsicm.figures.view import CurvePanel, ImagePanel
from opsicm.results.trace_figures import save_views, views_of_traces

F64 = NDArray[np.float64]
PNG = b"\x89PNG\r\n\x1a\n"


def pulses() -> tuple[F64, F64, F64]:
    t = np.arange(0.0, 900.0, 1.0)
    current = np.where((t % 300.0 > 100.0) & (t % 300.0 < 200.0), -1e-3, 0.0)
    return t, 0.5 + np.cumsum(current), current


def test_a_table_of_a_cycler_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    t, e, i = pulses()
    path = tmp_path / "pulses.csv"
    np.savetxt(path, np.column_stack((t, i, e)), delimiter=",")
    folder = tmp_path / "figures"
    assert main(["analyse", str(path), "--columns", "t=s,I=A,E=V", "--out", str(folder)]) == 0
    said = capsys.readouterr()
    names = sorted(one.name for one in folder.iterdir())
    assert names == sorted(f"pulses-csv_{what}.{kind}" for what in ("capacity", "titration") for kind in ("png", "svg"))
    assert all((folder / name).read_bytes().startswith(PNG) for name in names if name.endswith("png"))
    assert str(folder / "pulses-csv_capacity.png") in said.err
    assert "figures" not in said.out


def test_views_hold_what_was_measured() -> None:
    t = np.arange(0.0, 400.0, 0.5)
    e = 1.0 - np.abs(t - 200.0) / 200.0
    i = np.where(t < 200.0, 1e-6, -1e-6) * (1.0 + np.exp(-(((e - 0.5) / 0.05) ** 2)))
    (view,) = views_of_traces(record_results(t, e, i, lithium=False))
    (panel,) = view.panels
    assert isinstance(panel, CurvePanel)
    assert (panel.x.label, panel.y.label) == ("potential (V)", "current (µA)")
    marks = panel.series[-1]
    assert marks.style == "marks"
    assert sorted(marks.x) == pytest.approx([0.5, 0.5], abs=0.01)
    assert sorted(marks.y) == pytest.approx([-2.0, 2.0], rel=0.02)
    t, e, i = pulses()
    capacity, titration = views_of_traces(record_results(t, e, i))
    assert isinstance(capacity.panels[0], CurvePanel)
    assert capacity.panels[0].series[0].x[-1] == pytest.approx(1e6 * 1e-3 * 98.0 / 3600.0, rel=0.02)
    assert capacity.panels[0].x.unit == "µAh"
    assert isinstance(titration.panels[1], CurvePanel)
    assert titration.panels[1].series[0].x.size == 3


def test_towers_sweeps_and_levels_are_drawn(tmp_path: Path) -> None:
    t = np.arange(0.0, 40.0, 0.05)
    height = 1e-3 * np.abs((t % 20.0) - 10.0) / 10.0
    tower = tower_results(t, height, 5e-9 + 1e-9 * np.exp(-height / 2e-4), -1e-3 * np.ones(t.size), 0.2 + 0.0 * t)
    bias = np.concatenate([np.linspace(-0.5, 0.5, 200), np.linspace(0.5, -0.5, 200)])
    rng = np.random.default_rng(0)
    sweep = iv_results(bias, bias / 200e6 + 1e-13 * rng.standard_normal(400))
    n = np.arange(20.0)
    levels = modulation_results(
        ConductanceSeries(5e-9 + 0 * n, 1e-12 + 0 * n, 0.01 + 0 * n, 1e-4 + 0 * n, n), [0.6, 0.7]
    )
    views = views_of_traces([*tower, *sweep, *levels])
    assert [view.name for view in views] == ["tower", "approach_at_moments", "current_voltage", "modulation"]
    image = views[0].panels[3]
    assert isinstance(image, ImagePanel)
    assert image.values.shape == (50, 4)
    assert float(image.values[0, 0]) == pytest.approx(6.0, abs=0.1)
    line = views[2].panels[0]
    assert isinstance(line, CurvePanel)
    assert line.series[1].label == "200 MΩ"
    paths = save_views([views[2], views[2]], tmp_path, "run.1")
    assert [path.name for path in paths] == [
        "run-1_current_voltage.svg",
        "run-1_current_voltage.png",
        "run-1_current_voltage_2.svg",
        "run-1_current_voltage_2.png",
    ]


def test_a_tower_that_outruns_its_rows_has_no_stripes() -> None:
    """Rows 100 µm apart, bins of 50 µm; the stage stands still for a minute in the middle of the run."""
    trip = 100e-6 + np.concatenate((np.arange(0.0, 2.5e-3, 100e-6), np.arange(2.5e-3, 0.0, -100e-6)))
    height = np.concatenate((np.tile(trip, 6), np.full(300, trip[0]), np.tile(trip, 6), trip[:1])).astype(np.float64)
    t = 0.2 * np.arange(float(height.size))
    (tower, *_) = tower_results(t, height, 4e-9 + 1e-6 * height, 0.0 * t, 1.0 - t / 500.0)
    assert isinstance(tower.trace, xr.DataArray)
    within = tower.trace.isel(height=slice(1, -1))
    assert np.isfinite(within.values).all()
    np.testing.assert_allclose(within.values, 4e-9 + 1e-6 * within["height"].values * np.ones((24, 1)), rtol=1e-9)
    (view,) = [one for one in views_of_traces([tower]) if one.name == "tower"]
    traces, image = view.panels[2:]
    assert isinstance(image, ImagePanel)
    blank = np.isnan(image.values).all(axis=0)
    assert blank.any()  # the minute without a traverse
    assert not np.isnan(image.values[1:-1, ~blank]).any()
    assert isinstance(traces, CurvePanel)
    assert [one.role for one in traces.series] == ["near", "between", "far"]
    assert [one.label for one in traces.series] == ["0.12 mm", "1.4 mm", "2.6 mm"]


def test_records_of_one_file_have_figures_of_their_own() -> None:
    t, e, i = pulses()
    results = [r.within(source=name) for name in ("A", "B") for r in record_results(t, e, i)]
    views = views_of_traces(results)
    titles = [view.title for view in views]
    assert titles == ["Capacity, A", "Titration (GITT), A", "Capacity, B", "Titration (GITT), B"]


def test_steps_of_one_kind_have_figures_of_their_own() -> None:
    bias = np.linspace(-0.5, 0.5, 200)
    rng = np.random.default_rng(0)
    results = [
        r.within(step=step, occurrence=k)
        for k, step in enumerate(("probe[1]", "probe[3]"), start=1)
        for r in iv_results(bias, bias / 200e6 + 1e-13 * rng.standard_normal(200))
    ]
    titles = [view.title for view in views_of_traces(results)]
    assert titles == ["Current-voltage curve, probe[1]#1", "Current-voltage curve, probe[3]#2"]
