"""Towers, current-voltage curves and several biases at a place: constructions in closed form, no code of ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opsicm.analysis.pipette.current_voltage import iv_results
from opsicm.analysis.pipette.modulation import ConductanceSeries, conductance_fit, level_means, modulation_results
from opsicm.analysis.pipette.towers import tower_results, traverses
from opsicm.analysis.result import Result
from opsicm.results.calibration_across_runs import calibration_results

F64 = NDArray[np.float64]


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


def tower(dwell: float = 0.0) -> tuple[F64, F64]:
    """100 to 2600 µm at 0.5 mm/s, 20 trips, a row every 50 ms, with a wait at both ends."""
    way, step = 5.0, 0.05
    period = 2.0 * (way + dwell)
    t = step * np.arange(float(int(20 * period / step)))
    phase: F64 = np.mod(t, period)
    z: F64 = np.interp(phase, [0, way, way + dwell, 2 * way + dwell, period], [1e-4, 2.6e-3, 2.6e-3, 1e-4, 1e-4])
    return np.asarray(t, dtype=np.float64), z


@pytest.mark.parametrize("dwell", [0.0, 2.0])
def test_traverses_run_from_turn_to_turn(dwell: float) -> None:
    t, z = tower(dwell)
    ways = traverses(t, z)
    assert len(ways) in (39, 40)
    for way in ways:
        assert abs(z[way.stop - 1] - z[way.first]) > 2.4e-3
        assert t[way.stop - 1] - t[way.first] == pytest.approx(5.0, abs=0.3)


def test_a_gradient_that_comes_and_goes_is_measured_where_it_is() -> None:
    """I = I0 + A(t) exp(-z/400 µm), A following the cell current: its sign, size and reach."""
    rng = np.random.default_rng(1)
    t, z = tower()
    cell = -4e-4 * np.sin(2 * np.pi * t / t[-1])
    amplitude = -60e-12 * cell / 4e-4
    pipette = 3e-9 + amplitude * np.exp(-z / 400e-6) + 0.5e-12 * rng.standard_normal(t.size)
    potential = 0.85 + 0.8 * np.cos(2 * np.pi * t / t[-1])
    found = by_name(tower_results(t, z, pipette, cell, potential))
    near = np.exp(-np.linspace(1e-4, 3.5e-4, 50) / 400e-6).mean()
    for name, sign in (("lithiation_peak", 1.0), ("delithiation_peak", -1.0)):
        difference = found[f"near_less_far_current_{name}"]
        # Within one way A(t) moves by 2 %.
        assert difference.value == pytest.approx(sign * 60.0 * near, rel=0.04)
        extent = found[f"gradient_extent_{name}"]
        assert extent.value is not None
        assert extent.u is not None
        assert abs(extent.value - 400.0) < 3.0 * extent.u + 12.0
    assert found["tower_ways"].trace is not None
    flat = by_name(tower_results(t, z, 3e-9 + 0.5e-12 * rng.standard_normal(t.size), cell, potential))
    assert flat["gradient_extent_lithiation_peak"].outcome == "no gradient"


def test_no_travel_no_tower() -> None:
    t = np.arange(100.0)
    assert tower_results(t, np.full(100, 1e-5), t, t, t) == []


def sweep(cycles: int = 2) -> F64:
    up = np.linspace(-0.7, 0.7, 400)
    return np.tile(np.concatenate((up, up[::-1])), cycles)


def test_resistance_rectification_and_offset_come_back() -> None:
    """I = (V - 4 mV)/150 MΩ, 6 % more on the positive side, 2 pA of hysteresis."""
    rng = np.random.default_rng(2)
    v = sweep()
    i = (v - 0.004) / 150e6
    i = np.where(v > 0.004, 1.06 * i, i) + 1e-12 * np.sign(np.gradient(v)) + 1e-12 * rng.standard_normal(v.size)
    found = by_name(iv_results(v, i, 0.7))
    # Across the kink the slope is the mean of both sides.
    assert found["pipette_resistance"].value == pytest.approx(150.0 / 1.03, rel=0.005)
    assert found["rectification"].value == pytest.approx(1.06, abs=0.01)
    assert found["hysteresis"].value == pytest.approx(2.0, abs=0.3)
    assert found["current_at_bias"].value == pytest.approx(1.06 * 0.696 / 0.15, rel=1e-3)
    straight = by_name(iv_results(v, (v - 0.004) / 150e6 + 1e-12 * rng.standard_normal(v.size)))
    assert straight["current_offset"].value == pytest.approx(-26.67, abs=1.0)
    assert straight["pipette_resistance"].value == pytest.approx(150.0, rel=1e-3)


def test_intervals_of_the_resistance_cover() -> None:
    """95 % of 1000 sweeps: the truth within 1.96 u."""
    rng = np.random.default_rng(3)
    v = sweep(1)
    inside = 0
    for _ in range(1000):
        r = by_name(iv_results(v, v / 150e6 + 5e-12 * rng.standard_normal(v.size)))["pipette_resistance"]
        assert r.value is not None
        assert r.u is not None
        inside += abs(r.value - 150.0) < 1.96 * r.u
    assert 0.93 <= inside / 1000 <= 0.97


@pytest.mark.parametrize(
    ("v", "i", "outcome"),
    [
        (np.full(100, np.nan), np.ones(100), "too few points"),
        (np.array([0.0, 1.0]), np.array([0.0, 1.0]), "too few points"),
        (np.full(100, 0.7), np.arange(100.0), "constant bias"),
        (np.linspace(-1, 1, 100), np.full(100, 3e-9), "constant current"),
    ],
)
def test_bad_sweeps_have_a_named_outcome(v: F64, i: F64, outcome: str) -> None:
    assert iv_results(v, i)[0].outcome == outcome


@given(st.integers(0, 2**31), st.sampled_from(["nan", "short", "saturated", "noise", "reversed"]))
@settings(max_examples=40, deadline=None)
def test_no_sweep_raises(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    n = 3 if kind == "short" else 200
    v, i = np.linspace(-0.5, 0.5, n), 1e-9 * rng.standard_normal(n)
    if kind == "nan":
        v[rng.integers(0, n, n // 2)] = np.nan
    if kind == "saturated":
        i = np.clip(v / 1e8, -1e-9, 1e-9)
    if kind == "reversed":
        v = -v
    for result in iv_results(v, i):
        assert result.value is None or np.isfinite(result.value)
    for result in tower_results(np.arange(float(n)), 1e-3 * v, i, v, i):
        assert result.value is None or np.isfinite(result.value)


def test_conductance_and_intercept_of_a_square_wave() -> None:
    """±0.7 V, 1 pA white: the notes' precision, G to 0.016 % and the potential to 0.11 mV per sample-second count."""
    rng = np.random.default_rng(4)
    inside_g = inside_v = 0
    n = 1000
    for _ in range(n):
        bias = np.repeat([0.7, -0.7, 0.65], 60)
        current = (bias - 0.012) / 210e6 + 1e-12 * rng.standard_normal(bias.size)
        level, mean, u = level_means(bias, current, 10)
        assert level.tolist() == pytest.approx([0.7, -0.7, 0.65])
        fit = conductance_fit(level, mean, u)
        assert fit is not None
        g, u_g, v0, u_v0 = fit
        inside_g += abs(g - 1 / 210e6) < 1.96 * u_g
        inside_v += abs(v0 - 0.012) < 1.96 * u_v0
    # u of a mean of fifty is itself known to a tenth: 94 % is what a normal quantile then covers.
    assert 0.92 <= inside_g / n <= 0.97
    assert 0.92 <= inside_v / n <= 0.97


