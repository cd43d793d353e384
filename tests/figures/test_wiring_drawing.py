"""The drawing of a rig's wiring says what the rig file says, and nothing in it hides anything else."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from opsicm.experiment.file import EXPERIMENTS
from opsicm.experiment.rig_file import LoadedRig, read_rig, rig_from_text
from opsicm.figures.wiring_drawing import Wire, Wiring, draw_wiring, wiring_of

PAPER = EXPERIMENTS / "rigs/paper.yaml"
RIGS = sorted((EXPERIMENTS / "rigs").glob("*.yaml"))


def paper(grounding: str = "common", more: str = "") -> LoadedRig:
    text = PAPER.read_text(encoding="utf-8").replace("grounding: common", f"grounding: {grounding}")
    return rig_from_text(text.replace("# The rig of", f"{more}# The rig of", 1))


def wires(wiring: Wiring, role: str) -> dict[str, Wire]:
    (instrument,) = (each for each in wiring.instruments if each.role == role)
    return {wire.name: wire for wire in instrument.wires}


def texts_of(figure: Figure) -> list[Text]:
    return [text for axes in figure.axes for text in axes.texts if text.get_text()]


def test_every_channel_and_terminal_of_the_file_is_a_wire_with_its_way() -> None:
    wiring = wiring_of(paper())
    assert wires(wiring, "amplifier") == {
        "pipette current": Wire("pipette current", "Dev1/ai0", "1 nA a volt"),
        "command output": Wire("command output", "Dev1/ao0", to_instrument=True),
        "gain telegraph": Wire("gain telegraph", "Dev1/ai4"),
        "filter telegraph": Wire("filter telegraph", "Dev1/ai5"),
        "mode telegraph": Wire("mode telegraph", "Dev1/ai6"),
    }
    cell = wires(wiring, "potentiostat")
    assert {name for name, wire in cell.items() if wire.to_instrument} == {"potential output", "cell line", "mode line"}
    assert cell["cell current"] == Wire("cell current", "Dev1/ai3", "1 mA a volt")


def test_a_wire_that_inverts_says_so() -> None:
    text = PAPER.read_text(encoding="utf-8")
    text = text.replace("input: Dev1/ai2, gain: 1.0}", "input: Dev1/ai2, sign: -1, offset: 0.01}")
    wire = wires(wiring_of(rig_from_text(text)), "potentiostat")["cell potential"]
    assert wire.meaning == "1 V a volt, offset 10 mV, inverted"


@pytest.mark.parametrize(
    ("grounding", "drawn", "sentence"),
    [
        ("common", {"REF", "CE", "WE", "counter", "shared reference, −E"}, "V_cmd = V_tip − E"),
        ("two_electrode", {"reference, 0 V", "no part in this wiring", "specimen floats: no lead"}, "V_cmd = V_tip:"),
    ],
)
def test_each_grounding_has_its_electrodes_and_its_law(grounding: str, drawn: set[str], sentence: str) -> None:
    said = {text.get_text() for text in texts_of(draw_wiring(wiring_of(paper(grounding))))}
    assert drawn <= said
    assert any(sentence in text for text in said)
    other = {"common": "two_electrode", "two_electrode": "common"}[grounding]
    assert not drawn <= {text.get_text() for text in texts_of(draw_wiring(wiring_of(paper(other))))}


@pytest.mark.parametrize("grounding", ["common", "two_electrode"])
@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_no_two_texts_overlap_and_all_are_in_the_picture(path: object, grounding: str) -> None:
    text = str(read_rig(str(path)).text).replace("grounding: common", f"grounding: {grounding}")
    figure = draw_wiring(wiring_of(rig_from_text(text)))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    boxes = [(each.get_text(), each.get_window_extent(renderer)) for each in texts_of(figure)]
    width, height = figure.canvas.get_width_height()
    outside = [name for name, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert outside == []
    assert [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.padded(-0.5).overlaps(other)] == []
