"""Writing a file that people named or that stands in a folder that somebody sent."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem

_DEVICES: Final = Path("/dev")
_HEAD: Final = 4096  # [bytes] of a file in which its mark stands


def write_output(path: Path, data: bytes, thing: str, option: str, marks: tuple[bytes, ...] = ()) -> None:
    """Write `data` to `path`, whole or not at all: into a new file that then takes the name.

    A symbolic link is not followed, since it may name any file of the user's, and a file is only replaced where its
    beginning holds one of `marks`, those of what this program writes; without marks any plain file is. Devices as
    /dev/stdout are written to. Raises `BadInput`, in which `thing` is what could not be written and `option` how to
    name another file.
    """

    def refused(limit: str, remedy: str) -> BadInput:
        return BadInput(Problem(thing, str(path), limit, remedy, str(path)))

    another = f"choose another path with {option}"
    try:
        if path.parent == _DEVICES:
            path.write_bytes(data)
            return
        if path.is_symlink():
            limit = f"is a symbolic link to {path.readlink()}, and what it names is not overwritten"
            raise refused(limit, f"remove the link, or {another}")
        if path.exists():
            if path.is_dir():
                raise refused("is a folder", another)
            if not stat.S_ISREG(path.stat().st_mode):
                raise refused("is no plain file", another)
            if marks and not any(mark in _head(path) for mark in marks):
                raise refused("is a file that opsicm has not written", f"move it away, or {another}")
        _replace(path, data)
    except OSError as error:
        raise refused(f"cannot be written ({error.strerror})", another) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".opsicm-{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        # A name that exists is refused, links included.
        with part.open("xb") as file:
            file.write(data)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
