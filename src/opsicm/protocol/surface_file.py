"""Heights from a file for a twin's specimen: `.npy`, Gwyddion's `.gsf` and `.gwy`. Read as data, never run."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import BadInput, Problem

_GSF: Final = b"Gwyddion Simple Field 1.0\n"
_GWY: Final = b"GWYP"
_LARGEST: Final = 512 * 2**20  # [bytes]
_POINTS: Final = (4, 4096)  # along a side
_SIZES: Final = {"b": 1, "c": 1, "i": 4, "q": 8, "d": 8}


@dataclass(frozen=True, slots=True)
class SurfaceFile:
    """`heights` [m] (ny, nx), lowest y first; `width` [m] along x if the file says it (a `.npy` does not)."""

    heights: NDArray[np.float64]
    width: float | None
    height: float | None


def read_surface(path: Path) -> SurfaceFile:
    """The heights in a file; raises `BadInput` when it is none of the three, or not a map of finite numbers."""
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused(
                path, f"has {path.stat().st_size / 2**20:.0f} MB, more than {_LARGEST / 2**20:.0f}", "crop it"
            )
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}", "check the path, seen from the rig file") from None
    try:
        if data.startswith(_GSF):
            read = _gsf(data)
        elif data.startswith(_GWY):
            read = _gwy(data)
        else:
            read = SurfaceFile(np.load(path, allow_pickle=False), None, None)
    except (ValueError, KeyError, struct.error, EOFError) as error:
        reason = f"is no .npy, .gsf or .gwy that can be read ({error})"
        raise _refused(path, reason, "save the field again") from None
    shape = np.shape(read.heights)
    if len(shape) != 2 or not all(_POINTS[0] <= n <= _POINTS[1] for n in shape):
        raise _refused(path, f"has the shape {shape}; a map has two sides of 4 … 4096", "save one field of heights")
    heights = np.asarray(read.heights, np.float64)
    if not np.all(np.isfinite(heights)):
        raise _refused(path, "has values that are no numbers", "fill the holes first")
    return SurfaceFile(heights, read.width, read.height)


def _refused(path: Path, limit: str, remedy: str) -> BadInput:
    return BadInput(Problem("surface file", path.name, limit, remedy))


def _gsf(data: bytes) -> SurfaceFile:
    """Text lines `Key = value`, padded with zero bytes to a multiple of four, then float32 rows from the top."""
    end = data.index(b"\0")
    lines = data[len(_GSF) : end].decode("utf-8").splitlines()
    said = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    nx, ny = int(said["XRes"]), int(said["YRes"])
    values = np.frombuffer(data, "<f4", nx * ny, (end // 4 + 1) * 4)
    unit = said.get("ZUnits", "m")
    if unit not in ("m", ""):
        raise ValueError(f"ZUnits is {unit}, and heights are in m")
    return _map(values, nx, ny, float(said.get("XReal", 1.0)), float(said.get("YReal", 1.0)))


def _gwy(data: bytes) -> SurfaceFile:
    """The first `GwyDataField` of a serialised object: name, size, then components of name, type letter, value."""
    place = data.index(b"GwyDataField\0") + len(b"GwyDataField\0")
    (size,) = struct.unpack_from("<I", data, place)
    place, end = place + 4, place + 4 + size
    found: dict[str, object] = {}
    while place < end:
        stop = data.index(b"\0", place)
        name, kind, place = data[place:stop].decode("utf-8"), chr(data[stop + 1]), stop + 2
        if kind == "D":
            (count,) = struct.unpack_from("<I", data, place)
            found[name] = np.frombuffer(data, "<f8", count, place + 4)
            place += 4 + 8 * count
        elif kind == "s":
            place = data.index(b"\0", place) + 1
        elif kind == "o":
            stop = data.index(b"\0", place)
            place = stop + 5 + struct.unpack_from("<I", data, stop + 1)[0]
        elif kind in _SIZES:
            if kind in "id":
                (found[name],) = struct.unpack_from(f"<{kind}", data, place)
            place += _SIZES[kind]
        else:
            raise ValueError(f"a component of type {kind!r}")
    nx, ny = int(str(found["xres"])), int(str(found["yres"]))
    return _map(np.asarray(found["data"]), nx, ny, float(str(found["xreal"])), float(str(found["yreal"])))


def _map(values: NDArray[np.floating], nx: int, ny: int, width: float, height: float) -> SurfaceFile:
    if not (width > 0.0 and height > 0.0):
        raise ValueError("a side is not above 0 m")
    # Gwyddion counts rows from the top.
    return SurfaceFile(np.asarray(values, np.float64).reshape(ny, nx)[::-1], width, height)
