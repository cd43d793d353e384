"""Records without processes: what is known before it is written, or a twin's run that is repeated if it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import Fact, SampleBlock
from opsicm.record import decimate, log, ring
from opsicm.record.converter import run_file_of
from opsicm.record.journal import Journal
from opsicm.record.log import Columns, LogWriter
from opsicm.record.recorder import Reading, RunHeader
from opsicm.record.run_folder import RunFolder
from opsicm.record.writer_process import Gathering

# Each call that writes makes a group of the log, and a group takes a millisecond: rows wait for one another.
_MOST_WAITING: Final = 256


class DirectRecorder:
    """A `Recorder` that writes the log and makes the run file of it in this process, as it is called.

    Nothing is kept against a crash, and the caller waits while it writes: a run of instruments is recorded by
    `SharedRecorder`. `losses` say what the run file lacks, once closed, and `unfinished` why it cannot be trusted.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.losses: list[str] = []
        self.unfinished: str | None = None

    def open(self, header: RunHeader) -> None:
        LogWriter.begin(self._folder, header)
        self._log = LogWriter(self._folder)
        self._journal = Journal(self._folder.journal)
        columns = Columns.of(header.channels)
        self._gathering = Gathering(columns, len(header.channels), decimate.factor(header.dt_ns))
        self._waiting: list[NDArray[Any]] = []

    def block(self, block: SampleBlock) -> None:
        self._gathering.add(block)
        samples, frames = self._gathering.frames()
        self._append([*(one.frame() for one in samples), *frames])

    def hops(self, step: str, records: NDArray[Any]) -> None:
        if records.size:
            rows = np.zeros(records.shape[0], log.HOP_ROW)
            rows["step"] = step.encode("utf-8")
            for name in records.dtype.names or ():
                rows[name] = records[name]
            self._append([log.rows_frame(log.HOPS, rows)])

    def reading(self, reading: Reading) -> None:
        self.rows(ring.reading_row(reading))

    def rows(self, rows: NDArray[Any]) -> None:
        """Slow rows (dtype `ring.READING_DTYPE`), many at once."""
        if rows.size:
            self._waiting.append(rows)
            if len(self._waiting) >= _MOST_WAITING:
                self._append([])

    def fact(self, fact: Fact) -> None:
        self._journal.write(fact)

    def close(self) -> Path:
        self._append([(log.END, (b"",))])
        self._log.sync()
        self._journal.close()
        path, self.losses = run_file_of(self._folder)
        self.unfinished = "; ".join(self.losses) or None
        return path

    def _append(self, frames: list[log.Frame]) -> None:
        if self._waiting:
            frames = [log.rows_frame(log.READINGS, np.concatenate(self._waiting)), *frames]
            self._waiting.clear()
        self._log.append(frames, self._log.serial + 1)
