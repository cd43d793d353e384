"""Writing a file that people named or that stands in a folder that somebody sent."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem

_DEVICES: Final = Path("/dev")
_HEAD: Final = 4096  # [bytes] of a file in which its mark stands


def as_utf8(text: str) -> str:
    """`text` as UTF-8 can hold it: of a file name whose bytes are no text, these are escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_output(path: Path, data: bytes, thing: str, option: str, marks: tuple[bytes, ...] = ()) -> None:
    """Write `data` to `path`, whole or not at all: into a new file that then takes the name.

    Raises `BadInput` as `refuse_foreign_output` does, and where the file cannot be written.
    """
    refuse_foreign_output(path, thing, option, marks)
    try:
        if path.parent == _DEVICES:
            path.write_bytes(data)
        else:
            _replace(path, data)
    except OSError as error:
        remedy = "lift the limit with ulimit -f unlimited" if error.errno == errno.EFBIG else _another(option)
        raise _refused(path, thing, f"cannot be written ({error.strerror})", remedy) from error


def refuse_foreign_output(path: Path, thing: str, option: str, marks: tuple[bytes, ...] = ()) -> None:
    """Raise `BadInput` where writing to `path` would touch what this program has not made; before the work is done.

    A symbolic link is not followed, since it may name any file of the user's, and a file is only replaced where its
    beginning holds one of `marks`, those of what this program writes; without marks any plain file is. Devices as
    /dev/stdout are written to. In the error `thing` is what could not be written and `option` how to name another file.
    """
    if path.parent == _DEVICES:
        return
    try:
        if path.is_symlink():
            limit = f"is a symbolic link to {path.readlink()}, and what it names is not overwritten"
            raise _refused(path, thing, limit, f"remove the link, or {_another(option)}")
        if not path.exists():
            return
        if path.is_dir():
            raise _refused(path, thing, "is a folder", _another(option))
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refused(path, thing, "is no plain file", _another(option))
        if marks and not any(mark in _head(path) for mark in marks):
            limit = "is a file that opsicm has not written"
            raise _refused(path, thing, limit, f"move it away, or {_another(option)}")
    except OSError as error:
        raise _refused(path, thing, f"cannot be written ({error.strerror})", _another(option)) from error


def _another(option: str) -> str:
    return f"choose another path with {option}"


def _refused(path: Path, thing: str, limit: str, remedy: str) -> BadInput:
    return BadInput(Problem(thing, str(path), limit, remedy, str(path)))


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
