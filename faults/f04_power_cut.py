"""F4: a power cut. The disk at that instant is the image of a block device taken while all processes are frozen.

The run's folder lies on a file system of its own in a loop device. At a random moment all processes are stopped and
the device's backing file is copied: that is what has reached the disk, and nothing of what only the page cache holds.
The copy is mounted as after a restart, which replays the file system's journal, and recovered.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.outcome import Outcome, failed_checks, read_log
from faults.stream import Stream
from opsicm.record.recover import recover

MEGABYTES = 256
SECONDS = 3.0


def why_impossible() -> str | None:
    """Why this machine cannot do it; None if it can."""
    if os.geteuid() != 0:
        return "loop devices need root"
    missing = [tool for tool in ("losetup", "mkfs.ext4", "mount") if shutil.which(tool) is None]
    if missing:
        return f"no {', '.join(missing)}"
    free = subprocess.run(["losetup", "-f"], capture_output=True, check=False)
    return None if free.returncode == 0 else "no loop device is free"


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[None]:
    """The image as a file system."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def once(moment: float, workspace: Path) -> tuple[float, list[str]]:
    """(seconds lost, what was wrong) of a cut `moment` [s] after the start of the interpreter."""
    image, cut, disk, log = workspace / "disk", workspace / "cut", workspace / "mnt", workspace / "log"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    stream = Stream(8, 10_000, 5_000, 25)
    with mounted(image, disk):
        command = [sys.executable, "-m", "faults.feeder", str(disk / "out"), str(log), str(SECONDS), "8", "10000", "25"]
        feeder = subprocess.Popen(command, start_new_session=True)
        time.sleep(moment)
        os.killpg(feeder.pid, signal.SIGSTOP)  # not waited for yet: the group is there even if it has ended
        shutil.copyfile(image, cut)
        rows, _, closed = read_log(log)
        os.killpg(feeder.pid, signal.SIGKILL)
        feeder.wait()
        time.sleep(0.2)  # the writer's descriptors go with it
    with mounted(cut, disk):
        folders = list((disk / "out").iterdir()) if (disk / "out").exists() else []
        if not folders:
            return len(rows) * stream.period, []  # cut before the folder's name was on the disk
        (recovery,) = recover(folders[:1], "faults")
        if recovery.state == "no run":
            return len(rows) * stream.period, []  # nor had its journal
        if not recovery.opens:
            return len(rows) * stream.period, [recovery.note]
        wrong = failed_checks(recovery.path)
        stored = list(stream.kept(recovery.path))
        if stored != list(range(len(stored))):
            wrong.append("blocks out of order")
        if closed and recovery.state != "whole":
            wrong.append("closed, but no run file")
    return max(0, len(rows) - len(stored)) * stream.period, wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Moments over the whole life: interpreter start, recorder start, running, segment change, finalising, after."""
    n = 2 if short else 20
    if (why := why_impossible()) is not None:
        return [Outcome("F4", "power cut", 0, why, None)]
    lost, wrong = 0.0, []
    for k in range(n):
        moment = (k + draw.random()) / n * (SECONDS + 2.5)
        with tempfile.TemporaryDirectory() as workspace:
            seconds, messages = once(moment, Path(workspace))
        lost = max(lost, seconds)
        wrong += [f"at {moment:.2f} s {text}" for text in messages]
    observed = f"at most {lost:.2f} s lost, {n - len(wrong)} of {n} open and are valid"
    observed += "".join(f"; {text}" for text in wrong[:3])
    return [Outcome("F4", "power cut (image of the block device)", n, observed, lost <= 1.0 and not wrong)]
