"""Chunks packed outside HDF5 against the filters inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.record import packed_counts
from opsicm.record.packed_counts import ChunkPress, PackedCounts


def _dataset(file: h5py.File, rows: int, width: int) -> Any:
    return file.create_dataset(
        "counts",
        (0, width),
        np.int16,
        maxshape=(None, width),
        chunks=(rows, width),
        fletcher32=True,
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )


@pytest.mark.parametrize("noise", [0.0, 3.0, 20_000.0])
def test_byte_for_byte_what_the_filters_write(tmp_path: Path, noise: float) -> None:
    random = np.random.default_rng(3)
    counts = (100 * np.sin(np.arange(8192) / 50)[:, None] + random.normal(0, noise, (8192, 2))).clip(-32768, 32767)
    counts = np.ascontiguousarray(counts.astype(np.int16))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = _dataset(file, 8192, 2)
        dataset.resize((8192, 2))
        dataset[:] = counts
        _, theirs = dataset.id.read_direct_chunk((0, 0))
    press = ChunkPress(counts.size)
    into = np.empty(press.room, np.uint8)
    assert into[: press.pack(counts, into)].tobytes() == theirs


def test_a_chunk_of_another_size_is_refused() -> None:
    press = ChunkPress(2048)
    with pytest.raises(ValueError, match="2047 elements"):
        press.pack(np.zeros(2047, np.int16), np.empty(press.room, np.uint8))


def _no_press(_: int) -> ChunkPress:
    raise AttributeError("H5_checksum_fletcher32")


@pytest.mark.parametrize("offered", [True, False])
@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_counts_appended_in_pieces_are_all_stored(offered: bool, pieces: list[tuple[int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch, h5py.File("pieces", "w", driver="core", backing_store=False) as file:
        if not offered:
            patch.setattr(packed_counts, "ChunkPress", _no_press)
        dataset = _dataset(file, 1024, 3)
        packed = PackedCounts(dataset)
        every = np.random.default_rng(5).integers(-999, 999, (24_000, 3), np.int16)
        at = 0
        for n, flush in pieces:
            packed.append(every[at : at + n])
            at += n
            if flush:
                packed.flush()
                np.testing.assert_array_equal(dataset[:], every[:at])
        packed.flush()
        packed.close()
        np.testing.assert_array_equal(dataset[:], every[:at])
