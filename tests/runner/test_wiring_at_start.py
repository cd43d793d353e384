"""A run on instruments looks at its wiring before anything moves, and ends there where it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from opsicm.cli import execute as module
from opsicm.cli.execute import execute
from opsicm.cli.rigs import load_rig
from opsicm.cli.wiring import check_at_start
from opsicm.instruments.wiring_check import Finding
from opsicm.record.reader import Run
from tests.fixtures.analogue_rig import EXPERIMENT, analogue_rig
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

SHORT = TEXT.replace("to_V: 0.0, rate_mV_s: 8", "to_V: 0.38, rate_mV_s: 20")
GOOD = Finding("bias", True, "a step of 100 mV changed the pipette current by 512 pA (expected 513 pA)", proves="it is")
BAD = Finding("bias sign", False, "a more positive command made a more NEGATIVE current", "correct command_sign")
UNTOLD = Finding("reference", None, "too little to tell the signs apart")


def run(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> tuple[Any, Run]:
    monkeypatch.setattr(module, "check_at_start", lambda *_: lambda: findings)
    execution = execute(laboratory.experiment(SHORT), laboratory.folder / "out", seed=1)
    return execution.ending, Run(execution.path)


def test_a_wrong_sign_ends_the_run_before_anything_moves(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, record = run(laboratory, monkeypatch, [GOOD, BAD])
    with record:
        assert ending.outcome == "fault"
        assert ending.safe
        assert str(ending.error) == (
            "wiring, bias sign; a more positive command made a more NEGATIVE current; correct command_sign"
        )
        assert record.hops.sizes["hop"] == 0
        assert record.slow.sizes["row"] == 0, "not even a bias was applied"
        assert not [fact for fact in record.facts if fact.kind == "intent"], "nothing was asked of the cell"
        told = [(f.data["message"], f.data["ok"]) for f in record.facts if f.kind == "quality"]
    assert told == [
        (f"wiring, bias: {GOOD.sentence}", True),
        ("wiring, bias sign: a more positive command made a more NEGATIVE current", False),
    ]


def test_what_passes_and_what_cannot_be_told_is_recorded(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, record = run(laboratory, monkeypatch, [GOOD, UNTOLD])
    with record:
        assert ending.outcome == "completed"
        told = [f.data["ok"] for f in record.facts if str(f.data.get("message", "")).startswith("wiring, ")]
    assert told == [True, None]


def test_it_is_for_instruments_that_can_harm(laboratory: Laboratory) -> None:
    def checks(rig: str) -> bool:
        loaded = load_rig(laboratory.experiment(EXPERIMENT, rig), None)
        prepared: Any = None  # asked only when the check runs
        return check_at_start(loaded, prepared, prepared) is not None

    scanner = "  scanner:\n    driver: twin"
    assert scanner in RIG
    assert not checks(RIG)
    assert not checks(analogue_rig()), "nothing there can move a tip"
    assert checks(analogue_rig().replace(scanner, "  scanner:\n    driver: nidaqmx"))
