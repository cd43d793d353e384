"""The page of the architecture says what the imports are, and names files that exist."""

from __future__ import annotations

import re

from scripts import architecture


def test_the_table_of_rooms_is_what_the_imports_are() -> None:
    remedy = "run python scripts/architecture.py"
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page(), remedy


def test_every_room_is_in_the_import_contract_and_says_what_it_is_for() -> None:
    rooms = {path.parent.name for path in architecture.PACKAGE.glob("*/__init__.py")}
    assert rooms == {room for row in architecture.layers() for room in row}
    assert all(len(architecture.purpose(room)) > 20 for room in rooms)


def test_every_file_that_the_page_names_exists() -> None:
    text = architecture.PAGE.read_text(encoding="utf-8").split("## Where do I change")[1]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert len(named) > 15
    missing = [name for name in named if not (architecture.PACKAGE / name).exists()]
    assert not missing


def test_no_import_points_up() -> None:
    order = {room: k for k, row in enumerate(architecture.layers()) for room in row}
    assert not [(a, b) for a, used in architecture.imports().items() for b in used if order[b] < order[a]]
