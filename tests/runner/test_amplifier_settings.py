"""Gain, filter and mode of the amplifier in the record: first ones, every change, suspect blocks, the mode's stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from opsicm.cli import execute as module
from opsicm.cli.execute import execute
from opsicm.core.facts import AMPLIFIER_FLAG, Quality
from opsicm.instruments.roles import Rig, RoleState
from opsicm.record.reader import Run
from opsicm.record.replay import Replay
from opsicm.record.validate import validate
from tests.fixtures.laboratory import TEXT, Laboratory

SHORT = TEXT.replace("to_V: 0.0, rate_mV_s: 8", "to_V: 0.36, rate_mV_s: 20")
AS_WRITTEN: Mapping[str, float | str] = {"gain_V_A": 1e9, "filter_Hz": 5000.0, "mode": "voltage_clamp"}
TURNED = "the gain is 10 mV/pA and the rig file says 1: currents would be 10 times too large"


class Telling:
    """An amplifier that tells its settings, and how they change with time."""

    def __init__(self, amplifier: Any, now_ns: Callable[[], int], told: Callable[[float], RoleState]) -> None:
        self._amplifier, self._now_ns, self._told = amplifier, now_ns, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._amplifier, name)

    def state(self) -> RoleState:
        return self._told(self._now_ns() * 1e-9)


@pytest.fixture
def run_with(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], RoleState]], Any]:
    prepare = vars(module)["prepare"]

    def run(told: Callable[[float], RoleState]) -> Any:
        def telling(*arguments: Any, **named: Any) -> Any:
            prepared = prepare(*arguments, **named)
            rig: Rig = prepared.rig
            amplifier: Any = Telling(rig.amplifier, rig.clock.now_ns, told)
            return replace(prepared, rig=replace(rig, amplifier=amplifier))

        monkeypatch.setattr(module, "prepare", telling)
        return execute(laboratory.experiment(SHORT), laboratory.folder / "out", seed=1)

    return run


def amplifier_facts(run: Run) -> list[tuple[str, str]]:
    return [
        (f.kind, f.data["message"]) for f in run.facts if f.data.get("role") == "amplifier" and "quality" not in f.data
    ]


def qualities(path: Path) -> list[int]:
    with h5py.File(path, "r") as file:
        blocks = file["entry/samples/segment_0001/blocks"]
        names = [name.decode() for name in blocks.attrs["columns"]]
        column: list[int] = blocks[:, names.index("quality_pipette_current")].tolist()
        return column


def test_settings_are_stored_with_every_row_and_a_turned_switch_is_flagged(run_with: Any) -> None:
    def told(seconds: float) -> RoleState:
        if seconds < 1.5:
            return RoleState(0, settings=AS_WRITTEN)
        return RoleState(0, Quality.SUSPECT, TURNED, {**AS_WRITTEN, "gain_V_A": 1e10})

    execution = run_with(told)
    assert execution.ending.outcome == "completed"
    assert all(check.ok for check in validate(execution.path))
    with Run(execution.path) as run:
        t, gain = run.slow["t_ns"].values * 1e-9, run.slow["amplifier_gain"].values
        assert set(gain[t < 0.4]) == {1e9}
        assert set(gain[t > 2.5]) == {1e10}
        assert set(run.slow["amplifier_filter"].values) == {5000.0}
        assert set(run.slow["amplifier_mode"].values) == {"voltage_clamp"}
        assert run.slow["amplifier_gain"].attrs["units"] == "V/A"
        assert amplifier_facts(run) == [
            ("quality", "amplifier: gain 1 mV/pA, filter 5 kHz, voltage clamp"),
            ("alarm", f"amplifier: gain 10 mV/pA, filter 5 kHz, voltage clamp; {TURNED}"),
        ]
        flags, at = run.hops["flags"].values, run.hops["t_ns"].values * 1e-9
        assert np.all(flags[at > 1.6] == AMPLIFIER_FLAG)
        assert np.all(flags[at < 0.4] == 0)
    kept = qualities(execution.path)
    assert kept[0] == Quality.GOOD
    assert kept[-1] == Quality.SUSPECT
    first = kept.index(Quality.SUSPECT)
    assert set(kept[first:]) == {Quality.SUSPECT}, "of that block and on"
    with Replay(execution.path) as replay:
        assert {reading.amplifier_gain for reading in replay.readings()} == {1e9, 1e10}


def test_a_mode_without_a_current_ends_the_run(run_with: Any) -> None:
    def told(seconds: float) -> RoleState:
        mode = "voltage_clamp" if seconds < 1.0 else "current_clamp"
        return RoleState(0, Quality.GOOD, "", {"mode": mode})

    execution = run_with(told)
    assert execution.ending.outcome == "fault"
    assert "amplifier mode is current clamp; only in voltage clamp is the scaled output the pipette's current" in str(
        execution.ending.error
    )


def test_an_amplifier_that_tells_nothing_says_why_once(run_with: Any) -> None:
    execution = run_with(lambda _: RoleState(0, message="gain and filter and mode not read back: look at the panel"))
    with Run(execution.path) as run:
        assert amplifier_facts(run) == [
            ("quality", "amplifier: gain and filter and mode not read back: look at the panel")
        ]
        assert np.isnan(run.slow["amplifier_gain"].values).all()
        assert set(run.slow["amplifier_mode"].values) == {""}
        assert not run.hops["flags"].values.any()
