"""A pulse of 120 s: which part of the pipette current comes at once, and which as the square root of time.

Run with: python docs/examples/ex71_ohmic_or_diffusive.py
"""

from __future__ import annotations

import numpy as np

from opsicm.analysis.cell.steps import step_responses

t = 0.1 + 0.2 * np.arange(2600.0)
cell = np.where((t > 100) & (t < 220), -4e-4, 0.0)
salt = -2e-12 * (np.sqrt(np.maximum(t - 100, 0.0)) - np.sqrt(np.maximum(t - 220, 0.0)))
noise = 2e-12 * np.random.default_rng(71).standard_normal(t.size)
pipette = 3e-9 + np.where(cell < 0.0, 0.35e-9, 0.0) + salt + noise

start, end = step_responses(t, pipette, cell)
print(f"at once           computed {1e12 * start.ohmic:.1f} ± {1e12 * start.u_ohmic:.1f} pA, expected 350 pA")
print(f"after 120 s       computed {1e12 * start.end_change:.1f} pA, expected -21.9 pA")
print(f"at the end        computed {1e12 * end.ohmic:.1f} ± {1e12 * end.u_ohmic:.1f} pA, expected -350 pA")
assert abs(start.ohmic - 350e-12) < 4 * start.u_ohmic
assert abs(end.ohmic + 350e-12) < 4 * end.u_ohmic
