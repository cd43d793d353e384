"""Samples read past HDF5's filters against HDF5 itself."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from faults.stream import Stream
from opsicm.record import counts_reader, packed_counts, stored_chunks
from opsicm.record.counts_reader import CountsReader
from tests.record.test_packed_counts import chunk_of

_ROWS = 1024
_CHUNKS = 40
_LENGTH = (_CHUNKS - 1) * _ROWS + 77
_MISSING = 5  # the chunk of which no sample has come


def _counts(n: int, width: int) -> NDArray[np.int16]:
    return chunk_of("wave", n, width)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty chunks of three channels as the converter writes them, one of them absent. Read only."""
    path = tmp_path_factory.mktemp("counts") / "a.h5"
    counts = np.zeros((_CHUNKS * _ROWS, 3), np.int16)
    counts[:_LENGTH] = _counts(_LENGTH, 3)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        item, sums = stored_chunks.counts(file, Stream(channels=3).header().channels, _ROWS)
        item.resize(_LENGTH, axis=0)
        for k in range(_CHUNKS):
            packed = packed_counts.pack(counts[k * _ROWS : (k + 1) * _ROWS])
            if k == _MISSING:
                sums.append(np.zeros(1, np.uint64))
                continue
            item.id.write_direct_chunk((k * _ROWS, 0), stored_chunks.stored(packed, _ROWS, 3))
            sums.append(np.array([xxh3_64_intdigest(packed)], np.uint64))
        sums.flush()
    return path


@pytest.fixture(scope="module")
def expected() -> NDArray[np.int16]:
    counts = _counts(_LENGTH, 3)
    counts[_MISSING * _ROWS : (_MISSING + 1) * _ROWS] = 0
    return counts


class _Unread:
    """A dataset that HDF5 must not be asked to unpack."""

    def __init__(self, item: Any) -> None:
        self._item = item

    def __getattr__(self, name: str) -> Any:
        assert name not in {"read_direct", "__getitem__"}
        return getattr(self._item, name)


