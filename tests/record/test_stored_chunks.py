"""What the run file keeps of a packed chunk against what Blosc2 and HDF5 make of the same counts themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.stream import Stream
from opsicm.record import packed_counts, stored_chunks
from opsicm.record.stored_chunks import fletcher32, stored
from tests.record.test_packed_counts import KINDS, WIDTHS, chunk_of


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["constant", "random", "wave"])
def test_the_frame_is_the_one_that_blosc2_makes(kind: str, width: int) -> None:
    rows = packed_counts.chunk_rows(width)
    counts = chunk_of(kind, rows, width)
    theirs = packed_counts.library().SChunk(
        chunksize=counts.nbytes, data=counts, cparams=packed_counts.parameters(width), contiguous=True
    )
    assert stored(packed_counts.pack(counts), rows, width)[:-4] == theirs.to_cframe()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)  # of zeros Blosc2 keeps no chunk, but reads one
def test_hdf5_reads_it_and_its_packed_part_is_what_was_packed(tmp_path: Path, kind: str, width: int) -> None:
    rows = packed_counts.chunk_rows(width)
    counts = chunk_of(kind, rows, width)
    packed = packed_counts.pack(counts)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item, sums = stored_chunks.counts(file, Stream(channels=width).header().channels, rows)
        item.resize(rows, axis=0)
        item.id.write_direct_chunk((0, 0), stored(packed, rows, width))
        sums.flush()
    with h5py.File(tmp_path / "a.h5", "r") as file:
        item = file["counts"]
        np.testing.assert_array_equal(item[:], counts)
        _, chunk = item.id.read_direct_chunk((0, 0))
        assert packed_counts.packed_part(memoryview(chunk)) == packed
        assert [item.id.get_create_plist().get_filter(k)[0] for k in range(2)] == [hdf5plugin.BLOSC2_ID, 3]
        assert item.attrs["name"].tolist() == [one.name.encode() for one in Stream(channels=width).header().channels]


@pytest.mark.parametrize("flip", [1, 20, 45, 300, -2])
def test_hdf5_refuses_a_damaged_one(tmp_path: Path, flip: int) -> None:
    rows = packed_counts.chunk_rows(2)
    data = bytearray(stored(packed_counts.pack(chunk_of("wave", rows, 2)), rows, 2))
    data[flip] ^= 8
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item, _ = stored_chunks.counts(file, Stream(channels=2).header().channels, rows)
        item.resize(rows, axis=0)
        item.id.write_direct_chunk((0, 0), bytes(data))
        file.flush()
        with pytest.raises(OSError, match="filter returned failure"):
            _ = item[:]


@pytest.mark.parametrize("left", [0, 20, 46, 150, 20_000])
def test_a_cut_frame_is_refused(left: int) -> None:
    rows = packed_counts.chunk_rows(2)
    whole = stored(packed_counts.pack(chunk_of("wave", rows, 2)), rows, 2)
    assert len(whole) > 40_000
    for data in (whole[:left], bytes(left), b"\0" + whole[1:left].replace(b"b2frame", b"b2fr\0me")):
        with pytest.raises(ValueError, match="does not begin as a Blosc2 frame does"):
            packed_counts.packed_part(memoryview(data))


def _of_hdf5(file: Any, data: bytes) -> int:
    """The Fletcher-32 that HDF5 itself keeps behind a chunk."""
    item = file.create_dataset("x", data=np.frombuffer(data, np.uint8), chunks=(len(data),), fletcher32=True)
    file.flush()
    _, chunk = item.id.read_direct_chunk((0,))
    del file["x"]
    assert chunk[:-4] == data
    return int.from_bytes(chunk[-4:], "little")


@given(
    st.one_of(
        st.binary(min_size=1, max_size=2000),
        st.builds(lambda n, b: bytes([b]) * n, st.integers(1, 2000), st.integers(0, 255)),
    )
)
@settings(max_examples=150, deadline=None)
def test_the_checksum_is_hdf5s(data: bytes) -> None:
    with h5py.File("sums", "w", driver="core", backing_store=False) as file:
        assert fletcher32(data) == _of_hdf5(file, data)


@pytest.mark.parametrize("n", [719, 720, 721, 262_143, 262_348])
@pytest.mark.parametrize("fill", ["zeros", "ones", "random", "sum of 65535"])
def test_the_checksum_is_hdf5s_of_whole_chunks(n: int, fill: str) -> None:
    data = np.zeros(n, np.uint8)
    if fill == "random":
        data = np.random.default_rng(n).integers(0, 256, n, np.uint8)
    elif fill == "ones":
        data += 255
    elif fill == "sum of 65535":  # which HDF5, folding carries in, keeps as 65535 and not as 0
        data[[0, 1]] = 255
    with h5py.File("sums", "w", driver="core", backing_store=False) as file:
        assert fletcher32(data.tobytes()) == _of_hdf5(file, data.tobytes())
