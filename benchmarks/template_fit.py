"""Finite-element fit of every hop: against scipy's curve_fit on the same model and samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from benchmarks.raw_hops import SAMPLES, best
from benchmarks.row import BenchRow
from opsicm.analysis.approach.template import tabulate
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import fit_approaches
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve

_HOPS, _PEER_HOPS = 512, 12
F64 = NDArray[np.float64]


def row() -> list[BenchRow]:
    """Time per hop as a ratio, whole falls and z < 500 nm, and the largest difference of the two distances."""
    fem = approach_curve(Pipette())
    shape = tabulate(fem.relative_current, "finite elements")
    rng = np.random.default_rng(1)
    z = np.tile(np.linspace(2034e-9, 34e-9, SAMPLES), _HOPS)
    current = 3e-9 * shape.relative_current(z) + 2e-12 * rng.standard_normal(z.size)
    scales = 1e-13, 40e-12  # [A], [m] a count: ±3.3 nA and ±1.3 µm about 1 µm
    counts = np.column_stack((np.rint(current / scales[0]), np.rint((z - 1e-6) / scales[1]))).astype(np.int16)
    samples = RawSamples(counts, 0, 1, scales[0], 0.0, scales[1], 1e-6)
    begin = SAMPLES * np.arange(_HOPS, dtype=np.int64)
    approaches = Approaches(begin, begin + SAMPLES, np.full(_HOPS, 3e-9), np.full(_HOPS, 0.02))
    fit = fit_approaches(samples, approaches, shape)
    t_all = best(lambda: fit_approaches(samples, approaches, shape), 3) / _HOPS
    t_near = best(lambda: fit_approaches(samples, approaches, shape, 500e-9), 3) / _HOPS

    # The peer gets the model on the same table, compiled, in nm and nA, and a start at the truth's neighbourhood.
    def model(x: F64, bulk: float, z0: float) -> F64:
        return np.asarray(bulk * shape.relative_current((x - z0) * 1e-9))

    chosen = np.linspace(0, _HOPS - 1, _PEER_HOPS).astype(int)
    peer_z0 = np.empty(_PEER_HOPS)

    def peer() -> None:
        for k, h in enumerate(chosen):
            rows = samples.counts[begin[h] : begin[h] + SAMPLES]
            i, height = samples.si_current(rows[:, 0].astype(np.int64)), samples.si_height(rows[:, 1])
            peer_z0[k] = curve_fit(model, height * 1e9, i * 1e9, (3.0, 1.0))[0][1]

    t_peer = best(peer, 3) / _PEER_HOPS
    difference = float(np.max(np.abs(peer_z0 - 1e9 * fit.z0[chosen])))
    # Fisher information of one fall by central differences of the model: shares nothing with the fit but the model.
    heights = samples.si_height(samples.counts[:SAMPLES, 1])
    by_z0 = 3e-9 * (shape.relative_current(heights - 1e-11) - shape.relative_current(heights + 1e-11)) / 2e-11
    by_bulk = shape.relative_current(heights)
    information = np.array([[by_bulk @ by_bulk, by_bulk @ by_z0], [by_bulk @ by_z0, by_z0 @ by_z0]]) / 2e-12**2
    bound = float(np.linalg.inv(information)[1, 1] ** 0.5)
    over_bound = float(np.std(fit.z0[fit.ok])) / bound
    bound_goal = "within 10 % of the Cramér–Rao bound"
    goal = "≥ 7× scipy.optimize.curve_fit on the same model and samples, ≥ 22× using z < 500 nm, equal within 0.01 nm"
    against = f"curve_fit {t_peer * 1e3:.2f} ms per hop"
    return [
        BenchRow(
            "template fit", t_peer / t_all, "times", against, f"{t_all * 1e6:.0f} µs here", goal, t_peer / t_all >= 7.0
        ),
        BenchRow(
            "template fit, z < 500 nm",
            t_peer / t_near,
            "times",
            against,
            f"{t_near * 1e6:.0f} µs here",
            goal,
            t_peer / t_near >= 22.0,
        ),
        BenchRow(
            "template fit over Cramér–Rao bound",
            over_bound,
            "times",
            f"bound {bound * 1e9:.4f} nm for one fall",
            f"{_HOPS} approaches: known to {100 / (2 * _HOPS) ** 0.5:.0f} %",
            bound_goal,
            abs(over_bound - 1.0) <= 0.1,
        ),
        BenchRow("template fit against curve_fit", difference, "nm", "curve_fit", "", goal, difference <= 0.01),
    ]
