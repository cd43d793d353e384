"""The report is made of the run file and of nothing else: what changes in the world changes in it."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import pytest

from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.reporting.document import results_table
from opsicm.reporting.reports import report_html, run_content
from opsicm.results.number_text import result_text
from opsicm.results.run_results import results_of, views_of
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

HALF = """\
opsicm_parameters: 1
title: half the swelling
parents: [graphite-li-ec-dec]
swelling_factor: {value: 0.338, unit: "1", u: 0.03, status: assumed, source: half of the default}
"""


def named(run: Run) -> dict[str, Result]:
    return {result.label: result for result in results_of(run)}


def table_of(run: Run) -> str:
    """The report's table of every result, without drawing the page."""
    return results_table(run_content(run).results)


def cell_of(page: str, quantity: str) -> str:
    """What the report's table of every result prints for a quantity."""
    found = re.search(rf"<td>{quantity}</td><td class='n'>(.*?)</td>", page)
    assert found is not None, quantity
    return found[1]


def test_half_the_swelling_halves_the_reported_heights(laboratory: Laboratory, short_run: Run) -> None:
    (laboratory.folder / "half.yaml").write_text(HALF, encoding="utf-8")
    run = laboratory.run(TEXT.replace("{area_cm2", "{parameters: half.yaml, area_cm2"))
    page, other = table_of(run), table_of(short_run)
    for name in ("expansion_lithiation", "expansion_delithiation"):
        whole, half = named(short_run)[name], named(run)[name]
        assert whole.value is not None
        assert half.value == pytest.approx(whole.value / 2, rel=5e-3)
        shown = name.replace("_", " ")
        assert cell_of(page, shown) == result_text(half)
        assert cell_of(page, shown) != cell_of(other, shown)
    # The first sentence follows too.
    answers = [run_content(one).answer[0] for one in (run, short_run)]
    sentences = [re.search(r"During lithiation the surface rose by (\d+)", text) for text in answers]
    assert sentences[0] is not None
    assert sentences[1] is not None
    assert float(sentences[0][1]) == pytest.approx(0.5 * float(sentences[1][1]), rel=0.01)


def test_another_bias_changes_the_currents_and_not_the_heights(laboratory: Laboratory, short_run: Run) -> None:
    run = laboratory.run(TEXT.replace("bias_V: 0.7", "bias_V: 0.35"))
    far, half = (r.hops["i_ref"].values[:20].mean() for r in (short_run, run))
    assert half == pytest.approx(far / 2, rel=1e-2)
    ours, theirs = named(run)["expansion_lithiation"], named(short_run)["expansion_lithiation"]
    assert ours.value == pytest.approx(theirs.value, rel=5e-3)
    # The ohmic step does not know the bias.
    ours, theirs = (
        named(run)["pipette_change_at_peak_lithiation"],
        named(short_run)["pipette_change_at_peak_lithiation"],
    )
    assert ours.value == pytest.approx(theirs.value, rel=0.05)
    assert "bias 0.35 V" in dict(run_content(run).setup)["pipette"]


def test_another_seed_changes_the_noise_in_the_report(laboratory: Laboratory, short_run: Run) -> None:
    run = laboratory.run(seed=2)
    page, other = table_of(run), table_of(short_run)
    assert named(run)["height_scatter"].value != named(short_run)["height_scatter"].value
    shown = [cell_of(page, name) for name in ("height change lithiation", "height cross talk", "ten hop bulk change")]
    assert shown != [
        cell_of(other, n) for n in ("height change lithiation", "height cross talk", "ten hop bulk change")
    ]
    assert ("seed", "2") in dict(run_content(run).folded)["Provenance"]
    ours, theirs = named(run)["expansion_lithiation"], named(short_run)["expansion_lithiation"]
    assert ours.u is not None
    assert ours.value == pytest.approx(theirs.value, abs=5 * ours.u)


def test_the_numbers_come_from_the_file_alone(short_run: Run, tmp_path: Path) -> None:
    # Every height in the file lowered to half: nothing else could tell the report.
    copy = tmp_path / "run.nxs"
    copy.write_bytes(short_run.path.read_bytes())
    with h5py.File(copy, "a") as file:
        file["entry/hops/z_stop"][:] *= 0.5
    with Run(copy) as run:
        whole, half = named(short_run)["expansion_lithiation"].value, named(run)["expansion_lithiation"].value
        assert whole is not None
        assert half == pytest.approx(whole / 2, rel=1e-9)


def test_figures_say_what_they_show(short_run: Run) -> None:
    views = {view.name: view for view in views_of(short_run, results_of(short_run))}
    assert set(views) == {"time", "potential", "voltammogram", "charge", "ten_hop", "hop", "section"}
    for view in views.values():
        for panel in view.panels:
            assert panel.x.unit or panel.x.quantity == "approach"  # a number of hops has no unit
            assert panel.y.unit
            assert panel.note, f"{view.name}: a panel states its convention"
    current = views["time"].panels[3]
    assert "negative cell current lithiates" in current.note


def test_an_interrupted_run_says_so_at_the_top(laboratory: Laboratory) -> None:
    turns = iter(range(10**9))
    run = laboratory.run(stop=lambda: next(turns) > 100)
    assert run_content(run).warnings[0] == "The run did not complete: interrupted."


def test_a_hostile_title_stays_text(laboratory: Laboratory) -> None:
    text = TEXT.replace("title: short operando run", "title: <script>alert(1)</script>").replace(
        "rate_mV_s: 8", "rate_mV_s: 400"
    )
    page = report_html(laboratory.run(text, RIG))
    assert page.count("<script") == 1, "the page's own"
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
