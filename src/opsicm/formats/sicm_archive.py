"""pySICM's `.sicm`: a gzipped tar of settings.json, .mode, an .info and one raw block, read in memory, never unpacked.

Read from the public reader of the same laboratory (nanoscopy-RUBION/pySICM_Analysis, sicm_analyzer/sicm_data.py and
gui_main.py, MIT), of which no code is used: the block is unsigned 16-bit little endian, row after row of x; a scan's
count is a height in nanometres (its reader divides by 1000 "to have z data in µm instead of nm"); `x-Size` and
`y-Size` are micrometres (its window labels them "x size [µm]"). Where a size is empty that reader takes the number of
pixels for it; this one does not: an unknown scale stays unknown. The later "extended" archives are refused: their
public description contradicts itself (32-bit integers in words, 32-bit floats in code).
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.text import bad, read_bytes

NM_PER_COUNT: Final = 1.0
SATURATED: Final = (0, 65535)
LARGEST_FILE: Final = 64 * 1024 * 1024
# 4096 x 4096 pixels of 2 bytes are 33.6 MB; a scan at 100 hops/s of that size would take two days.
LARGEST_CONTENT: Final = 64 * 1024 * 1024
_MOST_MEMBERS: Final = 32
_MOST_PIXELS: Final = 4096
_SCANS: Final = ("backstepScan", "floatingBackstep")


@dataclass(frozen=True, slots=True)
class SicmScan:
    """An image: `heights` [m] and raw `counts`, [row (y), column (x)]; sizes [m], None where the file has none."""

    heights: NDArray[np.float64]
    counts: NDArray[np.uint16]
    x_size: float | None
    y_size: float | None
    mode: str
    settings: Mapping[str, str]
    duration: float | None

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """Pixels at either end of the 16 bits: their height is a limit, not a measurement."""
        return np.isin(self.counts, SATURATED)


@dataclass(frozen=True, slots=True)
class SicmTrace:
    """A recorded approach: raw `counts` in order. The file states neither quantity, scale nor time step."""

    counts: NDArray[np.uint16]
    mode: str
    settings: Mapping[str, str]
    duration: float | None


def is_sicm(data: bytes) -> bool:
    """Whether a gzip stream holds a tar archive, or is damaged before that can be seen and so may have held one."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            head = stream.read(512)
    except (EOFError, OSError, zlib.error):
        return True
    return head[257:262] == b"ustar" or b"settings.json" in head[:100] or head[:5] == b".mode"


def read_sicm(path: Path, largest_content: int = LARGEST_CONTENT) -> SicmScan | SicmTrace:
    """The scan or trace in a `.sicm`; `BadInput` for anything but a complete, harmless archive of this kind."""
    members = _members(path, _inflate(read_bytes(path, LARGEST_FILE), path, largest_content), largest_content)
    if ".extended" in members:
        raise bad(
            path,
            "archive",
            "in the extended format of pySICM2",
            "only the 16-bit format has a consistent description",
            "export it from pySICM in the old format",
        )
    mode = _member(members, ".mode", path).decode("latin-1").strip()
    settings = {
        key: str(value) for key, value in _json(_member(members, "settings.json", path), path, "settings.json").items()
    }
    info: Mapping[str, object] = {}
    blocks = []
    for name, data in members.items():
        if name.endswith(".info"):
            info = _json(data, path, name)
        elif name not in (".mode", "settings.json"):
            blocks.append(name)
    if len(blocks) != 1:
        raise bad(
            path, "raw blocks", str(len(blocks)), "an archive has exactly one", "copy it again from the instrument"
        )
    raw = members[blocks[0]]
    if len(raw) % 2 or not raw:
        raise bad(
            path, "raw block", f"{len(raw)} bytes", "it is a positive even number of bytes", "copy the file again"
        )
    counts = np.frombuffer(raw, dtype="<u2").astype(np.uint16)
    milliseconds = info.get("client_duration")
    duration = milliseconds / 1000.0 if isinstance(milliseconds, int | float) else None
    if mode == "approach":
        return SicmTrace(counts, mode, settings, duration)
    if mode not in _SCANS:
        modes = ", ".join(("approach", *_SCANS))
        raise bad(path, "mode", repr(mode[:40]), f"known modes are {modes}", "send us such a file")
    nx, ny = _pixels(settings, "x-px", path), _pixels(settings, "y-px", path)
    if counts.size != nx * ny:
        raise bad(
            path,
            "raw block",
            f"{counts.size} pixels",
            f"settings.json says {nx} x {ny} = {nx * ny}",
            "the scan was stopped early or the file is cut: record or copy it again",
        )
    image = counts.reshape(ny, nx)
    heights = image.astype(np.float64) * (NM_PER_COUNT * 1e-9)
    return SicmScan(heights, image, _size(settings, "x-Size"), _size(settings, "y-Size"), mode, settings, duration)


def _inflate(data: bytes, path: Path, largest: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = stream.read(largest + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise bad(path, "archive", f"damaged ({error})", "it must be a whole gzip stream", "copy it again") from None
    if len(content) > largest:
        raise bad(
            path, "content", f"over {largest} bytes when inflated", f"the limit is {largest}", "do not trust this file"
        )
    return content


def _members(path: Path, content: bytes, largest: int) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if entry.isdir() and name in ("", "."):
                    continue
                if not entry.isreg() or entry.issparse() or "/" in name or "\\" in name or name in ("", ".", ".."):
                    raise bad(
                        path,
                        "member",
                        repr(entry.name[:60]),
                        "members are plain files without folders or links",
                        "do not trust this file",
                    )
                if name in members or len(members) >= _MOST_MEMBERS or entry.size > largest:
                    raise bad(
                        path,
                        "member",
                        repr(name[:60]),
                        f"at most {_MOST_MEMBERS} different ones of {largest} bytes",
                        "do not trust this file",
                    )
                file = archive.extractfile(entry)
                members[name] = file.read() if file is not None else b""
                if len(members[name]) != entry.size:
                    raise bad(path, "member", f"{name!r}, cut short", f"{entry.size} bytes", "copy the file again")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise bad(path, "archive", f"damaged ({error})", "it must be a whole tar", "copy it again") from None
    if not members:
        raise bad(path, "archive", "without members", "settings.json, .mode and a raw block", "use another file")
    return members


def _member(members: Mapping[str, bytes], name: str, path: Path) -> bytes:
    if name not in members:
        present = ", ".join(sorted(members))[:120]
        remedy = "this is no .sicm, or a truncated one: copy it again"
        raise bad(path, "member", f"{name!r}, missing", f"found {present}", remedy)
    return members[name]


def _json(data: bytes, path: Path, name: str) -> dict[str, object]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise bad(path, name, repr(data[:40]), "it must be a JSON object", "copy the file again")
    return value


def _pixels(settings: Mapping[str, str], key: str, path: Path) -> int:
    text = settings.get(key, "")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_PIXELS:
        raise bad(path, key, repr(text[:20]), f"a whole number from 1 to {_MOST_PIXELS}", "mend settings.json")
    return int(text)


def _size(settings: Mapping[str, str], key: str) -> float | None:
    try:
        micrometres = float(settings.get(key, ""))
    except ValueError:
        return None
    return micrometres * 1e-6 if 0.0 < micrometres < 1e6 else None
