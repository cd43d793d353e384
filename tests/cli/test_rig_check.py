"""`opsicm rig check` as an operator meets it: what is read, what is asked, what moves, and how it ends."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from opsicm.cli.main import main
from opsicm.core.errors import InstrumentLost, OutsideDomain, Problem
from opsicm.experiment.file import experiment_path
from opsicm.experiment.rig_file import PRESETS
from opsicm.instruments.registry import Registry
from opsicm.instruments.roles import HopPlan, Identity, RoleState
from opsicm.twin.devices import TwinAmplifier, TwinCoarseStage, TwinScanner
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.potentiostat import TwinPotentiostat

RIG = (PRESETS / "twin-graphite.yaml").read_text(encoding="utf-8")
TRIALS = {
    "coarse stage": "coarse_stage",
    "piezo": "scanner",
    "bias step": "amplifier",
    "cell on": "potentiostat",
    "samples": "hop_controller",
}


@dataclass
class Terminal:
    """A terminal at which somebody types these answers; `""` presses Ctrl-C."""

    answers: list[str]
    asked: int = 0

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        answer = self.answers[self.asked]
        self.asked += 1
        if not answer:
            signal.raise_signal(signal.SIGINT)
        return f"{answer}\n"


@dataclass
class Calls:
    """What moves, switches or drives a current, in order."""

    made: list[str] = field(default_factory=list)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for kind, names in (
        (TwinAmplifier, ("command", "safe")),
        (TwinPotentiostat, ("apply", "safe")),
        (TwinScanner, ("safe",)),
        (TwinCoarseStage, ("move_to", "safe")),
    ):
        for name in names:
            monkeypatch.setattr(kind, name, _noted(calls, kind, name))
    return calls


def _noted(calls: Calls, kind: type[Any], name: str) -> Any:
    original = getattr(kind, name)

    def noted(self: Any, *arguments: Any) -> Any:
        calls.made.append(f"{kind.__name__.removeprefix('Twin')}.{name}")
        return original(self, *arguments)

    return noted


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]], str]:
    """(exit code, finding by step and role, standard error) of a check."""
    code = main(["rig", "check", *words, "--json"])
    said = capsys.readouterr()
    return code, {(each["step"], each["role"]): each for each in json.loads(said.out)}, said.err


def test_the_twin_is_ready_and_every_finding_has_its_number(capsys: pytest.CaptureFixture[str], calls: Calls) -> None:
    code, found, asked = checked(capsys, "twin/demo", "--yes")
    assert code == 0
    assert {each["outcome"] for each in found.values()} == {"ok"}
    assert all(set(each) == set(found["file", "rig"]) for each in found.values())
    assert found["identity", "amplifier"]["text"] == "digital twin: Amplifier"
    assert found["coarse stage", "coarse_stage"]["value"] == pytest.approx(10e-6, abs=1e-9)
    assert found["piezo", "scanner"]["value"] == pytest.approx(1e-6, rel=0.02)
    assert found["cell on", "potentiostat"]["text"].startswith("open again: open circuit")
    assert abs(found["cell on", "potentiostat"]["value"]) < 5e-6
    noise = found["noise", "amplifier"]
    assert 0.5 < noise["value"] / noise["limit"] < 2.0
    assert asked.count("yes (--yes)") == len(TRIALS)
    assert "raise the coarse stage by 10 µm, away from the specimen (from 3.0 to 13.0 µm)" in asked
    # Bias and cell end as they began; the coarse stage comes back.
    assert calls.made == [
        *["Amplifier.command"] * 4,  # 0, up, down, 0
        *["Potentiostat.apply"] * 3,  # there, 5 mV higher, open
        "Potentiostat.safe",
        *["CoarseStage.move_to"] * 4,
    ]


def test_nothing_moves_where_nobody_can_answer(capsys: pytest.CaptureFixture[str], calls: Calls) -> None:
    code, found, asked = checked(capsys, "twin/demo")
    assert code == 0
    assert calls.made == []
    assert asked == ""
    for step, role in TRIALS.items():
        assert found[step, role]["outcome"] == "not tried"
        assert "--yes" in found[step, role]["remedy"]


def test_each_trial_waits_for_its_own_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    terminal = Terminal(["y", "n", "no", "what", "n"])
    monkeypatch.setattr(sys, "stdin", terminal)
    code, found, asked = checked(capsys, "twin/demo")
    assert code == 0
    assert terminal.asked == asked.count("[y/N]") == len(TRIALS)
    assert calls.made == ["Amplifier.command"] * 4
    assert found["bias step", "amplifier"]["outcome"] == "ok"
    assert found["coarse stage", "coarse_stage"]["remedy"] == "answered no"


@pytest.mark.parametrize(
    ("answers", "words", "made_safe"),
    [
        ([""], "nothing was moved or switched", []),
        (["y", ""], "safe: amplifier", ["Amplifier.safe"]),
        (
            ["y", "y", "y", "n", ""],
            "safe: coarse_stage, potentiostat, amplifier",
            # The first one ends the potentiostat's own trial.
            ["Potentiostat.safe", "CoarseStage.safe", "Potentiostat.safe", "Amplifier.safe"],
        ),
    ],
)
def test_an_interruption_makes_safe_what_was_touched_probe_first(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    calls: Calls,
    answers: list[str],
    words: str,
    made_safe: list[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    assert main(["rig", "check", "twin/demo"]) == 130
    assert f"interrupted; {words}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert [call for call in calls.made if call.endswith(".safe")] == made_safe


# -- Rigs with something wrong.


def test_a_narrow_command_range_is_said_with_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(RIG.replace("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 20"), encoding="utf-8")
    code, found, _ = checked(capsys, str(rig), "--role", "amplifier")
    assert code == 0  # without an experiment nobody knows what the rig must follow
    said = found["command range", "amplifier"]
    assert said["outcome"] == "remark"
    assert (
        "reaches -0.2 … 0.2 V (10 V times 20 mV/V), and 0.7 V at the pipette over a cell of 0 … 1.7 V" in said["text"]
    )
    assert "needs -1 … 0.7 V: it follows a cell of 0.5 … 0.9 V only" in said["text"]
    assert "wider command input" in said["remedy"]


def test_an_experiment_that_the_rig_cannot_follow_is_not_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(RIG.replace("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 20"), encoding="utf-8")
    experiment = str(experiment_path("short/e09_height_during_voltammogram.yaml"))
    code = main(["rig", "check", str(rig), "--role", "amplifier", "--experiment", experiment])
    table = capsys.readouterr().out.partition("role            ready")[2]
    assert code == 2
    assert "WRONG: the command reaches" in table
    assert "not ready; 1 trial was not made" in table


@pytest.fixture
def lost_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that says who it is and not where."""

    def read_z(_: TwinScanner) -> float:
        raise InstrumentLost("scanner", Problem("scanner", "lost", "it does not answer", "check its cable"))

    monkeypatch.setattr(TwinScanner, "read_z", read_z)


