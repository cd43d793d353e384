"""What a live file (`segment-0001.h5`, …) looks like: shared by the writer that grows it and by those who read it.

One file holds samples of one segment at most, and everything else that came meanwhile. Every row carries the serial
number under which it went through the ring: a writer that follows one that died begins again at the last committed
serial, in a new file, and what both files hold counts once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.facts.channel import Channel
from opsicm.facts.hop import HOP_DTYPE
from opsicm.record.messages import READING_DTYPE, STEP_BYTES
from opsicm.record.recorder import Header

LIVE_VERSION: Final = 1
_SECONDS_A_CHUNK: Final = 0.13
_MOST_ROWS: Final = 16384  # 64 kB of two channels, 256 kB of eight: a hop's samples are read within a millisecond

HOP_ROW: Final = np.dtype([("serial", "i8"), ("step", f"S{STEP_BYTES}"), *HOP_DTYPE.descr, ("crc", "u4")])
READING_ROW: Final = np.dtype([("serial", "i8"), *READING_DTYPE.descr, ("crc", "u4")])


def block_row(channels: int) -> np.dtype[Any]:
    """One row per block: where its samples and its decimated rows are, and what to think of each channel.

    The checksum of the data is there because a crash can leave an old state of a chunk that is valid in itself: its
    own checksum holds, but the end of it is not yet written and reads as zeros.
    """
    return np.dtype(
        [
            ("serial", "i8"),
            ("segment", "i8"),
            ("first_sample", "i8"),
            ("samples", "i8"),
            ("t0_ns", "i8"),
            ("dt_ns", "i8"),
            ("row", "i8"),
            ("rows", "i8"),
            ("quality", "u1", (channels,)),
            ("data_crc", "u4"),  # of counts, minimum, maximum, mean as they were kept
            ("crc", "u4"),
        ]
    )


def seal(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with their checksums set: over all bytes before the checksum."""
    for k in range(rows.shape[0]):
        rows["crc"][k] = zlib.crc32(rows[k : k + 1].tobytes()[:-4])
    return rows


def sealed(rows: NDArray[Any]) -> int:
    """How many rows from the first on are whole: a row that never reached the disk reads as zeros."""
    data = rows.tobytes()
    size = rows.dtype.itemsize
    for k in range(rows.shape[0]):
        whole = rows["serial"][k] > 0 and zlib.crc32(data[k * size : (k + 1) * size - 4]) == rows["crc"][k]
        if not whole:
            return k
    return int(rows.shape[0])


def data_crc(*arrays: NDArray[Any] | None) -> int:
    """Checksum of what is kept of a block."""
    value = 0
    for array in arrays:
        if array is not None and array.size:
            value = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), value)
    return value


def chunk_rows(dt_ns: int) -> int:
    """Samples in a chunk: a power of two that holds about an eighth of a second, 1024 … 16384."""
    return int(2 ** np.clip(round(np.log2(_SECONDS_A_CHUNK * 1e9 / dt_ns)), 10, np.log2(_MOST_ROWS)))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which channels are kept how: indices into the header's channels."""

    full: tuple[int, ...]
    decimated: tuple[int, ...]

    @staticmethod
    def of(channels: Sequence[Channel]) -> Columns:
        """Every channel that is not `off` is in the decimated stream; those kept in full are in both."""
        full = tuple(k for k, channel in enumerate(channels) if channel.policy == "full")
        return Columns(full, tuple(k for k, channel in enumerate(channels) if channel.policy != "off"))


def header_text(header: Header) -> str:
    """A header as JSON."""
    return json.dumps(asdict(header), ensure_ascii=False, default=str)


def header_of(text: str) -> Header:
    """The header that `header_text` wrote."""
    data = json.loads(text)
    data["channels"] = tuple(Channel(**channel) for channel in data["channels"])
    return Header(**data)
