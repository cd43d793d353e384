"""Chunks that are packed outside HDF5: unpacked to the same counts here and by HDF5, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opsicm.record import packed_counts

WIDTHS = (1, 2, 3, 5, 8)
KINDS = ("zeros", "constant", "random", "wave")


def chunk_of(kind: str, rows: int, width: int) -> NDArray[np.int16]:
    random = np.random.default_rng(width)
    if kind == "random":
        return random.integers(-32768, 32767, (rows, width), np.int16, endpoint=True)
    wave = 8000 * np.sin(np.arange(rows) / 300.0)[:, None] + random.normal(0, 6, (rows, width))
    return (wave * (kind == "wave") + 7 * (kind == "constant")).astype(np.int16)


@pytest.mark.parametrize("width", range(1, 9))
def test_a_chunk_is_a_quarter_of_a_megabyte_at_most(width: int) -> None:
    rows = packed_counts.chunk_rows(width)
    assert rows & (rows - 1) == 0
    assert 65_536 < rows * width <= 131_072


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_chunk_there_and_back(kind: str, width: int) -> None:
    counts = chunk_of(kind, packed_counts.chunk_rows(width), width)
    packed = packed_counts.pack(counts)
    back = np.empty_like(counts)
    packed_counts.unpack(packed, back)
    np.testing.assert_array_equal(back, counts)
    # Packing must not cost anything where nothing can be gained, and must where much can.
    share = {"zeros": 1e-3, "constant": 1e-2, "random": 1.001, "wave": 0.65}[kind]
    assert len(packed) <= share * counts.nbytes


@given(st.integers(1, 9000), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_shape_there_and_back(rows: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(
        -1 << int(random.integers(0, 16)), 1 << int(random.integers(0, 15)), (rows, width), np.int16
    )
    back = np.empty_like(counts)
    packed_counts.unpack(packed_counts.pack(counts), back)
    np.testing.assert_array_equal(back, counts)


def test_a_chunk_of_another_size_is_refused() -> None:
    packed = packed_counts.pack(chunk_of("wave", 1000, 2))
    with pytest.raises(ValueError, match="a chunk of 4000 bytes for 3996"):
        packed_counts.unpack(packed, np.empty((999, 2), np.int16))
    with pytest.raises(ValueError, match="a chunk of 4000 bytes for 4000"):  # which does not lie in one piece
        packed_counts.unpack(packed, np.empty((1000, 4), np.int16)[:, ::2])


@pytest.mark.parametrize("left", [0, 7, 16, 40, 0.5, -1])
def test_a_cut_chunk_is_refused(left: float) -> None:
    packed = packed_counts.pack(chunk_of("wave", 1000, 2))
    cut = packed[: int(left * len(packed)) if 0 < left < 1 else int(left)]
    with pytest.raises(ValueError):
        packed_counts.unpack(cut, np.empty((1000, 2), np.int16))