@pytest.mark.usefixtures("lost_scanner")
def test_a_role_that_is_lost_hides_none_of_the_others_and_a_fault_in_a_trial_ends_the_check(
    capsys: pytest.CaptureFixture[str], calls: Calls
) -> None:
    code, found, _ = checked(capsys, "twin/demo", "--yes")
    assert code == 3
    assert calls.made[-4:] == ["Scanner.safe", "CoarseStage.safe", "Potentiostat.safe", "Amplifier.safe"]
    for step in ("latency", "noise"):
        assert found[step, "scanner"]["outcome"] == "missing"
        assert found[step, "scanner"]["remedy"] == "check its cable"
        assert found[step, "potentiostat"]["outcome"] == "ok"
    assert found["piezo", "scanner"]["outcome"] == "fault"
    assert ("samples", "hop_controller") not in found


def test_a_setting_that_differs_from_the_file_is_said_by_how_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, float | str] = {"filter_Hz": 5e4, "range_nA": 10.0, "mode": "V-Clamp"}
    monkeypatch.setattr(TwinAmplifier, "state", lambda _: RoleState(0, settings=settings))
    monkeypatch.setattr(TwinAmplifier, "identity", lambda _: Identity("PC-505", "17", "2.1", "acme 1.0"))
    assert main(["rig", "check", "twin/demo", "--role", "amplifier"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "PC-505, serial 17, firmware 2.1 (through acme 1.0)" in said
    assert "filter is 50.0 kHz, and filter_kHz of the file says 5.00 kHz: that is 10 times as much" in said
    assert "range 10.0 nA, as stated" in said
    assert "mode V-Clamp" in said


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (50.0, "the pipette shows 3.9 MΩ, 195 MΩ by its geometry: currents or commands are 50 times too large"),
        (-1.0, "a more positive command made a more NEGATIVE current: one of the two is inverted"),
        (0.0, "(expected 513 pA): it does not answer"),
    ],
)
def test_a_wrong_gain_sign_or_wire_shows_in_the_bias_step_and_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: Calls, factor: float, words: str
) -> None:
    read = TwinAmplifier.read

    def wrong(self: TwinAmplifier) -> tuple[float, float]:
        current, command = read(self)
        return current * factor, command

    monkeypatch.setattr(TwinAmplifier, "read", wrong)
    assert main(["rig", "check", "twin/demo", "--yes", "--json"]) == 2
    findings = json.loads(capsys.readouterr().out)
    assert "CoarseStage.move_to" not in calls.made
    withheld = {each["step"]: each["remedy"] for each in findings if each["outcome"] == "not tried"}
    assert withheld == dict.fromkeys(
        ("cell on", "coarse stage", "piezo", "samples"), "mend the wiring first: nothing moves and no cell is switched"
    )
    told = [each["text"] for each in findings if each["step"] == "bias step" and each["outcome"] == "wrong"]
    assert any(words in text for text in told)


