"""F21: /dev/shm of 64 MB, as a container has it, and none at all; and a system without `memfd_create`, whose temporary
files lie on a small disk. Holds when the ring is there all the same, or the run refuses to begin and its remedy
helps."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.outcome import Outcome, read_log
from faults.stream import Stream

SECONDS = 1.5
_FEEDER = """
import os, runpy
if "TMPDIR" in os.environ:
    del os.memfd_create
runpy.run_module("faults.feeder", run_name="__main__")
"""


def why_impossible() -> str | None:
    """Why this machine cannot do it; None if it can."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None:
        return "a file system in a name space of its own needs root and unshare"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "no name space of its own is allowed"


def fed(
    workspace: Path, mounts: dict[Path, str], temporary: Path | None = None, channels: int = 8
) -> tuple[list[str], str]:
    """(what the run file lacks, what was said) of a run at 1 MS/s over `mounts`: mount point → options of a tmpfs.

    With `temporary` there is no `memfd_create`, and temporary files lie there.
    """
    workspace.mkdir()
    out, rows = workspace / "out", workspace / "log"
    mounting = " && ".join(f"mount -t tmpfs -o {options} small {point}" for point, options in mounts.items())
    feeder = [str(out), str(rows), str(SECONDS), str(channels), "1000", "20"]
    completed = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounting} && exec "$@"', "sh", sys.executable, "-c", _FEEDER, *feeder],
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k != "TMPDIR"},
            **({"TMPDIR": str(temporary)} if temporary else {}),
        },
    )
    said = completed.stderr.strip().splitlines()[-1:] or [f"ended with {completed.returncode}"]
    if not read_log(rows)[2]:
        return ["no run file"], said[0]
    stream = Stream(channels, 1_000, 50_000, 20)
    (run,) = out.iterdir()
    return stream.lacks(run / "run.nxs", round(SECONDS / stream.period)), ""


def without_memfd(workspace: Path) -> list[str]:
    """What is wrong where the ring is a temporary file and those have 64 MB: 8 channels need more, 1 does not."""
    tmp = workspace / "tmp"
    tmp.mkdir()
    _, said = fed(workspace / "eight", {tmp: "size=64m"}, tmp, 8)
    wrong = [] if "memory for the record" in said and "fewer channels" in said else [f"8 channels: {said}"]
    lacks, said = fed(workspace / "one", {tmp: "size=64m"}, tmp, 1)
    return wrong + [f"1 channel: {text} {said}" for text in lacks]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Each once, in short and in full."""
    del draw, short
    if (why := why_impossible()) is not None:
        return [Outcome("F21", "little shared memory", 0, why, None)]
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        for fault, options in (("of 64 MB", "size=64m"), ("of which nothing can be had", "size=4k,ro")):
            wrong, said = fed(Path(name) / options, {Path("/dev/shm"): options})
            observed = "; ".join(wrong + [said] * bool(said)) or "nothing lost"
            outcomes.append(Outcome("F21", f"/dev/shm {fault}, 1 MS/s x 8", 1, observed, not wrong))
        wrong = without_memfd(Path(name))
    observed = "; ".join(wrong) or "8 channels refused, with a remedy that helps: 1 channel recorded, nothing lost"
    outcomes.append(Outcome("F21", "no memfd_create, temporary files on 64 MB, 1 MS/s", 2, observed, not wrong))
    return outcomes
