"""Opens a live file for reading while it may still be written, with a bounded patience.

A reader that meets a block whose checksum does not hold takes it for one that is just being written and reads it again,
after a pause that HDF5 doubles each time: with its hundred attempts, on a block that is damaged, for ever.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

import h5py

_ATTEMPTS: Final = 24  # pauses of 1 ns, 2 ns, ... 2^22 ns: 8 ms in all; a write of a block takes microseconds


def open_live(path: Path) -> h5py.File:
    """The file at `path`; raises `OSError` where it cannot be opened."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_LATEST)
    _be_patient(access)
    flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    return h5py.File(h5py.h5f.open(str(path).encode(), flags, fapl=access))


def _be_patient(access: h5py.h5p.PropFAID) -> None:
    """h5py has no name for this property of HDF5; a build that hides it keeps its hundred attempts."""
    try:
        set_attempts = ctypes.CDLL(h5py.h5d.__file__).H5Pset_metadata_read_attempts
    except (OSError, AttributeError):
        return
    set_attempts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    set_attempts(access.id, _ATTEMPTS)
