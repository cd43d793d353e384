"""The demo's headline: the few results that a newcomer should see first."""

from __future__ import annotations

from collections.abc import Iterable

from opsicm.analysis.result import Result

_HEADLINE = (
    "hops",
    "expansion_lithiation",
    "expansion_delithiation",
    "height_scatter",
    "ten_hop_bulk_change",
    "hop_period",
    "pipette_change_at_peak_lithiation",
    "peak_lithiation_current",
)


def headline(results: Iterable[Result]) -> list[Result]:
    """The headline results in a fixed order; one that failed stays, with its reason."""
    by_name = {result.name: result for result in results}
    return [by_name[name] for name in _HEADLINE if name in by_name]
