"""A result says what it is of in fields; its label is made of them, and is what scripts have searched for."""

from __future__ import annotations

import pytest

from opsicm.analysis.result import Result, Subject, failed


def a(name: str, of: Subject | None = None, index: int | None = None) -> Result:
    return Result(name, 1.0, 0.1, "nm", "by hand", of=of or Subject(), index=index)


@pytest.mark.parametrize(
    ("result", "label"),
    [
        (a("height_scatter"), "height_scatter"),
        (a("charge", Subject(part="lithiation", number=2)), "charge_lithiation_2"),
        (a("peak_current", Subject(part="delithiation")), "peak_delithiation_current"),
        (a("peak_potential", Subject(part="cathodic"), 3), "peak_3_cathodic_potential"),
        (a("sweep_charge", Subject(part="anodic"), 1), "charge_sweep_1_anodic"),
        (a("stage_end", Subject(part="lithiation", number=1), 2), "stage_end_lithiation_1_2"),
        (a("expansion_first_half", Subject(part="lithiation")), "expansion_lithiation_first_half"),
        (a("transition_from_height", Subject(part="lithiation", number=1)), "transition_lithiation_1_from_height"),
        (a("Sq", Subject(part="after plane", image=2)), "Sq after plane image_2"),
        (a("hops", Subject(step="probe[0]", segment=2)), "hops probe[0] segment_2"),
        (
            a("near_less_far_current", Subject(step="probe[3]", occurrence=2, part="first")),
            "near_less_far_current_first probe[3]#2",
        ),
        (a("surface position", Subject(source="scan01_07_1", curve=2)), "scan01_07_1: curve 2: surface position"),
        (a("concentration", Subject(run="20261130T080000Z_baths")), "concentration 20261130T080000Z_baths"),
    ],
)
def test_a_label_is_what_the_result_was_called(result: Result, label: str) -> None:
    assert result.label == label
    assert result.record()["name"] == label
    assert result.record()["quantity"] == result.name


def test_a_record_says_what_applies_and_no_more() -> None:
    record = a("stage_end", Subject(part="lithiation", number=1), 2).within(step="probe[0]").record()
    assert record["of"] == {"step": "probe[0]", "part": "lithiation", "number": 1}
    assert (record["index"], record["u_calibration"]) == (2, None)
    assert a("hops").record()["of"] == {}


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="result peak_lithiation_current: value is 1"):
        Result("peak_current", 1.0, 0.1, "mA", "", "no current", of=Subject(part="lithiation"))
    with pytest.raises(ValueError, match="is not a number"):
        Result("hops", 1.0, 0.1, "1", "", u_calibration=float("nan"))
    assert failed("hops", "1", "", "no hops", "hop").value is None
