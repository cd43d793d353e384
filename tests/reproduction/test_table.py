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
from opsicm.reproduction.paper import IDS, KINDS, ROWS, Row
from opsicm.reproduction.table import ComparedRow, compare, side_by_side, summary, write_records
from opsicm.reproduction.variants import DEFAULT, SETS, TAKAHASHI

PACKAGE = Path(str(opsicm.__file__)).parent
TABLE = PACKAGE / "reproduction/paper.py"
BY_ID = {row.id: row for row in ROWS}
# Numbers of the package that happen to be a number of the paper, each looked at: (file, value) → what it is.
CHANCE = {
    ("physics/specimen/flakes.py", 1.15): "spread of the plates' sizes",
    ("twin/settings.py", 1300.0): "input: the default roughness of a twin of flakes, in nm",
    ("twin/settings.py", 0.0035): "lower bound of the size of a twin's flakes, in µm",
    ("reproduction/evaluation/images.py", 1.4e-06): "metres behind a step edge that are clear of its rim",
    ("reproduction/sensitivity.py", 1.3): "outer over inner radius of the thinnest wall",
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
        assert (row.paper is not None) == (row.expected == "value"), row.id
        assert row.kind in KINDS
        if row.variation is not None:
            assert row.tolerance <= max(row.precision, 0.25 * row.variation) or row.kind == "input", row.id
        assert (row.precision > 0.0) == (row.paper is not None), row.id
    assert [row.id for row in ROWS if row.kind == "calibrated"] == ["E5.step"]


def test_what_the_twin_cannot_help_has_no_verdict() -> None:
    by_kind = {kind: {row.id for row in ROWS if row.kind == kind} for kind in KINDS}
    assert by_kind["by construction"] >= {"E2.cell_current", "E9.mirror", "E10.repeats", "E12.size"}
    for row in ROWS:
        judged = row.judge(row.paper or 1.0, 0.0)
        assert (judged is None) == (row.kind == "by construction"), row.id
        assert (judged == "not modelled") == bool(row.not_modelled), row.id
    assert {row.id for row in ROWS if row.not_modelled} == {"E10.net", "E10.hollows"}


def test_the_summary_counts_kinds_apart_and_calls_no_input_an_agreement() -> None:
    here = {"E6.Rq_0.7": 1.27, "E5.step": 0.35, "E11.C": 0.41, "E9.knee": 0.5, "E9.mirror": 1.0}
    absent = {name: failed(name, "", "", "not run", "no file") for name in IDS}
    results = {name: Result(name, value, 0.001, BY_ID[name].unit, "m") for name, value in here.items()}
    chosen = [
        one.record() for one in compare(results, absent, {}, IDS) if one.row.id in here or one.row.id == "E9.total"
    ]
    ohmic = [one.record() for one in compare({"E5.rest": Result("E5.rest", 0.9, 0.1, "%", "m")}, absent, {}, ("E5",))]
    flat = "1 same trend (1 of these a plain resistor in place of the bath gives as well), 2 no number"
    assert summary(ohmic)[0] == f"predicted: 3 rows, {flat}"
    assert summary(chosen) == [
        "predicted: 3 rows, 1 agrees, 1 disagrees, 1 no number",
        "calibrated: 1 row, 1 agrees",
        "input: 1 row, 1 recovered",
        "by construction: 1 row, without a verdict",
    ]


def test_other_readings_of_a_row_stand_beside_it_with_their_own_verdicts() -> None:
    others = {
        "5 % of the change": Result("E9.onset", 0.6, 0.01, "V", "m"),
        "0.5 % of the change": failed("E9.onset", "V", "m", "not determined", "noise"),
    }
    record = ComparedRow(BY_ID["E9.onset"], Result("E9.onset", 0.84, 0.01, "V", "m"), {}, others).record()
    assert (record["verdict"], round(record["ratio"], 3)) == ("agrees", 1.05)
    assert "2 % of the whole change" in record["definition"]
    assert record["otherwise"]["5 % of the change"] == {"here": 0.6, "u": 0.01, "verdict": "same trend"}
    assert record["otherwise"]["0.5 % of the change"]["outcome"] == "not determined: noise"


def test_without_a_run_there_is_no_verdict_but_a_reason(tmp_path: Path) -> None:
    absent = {name: failed(name, "", "", "not run", "no file") for name in IDS}
    compared = compare({}, absent, {}, IDS)
    write_records([one.record() for one in compared], tmp_path / "t.json")
    records = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert {record["id"].partition(".")[0] for record in records} == set(IDS)
    for record in records:
        assert set(record) >= {"id", "quantity", "paper", "here", "u", "unit", "verdict", "kind", "method"}
        assert record["here"] is None
        assert record["verdict"] is None
        assert record["outcome"] == record["method"] == "not run: no file"
        assert isinstance(record["paper"], float) or record["paper"] == "not stated"


def test_sets_stand_side_by_side_each_with_the_kind_that_a_row_has_under_it() -> None:
    """The first set's number is the row's own; a row that chose something in a set predicts nothing about it."""
    absent = {name: failed(name, "", "", "not run", "no file") for name in IDS}
    columns = [
        compare({"E9.ratio": Result("E9.ratio", value, 0.01, "1", "m")}, absent, {}, ("E9", "E5"), None, chosen)
        for chosen, value in zip(SETS, (1.97, 2.39, 1.96), strict=True)
    ]
    record = {one.row.id: one.record() for one in side_by_side(columns)}["E9.ratio"]
    default, calibrated, proportional = (record["sets"][one.name] for one in SETS)
    assert (record["set"], record["here"], record["kind"]) == (DEFAULT.name, 1.97, "predicted")
    assert (default["here"], default["verdict"]) == (record["here"], record["verdict"])
    assert (calibrated["here"], calibrated["kind"], calibrated["verdict"]) == (2.39, "calibrated", "agrees")
    assert (proportional["kind"], proportional["verdict"]) == ("predicted", "same trend")


def test_what_a_set_was_calibrated_by_are_rows() -> None:
    """A row renamed would else become a prediction of the number that it chose."""
    for one in SETS:
        assert one.calibrated <= set(BY_ID), one.name
    assert {BY_ID[name].experiment for name in TAKAHASHI.calibrated} == {"E1", "E5", "E9", "E11"}
    assert DEFAULT.calibrated == {"E5.step"}


def test_a_row_that_chose_nothing_stays_a_prediction_and_a_repeat_stays_a_repeat() -> None:
    kinds = {name: TAKAHASHI.kind_of(BY_ID[name]) for name in BY_ID}
    assert kinds["E11.reversal_first"] == "predicted"  # the first zero is the cell current's own
    assert kinds["E11.reversal_last"] == kinds["E9.total"] == kinds["E9.total_compensated"] == "calibrated"
    assert kinds["E9.ratio_compensated"] == kinds["E9.ten_hops"] == "predicted"
    assert kinds["E9.stage_1_height"] == kinds["E9.stage_2_height"] == "by construction"
    # Also where a set names a repeat or an input by mistake.
    wrong = replace(TAKAHASHI, calibrated=frozenset({"E9.stage_1_height", "E6.Rq_0.7", "E9.total"}))
    assert [wrong.kind_of(BY_ID[name]) for name in sorted(wrong.calibrated)] == [
        "input",
        "by construction",
        "calibrated",
    ]


_JUDGED = [row for row in ROWS if row.expected != "nothing" and row.kind != "by construction" and not row.not_modelled]


@pytest.mark.parametrize("row", _JUDGED, ids=lambda row: row.id)
def test_no_verdict_is_written_down(row: Row) -> None:
    """For every row there are numbers that pass and numbers that fail."""
    verdicts = {
        ComparedRow(row, Result(row.id, here, 0.0, row.unit, "made up")).verdict
        for here in (-1e3, 1e3, 1.0, row.paper or 20.0)
    }
    assert "disagrees" in verdicts
    assert verdicts & {"agrees", "same trend"}


def test_a_number_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--json.*choose another path"):
        write_records([], tmp_path / "nowhere" / "t.json")


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
