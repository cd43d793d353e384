"""Errors for damaged run files: one message that names the damaged part, instead of any error of the HDF5 library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsicm.core.errors import BadInput, OpsicmError, Problem, UnreadableRun
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, RunFolder

DAMAGE_ERRORS = (
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextmanager
def damage_reported(path: Path, part: str) -> Iterator[None]:
    """Turn whatever HDF5 raises while `part` is read into an `UnreadableRun` that names it."""
    try:
        yield
    except OpsicmError:
        raise
    except DAMAGE_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem = Problem(
            part, "damaged", reason, f"the rest can still be read: {still_readable(path.parent)}", str(path)
        )
        raise UnreadableRun(problem) from error


def cannot_open(path: Path, error: OSError) -> UnreadableRun | BadInput:
    """The error for a file that HDF5 does not open."""
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == _SIGNATURE
    except OSError as denied:
        return BadInput(
            Problem("file", path.name, f"cannot be read ({denied.strerror})", "look at its rights", str(path))
        )
    if not is_hdf5:
        remedy = "opsicm identify names its format"
        return BadInput(Problem("file", path.name, "is not a run file (no HDF5 signature)", remedy, str(path)))
    fault = "is truncated" if "truncated" in str(error) else f"is damaged ({str(error).splitlines()[0]})"
    value = f"{path.name} ({path.stat().st_size} bytes)"
    return UnreadableRun(Problem("run file", value, fault, still_readable(path.parent), str(path)))


def still_readable(folder: Path) -> str:
    """The readable files beside a run file that cannot be read, as part of a message."""
    journal = folder / JOURNAL
    facts = journal.read_bytes().count(b"\n") if journal.is_file() else 0
    texts = [name for name in (EXPERIMENT, "rig.yaml") if (folder / name).is_file()]
    live = [path.name for path in (*RunFolder(folder).logs(), *RunFolder(folder).old_live_files())]
    parts = [*texts, *([f"{JOURNAL} ({facts} facts)"] if facts else [])]
    message = f"what can still be read: {', '.join(parts) or 'nothing'}"
    return message + (f"; the record: {', '.join(live)}" if live else "")
