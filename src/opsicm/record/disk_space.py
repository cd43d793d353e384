"""Room on the disk: enough before anything moves, and a clean stop before it runs out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from opsicm.errors import BadInput, LimitCrossed, Problem

_LEAST: Final = 64e6  # [bytes]: the smallest run with its header, tables and report
_STOP_SHARE: Final = 0.05
_STOP_MOST: Final = 5e9  # [bytes]: a twentieth of a large disk would stop a run that has days of room


def free(folder: Path) -> tuple[int, int]:
    """(bytes that may still be written, bytes in all) of the file system that holds `folder` or its nearest parent."""
    while not folder.exists():
        folder = folder.parent
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize


def stop_below(total: int) -> float:
    """Free bytes below which a run stops: 5 % of the file system, 5 GB at most."""
    return min(_STOP_SHARE * total, _STOP_MOST)


def refuse_if_short(folder: Path, estimate: float | None) -> None:
    """Raise `BadInput` unless `folder` can be written and holds twice the estimated run file, and a margin.

    Twice, because the finished file is made beside the live ones, which go only when it is whole.
    """
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        limit = f"{parent} is not a folder that may be written"
        raise BadInput(Problem("output folder", str(folder), limit, "choose another with --out", str(folder)))
    there, total = free(parent)
    needed = 2.0 * max(estimate or 0.0, _LEAST / 2) + stop_below(total)
    if there < needed:
        limit = f"twice the estimated run and the reserve need {needed * 1e-6:.0f} MB"
        remedy = "free some space or choose another disk with --out"
        raise BadInput(Problem("free space", f"{there * 1e-6:.0f} MB", limit, remedy, str(folder)))


def stop_if_short(folder: Path) -> None:
    """Raise `LimitCrossed` when the disk is nearly full, while everything can still be closed cleanly."""
    there, total = free(folder)
    if there < stop_below(total):
        limit = f"a run stops below {stop_below(total) * 1e-6:.0f} MB, to close its file cleanly"
        raise LimitCrossed(Problem("free space", f"{there * 1e-6:.0f} MB", limit, "free some space and run again"))
