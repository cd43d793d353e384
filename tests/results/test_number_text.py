"""Numbers as a person would write them."""

from __future__ import annotations

import pytest

from opsicm.results.number_text import duration, number, quantity


@pytest.mark.parametrize(
    ("value", "u", "unit", "text"),
    [
        (234.5678, 0.123, "", "234.57 ± 0.12"),
        (1234.5678, 0.123, "", "1234.6 ± 0.1"),  # five digits: no instrument here is calibrated better
        (1e-3, 0.0, "", "0.001"),
        (None, None, "", "–"),
        (5.0, 30.0, "", "5 ± 30"),
        (2.0, float("nan"), "", "2"),
        (9792.0, 0.0, "1", "9792"),
        (6.4e-15, 1e-15, "nm", "0.00"),  # rounding of a computer, not a shift of an image
        (-0.001, 0.3, "nm", "0.00 ± 0.30"),  # and never minus zero
        (1.234e-14, 1.5e-15, "m²/s", "(1.23 ± 0.15)·10⁻¹⁴"),
        (3.8e9, 6e8, "nm", "(3.80 ± 0.60)·10⁹"),
        (0.2, None, "mA", "0.2"),  # no zeros that nobody stated
    ],
)
def test_a_number_is_rounded_by_its_uncertainty(value: float | None, u: float | None, unit: str, text: str) -> None:
    assert number(value, u, unit) == text


@pytest.mark.parametrize(
    ("value", "u", "unit", "text"),
    [
        (2232.08, 0.44, "nm", "2232 nm"),
        (264.494, 0.386, "pA", "264.5 ± 0.4 pA"),
        (131.15, 1.49, "pA", "131.2 ± 1.5 pA"),  # two digits where u begins with 1
        (-3.22e-5, 3e-7, "mAh", "−32.2 ± 0.3 nAh"),
        (14000.0, 2000.0, "nm", "14 ± 2 µm"),
        (0.4, 20.0, "nm", "0 ± 20 nm"),
        (330.88, 0.02, "MOhm", "330.9 MΩ"),
        (0.99555, 0.00018, "1", "0.9956 ± 0.0002"),
    ],
)
def test_a_sentence_has_few_digits_and_a_readable_unit(value: float, u: float, unit: str, text: str) -> None:
    assert quantity(value, u, unit) == text


@pytest.mark.parametrize(("seconds", "text"), [(84.0, "84 s"), (300.0, "5 min"), (34000.0, "9.44 h"), (1e6, "11.6 d")])
def test_times_are_in_the_unit_a_person_would_choose(seconds: float, text: str) -> None:
    assert duration(seconds) == text
