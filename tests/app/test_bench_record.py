"""The bench of the record in short: what is compared is done, and said in the row."""

from __future__ import annotations

from pathlib import Path

from opsicm.app.bench import record


def test_the_unpaced_row_says_what_was_compared(tmp_path: Path) -> None:
    row = record.against_raw(tmp_path, record.pool(2_000), blocks=20, turns=1)
    assert row.value > 0.0
    assert "1 x 1 MB of 8 channels" in row.limit
    assert "the same blocks, unpacked" in row.peer
    assert "fdatasync every 0.5 s" in row.peer
    assert not list(tmp_path.iterdir())
