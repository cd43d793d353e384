"""The wiring drawings of the bring-up guide, from the paper's rig file: one for each grounding.

python -m scripts.wiring_drawings writes them; tests/house/test_bring_up.py says when they are out of date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opsicm.experiment.file import EXPERIMENTS
from opsicm.experiment.rig_file import rig_from_text
from opsicm.figures.draw import png
from opsicm.figures.wiring_drawing import draw_wiring, wiring_of
from opsicm.instruments.wiring import GROUNDINGS

FOLDER: Final = Path(__file__).parents[1] / "docs/images/wiring"


def drawings() -> dict[str, bytes]:
    """Name of the file → picture."""
    text = (EXPERIMENTS / "rigs/paper.yaml").read_text(encoding="utf-8")
    rigs = {name: rig_from_text(text.replace("grounding: common", f"grounding: {name}")) for name in GROUNDINGS}
    return {f"{name}.png": png(draw_wiring(wiring_of(rig))) for name, rig in rigs.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in drawings().items():
        (FOLDER / name).write_bytes(picture)
