"""F7: an instrument is cut off on an emulated bench, every driver with its vendor's client: in a hop, in a sweep, in a
travel. Holds when an alarm names it within 0.5 s of the first command that it does not answer, and within a turn of the
run more of the cut, the pipette goes up by another one, the cell opens (or is said not to
be), the run goes on without anything applied, refuses to be resumed until the instrument answers, and then goes on, the
missing time recorded as a gap and nothing applied twice."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from faults.emulated_run import HOPS_AND_TOWER, EmulatedRun, emulated_run, faulty, found_again
from faults.outcome import Outcome
from opsicm.runner.resume import lost_intent

_NOTICED: Final = 0.5  # [s] from the first command that is not answered
_TURN: Final = 0.25 + 0.1  # [s] more from the cut: a turn of the run beside instruments, and what it asks of the others
_SHARED: Final = 0.3  # [s] for the other tests of a machine that runs them beside the short form
_CUT: Final[Mapping[str, Mapping[str, float]]] = {
    "hop_controller": {"reset": 0.0, "unavailable": 0.0},
    "potentiostat": {"reset": 0.0},
    "coarse_stage": {"reset": 0.0},
    "scanner": {"reset": 0.0},
    "amplifier": {"unavailable": 0.0},
}
_UP_BY: Final = {"hop_controller": {"scanner", "coarse stage"}, "coarse_stage": {"hop controller"}}


def cut_off(run: EmulatedRun, role: str) -> tuple[float, float, list[str]]:
    """([s] from the first command not answered, [s] from the cut, until it was noticed; what was wrong) of one
    instrument cut off, put back, and the run resumed."""
    wrong: list[str] = run.resume(run.now) if run.paused else []
    first, hops = run.now, run.hops
    cut = faulty(run, role, _CUT[role])
    noticed, alarm = run.await_fact("alarm", text="both paused", since=first)
    if alarm.data["lost"] != role:
        wrong.append(f"{alarm.data['lost']} lost instead of {role}")
    _, up = run.await_fact("alarm", text="pipette up by", since=first)
    if not set(up.data["up_by"]) >= _UP_BY.get(role, {"hop controller"}):
        wrong.append(f"up by {up.data['up_by']}")
    opened = "cell NOT opened" if role == "potentiostat" else "cell at open circuit"
    run.until(
        "the cell",
        lambda: bool(run.found("alarm", text=opened, since=first) or run.found("alarm", text="through", since=first)),
    )
    accepted, why = run.command("resume-probe")
    if accepted or not ("lost" in why or "answer" in why):
        wrong.append(f"resumed too early: {why}")
    applied = [fact for _, fact in run.found("applied", since=first) if fact.data.get("what") != "pause"]
    if applied or run.hops - hops > 8:
        wrong.append("something was applied, or it hopped, while it was lost")
    found_again(run, role)
    run.await_fact("quality", text="answers again", since=first)
    wrong += run.resume(run.now)
    gaps = {fact.track for _, fact in run.found("gap", since=first) if fact.data["lost"][0] == role}
    if gaps != {"cell", "probe"}:
        wrong.append(f"gaps of {sorted(gaps)}")
    if lost_intent(run.record.facts[: run.now]) is not None and role != "potentiostat":
        wrong.append("an intent was lost")
    instants = [(f.data["at_ns"], f.data["what"]) for _, f in run.found("applied") if "at_ns" in f.data]
    if len(set(instants)) != len(instants):
        wrong.append("a control was applied twice")
    assert cut.first is not None
    return noticed - cut.first, noticed - cut.at, [f"{role}: {text}" for text in wrong]


def in_one_run(draw: random.Random, hops: list[str], travels: list[str]) -> tuple[list[tuple[float, float]], list[str]]:
    """These roles cut off one after another in a run that first hops and then travels, while the cell is swept."""
    seconds: list[tuple[float, float]] = []
    wrong: list[str] = []

    def cut(bench: EmulatedRun, role: str) -> None:
        asked, after, bad = cut_off(bench, role)
        seconds.append((asked, after))
        wrong.extend(bad)

    with tempfile.TemporaryDirectory() as folder:
        with emulated_run(Path(folder), HOPS_AND_TOWER) as run:
            run.until("the sweep", lambda: any(f.step == "cell[1]" for f in run.record.kinds("applied")))
            for role in hops:
                before = run.hops
                run.until("hops", lambda before=before: run.hops > before)  # type: ignore[misc]
                time.sleep(draw.random())
                cut(run, role)
            run.command("skip")
            for role in travels:
                time.sleep(draw.random())
                cut(run, role)
        if run.record.ending is None or run.record.ending.outcome != "interrupted" or not run.record.ending.safe:
            wrong.append(f"it ended as {run.record.ending}")
    return seconds, wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """One cut of each of three in short; ten of each of five in full, half of them in a travel."""
    hops, travels = ["hop_controller", "potentiostat"], ["coarse_stage"]
    if not short:
        hops = [role for _ in range(5) for role in draw.sample(list(_CUT), len(_CUT))]
        travels = [role for _ in range(5) for role in draw.sample(list(_CUT), len(_CUT))]
    seconds, wrong = in_one_run(draw, hops, travels)
    asked, cut = (max(each) for each in zip(*seconds, strict=True))
    noticed = f"noticed {asked:.2f} s after the first command not answered, {cut:.2f} s after the cut, at most"
    observed = "; ".join([f"{noticed}; pipette up by another, resumed", *wrong[:3]])
    noticed_within = _NOTICED + (_SHARED if short else 0.0)
    holds = not wrong and asked <= noticed_within and cut <= noticed_within + _TURN
    return [Outcome("F7", "an instrument is cut off", len(seconds), observed, holds)]
