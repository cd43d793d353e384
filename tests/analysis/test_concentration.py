"""Concentration: NIST's certified line, bands that cover, blindness flagged, steps split, profiles and their reach."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erfc
from scipy.stats import linregress

from opsicm.analysis.cell.steps import step_responses
from opsicm.analysis.pipette.calibration import calibrate, concentration
from opsicm.analysis.pipette.towers import gradient_extent, profile, profile_at
from opsicm.core.errors import OutsideDomain

F64 = NDArray[np.float64]
# NIST StRD, data set Norris (y, x): calibration of ozone monitors; certified values below.
NORRIS = """0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6
778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6 557.7 556.0 228.3
228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1 888.0 887.2 998.5 999.0 778.9 779.0
10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5"""


def test_the_line_equals_nist_s_certified_values() -> None:
    table = np.array(NORRIS.split(), dtype=np.float64).reshape(-1, 2)
    line = calibrate(table[:, 1], table[:, 0])
    assert line.coefficients == pytest.approx([-0.262323073774029, 1.00211681802045], rel=1e-11)
    u = np.sqrt(np.diag(line.covariance))
    assert u == pytest.approx([0.232818234301152, 0.429796848199937e-3], rel=1e-11)
    assert line.sigma == pytest.approx(0.884796396144373, rel=1e-11)
    assert line.r_squared == pytest.approx(0.999993745883712, rel=1e-12)
    peer = linregress(table[:, 1], table[:, 0])
    assert line.u_fit(np.array([0.0]))[0] == pytest.approx(peer.intercept_stderr, rel=1e-10)


def test_band_and_inverted_concentrations_cover() -> None:
    """1000 calibrations of seven points: 95 % bands of the mean cover 93 to 97 %, and so does the concentration."""
    rng = np.random.default_rng(1)
    c = np.array([300.0, 400, 500, 700, 900, 1100, 1300])
    truth = 1e-9 + 2e-12 * c
    band, back = [], []
    for _ in range(1000):
        fit = calibrate(c, truth + 2e-11 * rng.standard_normal(7))
        band.append(abs(fit.at(np.array(650.0)) - (1e-9 + 2e-12 * 650)) <= fit.band(np.array([650.0]))[0])
        reading = 1e-9 + 2e-12 * 650 + 2e-11 * rng.standard_normal()
        found = concentration(fit, reading, 2e-11)
        assert found.value is not None
        assert found.u is not None
        back.append(abs(found.value - 650.0) <= 1.96 * found.u)
    assert 0.93 <= float(np.mean(band)) <= 0.97
    # The band's share of u has five degrees of freedom, the reading's is known: nearly normal.
    assert 0.93 <= float(np.mean(back)) <= 0.97


def test_three_pipettes_share_a_shape() -> None:
    rng = np.random.default_rng(2)
    c = np.tile([300.0, 500, 700, 900, 1100], 3)
    which = np.repeat(np.arange(3), 5)
    size = np.array([0.9, 1.0, 1.1])
    current = size[which] * (1e-9 + 2e-12 * c) * (1 + 1e-3 * rng.standard_normal(15))
    fit = calibrate(c, current, pipette=which)
    np.testing.assert_allclose(fit.factors, size, rtol=3e-3)
    assert fit.u_common == pytest.approx(0.1, rel=0.05)
    assert fit.coefficients == pytest.approx([1e-9, 2e-12], rel=0.02)
    assert fit.freedom == 11


def test_a_maximum_of_the_conductivity_is_flagged() -> None:
    c = np.linspace(500, 1500, 11)
    current = 3e-9 - 1e-15 * (c - 1000.0) ** 2 + 1e-13 * np.random.default_rng(3).standard_normal(11)
    curve = calibrate(c, current, 2)
    near = concentration(curve, float(curve.at(np.array(1010.0))))
    assert not near.identifiable
    assert near.value is None
    assert "concentrations" in near.reason
    line = calibrate(c, current)
    assert "hardly depends" in concentration(line, float(line.at(np.array(1000.0)))).reason
    with pytest.raises(OutsideDomain, match="different"):
        calibrate(np.full(5, 1000.0), current[:5])


def stepped(ohmic: float, diffusive: float, noise: float, seed: int) -> tuple[F64, F64, F64]:
    """Rest 100 s, 0.4 mA lithiation 120 s, rest 300 s, rows of 0.2 s; the salt relaxes as it came."""
    t: F64 = 0.1 + 0.2 * np.arange(2600.0)
    cell: F64 = np.where((t > 100) & (t < 220), -4e-4, 0.0)
    current: F64 = 3e-9 + np.where(cell < 0, ohmic, 0.0)
    current = current + diffusive * np.sqrt(np.maximum(t - 100, 0)) - diffusive * np.sqrt(np.maximum(t - 220, 0))
    return t, current + noise * np.random.default_rng(seed).standard_normal(t.size), cell


def test_a_step_is_split_and_its_interval_covers() -> None:
    inside, first = [], None
    for seed in range(200):
        starts, ends = step_responses(*stepped(0.35e-9, -2e-12, 2e-12, seed))
        first = first or (starts, ends)
        inside.append(abs(starts.diffusive + 2e-12) <= 1.96 * starts.u_diffusive)
        assert starts.ohmic == pytest.approx(0.35e-9, abs=4 * starts.u_ohmic)
    assert first is not None
    starts, ends = first
    assert starts.starts
    assert not ends.starts
    assert starts.cell_step == pytest.approx(-4e-4)
    assert ends.ohmic == pytest.approx(-0.35e-9, abs=2e-12)
    assert starts.end_change == pytest.approx(-2e-12 * 120**0.5, rel=0.05)
    assert starts.share_ohmic == pytest.approx(0.35 / (0.35 - 0.0219), rel=0.01)
    # 200 draws know 95 % to 1.5 %.
    assert 0.91 <= float(np.mean(inside)) <= 0.99
    t, current, _ = stepped(0.0, 0.0, 1e-12, 1)
    assert step_responses(t, current, np.zeros(t.size)) == []


def test_a_profile_and_its_reach() -> None:
    rng = np.random.default_rng(4)
    z = rng.uniform(0.1e-3, 2.6e-3, 4000)
    current = 3e-9 - 40e-12 * np.exp(-z / 0.4e-3) + 2e-12 * rng.standard_normal(z.size)
    found = profile(z, current, np.linspace(0, 2.6e-3, 53))
    assert int(found.number.sum()) == 4000
    assert found.number[0] == 0
    reach = gradient_extent(found)
    assert reach.ok, reach.reason
    assert reach.length == pytest.approx(0.4e-3, abs=4 * reach.u)
    assert reach.u < 0.03e-3
    flat = gradient_extent(profile(z, 3e-9 + 2e-12 * rng.standard_normal(z.size), np.linspace(0, 2.6e-3, 53)))
    assert not flat.ok
    later = profile_at(np.linspace(0, 10, 4000), z, current, 5.0, 1.0, np.linspace(0, 2.6e-3, 27))
    assert int(later.number.sum()) == 800
    straight = gradient_extent(
        profile(z, 3e-9 - 1e-7 * z + 2e-12 * rng.standard_normal(z.size), np.linspace(0, 2.6e-3, 53))
    )
    assert not straight.ok
    assert "beyond the heights measured" in straight.reason
    assert not gradient_extent(profile(z[:5], current[:5], np.linspace(0, 2.6e-3, 53))).ok


def test_the_reach_of_a_diffusion_layer_is_what_the_docstring_says() -> None:
    """erfc(z/2 sqrt(Dt)): constant-concentration layer, from scipy.special; the fitted length over sqrt(D t)."""
    z = np.linspace(1e-6, 3e-3, 3000)
    current = 3e-9 - 40e-12 * erfc(z / (2 * 0.4e-3)) + 1e-13 * np.random.default_rng(5).standard_normal(3000)
    reach = gradient_extent(profile(z, current, np.linspace(0, 3e-3, 61)))
    assert reach.length / 0.4e-3 == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize(("pipettes", "noise"), [(1, 2e-11), (3, 5e-12), (5, 5e-12), (10, 2e-11)])
def test_a_calibration_covers_another_pipette_made_alike(pipettes: int, noise: float) -> None:
    """Pipettes that differ by 3 %: the next one's concentration, and the line of all of them, 95 times of 100."""
    random = np.random.default_rng(pipettes)
    baths = np.array([500.0, 700.0, 900.0, 1100.0, 1300.0, 1500.0])
    spread = 0.03 if pipettes > 1 else 0.0
    number, c = np.repeat(np.arange(pipettes), baths.size), np.tile(baths, pipettes)
    inside, band = [], []
    for _ in range(400):
        sizes = 1.0 + spread * random.standard_normal(pipettes)
        current = sizes[number] * (0.2e-9 + 0.8e-12 * c) + noise * random.standard_normal(c.size)
        line = calibrate(c, current, 1, number if pipettes > 1 else None)
        one = (1.0 + spread * random.standard_normal()) * 1e-9 + noise * random.standard_normal()
        found = concentration(line, one, noise)
        assert found.value is not None
        assert found.u is not None
        inside.append(abs(found.value - 1000.0) < 1.96 * found.u)
        band.append(abs(float(line.at(np.array(1000.0))) - 1e-9) < line.band(np.array(1000.0))[0])
    assert 0.915 < np.mean(inside) < 0.985
    assert 0.915 < np.mean(band) < 0.985
