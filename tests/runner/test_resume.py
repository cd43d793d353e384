"""Going on after a crash: what the journal says is left, what is asked, and the twin's specimen as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.cli.resume import resumed_run
from opsicm.core.errors import BadInput
from opsicm.core.facts import Fact
from opsicm.record.reader import Run
from opsicm.record.recover import in_use
from opsicm.runner.resume import continuation
from tests.fixtures.laboratory import RIG, Laboratory

S = 1_000_000_000
TEXT = """\
opsicm: 1
title: cut off
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 0.3, for_s: 4}
  - sweep: {from_V: 0.3, to_V: 0.1, rate_mV_s: 20, cycles: 1}
  - rest: {for_s: 3}
probe:
  - park: {height_um: 10, during: "cell[0]"}
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0, hops: 200}
envelope: {cell_V: [-0.5, 2.0]}
"""


def fact(seq: int, t: float, kind: str, track: str, step: str, **data: object) -> Fact:
    return Fact(seq, round(t * S), kind, track, step, data)  # type: ignore[arg-type]


def control(action: int, at: float, spent: float = 0.0, what: str = "next") -> dict[str, object]:
    return {
        "control": {"kind": "ramp", "start_V": 0.3, "slope_V_s": 0.0, "ir_compensation": 0.0},
        "at_ns": round(at * S),
        "action": action,
        "spent_ns": round(spent * S),
        "what": what,
    }


HELD = [
    fact(0, 0, "run_started", "run", "run"),
    fact(1, 0, "intent", "cell", "cell[0]", **control(0, 0)),
    fact(2, 0, "applied", "cell", "cell[0]", **control(0, 0)),
    fact(3, 0, "step_started", "probe", "probe[0]", number=0, done=0),
    fact(4, 5, "hops", "probe", "probe[0]", range=[0, 49]),
    fact(5, 8, "hops", "probe", "probe[0]", range=[50, 79]),
]


OPENED = fact(6, 20, "applied", "cell", "end", control="OpenCircuit()")


def left(facts: list[Fact], last: float = 10.0, meanwhile: str = "open", lost: str | None = None, gap: float = 0.0):  # type: ignore[no-untyped-def]
    return continuation(facts, round(last * S), lambda t: -1e-3 * t / S, meanwhile, round(gap * S), lost, "run")  # type: ignore[arg-type]


def test_what_is_left_is_counted_from_the_last_moment_of_the_record() -> None:
    found = left(HELD)
    assert (found.action, found.spent_ns, found.probe, found.done) == (0, 10 * S, 0, 80)
    assert found.passed == pytest.approx(-1e-2)
    assert found.assumptions["cell_meanwhile"] == "open"


def test_a_cell_that_was_held_meanwhile_has_gone_on_by_the_gap() -> None:
    assert left(HELD, meanwhile="held", gap=7).spent_ns == 17 * S
    assert left(HELD, meanwhile="open", gap=7).spent_ns == 10 * S


def test_time_in_a_pause_is_not_spent() -> None:
    paused = [
        *HELD,
        fact(6, 10, "intent", "cell", "cell[0]", **control(0, 10.2, 10.2, "pause")),
        fact(7, 11, "applied", "cell", "cell[0]", **control(0, 10.2, 10.2, "pause")),
    ]
    assert left(paused, 60).spent_ns == round(10.2 * S)
    resumed_then = [
        *paused,
        fact(8, 60, "intent", "cell", "cell[0]", **control(0, 60, 10.2, "resume")),
        fact(9, 60, "applied", "cell", "cell[0]", **control(0, 60, 10.2, "resume")),
    ]
    assert left(resumed_then, 65).spent_ns == round(15.2 * S)


def test_an_intent_without_its_applied_is_asked_for_and_never_repeated_unasked() -> None:
    lost = [*HELD, fact(6, 9, "intent", "cell", "cell[1]", **control(1, 10.4))]
    with pytest.raises(BadInput, match=r"intent of cell\[1\].*not applied a second time unasked.*--lost-intent began"):
        left(lost)
    assert left(lost, lost="never").action == 0
    assert left(lost, lost="began").action == 1


def test_a_run_that_was_completed_has_nothing_left() -> None:
    with pytest.raises(BadInput, match="was completed"):
        left([*HELD, fact(6, 20, "run_ended", "run", "run", outcome="completed")])
    with pytest.raises(BadInput, match="journal says that the cell went to open circuit"):
        left([*HELD, OPENED, fact(7, 20, "run_ended", "run", "run", outcome="interrupted")], meanwhile="held")


def test_a_cell_that_did_not_open_at_the_end_may_have_been_held() -> None:
    ended = [*HELD, fact(6, 20, "alarm", "run", "run"), fact(7, 20, "run_ended", "run", "run", outcome="fault")]
    assert left(ended, meanwhile="held", gap=7).spent_ns == 17 * S
    assert left([*HELD, OPENED, ended[-1]], meanwhile="open").spent_ns == 10 * S


def cut(laboratory: Laboratory, at: float) -> Path:
    """The folder of a run that was stopped at `at` [s], as a crash would have left it: the journal torn off there."""
    experiment = laboratory.experiment(TEXT, RIG)
    now = [0]
    done = execute(
        experiment,
        laboratory.folder / "out",
        seed=1,
        stop=lambda: now[0] > at * S,
        progress=lambda progress: now.__setitem__(0, progress.t_ns),
    )
    folder = done.path.parent
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if Fact.from_line(line).t_ns <= at * S and "run_ended" not in line]
    (folder / "journal.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


def test_a_run_goes_on_where_it_was_cut_off(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut(laboratory, 9.0)
    whole = laboratory.run(TEXT)
    out = str(laboratory.folder / "more")
    assert main(["run", "--resume", str(folder), "--cell-meanwhile", "open", "--out", out]) == 0
    with Run(Path(capsys.readouterr().out.splitlines()[-1])) as run:
        started = run.facts[0].data
        assert started["resumes"] == folder.name
        assert started["cell_meanwhile"] == "open"
        steps = [fact.step for fact in run.facts if fact.kind == "step_started" and fact.track == "cell"]
        assert steps == ["cell[1]", "cell[2]"], "nothing that was done is done again"
        t, set_point = run.cell["t_ns"].values, run.cell["control"].values
        potential = run.cell["potential"].values
        first = potential[(t > 0.05 * S) & (set_point == "potential")][0]
        # 0.3 V, minus 20 mV/s since 4 s: the ramp goes on from where the record ends.
        assert first == pytest.approx(0.3 - 20e-3 * (started["last_ns"] / S - 4.0), abs=6e-3)
        # The same specimen: as much charge in it when the program is over, to what the cut costs.
        charge = [one.cell["charge"].values for one in (run, whole)]
        assert charge[0][-1] == pytest.approx(charge[1][-1], abs=0.03 * np.ptp(charge[1]))
        assert run.hops.sizes["hop"] < whole.hops.sizes["hop"]
        assert run.outcome == "completed"
        duration = run.facts[-1].t_ns + started["last_ns"]
        assert duration == pytest.approx(whole.facts[-1].t_ns, abs=0.2 * S)


def test_what_cannot_be_resumed_is_refused(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut(laboratory, 6.0)
    assert main(["run", "--resume", str(folder)]) == 2
    assert main(["run", "--resume", str(laboratory.folder / "none"), "--cell-meanwhile", "open"]) == 2
    assert main(["run", "x.yaml", "--resume", str(folder), "--cell-meanwhile", "open"]) == 2
    assert main(["run"]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    for words in ("must be one of open, held, unknown", "is no run folder", "leave out FILE", "FILE; is missing"):
        assert words in said
    with pytest.raises(BadInput, match="is no run folder"):
        resumed_run(laboratory.folder, "open", None)
    shutil.rmtree(folder)


def resume(folder: Path, out: Path) -> int:
    return main(["run", "--resume", str(folder), "--cell-meanwhile", "open", "--out", str(out)])


def test_an_edited_experiment_is_not_resumed(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut(laboratory, 6.0)
    file, rig = folder / "experiment.yaml", folder / "rig.yaml"
    text, rig_text = file.read_text(encoding="utf-8"), rig.read_text(encoding="utf-8")
    out = laboratory.folder / "more"

    def refusal() -> str:
        assert resume(folder, out) == 2
        assert not out.exists()
        return capsys.readouterr().err

    file.write_text(text.replace("rate_mV_s: 20", "rate_mV_s: 2000"), encoding="utf-8")
    message = refusal()
    assert f"{file}:8: experiment.yaml is " in message
    assert "rate_mV_s: 2000" in message
    assert "it was '  - sweep: {from_V: 0.3, to_V: 0.1, rate_mV_s: 20, cycles: 1}' when the run began" in message
    file.write_text(text + "vary: {}\n", encoding="utf-8")
    assert "it had no such line" in refusal()
    file.unlink()
    file.symlink_to("/proc/self/mem")
    assert "cannot be read" in refusal()
    file.unlink()
    file.write_text(text, encoding="utf-8")
    rig.write_text(rig_text.replace("title:", "title: edited"), encoding="utf-8")
    assert "rig.yaml is 'title: edited" in refusal()
    rig.write_text(rig_text, encoding="utf-8")  # the remedy: undo the change
    assert resume(folder, out) == 0


def test_a_run_is_resumed_once(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut(laboratory, 6.0)
    assert resume(folder, laboratory.folder / "more") == 0
    after = Path(capsys.readouterr().out.strip()).parent
    again = laboratory.folder / "again"
    assert resume(folder, again) == 2
    message = capsys.readouterr().err
    assert f"by {after}, and its specimen is no longer where it was; resume {after};" in message
    assert not again.exists()
    # The run that continued it, if it ended before its first fact, has continued nothing.
    journal = (after / "journal.jsonl").read_text(encoding="utf-8")
    (after / "journal.jsonl").write_text("", encoding="utf-8")
    assert resume(folder, again) == 0
    (after / "journal.jsonl").write_text(journal, encoding="utf-8")
    # The remedy for a run that is void: what stands in the message is deleted.
    (folder / "resumed.json").unlink()
    assert resume(folder, again) == 0


def test_two_that_resume_at_the_same_moment_are_told_apart(laboratory: Laboratory) -> None:
    interrupted = resumed_run(cut(laboratory, 6.0), "open", None)  # both have found no mark
    interrupted.claim(laboratory.folder / "first")
    with pytest.raises(BadInput, match=r"was resumed on .* by .*first"):
        interrupted.claim(laboratory.folder / "second")


OURS = """\
title: ours
parents: [graphite-li-ec-dec]
porosity: {value: 0.4, unit: "1", u: 0.03, status: measured, source: thickness and mass}
open_circuit_potential:
  {table: ocp.csv, columns: [stoichiometry, potential_V], status: measured, source: a coin cell}
