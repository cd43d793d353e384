"""Starts runs in processes of their own, which go on when the console ends."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from opsicm.core.errors import OpsicmError, Problem
from opsicm.instruments.clock import pause, stopwatch
from opsicm.record.run_folder import JOURNAL
from opsicm.runner.commands import Command
from opsicm.runner.control_socket import process_of, send

STARTS_WITHIN: Final = 300.0  # [s]: the check, which may compile, and the connecting of instruments
_LOOK: Final = 0.05  # [s]
_NOTED_WITHIN: Final = 300.0  # [s]: a run takes commands once it has compiled
_LONGEST_WORDS: Final = 4000


class Starter:
    """Starts runs in `folder` by `command`, `opsicm run`, which puts them below `out`. One at a time."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._out = out
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._over = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a process that it has started has not ended: a series is one process and many runs."""
        return self._starting.locked() or (self._process is not None and self._process.poll() is None)

    def start(self, file: Path, speed: str | None, sender: str) -> Path:
        """Start the experiment `file` and return the run's folder; call it in a thread.

        `speed` is that of `opsicm run`, None where instruments set it. The run's record gets a note of who started it,
        `sender`. Raises `OpsicmError` with what the process said where no run begins.
        """
        paced = [] if speed is None else ["--speed", speed]
        arguments = [*self._command, str(file), "--out", str(self._out.absolute()), *paced]
        before = self._folders()
        # A file, not a pipe: who reads a pipe must live as long as the run.
        with self._starting, TemporaryFile() as said:
            process = self._process = subprocess.Popen(
                arguments,
                cwd=self._folder,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                folder = self._begun(process, before, said)
            except OpsicmError:
                threading.Thread(target=process.wait, daemon=True).start()
                raise
        words = f"started from the console: {file.name}" + ("" if speed is None else f", --speed {speed}")
        threading.Thread(target=_accompany, args=(process, folder, words, sender), daemon=True).start()
        return folder

    def stop(self) -> None:
        """Wait no longer for what is being started; it goes on by itself."""
        self._over.set()

    def _folders(self) -> set[Path]:
        return {path.parent for path in self._out.glob(f"*/{JOURNAL}")}

    def _begun(self, process: subprocess.Popen[bytes], before: set[Path], said: IO[bytes]) -> Path:
        elapsed = stopwatch()
        while process.poll() is None:
            for folder in self._folders() - before:
                if process_of(folder) == process.pid:
                    return folder
            if self._over.is_set():
                limit = "is being started, and the console ends"
                raise OpsicmError(Problem("run", "", limit, "see with opsicm runs what has become of it"))
            if elapsed() > STARTS_WITHIN:
                process.terminate()  # it ends in its own time, safely
                break
            pause(_LOOK)
        said.seek(0)
        # What `opsicm run` offers, another --out, is the console's to choose for whoever has only the page.
        words = said.read().decode("utf-8", "replace").strip()[-_LONGEST_WORDS:]
        words = words.replace("with --out", "by starting opsicm console with --out FOLDER")
        late = f"did not start within {STARTS_WITHIN:g} s" if elapsed() > STARTS_WITHIN else "did not start"
        limit = f"{late}: {words}" if words else late
        raise OpsicmError(Problem("run", "", limit, "mend what it says, check and start again"))


def _accompany(process: subprocess.Popen[bytes], folder: Path, words: str, sender: str) -> None:
    """Leave a note in the record of the run, and see its process end: one that nobody waits for stays in the table."""
    with suppress(OpsicmError):  # it has ended already
        send(folder, Command("note", text=words), sender, _NOTED_WITHIN)
    process.wait()
