"""Reference values of dR from NGSolve (hp finite elements), independent of this package.

    python -m venv .venv-oracle && .venv-oracle/bin/pip install ngsolve && .venv-oracle/bin/python oracles/ngsolve_tip_field.py

Own geometry, own mesh generator (Netgen, curved outer boundary), own elements; shares no code with opsicm.
Writes tests/physics/tables/ngsolve_tip_field.csv: wall, cone_deg, distance, dR (R kappa a), R_ac (no sample).
"""

import csv
import math
import sys
from pathlib import Path

import ngsolve as ng
from netgen.geom2d import SplineGeometry

ORDER, LEVELS = 6, 7
CASES = [
    (1.5, 3.0, (0.05, 0.2, 0.672, 2.0, 10.0)),
    (1.1, 1.5, (0.05, 0.5, 3.0)),
    (3.0, 20.0, (0.05, 0.5, 3.0)),
    (2.0, 10.0, (0.1, 1.0, 30.0)),
    (1.25, 6.0, (0.3, 1.5, 5.0)),
    (2.5, 1.2, (0.02, 0.8, 4.0)),
]


def mesh_of(wall, slope, distance):
    """The meridian plane outside and inside the pipette; a half disk below when there is no sample."""
    out_slope = wall * slope
    base = wall + (distance or 0.0)
    far = 400.0 * base
    floor = -distance if distance is not None else None
    top = 5.0
    geo = SplineGeometry()

    def at(r, z, corner=False):
        return geo.AppendPoint(r, z, hpref=1) if corner else geo.AppendPoint(r, z)

    centre = floor if floor is not None else 0.0
    # Where the outer wall r = wall + z out_slope meets the circle of radius `far` about (0, centre).
    A, B, C = 1 + out_slope**2, 2 * (wall * out_slope - centre), wall**2 + centre**2 - far**2
    z_hit = (-B + math.sqrt(B * B - 4 * A * C)) / (2 * A)
    hit = (wall + z_hit * out_slope, z_hit)
    inner, outer = at(1.0, 0.0, True), at(wall, 0.0, True)
    in_top, axis_top = at(1.0 + top * slope, top), at(0.0, top)
    hit_p = at(*hit)
    start = math.atan2(hit[1] - centre, hit[0])
    end = 0.0 if floor is not None else -math.pi / 2

    def line(a, b, name, h):
        geo.Append(["line", a, b], leftdomain=1, rightdomain=0, bc=name, maxh=h)

    # Anticlockwise: the axis or sample, the far arc from below up to the wall, the wall down, the face, the inner wall up.
    if floor is not None:
        bottom, corner = at(0.0, floor), at(far, floor)
        line(axis_top, bottom, "axis", 0.6)
        # Split the sample line so that elements grow with distance from the tip.
        previous, r = bottom, 2.0 * base
        while r < far:
            point = at(r, floor)
            line(previous, point, "sample", 0.35 * r if previous is not bottom else 0.3 * max(min(distance, 1.0), 0.12))
            previous, r = point, r * 3.0
        line(previous, corner, "sample", 0.4 * far)
        first = corner
    else:
        bottom = at(0.0, -far)
        previous, r = axis_top, 3.0
        while r < far:
            point = at(0.0, -r)
            line(previous, point, "axis", 0.35 * r)
            previous, r = point, r * 3.0
        line(previous, bottom, "axis", 0.4 * far)
        first = bottom
    steps = 4
    previous, angle = first, end
    for k in range(1, steps + 1):
        new = end + (start - end) * k / steps
        half = 0.5 * (new - angle)
        middle = 0.5 * (new + angle)
        control = at(far / math.cos(half) * math.cos(middle), centre + far / math.cos(half) * math.sin(middle))
        point = hit_p if k == steps else at(far * math.cos(new), centre + far * math.sin(new))
        geo.Append(["spline3", previous, control, point], leftdomain=1, rightdomain=0, bc="far", maxh=0.35 * far)
        previous, angle = point, new
    stations, z = [], 3.0 * wall
    while z < 0.5 * z_hit:
        stations.append(z)
        z *= 3.0
    previous, size = hit_p, 0.4 * far
    for z in reversed(stations):
        point = at(wall + z * out_slope, z)
        line(previous, point, "glass", size)
        previous, size = point, 0.35 * z
    line(previous, outer, "glass", 0.5)
    line(outer, inner, "glass", 0.25 * max(wall - 1.0, 0.2))
    line(inner, in_top, "glass", 0.5)
    line(in_top, axis_top, "top", 0.4)
    mesh = ng.Mesh(geo.GenerateMesh(maxh=0.4 * far, grading=0.25))
    mesh.RefineHP(LEVELS, factor=0.15)
    mesh.Curve(3)
    return mesh, centre


def resistance(wall, slope, distance):
    """R kappa a of the endless cone, from the energy."""
    mesh, centre = mesh_of(wall, slope, distance)
    space = ng.H1(mesh, order=ORDER)
    u, v = space.TnT()
    r, z, n = ng.x, ng.y, ng.specialcf.normal(2)
    apex = -1.0 / slope
    k_in = (r * n[0] + (z - apex) * n[1]) / (r * r + (z - apex) ** 2)
    k_out = (r * n[0] + (z - centre) * n[1]) / (r * r + (z - centre) ** 2)
    a = ng.BilinearForm(space, symmetric=True)
    a += ng.grad(u) * ng.grad(v) * r * ng.dx
    a += k_in * u * v * r * ng.ds("top") + k_out * u * v * r * ng.ds("far")
    f = ng.LinearForm(space)
    f += k_in * v * r * ng.ds("top")
    a.Assemble()
    f.Assemble()
    field = ng.GridFunction(space)
    field.vec.data = a.mat.Inverse(space.FreeDofs(), inverse="sparsecholesky") * f.vec
    current = ng.Integrate(k_in * r, mesh, ng.BND, definedon=mesh.Boundaries("top"), order=12) - ng.InnerProduct(
        f.vec, field.vec
    )
    return 1.0 / (2.0 * math.pi * current), space.ndof


def main():
    """Every case to the CSV file."""
    target = Path(__file__).parents[1] / "tests" / "physics" / "tables" / "ngsolve_tip_field.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for wall, degrees, distances in CASES:
        slope = math.tan(math.radians(degrees))
        angle = math.radians(degrees)
        free, ndof = resistance(wall, slope, None)
        access = free - math.sin(angle) / (2 * math.pi * (1 - math.cos(angle)))
        for distance in distances:
            R, ndof = resistance(wall, slope, distance)
            rows.append([wall, degrees, distance, f"{R - free:.9g}", f"{access:.9g}"])
            sys.stdout.write(f"{rows[-1]} {ndof} unknowns\n")
            sys.stdout.flush()
    with target.open("w", newline="") as file:
        file.write(f"# NGSolve {ng.__version__}, order {ORDER}, {LEVELS} hp levels; dR and R_ac are R*kappa*a\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["wall", "cone_deg", "distance", "dR", "R_ac"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
