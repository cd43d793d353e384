"""An amplitude for every pixel of a raster, from a file beside the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import BadInput
from opsicm.protocol.experiment_file import LoadedExperiment
from opsicm.protocol.hopping_steps import Raster
from opsicm.units import factor

_SUFFIXES: Final = (".npy", ".csv")
_SMALLEST, _LARGEST = 1.0, 20_000.0  # [nm] the limits of amplitude_nm


def amplitude_map(loaded: LoadedExperiment, index: int, raster: Raster) -> NDArray[np.float64] | None:
    """Amplitudes [m], shape (ny, nx), of the raster `probe[index]`; None where it names no file.

    Raises `BadInput` with the line of `amplitude_map` for a file that cannot be used. A .npy file is read without
    pickle: it is data.
    """
    if raster.amplitude_map is None:
        return None
    path = Path(loaded.document.name).parent / raster.amplitude_map
    found = _read(loaded, index, path, raster.amplitude_map)
    nx, ny = raster.pixels
    if found.shape != (ny, nx):
        shape = " × ".join(str(length) for length in found.shape)
        limit = f"holds {shape} values, and the raster has {ny} rows of {nx}"
        raise _refused(loaded, index, raster.amplitude_map, limit, "write one row a line, one value a pixel")
    if not np.all((found >= _SMALLEST) & (found <= _LARGEST)):
        limit = f"holds values outside {_SMALLEST:g} … {_LARGEST:g} nm"
        raise _refused(loaded, index, raster.amplitude_map, limit, "write amplitudes in nm")
    allowed = loaded.experiment.envelope.approach_um
    if float(found.max()) > allowed * 1e3:
        limit = f"holds {found.max():g} nm, and a fall may not be longer than envelope.approach_um, {allowed:g} µm"
        raise _refused(loaded, index, raster.amplitude_map, limit, "lower it, or raise envelope.approach_um")
    return found * factor("nm")


def _read(loaded: LoadedExperiment, index: int, path: Path, name: str) -> NDArray[np.float64]:
    if path.suffix not in _SUFFIXES:
        raise _refused(loaded, index, name, f"is none of {', '.join(_SUFFIXES)}", "save the map in one of these forms")
    if not path.is_file():
        raise _refused(loaded, index, name, "is no file beside the experiment", "check the spelling and the folder")
    try:
        if path.suffix == ".npy":
            values: NDArray[Any] = np.load(path, allow_pickle=False)
        else:
            values = np.loadtxt(path, delimiter=",", ndmin=2)
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, EOFError, OSError) as error:
        said = str(error).split("\n", 1)[0]
        raise _refused(loaded, index, name, f"cannot be read: {said}", "write plain numbers") from None


def _refused(loaded: LoadedExperiment, index: int, name: str, limit: str, remedy: str) -> BadInput:
    return BadInput(loaded.problem(("probe", index, "raster", "amplitude_map"), name, limit, remedy))
