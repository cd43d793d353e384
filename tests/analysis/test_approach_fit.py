"""The hyperbola's fit: exact without noise, honest with it, and a named outcome where there is nothing to fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from opsicm.analysis.approach.fit import ApproachFit, NoFit, fit_approach, hyperbola
from opsicm.analysis.approach.results import BULK_RESISTANCE, DISTANCE, RESISTANCE, approach_results, series_results

Array = NDArray[np.float64]
BULK_CURRENT, C, Z0 = 1.41e-9, 0.8e-9, 57.03e-6
Z: Array = np.asarray(Z0 + 30e-9 + 10e-9 * np.arange(200)[::-1], dtype=np.float64)
NOISE = 1.5e-3 * BULK_CURRENT


def clean() -> Array:
    return hyperbola(Z, BULK_CURRENT, C, Z0)


def noisy(seed: int) -> Array:
    return np.asarray(clean() + NOISE * np.random.default_rng(seed).standard_normal(Z.size), dtype=np.float64)


def fitted(z: Array, current: Array, threshold: float | None = None) -> ApproachFit:
    fit = fit_approach(z, current, threshold)
    assert isinstance(fit, ApproachFit), fit
    return fit


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_without_noise_the_parameters_come_back(sign: float, scale: float) -> None:
    fit = fitted(Z, sign * scale * clean())
    assert fit.I_inf == pytest.approx(sign * scale * BULK_CURRENT, rel=1e-9)
    assert pytest.approx(C, rel=1e-6) == fit.C
    assert fit.distance == pytest.approx(30e-9, rel=1e-6)
    assert fit.z0 == pytest.approx(Z0, abs=1e-13)


def test_equals_scipy_curve_fit_and_its_covariance() -> None:
    """Another route: curve_fit on the same model, in micrometres and nanoamperes, from the truth."""
    current = noisy(1)
    fit = fitted(Z, current)
    used = fit.used

    def model(z: Array, a: float, c: float, z0: float) -> Array:
        return np.asarray(a / (1.0 + c / (z - z0)))

    sigma = np.full(int(used.sum()), 1e9 * fit.sigma)
    p, cov = curve_fit(
        model, 1e6 * Z[used], 1e9 * current[used], (1.41, 0.8e-3, 57.03), sigma, absolute_sigma=True, xtol=1e-14
    )
    factor = max(1.0, fit.chi2_per_dof) ** 0.5
    assert fit.z0 == pytest.approx(1e-6 * p[2], abs=1e-12)
    assert pytest.approx(1e-6 * cov[2, 2] ** 0.5 * factor, rel=1e-3) == fit.u[2]
    assert pytest.approx(1e-6 * cov[1, 1] ** 0.5 * factor, rel=1e-3) == fit.u[1]


def test_intervals_cover_the_truth() -> None:
    """400 curves with the noise of the real ones know a coverage of 95 % to 1.1 %; 90 to 98 % is asked."""
    hits = np.zeros(3)
    for seed in range(400):
        fit = fitted(Z, noisy(seed))
        errors = np.abs(np.array([fit.I_inf - BULK_CURRENT, fit.C - C, fit.z0 - Z0]))
        hits += errors < 1.96 * np.array(fit.u)
    assert np.all((hits / 400 >= 0.90) & (hits / 400 <= 0.98)), hits / 400


def test_a_wrong_model_widens_the_interval() -> None:
    """A steeper curve, 1 + (D/d)^2: chi-squared exceeds 1 by far, and u must have grown with its root."""
    current = BULK_CURRENT / (1.0 + (6e-9 / (Z - Z0)) ** 2) + 0.01 * NOISE * np.random.default_rng(2).standard_normal(
        200
    )
    fit = fitted(Z, current)
    assert fit.chi2_per_dof > 5.0
    again = fitted(Z, current + 30 * 0.01 * NOISE * np.random.default_rng(3).standard_normal(200))
    assert fit.u[2] > again.u[2] / 30 * 2.0


def test_a_contact_spike_at_the_end_changes_nothing() -> None:
    current = noisy(4)
    with_spike = current.copy()
    with_spike[-1] = current[0] * 106 / 496
    without = fitted(Z[:-1], current[:-1])
    fit = fitted(Z, with_spike)
    assert fit.from_contact.sum() == 1
    assert fit.z_stop == Z[-2]
    assert fit.distance == pytest.approx(without.distance, abs=0.05 * fit.u[2])


def test_a_brief_touch_that_recovers_is_left_out_and_counted() -> None:
    current = noisy(5)
    touched = current.copy()
    touched[-9] *= 0.4
    fit = fitted(Z, touched)
    assert list(np.flatnonzero(fit.disturbed)) == [191]
    assert fit.distance == pytest.approx(fitted(np.delete(Z, -9), np.delete(current, -9)).distance, abs=1e-12)


def test_white_noise_alone_leaves_out_next_to_nothing() -> None:
    left_out = sum(int(fitted(Z, noisy(seed)).disturbed.sum()) for seed in range(50))
    assert left_out <= 3


def test_the_stated_threshold_ends_the_curve() -> None:
    z = np.concatenate((Z, Z[-1] - np.array([10e-9, 18e-9])))
    fit = fitted(z, BULK_CURRENT / (1.0 + C / (z - Z0)), threshold=0.03)
    assert fit.from_contact.sum() == 2
    assert fit.distance == pytest.approx(30e-9, rel=1e-4)


def test_nan_rows_are_passed_over() -> None:
    current = clean()
    current[[3, 60, 198]] = np.nan
    fit = fitted(Z, current)
    assert not fit.used[[3, 60, 198]].any()
    assert fit.distance == pytest.approx(30e-9, rel=1e-6)


SATURATED: Array = np.minimum(clean(), 0.9965 * BULK_CURRENT)


@pytest.mark.parametrize(
    ("z", "current", "outcome"),
    [
        (Z[:2], clean()[:2], "too few points"),
        (Z[:0], clean()[:0], "too few points"),
        (Z, np.full(200, 1.4e-9), "constant current"),
        (Z, np.zeros(200), "constant current"),
        (np.full(200, Z0), noisy(1), "constant height"),
        (
            Z,
            np.full(200, 1.4e-9) + NOISE * np.random.default_rng(9).standard_normal(200),
            "no approach: current does not fall",
        ),
        (Z, noisy(1)[::-1], "no approach: current does not fall"),
        (Z, SATURATED, "saturated"),
        (-Z, noisy(1), "reversed axis"),
        (Z[::-1], noisy(1)[::-1], "reversed axis"),
        (Z, np.full(200, np.nan), "all NaN"),
        (np.full(200, np.nan), noisy(1), "all NaN"),
    ],
)
def test_bad_data_has_a_named_outcome(z: Array, current: Array, outcome: str) -> None:
    fit = fit_approach(z, current)
    assert isinstance(fit, NoFit)
    assert fit.outcome == outcome
    for result in approach_results(z, current, bias=0.15):
        if result.name != RESISTANCE:
            assert result.outcome == outcome
        assert result.value is None or np.isfinite(result.value)
        assert result.reason or result.value is not None


def test_flat_noise_is_hardly_ever_an_approach() -> None:
    rng = np.random.default_rng(11)
    flat = [fit_approach(Z, BULK_CURRENT + NOISE * rng.standard_normal(200)) for _ in range(300)]
    assert sum(isinstance(fit, ApproachFit) for fit in flat) <= 1


def test_results_carry_units_and_say_that_the_distance_is_biased() -> None:
    results = {r.label: r for r in approach_results(Z, noisy(6), 0.150, 0.0244, 106.49e6)}
    distance, far, bulk = results[DISTANCE], results[RESISTANCE], results[BULK_RESISTANCE]
    assert (distance.unit, far.unit) == ("nm", "MOhm")
    assert distance.value == pytest.approx(30.0, abs=4 * (distance.u or 0))
    assert bulk.value == pytest.approx(106.383, abs=4 * (bulk.u or 0))
    assert far.value == pytest.approx(106.383, abs=0.1)
    assert "biased (about 12 nm" in distance.method
    assert results["pipette resistance stated in the file"].value == pytest.approx(106.49)


def test_without_a_bias_there_is_a_distance_but_no_resistance() -> None:
    results = {r.label: r for r in approach_results(Z, noisy(6) * 1e9)}
    assert results[DISTANCE].outcome == "ok"
    assert results[RESISTANCE].outcome == results[BULK_RESISTANCE].outcome == "bias unknown"


def test_far_resistance_covers_the_truth() -> None:
    """Flat curves of known resistance, 5 % slow noise included: 8 blocks give Student's t with 7 degrees of freedom."""
    inside = 0
    rng = np.random.default_rng(12)
    for _ in range(300):
        current = BULK_CURRENT + NOISE * rng.standard_normal(Z.size)
        far = next(r for r in approach_results(Z, current, 0.150) if r.name == RESISTANCE)
        assert far.value is not None
        assert far.u is not None
        inside += abs(far.value - 0.150e-6 / BULK_CURRENT) < 2.365 * far.u
    assert 0.90 <= inside / 300 <= 0.98


def test_a_series_has_a_median_a_spread_and_a_count_of_failures() -> None:
    rng = np.random.default_rng(13)
    curves = [approach_results(Z + 1e-9 * rng.standard_normal(), noisy(seed), 0.150) for seed in range(40)]
    curves.append(approach_results(Z[:2], clean()[:2], 0.150))
    results = {r.label: r for r in series_results(curves)}
    middle, spread = results[f"median {DISTANCE}"], results[f"spread of {DISTANCE}"]
    assert middle.flags == {"curves": 41, "without_value": 1}
    assert middle.value == pytest.approx(30.0, abs=4 * (middle.u or 0))
    assert spread.value == pytest.approx(3.6, abs=4 * (spread.u or 0))  # what the Jacobian says of these curves
    assert series_results(curves[:2])[0].outcome == "too few curves"


def test_the_model_is_the_resistance_that_grows_as_one_over_distance() -> None:
    current = hyperbola(np.array([Z0 + C, Z0 + 3 * C]), BULK_CURRENT, C, Z0)
    np.testing.assert_allclose(BULK_CURRENT / current, [2.0, 1.0 + 1.0 / 3.0], rtol=1e-6)
