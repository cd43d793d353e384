"""Cell steps that end where they begin: `check` refuses them, its remedy works, and a run that meets one says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsicm.cli.check import checked_run
from opsicm.cli.execute import execute
from opsicm.core.errors import BadInput
from opsicm.record.reader import Run
from tests.fixtures.laboratory import TEXT, Laboratory

HEAD = TEXT[: TEXT.index("cell:")]
REST = "  - rest: {for_s: 3}\n"
PARK = "probe:\n  - park: {height_um: 20}\n"
ENVELOPE = "envelope: {cell_V: [-0.6, 2.0]}\n"

# The specimen rests at 0.4 V: a step, what is named, and the step that the remedy makes of it.
EMPTY = {
    "wrong sign": (
        "constant_current: {current_mA: 0.05, until: {potential_V: 0.1}}",
        ("current_mA is 0.05; ends where it begins", "at 0.400 V", "already above its cut-off of 0.1 V"),
        "constant_current: {current_mA: -0.05, until: {potential_V: 0.1}}",
    ),
    "wrong word": (
        "constant_current: {lithiate: 50 uA, until: {potential_V: 0.6}}",
        ("lithiate is '50 uA'", "already below its cut-off of 0.6 V", "a current that lithiates lowers"),
        "constant_current: {delithiate: 0.05 mA, until: {potential_V: 0.6}}",
    ),
    "beside a time": (
        "constant_current: {current_mA: 0.05, until: {potential_V: 0.1, for_s: 30}}",
        ("current_mA is 0.05; ends where it begins",),
        "constant_current: {current_mA: -0.05, until: {potential_V: 0.1, for_s: 30}}",
    ),
    "gitt": (
        "gitt: {current_mA: 0.05, pulse_s: 4, rest_s: 4, pulses: 2, until: {potential_V: 0.1}}",
        ("gitt.current_mA is 0.05; ends where it begins",),
        "gitt: {current_mA: -0.05, pulse_s: 4, rest_s: 4, pulses: 2, until: {potential_V: 0.1}}",
    ),
    "hold": (
        "hold: {potential_V: 0.4, until: {current_mA: 0.1}}",
        ("hold.until; ends where it begins", "already below the 0.1 mA that end the hold"),
        "hold: {potential_V: 0.4, for_s: 4}",
    ),
    "own drop": (
        "constant_current: {current_mA: -5, until: {potential_V: 0.39}}",
        ("current_mA is -5; ends where it begins", "the current's own drop takes it to its cut-off of 0.39 V at once"),
        "constant_current: {current_mA: -0.005, until: {potential_V: 0.39}}",
    ),
}


def experiment(step: str, after: str = "") -> str:
    return f"{HEAD}cell:\n{REST}  - {step}\n{after}{PARK}{ENVELOPE}"


@pytest.mark.parametrize("name", EMPTY)
def test_check_refuses_a_step_that_does_nothing_and_its_remedy_works(tmp_path: Path, name: str) -> None:
    step, words, mended = EMPTY[name]
    laboratory = Laboratory(tmp_path)
    with pytest.raises(BadInput) as refused:
        checked_run(laboratory.experiment(experiment(step)), None, None)
    (problem,) = refused.value.problems
    assert problem.line == 8
    for word in words:
        assert word in str(problem)
    checked_run(laboratory.experiment(experiment(mended)), None, None)


def test_both_conventions_are_named_and_the_current_is_written_the_other_way(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        checked_run(Laboratory(tmp_path).experiment(experiment(EMPTY["wrong sign"][0])), None, None)
    said = str(refused.value)
    assert "here a negative current lithiates (IUPAC: cathodic is negative)" in said
    assert "where cathodic currents are written positive, or the charge of a full cell is" in said
    assert "to go to 0.1 V write current_mA: -0.05, or lithiate: 0.05 mA" in said
    assert "choose a cut-off above 0.400 V" in said
    number, word = re.search(r"write (current_mA: \S+), or (lithiate: \S+ mA)", said).groups()  # type: ignore[union-attr]
    for written in (number, word):
        step = f"constant_current: {{{written}, until: {{potential_V: 0.1}}}}"
        checked_run(Laboratory(tmp_path).experiment(experiment(step)), None, None)


@pytest.mark.parametrize("name", EMPTY)
def test_a_run_that_meets_one_stops_and_says_why(tmp_path: Path, name: str) -> None:
    """Not checked before: on a rig the specimen may rest elsewhere than was thought."""
    execution = execute(Laboratory(tmp_path).experiment(experiment(EMPTY[name][0], REST)), tmp_path / "out", seed=1)
    assert execution.ending.outcome == "fault"
    said = str(execution.ending.error)
    assert said.startswith("step cell[1] is over as soon as it began, at ")
    assert "did nothing" in said
    remedies = {"hold": "delete the hold, write for_s", "own drop": "use a smaller current"}
    assert remedies.get(name, "turn the sign of the current, or move until: here a negative current lithiates") in said
    with Run(execution.path) as run:
        alarms = [fact.data["message"] for fact in run.facts if fact.kind == "alarm"]
        assert alarms == [said]
        assert float(run.cell["t_ns"][-1]) * 1e-9 < 6.0


def test_a_guard_reached_at_once_in_a_later_round_is_no_mistake(tmp_path: Path) -> None:
    """A titration written as a repeat: its last pulses end at the cut-off, beside a time that usually ends them."""
    pulse = "{constant_current: {lithiate: 50 uA, until: {potential_V: 0.2, for_s: 4}}}"
    text = f"{HEAD}cell:\n  - repeat: {{times: 12, steps: [{pulse}]}}\n{PARK}{ENVELOPE}"
    loaded = Laboratory(tmp_path).experiment(text)
    prediction = checked_run(loaded, None, None)
    assert prediction.duration is not None
    assert prediction.duration < 40.0  # of 48: the last rounds end at once
    assert execute(loaded, tmp_path / "out", seed=1).ending.outcome == "completed"
    only = text.replace(", for_s: 4", "")
    with pytest.raises(BadInput, match="in round 2, the specimen is at"):
        checked_run(Laboratory(tmp_path).experiment(only), None, None)


def test_a_step_too_short_to_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cell\[1\]\.rest; holds a control for less than 1 ms"):
        checked_run(Laboratory(tmp_path).experiment(experiment("rest: {for_s: 1e-6}")), None, None)
