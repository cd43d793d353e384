"""Template fits: equal to scipy's curve_fit, at the Cramér-Rao bound, intervals that cover, a shared shape found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from opsicm.analysis.approach.template import Template, hyperbola_template, tabulate
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import fit_approaches, fit_approaches_with_scale
from opsicm.core.errors import OutsideDomain
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from tests.fixtures.analytic_hops import C
from tests.fixtures.foreign_data import DATA
from tests.fixtures.raw_samples import digitised

F64 = NDArray[np.float64]
BULK, NOISE, Z0 = 3e-9, 3e-12, 12.3e-9


def simulated(hops: int, template: Template, seed: int, n: int = 1500) -> tuple[RawSamples, Approaches]:
    """Approaches of n samples from 600 to 30 nm above z0, white noise of 0.1 %."""
    rng = np.random.default_rng(seed)
    z = np.tile(Z0 + np.linspace(600e-9, 30e-9, n), hops)
    current = BULK * template.relative_current(z - Z0) + NOISE * rng.standard_normal(z.size)
    begin = n * np.arange(hops, dtype=np.int64)
    return digitised(current, z), Approaches(begin, begin + n, np.full(hops, BULK), np.full(hops, 0.022))


def test_the_template_is_its_curve() -> None:
    fem = approach_curve(Pipette())
    template = tabulate(fem.relative_current, "finite elements")
    d = np.geomspace(8e-9, 2.4e-6, 999)
    # The drop at 8 nm is 9 %; Hermite pieces of 1 nm miss it by less than 1e-5.
    np.testing.assert_allclose(template.relative_current(d), fem.relative_current(d), rtol=0, atol=1e-5)
    np.testing.assert_allclose(hyperbola_template(C).relative_current(d), d / (d + C), rtol=0, atol=1e-6)
    with pytest.raises(OutsideDomain, match="rise with distance"):
        tabulate(np.ones_like, "flat")


@pytest.mark.parametrize("near", [None, 400e-9])
def test_equal_to_curve_fit_within_a_hundredth_of_a_nanometre(near: float | None) -> None:
    fem = approach_curve(Pipette())
    template = tabulate(fem.relative_current, "finite elements")
    samples, approaches = simulated(6, template, 1)
    fit = fit_approaches(samples, approaches, template, near)
    assert fit.ok.all()
    for h in range(6):
        rows = samples.counts[approaches.begin[h] : approaches.end[h]]
        i, z = samples.si_current(rows[:, 0].astype(np.int64)), samples.si_height(rows[:, 1])
        if near is not None:
            keep = z <= z[-1] + near
            i, z = i[keep], z[keep]

        # The peer has the model itself, not our table of it.
        def model(x: F64, bulk: float, z0: float) -> F64:
            return np.asarray(bulk * fem.relative_current((x - z0) * 1e-9))

        found, covariance = curve_fit(model, z * 1e9, i * 1e9, p0=(2.9, 0.0))
        assert fit.z0[h] * 1e9 == pytest.approx(found[1], abs=0.01)
        assert fit.u_z0[h] * 1e9 == pytest.approx(covariance[1, 1] ** 0.5, rel=0.01)
        assert fit.bulk[h] * 1e9 == pytest.approx(found[0], rel=1e-6)


def test_at_the_cramer_rao_bound_and_intervals_cover() -> None:
    """1000 falls: the scatter of z0 is within 10 % of the bound, and 95 % intervals cover 93 to 97 %."""
    template = hyperbola_template(C)
    hops, n = 1000, 1500
    samples, approaches = simulated(hops, template, 2, n)
    fit = fit_approaches(samples, approaches, template)
    d = np.linspace(600e-9, 30e-9, n)
    by_bulk, by_z0 = d / (d + C), -BULK * C / (d + C) ** 2
    information = np.array([[by_bulk @ by_bulk, by_bulk @ by_z0], [by_bulk @ by_z0, by_z0 @ by_z0]]) / NOISE**2
    bound = float(np.linalg.inv(information)[1, 1] ** 0.5)
    assert fit.ok.all()
    assert float(np.std(fit.z0)) == pytest.approx(bound, rel=0.10)
    assert abs(float(np.mean(fit.z0)) - Z0) < 4 * bound / hops**0.5
    assert np.median(fit.u_z0) == pytest.approx(bound, rel=0.05)
    assert 0.93 <= float(np.mean(np.abs(fit.z0 - Z0) <= 1.96 * fit.u_z0)) <= 0.97
    assert (fit.rating == 2).mean() > 0.99


def test_a_shared_shape_is_found_jointly() -> None:
    template = hyperbola_template(1.25 * C)
    samples, approaches = simulated(40, template, 3)
    fit = fit_approaches_with_scale(samples, approaches, hyperbola_template(C))
    # A hyperbola with 1.25 C is one stretched by 1.25.
    assert fit.scale == pytest.approx(1.25, abs=4 * fit.u_scale)
    assert 0.0 < fit.u_scale < 0.05
    assert float(np.mean(fit.z0)) == pytest.approx(Z0, abs=2e-9)


def test_a_flat_approach_is_flagged() -> None:
    rng = np.random.default_rng(4)
    z = np.linspace(600e-9, 30e-9, 1500)
    current = np.concatenate((BULK * z / (z + C), BULK + NOISE * rng.standard_normal(1500)))
    samples = digitised(current, np.tile(z, 2))
    begin = np.array([0, 1500], dtype=np.int64)
    fit = fit_approaches(
        samples, Approaches(begin, begin + 1500, np.full(2, BULK), np.full(2, 0.022)), hyperbola_template(C)
    )
    assert fit.rating[0] >= 1
    assert fit.rating[1] == 0 or fit.u_z0[1] > 10e-9


@pytest.mark.skipif(not (DATA / "approach_curves").is_dir(), reason="not at hand: set OPSICM_DATA")
def test_measured_approaches_prefer_the_finite_elements() -> None:
    """Real curves, 106 MOhm: with one shape for all, the finite elements leave less than the hyperbola does.

    Recovered points (vibration) are left in for both alike.
    """
    z, current, begin, end = [], [], [], []
    n = 0
    for k in (1, 2, 3, 5, 8, 10, 11, 12, 13, 15, 16, 17):
        text = (DATA / "approach_curves" / f"scan01_07_{k}.ac").read_text("latin-1").replace(",", ".").splitlines()[1:]
        rows = np.array([[float(x) for x in line.split()] for line in text if line.strip()])
        rows = rows[: int(np.argmax(rows[:, 1] > 1.02 * np.median(rows[:50, 1]))) or None]
        begin.append(n)
        n += rows.shape[0]
        end.append(n)
        z.append(rows[:, 0] * 1e-6)
        current.append(0.15 / (rows[:, 1] * 1e6))
    samples = digitised(np.concatenate(current), np.concatenate(z))
    bulk = np.array([float(np.median(i[:50])) for i in current])
    approaches = Approaches(np.array(begin), np.array(end), bulk, np.full(bulk.size, 0.01))
    fem = fit_approaches_with_scale(
        samples, approaches, tabulate(approach_curve(Pipette()).relative_current, "finite elements")
    )
    quick = fit_approaches_with_scale(samples, approaches, hyperbola_template(C))
    assert fem.ok.sum() >= 10
    assert float(np.median(0.15 / fem.bulk[fem.ok])) == pytest.approx(106e6, rel=0.01)
    both = fem.ok & quick.ok
    rest = [float(np.sum(f.sigma[both] ** 2 * (f.samples[both] - 2))) for f in (fem, quick)]
    assert rest[0] < rest[1] * 1.01
