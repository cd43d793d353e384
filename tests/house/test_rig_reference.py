"""The reference of the rig file says what the models say, and its example is a rig that an experiment runs on."""

from __future__ import annotations

import re
from pathlib import Path

import opsicm
from opsicm.experiment.rig_file import RigFile
from opsicm.twin.settings import SURFACES
from scripts.rig_reference import PAGE, page
from tests.fixtures.laboratory import TEXT


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m scripts.rig_reference"


def test_every_key_is_on_the_page() -> None:
    text = page()
    keys = {key for model in RigFile.model_json_schema()["$defs"].values() for key in model.get("properties", {})}
    keys |= {key for model in SURFACES.values() for key in model.model_fields}
    assert len(keys) > 40
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_the_example_is_a_rig(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", page(), flags=re.DOTALL)
    (tmp_path / "ours.yaml").write_text(example, encoding="utf-8")
    (tmp_path / "first.yaml").write_text(TEXT.replace("twin/graphite", "ours.yaml"), encoding="utf-8")
    checked = opsicm.check(tmp_path / "first.yaml")
    assert checked.ok, checked
