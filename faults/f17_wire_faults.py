"""F17: the faults of the wire that a retry mends, and those that it does not: a gRPC server that is not available, a PI
controller that does not answer in time, one that is busy, half a line. Holds when an answer that fails at most three
times in a row is asked for again without the run's noticing, and one that goes on failing is a loss, as in F7."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Final

from faults.emulated_run import TOWER, EmulatedRun, emulated_run, faulty, found_again
from faults.outcome import Outcome

_RETRIES: Final = 3
_LOST_WITHIN: Final = 0.25 + 0.5 + 0.3  # [s]: a turn, the retries, a busy machine
_FAULTS: Final = (("amplifier", "unavailable"), ("scanner", "silent"), ("scanner", "busy"), ("coarse_stage", "partial"))


def mended(run: EmulatedRun, role: str, kind: str, times: int) -> list[str]:
    """What was wrong when this fault was shown `times` in a row."""
    if run.paused:
        run.resume(run.now)
    first, faults = run.now, run.served[role].faults
    faults.set(kind, 0.0, times)
    began = time.monotonic()
    while kind in faults._set:  # until it has been shown that often: a fault that nobody meets is no test
        if time.monotonic() - began > 10.0:
            return [f"{role} {kind}: never met"]
        time.sleep(0.01)
    time.sleep(0.5)
    alarms = [each for each in run.found("alarm", text="both paused", since=first) if each[1].data["lost"] == role]
    return [f"{role} {kind} x {times}: {fact.data['message']}" for _, fact in alarms[:1]]


def kept(run: EmulatedRun, role: str, kind: str) -> list[str]:
    """What was wrong when this fault went on."""
    if run.paused:
        run.resume(run.now)
    first = run.now
    at = faulty(run, role, {kind: 0.0}).at
    when, alarm = run.await_fact("alarm", text="both paused", since=first, within=15.0)
    wrong = [] if alarm.data["lost"] == role else [f"{alarm.data['lost']} lost"]
    if when - at > _LOST_WITHIN:
        wrong.append(f"noticed after {when - at:.2f} s")
    run.await_fact("alarm", text="pipette up by", since=first)
    found_again(run, role)
    run.await_fact("quality", text="answers again", since=first)
    wrong += run.resume(run.now)
    return [f"{role} {kind}: {text}" for text in wrong]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Each fault once for a while and once for good in short; each number of times, five times, in full."""
    faults = list(_FAULTS) * (1 if short else 5)
    draw.shuffle(faults)
    wrong: list[str] = []
    n = 0
    with tempfile.TemporaryDirectory() as folder, emulated_run(Path(folder), TOWER) as bench:
        bench.until("the sweep", lambda: any(f.step == "cell[1]" for f in bench.record.kinds("applied")))
        for role, kind in faults:
            for times in (_RETRIES,) if short else (1, 2, _RETRIES):
                wrong += mended(bench, role, kind, times)
                n += 1
        for role, kind in faults[:2] if short else faults:
            time.sleep(draw.random() * 0.25)
            wrong += kept(bench, role, kind)
            n += 1
    observed = "; ".join([f"three in a row mended unnoticed, more is a loss within {_LOST_WITHIN:g} s", *wrong[:3]])
    return [Outcome("F17", "the wire fails for a while, or for good", n, observed, not wrong)]
