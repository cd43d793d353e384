"""The journal: each line is the fact that was written, or counted as torn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.core.facts import Fact
from opsicm.record.journal import Journal, JournalReader, read_lines

FACTS = [
    Fact(0, 0, "run_started", "run", "run", {"title": "µ — Ä"}),
    Fact(1, 5, "intent", "cell", "cell[0]", {"control": {"current": -1e-4}, "crc32": 7}),
    Fact(2, 9, "note", "run", "run", {"message": 'it said ", "crc32": 12}" and stopped'}),
    Fact(3, 11, "run_ended", "run", "run", {"outcome": "completed"}),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    for fact in FACTS:
        journal.write(fact)
    journal.close()
    return path.read_bytes()


def _read(path: Path, data: bytes) -> tuple[list[Fact], int]:
    path.write_bytes(data)
    lines, torn = read_lines(path)
    return [Fact.from_line(line) for line in lines], torn


def test_a_line_is_json_with_the_checksum_of_the_rest(data: bytes, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in data.splitlines()]
    assert all(isinstance(line["crc32"], int) for line in lines)
    assert [line["data"] for line in lines] == [dict(fact.data) for fact in FACTS]
    assert _read(tmp_path / "j", data) == (FACTS, 0)
    assert read_lines(tmp_path / "nothing") == ([], 0)


@pytest.mark.parametrize("to", [b"1", b"_", b"}", b"\n"])
def test_one_changed_character_is_a_torn_line(data: bytes, tmp_path: Path, to: bytes) -> None:
    """Anywhere: in the fact, in the checksum, in what tells them apart. Never another fact."""
    whole, kept_anyway = set(map(repr, FACTS)), []
    for at in range(len(data)):
        if data[at : at + 1] == to:
            continue
        facts, torn = _read(tmp_path / "j", data[:at] + to + data[at + 1 :])
        assert set(map(repr, facts)) <= whole
        if torn == 0:
            kept_anyway.append(at)
            assert facts == FACTS
        else:
            assert facts == sorted(facts, key=lambda fact: fact.seq)
            assert len(FACTS) - 2 <= len(facts) < len(FACTS)  # two: a line end is changed
    # What closes a line, which says nothing, may be anything.
    assert {data[at : at + 1] for at in kept_anyway} <= {b"}", b"\n"}
    assert len(kept_anyway) <= len(FACTS) + 1


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_cut_journal_keeps_its_whole_lines(data: bytes, tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    cut %= len(data) + 1
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    facts, torn = _read(path, data[:cut])
    ends = [k + 1 for k, byte in enumerate(data) if byte == 10]
    n = sum(end - 1 <= cut for end in ends)  # a line without its end is whole
    assert facts == FACTS[:n]
    assert torn == (cut > (ends[n - 1] if n else 0))


def test_a_journal_is_read_as_it_grows(data: bytes, tmp_path: Path) -> None:
    path, lines = tmp_path / "j", []
    reader = JournalReader(path)
    assert reader.lines() == []
    with path.open("ab", buffering=0) as file:
        for k in range(0, len(data), 50):
            file.write(data[k : k + 50])
            lines += reader.lines()
            assert len(lines) == data[: k + 50].count(b"\n")
    assert [Fact.from_line(line) for line in lines] == FACTS
    assert (reader.lines(final=True), reader.torn) == ([], 0)


def test_lines_of_version_0_1_0_have_no_checksum(tmp_path: Path) -> None:
    data = b"".join(fact.line().encode() + b"\n" for fact in (FACTS[0], FACTS[3]))
    assert b"crc32" not in data
    assert _read(tmp_path / "j", data) == ([FACTS[0], FACTS[3]], 0)
    assert _read(tmp_path / "j", data[:-5]) == ([FACTS[0]], 1)
    kept = Path(__file__).parents[1] / "data/runs-0.1.0"
    for folder, facts in (("finished", 80), ("interrupted", 20)):
        lines, torn = read_lines(kept / folder / "journal.jsonl")
        assert len(lines) == (kept / folder / "journal.jsonl").read_bytes().count(b"\n") > facts
        assert torn == 0
