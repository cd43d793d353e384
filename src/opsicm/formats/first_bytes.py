"""What a file is by its first bytes, where it is none that this program reads, and what reads it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import h5py

from opsicm.core.errors import BadInput
from opsicm.formats.text import Text, bad

_LARGEST: Final = 512 * 1024 * 1024
COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
# First bytes → what such a file is, and what to do with it.
_KINDS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"%PDF", "a PDF document", "export the data of its figure or table as text from the program that made it"),
    (b"\x89PNG", "a PNG picture", "a picture holds colours, not heights: save the measurement itself"),
    (b"\xff\xd8\xff", "a JPEG picture", "a picture holds colours, not heights: save the measurement itself"),
    (b"GIF8", "a GIF picture", "a picture holds colours, not heights: save the measurement itself"),
    (b"BM", "a bitmap picture", "a picture holds colours, not heights: save the measurement itself"),
    (
        b"II*\x00",
        "a TIFF picture",
        "export the heights as .gwy or as text; Gwyddion reads the TIFF of many microscopes",
    ),
    (
        b"MM\x00*",
        "a TIFF picture",
        "export the heights as .gwy or as text; Gwyddion reads the TIFF of many microscopes",
    ),
    (b"RIFF", "a sound, film or picture (RIFF)", "name a measured file"),
    (b"MZ", "a program for Windows (EXE)", "it may install the instrument's software; name a measured file"),
    (b"\x7fELF", "a program for Linux (ELF)", "name a measured file"),
    (b"Rar!", "a RAR archive", "unpack it and name a file in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and name a file in it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it (zstd -d) and name the file"),
    (b"SQLite format 3", "an SQLite database", "export its table as .csv (sqlite3 FILE .mode csv)"),
    (
        b"\x00\x01\x00\x00Standard Jet DB",
        "an Access database (Arbin's .res)",
        "export it as .xlsx or .csv, or with mdb-export",
    ),
    (
        b"\x00\x01\x00\x00Standard ACE DB",
        "an Access database (Arbin's .res)",
        "export it as .xlsx or .csv, or with mdb-export",
    ),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "in MATLAB: writematrix(heights, 'heights.txt'), and name that"),
    (b"TDSm", "LabVIEW's TDMS", "export it as text, or in Python: nptdms.TdmsFile(path).as_dataframe().to_csv(…)"),
    (b"\x80\x04", "a Python pickle", "it can run code when opened: save arrays with numpy.save instead"),
    (b"\x80\x05", "a Python pickle", "it can run code when opened: save arrays with numpy.save instead"),
    (b"GWYO", "a file of Gwyddion 1", "open it in Gwyddion and save it again as .gwy"),
    (b"EC-LAB SETTING FILE", "EC-Lab's settings (.mps)", "name the .mpt or .mpr of the measurement"),
    (b"BT-LAB SETTING FILE", "BT-Lab's settings (.mps)", "name the .mpt or .mpr of the measurement"),
    (b"CDF\x01", "NetCDF", "in Python: xarray.open_dataset(path).to_dataframe().to_csv(…)"),
    (b"CDF\x02", "NetCDF", "in Python: xarray.open_dataset(path).to_dataframe().to_csv(…)"),
)
_DAMAGE: Final = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


def inflated(data: bytes, path: Path) -> bytes:
    """The content of a compressed file; `BadInput` where it is cut or too large."""
    name = next(name for mark, name in COMPRESSED.items() if data.startswith(mark))
    kinds: dict[str, Callable[[io.BytesIO], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    try:
        with kinds[name](io.BytesIO(data)) as stream:
            content: bytes = stream.read(_LARGEST + 1)
    except _DAMAGE as error:
        raise bad(path, "archive", f"damaged ({error})", f"it must be a whole {name} stream", "copy it again") from None
    if len(content) > _LARGEST:
        raise bad(
            path, "content", f"over {_LARGEST} bytes when inflated", f"the limit is {_LARGEST}", "unpack and split it"
        )
    return content


def unknown_zip(data: bytes, path: Path) -> BadInput:
    """What a zip archive is that holds no workbook, no `.ndax` and no arrays."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return bad(path, "content", "a damaged zip archive", "it must be whole", "copy it again")
    if any(name.startswith("word/") for name in names):
        return bad(path, "content", "a Word document", "it holds text, no measurement", "save its table as .csv")
    if any(name.startswith("ppt/") for name in names):
        return bad(
            path, "content", "a PowerPoint document", "it holds slides, no measurement", "save its table as .csv"
        )
    files = [name for name in names if not name.endswith("/")]
    limit = f"it holds {len(files)} files: {', '.join(files)[:100]}"
    return bad(path, "content", "a zip archive", limit, "unpack it and name one of them")


