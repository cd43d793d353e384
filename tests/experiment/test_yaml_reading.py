"""What is refused as a file, what bare words mean, and where each key stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment.yaml_file import LARGEST_FILE, MAX_VALUES, read_yaml, yaml_document

REFUSED: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", None, "it is empty"),
    "spaces": (b"  \n \n", None, "it is empty"),
    "comments only": (b"# nothing\n", 1, "holds no settings"),
    "binary": (b"\x89HDF\r\n\x1a\n\0\0", None, "it is binary"),
    "UTF-16": ("opsicm: 1\n".encode("utf-16"), None, "it is binary"),
    "latin-1": (
        "opsicm: 1\ntitle: Gr\xf6\xdfe\n".encode("latin-1"),
        2,
        "a byte is 0xf6; the file must be text in UTF-8",
    ),
    "control character": (b"opsicm: 1\ntitle: a\x07b\n", 2, "does not belong in a text file"),
    "python tag": (
        b"a: 1\nb: !!python/object/apply:os.system [echo]\n",
        2,
        "b is !!python/object/apply:os.system; YAML",
    ),
    "own tag": (b"a: !foo 3\n", 1, "a is !foo; YAML tags are not read"),
    "standard tag": (b'a: !!float "1"\n', 1, "a is !!float; YAML tags are not read"),
    "tagged key": (b"!!str a: 1\n", 1, "tags are not read"),
    "anchor": (b"a: &x 1\nb: 2\n", 1, "a is &x; anchors and aliases are not read"),
    "alias": (b"a: 1\nb: *x\n", 2, "b is *x; anchors and aliases are not read"),
    "repeated key": (b"a: 1\nb: 2\na: 3\n", 3, "a; it stands already on line 1"),
    "repeated inner key": (b"c:\n  - {a: 1,\n     a: 2}\n", 3, "c[0].a; it stands already on line 2"),
    "two documents": (b"a: 1\n---\nb: 1\n", 2, "a file holds one document"),
    "a list": (b"- a\n- b\n", 1, "must be a mapping"),
    "a word": (b"hello\n", 1, "must be a mapping"),
    "number as key": (b"a: 1\n1: 2\n", 2, "a key must be a word"),
    "decimal comma": (b"a: 1\nb: {c: 1,5}\n", 2, "b.c is 1,5; a comma begins another key; write c: 1.5"),
    "list as key": (b"? [a, b]\n: 2\n", 1, "a key must be a word"),
    "open bracket": (b"a: [1, 2\nb: 3\n", 2, "is not YAML"),
    "no space": (b"a: 1\nb:2\nc: 3\n", 3, "is not YAML"),
    "tab": (b"a:\n\tb: 1\n", 2, "indent with spaces, not tabs"),
    "deep": (b"a: " + b"[" * 60 + b"]" * 60, 1, "nested 50 deep"),
    "very deep": (b"a: " + b"[" * 100_000, 1, "nested 50 deep"),
    "deep mapping": (b"{a: " * 9_000, 1, "nested 50 deep"),
    "long": (b"a: 1\n" * (LARGEST_FILE // 5 + 1), None, "1000 kB at most"),
    "many values": (b"a: [" + b"1," * (MAX_VALUES + 1) + b"]", 1, "50000 values at most"),
}

MEANINGS: dict[str, Any] = {
    "1e-3": 1e-3,
    "1E5": 1e5,
    "-1.5e+2": -150.0,
    ".5": 0.5,
    "3.": 3.0,
    "012": 12,
    "0o17": 15,
    "0x1F": 31,
    "-7": -7,
    "+7": 7,
    "true": True,
    "False": False,
    "on": "on",
    "off": "off",
    "yes": "yes",
    "No": "No",
    "y": "y",
    "null": None,
    "~": None,
    "1:30": "1:30",
    "1_000": "1_000",
    "2026-01-01": "2026-01-01",
    "1.2.3": "1.2.3",
    "'1'": "1",
    '"true"': "true",
    ".inf": float("inf"),
    "-.inf": float("-inf"),
    "=": "=",
    "<": "<",
    "1e400": float("inf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_file(name: str, tmp_path: Path) -> None:
    content, line, words = REFUSED[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(BadInput) as refused:
        read_yaml(path)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (str(path), line)
    assert words in str(problem)
    assert problem.remedy


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(BadInput):
        yaml_document(f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trace}]]\n")
    assert not trace.exists()


def test_places_that_are_no_file(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "it is a folder"), (tmp_path / "none", "it does not exist")):
        with pytest.raises(BadInput, match=words):
            read_yaml(path)
    with pytest.raises(BadInput, match=r"cannot be read|does not exist"):
        read_yaml("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="no regular file"):
        read_yaml(tmp_path / "pipe")


@pytest.mark.parametrize("word", MEANINGS)
def test_bare_words_mean_what_yaml_1_2_says(word: str) -> None:
    value = yaml_document(f"a: {word}\n").data["a"]
    assert value == MEANINGS[word]
    assert type(value) is type(MEANINGS[word])


def test_every_key_has_its_line_and_a_missing_one_that_of_the_nearest() -> None:
    document = yaml_document("a: 1\nb:\n  - c: {d: 1,\n      e: 2}\n  -\n    f: 3\n")
    assert document.line(("a",)) == 1
    assert document.line(("b", 0, "c", "d")) == 3
    assert document.line(("b", 0, "c", "e")) == 4
    assert document.line(("b", 1, "f")) == 6
    assert document.line(("b", 0, "c", "missing")) == 3
    assert document.line(("missing",)) == 1


def test_a_step_reference_may_stand_bare_inside_braces() -> None:
    data = yaml_document("a: {during: cell[1], b: [cell[0], 2]}\nc: cell[2]\n").data
    assert data == {"a": {"during": "cell[1]", "b": ["cell[0]", 2]}, "c": "cell[2]"}


def test_windows_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    document = read_yaml(path)
    assert document.data == {"a": 1, "b": 2}
    assert document.line(("b",)) == 2
