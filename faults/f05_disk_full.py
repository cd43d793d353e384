"""F5: a full disk, at five points: before the start, before the first flush, in the middle, at a segment change, while
finalising. The file system is a small tmpfs. Holds when nothing starts without room, the controlling process lives,
and whatever was on the disk reads."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.record.recover import recover
from opsicm.record.run_folder import free, refuse_if_short
from opsicm.record.shared_recorder import SharedRecorder

MEGABYTES = 48
POINTS = ("before the first flush", "in the middle", "at a segment change", "while finalising")


def why_impossible() -> str | None:
    """Why this machine cannot do it; None if it can."""
    return None if os.geteuid() == 0 and shutil.which("mount") else "a small tmpfs needs root"


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of a few megabytes."""
    with tempfile.TemporaryDirectory() as mount_point:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "opsicm-fault", mount_point], check=True)
        try:
            yield Path(mount_point)
        finally:
            subprocess.run(["umount", mount_point], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Another program's file takes all the space but `leave` bytes."""
    filler = disk / "filler"
    available, _ = free(disk)
    # Without a buffer, a write into too little space is short, not an error: the recorder writes at the same time.
    with filler.open("wb", buffering=0) as file:
        file.write(bytes(max(0, available - leave)))
    return filler


def wrong_refusal() -> str | None:
    """What is wrong with the refusal to start."""
    with small_disk() as disk:
        try:
            refuse_if_short(disk / "out", 30e6)
        except BadInput as error:
            return None if "free" in str(error) else f"refusal says {error}"
    return "started with less than twice the estimate"


def once(point: str, draw: random.Random) -> list[str]:
    """What was wrong when the disk filled at `point`."""
    stream = Stream(8, 10_000, 5_000, 12)
    pool = stream.pool()
    wrong: list[str] = []
    with small_disk() as disk:
        recorder = SharedRecorder(folder(disk / "out"))
        recorder.open(stream.header())
        full_at = {POINTS[0]: 0, POINTS[1]: draw.randrange(16, 20), POINTS[2]: 11, POINTS[3]: 24}[point]
        stopped, committed, positions = False, 0, []
        for k in range(60):
            if k == full_at:
                filler = fill(disk, leave=1_000_000 if point == POINTS[3] else 0)
                if point == POINTS[3]:
                    break
            try:
                recorder.block(stream.block(pool, k))
                recorder.reading(stream.reading(k))
                recorder.fact(stream.fact(k, k))
            except LimitCrossed:
                stopped = True
                break
            position, committed = recorder.positions
            positions.append(position)
            time.sleep(stream.period)
        if not stopped and point != POINTS[3]:
            wrong.append(f"{point}: it went on for {60 - full_at} blocks")
        committed = max(committed, recorder.positions[1])
        path = recorder.close()  # the controlling process is this one: it lives
        filler.unlink()
        (recovery,) = recover([path.parent if path.is_file() else path], "faults")
        if not recovery.opens:
            return [*wrong, f"{point}: {recovery.note}"]
        stored = list(stream.kept(recovery.path))
        flushed = sum(position <= committed for position in positions)
        if stored != list(range(len(stored))) or len(stored) < flushed:
            wrong.append(f"{point}: {len(stored)} blocks kept, {flushed} were on the disk")
    return wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """All five points once; in full four times."""
    if (why := why_impossible()) is not None:
        return [Outcome("F5", "disk full", 0, why, None)]
    times = 1 if short else 4
    wrong = [text for text in [wrong_refusal()] if text]
    for _ in range(times):
        for point in POINTS:
            wrong += once(point, draw)
    n = times * (len(POINTS) + 1)
    observed = "; ".join(wrong) or "refused before the start; stopped by itself; every flushed row reads"
    return [Outcome("F5", "disk full at five points", n, observed, not wrong)]