def test_modulation_equals_polyfit_and_names_what_is_missing() -> None:
    level, mean = np.array([-0.1, 0.0, 0.2]), np.array([-0.5e-9, 0.02e-9, 1.1e-9])
    fit = conductance_fit(level, mean, np.full(3, 1e-12))
    slope, intercept = np.polyfit(level, mean, 1)
    assert fit is not None
    assert fit[0] == pytest.approx(slope, rel=1e-12)
    assert fit[2] == pytest.approx(-intercept / slope, rel=1e-12)
    assert conductance_fit(level[:1], mean[:1], np.ones(1)) is None
    empty = np.zeros(0)
    assert (
        modulation_results(ConductanceSeries(empty, empty, empty, empty, empty), [0.6, 0.7], 3)[0].outcome
        == "no levels"
    )


def test_a_calibration_of_three_pipettes() -> None:
    """I = k c_lm V, c_lm the log-mean of 1 M inside and c outside: the law of an ideal solution, nearly a line."""
    rng = np.random.default_rng(5)
    c = np.tile(np.array([500.0, 750.0, 999.0, 1250.0, 1500.0]), 3)
    pipette = np.repeat(np.arange(3), 5)
    log_mean = (1000.0 - c) / np.log(1000.0 / c)
    current = 5e-12 * log_mean * (1.0 + 0.05 * (pipette - 1)) + 2e-12 * rng.standard_normal(15)
    found = by_name(calibration_results(c, current, pipette))
    straight = np.polyfit(c[:5], 5e-12 * log_mean[:5], 1)[0]
    slope = found["calibration_slope"]
    assert slope.value == pytest.approx(1e12 * straight, rel=0.03)
    assert "R² 0.99" in slope.method
    assert found["calibration_curvature_over_u"].value is not None
    assert found["calibration_curvature_over_u"].value < -3.0
    middle = found["concentration_in_the_middle"]
    assert middle.u is not None
    assert middle.value == pytest.approx(1000.0, abs=1.0)
    # Pipettes made alike differ by 5 %: that alone is a tenth of the concentration at a sensitivity of one half, and
    # three of them know the spread to two degrees of freedom (2.2 times as much at 95 %).
    assert 150.0 < middle.u < 350.0
    flat = calibration_results(c, np.full(15, 3e-9) + 1e-12 * rng.standard_normal(15), pipette)
    assert by_name(flat)["concentration_in_the_middle"].outcome == "not identifiable"
    assert calibration_results(c[:1], current[:1], pipette[:1])[0].outcome == "too few concentrations"


def test_a_rectifier_s_numbers_scatter_by_their_u() -> None:
    """Resistance, offset, rectification and current of a bent curve: unbiased, and as uncertain as they say."""
    v = np.concatenate([np.linspace(-0.7, 0.7, 1500), np.linspace(0.7, -0.7, 1500)])
    bent = (v / 100e6) * (1.0 + 0.04 * v / 0.7 / 2.0) + 5e-12
    random = np.random.default_rng(8)
    found = [by_name(iv_results(v, bent + 1e-12 * random.standard_normal(v.size), 0.5)) for _ in range(150)]
    for name, truth in (
        ("pipette_resistance", 100.0),
        ("current_offset", 5.0),
        ("current_at_bias", 1e9 * (5e-9 * (1 + 0.01 / 0.7) + 5e-12)),
    ):
        values = np.array([one[name].value for one in found])
        u = float(np.median([one[name].u for one in found]))
        assert 0.8 < values.std() / u < 1.25, name
        assert abs(values.mean() - truth) < 0.5 * u, name
    ratio = np.array([one["rectification"].value for one in found])
    assert 0.7 < ratio.std() / np.median([one["rectification"].u for one in found]) < 1.4