swelling_factor: {value: 0, unit: "1", u: unstated, status: assumed, source: not needed here}
"""
OCP = """\
stoichiometry,potential_V
0.001,1.6
0.01,0.9
0.05,0.35
0.2,0.21
0.5,0.12
0.9,0.08
0.99,0.01
"""


def test_a_killed_run_is_resumed_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """kill -9: no run file yet; and the rig's parameters lie beside the preset, not beside the run."""
    file, out = tmp_path / "killed.yaml", tmp_path / "out"
    text = TEXT.replace("twin/graphite", "twin/hopg").replace("specimen: {", "specimen: {parameters: ours.yaml, ")
    file.write_text(text, encoding="utf-8")
    ours = tmp_path / "ours.yaml"
    ours.write_text(OURS, encoding="utf-8")
    (tmp_path / "ocp.csv").write_text(OCP, encoding="utf-8")
    command = [sys.executable, "-m", "opsicm", "run", str(file), "--out", str(out), "--speed", "5"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not any('"hops"' in path.read_text(encoding="utf-8") for path in out.glob("*/journal.jsonl")):
                assert process.poll() is None, "it ended by itself"
        finally:
            process.kill()
    (folder,) = out.iterdir()
    assert not (folder / "run.nxs").exists()
    while in_use(folder):  # its writer brings to the disk what it has
        pass
    # What the experiment's files state must be what the run was begun with; they are seen from where its file lies.
    for path, was, now, said in (
        (ours, "value: 0.4,", "value: 0.3,", "set.leaves.porosity.value is 0.3; it was 0.4 when the run began"),
        (tmp_path / "ocp.csv", "0.5,0.12", "0.5,0.13", "set.leaves.open_circuit_potential.sha256 is "),
    ):
        original = path.read_text(encoding="utf-8")
        path.write_text(original.replace(was, now), encoding="utf-8")
        assert resume(folder, out) == 2
        assert said in capsys.readouterr().err
        path.write_text(original, encoding="utf-8")
    assert main(["run", "--resume", str(folder), "--cell-meanwhile", "open", "--out", str(out)]) == 0
    with Run(folder) as before, Run(Path(capsys.readouterr().out.splitlines()[-1])) as after:
        assert before.outcome == "unfinished"
        assert after.outcome == "completed"
        assert after.facts[0].data["resumes"] == folder.name
        assert before.hops.sizes["hop"] + after.hops.sizes["hop"] <= 200
