"""The journal: one fact a line, written ahead of everything else, in the controlling process."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Final

from opsicm.core.facts import Fact

_ON_DISK: Final = frozenset({"intent", "run_ended"})
_CHECK: Final = ', "crc32": '


class Journal:
    """Appends facts to `path`; an `intent` and the end of the run are on the disk when `write` returns.

    Each line ends in the CRC-32 of the line without it. The writer process brings the rest to the disk twice a second,
    with the samples.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, fact: Fact) -> None:
        """Append one line; raises `OSError` if the disk does not take it whole."""
        text = fact.line()
        data = f"{text[:-1]}{_CHECK}{zlib.crc32(text.encode('utf-8'))}}}\n".encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
        if fact.kind in _ON_DISK:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """On the disk, and closed."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


class JournalReader:
    """Reads a journal, also while it grows. `torn` counts the lines left out: a crash may have torn the last one, a
    full disk or a damaged one any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.torn = 0

    def lines(self, final: bool = False) -> list[str]:
        """Whole facts since the last call, without their checksums. `final`: what has no line end counts as well."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        if not final:
            data = data[: data.rfind(b"\n") + 1]
        self._at += len(data)
        lines = [_whole(line) for line in data.split(b"\n") if line.strip()]
        self.torn += lines.count(None)
        return [line for line in lines if line is not None]


def read_lines(path: Path) -> tuple[list[str], int]:
    """(whole facts in order, lines left out)."""
    reader = JournalReader(path)
    return reader.lines(final=True), reader.torn


def _whole(line: bytes) -> str | None:
    """The fact in a line; None where it is none, or not the one that was written. Version 0.1.0 wrote no checksums."""
    try:
        text = line.decode("utf-8")
        if (at := text.rfind(_CHECK)) >= 0:
            check, text = int(text[at + len(_CHECK) : -1]), text[:at] + "}"
            if zlib.crc32(text.encode("utf-8")) != check:
                return None
        Fact(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return text
