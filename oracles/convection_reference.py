"""The reference for natural convection: 2-D Boussinesq flow between specimen and counter.

    python oracles/convection_reference.py tests/physics/data/convection_reference.npz

Equations, with ψ the stream function (u = ∂ψ/∂z, w = −∂ψ/∂x), z up:
    μ ∇⁴ψ = −g (dρ/dc) ∂c/∂x              creeping flow: the Schmidt number is 1e4
    ∂c/∂t + u·∇c = D ∇²c,   D ∂c/∂z = −(1 − t⁺) i/F at both electrodes
no slip at both electrodes, periodic in x. Fourier in x and second-order differences in z for the flow; finite volumes
for the salt, advection by a van Leer limited upwind flux (explicit), diffusion implicit. The specimen's flux carries a
fixed 1 % random variation over x: flakes are not alike, and a perfectly even layer would wait for round-off.
D is constant here (its value at rest), as are viscosity and density slope: Boussinesq.

How far to trust it, at 0.8 mA/cm² (plateau, onset): 35.6 mM, 175 s as run (4 mm, 128 × 90); 35.3, 170 with 224 × 140;
35.2 and 170 with 3 mm, 96 × 64; 33.6 and 175 with 2 mm; 35.5 and 165 with another seed; 35.3 and 175 with steps of
0.1 s. In three dimensions plumes are not sheets, which no 2-D run can tell.
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
from opsicm.physics.cell.grid import bath_faces


def flow_operators(z, faces, wavenumbers):
    """For each wavenumber the matrix from ĉ(z) at centres to ψ̂(z) at faces, for ∇⁴ψ̂ = ∇⁴ of unit buoyancy ik ĉ.

    Solved as ∇²ω = s, ∇²ψ = ω on faces, with no slip through Thom's wall formula ω₀ = 2ψ₁/h².
    """
    scale = 1e-4  # [m] lengths near 1: in metres the matrix is so ill-conditioned that walls leak and the run blows up
    z, faces, wavenumbers = z / scale, faces / scale, wavenumbers * scale
    n = faces.size  # unknown ψ and ω at faces
    h = np.diff(faces)
    lap = np.zeros((n, n))
    for j in range(1, n - 1):
        a, b = h[j - 1], h[j]
        lap[j, j - 1], lap[j, j + 1] = 2 / (a * (a + b)), 2 / (b * (a + b))
        lap[j, j] = -2 / (a * b)
    interpolate = np.zeros((n, n - 1))
    for j in range(1, n - 1):
        s = (faces[j] - z[j - 1]) / (z[j] - z[j - 1])
        interpolate[j, j - 1], interpolate[j, j] = 1 - s, s
    operators = np.zeros((wavenumbers.size, n, n - 1))
    for m, k in enumerate(wavenumbers):
        if m in {0, wavenumbers.size - 1}:  # the mean drives no flow; half a cell's shift of the last mode is not real
            continue
        matrix = np.zeros((2 * n, 2 * n))  # unknowns ψ then ω
        inside = np.arange(1, n - 1)
        matrix[:n, :n] = lap
        matrix[inside, inside] -= k * k
        matrix[inside, n + inside] = -1.0
        matrix[0, 0] = matrix[n - 1, n - 1] = 1.0
        matrix[n:, n:] = lap
        matrix[n + inside, n + inside] -= k * k
        matrix[n, n], matrix[n, 1] = 1.0, -2 / h[0] ** 2
        matrix[2 * n - 1, 2 * n - 1], matrix[2 * n - 1, n - 2] = 1.0, -2 / h[-1] ** 2
        rhs = np.zeros((2 * n, n - 1))
        rhs[n + inside] = interpolate[inside]
        operators[m] = np.linalg.solve(matrix, rhs)[:n]
    operators[:, [0, -1]] = 0.0
    return operators * scale**4


@numba.njit(cache=False)
def advect(c, u, w, dx, widths, dt):
    """One explicit conservative step of advection: u [nx, nz] at left x faces (periodic), w [nx, nz + 1] at z faces."""
    nx, nz = c.shape
    out = c.copy()
    for i in range(nx):
        left, left2, right = (i - 1) % nx, (i - 2) % nx, (i + 1) % nx
        for j in range(nz):
            v = u[i, j]
            up, upup, down = (c[left, j], c[left2, j], c[i, j]) if v > 0 else (c[i, j], c[right, j], c[left, j])
            r, d = up - upup, down - up
            limited = 2 * r * d / (r + d) if r * d > 0 else 0.0
            flux = v * (up + 0.5 * (1 - abs(v) * dt / dx) * limited)
            out[left, j] -= dt / dx * flux
            out[i, j] += dt / dx * flux
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


def run(p, density, hours, *, width=4e-3, nx=128, nz=90, facing=1.0, seed=1, limit=0.25):
    """Mean depletion c₀ − c(z = 0) and its standard deviation over x against time, at current `density` [A/m²]."""
    e = p.electrolyte
    D = float(e.diffusivity(e.concentration))
    H = p.bath_depth
    faces = bath_faces(H, nz, 0.85)
    z, widths = 0.5 * (faces[1:] + faces[:-1]), np.diff(faces)
    dx = width / nx
    wavenumbers = 2 * np.pi * np.fft.rfftfreq(nx, dx)
    operators = flow_operators(z, faces, wavenumbers)
    gradient = -(1 - e.transference) * density / FARADAY  # D dc/dz at both electrodes
    variation = 1 + 0.01 * np.random.default_rng(seed).standard_normal(nx)
    variation /= variation.mean()
    buoyancy = -facing * STANDARD_GRAVITY * p.density_slope / p.viscosity
    c = np.full((nx, nz), e.concentration)
    g = 1 / np.diff(z)
    k2 = wavenumbers**2
    now, dt, rows = 0.0, 0.25, []
    matrices, matrices_dt = None, -1.0
    while now < hours * 3600:
        hat = np.fft.rfft(c, axis=0)
        psi = np.einsum("mij,mj->mi", operators, buoyancy * 1j * wavenumbers[:, None] * hat)
        half_cell = np.exp(-0.5j * wavenumbers * dx)[:, None]  # u lives at left x faces
        u = np.fft.irfft(half_cell * np.diff(psi, axis=1) / widths, nx, axis=0)
        w = np.fft.irfft(-2j / dx * np.sin(0.5 * wavenumbers * dx)[:, None] * psi, nx, axis=0)  # discretely solenoidal
        fastest = max(np.abs(u).max() / dx, (np.abs(w[:, 1:-1]) / np.minimum(widths[1:], widths[:-1])).max(), 1e-12)
        wanted = min(limit, 0.4 / fastest)
        dt = next(step for step in (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03, 0.015, 0.007, 0.003) if step <= wanted)
        c = advect(c, u, w, dx, widths, dt)
        c[:, 0] -= dt * gradient * variation / widths[0]
        c[:, -1] += dt * gradient / widths[-1]
        if dt != matrices_dt:
            lap = np.zeros((nz, nz))
            j = np.arange(nz - 1)
            lap[j, j] -= g / widths[:-1]
            lap[j, j + 1] += g / widths[:-1]
            lap[j + 1, j + 1] -= g / widths[1:]
            lap[j + 1, j] += g / widths[1:]
            full = np.eye(nz) * (1 + dt * D * k2[:, None, None]) - dt * D * lap
            matrices, matrices_dt = np.linalg.inv(full), dt
        c = np.fft.irfft(np.einsum("mij,mj->mi", matrices, np.fft.rfft(c, axis=0)), nx, axis=0)
        now += dt
        if not rows or now - rows[-1][0] >= 5.0:
            surface = c[:, 0] - 0.5 * widths[0] * gradient / D
            rows.append((now, e.concentration - surface.mean(), surface.std(), np.abs(w).max()))
    profile = c.mean(axis=0)
    return np.array(rows), z, profile


def main(target: Path) -> None:
    p = parameter_set().with_leaves({"diffusivity_slope": 0.0}).values
    out, note = {}, {}
    for name, milliamps, hours, facing in (
        ("0.4", -0.4, 2.0, 1.0), ("0.2", -0.2, 2.0, 1.0), ("0.8", -0.8, 1.0, 1.0), ("2.0", -2.0, 0.5, 1.0),
        ("1.2", -1.2, 0.75, 1.0), ("0.8_delithiation", 0.8, 0.25, 1.0), ("0.8_facing_down", -0.8, 0.25, -1.0),
        ("0.8_delithiation_facing_down", 0.8, 0.5, -1.0),
    ):  # fmt: skip
        begin = time.perf_counter()
        rows, z, profile = run(p, 10 * milliamps, hours, facing=facing)
        key = f"mA_cm2_{name}"
        out[key + "_time_s"], out[key + "_depletion"], out[key + "_spread"], out[key + "_speed"] = rows.T
        out[key + "_z_m"], out[key + "_profile"] = z, profile
        late = rows[rows[:, 0] > 0.5 * rows[-1, 0], 1]
        note[name] = {"plateau_mol_m3": float(late.mean()), "wall_s": time.perf_counter() - begin}
        print(name, note[name], "max depletion", rows[:, 1].max(), flush=True)
        out["provenance"] = np.frombuffer(
            json.dumps({"made_by": "oracles/convection_reference.py", "runs": note}, indent=1).encode(), dtype=np.uint8
        )
        np.savez_compressed(target, **out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
