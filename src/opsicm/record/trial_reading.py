"""A file without a seal is first read by another process: HDF5 may go round in a circle over it, or end its process.

    python -m opsicm.record.trial_reading FILE

The child looks at everything but the samples themselves, whose chunks carry checksums: every link, every attribute,
every text, every table, and where every chunk of the samples is said to be. What it comes back from, the caller does.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from opsicm.record.damage import DAMAGE

_PATIENCE: Final = 10.0  # [s]: a file of 10 GB takes half a second, a process on a busy machine one or two
_MEMORY: Final = 4 << 30  # [bytes]: a damaged length must not take what the caller's machine has
_SAMPLES: Final = 1 << 26  # [bytes]: larger arrays are not read, only looked up


def verdict(path: Path) -> str | None:
    """Why `path` must not be opened here; None where another process has come back from it. Asked once a file."""
    state = path.stat()
    return _verdict(str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _verdict(path: str, *_: int) -> str | None:
    source = str(Path(__file__).resolve().parents[2])
    there = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": source if not there else f"{source}{os.pathsep}{there}"}
    command = [sys.executable, "-P", "-m", "opsicm.record.trial_reading", path]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"HDF5 did not come back from it within {_PATIENCE:g} s"
    if done.returncode < 0:
        return f"HDF5 ended its process over it (signal {-done.returncode})"
    return None


def main(path: str) -> None:
    """Look at everything; whatever HDF5 raises is the caller's to say, in its own words."""
    import h5py  # noqa: PLC0415  the parent, which imports this module, may be one that must not
    import hdf5plugin  # noqa: F401, PLC0415

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    def look(item: h5py.Group | h5py.Dataset) -> None:
        for name in item.attrs:
            item.attrs[name]
        if isinstance(item, h5py.Dataset):
            if item.chunks is not None:
                item.id.chunk_iter(lambda _: None)
            if item.dtype.kind == "O" or item.size * item.dtype.itemsize <= _SAMPLES:
                item[()]

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        del name
        with suppress(*DAMAGE):
            look(item)

    with suppress(*DAMAGE), h5py.File(path, "r") as file:
        look(file)
        file.visititems(visit)


if __name__ == "__main__":
    main(sys.argv[1])
