"""Some forty formats of microscopes, read with SurfaceTopography: Igor's .ibw, Nanoscope's .spm, .sxm, .x3p, .opd …

The library's word is not taken for a unit of length: a channel counts as a height where its unit is one of length and
its name is not that of an error, an amplitude or a phase; a size beyond a stage's travel is not believed.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.column_titles import unit_factor, unit_name
from opsicm.formats.image_file import ImageChannel, ImageFile
from opsicm.formats.optional import needed
from opsicm.formats.text import bad

F64 = NDArray[np.float64]
# First bytes of the formats that it is asked for: without one of these only a name known to it lets it try, for its
# import takes longer than a refusal may.
MAGIC: Final = (
    b"\\*File list",  # Nanoscope
    b"?*File list",
    b"fileType  ",  # PicoView
    b"AliconaImaging",
    b"FRTM_GLIDER",
    b"\x88\x1b\x03",  # MetroPro
    b"\x01\x00Directory",  # Wyko
    b"VCA DATA",  # Dektak
    b"aISO-1.0",
    b"bISO-1.0",
    b"aBCR-",
    b"bBCR-",
    b"DIGITAL SURF",
    b"DSCOMPRESSED",
    b"Binary TrueMap",
    b"CDF\x01",  # NetCDF 3
    b"CDF\x02",
    b"VK4_",
    b"VK6",
    b"KPK0",  # Keyence
    b":NANONIS_VERSION:",
    b"f\x00i\x00l\x00e\x00f\x00o\x00r\x00m\x00a\x00t\x00",  # BCR in UTF-16
    b"fileformat = bcr",
)
ENDINGS: Final = frozenset(
    (
        *(".ibw", ".x3p", ".plu", ".plux", ".jpk", ".jpk-qi-data", ".mnt", ".nms", ".tiff", ".tif", ".zon", ".lext"),
        *(".oir", ".poir", ".datx", ".hgt", ".zmg", ".zag", ".ezd", ".os3d", ".mtx", ".vk4", ".vk6", ".sxm", ".opd"),
    )
)
_NO_HEIGHT: Final = ("error", "deflection", "amplitude", "phase", "adhesion", "modulus", "current", "friction")
_LARGEST_SIZE: Final = 0.2  # m: beyond the travel of any scanning stage
_IBW: Final = (b"\x02\x00", b"\x05\x00", b"\x00\x02", b"\x00\x05")


def may_read(data: bytes, path: Path) -> bool:
    """Whether SurfaceTopography is worth asking: by the first bytes, else by an ending that one of its formats has."""
    ibw = data[:2] in _IBW and path.suffix.lower() == ".ibw"
    return ibw or data.startswith(MAGIC) or path.suffix.lower() in ENDINGS


def read_topography(data: bytes, path: Path) -> ImageFile:
    """Every image of a file that SurfaceTopography knows; `BadInput` without it, and for a file it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the library, and that it does without MPI
        needed("SurfaceTopography", path, f"a microscope's file ({path.suffix or data[:12]!r})")
        from SurfaceTopography.IO import open_topography  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

        try:
            reader = open_topography(io.BytesIO(data))
            images, looks = [], []
            for k, channel in enumerate(reader.channels):
                image, look = _image(reader, k, channel)
                images += [image] if image is not None else []
                looks += [look] if look else []
            name = str(reader.format())
        except Exception as error:  # noqa: BLE001  # a library's own: damaged and unknown files raise anything there
            limit = f"SurfaceTopography cannot read it ({type(error).__name__})"
            remedy = "open it in Gwyddion and save it as .gwy, or export the heights as text"
            raise bad(path, "content", "a microscope's file", limit, remedy) from None
    if not images:
        remedy = "export the image as .gwy or as text"
        raise bad(path, "content", f"{name} without an image", "an image of at least 2 x 2 points is needed", remedy)
    notes = ("read by SurfaceTopography; rows from the top", *looks)
    return ImageFile(name, tuple(images), {"channels": ", ".join(i.name for i in images)[:200]}, notes)


def _image(reader: Any, k: int, channel: Any) -> tuple[ImageChannel | None, str]:
    if channel.dim != 2:
        return None, ""
    topography = reader.topography(
        channel_index=k, **({} if channel.physical_sizes else {"physical_sizes": (1.0, 1.0)})
    )
    values = np.ma.filled(np.ma.asarray(topography.heights(), dtype=np.float64), np.nan)
    name = str(channel.name)
    lateral = _length(getattr(channel, "lateral_unit", None))
    of_data = getattr(channel, "data_unit", None)
    unit = unit_name(of_data) if isinstance(of_data, str) else None
    scale = unit_factor(unit, "m") if unit is not None else None
    if scale is not None and any(word in name.lower() for word in _NO_HEIGHT):
        scale, unit = None, "unit of the library not believed"
    elif scale is not None:
        unit = "m"
    sizes: tuple[float | None, float | None] = (None, None)
    look = ""
    if lateral is not None and channel.physical_sizes is not None:
        x, y = (lateral * float(size) for size in channel.physical_sizes)
        sizes = (x, y)
        if max(x, y) > _LARGEST_SIZE:
            look = f"{name}: its size of {x:.3g} m x {y:.3g} m is that of no scan: not believed"
            sizes = (None, None)
    # The library has x first; its second index runs from the top of the image downwards, as rows do here.
    return ImageChannel(name, np.ascontiguousarray((scale or 1.0) * values.T), unit or "", *sizes), look


def _length(unit: object) -> float | None:
    name = unit_name(unit) if isinstance(unit, str) else None
    return unit_factor(name, "m") if name is not None else None
