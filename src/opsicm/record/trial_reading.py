"""Reads a file without a seal in another process first: a damaged one may send HDF5 into an endless loop or crash it.

    python -m opsicm.record.trial_reading FILE

The child reads everything but the samples, whose chunks carry checksums: every link, attribute, text and table, and the
stated position of every chunk of samples. What the child survives, the caller survives.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from opsicm.core.errors import Problem, UnreadableRun
from opsicm.record.damaged_file import DAMAGE_ERRORS

_PROCESSOR_TIME: Final = 10  # [s]: a file of 10 GB takes one; counted so, a busy machine is no damaged file
_TIMEOUT: Final = 300.0  # [s]: longer, and machine or disk are what keeps it
_MEMORY: Final = 4 << 30  # [bytes]: a damaged length must not take what the caller's machine has
_LARGEST_READ: Final = 1 << 26  # [bytes]: larger arrays are not read, only looked up


def why_unreadable(path: Path) -> str | None:
    """Why `path` must not be opened in this process; None where a child process has read it. Tried once a file."""
    state = path.stat()
    return _why_unreadable(str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _why_unreadable(path: str, *_: int) -> str | None:
    source = str(Path(__file__).resolve().parents[2])
    python_path = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": source if not python_path else f"{source}{os.pathsep}{python_path}"}
    command = [sys.executable, "-P", "-m", "opsicm.record.trial_reading", path, str(_PROCESSOR_TIME)]
    try:
        completed = subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        limit = f"was not read within {_TIMEOUT:g} s: machine or disk is too busy"
        remedy = "try again later; nothing was changed"
        raise UnreadableRun(Problem("file", Path(path).name, limit, remedy, path)) from error
    if completed.returncode == -signal.SIGXCPU:
        return f"HDF5 did not finish reading it within {_PROCESSOR_TIME:g} s of processor time"
    if completed.returncode < 0:
        return f"HDF5 crashed while reading it (signal {-completed.returncode})"
    return None


def main(path: str, processor_time: int) -> None:
    """Read everything; errors of HDF5 are ignored here, since the caller meets and reports them."""
    resource.setrlimit(resource.RLIMIT_CPU, (processor_time, processor_time + 1))
    import h5py  # noqa: PLC0415  the parent, which imports this module, may be one that must not
    import hdf5plugin  # noqa: F401, PLC0415

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    def look(item: h5py.Group | h5py.Dataset) -> None:
        for name in item.attrs:
            item.attrs[name]
        if isinstance(item, h5py.Dataset):
            if item.chunks is not None:
                item.id.chunk_iter(lambda _: None)
            if item.dtype.kind == "O" or item.size * item.dtype.itemsize <= _LARGEST_READ:
                item[()]

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        del name
        with suppress(*DAMAGE_ERRORS):
            look(item)

    with suppress(*DAMAGE_ERRORS), h5py.File(path, "r", swmr=path.endswith(".h5")) as file:
        look(file)
        file.visititems(visit)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
