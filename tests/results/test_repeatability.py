"""u is the scatter of a repeated run: a few seeds of a cheap experiment here, twelve of each in `make long`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, linregress

from opsicm.reproduction.paper import IDS
from opsicm.results.run_or_file import results_of_path
from opsicm.results.run_series import _trend
from opsicm.results.tables import Column
from scripts.seed_scatter import (
    HIGHEST,
    PAGE,
    REASONS,
    SEEDS,
    TOO_SMALL,
    Scatter,
    experiment_of,
    largest_by_chance,
    measured,
    run_once,
    scatters,
    unexplained,
)

_RUNS = 4
_RARE = 1e-4


def test_four_repeated_calibrations_scatter_by_their_u(tmp_path: Path) -> None:
    """(n - 1) s²/u² is chi-squared of n - 1 degrees: outside of its inner 99.98 % u is no standard deviation."""
    loaded = experiment_of("E1", tmp_path)
    runs = []
    for seed in range(1, _RUNS + 1):
        results = results_of_path(run_once(loaded, seed, tmp_path / f"{seed}"), None)
        runs.append([(r.label, r.name, r.unit, r.value, r.u) for r in results if r.value is not None])
    found = {s.quantity: s for s in scatters("E1", runs)}
    low, high = (float(chi2.ppf(share, _RUNS - 1)) for share in (_RARE, 1.0 - _RARE))
    for quantity in ("pipette_resistance", "current_offset", "current_at_bias", "rectification", "hysteresis"):
        ratio = found[quantity].ratio
        assert ratio is not None
        assert low < (_RUNS - 1) * ratio**2 < high, f"{quantity}: scatter over u is {ratio:.2f}"


def test_the_exponent_of_a_series_has_its_u() -> None:
    rates = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    currents = 100.0 * rates**0.5 * np.exp(0.01 * np.array([1.0, -1.0, 0.5, -0.5, 1.0]))
    sentence = _trend(Column("peak", "mA", tuple(currents)), Column("rate", "mV/s", tuple(rates)))
    line = linregress(np.log(rates), np.log(currents))
    assert f"as the power {line.slope:.3f} ± {line.stderr:.3f} of it." in sentence


def test_scatter_is_compared_with_the_root_mean_square_of_u() -> None:
    rng = np.random.default_rng(3)
    runs: list[list[tuple[str, str, str, float, float | None]]] = [
        [("a", "a", "nm", 5.0 + 0.1 * rng.standard_normal(), 0.1), ("n", "n", "1", 7.0, 0.0)] for _ in range(400)
    ]
    a, n = scatters("E0", runs)
    assert a.ratio == pytest.approx(1.0, abs=0.1)
    assert (n.ratio, n.is_off) == (None, False)
    assert not a.is_off
    # A reason excuses a u that is too wide, none one that is too narrow.
    wide, narrow = (Scatter("E0", "Sq", "Sq", "nm", 12, 1.0, scatter, 1.0) for scatter in (0.1, 3.0))
    assert unexplained([wide, narrow]) == [narrow]


def test_the_page_has_no_u_that_is_too_small_and_a_reason_for_each_that_is_too_wide() -> None:
    rows = re.findall(
        r"^\| (E\d+) \| `(\w+)` \|.*\| ([\d.]+)(?:–([\d.]+))? \| (\d*) \|$", PAGE.read_text("utf-8"), re.M
    )
    assert {row[0] for row in rows} == set(IDS)
    for experiment, quantity, low, high, reason in rows:
        known = reason and (experiment, quantity) in TOO_SMALL
        assert float(high or low) <= (largest_by_chance(SEEDS) if known else HIGHEST), (experiment, quantity)
        assert float(low) >= 0.5 or (reason and quantity in REASONS), (experiment, quantity)


@pytest.mark.skipif("OPSICM_LONG" not in os.environ, reason="12 runs of 12 experiments: make long")
def test_every_result_of_every_short_experiment_scatters_by_its_u(tmp_path: Path) -> None:
    assert [f"{s.experiment} {s.label}: {s.ratio:.2f}" for s in unexplained(measured(IDS, tmp_path))] == []
