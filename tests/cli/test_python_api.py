"""`import opsicm` as a user meets it: it shows itself, gives specimen coordinates, and its errors name what exists."""

from __future__ import annotations

import importlib
import inspect
import os
import pydoc
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import opsicm
from opsicm.cli.main import main
from opsicm.cli.python_run import StoredRun
from opsicm.cli.python_tables import ResultList
from opsicm.core.errors import BadInput
from opsicm.experiment.file import experiment_from_text
from tests.fixtures.laboratory import RIG, TEXT

FUNCTIONS = ["analyse", "check", "open", "plot", "report", "run"]
RASTER = (
    "center_um: [1, -2], size_um: [5, 3], pixels: [6, 4], amplitude_nm: 5000, fall_nm_per_ms: 50, setpoint_pct: 2.0"
)
# Two rasters on the same pixels with an excursion of the coarse stage between them, one turned, one on a line's pixels.
IMAGES = f"""\
opsicm: 1
title: images <of> a rest
rig: twin/graphite
pipette: {{bias_V: 0.7}}
cell:
  - sweep: {{from_V: 1.2, to_V: 1.1, rate_mV_s: 100, cycles: 1}}
  - rest: {{for_s: 60}}
probe:
  - park: {{height_um: 10, during: "cell[0]"}}
  - raster: {{{RASTER}, passes: 2}}
  - park: {{height_um: 40, for_s: 5}}
  - raster: {{{RASTER}, passes: 1}}
  - raster: {{{RASTER}, passes: 1, rotation_deg: 30}}
envelope: {{approach_um: 15}}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return opsicm.run(IMAGES, out=tmp_path_factory.mktemp("images"), seed=2)


@pytest.fixture(scope="module")
def hopped(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    folder = tmp_path_factory.mktemp("hopped")
    (folder / "rig.yaml").write_text(RIG, encoding="utf-8")
    file = folder / "quick.yaml"
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 40").replace("twin/graphite", "rig.yaml")
    file.write_text(text, encoding="utf-8")
    return opsicm.run(file, out=folder / "out", seed=3)


# -- It shows itself.


def test_the_module_shows_its_functions_and_version() -> None:
    assert [name for name in dir(opsicm) if not name.startswith("_")] == FUNCTIONS
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", opsicm.__version__)
    importlib.import_module("opsicm.reporting.reports")  # a package called as a function would hide it
    text = pydoc.plain(pydoc.render_doc(opsicm))
    for name in FUNCTIONS:
        assert f"    {name}(" in text
        function = getattr(opsicm, name)
        assert function.__name__ == name
        assert all(p.annotation is not p.empty for p in inspect.signature(function).parameters.values()), name
    with pytest.raises(AttributeError, match="no attribute 'analyze'; it has analyse, check, open"):
        opsicm.analyze  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    heavy = "('numpy', 'h5py', 'xarray', 'matplotlib', 'pydantic')"
    code = f"import sys, opsicm; dir(opsicm); print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_run_shows_itself_as_text_and_as_html(images: StoredRun) -> None:
    text = repr(images)
    for part in (
        "images <of> a rest",
        "completed",
        "probe[3] raster",
        "cell[1] rest",
        "digital twin",
        "images",
        "run.nxs",
    ):
        assert part in text, text
    html = images._repr_html_()
    assert "images &lt;of&gt; a rest" in html
    assert "<of>" not in html
    with opsicm.open(images.path.parent) as again:
        assert again.title == images.title
    assert "closed" in repr(again)
    assert "closed" in again._repr_html_()
    with pytest.raises(BadInput, match=r"was closed; open it again: opsicm\.open") as raised:
        again.hops  # noqa: B018
    with eval(raised.value.problems[0].remedy.removeprefix("open it again: ")) as anew:
        assert anew.hops.sizes == images.hops.sizes


def test_results_show_themselves_and_are_found(hopped: StoredRun) -> None:
    results = opsicm.analyse(hopped)
    assert re.search(r"^expansion_lithiation +-?\d+\.\d+ (± \d+\.\d+ )?\(± \d+\.\d+\) +%", repr(results), re.MULTILINE)
    assert "<td" in results._repr_html_()
    chosen = results.select("expansion", part="lithiation")
    assert [r.label for r in chosen] == ["expansion_lithiation"]
    assert results["expansion_lithiation"] == chosen[0]
    assert isinstance(results[:2], ResultList)
    assert results.records()[0]["name"] == results[0].label
    assert repr(ResultList()) == "no results"
    with pytest.raises(BadInput, match=r"the results are hops, .*expansion_lithiation.*write one of these, or"):
        results["expansion_lithium"]
    with pytest.raises(BadInput, match="part is 'charge'; no result has it; there are lithiation, delithiation"):
        results.select("expansion", part="charge")
    with pytest.raises(BadInput, match="the fields are source, curve, run, step"):
        results.select(stage="charge")


def test_a_check_shows_what_the_command_line_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "first.yaml"
    file.write_text(IMAGES, encoding="utf-8")
    checked = opsicm.check(file)
    assert checked.ok
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out.split() == repr(checked).split()
    assert len(checked.predictions) == len(checked.experiments) == 1
    assert checked._repr_html_().startswith("<pre>")
    wrong = opsicm.check(IMAGES.replace("setpoint_pct: 2.0", "setpoint_pct: 98").replace("for_s: 60", "for_s: -1"))
    assert not wrong.ok
    assert len(wrong.problems) >= 4
    assert "setpoint_pct" in repr(wrong)
    assert all(
        f"<td style='text-align:left;vertical-align:top'>{p.line}</td>" in wrong._repr_html_() for p in wrong.problems
    )


# -- What it gives.


def test_images_have_coordinates_of_the_specimen(images: StoredRun) -> None:
    series = images.images("probe[1]")
    assert series.sizes == {"image": 2, "y": 4, "x": 6}
    assert series["x"].values == pytest.approx(1e-6 + np.linspace(-2.5e-6, 2.5e-6, 6))
    assert series["y"].values == pytest.approx(-2e-6 + np.linspace(-1.5e-6, 1.5e-6, 4))
    hops = images.hops.isel(hop=np.flatnonzero(images.hops["step"].values == "probe[1]"))
    for k in range(hops.sizes["hop"]):
        hop = hops.isel(hop=k)
        number = 1 + k // 24
        at = series.sel(image=number).sel(x=float(hop["x"]), y=float(hop["y"]), method="nearest")
        assert float(at["height"]) == float(hop["height"])
        assert float(at["i_ref"]) == float(hop["i_ref"])
        assert int(at["t_ns"]) == int(hop["t_ns"])
    inside = series["t_ns"].values.reshape(2, -1) / 3.6e12
    assert np.all((inside.min(axis=1) < series["t"].values) & (series["t"].values < inside.max(axis=1)))
    near = images.cell["potential"].sel(t=series["t"].values, method="nearest").values
    assert series["potential"].values == pytest.approx(near, abs=2e-3)


def test_heights_of_several_steps_are_on_one_scale(images: StoredRun) -> None:
    """The coarse stage stood elsewhere for the second raster; the surface did not move at rest."""
    first, second = (images.hops.isel(hop=np.flatnonzero(images.hops["step"].values == f"probe[{k}]")) for k in (1, 3))
    moved = float(first["z_stop"].mean() - second["z_stop"].mean())
    assert abs(moved) > 0.1e-6
    heights = [images.images(f"probe[{k}]")["height"].isel(image=0).values for k in (1, 3)]
    assert heights[0] == pytest.approx(heights[1], abs=20e-9)


def test_rasters_on_other_pixels_are_named(images: StoredRun) -> None:
    with pytest.raises(BadInput, match=r"rasters is probe\[1\], probe\[3\], probe\[4\]; their pixels differ; name one"):
        images.images()
    turned = images.images("probe[4]")
    assert "rows are turned by 30°" in turned["x"].attrs["long_name"]
    assert turned["x"].values == pytest.approx(1e-6 + np.linspace(-2.5e-6, 2.5e-6, 6))


def test_tables_have_hours_beside_nanoseconds(images: StoredRun, hopped: StoredRun) -> None:
    for table in (images.hops, images.cell, images.slow, hopped.cell):
        assert table["t"].values * 3.6e12 == pytest.approx(table["t_ns"].values.astype(float), abs=1.0)
        assert table["t"].attrs["units"] == "h"
    trace = hopped.trace(3)
    row = hopped.hops.isel(hop=3)
    stop = int(np.flatnonzero(trace["t_ns"].values == int(row["t_ns"]))[0])
    assert float(trace["height"][stop]) == pytest.approx(float(row["height"]), abs=1e-9)
    coarse = float(np.median(hopped.slow["coarse_z"].values))
    assert (hopped.hops["height"] - hopped.hops["z_stop"]).values == pytest.approx(coarse)


def test_plots_are_matplotlib_figures(images: StoredRun, hopped: StoredRun, tmp_path: Path) -> None:
    figure = images.plot.images("probe[1]")
    assert isinstance(figure, Figure)
    assert len([axes for axes in figure.axes if axes.images]) == 2
    assert figure.axes[0].get_title(loc="left").startswith("1.1")
    assert images.plot.profiles("probe[4]", line=(0.0, -2e-6, 2e-6, -2e-6), levelling="none").axes
    with pytest.raises(BadInput, match="levelling is 'flat'; images are levelled by first-plane, none, plane"):
        images.plot.images("probe[1]", levelling="flat")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="the images have x from"):
        images.plot.profiles("probe[4]", line=(1.0, 1.0, 2.0, 2.0))
    for drawn in (hopped.plot.time(), hopped.plot.potential(), hopped.plot.voltammogram(), hopped.plot.hop(4)):
        assert isinstance(drawn, Figure)
        assert drawn._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    hopped.plot.time().savefig(tmp_path / "time.svg")
    assert (tmp_path / "time.svg").stat().st_size > 1000
    everything = opsicm.plot(hopped)
    assert list(everything) == hopped.plot.names
    assert everything._repr_html_().count("<img") == len(everything)
    assert "time" in repr(everything)


def test_a_wrong_name_raises_with_the_names_there_are(images: StoredRun, hopped: StoredRun) -> None:
    steps = r"the run's steps are .*cell\[0\] \(sweep\).*probe\[1\] \(raster\)"
    for wrong in (
        lambda: images.images("probe[7]"),
        lambda: images.plot.sections("raster"),
        lambda: images.must_have("x"),
    ):
        with pytest.raises(BadInput, match=steps):
            wrong()
    with pytest.raises(
        BadInput, match=r"images of step is probe\[0\]; rasters with an image are probe\[1\], probe\[3\]"
    ):
        images.images("probe[0]")
    with pytest.raises(BadInput, match="the run has no raster with an image"):
        hopped.plot.images()
    with pytest.raises(BadInput, match="has none; its figures are time, "):
        hopped.plot.tower()
    with pytest.raises(BadInput, match="'nonsense'; the figures are time"):
        hopped.plot()["nonsense"]
    with pytest.raises(BadInput, match=r"segment is 9; the segments are 1"):
        hopped.samples(9)
    with pytest.raises(BadInput, match=rf"hop is 99999; the run has {hopped.hops.sizes['hop']}; count from 0"):
        hopped.trace(99999)


def test_a_notebook_shows_the_problems_of_an_error_without_its_traceback() -> None:
    with pytest.raises(BadInput) as raised:
        opsicm.open("nowhere")
    raised.value.add_note("a note")
    assert raised.value._render_traceback_() == [f"BadInput: {raised.value}", "a note"]


def test_samples_that_were_not_kept_are_said(tmp_path: Path) -> None:
    text = IMAGES + "record: {pipette_current: decimated, z: decimated}\n"
    with opsicm.run(text, out=tmp_path, seed=2) as run:
        with pytest.raises(
            BadInput, match=r"recorded with pipette_current: decimated, z: decimated; record: \{pipette"
        ):
            run.trace(0)
        assert set(run.decimated(1)["channel"].values) == {"pipette_current", "z"}
        assert run.plot.images("probe[1]").axes


def test_what_each_record_policy_loses(hopped: StoredRun, tmp_path: Path) -> None:
    """What the page of the policies says: the section and the insides of hops, and nothing else."""
    page = (Path(__file__).parents[2] / "docs/reference/record-policies.md").read_text(encoding="utf-8")
    kept = {r.label: r.value for r in hopped.results}
    for policies in ("{pipette_current: full, z: decimated}", "{pipette_current: off, z: off}"):
        rig = str(hopped.path.parent / "rig.yaml")
        run = opsicm.run(hopped.experiment_text + f"record: {policies}\n", out=tmp_path, rig=rig, seed=3)
        again = {r.label: r.value for r in run.results}
        assert set(kept) - set(again) == {"near_surface_difference", "near_surface_geometry_alone"}
        assert "near_surface_difference" in page
        assert again == {label: kept[label] for label in again}
        assert set(hopped.plot.names) - set(run.plot.names) == {"section", "hop"}
        with pytest.raises(BadInput, match=f"recorded with {policies[1:-1]}"):
            run.trace(0)
    with pytest.raises(BadInput, match="every channel off"):
        run.decimated(1)


def test_a_third_party_file_is_analysed_drawn_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = Path(__file__).parents[1] / "data" / "Zelle1.sicm"
    monkeypatch.chdir(tmp_path)
    assert opsicm.analyse(scan).select("Rq")
    assert "image" in opsicm.plot(scan)
    assert opsicm.report(scan, output="here.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_several_runs_are_analysed_together(hopped: StoredRun, images: StoredRun) -> None:
    results = opsicm.analyse(hopped, images.path)
    runs = {r.of.run for r in results}
    assert runs >= {hopped.path.parent.name, images.path.parent.name}
    page = opsicm.report(
        hopped, images, output=hopped.path.parents[2] / "both.html", csv=hopped.path.parents[2] / "csv"
    )
    assert "images &lt;of&gt; a rest" in page.read_text(encoding="utf-8")
    assert list((hopped.path.parents[2] / "csv").glob("*.csv"))
    assert results.select("hops", run=hopped.path.parent.name)[0].value == hopped.hops.sizes["hop"]


def test_the_report_is_written_beside_the_run(hopped: StoredRun) -> None:
    assert opsicm.report(hopped) == hopped.path.parent / "report.html" == hopped.report()


# -- Running.


def test_what_check_refuses_is_not_run(tmp_path: Path) -> None:
    """The forecast's problems too, which a file alone does not have."""
    text = IMAGES.replace("envelope: {approach_um: 15}", "envelope: {approach_um: 15, cell_V: [1.15, 2.0]}")
    assert not opsicm.check(text).ok
    with pytest.raises(BadInput, match="cell_V"):
        opsicm.run(text, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_series_says_how_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("series.yaml")
    file.write_text(TEXT.replace("rate_mV_s: 8", "rate_mV_s: 400") + "vary: {pipette.radius_nm: [40, 60]}\n", "utf-8")
    with pytest.raises(BadInput, match="makes 2 runs of the file") as raised:
        opsicm.run(file)
    remedy = raised.value.problems[0].remedy.removeprefix("run each: ").replace("FILE", repr(str(file)))
    runs = eval(remedy)
    assert [run.parameters["pipette"]["radius_m"] for run in runs] == pytest.approx([40e-9, 60e-9])
    assert opsicm.analyse(*runs)


def test_an_experiment_is_given_as_model_text_or_loaded_file() -> None:
    loaded = experiment_from_text(IMAGES)
    answers = [opsicm.check(each).predictions[0].duration for each in (IMAGES, loaded, loaded.experiment)]
    assert answers[0] == answers[1] == answers[2]
    missing = opsicm.check("nowhere.yaml")
    assert "nowhere.yaml" in repr(missing)
    assert not missing.ok


def test_an_interrupt_ends_the_run_safely_and_says_where_it_is(tmp_path: Path) -> None:
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"the rig is safe; the run file is kept: opsicm\.open") as raised:
            opsicm.run(
                IMAGES.replace("for_s: 60", "for_s: 6000").replace("passes: 2", "passes: 300"), out=tmp_path, speed=1
            )
    finally:
        timer.cancel()
    with eval(str(raised.value).partition("kept: ")[2]) as run:
        assert run.outcome == "interrupted"


def test_an_experiment_runs_outside_the_main_thread(tmp_path: Path) -> None:
    outcomes: list[str] = []
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 400")
    thread = threading.Thread(target=lambda: outcomes.append(opsicm.run(text, out=tmp_path, seed=1).outcome))
    thread.start()
    thread.join()
    assert outcomes == ["completed"]


def test_labelled_arrays_survive_a_closed_file(images: StoredRun) -> None:
    with opsicm.open(images.path) as run:
        height: xr.DataArray = run.images("probe[1]")["height"]
    assert np.isfinite(height.values).all()
