"""What goes through the ring: blocks of samples, hop records and slow rows, as bytes with a fixed layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import BadInput, Problem
from opsicm.facts.hop import HOP_DTYPE
from opsicm.facts.samples import SampleBlock
from opsicm.record.recorder import Reading

BLOCK: Final = 1
HOPS: Final = 2
READING: Final = 3

STEP_BYTES: Final = 96  # a step's text path, UTF-8; `check` could not name a longer one on one line
CONTROL_BYTES: Final = 32
READING_DTYPE: Final = np.dtype(
    [
        ("t_ns", "i8"), ("potential", "f8"), ("current", "f8"), ("charge", "f8"), ("set_point", "f8"), ("soc", "f8"),
        ("pipette_current", "f8"), ("pipette_bias", "f8"), ("bias_residual", "f8"), ("z", "f8"), ("coarse_z", "f8"),
        ("control", f"S{CONTROL_BYTES}"),
    ]
)  # fmt: skip
"""A slow row: cell and probe together; NaN where a value is not known (`set_point`, `soc`)."""
_BLOCK_HEAD: Final = np.dtype(
    [
        ("segment", "i8"),
        ("first_sample", "i8"),
        ("t0_ns", "i8"),
        ("dt_ns", "i8"),
        ("samples", "i8"),
        ("channels", "i8"),
    ]
)

Parts = tuple[memoryview | bytes, ...]


def block_parts(block: SampleBlock) -> Parts:
    """A block as bytes: numbers, quality, counts."""
    n, width = block.counts.shape
    head = np.array([(block.segment, block.first_sample, block.t0_ns, block.dt_ns, n, width)], _BLOCK_HEAD)
    counts = np.ascontiguousarray(block.counts, np.int16)
    quality = np.ascontiguousarray(block.quality, np.uint8)
    return head.tobytes(), quality.tobytes(), counts.data.cast("B") if n else b""


def block_of(payload: memoryview) -> SampleBlock:
    """The block whose counts look into `payload`: no copy."""
    segment, first, t0_ns, dt_ns, n, width = np.frombuffer(payload, _BLOCK_HEAD, 1)[0].tolist()
    at = _BLOCK_HEAD.itemsize
    quality = np.frombuffer(payload, np.uint8, width, at)
    # The counts follow the quality bytes wherever they end: an unaligned view, which NumPy copies from correctly.
    counts = np.frombuffer(payload[at + width :], np.int16, n * width).reshape(n, width)
    return SampleBlock(segment, first, t0_ns, dt_ns, counts, quality)


def hops_parts(step: str, records: NDArray[Any]) -> Parts:
    """Hop records of one step as bytes."""
    rows = np.ascontiguousarray(records, HOP_DTYPE)
    return _text(step, STEP_BYTES, "step path"), rows.tobytes()


def hops_of(payload: memoryview) -> tuple[bytes, NDArray[Any]]:
    """(step, records)."""
    return bytes(payload[:STEP_BYTES]).rstrip(b"\0"), np.frombuffer(payload[STEP_BYTES:], HOP_DTYPE)


def reading_row(reading: Reading) -> NDArray[Any]:
    """A reading as one row."""
    values: Sequence[Any] = [
        np.nan if (value := getattr(reading, name)) is None else value for name in READING_DTYPE.names or ()
    ]
    control = _text(reading.control, CONTROL_BYTES, "cell control").rstrip(b"\0")
    return np.array([(*values[:-1], control)], READING_DTYPE)


def reading_of(payload: memoryview) -> NDArray[Any]:
    """The row."""
    return np.frombuffer(payload, READING_DTYPE, 1)


def _text(text: str, length: int, thing: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) > length:
        limit = f"the record keeps {length} bytes of it"
        raise BadInput(Problem(thing, f"{len(data)} bytes long", limit, "give it a shorter name"))
    return data.ljust(length, b"\0")
