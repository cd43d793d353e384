"""The guide to a rig: its drawings are those of the rig file, its commands and files exist, its numbers are right."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsicm.cli.rig_check import step_names
from opsicm.emulators.wire_faults import KINDS
from opsicm.experiment.file import EXPERIMENTS
from opsicm.instruments.wiring import command_span
from opsicm.instruments.wiring_check import CELL_STEP, STEP
from scripts.wiring_drawings import FOLDER, drawings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/bring-up.md").read_text(encoding="utf-8")


def pixels(picture: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L"), dtype=np.int16)


@pytest.mark.parametrize("name", drawings())
def test_the_drawings_are_those_of_the_papers_rig_file(name: str) -> None:
    drawn, kept = pixels(drawings()[name]), pixels((FOLDER / name).read_bytes())
    assert drawn.shape == kept.shape
    # Another version of matplotlib smooths edges another way; a wire or a word that changed is thousands of pixels.
    assert np.count_nonzero(np.abs(drawn - kept) > 128) < 200, "run python -m scripts.wiring_drawings"
    assert f"../images/wiring/{name}" in PAGE


def test_every_rig_file_stands_in_the_guide_and_none_else() -> None:
    named = set(re.findall(r"`([\w-]+\.yaml)`", PAGE.partition("| file | bench |")[2].partition("\n\n")[0]))
    assert named == {path.name for path in (EXPERIMENTS / "rigs").glob("*.yaml")}


def test_the_steps_of_the_table_are_those_of_the_check_in_order() -> None:
    rows = re.findall(r"^\| ([\w ,]+?)(?: \(asks\))? \|", PAGE.partition("| step | looks at")[2], re.MULTILINE)
    steps = [step for row in rows for step in row.split(", ")]
    assert steps == step_names()


def test_the_numbers_of_the_guide() -> None:
    low, high = command_span(0.7, 0.0, 1.7)
    assert (low, high) == pytest.approx((-1.0, 0.7))
    assert "needs −1.0 to 0.7 V: 100 mV/V" in PAGE
    assert pytest.approx(0.05) == STEP
    assert "±50 mV of bias" in PAGE
    assert pytest.approx(0.005) == CELL_STEP
    assert "then 5 mV more" in PAGE
    assert "silent" in KINDS
