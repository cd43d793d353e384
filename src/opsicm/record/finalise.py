"""Makes `run.nxs` from the live files: copied, checked, renamed when complete; the live files are deleted last.

A copy rather than a rename: opening the live file once more for writing would put safe data at risk. A kill at any
moment leaves the live files, the complete run file, or both, so that finalising can always be repeated.
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
from opsicm.record import default_plot, nexus_file, run_folder, text_seal
from opsicm.record.counts_copy import CountsCopy
from opsicm.record.damaged_file import damage_reported
from opsicm.record.journal import read_lines
from opsicm.record.live_files import HOP_ROW, READING_ROW, Columns, LiveParts, Piece, chunk_rows, read_piece
from opsicm.record.nexus_file import BLOCK_COLUMNS, MISSING, QUALITIES
from opsicm.record.recorder import RunHeader
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, LIVE_FILE, RIG, RUN_FILE, RunFolder, number_of, started

_MARGIN: Final = 4e6  # [bytes] of room beyond the live files' size, for the groups and the default plot
_ROWS: Final = 1 << 16  # rows of the decimated stream copied at a time
_WRITE_BACK: Final = 0.5  # [s] between two times that what is there of the run file is brought to the disk
_DECIMATED: Final = ("minimum", "maximum", "mean")


def finalise(folder: RunFolder, recovered: str | None = None) -> tuple[Path, list[str]]:
    """(`run.nxs`, the losses as texts). `recovered` names who recovered it after a crash, for the provenance.

    Raises `UnreadableRun` without room for the copy, and where a finished run file has been removed; nothing is changed
    then.
    """
    if folder.run_file.is_file():
        _tidy(folder)
        return folder.run_file, []
    _refuse_if_gone(folder)
    size = sum(path.stat().st_size for path in folder.live_files())
    available, _ = run_folder.free(folder.path)
    if available < size + _MARGIN:
        limit = f"the run file needs {(size + _MARGIN) * 1e-6:.0f} MB beside its live files"
        remedy = "free some space, then opsicm recover"
        raise UnreadableRun(Problem("free space", f"{available * 1e-6:.0f} MB", limit, remedy, str(folder.path)))
    parts = LiveParts(folder)
    try:
        with damage_reported(folder.journal, "a live file"), _written_back(folder.unfinished_file):
            losses = _build(folder, parts, recovered)
    finally:
        parts.close()
    with h5py.File(folder.unfinished_file, "r") as file:
        places, data = text_seal.text_references(file), text_seal.chunk_places(file)
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
            with suppress(OSError):  # the last fsync reports it again
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
    """Refuse a journal with facts but neither a header nor a live file: only finalising deletes both, so `run.nxs` has
    been removed, and a new one would claim that nothing was measured."""
    lines, _ = read_lines(folder.journal)
    if not lines or folder.header.is_file() or folder.live_files():
        return
    limit = (
        f"is gone, and so are its live files: {hops_in_journal(lines)} hops that the journal names are in no file here"
    )
    left = ", ".join(name for name in (EXPERIMENT, RIG, JOURNAL) if (folder.path / name).is_file())
    remedy = f"put it back from a copy; what can still be read: {left} ({len(lines)} facts)"
    raise UnreadableRun(Problem("run file", RUN_FILE, limit, remedy, str(folder.path)))


def hops_in_journal(lines: list[str]) -> int:
    """The number of hops that the facts of a journal name."""
    ranges = [fact.data["range"] for fact in map(Fact.from_line, lines) if fact.kind == "hops" and "range" in fact.data]
    return sum(int(last) - int(first) + 1 for first, last in ranges)


def _missing_parts(folder: RunFolder, lines: list[str], hops: int) -> list[str]:
    """Live files that are absent from the sequence of numbers, and hops that only the journal names."""
    numbers = {number_of(path) for path in folder.live_files()}
    gone = [LIVE_FILE.format(n) for n in range(1, max(numbers, default=0)) if n not in numbers]
    lost = hops_in_journal(lines) - hops
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
        missing = _missing_parts(folder, lines, 0 if hops is None else hops.size)
        if hops is not None and Columns.of(header.channels).full:
            complete = _with_samples(hops, segments)
            if not complete.all():
                losses.append(f"{int((~complete).sum())} hops whose samples did not reach the disk")
                hops = hops[complete]
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


def _header_from(folder: RunFolder) -> tuple[RunHeader, list[str]]:
    """(header, doubts) of a run that was killed before its header was written, from its folder alone."""

    def text_of(name: str) -> str:
        path = folder.path / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    unsure = []
    began = started(folder.path.name)
    if began is None:
        file = next((path for path in (folder.path / EXPERIMENT, folder.journal) if path.is_file()), folder.path)
        began = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
        unsure = [f"start_time: the folder was renamed, so it is when {file.name} was written"]
    return RunHeader(folder.path.name, began, text_of(EXPERIMENT), text_of(RIG), (), 10_000), unsure


def _segment(samples: h5py.Group, segment: int, pieces: list[Piece], header: RunHeader) -> list[str]:
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
    """Whether each hop has all its samples: rows of the last second may have reached the disk before them."""
    ends = {n: pieces[-1].first_sample + pieces[-1].samples for n, pieces in segments.items()}
    last = np.array([ends.get(int(n), 0) for n in np.unique(hops["segment"])] or [0])
    segments_with_hops = np.unique(hops["segment"])
    return (
        np.asarray(hops["sample_top"] < last[np.searchsorted(segments_with_hops, hops["segment"])])
        if hops.size
        else np.ones(0, bool)
    )


def _holes(blocks: NDArray[Any]) -> NDArray[np.int64]:
    """[k, 2] ranges of samples that no block covers, the beginning of the segment included."""
    begins = blocks["first_sample"]
    ends = np.concatenate([[0], (begins + blocks["samples"])[:-1]])
    holes = np.column_stack([ends, begins])
    return holes[holes[:, 0] < holes[:, 1]].astype(np.int64)


def _counts(group: h5py.Group, pieces: list[Piece], header: RunHeader, columns: Columns) -> NDArray[np.int64]:
    """Copy the counts; returns the unreadable ranges, which hold zeros and whose blocks are marked missing."""
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


def _decimated(group: h5py.Group, pieces: list[Piece], header: RunHeader, columns: Columns) -> None:
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
