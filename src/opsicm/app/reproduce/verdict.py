"""How a number is judged against the paper: one pure rule for every row."""

from __future__ import annotations

from math import isfinite
from typing import Final, Literal

Verdict = Literal["agrees", "same trend", "disagrees", "not stated"]
Expected = Literal["value", "at most", "positive", "negative", "unchanged", "one", "nothing"]

WITHIN: Final = 0.15  # of the paper's number, where its own precision is finer
_CERTAIN: Final = 2.0  # a sign counts when the number stands this many of its own u from zero


def verdict(
    expected: Expected, here: float, u: float | None = None, paper: float | None = None, precision: float = 0.0
) -> Verdict:
    """Judge `here` ± `u` against what the paper says; all in one unit.

    `expected` says what the paper gives:
      value       a number `paper`, printed to ± `precision`: *agrees* within the larger of `precision` and 15 % of it,
                  *same trend* farther off with its sign, else *disagrees*;
      at most     an upper bound `paper`: *agrees* up to 15 % above it, else *disagrees*;
      positive, negative   a direction in words: *same trend* when `here` has the sign and stands 2 u from zero;
      unchanged   "no change" in words, `here` in % of what could have changed: *same trend* within 15 %;
      one         proportion, linearity or mirror image in words, `here` a ratio: *same trend* within 0.15 of 1;
      nothing     the paper is silent: *not stated*.
    A number without a printed counterpart can reach *same trend* at best. `u` is ours; the paper prints none.
    """
    if not isfinite(here):
        raise ValueError(f"{here} is no number: say why there is none instead of judging it")
    if expected == "nothing":
        return "not stated"
    if expected in ("value", "at most"):
        if paper is None:
            raise ValueError(f"expected {expected!r} needs the paper's number")
        if expected == "at most":
            return "agrees" if here <= paper * (1.0 + WITHIN) else "disagrees"
        if abs(here - paper) <= max(precision, WITHIN * abs(paper)):
            return "agrees"
        return "same trend" if here * paper > 0.0 else "disagrees"
    if expected == "unchanged":
        return "same trend" if abs(here) <= 100.0 * WITHIN else "disagrees"
    if expected == "one":
        return "same trend" if abs(here - 1.0) <= WITHIN else "disagrees"
    signed = here if expected == "positive" else -here
    return "same trend" if signed > _CERTAIN * (u or 0.0) else "disagrees"
