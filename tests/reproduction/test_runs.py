"""The runs behind the table: made once, resumable, and what a turned sign in the twin does to the verdicts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsicm.analysis.result import Result
from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.file import EXPERIMENTS, LoadedExperiment
from opsicm.record.reader import Run
from opsicm.reproduction import cases as cases_module
from opsicm.reproduction.cases import (
    Case,
    Plan,
    cases_of,
    chosen_experiments,
    own_compensation,
    plan,
    with_changes,
    with_ir_compensation,
)
from opsicm.reproduction.evaluation.experiments import evaluate
from opsicm.reproduction.runs import CaseRun, OnProgress, Workers, longest_first, run_all
from opsicm.reproduction.table import ComparedRow, ExperimentResults, table
from opsicm.reproduction.variants import AS_DECLARED, CALIBRATED, DEFAULT, SETS, STRIP, TAKAHASHI, declared_sets
from opsicm.twin import world
from opsicm.twin.circuit import Nodes
from opsicm.twin.far_pipette import FarPipette

# A tenth of the mass, so that a fast sweep and short pulses do what the long ones do.
SWEEP = """\
opsicm: 1
title: two distances
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.4}
cell:
  - open_circuit: {for_s: 12}
  - sweep: {from_V: 1.2, to_V: 0.0, rate_mV_s: 50}
probe:
  - park: {height_um: 10}
vary:
  probe[0].park.height_um: [10, 3000]
envelope: {cell_V: [-3.0, 5.0], cell_mA: 50, pipette_nA: 100}
"""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of experiments with a quick E2, E11's file, whose rate the findings quote, and no variants."""
    folder = tmp_path / "experiments"
    (folder / "short").mkdir(parents=True)
    shutil.copy(next((EXPERIMENTS / "short").glob("e11_*.yaml")), folder / "short")
    (folder / "short/e02_quick.yaml").write_text(SWEEP, encoding="utf-8")
    monkeypatch.setattr(cases_module, "EXPERIMENTS", folder)
    monkeypatch.setattr(cases_module, "VARIANTS", {})
    return tmp_path


def _table(folder: Path) -> dict[str, ComparedRow]:
    planned = plan(("E2",), short=True)
    return {one.row.id: one for one in _read(planned, _run(planned, folder))}


def _run(
    planned: Plan,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    workers: Workers | None = None,
    told: OnProgress | None = None,
) -> dict[str, list[CaseRun]]:
    return run_all({DEFAULT.name: planned}, folder, stop, told or _nothing, workers)[DEFAULT.name]


def _read(planned: Plan, made: dict[str, list[CaseRun]]) -> list[ComparedRow]:
    reads = {"E2": evaluate("E2", made["E2"], lambda *_: None)} if any(one.path for one in made["E2"]) else {}
    return table(("E2",), planned, made, reads)


def _nothing(_case: Case, _share: float) -> None:
    pass


@pytest.mark.usefixtures("packaged")
def test_the_declared_calibration_is_in_every_case() -> None:
    cases = cases_of("E2", short=True)
    assert [case.values for case in cases] == [(("probe[0].park.height_um", h),) for h in (10, 3000)]
    for case in cases:
        assert case.variant == AS_DECLARED
        assert case.loaded.experiment.pipette.cone_deg == CALIBRATED["pipette.cone_deg"]
    assert len({case.key for case in cases}) == 2


def test_the_command_does_not_import_hdf5_beside_its_runs() -> None:
    code = "import sys, opsicm.reproduction.command; sys.exit('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_declared_of_raw_samples_is_in_the_cases() -> None:
    by_variant = {case.variant: case.loaded.experiment.record for case in cases_of("E6", short=False)}
    assert by_variant[AS_DECLARED].z == "decimated"
    assert by_variant[STRIP].z == by_variant[STRIP].pipette_current == "full"
    assert {case.loaded.experiment.record.z for case in cases_of("E9", short=False)} == {"decimated"}
    assert STRIP not in {case.variant for case in cases_of("E6", short=True)}


def test_several_at_a_time_the_longest_begin_first() -> None:
    cases = longest_first([plan(chosen_experiments(None), short=True)])
    order = list(dict.fromkeys(case.experiment for case in cases))
    assert order == ["E9", "E6", "E7", "E11", "E10", "E1", "E2", "E3", "E4", "E5", "E8", "E12"]
    assert len(cases) == len(plan(chosen_experiments(None), short=True).all)


def test_repeats_are_places_in_one_experiment_and_noise_in_the_other() -> None:
    """A seed lays the plates unless the specimen has one of its own; beside the first set there is one place."""
    for experiment, specimen_seed in (("E9", None), ("E10", 1)):
        cases = [case for case in cases_of(experiment, short=False) if case.variant == AS_DECLARED]
        assert [case.seed for case in cases] == [None, 2, 3]
        assert {case.loaded.experiment.twin.specimen_seed for case in cases} == {specimen_seed}
        assert len(cases_of(experiment, False, TAKAHASHI, in_full=False)) == 1


