"""The ring against a list: whatever is put comes out, in order, until it is committed."""

from __future__ import annotations

import itertools
import mmap
import platform
import resource
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.record.ring import Ring


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 3)), min_size=1, max_size=120))
@settings(max_examples=60, deadline=None)
def test_everything_put_is_taken_once_in_order(moves: list[tuple[int, int]]) -> None:
    ring = Ring.create(4096)
    put: list[tuple[int, bytes]] = []
    taken: list[tuple[int, bytes]] = []
    position = 0
    try:
        for k, (length, step) in enumerate(moves):
            payload = bytes([k % 251]) * length
            if ring.put(1 + k % 3, (payload[: length // 2], payload[length // 2 :]), k):
                put.append((1 + k % 3, payload))
            else:
                assert ring.put_bytes - ring.committed > ring.capacity - 2 * 1000
            if step == 0:  # a writer that looks, keeps and commits
                for record in ring.take(position):
                    taken.append((record.kind, bytes(record.payload)))
                    position = record.serial
                ring.commit(position)
            elif step == 1:  # a writer that looked and died: the next one sees the same again
                again = [bytes(record.payload) for record in ring.take(ring.committed)]
                assert again == [payload for _, payload in put[len(taken) :]]
        taken += [(record.kind, bytes(record.payload)) for record in ring.take(position)]
        assert taken == put
    finally:
        ring.release()


def test_a_full_ring_takes_nothing_and_loses_nothing() -> None:
    ring = Ring.create(4096)
    count = 0
    while ring.put(1, (bytes(500),), 0):
        count += 1
    assert count == 7
    assert sum(1 for _ in ring.take(0)) == 7
    with pytest.raises(ValueError, match="does not fit"):
        ring.put(1, (bytes(3000),), 0)
    ring.release()


def test_serials_grow() -> None:
    ring = Ring.create(4096)
    serials: list[int] = []
    for _ in range(40):
        assert ring.put(1, (bytes(400),), 0)
        for record in ring.take(ring.committed):
            serials.append(record.serial)
            ring.commit(record.serial)
    assert all(b > a > 0 for a, b in itertools.pairwise(serials))
    assert len(serials) == 40
    ring.release()


def test_the_writer_s_state_and_message_are_shared() -> None:
    ring = Ring.create(4096)
    ring.message = "OSError: No space left on device — Ä"
    assert ring.message == "OSError: No space left on device — Ä"
    ring.message = ""
    assert ring.message == ""
    ring.release()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its count of page faults")
def test_a_reserved_ring_asks_for_no_page_while_blocks_come() -> None:
    ring = Ring.create(64 << 20)
    block = memoryview(bytes(1 << 20))
    try:
        ring.reserve()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        assert all(ring.put(1, (block,), k) for k in range(60))
        asked = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    finally:
        ring.release()
    if tuple(map(int, platform.release().split(".")[:2])) < (5, 14):
        pytest.skip("this kernel cannot be asked for all pages at once")
    assert asked < (60 << 20) // mmap.PAGESIZE // 10  # without it: one fault a page
