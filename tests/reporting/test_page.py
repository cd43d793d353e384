"""The page: the answer first, nothing fetched, every figure's data in it; several runs, resumed ones, every policy."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.cli.resume import resumed_run
from opsicm.core.errors import BadInput
from opsicm.figures.view import Axis, CurvePanel, Series, View, to_csv
from opsicm.record.reader import Run
from opsicm.reporting.document import Content, page
from opsicm.reporting.reports import report_html, report_of, run_content
from opsicm.results.joined_run import JoinedRun, chains
from opsicm.results.tables import Column, Table
from tests.fixtures.laboratory import Laboratory

DATA = Path(__file__).parents[1] / "data"
QUICK = """\
opsicm: 1
title: quick
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.05}
cell:
  - sweep: {from_V: 0.4, to_V: 0.2, rate_mV_s: 40, cycles: 1}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 60, setpoint_pct: 2.0}
envelope: {cell_V: [-0.6, 2.0], approach_um: 15}
"""
RASTER = QUICK.replace(
    "hop: {at_um: [0, 0], amplitude_nm: 1000,",
    "raster: {center_um: [0, 0], size_um: [5, 5], pixels: [16, 16], passes: 2, amplitude_nm: 5000,",
).replace("sweep: {from_V: 0.4, to_V: 0.2, rate_mV_s: 40, cycles: 1}", "rest: {for_s: 80}")


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the headings in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in in ("h1", "h2"):
            self.headings.append(data)
        self._in = ""


@pytest.fixture(scope="module")
def short_page(short_run: Run) -> str:
    return report_html(short_run)


def test_the_answer_stands_before_figures_tables_and_details(short_page: str) -> None:
    assert Tags(short_page).headings == ["short operando run", "Figures", "Tables", "Details"]
    answer = short_page.index("class='answer'")
    assert answer < short_page.index("During lithiation the surface rose by") < short_page.index("<h2>Figures")
    # The figure that shows it stands beside it, and not again below.
    figures = re.findall(r"<figure><img alt='([^']+)'", short_page)
    assert figures[0] == "The run against potential"
    assert figures.count(figures[0]) == 1


def test_nothing_is_fetched(short_page: str) -> None:
    for tag, attributes in Tags(short_page).tags:
        for name in ("src", "href", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes.get(name))
    assert "@import" not in short_page
    assert not re.search(r"url\(\s*['\"]?http", short_page)


def test_the_data_of_every_figure_can_be_saved_from_the_page(short_run: Run, short_page: str, tmp_path: Path) -> None:
    content = run_content(short_run)
    inside = {
        attributes["data-name"]: gzip.decompress(base64.b64decode(attributes["data-gz"] or "")).decode()
        for tag, attributes in Tags(short_page).tags
        if tag == "button"
    }
    for view in [content.key, *content.views]:
        assert view is not None
        assert inside[f"{view.name}.csv"] == to_csv(view)
    assert main(["report", str(short_run.path), "-o", str(tmp_path / "r.html"), "--csv", str(tmp_path / "data")]) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "data").iterdir()}
    assert written["potential.csv"] == inside["potential.csv"]
    assert written["table_branches.csv"] == inside["branches.csv"]


def test_assumed_parameters_stand_with_their_values(short_run: Run, short_page: str) -> None:
    leaves = short_run.parameters["set"]["leaves"]
    assumed = {
        n: leaf for n, leaf in leaves.items() if leaf["status"] == "assumed" and leaf["source"] != "experiment file"
    }
    assert assumed
    assert f"Assumed parameters ({len(assumed)})" in short_page
    for name, leaf in assumed.items():
        value = f"{leaf['value']:g}" if isinstance(leaf["value"], float | int) else str(leaf["value"])
        assert f"<th>{name.replace('_', ' ')}</th><td>{value}" in short_page


def test_methods_are_written_once_and_folded(short_page: str) -> None:
    method = "standard deviation of one height, from second differences of successive hops"
    assert short_page.count(method) == 1
    assert short_page.index("<details>") < short_page.index(method)


def test_long_tables_and_many_figures_are_folded() -> None:
    rows = Table("long", "Long", (Column("k", "", tuple(str(k) for k in range(300))),))
    axis = Axis("k", "")
    curve = Series("k", np.arange(3.0), np.arange(3.0))
    view = View("small", "Small", (CurvePanel(axis, axis, (curve,)),))
    text = page(Content("many", "", ["one"], None, [view] * 11, [rows]))
    shown = re.sub(r"<details>.*?</details>", "", text)
    assert shown.count("<figure>") == 8
    assert shown.count("<tr><td>") == 20
    assert "3 more figures" in text
    assert "280 more rows" in text


def test_users_text_is_never_markup() -> None:
    hostile = "<img src=x onerror=alert(1)>'\""
    table = Table(hostile, hostile, (Column(hostile, hostile, (hostile, hostile)),), (hostile,))
    text = page(
        Content(
            hostile,
            hostile,
            [hostile],
            None,
            [],
            [table],
            [(hostile, hostile)],
            [hostile],
            [hostile],
            [],
            [(hostile, hostile)],
            [(hostile, [(hostile, hostile)])],
            [(hostile, hostile)],
        )
    )
    images = [attributes for tag, attributes in Tags(text).tags if tag == "img"]
    assert len(images) == 1, "the one of the zoom"
    assert all("onerror" not in attributes for _, attributes in Tags(text).tags)


@pytest.mark.parametrize("current", ["full", "decimated", "off"])
@pytest.mark.parametrize("program", [QUICK, RASTER], ids=["point", "raster"])
def test_every_record_policy_can_be_reported(laboratory: Laboratory, program: str, current: str) -> None:
    other = "full" if current == "decimated" else "decimated"
    run = laboratory.run(f"{program}record: {{pipette_current: {current}, z: {other}}}\n")
    run.close()
    text = report_of([run.path.parent], None).read_text(encoding="utf-8")
    assert "<figure>" in text
    assert "<div class='answer" in text


def test_runs_of_a_series_are_reported_together(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for setpoint in (1, 2, 4):
        run = laboratory.run(QUICK.replace("setpoint_pct: 2.0", f"setpoint_pct: {setpoint}"))
        run.close()
        folders.append(str(run.path.parent))
    assert main(["report", str(Path(folders[0]).parent)]) == 0, "the folder that holds them"
    target = Path(capsys.readouterr().out.strip())
    assert target == Path(folders[0]).parent / "report.html"
    text = target.read_text(encoding="utf-8")
    assert "3 runs, which differ in hop setpoint (%)" in text
    assert Tags(text).headings[-2:] == ["Tables", "Details"]
    rows = re.findall(r"<tr><td>([\d.]+)</td>", text)
    assert [float(row) for row in rows[:3]] == [1.0, 2.0, 4.0]
    # A smaller setpoint stops farther away, so the same noise of the current is more of the height.
    sentence = next(s for s in re.findall(r"<li>(.*?)</li>", text) if s.startswith("Scatter of a height"))
    assert "falls from" in sentence


def test_the_halves_of_a_resumed_run_are_one(laboratory: Laboratory, short_run: Run) -> None:
    turns = iter(range(10**9))
    first = execute(laboratory.experiment(), laboratory.folder / "out", seed=1, stop=lambda: next(turns) > 200).path
    resumed = resumed_run(first.parent, "open", None)
    second = execute(resumed.experiment, laboratory.folder / "out", resumed.rig, resumed.seed, resumed=resumed).path
    assert chains([second, first]) == [[first, second]]
    with JoinedRun([first, second]) as joined, Run(first) as begun, Run(second) as rest:
        assert joined.hops.sizes["hop"] == begun.hops.sizes["hop"] + rest.hops.sizes["hop"]
        assert np.all(np.diff(joined.hops["t_ns"].values) > 0)
        assert np.all(np.diff(joined.cell["t_ns"].values) >= 0)
        assert joined.cell["t_ns"].values[-1] == pytest.approx(short_run.cell["t_ns"].values[-1], rel=1e-3)
        # A hop of either half finds its own samples, at the time of the whole.
        for hop in (10, begun.hops.sizes["hop"] + 10):
            trace = joined.trace(hop)
            assert trace["t_ns"].values[0] <= joined.hops["t_ns"].values[hop] <= trace["t_ns"].values[-1]
        own = rest.trace(10)
        both = joined.trace(begun.hops.sizes["hop"] + 10)
        assert np.array_equal(own["pipette_current"].values, both["pipette_current"].values)
        content = run_content(joined)
        branch = {r.label: r.value for r in content.results}
    whole = {r.label: r.value for r in run_content(short_run).results}
    # Heights go on where they stopped: the same swelling as in one go, but for what the pause has lost.
    assert branch["height_change_lithiation"] == pytest.approx(whole["height_change_lithiation"], rel=0.02)
    assert any("2 parts of an interrupted run, joined" in warning for warning in content.warnings)
    with Run(second) as rest:
        alone = run_content(rest).warnings
    assert any(f"continues {first.parent.name}: name both folders" in warning for warning in alone)


@pytest.mark.parametrize("name", ["AC1.sicm", "Zelle1.sicm"])
def test_a_third_party_file_has_no_heading_without_content(name: str, tmp_path: Path) -> None:
    text = report_of([DATA / name], tmp_path / "r.html").read_text(encoding="utf-8")
    for heading, content in (("Figures", "<figure>"), ("Tables", "<table>")):
        after = text.partition(f"<h2>{heading}</h2>")[2]
        assert not after or content in after.partition("<h2>")[0]


def test_runs_and_other_files_are_not_mixed(short_run: Run) -> None:
    with pytest.raises(BadInput) as refusal:
        report_of([short_run.path, DATA / "AC1.sicm"], None)
    (problem,) = refusal.value.problems
    assert str(problem) == "RUN is AC1.sicm; is no run, and only runs are reported together; report it alone"


def test_a_link_in_a_run_folder_is_not_followed(laboratory: Laboratory) -> None:
    run = laboratory.run(QUICK.replace("rate_mV_s: 40", "rate_mV_s: 400"))
    run.close()
    precious, link = laboratory.folder / "precious.txt", run.path.parent / "report.html"
    precious.write_text("mine", encoding="utf-8")
    link.symlink_to(precious)
    with pytest.raises(BadInput) as refusal:
        report_of([run.path.parent], None)
    (problem,) = refusal.value.problems
    assert "is a symbolic link" in problem.limit
    assert problem.remedy == "remove the link, or choose another path with -o"
    assert precious.read_text(encoding="utf-8") == "mine"
    # The remedy, followed.
    link.unlink()
    assert report_of([run.path.parent], None).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_run_without_parameters_is_reported(short_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "parameters", property(lambda _: {}))
    text = report_html(short_run)
    assert "interrupted before it" in text
