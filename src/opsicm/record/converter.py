"""Makes `run.nxs` from the live log, in a process of its own that follows behind the run.

    python -m opsicm.record.converter FOLDER

FOLDER is a descriptor; a line on stdin or its end wakes it, a line on stdout says each second that it lives, and the
last one what was lost or why there is no file. `recover` does the same after a crash. The file is made under another
name, read back as it is written, brought to the disk and renamed; only then, and only by who has made it, is the log
deleted. A kill at any moment leaves the log, the complete run file, or both: the next converter begins again.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest as checksum

from opsicm.core.errors import OpsicmError, Problem, UnreadableRun
from opsicm.core.facts import Fact
from opsicm.instruments.clock import stopwatch
from opsicm.record import decimate, default_plot, nexus_file, old_live_files, packed_counts, run_folder, text_seal
from opsicm.record.damaged_file import damage_reported
from opsicm.record.journal import JournalReader
from opsicm.record.log import Columns, Decimated, Group, LogReader, Samples, joined
from opsicm.record.nexus_file import MISSING
from opsicm.record.recorder import RunHeader
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, LOG_FILE, RIG, RUN_FILE, RunFolder, number_of, started
from opsicm.record.stored_chunks import counts as counts_table
from opsicm.record.stored_chunks import stored

_MARGIN: Final = 4e6  # [bytes] of room beyond the log's size, for the groups and the default plot
_WRITE_BACK: Final = 0.5  # [s] between two times that what is there of the run file is brought to the disk
_LOOK_EVERY: Final = 0.1  # [s] between two looks at the log
_SPEAK_EVERY: Final = 1.0  # [s]
_NO_END: Final = 1.0  # [s] after stdin has ended: a parent that was killed is seen to be gone by then
_BEHIND: Final = 19  # niceness: it may take its time while the run needs the machine

Ranges = list[tuple[int, int]]


def run_file_of(folder: RunFolder, recovered: str | None = None) -> tuple[Path, list[str]]:
    """(`run.nxs`, the losses as texts), from a log that nobody writes any more.

    `recovered` names who recovered it after a crash, for the provenance. Raises `UnreadableRun` without room for the
    file, and where a finished run file has been removed; nothing is changed then.
    """
    size = sum(path.stat().st_size for path in (*folder.logs(), *folder.old_live_files()))
    if not size:
        if folder.run_file.is_file():
            _tidy(folder)
            return folder.run_file, []
        _refuse_if_gone(folder)
    available, _ = run_folder.free(folder.path)
    if available < size + _MARGIN:
        limit = f"the run file needs {(size + _MARGIN) * 1e-6:.0f} MB beside what was recorded"
        remedy = "free some space, then opsicm recover"
        raise UnreadableRun(Problem("free space", f"{available * 1e-6:.0f} MB", limit, remedy, str(folder.path)))
    with _Making(folder, recovered) as making:
        making.follow(final=True)
        return making.finish()


class _Making:
    """A run file in the making. A context manager: what is unfinished stays under its other name."""

    def __init__(
        self, folder: RunFolder, recovered: str | None = None, alive: Callable[[], None] = lambda: None
    ) -> None:
        self._folder, self._recovered, self._alive = folder, recovered, alive
        self._log = LogReader(folder)
        self._facts = JournalReader(folder.journal)
        self._file: _RunFile | None = None
        self._doubts: list[str] = []

    def __enter__(self) -> _Making:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        if self._file is not None:
            self._file.close()

    def follow(self, final: bool = False) -> bool:
        """Take what has come since the last call; whether the run has ended. `final`: nothing more will come."""
        with _refusals_reported(self._folder):
            with damage_reported(self._folder.journal, "the record"):
                for group in self._groups(final):
                    self._begun(final).add(group)
                    self._alive()
                if self._file is not None or final:
                    self._begun(final).facts(self._facts.lines(final or self._log.ended))
            if self._file is not None:  # what differs here is the run file, not the record
                self._file.read_back()
        return self._log.ended

    def _groups(self, final: bool) -> Iterator[Group]:
        if self._folder.logs() or not final:
            yield from self._log.groups(final)
        elif self._folder.old_live_files():
            header, groups, losses = old_live_files.read(self._folder)
            self._log.header = header
            yield from groups
            self._doubts += losses

    def _begun(self, final: bool) -> _RunFile:
        if self._file is None:
            header = self._log.header
            if header is None and not final:
                raise UnreadableRun(Problem("log", LOG_FILE.format(1), "has no header", "stop the run; opsicm recover"))
            if header is None:
                header, unsure = _header_from(self._folder)
                if self._log.losses:
                    unsure.append("the log has no header: its samples cannot be read")
                self._doubts += unsure
            self._file = _RunFile(self._folder, header, self._log.log, self._recovered)
        return self._file

    def finish(self) -> tuple[Path, list[str]]:
        """Complete the file, verify it and put it in its place; then the log goes."""
        with _refusals_reported(self._folder):
            return self._finish()

    def _finish(self) -> tuple[Path, list[str]]:
        folder, file = self._folder, self._begun(final=True)
        if (said := _losses_of_whole(folder.run_file, self._log.log)) is not None:
            _tidy(folder)  # one before this was killed over it: of the log only a part may be left
            return folder.run_file, said
        torn = [f"journal: {self._facts.torn} torn lines"] if self._facts.torn else []
        losses = [*torn, *self._doubts, *self._log.losses, *file.losses(), *_missing_parts(folder, file)]
        file.finish(losses)
        _verify(folder.unfinished_file, file)
        with h5py.File(folder.unfinished_file, "r") as written:
            places, data = text_seal.text_references(written), text_seal.chunk_places(written)
        text_seal.seal(folder.unfinished_file, places, data)
        file.sync()
        _put_aside(folder)
        folder.unfinished_file.rename(folder.run_file)
        folder.sync()
        _tidy(folder)
        return folder.run_file, losses


class _RunFile:
    """`run.nxs.part`, filled group by group."""

    def __init__(self, folder: RunFolder, header: RunHeader, log: str, recovered: str | None) -> None:
        self._header, self._columns = header, Columns.of(header.channels)
        path = folder.unfinished_file
        path.unlink(missing_ok=True)  # never into what a link of that name leads to
        self._file = h5py.File(path, "x", libver=nexus_file.FORMAT)
        self._disk = _WriteBack(path)
        provenance = {**({"log": log} if log else {}), **({"recovered": recovered} if recovered else {})}
        name = folder.path.resolve().name
        self._entry = nexus_file.start(self._file, header, name, provenance)
        self.hops, self.rows = nexus_file.hops(self._entry), nexus_file.slow_rows(self._entry)
        self.journal = nexus_file.JournalTable(self._entry)
        self._samples = nexus_file.group_of(self._entry, "samples", "NXcollection")
        self.segments: dict[int, _Segment] = {}
        self._early: list[NDArray[Any]] = []  # hops whose samples are not here yet
        self._steps: Counter[bytes] = Counter()
        self.hops_named = 0  # in the journal

    def add(self, group: Group) -> None:
        """What belongs together."""
        blocks = np.concatenate(group.blocks) if group.blocks else None
        if blocks is not None:
            for segment in np.unique(blocks["segment"]).tolist():
                if segment not in self.segments:
                    # Segments follow one another: what is before is complete, and need not wait for the run's end.
                    if self.segments:
                        self.segments[max(self.segments)].finish()
                    first = blocks[blocks["segment"] == segment][0]
                    self.segments[segment] = _Segment(self._samples, first, self._header, self._columns)
                samples = [one for one in group.samples if one.segment == segment]
                self.segments[segment].add(blocks, samples, joined(group.decimated))
        if group.readings:  # at once: a table of sixteen columns takes as long for one row as for a hundred
            self.rows.append(np.concatenate(group.readings))
        if group.hops or self._early:
            self._take_hops(np.concatenate([*self._early, *group.hops]))

    def _take_hops(self, hops: NDArray[Any]) -> None:
        here = self._has_samples(hops)
        whole = hops if here.all() else hops[here]
        self._early = [] if here.all() else [hops[~here]]
        self.hops.append(whole)
        names, counts = np.unique(whole["step"], return_counts=True)
        self._steps.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))

    def _has_samples(self, hops: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether the samples of each hop have come, where samples are kept."""
        if not self._columns.full or not hops.size:
            return np.ones(hops.size, bool)
        numbers, of_hop = np.unique(hops["segment"], return_inverse=True)
        ends = [self.segments[n].end if n in self.segments else 0 for n in numbers.tolist()]
        return np.asarray(hops["sample_top"] < np.array(ends)[of_hop])

    def facts(self, lines: Sequence[str]) -> None:
        """Facts to follow."""
        self.journal.append(lines)
        self.hops_named += hops_in_journal(lines)

    def read_back(self) -> None:
        """Compare what was written since the last call with what it should be; raises `OSError` where it differs."""
        for segment in self.segments.values():
            segment.read_back()

    def losses(self) -> list[str]:
        """In words, what of the announced samples and hops is not there."""
        lost = [
            f"segment {n}: samples {begin} to {end - 1} are lost"
            for n, segment in self.segments.items()
            for begin, end in segment.lost
        ]
        early = sum(rows.size for rows in self._early)
        return [*lost, *([f"{early} hops whose samples did not reach the disk"] if early else [])]

    def finish(self, losses: list[str]) -> None:
        """Everything is in the file, and the file is closed."""
        for segment in self.segments.values():
            segment.finish()
        self.read_back()
        for table in (self.hops, self.rows, self.journal):
            table.flush()
        nexus_file.instrument(self._entry, self._header)
        nexus_file.end_time(self._entry, self._header)
        default_plot.write(self._entry, self._drawn(), _rows_of(self._entry, _DRAWN_ROWS))
        nexus_file.text(self._entry["provenance"], "losses", "; ".join(losses) or "none")
        self._file.close()

    def _drawn(self) -> NDArray[Any]:
        """The hops of the step that has most of them."""
        (step, _), *others = self._steps.most_common() or [(b"", 0)]
        if not others:  # the column takes a hundred bytes a hop
            return _rows_of(self._entry, _DRAWN_HOPS, step=np.array(step, f"S{max(1, len(step))}"))
        hops = _rows_of(self._entry, (*_DRAWN_HOPS, "hops/step"))
        chosen: NDArray[Any] = hops[hops["step"] == step]
        return chosen

    def sync(self) -> None:
        """Bring all of it to the disk."""
        self._disk.close()

    def close(self) -> None:
        """Leave it as it is."""
        if self._file:
            self._file.close()
        with suppress(OSError):
            self._disk.close()


