"""The writer by itself, in this process: when it brings what it took to the disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from faults.stream import folder
from opsicm.record import ring as messages
from opsicm.record import writer_process
from opsicm.record.recorder import header_text
from opsicm.record.ring import Ring
from opsicm.record.writer_process import Writer
from tests.fixtures.recorded import STREAM


def test_a_ring_that_fills_up_is_emptied_without_waiting_for_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is faster than life would otherwise record a ring every half second: 32 MB."""
    monkeypatch.setattr(writer_process, "FLUSH_EVERY", 1e9)
    run_folder = folder(tmp_path)
    run_folder.header.write_text(header_text(STREAM.header()))
    run_folder.journal.touch()
    pool, ring = STREAM.pool(), Ring.create(1 << 20)
    writer = Writer(run_folder, ring)
    committed = set()
    for k in range(200):  # 4 MB, four times what the ring holds
        parts = messages.block_parts(STREAM.block(pool, k))
        for _ in range(10_000):
            if ring.put(messages.BLOCK, parts, 0):
                break
            threading.Event().wait(1e-3)  # for the disk
        else:
            pytest.fail(f"block {k} found no room")
        writer.take()
        committed.add(ring.committed)
    assert len(committed) > 20
    writer.finish()
    assert ring.backlog == 0
    ring.release()
