"""Sentences, doubts, tables and methods from results; the numbers in them are those of the results."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from opsicm.analysis.result import Result, Subject, failed
from opsicm.experiment.file import EXPERIMENTS, experiment_from_text, read_experiment
from opsicm.figures.view import CurvePanel
from opsicm.record.reader import Run
from opsicm.results.doubts import doubts_of
from opsicm.results.evidence import Evidence
from opsicm.results.findings import finding_of
from opsicm.results.run_description import described
from opsicm.results.run_results import results_of
from opsicm.results.tables import methods_of, tables_of
from opsicm.results.third_party_findings import THIRD_PARTY_FINDERS
from tests.fixtures.laboratory import Laboratory

PULSES = """\
opsicm: 1
title: pulses
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 1}
cell:
  - rest: {for_s: 20}
  - gitt: {current_mA_cm2: -0.8, pulse_s: 20, rest_s: 40, pulses: 4}
probe:
  - park: {height_um: 10}
envelope: {cell_V: [-0.5, 2.0]}
"""


def test_a_height_series_is_answered_first_by_how_far_it_rose(short_run: Run) -> None:
    evidence = Evidence(tuple(results_of(short_run)), short_run)
    found = finding_of(evidence)
    rise, fall = evidence.first("height_change", "lithiation"), evidence.first("height_change", "delithiation")
    assert rise is not None
    assert fall is not None
    assert rise.value is not None
    assert fall.value is not None
    assert f"rose by {rise.value:.0f} (± 9) nm" in found.sentences[0]
    assert f"{100 * abs(fall.value / rise.value):.1f} % of it came back" in " ".join(found.sentences)
    assert 3 <= len(found.sentences) <= 6
    assert "potential" in found.figures


def test_pulses_are_answered_by_the_step_and_its_dependence_on_charge(laboratory: Laboratory) -> None:
    with laboratory.run(PULSES) as run:
        evidence = Evidence(tuple(results_of(run)), run)
        found, tables = finding_of(evidence), {table.name: table for table in tables_of(evidence)}
        capacity = evidence.capacity
    step = evidence.first("pipette_step_ohmic")
    assert step is not None
    assert step.value is not None
    assert "When a lithiating current of 0.4 mA begins, the pipette current rises at once" in found.sentences[0]
    assert f"{step.value:.0f}" in found.sentences[0] or f"{step.value:.1f}" in found.sentences[0]
    assert "the state of charge: over" in found.sentences[1]
    assert found.figures[0] == "pipette_steps"
    # One row a pulse, and one a start or end of the current, each of them plotted.
    assert tables["pulses"].rows == 4
    steps = tables["current_steps"]
    assert steps.rows == 8
    assert [str(text).split()[1] for text in steps.columns[0].values] == ["begins", "ends"] * 4
    assert steps.view is not None
    starts, ends = steps.view.panels[0], steps.view.panels[1]
    assert isinstance(starts, CurvePanel)
    assert isinstance(ends, CurvePanel)
    assert starts.series[-1].x.size == ends.series[-1].x.size == 4
    # Charge passed: 0.4 mA for 20 s, four times, of the capacity.
    passed = steps.columns[2].numbers[-1]
    assert passed == pytest.approx(100 * 4 * 8e-3 / capacity, rel=0.02)


def of(part: str, number: int | None = 1) -> Subject:
    return Subject(part=part, number=number)


def test_two_places_of_a_transition_that_disagree_are_judged() -> None:
    height = Result("transition_from_height", 13.0, 0.8, "%", "kink", of=of("lithiation"))
    potential = Result("transition_from_potential", 39.3, 1.3, "%", "peak", of=of("lithiation"))
    (doubt,) = doubts_of(Evidence((height, potential)))
    assert "13.0 ± 0.8 %" in doubt
    assert "39.3 ± 1.3 %" in doubt
    near = Result("transition_from_potential", 14.0, 1.3, "%", "peak", of=of("lithiation"))
    assert doubts_of(Evidence((height, near))) == []


def test_a_stated_resistance_that_the_curve_contradicts_is_not_believed() -> None:
    stated = Result("pipette resistance stated in the file", 120.0, None, "MOhm", "as stated")
    measured = Result("pipette resistance", 106.3, 0.2, "MOhm", "far half")
    (doubt,) = doubts_of(Evidence((stated, measured)))
    assert "The file states 120 MΩ and the curve gives 106.3 ± 0.2 MΩ" in doubt
    assert "believe the curve" in doubt


def test_tables_have_a_row_per_subject_and_leave_nothing_out() -> None:
    peaks = [
        Result("peak_potential", 0.1 * k, 0.001, "V", f"vertex, sweep {k}", of=of("lithiation", None), index=k)
        for k in range(1, 4)
    ]
    alone = Result("bias_residual", 1.25, None, "mV", "largest")
    missing = failed("soc_at_end", "%", "charge", "no cut-offs", "the run never passed from one to the other")
    tables = tables_of(Evidence((*peaks, alone, missing)))
    assert [table.name for table in tables] == ["peaks", "values"]
    assert [tables[0].columns[1].text(k) for k in range(3)] == ["0.1000 ± 0.0010", "0.2000 ± 0.0010", "0.3000 ± 0.0010"]
    assert tables[0].csv().splitlines()[:2] == ["peak,potential (V),u of potential (V)", "lithiation 1,0.1,0.001"]
    assert tables[1].columns[0].values == ("bias residual",)


def test_rows_without_a_value_say_why_once() -> None:
    known = Result("diffusivity", 1e-14, 1e-15, "m²/s", "formula", index=1)
    unknown = [failed("diffusivity", "m²/s", "formula", "not identifiable", "a plateau", index=k) for k in (2, 3)]
    relaxed = [Result("relaxed_potential", 0.1 * k, 1e-3, "V", "end of rest", index=k) for k in (1, 2, 3)]
    table = next(t for t in tables_of(Evidence((known, *unknown, *relaxed))) if t.name == "pulses")
    assert table.notes == ("diffusivity: not identifiable: a plateau (and 1 more)",)
    column = next(c for c in table.columns if c.label == "diffusivity")
    assert [column.text(k) for k in range(3)] == ["(1.00 ± 0.10)·10⁻¹⁴", "–", "–"]


def test_a_method_is_written_once() -> None:
    results = [Result("Sq", 1.0, 0.1, "nm", f"ISO Sq, after plane; image {k}, {60 * k} s") for k in range(1, 18)]
    assert methods_of(results) == [("Sq", "ISO Sq, after plane; image … s")]


def test_a_tilt_and_a_step_of_a_scan_are_said() -> None:
    image = xr.DataArray(np.zeros((2, 2)))
    results = (
        Result("Sq", 10.0, 1.0, "nm", "", of=Subject(part="raw"), trace=image),
        Result("Sq", 6.0, 1.0, "nm", "", of=Subject(part="after plane"), flags={"missing_pixels": 3}),
        Result("step_height", -8.0, 0.5, "nm", ""),
    )
    text = " ".join(finding_of(Evidence(results)).sentences)
    assert "Sq = 6.0 ± 1.0 nm" in text
    assert "64 % of its variance" in text
    assert "differ in height by 8.0 ± 0.5 nm" in text
    assert "3 have no height" in text


def test_what_failed_is_said_with_its_reason() -> None:
    results = (failed("distance at the stop", "nm", "fit", "no z axis", "the trace holds counts without a z axis"),)
    assert finding_of(Evidence(results)).sentences == (
        "The distance at the stop cannot be determined: the trace holds counts without a z axis.",
    )
    assert all(finder(Evidence(())) is None for finder in THIRD_PARTY_FINDERS)


def test_programs_are_described_without_their_repetitions() -> None:
    words = dict(described(read_experiment(EXPERIMENTS / "short/e05_titration.yaml").experiment))
    assert words["cell"] == (
        "6 × (open circuit for 5 min, lithiation at 0.8 mA/cm² for 2 min); then open circuit for 5 min"
    )
    assert words["probe"] == "parked 10 µm above the surface"
    repeated = dict(described(experiment_from_text(PULSES).experiment))["cell"]
    assert repeated == ("open circuit for 20 s; then 4 pulses of lithiation at 0.8 mA/cm² for 20 s with rests of 40 s")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("constant_current: {lithiate: C/5, until: {potential_V: 0.02}}", "lithiation at 0.2 C to 0.02 V"),
        ("constant_current: {delithiate: 0.1 mA, until: {for: 2 h}}", "delithiation at 0.1 mA for 2 h"),
        ("gitt: {delithiate: C/20, pulse_s: 60, rest_s: 120, pulses: 3}", "3 pulses of delithiation at 0.05 C"),
        ("hold: {potential_V: 0.1, until: {c_rate: 0.02}}", "hold 0.1 V until below 0.02 C"),
        ("hold: {potential_V: 0.1, for: 5 min, until: {current: 2 uA}}", "hold 0.1 V for 5 min or until below 0.002"),
    ],
)
def test_currents_in_words_and_ends_are_described(step: str, words: str) -> None:
    text = PULSES[: PULSES.index("cell:")] + f"cell:\n  - {step}\nprobe:\n  - park: {{height_um: 10}}\n"
    assert dict(described(experiment_from_text(text).experiment))["cell"].startswith(words)


def test_a_step_at_intervals_says_them() -> None:
    text = PULSES[: PULSES.index("cell:")] + (
        "cell:\n  - rest: {for: 2 h}\nprobe:\n  - raster: {every: 30 min, during: cell[0], size_um: [5, 5], "
        "pixels: [16, 16], center_um: [0, 0], amplitude_nm: 500, setpoint_pct: 2, fall_nm_per_ms: 30}\n"
    )
    words = dict(described(experiment_from_text(text).experiment))["probe"]
    assert words.endswith("16 × 16 pixels every 30 min during cell[0]")


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("e[0-9]*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_described(path: object) -> None:
    words = dict(described(read_experiment(str(path)).experiment))
    assert set(words) == {"cell", "probe", "pipette", "bath"}
    assert all(words.values())
