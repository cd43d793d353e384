"""Commands: what each does to the two tracks, what it leaves alone, and what is answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from faults.steered_run import run_steered
from opsicm.cli.live_settings import Revisions
from opsicm.experiment.controls import control_from_data
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import CellReading, Rig
from opsicm.runner.commands import Command
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.scripted import MemoryRecorder, run

S = 1_000_000_000
PAUSE, RESUME = Command("pause-probe"), Command("resume-probe")


def applied(kept: MemoryRecorder) -> list[tuple[str, int]]:
    """(control, ns) of everything that the cell was held at, the end left out."""
    return [
        (repr(control_from_data(fact.data["control"])), fact.data["at_ns"])
        for fact in kept.kinds("applied")
        if "at_ns" in fact.data
    ]


def test_a_pause_of_the_probe_withdraws_it_and_leaves_the_cell_alone(laboratory: Laboratory) -> None:
    plain = run(laboratory)
    kept = run(laboratory, TEXT, [(20 * S, PAUSE), (35 * S, RESUME)])
    assert kept.answers == [(True, "probe[0] is paused, pipette up"), (True, "probe[0] continues")]
    assert applied(kept) == applied(plain)
    t = kept.hops_of("probe[0]")["t_ns"]
    paused = next(fact.t_ns for fact in kept.kinds("command"))
    assert paused - 20 * S < 0.2 * S, "within the hop in flight"
    assert not np.any((t > paused) & (t < 35 * S))
    assert np.any(t > 36 * S)
    inside = [row for row in kept.rows if 21 * S < row.t_ns < 34 * S]
    assert len(inside) > 10, "slow rows go on"
    before = [row.z + row.coarse_z for row in kept.rows if row.t_ns < 20 * S][-1]
    assert min(row.z + row.coarse_z for row in inside) > before + 40e-6
    at = np.linspace(1 * S, 99 * S, 500)
    potentials = [np.interp(at, k.column("t_ns"), k.column("potential")) for k in (plain, kept)]
    assert np.max(np.abs(potentials[0] - potentials[1])) < 1e-3
    assert kept.ending is not None
    assert kept.ending.outcome == "completed"


def test_a_pause_of_the_cell_is_open_circuit_and_what_is_left_follows(laboratory: Laboratory) -> None:
    kept = run(laboratory, TEXT, [(20 * S, Command("pause-cell")), (30 * S, Command("resume-cell"))])
    controls = applied(kept)
    assert [control.split("(")[0] for control, _ in controls] == [
        "PotentialRamp",
        "OpenCircuit",
        "PotentialRamp",
        "PotentialRamp",
    ]
    (_, began), (_, paused), (left, resumed), (_, turned) = controls
    assert 20 * S < paused < 20.5 * S
    # At most a turn of 1 s until it is read, another until the cell is asked, and 0.2 s of notice.
    assert 30 * S < resumed < 32.2 * S
    # The ramp goes on from where it was left, for what was left of it: 0.4 V at 8 mV/s are 50 s.
    start = 0.4 - 8e-3 * (paused - began) * 1e-9
    assert left.startswith(f"PotentialRamp(start={start:.4f}"[:25])
    assert (paused - began) + (turned - resumed) == 50 * S
    inside = [row for row in kept.rows if paused + S / 10 < row.t_ns < resumed]
    assert len(inside) > 5
    assert all(abs(row.current) < 6e-6 and row.control == "open_circuit" for row in inside)
    assert [fact.data["what"] for fact in kept.kinds("intent")] == ["next", "pause", "resume", "next", "next"]


def test_a_charge_counts_through_a_pause_of_the_cell(laboratory: Laboratory) -> None:
    text = TEXT[: TEXT.index("cell:")] + (
        "cell:\n  - constant_current: {current_mA: -0.1, until: {charge_mAh: 0.001}}\n  - rest: {for_s: 1}\n"
        "envelope: {cell_V: [-0.6, 2.0]}\n"
    )  # 36 s of 0.1 mA
    kept = run(laboratory, text, [(10 * S, Command("pause-cell")), (60 * S, Command("resume-cell"))])
    charge = kept.column("charge")
    assert charge[-1] - charge[0] == pytest.approx(-3.6e-3, rel=0.03)  # the loop sees it up to a second late
    times = [at for _, at in applied(kept)]
    assert times[3] - times[2] + times[1] - times[0] == pytest.approx(36 * S, abs=1.1 * S)


def test_skip_ends_a_step_of_either_track(laboratory: Laboratory) -> None:
    text = TEXT.replace("probe:\n", "probe:\n  - park: {height_um: 10, for_s: 1000}\n")
    kept = run(laboratory, text, [(5 * S, Command("skip")), (20 * S, Command("skip", track="cell"))])
    assert kept.answers == [(True, "probe[0] has ended"), (True, "cell[0] ends within 0.2 s")]
    assert kept.hops_of("probe[1]")["t_ns"].min() < 6 * S
    end = kept.facts[-1].t_ns
    assert 20 * S < end < 20.5 * S
    assert [fact.step for fact in kept.kinds("step_ended")] == ["probe[0]", "cell[0]"]


def test_set_changes_how_the_present_step_hops(laboratory: Laboratory) -> None:
    asked = [
        (10 * S, Command("set", key="probe.setpoint_pct", value=4.0)),
        (20 * S, Command("set", key="probe.fall_nm_per_ms", value=900.0)),
        (25 * S, Command("set", key="probe.amplitude_nm", value=1000.0)),
    ]
    kept = run(laboratory, TEXT, asked)
    assert [accepted for accepted, _ in kept.answers] == [True, False, True]
    assert "the tip would touch" in kept.answers[1][1], "a crash is refused as check refuses it"
    hops = kept.hops_of("probe[0]")
    assert set(hops["setpoint"][hops["t_ns"] < 10 * S]) == {0.02}
    assert set(hops["setpoint"][hops["t_ns"] > 10.5 * S]) == {0.04}
    period = np.diff(hops["t_ns"])
    assert np.median(period[hops["t_ns"][1:] > 26 * S]) < 0.6 * np.median(period[hops["t_ns"][1:] < 10 * S])
    facts = kept.kinds("command")
    assert [fact.data["accepted"] for fact in facts] == [True, False, True]
    assert all(fact.data["sender"] == {"from": "test"} and fact.track == "probe" for fact in facts)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (RESUME, "the probe is not paused"),
        (Command("resume-cell"), "the cell is not paused"),
        (Command("set", key="probe.setpoint_pct", value=98.0), "probe[0].hop.setpoint_pct is 98; must be at most 50 %"),
        (Command("set", key="probe.setpoint_pct", value=98.0), "did you mean a drop of 2?"),
        (Command("set", key="probe.amplitude_nm", value=-4.0), "must be at least 1 nm; give a value of at least 1"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(laboratory: Laboratory, command: Command, words: str) -> None:
    kept = run(laboratory, TEXT.replace("rate_mV_s: 8", "rate_mV_s: 200"), [(S, command)])
    accepted, message = kept.answers[0]
    assert not accepted
    assert words in message
    assert kept.ending is not None
    assert kept.ending.outcome == "completed"


def test_a_note_is_a_fact_and_a_stop_ends_the_run_safely(laboratory: Laboratory) -> None:
    kept = run(laboratory, TEXT, [(3 * S, Command("note", text="cloudy")), (5 * S, Command("stop")), (5 * S, PAUSE)])
    (note,) = kept.kinds("note")
    assert note.data["text"] == "cloudy"
    assert kept.answers[-1] == (False, "the run is stopping")
    assert kept.ending is not None
    assert kept.ending.outcome == "interrupted"
    assert [fact.kind for fact in kept.facts[-3:]] == ["command", "applied", "run_ended"]


@pytest.mark.parametrize("paused", [PAUSE, Command("pause-cell")])
def test_a_stop_during_a_pause_ends_the_run_the_same_way(laboratory: Laboratory, paused: Command) -> None:
    kept = run(laboratory, TEXT, [(3 * S, paused), (9 * S, Command("stop"))])
    assert [fact.kind for fact in kept.facts[-3:]] == ["command", "applied", "run_ended"]
    assert kept.facts[-1].t_ns < 10.2 * S


def test_a_limit_crossed_during_a_pause_ends_the_run_the_same_way(laboratory: Laboratory) -> None:
    text = TEXT.replace("cell_V: [-0.6, 2.0]", "cell_V: [-0.6, 2.0], cell_mA: 0.2")
    kept = run(laboratory, text, [(3 * S, PAUSE)], RIG)
    assert kept.ending is not None
    assert "envelope.cell_mA" in str(kept.ending.error)
    assert [fact.kind for fact in kept.facts[-3:]] == ["alarm", "applied", "run_ended"]


class Watching:
    """A watchdog's heartbeats, counted: the rig is another process's and does not stand still."""

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> tuple[str, ...]:
        self.beats += 1
        return ()

    def make_safe(self) -> dict[str, bool]:
        return {}

    def make_roles_safe(self, _roles: Sequence[str]) -> dict[str, bool]:
        return {}


def slow_check(monkeypatch: pytest.MonkeyPatch, until: threading.Event) -> threading.Event:
    """A check of settings that begins when `until` is set; the event returned is set when it is over."""
    plain, over = Revisions.__call__, threading.Event()

    def slow(self: Revisions, path: str, key: str, value: float) -> HopParameters:
        until.wait()
        try:
            return plain(self, path, key, value)
        finally:
            over.set()

    monkeypatch.setattr(Revisions, "__call__", slow)
    monkeypatch.setattr("opsicm.runner.steering._WAITED_FOR", 0.01)
    return over


SET = Command("set", key="probe.setpoint_pct", value=4.0)


def test_a_watched_run_does_not_wait_for_the_check_of_a_setting(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a minute for an experiment of days, in which a run that waited would send no heartbeat."""
    checked, watch = threading.Event(), Watching()
    over = slow_check(monkeypatch, checked)

    def let_it_end(rig: Rig) -> None:
        plain = rig.potentiostat.read

        def read() -> CellReading:
            if rig.clock.now_ns() > 30 * S:
                checked.set()
                assert over.wait(60.0)  # a twin at full speed would be at its end first
            return plain()

        rig.potentiostat.read = read  # type: ignore[method-assign]

    asked = [(10 * S, SET), (12 * S, SET), (14 * S, Command("note", text="meanwhile"))]
    kept = run_steered(laboratory.experiment(TEXT), asked, change=let_it_end, watch=watch)
    told = [(fact.kind, fact.data["accepted"], fact.t_ns > 30 * S) for fact in kept.facts if "sender" in fact.data]
    assert told[:2] == [("command", False, False), ("note", True, False)]
    assert "probe.setpoint_pct=4 is still being checked: try again" in kept.answers[0][1]
    assert told[2] == ("command", True, True)
    hops = kept.hops_of("probe[0]")
    assert set(hops["setpoint"][hops["t_ns"] < 30 * S]) == {0.02}
    assert hops["setpoint"][-1] == 0.04
    assert watch.beats > 50


def test_a_check_that_outlasts_its_run_is_answered(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    slow_check(monkeypatch, never)
    kept = run_steered(laboratory.experiment(TEXT), [(10 * S, SET), (20 * S, Command("stop"))], watch=Watching())
    never.set()
    assert kept.answers == [(True, "pipette up, cell to open circuit, file kept"), (False, "the run has ended")]
    assert [fact.kind for fact in kept.facts[-2:]] == ["command", "run_ended"]