def test_a_stage_that_counts_the_other_way_is_left_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: Calls
) -> None:
    position = TwinCoarseStage.position
    monkeypatch.setattr(TwinCoarseStage, "position", lambda self: -position(self))
    code, found, _ = checked(capsys, "twin/demo", "--role", "coarse_stage", "--yes")
    assert code == 2
    assert found["coarse stage", "coarse_stage"]["outcome"] == "wrong"
    assert calls.made == ["CoarseStage.move_to"]


@pytest.mark.parametrize(
    ("answers", "words", "code", "outcome", "said"),
    [
        (["n", "n", "y", "y", "n", "n"], [], 0, "ok", "somebody saw it go the right way"),
        (["n", "n", "y", "no", "n"], [], 2, "wrong", "it went the other way, says who saw it"),
        ([], ["--yes"], 0, "remark", "nobody saw which way it went: its own counter cannot tell"),
    ],
)
def test_which_way_is_up_only_the_operator_can_say(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[str],
    words: list[str],
    code: int,
    outcome: str,
    said: str,
) -> None:
    monkeypatch.setattr("opsicm.cli.rig_check.is_instrument", lambda *_: True)
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    ended, found, asked = checked(capsys, "twin/demo", *words)
    assert ended == code
    assert "it goes DOWN by 10 µm: the tip must stand at least 1 mm above anything" in asked
    seen = found["coarse stage", "coarse_stage"]
    assert (seen["outcome"], seen["text"]) == (outcome, said)
    if outcome == "wrong":  # the piezo's trial would move the stage the wrong way
        assert "turn the sign of up" in seen["remedy"]
        assert found["piezo", "scanner"]["remedy"] == "mend coarse_stage first"


def test_a_hop_that_the_controller_refuses_is_not_tried_and_the_stage_is_lowered_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: Calls
) -> None:
    run = TwinHopController.run

    def refuses(self: TwinHopController, plan: HopPlan, stop: Any) -> Any:
        if plan.x.size:
            raise OutsideDomain(Problem("fall_nm_per_ms", "2", "would overshoot", "fall at 1 nm/ms"))
        return run(self, plan, stop)

    monkeypatch.setattr(TwinHopController, "run", refuses)
    code, found, _ = checked(capsys, "twin/demo", "--yes")
    assert code == 0
    piezo = found["piezo", "scanner"]
    assert piezo["outcome"] == "not tried"
    refused = "the hop controller refuses it: fall_nm_per_ms is 2; would overshoot; fall at 1 nm/ms"
    assert piezo["remedy"] == f"{refused}; the coarse stage is back"
    assert calls.made.count("CoarseStage.move_to") == 4


