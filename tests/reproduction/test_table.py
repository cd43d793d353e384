"""The comparison table: complete, honest about what there is no number for, and the only place with the numbers."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

import opsicm
from opsicm.analysis.result import Result, failed
from opsicm.core.errors import BadInput
from opsicm.core.units import factor
from opsicm.reproduction.evaluation.experiments import EVALUATIONS
from opsicm.reproduction.evaluation.row_value import over_runs, row_value
from opsicm.reproduction.paper import IDS, ROWS, Row
from opsicm.reproduction.table import ComparedRow, compare, write_json

PACKAGE = Path(str(opsicm.__file__)).parent
TABLE = PACKAGE / "reproduction/paper.py"
BY_ID = {row.id: row for row in ROWS}
# Numbers of the package that happen to be a number of the paper, each looked at: (file, value) → what it is.
CHANCE = {
    ("physics/specimen/flakes.py", 1.15): "spread of the plates' sizes",
    ("twin/settings.py", 1300.0): "input: the default roughness of a twin of flakes, in nm",
    ("twin/settings.py", 0.0035): "lower bound of the size of a twin's flakes, in µm",
    ("reproduction/evaluation/images.py", 1.4e-06): "metres behind a step edge that are clear of its rim",
    ("figures/hops.py", 1.15): "head room of a frame",
    ("figures/draw.py", 0.35): "inches above a strip of images",
    ("analysis/cell/unrecorded.py", 1.3): "quartiles of intervals that are alike",
    ("analysis/topography/steps.py", 0.35): "share of an image that dust may cover",
}


def test_all_twelve_experiments_have_rows_and_an_evaluation() -> None:
    assert {row.experiment for row in ROWS} == set(IDS) == set(EVALUATIONS)
    assert len(BY_ID) == len(ROWS)


def test_every_row_is_whole() -> None:
    for row in ROWS:
        factor(row.unit.replace("/min", "").replace("/h", "").replace("nS/nm", "1"))
        assert row.quantity
        assert row.statement
        assert (row.paper is not None) == (row.expected in ("value", "at most")), row.id
        assert (row.precision > 0.0) == (row.paper is not None), row.id
    assert [row.id for row in ROWS if row.kind == "calibrated"] == ["E5.step", "E5.step_proportional"]


def test_without_a_run_there_is_no_verdict_but_a_reason(tmp_path: Path) -> None:
    absent = {name: failed(name, "", "", "not run", "no file") for name in IDS}
    compared = compare({}, absent, {}, IDS)
    write_json(compared, tmp_path / "t.json")
    records = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert {record["id"].partition(".")[0] for record in records} == set(IDS)
    for record in records:
        assert set(record) >= {"id", "quantity", "paper", "here", "u", "unit", "verdict", "kind", "method"}
        assert record["here"] is None
        assert record["verdict"] is None
        assert record["outcome"] == record["method"] == "not run: no file"
        assert isinstance(record["paper"], float) or record["paper"] == "not stated"


@pytest.mark.parametrize("row", [row for row in ROWS if row.expected != "nothing"], ids=lambda row: row.id)
def test_no_verdict_is_written_down(row: Row) -> None:
    """For every row there are numbers that pass and numbers that fail."""
    verdicts = {
        ComparedRow(row, Result(row.id, here, 0.0, row.unit, "made up")).verdict
        for here in (-1e3, 1e3, 1.0, row.paper or 0.0)
    }
    assert "disagrees" in verdicts
    assert verdicts & {"agrees", "same trend"}


def test_a_number_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--json.*choose another path"):
        write_json([], tmp_path / "nowhere" / "t.json")


def test_values_are_in_the_unit_of_their_row() -> None:
    assert row_value("E5.step", 345e-12, 1e-12, "A", "m").value == pytest.approx(0.345)
    assert row_value("E5.step", 345.0, 1.0, "pA", "m").u == pytest.approx(0.001)
    assert row_value("E9.mirror", float("nan"), None, "1", "m").outcome == "no number"


def test_u_of_a_ratio_of_runs_is_of_both() -> None:
    values = [Result("a", 2.0, 0.02, "nA", "m"), Result("b", 1.0, 0.02, "nA", "m")]
    found = over_runs("E9.mirror", values, lambda v: float(v[1] / v[0]), "ratio")
    assert found.value == pytest.approx(0.5)
    assert found.u == pytest.approx(0.5 * (0.01**2 + 0.02**2) ** 0.5, rel=0.02)
    worse = replace(values[0], value=None, outcome="no rest", reason="begin with a rest")
    assert over_runs("E9.mirror", [worse, values[1]], lambda v: float(v[0]), "ratio").outcome == "no rest"


def test_the_papers_results_stand_in_the_table_alone() -> None:
    """Three-digit results, in the row's unit, SI or a neighbouring prefix, as literals of the package's sources."""
    results = {row.paper for row in ROWS if row.paper is not None and row.precision == pytest.approx(0.005)}
    results -= {0.5}  # one half is a number of every second file, and 0.50 µm is 1.78 % of the thickness
    wanted = {float(f"{value * scale:.6g}") for value in results for scale in (1.0, 1e-2, 1e3, 1e-3, 1e-6, 1e-9)}
    assert 5.89 in wanted
    assert 350.0 in wanted
    assert 3.5e-10 in wanted
    found = {
        (path.relative_to(PACKAGE).as_posix(), node.value)
        for path in PACKAGE.rglob("*.py")
        if path != TABLE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and float(f"{node.value:.6g}") in wanted
    }
    assert found == set(CHANCE)
