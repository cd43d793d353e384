"""The page on materials of one's own: its files run as they stand, and expand or contract as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import opsicm

PAGE = Path(__file__).parents[2] / "docs/reference/your-material.md"
FILES = re.findall(r"`([\w-]+\.(?:yaml|csv))`[^`]*:\n\n```(?:yaml|csv)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_page_has_five_files() -> None:
    names = [name for name, _ in FILES]
    assert sorted(names) == ["first.yaml", "lfp-volume.csv", "lfp.csv", "ours-rig.yaml", "ours.yaml"]


@pytest.mark.parametrize("last_row", ["1,6.8", "1,-6.8"])
def test_the_height_follows_the_table_of_either_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_row: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).write_text(text.replace("1,6.8", last_row), encoding="utf-8")
    checked = opsicm.check("first.yaml")
    assert checked.ok, checked
    run = opsicm.run("first.yaml", out="runs", seed=1)
    assert run.outcome == "completed"
    expansion = run.results["expansion_lithiation"]
    capacity = 0.1e-2 * 0.97 * 0.5e-4 * 170.0 * 3600.0  # [C]: loading × active fraction × area × mAh/g
    passed = -float(run.cell["charge"][-1])  # to the end of the branch, over which the result reaches past the last hop
    expected = 0.6 * float(last_row.split(",")[1]) * passed / capacity
    assert abs(expected) > 0.5
    assert expansion.value == pytest.approx(expected, rel=0.03)
