"""What the drivers' pages show is what their drivers take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from opsicm.cli.rigs import REGISTRY
from opsicm.experiment.rig_file import RoleName
from tests.fixtures.emulated_role import rig_with

PAGES = Path(__file__).parents[2] / "docs/reference/drivers"
SHOWN: list[tuple[str, RoleName]] = [
    ("zaber", "coarse_stage"),
    ("pi-gcs", "scanner"),
    ("pi-gcs", "coarse_stage"),
    ("adapter", "potentiostat"),
    ("adapter", "coarse_stage"),
]


@pytest.mark.parametrize(("page", "role"), SHOWN)
def test_the_example_is_accepted_and_every_setting_is_explained(page: str, role: RoleName) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    entry = yaml.safe_load(block[1])[role]
    driver = REGISTRY.find(rig_with(role, entry["driver"], entry["address"], {}), role, entry["driver"])
    settings = driver.settings.model_validate(entry["settings"])
    explained = text if driver.name == "zaber" else text + (PAGES / "zaber.md").read_text(encoding="utf-8")
    unexplained = [key for key in type(settings).model_fields if key not in explained]
    assert not unexplained