def foreign_hdf5(data: bytes, path: Path) -> BadInput:
    """What an HDF5 file of another program is, by its groups and attributes."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            groups, attributes = list(file), " ".join(map(str, file.attrs))
            flat = any(isinstance(one, h5py.Dataset) for one in file.values())
    except OSError:
        return bad(path, "content", "a damaged HDF5 file", "it must be whole", "copy it again")
    limit = f"it is no run of this program; it holds {', '.join(groups)[:100] or 'nothing'}"
    if "yadg" in attributes:
        opened = "open_dataset(path)" if flat else "open_datatree(path)[GROUP].to_dataset()"
        remedy = f"in Python: xarray.{opened}.to_dataframe().to_csv('table.csv'), and name that with --columns"
        return bad(path, "content", "NetCDF of yadg", limit, remedy)
    if "_NCProperties" in attributes:
        remedy = "in Python: xarray.open_dataset(path).to_dataframe().to_csv(…), and name that"
        return bad(path, "content", "NetCDF", limit, remedy)
    remedy = "export the data as .csv, in Python: h5py.File(path)[NAME][:] holds an array"
    return bad(path, "content", "HDF5 of another program", limit, remedy)


def is_foreign_hdf5(path: Path) -> bool:
    """Whether a file is whole HDF5 and none of this program, whose run files have a group `entry`."""
    try:
        with h5py.File(path, "r") as file:
            return "entry" not in file
    except OSError:
        return False


def known_binary(data: bytes, path: Path) -> BadInput | None:
    """What a binary file is by its first bytes, where these say it."""
    for mark, what, remedy in _KINDS:
        if data.startswith(mark):
            return bad(path, "content", what, "no measurement that is read here", remedy)
    return None


def unknown_binary(data: bytes, path: Path, known: str) -> BadInput:
    """A binary file of which the first bytes say nothing."""
    if not data.strip(b"\x00"):
        limit = f"{len(data)} bytes, all zero: its content was never written"
        return bad(path, "content", "empty", limit, "copy it again from the instrument")
    shown = data[:8].hex(" ")
    limit = f"it begins with {shown}; known formats are {known}"
    return bad(
        path, "content", "binary of an unknown kind", limit, "export the data as text from the program that wrote it"
    )


def known_text(text: Text, path: Path) -> BadInput | None:
    """A refusal for texts that are no measurement: web pages, this program's own files, notebooks and settings."""
    head = "\n".join(text.lines[:40])
    start = head.lstrip().lower()
    for mark, what, remedy in (
        ("ec-lab setting file", "EC-Lab's settings (.mps)", "name the .mpt or .mpr of the measurement"),
        ("bt-lab setting file", "BT-Lab's settings (.mps)", "name the .mpt or .mpr of the measurement"),
        ("<!doctype html", "a web page", "the download may have needed a login: save the file itself"),
        ("<html", "a web page", "the download may have needed a login: save the file itself"),
        ("<?xml", "XML", "export the data as .csv"),
        ("version https://git-lfs", "a pointer of Git LFS", "get the file itself: git lfs pull"),
        ("opsicm: 1", "an experiment file of this program", "opsicm check or opsicm run takes it"),
        ("opsicm_rig: 1", "a rig file of this program", "opsicm rig check takes it"),
    ):
        if start.startswith(mark):
            return bad(path, "content", what, "results need measured values", remedy)
    if any(line.startswith("opsicm:") for line in text.lines[:40]):
        return bad(path, "content", "an experiment file of this program", "it holds no data", "opsicm check takes it")
    if start.startswith(("{", "[{")):
        return _known_json(head, path)
    return None


def _known_json(head: str, path: Path) -> BadInput | None:
    remedy = "export the data as .csv"
    if '"nbformat"' in head or '"cells"' in head:
        return bad(path, "content", "a Jupyter notebook", "it holds no measurement", "name the data that it opens")
    if '"unicycler"' in head or '"method"' in head:
        return bad(
            path, "content", "a cycling protocol (JSON)", "it holds no data", "opsicm convert makes an experiment of it"
        )
    if '"metadata"' in head and "yadg" in head:
        remedy = "export it with yadg as NetCDF and then as .csv: xarray.open_dataset(path).to_dataframe().to_csv(…)"
        return bad(path, "content", "a datagram of yadg (JSON)", "it is not read", remedy)
    try:
        json.loads(head.splitlines()[0])
    except ValueError:
        pass
    else:
        return bad(path, "content", "JSON lines", "it holds no table", remedy)
    return bad(path, "content", "JSON", "it is none of PalmSens and none that is known", remedy)
