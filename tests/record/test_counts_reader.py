"""Samples read past HDF5's filters against HDF5 itself, from files that HDF5 alone has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opsicm.record.packed_counts import ChunkPress, CountsReader

_ROWS = 1024


def _counts(n: int, width: int) -> NDArray[np.int16]:
    noise = np.random.default_rng(n).normal(0.0, 30.0, (n, width))
    return (noise + 9000.0 * np.sin(np.arange(n) / 50.0)[:, None]).astype(np.int16)


def _file(path: Path, counts: NDArray[np.int16], **packed: Any) -> Path:
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        chunks = (_ROWS, counts.shape[1])
        file.create_dataset("counts", data=counts, maxshape=(None, chunks[1]), chunks=chunks, **packed)
    return path


_OURS: dict[str, Any] = {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="lz4")}


@pytest.fixture(scope="module")
def five_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _file(tmp_path_factory.mktemp("counts") / "a.h5", _counts(4 * _ROWS + 77, 3), **_OURS)


@given(st.integers(0, 4 * _ROWS + 77), st.integers(0, 4 * _ROWS + 77))
@settings(max_examples=60, deadline=None)
def test_any_range_equals_what_hdf5_reads(five_chunks: Path, a: int, b: int) -> None:
    first, stop = min(a, b), max(a, b)
    with h5py.File(five_chunks, "r") as file:
        counts = file["counts"]
        assert np.array_equal(CountsReader(counts).read(first, stop), counts[first:stop])


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"compression": "gzip"},
        {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="lz4", nelems=512)},
        {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="none")},
        {**hdf5plugin.Bitshuffle(cname="lz4")},
    ],
)
def test_another_packing_is_read_through_hdf5(tmp_path: Path, packed: dict[str, Any]) -> None:
    counts = _counts(3 * _ROWS, 2)
    with h5py.File(_file(tmp_path / "b.h5", counts, **packed), "r") as file:
        assert np.array_equal(CountsReader(file["counts"]).read(5, 2900), counts[5:2900])


def test_a_chunk_that_was_never_written_is_hdf5s_filling(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "c.h5", "w") as file:
        counts = file.create_dataset("counts", (3 * _ROWS, 2), np.int16, chunks=(_ROWS, 2), **_OURS)
        counts[:_ROWS] = 7
        assert np.array_equal(CountsReader(counts).read(0, 2000), counts[:2000])


def test_a_flipped_bit_is_noticed(five_chunks: Path, tmp_path: Path) -> None:
    with h5py.File(five_chunks, "r") as file:
        chunk = file["counts"].id.get_chunk_info(2)
    data = bytearray(five_chunks.read_bytes())
    for k in range(0, chunk.size, 97):
        bad = bytearray(data)
        bad[chunk.byte_offset + k] ^= 1 << (k % 8)
        path = tmp_path / "bad.h5"
        path.write_bytes(bad)
        with h5py.File(path, "r") as file, pytest.raises(OSError, match="chunk does not"):
            CountsReader(file["counts"]).read(0, 4 * _ROWS)


def test_rows_beyond_the_end_are_refused(five_chunks: Path) -> None:
    with h5py.File(five_chunks, "r") as file, pytest.raises(IndexError, match=r"rows 4000 to 5000 of 4173"):
        CountsReader(file["counts"]).read(4000, 5000)


def test_the_press_unpacks_what_it_has_packed() -> None:
    counts = _counts(_ROWS, 8)
    press = ChunkPress(counts.size)
    packed, back = np.empty(press.room, np.uint8), np.empty_like(counts)
    n = press.pack(counts, packed)
    press.unpack(packed[:n], back)
    assert np.array_equal(back, counts)
    with pytest.raises(OSError, match="does not match its checksum"):
        press.unpack(packed[: n - 1], back)
