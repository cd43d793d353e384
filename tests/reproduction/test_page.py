"""The documentation's page: made from the records alone, misses explained, drift told."""

from __future__ import annotations

import copy

from opsicm.analysis.result import Result, failed
from opsicm.reproduction.paper import IDS, ROWS
from opsicm.reproduction.sensitivity import Effect, RowSensitivity
from opsicm.reproduction.table import ComparedRow, compare, side_by_side
from opsicm.reproduction.variants import SETS, TAKAHASHI
from scripts.reproduction_page import FIGURES, QUOTES, REASONS, TITLES, drift, page

ABSENT = {name: failed(name, "", "", "not run", "no file") for name in IDS}


def _records(**here: float) -> list[dict[str, object]]:
    units = {row.id: row.unit for row in ROWS}
    found = {
        name: Result(name, value, 0.001, units[name], "read from a run")
        for name, value in ((key.replace("__", "."), value) for key, value in here.items())
    }
    return [one.record() for one in compare(found, ABSENT, {}, IDS)]


def test_the_page_shows_what_the_table_says() -> None:
    text = page(_records(E5__step=0.344, E9__total=8.0), {"figure_3e": "images/figure_3e.png"})
    assert "| E5.step | step of the pipette current" in text
    assert "0.3440 ± 0.0010 | nA | 0.98 | calibrated | agrees |" in text
    assert "![E5, figure_3e](images/figure_3e.png)" in text
    assert f"- **E9.total**. {REASONS['E9.total']} Method: read from a run." in text
    assert "**E6.expansion** has no number. Not run: no file." in text
    predicted = sum(row.kind == "predicted" for row in ROWS)
    assert f"- predicted: {predicted} rows, 1 same trend, {predicted - 1} no number" in text
    assert "- calibrated: 1 row, 1 agrees" in text
    for experiment in IDS:
        assert f"## {experiment}: {TITLES[experiment]}" in text
        assert QUOTES.get(experiment, "") in text
    assert "'the rate of volume change itself is not important" in text.replace("Therefore, the rate", "'the rate")
    assert set(FIGURES) == set(IDS)


def test_a_term_switched_off_is_judged_by_the_same_rule() -> None:
    row = next(row for row in ROWS if row.id == "E2.swing_10")
    whole, without = (Result(row.id, value, 0.01, "nA", "m") for value in (2.0, -0.05))
    record = ComparedRow(row, whole, {"ohmic off": without}).record()
    assert record["without"] == {"ohmic off": {"here": -0.05, "u": 0.01, "verdict": "disagrees"}}
    text = page([record], {})
    assert "| row | all terms | ohmic off | unit |" in text
    assert "| E2.swing_10 | 2.000 ± 0.010, same trend | -0.050 ± 0.010, disagrees | nA |" in text


def test_the_page_says_what_is_not_modelled_what_has_no_verdict_and_what_another_reading_gives() -> None:
    by_id = {row.id: row for row in ROWS}
    given = {"E10.net": -3.0, "E9.mirror": 1.0, "E9.onset": 0.9}
    others = {"E9.onset": {"5 % of the change": Result("E9.onset", 0.6, 0.01, "V", "m")}}
    results = {name: Result(name, value, 0.01, by_id[name].unit, "m") for name, value in given.items()}
    text = page([one.record() for one in compare(results, ABSENT, {}, IDS, others)], {})
    assert f"- **E10.net** is not modelled: {by_id['E10.net'].not_modelled}." in text
    assert "| E9.mirror | height lost" in text
    assert "1.000 ± 0.010 | 1 |  | by construction | no verdict |" in text
    declared = by_id["E9.onset"].definition
    onset = f"| E9.onset | {declared} | 0.900 ± 0.010, agrees | 5 % of the change: 0.600 ± 0.010, same trend | V |"
    assert onset in text


def test_the_page_shows_what_a_prediction_owes_to_an_assumption() -> None:
    row = next(row for row in ROWS if row.id == "E5.rest")
    effect = Effect("conductivity_curve", ("as it is", "proportional"), (0.9, 20.0))
    turning = RowSensitivity(row, 0.9, None, (effect,)).record()
    steady = RowSensitivity(row, 0.9, None, (Effect("tdf", ("1", "1.6"), (0.8, 1.0)),)).record()
    pictures = {"sensitivity_E5": "images/sensitivity_E5.png"}
    text = page(_records(E5__rest=0.9), pictures, "long", [turning])
    assert "Each of 1 assumed numbers alone" in text
    assert "- **E5.rest** same trend turns disagrees at `conductivity_curve` proportional." in text
    assert "![E5, what its predictions follow](images/sensitivity_E5.png)" in text
    assert "no verdict turns." in page(_records(E5__rest=0.9), {}, "long", [steady])


def test_sets_beside_the_first_have_their_columns_and_their_counts() -> None:
    results = {"E1.linearity": Result("E1.linearity", 0.99, None, "1", "m")}
    columns = [compare(results, ABSENT, {}, ("E1",), None, chosen) for chosen in SETS]
    records = [one.record() for one in side_by_side(columns)]
    text = page(records, {})
    assert "| ratio | kind | verdict | calibrated | κ ∝ c |" in text
    assert text.count("same trend (calibrated)") == 2
    assert "- calibrated (`graphite-li-ec-dec-takahashi`)\n  - calibrated: 4 rows, 1 same trend, 3 no number" in text
    gone = copy.deepcopy(records)
    gone[0]["sets"][TAKAHASHI.name]["verdict"] = "disagrees"
    assert drift(gone, records) == [f"E1.linearity under {TAKAHASHI.name}: verdict was 'same trend' and is 'disagrees'"]


def test_reasons_are_of_rows() -> None:
    assert set(REASONS) <= {row.id for row in ROWS}


def test_last_digits_are_no_drift_and_a_verdict_is() -> None:
    kept = _records(E5__step=0.344)
    assert drift(_records(E5__step=0.3441), kept) == []
    assert drift(_records(E5__step=0.25), kept) == ["E5.step: verdict was 'agrees' and is 'same trend'"]
    assert drift(_records(), kept) == ["E5.step: verdict was 'agrees' and is None"]
    fewer = copy.deepcopy(kept)
    gone = fewer.pop(0)
    assert drift(fewer, kept) == [f"{gone['id']}: gone"]
    assert drift(kept, fewer) == [f"{gone['id']}: new"]


def test_verdicts_of_the_page_are_the_rules() -> None:
    for record in _records(E2__swing_10=-1.0, E2__swing_100=1.0):
        row = next(row for row in ROWS if row.id == record["id"])
        if record["here"] is not None:
            found = Result(row.id, float(str(record["here"])), 0.001, row.unit, "m")
            assert record["verdict"] == ComparedRow(row, found).verdict