def test_sets_share_the_runs_that_they_cannot_change() -> None:
    """HOPG is no graphite, and one liquid on both sides of a pipette is known by its conductivity alone."""
    plans = {one.name: plan(("E2", "E8", "E12"), True, one, in_full=one is DEFAULT) for one in SETS}
    keys = {name: {e: {case.key for case in cases} for e, cases in one.cases.items()} for name, one in plans.items()}
    default, calibrated, proportional = (keys[one.name] for one in SETS)
    assert default["E8"] == calibrated["E8"] == proportional["E8"]
    assert default["E12"] == calibrated["E12"] == proportional["E12"]
    assert not calibrated["E2"] & (default["E2"] | proportional["E2"])
    assert len(calibrated["E2"]) == 4  # as declared, without the terms switched off
    (other,) = declared_sets(["graphite-li-pc"])
    assert {case.key for case in cases_of("E12", True, other)}.isdisjoint(default["E12"])
    assert {case.key for case in cases_of("E8", True, other)} == default["E8"]


def test_the_calibrated_set_brings_its_compensation() -> None:
    """Into every step that controls a potential and states none; a short form's own stays."""
    (case,) = cases_of("E11", False, TAKAHASHI, in_full=False)
    cell = [step.model_dump() for step in case.loaded.experiment.cell]
    assert [step.get("ir_compensation_pct") for step in cell] == [0, 66, 66]
    assert cell[0]["potential_V"] == 1.7
    assert case.loaded.experiment.specimen.parameters == TAKAHASHI.name
    assert case.loaded.experiment.probe[1].model_dump()["during"] == "cell[2]"
    (short,) = cases_of("E9", True, TAKAHASHI, in_full=False)
    assert [step.model_dump()["ir_compensation_pct"] for step in short.loaded.experiment.cell] == [97]
    assert [own_compensation("E9", short) for short in (True, False)] == [97.0, None]
    assert own_compensation("E5", short=True) is None  # nothing to compensate
    # So the rows that chose 66 % have no number in this form, under this set alone.
    result = Result("E9.ratio", 0.8, 0.01, "1", "m")
    evaluated = {"E9": ExperimentResults({"E9.ratio": result, "E9.knee": replace(result, name="E9.knee")}, {})}
    for chosen, expected in ((TAKAHASHI, None), (DEFAULT, 0.8)):
        planned = plan(("E9",), True, chosen, in_full=False)
        rows = {one.row.id: one for one in table(("E9",), planned, {}, evaluated, chosen)}
        assert rows["E9.ratio"].result.value == expected
        assert rows["E9.knee"].result.value == 0.8
        assert ("states 97 % compensation itself" in rows["E9.ratio"].outcome) == (chosen is TAKAHASHI)
    rates = {path for case in cases_of("E3", True, TAKAHASHI, in_full=False) for path, _ in case.values}
    assert all(case.loaded.experiment.pipette.cone_deg == 4.0 for case in cases_of("E4", True, TAKAHASHI))
    assert len(rates) == 1
    radii = {dict(case.values)["pipette.radius_nm"] for case in cases_of("E1", True, TAKAHASHI, in_full=False)}
    assert radii == {50}


