"""How a run is looked at: kept beside it, checked when it is read, refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opsicm.console import view_settings
from opsicm.console.view_settings import FILE, Shown, ViewSettings, read_settings, settings_message, write_settings
from opsicm.console.wire import decoded
from opsicm.core.errors import BadInput

GOOD = ViewSettings({"height": Shown("nm", (-50.0, 80.5)), "pipette current": Shown("pA")}, "parabola")


def told(folder: Path, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    return decoded(settings_message(folder, wanted).numbered(1))[2]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == ViewSettings(), "without a file the figures decide"
    write_settings(tmp_path, GOOD)
    assert read_settings(tmp_path) == GOOD
    assert [path.name for path in tmp_path.iterdir()] == [FILE], "nothing is left beside it"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"opsicm_view": 2}, "opsicm_view: must be 1"),
        ({"levelling": "rows"}, "levelling: is one of none, plane, parabola"),
        ({"script": "<b>"}, "has the keys opsicm_view, levelling and channels"),
        ({"channels": []}, "channels: names channels"),
        ({"channels": {"width": {"unit": "nm", "limits": None}}}, "channel: is one of height, height change"),
        ({"channels": {"height": {"unit": "nA", "limits": None}}}, "unit of height: is one of nm, µm"),
        ({"channels": {"height": {"unit": "nm"}}}, "height: has unit and limits"),
        ({"channels": {"height": {"unit": "nm", "limits": [1]}}}, "limits of height: are two numbers"),
        ({"channels": {"height": {"unit": "nm", "limits": [True, 2]}}}, "limits of height: are two numbers"),
        ({"channels": {"height": {"unit": "nm", "limits": [2, 1]}}}, "are finite, the lower one first"),
        ({"channels": {"height": {"unit": "nm", "limits": [0, float("inf")]}}}, "are finite, the lower one first"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    (tmp_path / FILE).write_text(json.dumps({**GOOD.record(), **changed}), encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read_settings(tmp_path)
    text = "; ".join(f"{one.thing}: {one.limit}" for one in refused.value.problems)
    assert message in text
    assert told(tmp_path)["settings"] == ViewSettings().record(), "the figures decide"
    assert "set it anew in the page" in told(tmp_path)["problem"]
    told(tmp_path, GOOD.record())
    assert read_settings(tmp_path) == GOOD, "the remedy works"


def test_a_strangers_file_is_only_data(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"[" * 3000, b"{" + b" " * 5000 + b"}", b"null"):
        (tmp_path / FILE).write_bytes(content)
        assert told(tmp_path)["problem"].startswith("view.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept", encoding="utf-8")
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).symlink_to(elsewhere)
    told(tmp_path, GOOD.record())
    assert elsewhere.read_text(encoding="utf-8") == "kept", "the link is replaced, not followed"
    assert read_settings(tmp_path) == GOOD


def test_where_the_folder_cannot_be_written_the_browser_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(tmp_path, GOOD.record())["kept"] == "run"
    assert told(tmp_path / "gone", GOOD.record())["kept"] == "browser"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view_settings, "write_settings", full)
    answer = told(tmp_path, ViewSettings().record())
    assert (answer["kept"], answer["problem"]) == ("browser", "")
    assert read_settings(tmp_path) == GOOD, "the file is as it was"
