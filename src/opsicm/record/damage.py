"""What a damaged file says: one message instead of whatever the HDF5 library came upon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsicm.core.errors import BadInput, OpsicmError, Problem, UnreadableRun
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, RunFolder

DAMAGE = (OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextmanager
def named(path: Path, what: str) -> Iterator[None]:
    """Whatever the library raises while `what` is read becomes an `UnreadableRun` that names it."""
    try:
        yield
    except OpsicmError:
        raise
    except DAMAGE as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem = Problem(what, "damaged", said, f"the rest can still be read: {what_is_left(path.parent)}", str(path))
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
        remedy = "opsicm identify says what it is"
        return BadInput(Problem("file", path.name, "is not a run file (no HDF5 signature)", remedy, str(path)))
    what = "is truncated" if "truncated" in str(error) else f"is damaged ({str(error).splitlines()[0]})"
    value = f"{path.name} ({path.stat().st_size} bytes)"
    return UnreadableRun(Problem("run file", value, what, what_is_left(path.parent), str(path)))


def what_is_left(folder: Path) -> str:
    """What stands beside a run file that cannot be read."""
    journal = folder / JOURNAL
    facts = journal.read_bytes().count(b"\n") if journal.is_file() else 0
    texts = [name for name in (EXPERIMENT, "rig.yaml") if (folder / name).is_file()]
    live = [path.name for path in RunFolder(folder).live_files()]
    kept = [*texts, *([f"{JOURNAL} ({facts} facts)"] if facts else [])]
    said = f"what can still be read: {', '.join(kept) or 'nothing'}"
    return said + (f"; live files: {', '.join(live)}" if live else "")