def test_the_cell_of_a_potentiostat_that_is_only_read_is_left_alone_and_the_rest_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: Calls
) -> None:
    monkeypatch.setattr(TwinPotentiostat, "state", lambda _: RoleState(0, settings={"drives": "nothing: read only"}))
    code, found, asked = checked(capsys, "twin/demo", "--yes")
    assert code == 0
    assert found["cell on", "potentiostat"]["outcome"] == "not tried"
    assert found["cell on", "potentiostat"]["remedy"] == "it is read only"
    assert "switch the cell on" not in asked
    assert "Potentiostat.apply" not in calls.made
    assert found["piezo", "scanner"]["outcome"] == "ok"


def test_a_client_that_is_not_installed_is_said_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = Registry.find

    def with_client(self: Registry, loaded: Any, role: Any, name: str) -> Any:
        driver = find(self, loaded, role, name)
        return replace(driver, client="acme-daq", extra="acme") if role == "scanner" else driver

    monkeypatch.setattr(Registry, "find", with_client)
    code, found, _ = checked(capsys, "twin/demo", "--role", "scanner", "--role", "amplifier")
    assert code == 2
    assert found["drivers", "scanner"]["text"] == "twin needs acme-daq, which is not installed"
    assert found["drivers", "scanner"]["remedy"] == "pip install opsicm[acme], then check again"
    assert ("connection", "scanner") not in found
    assert found["identity", "amplifier"]["outcome"] == "ok"


BAD = {
    "unknown_driver": (RIG.replace("scanner:\n    driver: twin", "scanner:\n    driver: acme"), "scanner", "acme"),
    "bad_setting": (RIG.replace("range_nA: 10", "range_nA: -10"), "amplifier", "range_nA is -10"),
    "grounding": (RIG.replace("grounding: common", "grounding: floating"), "rig", "floating"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_not_ready_and_connects_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    text, role, words = BAD[case]
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    code, found, _ = checked(capsys, str(tmp_path / "rig.yaml"))
    assert code == 2
    wrong = [each for each in found.values() if each["outcome"] == "wrong"]
    assert {each["role"] for each in wrong} == {role}
    assert any(words in each["text"] for each in wrong)
    assert not any(step == "connection" for step, _ in found)


def test_a_role_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "check", "twin/demo", "--role", "piezo"]) == 2
    assert "--role is piezo; the roles are amplifier, potentiostat" in capsys.readouterr().err


def test_the_page_fits_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "check", "twin/demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "ready as far as it was tried; 5 trials were not made"
    head = lines.index("role            ready, or what keeps it from it   remedy")
    assert lines[head + 2].split() == ["amplifier", "ready", "as", "far", "as", "it", "was", "tried"]


def test_a_bench_that_is_not_there_is_not_ready_and_a_shared_card_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The paper's rig, on a computer without NI's driver and without the stage."""
    assert main(["rig", "check", str(experiment_path("rigs/paper.yaml"))]) == 2
    table = capsys.readouterr().out.partition("role            ready")[2]
    said = " ".join(table.split())
    assert table.count("DaqNotFoundError") <= 1
    assert "install NI-DAQmx" in said
    assert said.count("switch it on, check its cable") <= 1, "of the stage alone"
    assert "potentiostat    MISSING: the same as amplifier\n" in table
    assert "coarse_stage    MISSING: coarse_stage is Zaber" in table
    assert table.rstrip().endswith("not ready")


@pytest.mark.usefixtures("lost_scanner")
def test_a_role_that_cannot_be_made_safe_is_said_and_keeps_no_other_from_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    def lost(_: TwinScanner) -> None:
        raise InstrumentLost("scanner", Problem("scanner", "lost", "it does not answer", "check its cable"))

    monkeypatch.setattr(TwinScanner, "safe", lost)
    assert main(["rig", "check", "twin/demo", "--yes"]) == 3
    said = capsys.readouterr().out
    assert said.endswith("stopped by a fault: what was touched is NOT KNOWN TO BE SAFE\n")
    assert "FAULT: NOT KNOWN TO BE SAFE:" in said
    assert calls.made[-3:] == ["CoarseStage.safe", "Potentiostat.safe", "Amplifier.safe"]


def test_what_an_instrument_says_of_itself_is_a_remark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "gain not read back: the rig file names no telegraph for it; look at the panel"
    monkeypatch.setattr(TwinAmplifier, "state", lambda _: RoleState(0, message=message))
    assert main(["rig", "check", "twin/demo", "--role", "amplifier"]) == 0
    assert f"note: {message}" in " ".join(capsys.readouterr().out.partition("role ")[0].split())
