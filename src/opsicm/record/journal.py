"""The journal: one fact a line, written ahead of everything else, in the controlling process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from opsicm.core.facts import Fact

_ON_DISK: Final = frozenset({"intent", "run_ended"})


class Journal:
    """Appends facts to `path`; an `intent` and the end of the run are on the disk when `write` returns.

    The writer process brings the rest to the disk twice a second, with the samples.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, fact: Fact) -> None:
        """Append one line; raises `OSError` if the disk does not take it whole."""
        data = (fact.line() + "\n").encode("utf-8")
        while data:
            data = data[os.write(self._descriptor, data) :]
        if fact.kind in _ON_DISK:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """On the disk, and closed."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def read_lines(path: Path) -> tuple[list[str], int]:
    """(whole facts in order, lines left out): a crash may have torn the last line, a full disk any."""
    lines: list[str] = []
    torn = 0
    data = path.read_bytes() if path.is_file() else b""
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
            Fact(**json.loads(text))
        except (ValueError, TypeError):
            torn += 1
            continue
        lines.append(text)
    return lines, torn
