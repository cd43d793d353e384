"""A run that loses an instrument pauses, with the pipette up and the cell open, and goes on when it is resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
import pytest

from faults.steered_run import MemoryRecorder, run_steered
from opsicm.core.errors import BadInput
from opsicm.core.facts import Fact, Quality
from opsicm.instruments.roles import CellReading, Rig
from opsicm.runner.commands import Command
from opsicm.runner.runner import StampWatch
from tests.fixtures.breakable import ROLES, Breakable, breakable
from tests.fixtures.laboratory import Laboratory

S = 1_000_000_000
TEXT = """\
opsicm: 1
title: an instrument is lost
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {area_cm2: 0.5, thickness_um: 28, loading_mg_cm2: 0.05}
cell:
  - hold: {potential_V: 0.4, for_s: 5}
  - sweep: {from_V: 0.4, to_V: 0.3, rate_mV_s: 10, cycles: 1}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.6, 2.0], run_h: 0.02}
"""
RESUME = (Command("resume-probe"), Command("resume-cell"))


class Reaches:
    """A watchdog whose channels reach these roles."""

    def __init__(self, *reached: str) -> None:
        self._reached = reached
        self.asked: list[str] = []

    def beat(self) -> Sequence[str]:
        return ()

    def make_safe(self) -> Mapping[str, bool]:
        return {}

    def make_roles_safe(self, roles: Sequence[str]) -> Mapping[str, bool]:
        self.asked += roles
        return {role: True for role in roles if role in self._reached}


class Kept:
    """A run with these instruments lost in these intervals [s], and commands at these moments [s]."""

    def __init__(
        self,
        laboratory: Laboratory,
        cuts: Mapping[str, tuple[float, float]],
        commands: Sequence[tuple[float, Command]] = (),
        watch: Reaches | None = None,
        change: Callable[[dict[str, Breakable]], None] = lambda _: None,
        text: str = TEXT,
    ) -> None:
        self.calls: list[tuple[int, str, str]] = []
        self.heights: list[float] = []

        def instead(rig: Rig) -> Rig:
            broken, roles, self.calls = breakable(rig, cuts)
            change(roles)
            self.plain = rig
            return broken

        scripted = [(round(t * S), command) for t, command in commands]
        self.run: MemoryRecorder = run_steered(laboratory.experiment(text), scripted, watch=watch, instead=instead)

    @property
    def outcome(self) -> str:
        assert self.run.ending is not None
        return self.run.ending.outcome

    def messages(self, *kinds: str) -> list[str]:
        return [str(fact.data["message"]) for fact in self.run.kinds(*kinds)]

    def first(self, *kinds: str) -> Fact:
        return self.run.kinds(*kinds)[0]

    def calls_between(self, since_ns: int, until_ns: int) -> list[tuple[str, str]]:
        return [(role, name) for t, role, name in self.calls if since_ns <= t < until_ns]


UP_BY = {
    "hop_controller": ["scanner", "coarse stage"],
    "scanner": ["hop controller", "coarse stage"],
    "coarse_stage": ["hop controller"],
    "potentiostat": ["hop controller", "coarse stage"],
    "amplifier": ["hop controller", "coarse stage"],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_lost_instrument_pauses_the_run_and_a_resumed_one_completes_it(laboratory: Laboratory, role: str) -> None:
    kept = Kept(laboratory, {role: (8.3, 20.0)}, [(15.0, RESUME[0]), *((25.0, command) for command in RESUME)])
    alarm = kept.first("alarm")
    assert alarm.data["lost"] == role
    assert "the line was cut; plug it in again" in str(alarm.data["message"])
    assert 8.3 <= alarm.t_ns * 1e-9 <= 9.4  # a turn of a twin is a second
    up, cell = kept.run.kinds("alarm")[1:3]
    assert up.data["up_by"] == UP_BY[role]
    assert up.t_ns - alarm.t_ns < 0.1 * S
    assert str(cell.data["message"]).startswith(
        "cell NOT opened: the potentiostat is out of reach" if role == "potentiostat" else "cell at open circuit"
    )
    names = kept.calls_between(alarm.t_ns, 20 * S)
    order = [call for call in names if call[1] in ("safe", "move_to")]
    if role != "potentiostat":
        assert order.index(("potentiostat", "safe")) == len(order) - 1, "probe up, then cell open"
    # Nothing moves and nothing is applied until it is resumed.
    assert not any(name in ("run", "apply") for _, name in kept.calls_between(alarm.t_ns + S // 10, 25 * S))
    # Asked too early it says why not.
    refused, *accepted = kept.run.answers
    assert refused[0] is False
    assert f"{role.replace('_', ' ')} lost" in refused[1]
    assert [answer[0] for answer in accepted] == [True, True]
    back = next(fact for fact in kept.run.kinds("quality") if "answers again" in str(fact.data["message"]))
    assert 20.0 <= back.t_ns * 1e-9 <= 21.1
    gaps = {fact.track: fact.data for fact in kept.run.kinds("gap")}
    assert set(gaps) == {"cell", "probe"}
    for gap in gaps.values():
        assert gap["lost"] == [role]
        assert gap["from_ns"] * 1e-9 == pytest.approx(8.8, abs=1.0)
        assert gap["to_ns"] * 1e-9 == pytest.approx(25.0, abs=1.1)
    assert kept.outcome == "completed"


@pytest.mark.parametrize("role", ["scanner", "potentiostat"])
def test_the_cell_goes_on_where_it_was_and_nothing_is_applied_twice(laboratory: Laboratory, role: str) -> None:
    plain = Kept(laboratory, {})
    kept = Kept(laboratory, {role: (8.3, 20.0)}, [(25.0, command) for command in RESUME])
    applied = [fact.data for fact in kept.run.kinds("applied") if "at_ns" in fact.data]
    words = [data["what"] for data in applied]
    assert words == ["next", "next", "pause", "resume", "next"]
    pause, resume = applied[2], applied[3]
    # The sweep began at 5 s from 0.4 V; what is left of it begins where it was left.
    assert pause["spent_ns"] * 1e-9 == pytest.approx(pause["at_ns"] * 1e-9 - 5.0, abs=1e-6)
    assert resume["control"]["start_V"] == pytest.approx(0.4 - 0.01 * pause["spent_ns"] * 1e-9, abs=1e-9)
    paused = (resume["at_ns"] - pause["at_ns"]) * 1e-9
    last = [fact.t_ns * 1e-9 for fact in kept.run.kinds("step_ended") if fact.track == "cell"][-1]
    plainly = [fact.t_ns * 1e-9 for fact in plain.run.kinds("step_ended") if fact.track == "cell"][-1]
    assert last == pytest.approx(plainly + paused, abs=1e-3)
    hops = kept.run.hops_of("probe[0]")
    assert np.all(np.diff(hops["hop"]) == 1)
    assert np.all(np.diff(hops["t_ns"]) > 0)
    assert hops["segment"][-1] == hops["segment"][0] + 1  # approached anew, in samples of their own


def test_hops_that_had_arrived_are_kept(laboratory: Laboratory) -> None:
    kept = Kept(laboratory, {"hop_controller": (8.3, 20.0)}, [(25.0, command) for command in RESUME])
    alarm = kept.first("alarm")
    last_before = max(t for t in kept.run.hops_of("probe[0]")["t_ns"] if t < alarm.t_ns)
    assert alarm.t_ns - last_before < 0.15 * S
    ranges = [fact.data["range"] for fact in kept.run.kinds("hops")]
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(ranges))


def test_where_nothing_lifts_the_watchdogs_channels_do(laboratory: Laboratory) -> None:
    watch = Reaches("scanner", "potentiostat")
    cuts = dict.fromkeys(("hop_controller", "scanner", "coarse_stage", "potentiostat"), (8.3, 1e9))
    kept = Kept(laboratory, cuts, [(12.0, Command("stop"))], watch)
    assert watch.asked == ["hop_controller", "scanner", "coarse_stage", "potentiostat"]
    messages = kept.messages("alarm")
    assert "pipette up by scanner through the watchdog's channel" in messages
    assert "cell at open circuit through the watchdog's channel" in messages
    assert kept.run.kinds("gap"), "what is missing at the end is recorded too"


def test_a_pipette_that_nobody_lifts_is_told_to_be_so(laboratory: Laboratory) -> None:
    cuts = dict.fromkeys(("hop_controller", "scanner", "coarse_stage"), (8.3, 1e9))
    kept = Kept(laboratory, cuts, [(12.0, Command("stop"))])
    assert "pipette NOT known to be up: withdraw it by hand" in kept.messages("alarm")
    assert kept.run.ending is not None
    assert not kept.run.ending.safe


def test_a_run_that_stays_without_ends_by_its_longest_duration(laboratory: Laboratory) -> None:
    kept = Kept(laboratory, {"scanner": (8.3, 1e9)})
    assert kept.outcome == "fault"
    assert "envelope.run_h is 0.02" in str(kept.run.ending and kept.run.ending.error)
    rows = [row for row in kept.run.rows if row.t_ns > 10 * S]
    assert len(rows) > 40  # what answers is read and recorded meanwhile
    assert all(isnan(row.z) and not isnan(row.coarse_z) for row in rows)
    assert all(abs(row.current) < 6e-6 and row.control == "open_circuit" for row in rows)


def test_an_instrument_that_is_lost_at_the_start_is_a_refusal(laboratory: Laboratory) -> None:
    kept = Kept(laboratory, {"coarse_stage": (0.0, 1e9)})
    error = kept.run.ending and kept.run.ending.error
    assert isinstance(error, BadInput)
    assert error.exit_code == 2
    assert not any(name in ("move_to", "apply", "run", "command") for _, _, name in kept.calls)


def test_a_control_that_may_have_begun_is_asked_about(laboratory: Laboratory) -> None:
    """The sweep was handed over 1.5 s before the hold ends at 5 s; the potentiostat is lost in between."""
    kept = Kept(laboratory, {"potentiostat": (4.2, 10.0)}, [(12.0, RESUME[1]), (13.0, RESUME[1]), (14.0, RESUME[0])])
    first, *others = kept.run.answers
    assert first[0] is False
    assert "was handed over to begin at 5.000 s" in first[1]
    assert "ask once more" in first[1]
    assert [answer[0] for answer in others] == [True, True]
    assert kept.outcome == "completed"
    applied = [fact.data for fact in kept.run.kinds("applied") if "at_ns" in fact.data]
    assert [data["what"] for data in applied] == ["next", "pause", "resume", "next", "next"]


def test_a_stale_instrument_is_flagged_at_once_and_its_value_is_no_longer_recorded(laboratory: Laboratory) -> None:
    def stale(roles: dict[str, Breakable]) -> None:
        roles["amplifier"].quality = lambda t: Quality.STALE if 8 * S <= t < 11 * S else Quality.GOOD

    kept = Kept(laboratory, {}, change=stale)
    flagged = [fact for fact in kept.run.kinds("quality") if fact.data.get("role") == "amplifier"]
    assert [fact.data["quality"] for fact in flagged] == [Quality.STALE, Quality.GOOD]
    assert 8.0 <= flagged[0].t_ns * 1e-9 <= 9.1
    meanwhile = [row for row in kept.run.rows if flagged[0].t_ns < row.t_ns < flagged[1].t_ns]
    assert meanwhile
    assert all(isnan(row.pipette_current) for row in meanwhile)
    # Nobody hops by a current that stands still.
    hops = kept.run.hops_of("probe[0]")["t_ns"]
    assert not np.any((hops > flagged[0].t_ns + 0.2 * S) & (hops < flagged[1].t_ns))
    assert kept.outcome == "completed"


def test_a_stuck_potentiostat_is_flagged_within_two_periods_and_leaves_no_rows(laboratory: Laboratory) -> None:
    def stuck(roles: dict[str, Breakable]) -> None:
        plain = roles["potentiostat"]._device.read
        kept: list[CellReading] = []

        def read() -> CellReading:
            if not kept or not 8 * S <= roles["potentiostat"]._now() < 13 * S:
                kept[:] = [plain()]
            return kept[0]

        roles["potentiostat"]._device.read = read

    kept = Kept(laboratory, {}, change=stuck)
    flagged = [fact for fact in kept.run.kinds("quality") if fact.data.get("role") == "potentiostat"]
    assert [fact.data["quality"] for fact in flagged] == [Quality.STALE, Quality.GOOD]
    assert "no newer reading for" in str(flagged[0].data["message"])
    assert 9.5 <= flagged[0].t_ns * 1e-9 <= 11.1  # two periods of a second, from the last reading before 8 s
    stamps = [row.t_ns for row in kept.run.rows]
    assert not any(flagged[0].t_ns < stamp < flagged[1].t_ns - S for stamp in stamps)


@pytest.mark.parametrize(("role", "method", "answer"), [
    ("amplifier", "read", (float("nan"), 0.3)),
    ("scanner", "read_z", float("nan")),
    ("coarse_stage", "position", float("inf")),
    ("potentiostat", "read", CellReading(0, float("nan"), 0.0, 0.0, None, "open_circuit")),
])  # fmt: skip
def test_a_number_that_is_none_is_a_loss(laboratory: Laboratory, role: str, method: str, answer: Any) -> None:
    def garbage(roles: dict[str, Breakable]) -> None:
        device, now = roles[role]._device, roles[role]._now
        plain = getattr(device, method)
        setattr(device, method, lambda: answer if 8 * S <= now() < 9.5 * S else plain())

    kept = Kept(laboratory, {}, [(15.0, command) for command in RESUME], change=garbage)
    assert kept.first("alarm").data["lost"] == role
    assert "is no number" in str(kept.first("alarm").data["message"])
    assert kept.run.kinds("gap")
    assert kept.outcome == "completed"


def test_a_stamp_watch_learns_how_often_readings_come() -> None:
    watch = StampWatch(2 * S)
    for second in range(40):  # a new one every ten seconds
        watch.take(second * S, second // 10 * 10 * S)
        assert bool(watch.message) == (3 <= second < 10)
