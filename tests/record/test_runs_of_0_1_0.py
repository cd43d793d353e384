"""Kept run folders of version 0.1.0 open, are valid, analysed to the same numbers, replayed, recovered and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from opsicm.cli.main import main
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp, control_from_data
from opsicm.record.reader import Run
from opsicm.record.validate import validate

KEPT = Path(__file__).parents[1] / "data/runs-0.1.0"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return shutil.copytree(KEPT / "finished", tmp_path / "finished")


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    return shutil.copytree(KEPT / "interrupted", tmp_path / "interrupted")


def test_a_finished_run_opens_and_is_valid(finished: Path) -> None:
    with Run(finished) as run:
        assert run.outcome == "completed"
        assert run.hops.sizes["hop"] == 147
        applied = [fact.data["control"] for fact in run.facts if fact.kind == "applied"]
    assert [control_from_data(control) for control in applied] == [
        OpenCircuit(),
        PotentialRamp(1.2, -0.1),
        PotentialRamp(0.6, 0.1),
        ConstantCurrent(-5e-05),
        OpenCircuit(),
    ]
    assert all(result.ok for result in validate(finished / "run.nxs"))


# What 0.1.0 had wrong, and what it is now. Decision 0120: the u of a median of sample counts, and of a mean of values
# that have a u of their own. Decision 0124: sections from the counts as stored, not from floats made into other counts.
MENDED = {
    "hop_period": {"u": 0.004218147523856453},
    "pipette_step_ohmic": {"u": 40.948199921480565},
    "pipette_step_diffusive": {"u": 26.877643138375287},
    "near_surface_difference": {"value": 0.322552125370451, "u": 0.17601769211433965},
    "near_surface_geometry_alone": {"value": -11.141216575731573, "u": 0.02866235131332994},
}


def test_a_finished_run_is_analysed_to_the_same_numbers(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(finished), "--json"]) == 0
    found = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    kept = json.loads((KEPT / "results-1166a2f.json").read_text(encoding="utf-8"))
    assert set(found) == {before["name"] for before in kept}
    for before in kept:
        name = before["name"]
        assert (found[name]["unit"], found[name]["outcome"]) == (before["unit"], before["outcome"]), name
        for key in ("value", "u"):
            expected = MENDED.get(name, {}).get(key, before[key])
            assert found[name][key] == (None if expected is None else pytest.approx(expected, rel=1e-9)), (name, key)


def test_a_finished_run_is_replayed_as_a_rig(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(finished / "experiment.yaml"), "--rig", str(finished), "--out", str(tmp_path / "again")]
    assert main(command) == 0, capsys.readouterr().err
    with Run(Path(capsys.readouterr().out.strip().splitlines()[-1])) as again, Run(finished) as run:
        assert again.hops["z_stop"].values == pytest.approx(run.hops["z_stop"].values, abs=0.0)


def test_an_interrupted_run_is_recovered(interrupted: Path) -> None:
    assert main(["recover", str(interrupted)]) == 0
    with Run(interrupted) as run:
        # The journal, written ahead, names 63; the records of the last second went with the processes.
        assert 50 < run.hops.sizes["hop"] <= 63
    assert all(result.ok for result in validate(interrupted / "run.nxs"))


def test_an_interrupted_run_is_resumed(interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    command = ["run", "--resume", str(interrupted), "--cell-meanwhile", "open", "--out", out]
    assert main(command) == 2
    assert "intent of cell[1] is ramp from 0.6 V at 100 mV/s" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--lost-intent", "never"]) == 0
    with Run(Path(capsys.readouterr().out.strip().splitlines()[-1])) as run:
        assert run.outcome == "completed"
        assert run.facts[0].data["resumes"] == "interrupted"
        controls = [control_from_data(fact.data["control"]) for fact in run.facts if fact.kind == "applied"]
    assert isinstance(controls[-2], ConstantCurrent)
