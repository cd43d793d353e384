"""Measured approach curves: finite-element template against hyperbola, with the same number of free parameters.

    python -m scripts.realdata_approach [FOLDER]        (or OPSICM_DATA; default ../shared/data beside the repository)

FOLDER holds approach_curves/*.ac: z [µm], R [MOhm], I [pA], decimal comma, latin-1 (RUBION, Matlab-SICM, GPL-3: the
curves are not part of this repository). Fails without them. Writes docs/realdata/approach_curves.{csv,png}.

Both models are I = I_far s(z - z0): the hyperbola with its constant C free, the template (b/a 1.5, 3°, 20 µm) with its
radius a free; three parameters each. sigma comes from the far half of each curve about its own straight line. A curve
is used from its start down to the last point before the current first falls below 97 %: beyond, single points scatter
by tens of percent (the tip touches). The mean is taken over curves aligned at that same point.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from opsicm.figures.draw import draw, png
from opsicm.figures.view import Axis, CurvePanel, Series, View
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve

F64 = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
LOWEST = 0.97
Shape = Callable[[F64, float], F64]


@dataclass(frozen=True)
class Fit:
    """chi² over its degrees of freedom, and the three parameters: I_far [pA], z0 [nm], shape [nm]."""

    chi2: float
    freedom: int
    far: float
    z0: float
    shape: float
    model: F64


def read(path: Path) -> tuple[F64, F64]:
    """z [nm] falling and I [pA] of one curve."""
    lines = path.read_text(encoding="latin-1").replace(",", ".").splitlines()[1:]
    rows = np.array([[float(x) for x in line.split()] for line in lines if len(line.split()) == 3])
    return rows[:, 0] * 1e3, rows[:, 2]


def hyperbola(d: F64, C: float) -> F64:
    """d / (d + C), both in nm."""
    return np.asarray(d / (d + C))


def template(d: F64, a: float) -> F64:
    """The finite-element curve of a pipette with inner radius `a` [nm] at `d` [nm]."""
    return approach_curve(Pipette(radius=a * 1e-9)).relative_current(d * 1e-9)


def fit(z: F64, current: F64, sigma: F64, shape: Shape, starts: tuple[float, ...]) -> Fit:
    """The best of several starts; z0 stays below the nearest point used."""
    nearest = float(z.min())

    def parts(p: F64) -> F64:
        return np.asarray(p[0] * shape(z - nearest + np.exp(p[1]), float(np.exp(p[2]))))

    def misfit(p: F64) -> F64:
        return np.asarray((parts(p) - current) / sigma)

    best = None
    for start in starts:
        for gap in (5.0, 20.0, 60.0):
            first = np.array([current[: z.size // 2].mean(), np.log(gap), np.log(start)])
            low = [0.5 * first[0], np.log(0.2), np.log(starts[0] / 30.0)]
            high = [1.5 * first[0], np.log(800.0), np.log(starts[-1] * 30.0)]
            found = least_squares(misfit, first, bounds=(low, high), x_scale="jac")
            if best is None or found.cost < best.cost:
                best = found
    assert best is not None
    p = best.x
    return Fit(2.0 * best.cost, z.size - 3, p[0], nearest - np.exp(p[1]), np.exp(p[2]), parts(p))


def prepare(path: Path) -> tuple[F64, F64, float]:
    """z, I of the used part, and sigma from the far half about a straight line."""
    z, current = read(path)
    far = slice(0, z.size // 2)
    residual = current[far] - np.polyval(np.polyfit(z[far], current[far], 1), z[far])
    below = np.flatnonzero(current < LOWEST * current[far].mean())
    stop = int(below[0]) if below.size else z.size
    return z[:stop], current[:stop], float(residual.std(ddof=2))


def main() -> int:
    """Fit every curve and their mean; print, write the table and the figure."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPSICM_DATA", ROOT.parent / "shared" / "data"))
    paths = sorted((folder / "approach_curves").glob("*.ac"), key=lambda p: int(p.stem.split("_")[-1]))
    if not paths:
        sys.stderr.write(f"no approach_curves/*.ac below {folder}; give the data folder or set OPSICM_DATA\n")
        return 2
    rows: list[list[Any]] = []
    tails = []
    for path in paths:
        z, current, sigma = prepare(path)
        weights = np.full(z.size, sigma)
        quick = fit(z, current, weights, hyperbola, (0.3, 1.0, 3.0))
        fem = fit(z, current, weights, template, (30.0, 60.0, 120.0))
        rows.append([path.stem, z.size, sigma, quick.chi2, fem.chi2, quick.shape, fem.shape, quick.z0 - fem.z0])
        tails.append(current[-150:] / current[: z.size // 2].mean())
    stack = np.array([tail for tail in tails if tail.size == 150])
    mean, sigma_mean = stack.mean(axis=0), np.sqrt(stack[:, :75].var(axis=0, ddof=1).mean() / len(stack))
    z = 10.0 * np.arange(149, -1, -1.0)
    weights = np.full(150, sigma_mean)
    quick = fit(z, mean, weights, hyperbola, (0.3, 1.0, 3.0))
    fem = fit(z, mean, weights, template, (30.0, 60.0, 120.0))
    rows.append(
        [f"mean of {len(stack)}", 150, sigma_mean, quick.chi2, fem.chi2, quick.shape, fem.shape, quick.z0 - fem.z0]
    )
    target = ROOT / "docs" / "realdata"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "approach_curves.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                "curve",
                "points",
                "sigma_pA_or_relative",
                "chi2_hyperbola",
                "chi2_fem",
                "C_nm",
                "a_nm",
                "z0_difference_nm",
            ]
        )
        writer.writerows([[row[0], row[1], *(f"{value:.5g}" for value in row[2:])] for row in rows])
    (target / "approach_curves.png").write_bytes(png(draw(view(z, mean, quick, fem, sigma_mean))))
    each = np.array([row[3:5] for row in rows[:-1]], dtype=float)
    freedom = sum(int(row[1]) - 3 for row in rows[:-1])
    sys.stdout.write(
        f"{len(each)} curves, {freedom} degrees of freedom: chi2/N hyperbola {each[:, 0].sum() / freedom:.3f}, "
        f"template {each[:, 1].sum() / freedom:.3f}; sum of differences {np.subtract(*each.sum(axis=0)):.1f}; "
        f"template better on {int(np.sum(each[:, 1] < each[:, 0]))}\n"
        f"mean of {len(stack)}: chi2/N hyperbola {quick.chi2 / quick.freedom:.2f}, "
        f"template {fem.chi2 / fem.freedom:.2f}; "
        f"C {quick.shape:.2f} nm, a {fem.shape:.0f} nm; z0 apart by {quick.z0 - fem.z0:.1f} nm\n"
    )
    return 0 if fem.chi2 < quick.chi2 and each[:, 1].sum() < each[:, 0].sum() else 1


def view(z: F64, mean: F64, quick: Fit, fem: Fit, sigma: float) -> View:
    """The mean curve with both models, and what each leaves over."""
    distance = Axis("height above the last point used", "nm")
    data = Series("mean of the curves", z, 100.0 * mean, "pipette", "points")
    return View(
        name="realdata_approach",
        title="Measured approach curves: template against hyperbola, three free parameters each",
        panels=(
            CurvePanel(
                distance,
                Axis("I over I far away", "%"),
                (
                    data,
                    Series("finite elements", z, 100.0 * fem.model, "height"),
                    Series("hyperbola", z, 100.0 * quick.model, "model", "dashed"),
                ),
            ),
            CurvePanel(
                distance,
                Axis("mean less model", "standard deviations"),
                (
                    Series(
                        f"finite elements, chi²/N {fem.chi2 / fem.freedom:.2f}", z, (mean - fem.model) / sigma, "height"
                    ),
                    Series(
                        f"hyperbola, chi²/N {quick.chi2 / quick.freedom:.2f}", z, (mean - quick.model) / sigma, "model"
                    ),
                ),
            ),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
