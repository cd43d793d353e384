"""`opsicm convert` as a user meets it: from another folder, nothing lost, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsicm.cli.main import main
from opsicm.experiment.file import read_experiment

PROTOCOL = {
    "sample": {"name": "$NAME", "capacity_mAh": 1.0},
    "record": {"time_s": 10},
    "method": [
        {"step": "tag", "tag": "cycle"},
        {"step": "constant_current", "rate_C": -2, "until_voltage_V": 0.1, "until_time_s": 600},
        {"step": "constant_current", "rate_C": 2, "until_voltage_V": 1.0, "until_time_s": 600},
        {"step": "loop", "loop_to": "cycle", "cycle_count": 2},
    ],
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "data" / "cycles.json").write_text(json.dumps(PROTOCOL), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "data"


def test_a_protocol_becomes_an_experiment_and_back(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted, back = elsewhere / "made.yaml", elsewhere / "back.json"
    assert main(["convert", "../data/cycles.json", str(converted)]) == 0
    message = capsys.readouterr()
    assert message.out.strip() == str(converted)
    assert "positive current raises the potential: it delithiates the specimen" in message.err
    assert main(["check", str(converted)]) == 0
    experiment = read_experiment(converted).experiment
    assert (experiment.title, experiment.rig, experiment.probe) == ("cycles", "twin/graphite", ())
    assert main(["convert", str(converted), str(back)]) == 0
    method = json.loads(back.read_text(encoding="utf-8"))["method"]
    assert [step["step"] for step in method] == ["tag", "constant_current", "constant_current", "loop"]
    assert [step["current_mA"] for step in method[1:3]] == [-2.0, 2.0]
    assert list(elsewhere.parent.joinpath("here").iterdir()) == []


def test_title_and_rig_are_options(elsewhere: Path) -> None:
    assert main(["convert", "../data/cycles.json", "a.yaml", "--title", "two: cycles", "--rig", "rigs/ours.yaml"]) == 0
    experiment = read_experiment("a.yaml").experiment
    assert (experiment.title, experiment.rig) == ("two: cycles", "rigs/ours.yaml")
    assert elsewhere.is_dir()


def test_a_long_protocol_may_last_as_long_as_it_does(elsewhere: Path) -> None:
    long = {**PROTOCOL, "method": [{"step": "open_circuit_voltage", "until_time_s": 720_000}]}
    (elsewhere / "long.json").write_text(json.dumps(long), encoding="utf-8")
    assert main(["convert", str(elsewhere / "long.json"), "long.yaml"]) == 0
    assert read_experiment("long.yaml").experiment.envelope.run_h == pytest.approx(220, abs=1)


def test_the_probe_is_left_out_with_a_message(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted = elsewhere / "made.yaml"
    assert main(["convert", "../data/cycles.json", str(converted)]) == 0
    with converted.open("a", encoding="utf-8") as file:
        file.write("probe:\n- park: {height_um: 10}\n")
    assert main(["convert", str(converted), "p.json"]) == 0
    assert "a cycling protocol has no probe program" in capsys.readouterr().err


def test_a_full_cell_is_refused_by_the_envelope(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "full.json").write_text(
        json.dumps(PROTOCOL).replace('"until_voltage_V": 1.0', '"until_voltage_V": 4.2'), encoding="utf-8"
    )
    assert main(["convert", str(elsewhere / "full.json"), "full.yaml"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "until.potential_V is 4.2; envelope.cell_V allows -0.05 to 2 V; stay within it, or widen safety" in message
    assert not Path("full.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.json", "b.json"], "known are .json (aurora-unicycler) to .yaml (experiment) and back"),
        (["a.mps", "b.yaml"], "known are .json"),
        (["nowhere.json", "b.yaml"], "it does not exist"),
        (["../data/cycles.json", "../data/cycles.json"], "known are .json"),
        (["../data/cycles.json", "there.yaml"], "a file of this name exists"),
        (["../data/cycles.json", "no/such/folder.yaml"], "cannot be written"),
        (["../data/cycles.json", "b.yaml", "--capacity-mah", "2"], "write it as sample.capacity_mAh"),
        (["there.yaml", "b.json", "--title", "x"], "is for a new experiment"),
        (["there.yaml", "b.json", "--capacity-mah", "0"], "must be above 0 mAh"),
    ],
)
def test_refusals_write_nothing(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    Path("there.yaml").write_text("opsicm: 1\n", encoding="utf-8")
    assert main(["convert", *arguments]) == 2
    message = capsys.readouterr()
    assert words in " ".join(message.err.split())
    assert "Traceback" not in message.err
    assert sorted(path.name for path in Path().iterdir()) == ["there.yaml"]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["cycles.json"]
