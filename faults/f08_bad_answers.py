"""F8: instruments of an emulated bench hang, answer late, send garbage, no number, or one value for ever. Holds when
each command ends by its time-out, what is wrong is flagged (a loss, or a quality) within two turns of the run and the
time-out, no value is recorded as a present one after that, a short delay is no fault, and the run goes on."""

from __future__ import annotations

import random
import tempfile
import time
from math import isnan
from pathlib import Path
from typing import Final

from faults.emulated_run import TOWER, EmulatedRun, emulated_run, faulty, found_again
from faults.outcome import Outcome
from opsicm.core.facts import Fact

_TURN: Final = 0.25  # [s] of a run beside instruments
_TIMEOUT: Final = 0.5  # [s] of a command, its retries included
_BUSY: Final = 0.3  # [s] that a loaded machine may add
# A value that stands still is one when a second reading says so, and a third confirms it where the cell is at rest.
_STUCK: Final = 3 * _TURN
_LATE: Final = 2.0  # [s], beyond every time-out
_BEARABLE: Final = 0.03  # [s]
_KINDS: Final = {
    "potentiostat": ("silent", "late", "garbage", "nan", "stuck", "partial"),
    "coarse_stage": ("silent", "late", "garbage", "partial"),
    "scanner": ("silent", "late", "garbage", "nan", "partial"),
}
_SHORT: Final = {"potentiostat": ("silent", "nan", "stuck"), "coarse_stage": ("late",), "scanner": ("garbage",)}
_FIELDS: Final = {"scanner": "z", "coarse_stage": "coarse_z"}


def _flagged(role: str, fact: Fact) -> bool:
    if fact.kind == "alarm":
        return fact.data.get("lost") == role
    return fact.kind == "quality" and fact.data.get("role") == role and fact.data.get("quality") in (2, 3, 4)


def shown(run: EmulatedRun, role: str, kind: str) -> tuple[float, list[str]]:
    """([s] until it was flagged, what was wrong) of an instrument that does this for a while."""
    wrong: list[str] = run.resume(run.now) if run.paused else []
    first = run.now
    at = faulty(run, role, {kind: _LATE if kind == "late" else 0.0}).at
    run.until(f"a flag of {role} {kind}", lambda: any(_flagged(role, f) for f in run.record.facts[first:]), 15.0)
    flagged = next(t for t, f in run.found("alarm", "quality", since=first) if _flagged(role, f))
    lost = any(_flagged(role, f) for _, f in run.found("alarm", since=first))
    rows = len(run.record.rows)
    time.sleep(2 * _TURN)
    meanwhile = run.record.rows[rows:]
    live = [row for row in meanwhile if role == "potentiostat" or not isnan(getattr(row, _FIELDS[role]))]
    suspect = any(f.data.get("quality") == 4 for _, f in run.found("quality", since=first) if _flagged(role, f))
    if live and not suspect:
        wrong.append(f"{len(live)} rows with its value after the flag")
    found_again(run, role)
    if lost:
        run.await_fact("quality", text="answers again", since=first)
        wrong += run.resume(run.now)
    rows = len(run.record.rows)
    run.until("a row with its value", lambda: _has_value(run, role, rows))
    return flagged - at, [f"{role} {kind}: {text}" for text in wrong]


def _has_value(run: EmulatedRun, role: str, rows: int) -> bool:
    return any(role == "potentiostat" or not isnan(getattr(row, _FIELDS[role])) for row in run.record.rows[rows:])


def bearable(run: EmulatedRun) -> list[str]:
    """What was wrong when every instrument answered a little late, and was still in time."""
    first = run.now
    for role in ("potentiostat", "scanner", "coarse_stage"):
        faulty(run, role, {"late": _BEARABLE})
    time.sleep(1.5)
    for role in ("potentiostat", "scanner", "coarse_stage"):
        found_again(run, role)
    return [
        f"{_BEARABLE * 1e3:.0f} ms late was a loss: {f.data['message']}" for _, f in run.found("alarm", since=first)
    ]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Five answers in short; every kind of every instrument, three times, in full."""
    kinds = [(role, kind) for role, each in (_SHORT if short else _KINDS).items() for kind in each]
    kinds = kinds if short else 3 * kinds
    draw.shuffle(kinds)
    seconds: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder, emulated_run(Path(folder), TOWER) as bench:
        bench.until("the sweep", lambda: any(f.step == "cell[1]" for f in bench.record.kinds("applied")))
        wrong = bearable(bench)
        for role, kind in kinds:
            time.sleep(draw.random() * 0.4)
            took, bad = shown(bench, role, kind)
            seconds[role, kind] = max(took, seconds.get((role, kind), 0.0))
            wrong += bad
    limits = {key: _BUSY + _TIMEOUT + (_STUCK if key[1] == "stuck" else 2 * _TURN) for key in seconds}
    late = [f"{' '.join(key)} flagged after {s:.2f} s" for key, s in seconds.items() if s > limits[key]]
    observed = "; ".join([f"flagged in {max(seconds.values()):.2f} s at most, no value after it", *late, *wrong[:3]])
    return [Outcome("F8", "an instrument answers badly", len(kinds) + 1, observed, not wrong and not late)]
