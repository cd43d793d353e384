"""From live files to `run.nxs`: copied, checked, renamed when whole; the live files go last.

A copy rather than a rename: opening the live file once more for writing would put at risk what is safe. A kill at any
moment leaves either the live files or the whole run file, or both; doing it again is always right.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import Problem, UnreadableRun
from opsicm.core.facts import Fact
from opsicm.record import default_plot, nexus_file, text_seal
from opsicm.record import run_folder as disk_space
from opsicm.record.counts_copy import CountsCopy
from opsicm.record.damage import named
from opsicm.record.journal import read_lines
from opsicm.record.live_files import HOP_ROW, READING_ROW, Columns, LiveParts, Piece, chunk_rows, read_piece
from opsicm.record.nexus_file import BLOCK_COLUMNS, MISSING, QUALITIES
from opsicm.record.recorder import Header
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, LIVE_FILE, RIG, RUN_FILE, RunFolder, number_of, started

_MARGIN: Final = 4e6  # [bytes] of room beyond the live files' size, for the groups and the default plot
_ROWS: Final = 1 << 16  # rows of the decimated stream copied at a time
_WRITE_BACK: Final = 0.5  # [s] between two times that what is there of the run file is brought to the disk
_DECIMATED: Final = ("minimum", "maximum", "mean")


def finalise(folder: RunFolder, recovered: str | None = None) -> tuple[Path, list[str]]:
    """(`run.nxs`, what was lost in words). `recovered` says who did it after a crash, for the provenance.

    Raises `UnreadableRun` without room for the copy, and where a run file was there and somebody has taken it away:
    nothing is touched then.
    """
    if folder.run_file.is_file():
        _tidy(folder)
        return folder.run_file, []
    _refuse_if_gone(folder)
    size = sum(path.stat().st_size for path in folder.live_files())
    there, _ = disk_space.free(folder.path)
    if there < size + _MARGIN:
        limit = f"the run file needs {(size + _MARGIN) * 1e-6:.0f} MB beside its live files"
        remedy = "free some space, then opsicm recover"
        raise UnreadableRun(Problem("free space", f"{there * 1e-6:.0f} MB", limit, remedy, str(folder.path)))
    parts = LiveParts(folder)
    try:
        with named(folder.journal, "a live file"), _written_back(folder.unfinished_file):
            losses = _build(folder, parts, recovered)
    finally:
        parts.close()
    with h5py.File(folder.unfinished_file, "r") as file:
        places, data = text_seal.references(file), text_seal.data_of(file)
    text_seal.seal(folder.unfinished_file, places, data)
    descriptor = os.open(folder.unfinished_file, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    folder.unfinished_file.rename(folder.run_file)
    folder.sync()
    _tidy(folder)
    return folder.run_file, losses


@contextmanager
def _written_back(path: Path) -> Iterator[None]:
    """Bring the growing file to the disk meanwhile: else the last `fsync` finds all of it still to be done."""
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    done = threading.Event()

    def follow() -> None:
        while not done.wait(_WRITE_BACK):
            with suppress(OSError):  # the last fsync will say it again
                os.fdatasync(descriptor)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(descriptor)


def _refuse_if_gone(folder: RunFolder) -> None:
    """A journal with facts and neither a header nor a live file beside it: only making `run.nxs` takes both away. What
    could be made of that would say that nothing was measured."""
    lines, _ = read_lines(folder.journal)
    if not lines or folder.header.is_file() or folder.live_files():
        return
    limit = f"is gone, and so are its live files: {told_hops(lines)} hops that the journal names are in no file here"
    left = ", ".join(name for name in (EXPERIMENT, RIG, JOURNAL) if (folder.path / name).is_file())
    remedy = f"put it back from a copy; what can still be read: {left} ({len(lines)} facts)"
    raise UnreadableRun(Problem("run file", RUN_FILE, limit, remedy, str(folder.path)))


def told_hops(lines: list[str]) -> int:
    """How many hops the facts of a journal name."""
    ranges = [fact.data["range"] for fact in map(Fact.from_line, lines) if fact.kind == "hops" and "range" in fact.data]
    return sum(int(last) - int(first) + 1 for first, last in ranges)


def _missing(folder: RunFolder, lines: list[str], hops: int) -> list[str]:
    """What others say was there: live files by their numbers, hops by the journal."""
    numbers = {number_of(path) for path in folder.live_files()}
    gone = [LIVE_FILE.format(n) for n in range(1, max(numbers, default=0)) if n not in numbers]
    lost = told_hops(lines) - hops
    return [
        *([f"{', '.join(gone)} missing"] if gone else []),
        *([f"{lost} hops that the journal names are in no live file"] if lost > 0 else []),
    ]


def _tidy(folder: RunFolder) -> None:
    for path in (*folder.live_files(), folder.header, folder.unfinished_file):
        path.unlink(missing_ok=True)


def _build(folder: RunFolder, parts: LiveParts, recovered: str | None) -> list[str]:
    lines, torn = read_lines(folder.journal)
    losses = [f"journal: {torn} torn lines"] if torn else []
    header, unsure = (parts.header, []) if parts.header else _header_from(folder)
    losses += unsure
    with h5py.File(folder.unfinished_file, "w", libver=nexus_file.FORMAT, rdcc_nbytes=8 << 20) as file:
        entry = nexus_file.start(file, header, folder.path.name, {"recovered": recovered} if recovered else {})
        segments = parts.segments()
        hops, readings = parts.rows("hops"), parts.rows("readings")
        missing = _missing(folder, lines, 0 if hops is None else hops.size)
        if hops is not None and Columns.of(header.channels).full:
            whole = _with_samples(hops, segments)
            if not whole.all():
                losses.append(f"{int((~whole).sum())} hops whose samples did not reach the disk")
                hops = hops[whole]
        hops = np.empty(0, HOP_ROW) if hops is None else hops
        readings = np.empty(0, READING_ROW) if readings is None else readings
        losses += [*parts.left_out(), *missing]
        nexus_file.hops(entry, hops)
        nexus_file.slow_rows(entry, readings)
        samples = nexus_file.group_of(entry, "samples", "NXcollection")
        for segment, pieces in segments.items():
            losses += _segment(samples, segment, pieces, header)
        nexus_file.instrument(entry, header)
        nexus_file.journal(entry, lines)
        nexus_file.end_time(entry, header)
        default_plot.write(entry, hops, readings)
        nexus_file.text(entry["provenance"], "losses", "; ".join(losses) or "none")
    return losses


def _header_from(folder: RunFolder) -> tuple[Header, list[str]]:
    """What the folder alone still says of a run that was killed before its header was written; what is not sure."""

    def said(name: str) -> str:
        path = folder.path / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    unsure = []
    began = started(folder.path.name)
    if began is None:
        file = next((path for path in (folder.path / EXPERIMENT, folder.journal) if path.is_file()), folder.path)
        began = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
        unsure = [f"start_time: the folder was renamed, so it is when {file.name} was written"]
    return Header(folder.path.name, began, said(EXPERIMENT), said(RIG), (), 10_000), unsure


def _segment(samples: h5py.Group, segment: int, pieces: list[Piece], header: Header) -> list[str]:
    columns = Columns.of(header.channels)
    blocks = np.concatenate([piece.blocks for piece in pieces])
    group = nexus_file.group_of(samples, f"segment_{segment:04d}", "NXcollection")
    first = int(blocks["first_sample"][0])
    dt_ns = int(blocks["dt_ns"][0])
    group.attrs.update(t0_ns=int(blocks["t0_ns"][0]) - first * dt_ns, dt_ns=dt_ns)
    lost = _counts(group, pieces, header, columns) if columns.full else np.empty((0, 2), np.int64)
    _decimated(group, pieces, header, columns)
    lost = np.concatenate([lost, _holes(blocks)])
    group.create_dataset("lost", data=lost, chunks=(1024, 2), maxshape=(None, 2), fletcher32=True)
    quality = blocks["quality"].copy()
    ends = blocks["first_sample"] + blocks["samples"]
    for begin, end in lost:
        quality[(blocks["first_sample"] < end) & (ends > begin)] = MISSING
    table = np.column_stack([*(blocks[name] for name in BLOCK_COLUMNS), quality.astype(np.int64)])
    item = group.create_dataset(
        "blocks",
        data=table,
        chunks=(4096, table.shape[1]),
        maxshape=(None, table.shape[1]),
        compression="gzip",
        fletcher32=True,
    )
    names = [*BLOCK_COLUMNS, *(f"quality_{channel.name}" for channel in header.channels)]
    item.attrs["columns"] = np.array([name.encode() for name in names], "S")
    item.attrs["quality"] = QUALITIES
    return [f"segment {segment}: samples {begin} to {end - 1} are lost" for begin, end in lost]


def _with_samples(hops: NDArray[Any], segments: dict[int, list[Piece]]) -> NDArray[np.bool_]:
    """Which hops have all their samples: rows of the last second may have reached the disk before them."""
    ends = {n: pieces[-1].first_sample + pieces[-1].samples for n, pieces in segments.items()}
    last = np.array([ends.get(int(n), 0) for n in np.unique(hops["segment"])] or [0])
    known = np.unique(hops["segment"])
    return (
        np.asarray(hops["sample_top"] < last[np.searchsorted(known, hops["segment"])])
        if hops.size
        else np.ones(0, bool)
    )


def _holes(blocks: NDArray[Any]) -> NDArray[np.int64]:
    """[k, 2] stretches of samples that no block covers, the beginning of the segment included."""
    begins = blocks["first_sample"]
    ends = np.concatenate([[0], (begins + blocks["samples"])[:-1]])
    holes = np.column_stack([ends, begins])
    return holes[holes[:, 0] < holes[:, 1]].astype(np.int64)


def _counts(group: h5py.Group, pieces: list[Piece], header: Header, columns: Columns) -> NDArray[np.int64]:
    """Copy the counts; returns the stretches that could not be read. They hold zeros; their blocks say missing."""
    width = len(columns.full)
    total = pieces[-1].first_sample + pieces[-1].samples
    rows = chunk_rows(header.dt_ns)
    counts = group.create_dataset(
        "counts",
        (total, width),
        np.int16,
        maxshape=(None, width),
        chunks=(rows, width),
        fletcher32=True,
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )
    nexus_file.describe(counts, [header.channels[k] for k in columns.full])
    lost: list[tuple[int, int]] = []
    copy = CountsCopy(counts)
    for piece in pieces:
        for first, values, n in read_piece(piece):
            if values is None:
                lost.append((first, first + n))
            else:
                copy.put(piece, first, values)
    copy.flush()
    return np.array(lost, np.int64).reshape(-1, 2)


def _decimated(group: h5py.Group, pieces: list[Piece], header: Header, columns: Columns) -> None:
    if not columns.decimated:
        return
    stream = nexus_file.group_of(group, "decimated", "NXcollection")
    stream.attrs["samples_a_row"] = pieces[0].part.factor
    spans = [
        (piece, int(piece.blocks["row"][0]), int((piece.blocks["row"] + piece.blocks["rows"])[-1])) for piece in pieces
    ]
    total = sum(b - a for _, a, b in spans)
    sizes = np.concatenate([piece.part.decimated("row_samples", a, b) for piece, a, b in spans])
    firsts = [piece.first_sample + _starts(piece.part.decimated("row_samples", a, b)) for piece, a, b in spans]
    nexus_file.column(stream, "first_sample", np.concatenate(firsts), "1")
    nexus_file.column(stream, "samples", sizes, "1")
    for name in _DECIMATED:
        width = len(columns.decimated)
        item = stream.create_dataset(
            name,
            (total, width),
            np.float32 if name == "mean" else np.int16,
            chunks=(1024, width),
            maxshape=(None, width),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fletcher32=True,
        )
        nexus_file.describe(item, [header.channels[k] for k in columns.decimated])
        at = 0
        for piece, first, stop in spans:
            for begin in range(first, stop, _ROWS):
                values = piece.part.decimated(name, begin, min(begin + _ROWS, stop))
                item[at : at + values.shape[0]] = values
                at += values.shape[0]


def _starts(sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)[:-1]]) if sizes.size else np.empty(0, np.int64)
