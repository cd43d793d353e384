"""The rule that judges every row: pure, and nothing of it written down beside a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.reproduction.paper import Expected, Verdict, verdict

SIZES = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(
    ("expected", "here", "u", "paper", "precision", "said"),
    [
        ("value", 0.33, 0.01, 0.35, 0.005, "agrees"),
        ("value", 0.25, 0.01, 0.35, 0.005, "same trend"),
        ("value", -0.35, 0.01, 0.35, 0.005, "disagrees"),
        ("value", 310.0, 5.0, 275.0, 50.0, "agrees"),  # the paper's own precision is the wider
        ("value", 0.0, 0.0, 0.35, 0.005, "disagrees"),
        ("at most", 0.1, 0.0, 0.5, 0.05, "agrees"),
        ("at most", 0.57, 0.0, 0.5, 0.05, "agrees"),
        ("at most", 0.6, 0.0, 0.5, 0.05, "disagrees"),
        ("positive", 1.0, 0.4, None, 0.0, "same trend"),
        ("positive", 1.0, 0.6, None, 0.0, "disagrees"),
        ("positive", -1.0, 0.1, None, 0.0, "disagrees"),
        ("negative", -1.0, None, None, 0.0, "same trend"),
        ("unchanged", -14.0, 1.0, None, 0.0, "same trend"),
        ("unchanged", 16.0, 1.0, None, 0.0, "disagrees"),
        ("one", 0.9, 0.0, None, 0.0, "same trend"),
        ("one", 0.38, 0.0, None, 0.0, "disagrees"),
        ("nothing", 7.0, 1.0, None, 0.0, "not stated"),
    ],
)
def test_the_rule(
    expected: Expected, here: float, u: float | None, paper: float | None, precision: float, said: Verdict
) -> None:
    assert verdict(expected, here, u, paper, precision) == said


@given(paper=SIZES, factor=st.floats(0.86, 1.14))
def test_fifteen_percent_agrees_whatever_the_unit(paper: float, factor: float) -> None:
    assert verdict("value", paper * factor, None, paper) == "agrees"
    assert verdict("value", -paper * factor, None, -paper) == "agrees"
    assert verdict("value", -paper * factor, None, paper) == "disagrees"


@given(here=SIZES, u=SIZES)
def test_a_turned_sign_turns_the_verdict(here: float, u: float) -> None:
    as_expected = verdict("positive", here, u)
    assert as_expected == verdict("negative", -here, u)
    assert verdict("negative", here, u) == "disagrees"
    assert as_expected == ("same trend" if here > 2.0 * u else "disagrees")


@given(here=st.floats(allow_nan=False, allow_infinity=False))
def test_words_alone_never_agree(here: float) -> None:
    for expected in ("positive", "negative", "unchanged", "one", "nothing"):
        assert verdict(expected, here, 0.0) != "agrees"


@pytest.mark.parametrize("here", [math.nan, math.inf])
def test_no_number_is_not_judged(here: float) -> None:
    with pytest.raises(ValueError, match="give the reason"):
        verdict("positive", here)


def test_a_value_needs_the_papers_number() -> None:
    with pytest.raises(ValueError, match="needs the paper's number"):
        verdict("value", 1.0)