_DRAWN_HOPS: Final = tuple(f"hops/{n}" for n in ("x", "y", "line", "pixel", "segment", "t_ns", "z_stop", "outcome"))
_DRAWN_ROWS: Final = ("slow/t_ns", "slow/pipette_current", "slow/coarse_z")


def _rows_of(entry: h5py.Group, names: Sequence[str], **same: NDArray[Any]) -> NDArray[Any]:
    """Columns of equal length as rows; `same` are values that every row has."""
    columns = {name.rsplit("/", 1)[1]: entry[name][:] for name in names} | same
    size = entry[names[0]].shape[0]
    rows = np.empty(size, np.dtype([(name, values.dtype) for name, values in columns.items()]))
    for name, values in columns.items():
        rows[name] = values
    return rows


class _Segment:
    """`/entry/samples/segment_0001`: counts by chunks, the stream that is decimated, and the blocks they came in."""

    def __init__(self, samples: h5py.Group, first: Any, header: RunHeader, columns: Columns) -> None:
        self._columns, self._width, self._channels = columns, len(columns.full), max(1, len(header.channels))
        self._rows = packed_counts.chunk_rows(self._width)
        self._factor = decimate.factor(header.dt_ns)
        self.segment = int(first["segment"])
        group = nexus_file.group_of(samples, f"segment_{self.segment:04d}", "NXcollection")
        dt_ns = int(first["dt_ns"])
        group.attrs.update(t0_ns=int(first["t0_ns"]) - int(first["first_sample"]) * dt_ns, dt_ns=dt_ns)
        self._group = group
        if columns.full:
            self._counts, self._sums = counts_table(group, [header.channels[k] for k in columns.full], self._rows)
        if columns.short:
            channels = [header.channels[k] for k in columns.short]
            self._stream = nexus_file.decimated(group, self._factor, channels)
        self._blocks = nexus_file.blocks(group, header.channels)
        self.end = 0  # samples so far, lost ones included
        self.lost: Ranges = []
        self._open: tuple[int, NDArray[np.int16]] | None = None  # the chunk that is not complete yet, and its first row
        self._written: list[tuple[int, int]] = []  # (first sample, checksum) of chunks to be read back
        self.chunks = 0
        self._finished = False

    def add(self, blocks: NDArray[Any], samples: Sequence[Samples], short: Decimated) -> None:
        """Blocks in order, what there is of their samples, and their rows of what is only decimated."""
        mine = blocks["segment"] == self.segment
        of_row = np.repeat(mine, blocks["rows"])
        short = Decimated(*(values[of_row] for values in short)) if short.mean.size else short
        blocks = blocks[mine]
        begin, end = int(blocks["first_sample"][0]), int((blocks["first_sample"] + blocks["samples"])[-1])
        missing = self._holes(blocks)
        if self._width:
            missing = _merged([*missing, *self._put(samples, begin, end)])
        quality = blocks["quality"].astype(np.int64)
        if quality.shape[1] != self._channels:  # the log's header is lost, and with it which channels there were
            quality = np.full((blocks.size, self._channels), MISSING)
        for a, b in missing:
            quality[(blocks["first_sample"] < b) & (blocks["first_sample"] + blocks["samples"] > a)] = MISSING
        self._blocks.append(np.column_stack([*(blocks[name] for name in nexus_file.BLOCK_COLUMNS), quality]))
        self.lost += missing
        if self._columns.short:
            self._keep_short(blocks, short, missing)
        self.end = end

    def _holes(self, blocks: NDArray[Any]) -> Ranges:
        """Ranges of samples that no block covers, the beginning of the segment included."""
        begins = blocks["first_sample"]
        ends = np.concatenate([[self.end], (begins + blocks["samples"])[:-1]])
        return [(a, b) for a, b in zip(ends.tolist(), begins.tolist(), strict=True) if a < b]

    def _put(self, samples: Sequence[Samples], begin: int, end: int) -> Ranges:
        """Samples into the file, a chunk as it came where that is a whole one; returns the ranges of [begin, end) that
        are in none of them, and hold zeros."""
        at, missing = begin, []
        self._counts.resize(end, axis=0)
        for one in sorted(samples, key=lambda one: one.first):
            stop = one.first + one.rows
            if not at <= one.first < stop <= end or one.width != self._width:
                continue
            if one.rows == self._rows and one.first % self._rows == 0:
                self._close_chunk()
                self._write(one.first, one.packed)
            elif not self._gather(one):
                continue
            if at < one.first:
                missing.append((at, one.first))
            at = stop
        return missing + ([(at, end)] if at < end else [])

    def _gather(self, one: Samples) -> bool:
        """Samples that are no whole chunk into the one that is open; False where they do not unpack."""
        counts = np.empty((one.rows, one.width), np.int16)
        try:
            packed_counts.unpack(one.packed, counts)
        except ValueError:
            return False
        to_next = self._rows - one.first % self._rows
        at = one.first
        # Version 0.1.0 cut by blocks, which may reach over several chunks.
        for part in np.split(counts, range(to_next, one.rows, self._rows)):
            chunk = at - at % self._rows
            if self._open is None or self._open[0] != chunk:
                self._close_chunk()
                self._open = chunk, np.zeros((self._rows, self._width), np.int16)
            _, rows = self._open
            rows[at - chunk : at - chunk + part.shape[0]] = part
            at += part.shape[0]
        return True

    def _close_chunk(self) -> None:
        if self._open is not None:
            chunk, counts = self._open
            self._open = None
            self._write(chunk, packed_counts.pack(counts))

    def _write(self, chunk: int, packed: bytes) -> None:
        total = checksum(packed)
        self._counts.id.write_direct_chunk((chunk, 0), stored(packed, self._rows, self._width))
        self._none_came_before(chunk)
        self._sums.append(np.array([total], np.uint64))
        self._written.append((chunk, total))
        self.chunks += 1

    def _none_came_before(self, chunk: int) -> None:
        """Chunks of which no sample has come, up to the one that begins there, have no checksum."""
        none = -(-chunk // self._rows) - self._sums.size
        if none > 0:
            self._sums.append(np.zeros(none, np.uint64))

    def _keep_short(self, blocks: NDArray[Any], short: Decimated, missing: Ranges) -> None:
        """The rows of the channels that are only decimated, but for those of lost samples."""
        firsts, ends = decimate.row_extents(blocks["first_sample"], blocks["samples"], self._factor)
        keep = np.ones(firsts.size, bool)
        for a, b in missing:
            keep &= (firsts >= b) | (ends <= a)
        for name, values in short._asdict().items():
            self._stream[name].append(values[keep])
        self._stream["first_sample"].append(firsts[keep])
        self._stream["samples"].append((ends - firsts)[keep])

    def read_back(self) -> None:
        """Compare the chunks written since the last call with what they should be."""
        for chunk, total in self._written:
            _, data = self._counts.id.read_direct_chunk((chunk, 0))
            if checksum(packed_counts.packed_part(memoryview(data))) != total:
                raise OSError(f"samples from {chunk} of segment {self.segment} read back otherwise than written")
        self._written.clear()

    def finish(self) -> None:
        """Everything of the segment is in the file; a second call does nothing."""
        if self._finished:
            return
        self._finished = True
        self._close_chunk()
        if self._width:
            self._none_came_before(self.end)
        lost = np.array(self.lost, np.int64).reshape(-1, 2)
        self._group.create_dataset("lost", data=lost, chunks=(1024, 2), maxshape=(None, 2), fletcher32=True)
        streams = self._stream.values() if self._columns.short else ()
        for growing in (self._blocks, *((self._sums,) if self._width else ()), *streams):
            growing.flush()


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in order, those that touch as one."""
    merged: Ranges = []
    for a, b in sorted(ranges):
        if merged and a <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(b, merged[-1][1])
        else:
            merged.append((a, b))
    return merged


class _WriteBack:
    """Brings a growing file to the disk meanwhile: else the last `fsync` finds all of it still to be done."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._done.wait(_WRITE_BACK):
            with suppress(OSError):  # the last one reports it again
                os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Bring all of it to the disk."""
        if self._descriptor < 0:
            return
        self._done.set()
        self._thread.join()
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- the end of it --------------------------------------------------------------------------------------------------


_REMEDIES: Final = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
}


@contextmanager
def _refusals_reported(folder: RunFolder) -> Iterator[None]:
    """What the system refuses in the run folder as a message with a remedy: nothing there is damaged."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        path = folder.path.resolve()
        limit = f"cannot be written ({os.strerror(error.errno)}); what was recorded is kept"
        remedy = f"{_REMEDIES[error.errno]}, then opsicm recover"
        raise UnreadableRun(Problem("run folder", path.name, limit, remedy, str(path))) from error


def _verify(path: Path, made: _RunFile) -> None:
    """Raise `OSError` unless the closed file at `path` holds as much of everything as went into it."""
    with h5py.File(path, "r") as file:
        entry = file["entry"]
        wrong = [
            name
            for name, table in (("hops/hop", made.hops), ("slow/t_ns", made.rows), ("journal", made.journal))
            if entry[name].shape[0] != table.size
        ]
        for number, segment in made.segments.items():
            counts = entry["samples"][f"segment_{number:04d}"].get("counts")
            if counts is not None and counts.id.get_num_chunks() != segment.chunks:
                wrong.append(counts.name)
    if wrong:
        raise OSError(f"{', '.join(wrong)} of the run file do not hold what was written")


def _put_aside(folder: RunFolder) -> None:
    """Rename a `run.nxs` that is not of this log: somebody has put it there, and it is theirs."""
    if not (folder.run_file.exists() or folder.run_file.is_symlink()):
        return
    names = (folder.path / f"{RUN_FILE}.found-{k}" for k in range(1, 1000))
    folder.run_file.rename(next(name for name in names if not (name.exists() or name.is_symlink())))


def _losses_of_whole(run_file: Path, log: str) -> list[str] | None:
    """The losses that a run file completed from this log names; None where it is none: the seal comes last."""
    if not log or not run_file.is_file() or not text_seal.is_sealed(run_file) or text_seal.mismatch(run_file):
        return None
    try:
        with h5py.File(run_file, "r") as file:
            made_from, losses = (file["entry/provenance"][name].asstr()[()] for name in ("log", "losses"))
    except (OSError, KeyError, TypeError, RuntimeError):
        return None
    return None if made_from != log else [] if losses == "none" else [str(losses)]


def _tidy(folder: RunFolder) -> None:
    old = folder.path / run_folder.OLD_HEADER
    for path in (*folder.logs(), *folder.old_live_files(), old, folder.unfinished_file):
        path.unlink(missing_ok=True)


def _refuse_if_gone(folder: RunFolder) -> None:
    """Refuse a journal with facts but without a log: only who has made `run.nxs` deletes the log, so that file has been
    removed, and a new one would claim that nothing was measured."""
    reader = JournalReader(folder.journal)
    lines = reader.lines(final=True)
    if not lines or (folder.path / run_folder.OLD_HEADER).is_file():
        return
    limit = f"is gone, and so is its log: {hops_in_journal(lines)} hops that the journal names are in no file here"
    left = ", ".join(name for name in (EXPERIMENT, RIG, JOURNAL) if (folder.path / name).is_file())
    remedy = f"put it back from a copy; what can still be read: {left} ({len(lines)} facts)"
    raise UnreadableRun(Problem("run file", RUN_FILE, limit, remedy, str(folder.path)))


def hops_in_journal(lines: Iterable[str]) -> int:
    """The number of hops that the facts of a journal name."""
    facts = (Fact.from_line(line) for line in lines if '"hops"' in line)
    ranges = [fact.data["range"] for fact in facts if fact.kind == "hops" and "range" in fact.data]
    return sum(int(last) - int(first) + 1 for first, last in ranges)


def _missing_parts(folder: RunFolder, file: _RunFile) -> list[str]:
    """Live files of version 0.1.0 that are absent from their sequence, and hops that only the journal names."""
    numbers = {number_of(path) for path in folder.old_live_files()}
    gone = [run_folder.OLD_LIVE_FILE.format(n) for n in range(1, max(numbers, default=0)) if n not in numbers]
    lost = file.hops_named - file.hops.size
    return [
        *([f"{', '.join(gone)} missing"] if gone else []),
        *([f"{lost} hops that the journal names were not recorded"] if lost > 0 else []),
    ]


def _header_from(folder: RunFolder) -> tuple[RunHeader, list[str]]:
    """(header, doubts) of a run that was killed before its header was written, from its folder alone."""

    def text_of(name: str) -> str:
        path = folder.path / name
        # A link in a folder that somebody sent must not choose which file becomes part of the run.
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() and not path.is_symlink() else ""

    unsure, name = [], folder.path.resolve().name
    began = started(name)
    if began is None:
        file = next((path for path in (folder.path / EXPERIMENT, folder.journal) if path.is_file()), folder.path)
        began = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
        unsure = [f"start_time: the folder was renamed, so it is when {file.name} was written"]
    return RunHeader(name, began, text_of(EXPERIMENT), text_of(RIG), (), 10_000), unsure


# -- the process ----------------------------------------------------------------------------------------------------


def _behind(folder: RunFolder) -> list[str]:
    """Follow the log until stdin has ended, and make the run file; returns the losses.

    Not before stdin has ended: until then the writer has its last `fdatasync` to do, and one that follows a writer that
    was killed over it looks for the log.
    """
    if not folder.logs():
        if folder.run_file.is_file():
            return []  # one before this was killed over its last words
        raise UnreadableRun(Problem("log", LOG_FILE.format(1), "was deleted", "begin the run again"))
    parent, spoke, open_ended, closed = os.getppid(), stopwatch(), True, stopwatch()

    def speak() -> None:
        nonlocal spoke
        if spoke() > _SPEAK_EVERY:
            spoke = stopwatch()
            os.write(1, b"{}\n")

    with _Making(folder, alive=speak) as making:
        while not making.follow() or open_ended:
            if os.getppid() != parent:
                os._exit(1)  # nobody waits for the file: the log stays, for `recover`
            if not open_ended and closed() > _NO_END:
                making.follow(final=True)  # the frame that says so is damaged
                break
            ready, _, _ = select.select([0] if open_ended else [], [], [], _LOOK_EVERY if open_ended else 0.01)
            if ready and not os.read(0, 4096):
                open_ended, closed = False, stopwatch()
            speak()
        return making.finish()[1]


def main(arguments: Sequence[str]) -> None:
    """Follow until the run has ended; the last line says what was lost, or why there is no file."""
    os.fchdir(int(arguments[0]))
    os.nice(_BEHIND)
    try:
        answer: dict[str, Any] = {"losses": _behind(RunFolder(Path()))}
    except (OpsicmError, OSError, RuntimeError, ValueError) as error:
        answer = {"error": str(error) or type(error).__name__}
    os.write(1, json.dumps(answer).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