def test_a_file_of_the_users_is_a_set_and_its_numbers_are_in_the_key(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    text = "title: ours\ntransference: {value: 0.4, unit: '1', u: 0.1, status: measured, source: us}\n"
    file.write_text(text, encoding="utf-8")
    (ours,) = declared_sets([str(file)])
    assert (ours.name, ours.label, ours.compensation_pct) == (str(file), "ours", 0.0)
    before = {case.key for case in cases_of("E5", True, ours)}
    file.write_text(text.replace("0.4", "0.5"), encoding="utf-8")
    assert before.isdisjoint({case.key for case in cases_of("E5", True, ours)})
    assert declared_sets([]) == SETS
    assert declared_sets([TAKAHASHI.name]) == (TAKAHASHI,)
    with pytest.raises(BadInput, match="'gold'; is no parameter set; sets are graphite-li-ec-dec"):
        declared_sets(["gold"])
    with pytest.raises(BadInput, match="--set is graphite-li-pc; is named twice"):
        declared_sets(["graphite-li-pc", "graphite-li-pc"])


def test_paths_into_an_experiment() -> None:
    data = {"cell": [{"sweep": {"rate_mV_s": 1}}]}
    assert with_changes(data, {"cell[0].sweep.rate_mV_s": 5, "twin.terms.salt": False}) == {
        "cell": [{"sweep": {"rate_mV_s": 5}}],
        "twin": {"terms": {"salt": False}},
    }
    assert data == {"cell": [{"sweep": {"rate_mV_s": 1}}]}
    with pytest.raises(BadInput, match=r"write it as cell\[0\]"):
        with_changes(data, {"cell[x]": 1})


def test_compensation_reaches_every_step_that_controls_a_potential() -> None:
    cell = [{"sweep": {"from_V": 1}}, {"open_circuit": {"for_s": 1}}, {"hold": {"for_s": 1}}]
    changed = with_ir_compensation({"cell": cell, "probe": [{"park": {"height_um": 1, "during": "cell[1]"}}]}, 97.0)
    said = [next(iter(step.values())) for step in changed["cell"]]
    assert [one.get("ir_compensation_pct") for one in said] == [None, 97.0, None, 97.0]
    assert changed["cell"][0] == {"hold": {"potential_V": 1, "for_s": 60}}
    assert changed["probe"][0]["park"]["during"] == "cell[2]"
    assert changed["envelope"] == {"cell_V": [-1.0, 2.0]}
    swept = [{"conditioning": {"from_V": 1, "ir_compensation_pct": 50}}, {"sweep": {"from_V": 1}}]
    kept = with_ir_compensation({"cell": swept, "vary": {"cell[1].sweep.rate_mV_s": [1]}}, 97.0)
    assert [next(iter(step.values()))["ir_compensation_pct"] for step in kept["cell"]] == [50, 97.0]
    moved = with_ir_compensation({"cell": [{"sweep": {"from_V": 1}}], "vary": {"cell[0].sweep.rate_mV_s": [1]}}, 97.0)
    assert moved["vary"] == {"cell[1].sweep.rate_mV_s": [1]}
    current = {"cell": [{"constant_current": {"current_mA": 1}}]}
    assert with_ir_compensation(current, 97.0) == current


@pytest.mark.usefixtures("packaged")
def test_unknown_experiments_are_refused_and_missing_ones_named() -> None:
    assert chosen_experiments("E9, E2") == ("E2", "E9")
    with pytest.raises(BadInput, match=r"--only.*E13.*experiments are E1"):
        chosen_experiments("E13")
    assert "0 files named e05_" in plan(("E5",), short=True).refused["E5"]


def test_a_turned_sign_in_the_twin_turns_verdicts_and_runs_are_kept(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = _table(packaged / "right")
    assert right["E2.swing_10"].verdict == "same trend"
    assert right["E2.contrast"].verdict == "same trend"
    assert right["E2.far_over_near"].verdict == "same trend"
    assert right["E2.swing_100"].verdict is None
    assert "no run at 100 µm" in right["E2.swing_100"].outcome

    again: list[str] = []
    cases = plan(("E2",), short=True)
    monkeypatch.setattr("opsicm.reproduction.runs.execute", lambda *_, **__: again.append("ran"))
    made = _run(cases, packaged / "right")
    assert not again
    assert all(one.path is not None for one in made["E2"])
    monkeypatch.undo()
    monkeypatch.setattr(cases_module, "EXPERIMENTS", packaged / "experiments")
    monkeypatch.setattr(cases_module, "VARIANTS", {})

    right_way = FarPipette.salt_and_offset
    monkeypatch.setattr(FarPipette, "salt_and_offset", lambda pipette, salt, ohmic: right_way(pipette, salt, -ohmic))
    wrong = _table(packaged / "wrong")
    for name in ("E2.swing_10", "E2.swing_3000", "E2.swing_delithiation", "E2.contrast"):
        assert (right[name].verdict, wrong[name].verdict) == ("same trend", "disagrees"), name
    # The cell does not feel the pipette, whichever way it reads: no verdict, and the same number.
    assert right["E2.cell_current"].verdict is wrong["E2.cell_current"].verdict is None
    assert right["E2.cell_current"].result.value == wrong["E2.cell_current"].result.value


@pytest.mark.usefixtures("packaged")
def test_a_circuit_turned_round_is_caught_before_it_gives_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "nodes", lambda cell, command, *_: Nodes(0.0, -cell, -command))
    for one in _table(tmp_path / "runs").values():
        assert one.verdict is None
        assert "not run: E2, height_um 10: pipette current is" in one.outcome


def test_runs_in_processes_are_the_runs_of_one(packaged: Path) -> None:
    planned = plan(("E2",), short=True)
    told: list[float] = []
    with Workers(2) as workers:
        together = _run(planned, packaged / "two", workers=workers, told=lambda _, share: told.append(share))
    alone = _run(planned, packaged / "one")
    assert told == [1.0, 1.0]
    for one, other in zip(together["E2"], alone["E2"], strict=True):
        assert one.case.values == other.case.values
        assert one.path is not None
        assert other.path is not None
        with Run(one.path) as first, Run(other.path) as second:
            assert first.slow["pipette_current"].equals(second.slow["pipette_current"])


def test_an_interrupted_run_is_made_again(packaged: Path) -> None:
    cases = plan(("E2",), short=True)
    asked = iter([False, False, False, True])

    def stop() -> bool:
        return next(asked, True)

    assert _run(cases, packaged / "runs", stop)["E2"] == []
    assert not list((packaged / "runs").rglob("done.json"))


ALONE = """
import sys
from pathlib import Path
from opsicm.cli.main import main
from opsicm.cli.execute import execute
from opsicm.reproduction import cases
cases.EXPERIMENTS, cases.VARIANTS = Path(sys.argv[1]), {}
sys.exit(main(["reproduce", "--only", "E2", "--short", "--set", "graphite-li-ec-dec", "--out", sys.argv[2]]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_what_was_finished_before_a_stop_is_not_made_again(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    file = packaged / "experiments/short/e02_quick.yaml"
    text = SWEEP.replace("[10, 3000]", "[10, 100, 1000, 3000]").replace("V_s: 50", "V_s: 50, record_every_s: 0.1")
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", ALONE, str(packaged / "experiments"), str(packaged / "cut")]
    runs = packaged / "cut/runs"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not list(runs.glob("*/done.json")):
                assert process.poll() is None, "it ended by itself"
            process.send_signal(how)
            assert process.wait() == (130 if how == signal.SIGINT else -how)
        finally:
            process.kill()
    kept = {path.parent.name for path in runs.glob("*/done.json")}
    assert 0 < len(kept) < 4

    planned = plan(("E2",), short=True)
    whole = _run(planned, packaged / "whole")
    made: list[str] = []

    def counted(loaded: LoadedExperiment, place: Path, *rest: Any, **named: Any) -> Any:
        made.append(place.name)
        return execute(loaded, place, *rest, **named)

    monkeypatch.setattr("opsicm.reproduction.runs.execute", counted)
    again = _run(planned, runs)
    assert set(made) == {case.key for case in planned.all} - kept
    tables = [_read(planned, each) for each in (whole, again)]
    assert [one.record() for one in tables[0]] == [one.record() for one in tables[1]]


def test_the_command_names_what_it_could_not_run(packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = packaged / "t.json"
    out = ["--short", "--json", str(table), "--out", str(packaged / "out")]
    assert main(["reproduce", "--only", "E7", *out]) == 3
    said = capsys.readouterr()
    assert "0 files named e07_" in said.err
    assert "E7.Rq_charged" in said.out
    assert '"verdict": null' in table.read_text(encoding="utf-8")
    assert main(["reproduce", "--only", "E0", *out]) == 2
    assert "experiments are E1" in capsys.readouterr().err


def test_the_command_says_why_a_run_failed(
    packaged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BadInput(Problem("disk", "full", "a run needs room", "free some"))

    monkeypatch.setattr("opsicm.reproduction.runs.execute", refused)
    monkeypatch.setattr("opsicm.reproduction.command._WORKERS", 1)
    assert main(["reproduce", "--only", "E2", "--short", "--out", str(packaged / "failed")]) == 3
    said = capsys.readouterr()
    for one in SETS:
        reason = f"E2, height_um 10, set {one.name}: no run: disk is full; a run needs room; free some"
        assert reason in " ".join(said.err.split())
    assert "disk is full" in " ".join(said.out.split())


def test_an_evaluation_that_fails_costs_its_own_rows(packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run file that cannot be read: the table comes all the same, and says which experiment and set has no rows."""
    for case in plan(("E2",), short=True).all:
        place = packaged / "out/runs" / case.key
        place.mkdir(parents=True)
        (place / "torn.nxs").write_bytes(b"no run")
        (place / "done.json").write_text('{"run": "torn.nxs"}', encoding="utf-8")
    found = packaged / "table.json"
    out = ["--short", "--set", DEFAULT.name, "--json", str(found), "--out", str(packaged / "out")]
    assert main(["reproduce", "--only", "E2,E7", *out]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert f"E2, set {DEFAULT.name}: not evaluated: the evaluation failed: " in said
    assert f"E7, set {DEFAULT.name}: not run: " in said
    outcomes = {row["id"]: row["outcome"] for row in json.loads(found.read_text(encoding="utf-8"))}
    assert outcomes["E2.contrast"].startswith("not run: the evaluation failed: ")
    assert "torn.nxs" in outcomes["E2.contrast"]
    assert "0 files named e07_" in outcomes["E7.Rq_charged"]
