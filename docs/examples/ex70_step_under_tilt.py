"""A 10.000 nm step on a tilted surface: joint fit of tilt and step, beside naive levelling.

Run with: python docs/examples/ex70_step_under_tilt.py
"""

from __future__ import annotations

import numpy as np

from opsicm.analysis.topography.levelling import plane
from opsicm.analysis.topography.steps import find_terraces, fit_terraces

rng = np.random.default_rng(70)
row, column = np.mgrid[0:128, 0:128].astype(float)
heights = 0.31 * row - 0.17 * column + 10.0 * (column >= 64) + rng.standard_normal((128, 128))

levelled = plane(heights).heights
naive = float(levelled[:, 64:].mean() - levelled[:, :64].mean())
fit = fit_terraces(heights, find_terraces(heights))
print(f"naive levelling   computed {naive:.2f} nm, expected 2.50 nm: the plane takes three quarters of the step")
print(f"joint fit         computed {abs(fit.height):.3f} ± {fit.u_height:.3f} nm, expected 10.000 nm")
assert abs(abs(fit.height) - 10.0) < 3 * fit.u_height