@given(st.integers(0, _LENGTH), st.integers(0, _LENGTH), st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_any_range_equals_what_hdf5_reads(
    ours: Path, expected: NDArray[np.int16], a: int, b: int, threads: int | None
) -> None:
    first, stop = min(a, b), max(a, b)
    with h5py.File(ours, "r") as file:
        rows = CountsReader(_Unread(file["counts"]), file["counts_xxh3"]).read(first, stop, threads)
        assert np.array_equal(rows, expected[first:stop])
        assert np.array_equal(rows, file["counts"][first:stop])


def test_a_range_after_another_in_the_same_chunk_is_unpacked_once(
    ours: Path, expected: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[int] = []
    plain = packed_counts.unpack

    def counted(packed: memoryview, into: NDArray[np.int16]) -> None:
        unpacked.append(into.shape[0])
        plain(packed, into)

    monkeypatch.setattr(packed_counts, "unpack", counted)
    with h5py.File(ours, "r") as file:
        reader = CountsReader(file["counts"], file["counts_xxh3"])
        for first in range(100, 900, 100):
            np.testing.assert_array_equal(reader.read(first, first + 100), expected[first : first + 100])
        assert unpacked == [_ROWS]


def test_several_threads_take_a_part_each(
    ours: Path, expected: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def counted(n: int) -> Any:
        begun.append(n)
        return ThreadPoolExecutor(n)

    monkeypatch.setattr(counts_reader, "ThreadPoolExecutor", counted)
    with h5py.File(ours, "r") as file:
        reader = CountsReader(file["counts"], file["counts_xxh3"])
        for threads in (1, 2, 8):
            np.testing.assert_array_equal(reader.read(0, _LENGTH, threads), expected)
        reader.read(0, 31 * _ROWS, 8)  # too little for two
    assert begun == [2, 2]  # forty chunks are enough for two


@pytest.mark.parametrize("where", ["body", "sum", "frame", "absent", "moved"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_chunk_is_noticed_by_name(ours: Path, tmp_path: Path, where: str, threads: int) -> None:
    path = Path(shutil.copy(ours, tmp_path / "bad.h5"))
    with h5py.File(path, "r+") as file:
        item, sums = file["counts"], file["counts_xxh3"]
        if where == "sum":
            sums[20] ^= np.uint64(1 << 40)
        elif where == "absent":  # though it has a checksum
            sums[_MISSING] = 1
        else:
            _, chunk = item.id.read_direct_chunk((20 * _ROWS, 0))
            data = bytearray(chunk)
            if where == "moved":  # an intact chunk, but another one
                _, chunk = item.id.read_direct_chunk((21 * _ROWS, 0))
                data = bytearray(chunk)
            else:
                data[3 if where == "frame" else len(data) // 2] ^= 16
            item.id.write_direct_chunk((20 * _ROWS, 0), bytes(data))
    at = (_MISSING if where == "absent" else 20) * _ROWS
    with h5py.File(path, "r") as file:
        reader = CountsReader(file["counts"], file["counts_xxh3"])
        with pytest.raises(OSError, match=f"samples from {at}: a chunk "):
            reader.read(0, _LENGTH, threads)
        with pytest.raises(OSError, match=f"samples from {at}: a chunk "):
            reader.read(at + 5, at + 50)
        assert reader.read(0, _MISSING * _ROWS).any()


def test_no_checksum_is_no_excuse(ours: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(ours, tmp_path / "bad.h5"))
    with h5py.File(path, "r+") as file:
        file["counts_xxh3"].resize(_CHUNKS - 1, axis=0)
    with h5py.File(path, "r") as file:
        reader = CountsReader(file["counts"], file["counts_xxh3"])
        with pytest.raises(OSError, match=f"samples from {(_CHUNKS - 1) * _ROWS}: a chunk does not match its checksum"):
            reader.read(0, _LENGTH)


def test_rows_beyond_the_end_are_refused(ours: Path) -> None:
    with h5py.File(ours, "r") as file, pytest.raises(IndexError, match=rf"rows 4000 to 50000 of {_LENGTH}"):
        CountsReader(file["counts"], file["counts_xxh3"]).read(4000, 50_000)


# -- what other versions and programs have packed ----------------------------------------------------------------------


_OF_0_1_0: dict[str, Any] = {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="lz4")}


@pytest.mark.parametrize(
    "packed",
    [
        _OF_0_1_0,
        {},
        {"compression": "gzip"},
        {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="none")},
        {"fletcher32": True, **hdf5plugin.Blosc2(cname="zstd", clevel=1)},
    ],
)
def test_another_packing_is_read_through_hdf5(tmp_path: Path, packed: dict[str, Any]) -> None:
    counts = _counts(3 * _ROWS, 2)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("counts", data=counts, chunks=(_ROWS, 2), **packed)
    with h5py.File(tmp_path / "b.h5", "r") as file:
        assert np.array_equal(CountsReader(file["counts"]).read(5, 2900), counts[5:2900])


def test_a_flipped_bit_in_a_file_of_0_1_0_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        chunk = file.create_dataset("counts", data=_counts(_ROWS, 2), chunks=(_ROWS, 2), **_OF_0_1_0).id.get_chunk_info(
            0
        )
    data = path.read_bytes()
    for k in range(0, chunk.size, 97):
        bad = bytearray(data)
        bad[chunk.byte_offset + k] ^= 1 << (k % 8)
        path.write_bytes(bad)
        with h5py.File(path, "r") as file, pytest.raises(OSError, match="filter returned failure"):
            CountsReader(file["counts"]).read(0, _ROWS)


@pytest.mark.parametrize("dtype", [">i2", "<i4"])
def test_other_numbers_in_our_packing_are_read_through_hdf5(tmp_path: Path, dtype: str) -> None:
    """Of another program's making: the reader does not take their bytes for counts of its own."""
    counts = _counts(_ROWS, 2)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        packing = hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=hdf5plugin.Blosc2.BITSHUFFLE)
        file.create_dataset("counts", data=counts.astype(dtype), chunks=(_ROWS, 2), fletcher32=True, **packing)
        file["sums"] = np.ones(1, np.uint64)
    with h5py.File(tmp_path / "c.h5", "r") as file:
        np.testing.assert_array_equal(CountsReader(file["counts"], file["sums"]).read(0, _ROWS), counts)
