"""The reference for liquid that runs off a disk: axisymmetric thin-layer Boussinesq flow in a vessel.

    python oracles/run_off_reference.py tests/physics/data/run_off_reference.npz

The specimen is the disk r < a of the floor of a cylinder of radius R and depth H. Delithiation enriches the liquid over
it, which is heavier and slides outwards below a return flow. With u along r, w along z:
    μ ∂²u/∂z² = B(r) + g (dρ/dc) ∫_z^H ∂c/∂r dz',   u = 0 at z = 0 and H,   ∫ u dz = 0
    ∂c/∂t + u ∂c/∂r + w ∂c/∂z = D ∇²c,   −D ∂c/∂z = N for r < a at the floor, N a²/R² at the lid, 0 elsewhere
which is creeping flow with a hydrostatic pressure: right where the layer is thin against a (here δ/a ≈ 0.06), not within δ
of the edge, and not in the slow return flow of the deep bath. D, viscosity and density slope are constant.
Finite volumes in r and z; advection by a van Leer limited upwind flux and diffusion along r explicit, diffusion along z
implicit. The salt is conserved to round-off, which the run prints.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numba
import numpy as np

from opsicm.core.constants import FARADAY, STANDARD_GRAVITY
from opsicm.experiment.parameter_file import parameter_set

A, R = 3.99e-3, 24e-3


def sliding(z, widths, depth, strength):
    """The matrix from ∂c/∂r to u, both at the centres of one column, for `strength` = g (dρ/dc)/μ."""
    n = z.size
    second = np.zeros((n, n))
    at = np.concatenate([[0.0], z, [depth]])  # no slip at both ends
    for k in range(n):
        below, above = at[k + 1] - at[k], at[k + 2] - at[k + 1]
        scale = 2.0 / (below + above)
        second[k, k] = -scale * (1 / below + 1 / above)
        if k > 0:
            second[k, k - 1] = scale / below
        if k < n - 1:
            second[k, k + 1] = scale / above
    weight = np.triu(np.tile(widths, (n, 1)), 1) + np.diag(0.5 * widths)
    inverse = np.linalg.inv(second)
    free = inverse @ weight * strength
    even = inverse @ np.ones(n)
    return free - np.outer(even, widths @ free) / (widths @ even)


@numba.njit(cache=False)
def advect(c, u, w, faces, ring, dr, widths, dt):
    """One explicit conservative step: u [nr + 1, nz] at r faces, w [nr, nz + 1] at z faces; `ring` = (r₊² − r₋²)/2."""
    nr, nz = c.shape
    out = c.copy()
    for i in range(1, nr):
        for j in range(nz):
            v = u[i, j]
            if v > 0:
                up, upup, down = c[i - 1, j], c[max(i - 2, 0), j], c[i, j]
            else:
                up, upup, down = c[i, j], c[min(i + 1, nr - 1), j], c[i - 1, j]
            r, d = up - upup, down - up
            limited = 2 * r * d / (r + d) if r * d > 0 else 0.0
            flux = faces[i] * v * (up + 0.5 * (1 - abs(v) * dt / dr) * limited)
            out[i - 1, j] -= dt * flux / ring[i - 1]
            out[i, j] += dt * flux / ring[i]
    for i in range(nr):
        for j in range(1, nz):
            v = w[i, j]
            if v > 0:
                up, upup, down, h = c[i, j - 1], c[i, max(j - 2, 0)], c[i, j], widths[j - 1]
            else:
                up, upup, down, h = c[i, j], c[i, min(j + 1, nz - 1)], c[i, j - 1], widths[j]
            r, d = up - upup, down - up
            limited = 2 * r * d / (r + d) if r * d > 0 else 0.0
            flux = v * (up + 0.5 * (1 - abs(v) * dt / h) * limited)
            out[i, j - 1] -= dt / widths[j - 1] * flux
            out[i, j] += dt / widths[j] * flux
    return out


def run(p, density, seconds, *, radius=R, cells_per_disk=14, nz=50, safety=0.08):
    """Enrichment over the centre, its mean over the disk [mol/m³] against time at `density` [A/m²]; z, last c(z, 0)."""
    e = p.electrolyte
    D, H = float(e.diffusivity(e.concentration)), p.bath_depth
    dr = A / cells_per_disk
    nr = round(radius / dr)
    faces = dr * np.arange(nr + 1)
    ring = 0.5 * np.diff(faces**2)
    z_faces = H * np.linspace(0.0, 1.0, nz + 1) ** 1.6  # crowded at the floor
    widths, z = np.diff(z_faces), 0.5 * (z_faces[1:] + z_faces[:-1])
    matrix = sliding(z, widths, H, STANDARD_GRAVITY * p.density_slope / p.viscosity)
    N = (1 - e.transference) * density / FARADAY
    over = np.arange(nr) < cells_per_disk
    sink = N * ring[over].sum() / ring.sum()
    g = 1 / np.diff(z)
    lap = np.zeros((nz, nz))
    j = np.arange(nz - 1)
    lap[j, j] -= g / widths[:-1]
    lap[j, j + 1] += g / widths[:-1]
    lap[j + 1, j + 1] -= g / widths[1:]
    lap[j + 1, j] += g / widths[1:]
    c = np.zeros((nr, nz))  # less the salt at rest
    now, rows, solved_dt, implicit = 0.0, [], -1.0, None
    while now < seconds:
        slope = np.diff(c, axis=0) / dr
        u = np.zeros((nr + 1, nz))
        u[1:-1] = slope @ matrix.T
        w = np.zeros((nr, nz + 1))
        outflow = np.diff(faces[:, None] * u, axis=0) / ring[:, None]
        w[:, 1:] = -np.cumsum(outflow * widths, axis=1)
        w[:, -1] = 0.0
        fastest = max(np.abs(u).max() / dr, (np.abs(w[:, 1:-1]) / np.minimum(widths[1:], widths[:-1])).max(), 1e-9)
        # A layer that slides under its own weight spreads like heat, at g′h³/3ν: explicit, so dr² over it bounds dt.
        contrast = max(c.max(), 1e-6)
        column = np.maximum((c * widths).sum(axis=1).max(), 0.0) / contrast
        own = STANDARD_GRAVITY * p.density_slope * contrast / p.viscosity * column**3 / 3
        wanted = min(1.0, 0.4 / fastest, safety * dr * dr / max(own, 1e-12))
        dt = 2.0 ** np.floor(np.log2(wanted))
        c = advect(c, u, w, faces, ring, dr, widths, dt)
        across = np.zeros((nr + 1, nz))
        across[1:-1] = faces[1:-1, None] * D * slope
        c += dt * np.diff(across, axis=0) / ring[:, None]
        c[over, 0] += dt * N / widths[0]
        c[:, -1] -= dt * sink / widths[-1]
        if dt != solved_dt:
            implicit, solved_dt = np.linalg.inv(np.eye(nz) - dt * D * lap), dt
        c = c @ implicit.T
        now += dt
        if not rows or now - rows[-1][0] >= 10.0:
            surface = c[:, 0] + 0.5 * widths[0] * np.where(over, N, 0.0) / D
            mean = (surface * ring)[over].sum() / ring[over].sum()
            rows.append((now, surface[0], mean, np.abs(u).max(), dt))
    print("  salt lost:", (ring @ (c @ widths)) / (N * ring[over].sum() * seconds))
    return np.array(rows), z, c[0]


def main(target: Path) -> None:
    p = parameter_set().with_leaves({"diffusivity_slope": 0.0}).values
    out, note = {}, {}
    for name, milliamps, seconds, radius in (
        ("0.1", 0.1, 5400, R), ("0.2", 0.2, 5400, R), ("0.4", 0.4, 5400, R), ("0.8", 0.8, 3600, R),
        ("1.2", 1.2, 2400, R), ("0.4_in_6_mm", 0.4, 3600, 6e-3),
        ("0.4_in_12_mm", 0.4, 3600, 12e-3), ("0.4_walled", 0.4, 1200, A),
    ):  # fmt: skip
        begin = time.perf_counter()
        rows, z, profile = run(p, 10 * milliamps, seconds, radius=radius)
        key = f"mA_cm2_{name}"
        out[key + "_time_s"], out[key + "_centre"], out[key + "_mean"], out[key + "_speed"] = rows.T[:4]
        out[key + "_z_m"], out[key + "_profile"] = z, profile
        note[name] = {"centre": rows[-1, 1], "mean": rows[-1, 2], "wall_s": time.perf_counter() - begin}
        print(name, note[name], flush=True)
    provenance = {"made_by": "oracles/run_off_reference.py", "disk_m": A, "open_m": R, "runs": note}
    out["provenance"] = np.frombuffer(json.dumps(provenance, indent=1).encode(), dtype=np.uint8)
    np.savez_compressed(target, **out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
