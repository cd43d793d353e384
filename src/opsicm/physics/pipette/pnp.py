"""Steady Poisson–Nernst–Planck in a charged tip: explains rectification and serves as an oracle; not for live use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.spectral_element import Int, Mesh, edge_terms, geometry, line, node_split
from opsicm.physics.pipette.tip_mesh import Fineness, TipMesh, tip_mesh

F64 = NDArray[np.float64]
# Lines every factor of 0.3 towards the glass: the first is 0.0007 a, a ninth of a Debye length at 1 M and 50 nm.
FINENESS: Final = Fineness(order=4, layers=6, ratio=0.3, growth=2.5, far=60.0, top=100.0)
_FIELDS: Final = 3  # potential, cation, anion


@dataclass(frozen=True, slots=True)
class Salt:
    """A dissolved 1:1 salt: `cation`, `anion` diffusivities [m²/s], `permittivity` [F/m], `temperature` [K].

    Defaults [assumed]: a transference number of 0.3 at a salt diffusivity of 2.6e-10, EC:DEC at 25 °C.
    """

    cation: float = 1.86e-10
    anion: float = 4.33e-10
    permittivity: float = 2.7e-10
    temperature: float = 298.15


@dataclass(frozen=True, slots=True)
class PnpSolution:
    """`current` [A] into the pipette's wire circuit (positive for positive bias); fields at the nodes [count]:
    `potential` [V], `cation` and `anion` [mol/m³]; `corrections` [1]: Newton's, in the last step of the bias."""

    current: float
    potential: F64
    cation: F64
    anion: F64
    corrections: tuple[float, ...]
    tip: TipMesh


class _Problem:
    """The discrete equations in scaled variables: lengths a, potentials RT/F, concentrations c_ref."""

    def __init__(
        self, mesh: Mesh, two_lambda2: float, diffusivity: tuple[float, float], charge: F64, fixed: Int
    ) -> None:
        basis = line(mesh.order)
        x, inverse, det = geometry(mesh)
        n, q = (mesh.order + 1) ** 2, basis.points.size**2
        self.weight = (np.outer(basis.weights, basis.weights) * x[..., 0] * det).reshape(-1, q)
        ds = np.einsum("qi,rj->qrij", basis.slope, basis.value).reshape(q, n)
        dt = np.einsum("qi,rj->qrij", basis.value, basis.slope).reshape(q, n)
        m = inverse.reshape(-1, q, 2, 2)
        self.value = np.einsum("qi,rj->qrij", basis.value, basis.value).reshape(q, n)
        self.dr = m[..., 0, 0, None] * ds + m[..., 1, 0, None] * dt
        self.dz = m[..., 0, 1, None] * ds + m[..., 1, 1, None] * dt
        self.stiff = self._grad_grad(self.weight)
        self.mass = np.matmul((self.value * self.weight[..., None]).transpose(0, 2, 1), self.value)
        self.dofs = mesh.dofs.reshape(-1, n)
        self.count, self.two_lambda2, self.diffusivity, self.charge = mesh.count, two_lambda2, diffusivity, charge
        self.outer, self.inner = node_split(mesh.order)
        kept = np.zeros(mesh.count, dtype=bool)
        kept[self.dofs[:, self.outer]] = True
        self.free = np.repeat(kept, _FIELDS)
        self.free[(fixed[:, None] * _FIELDS + np.arange(_FIELDS)).ravel()] = False
        self.number = np.where(self.free, np.cumsum(self.free) - 1, -1)

    def _grad_grad(self, weight: F64) -> F64:
        w = weight[..., None]
        return np.asarray(
            np.matmul((self.dr * w).transpose(0, 2, 1), self.dr) + np.matmul((self.dz * w).transpose(0, 2, 1), self.dz)
        )

    def element(self, u: F64) -> tuple[F64, F64]:
        """Element residuals [E, n, 3] and Jacobians [E, n, 3, n, 3] at u [count, 3]."""
        local = u[self.dofs]
        phi, ions = local[..., 0], (local[..., 1], local[..., 2])
        E, n = phi.shape
        jacobian = np.zeros((E, n, _FIELDS, n, _FIELDS))
        residual = np.empty((E, n, _FIELDS))
        jacobian[:, :, 0, :, 0] = self.two_lambda2 * self.stiff
        jacobian[:, :, 0, :, 1], jacobian[:, :, 0, :, 2] = -self.mass, self.mass
        residual[..., 0] = np.einsum("eij,ej->ei", self.two_lambda2 * self.stiff, phi) - np.einsum(
            "eij,ej->ei", self.mass, ions[0] - ions[1]
        )
        phi_r, phi_z = np.einsum("eqi,ei->eq", self.dr, phi), np.einsum("eqi,ei->eq", self.dz, phi)
        drift = self.dr * (phi_r * self.weight)[..., None] + self.dz * (phi_z * self.weight)[..., None]
        carried = np.matmul(drift.transpose(0, 2, 1), self.value)
        for field, sign in ((1, 1.0), (2, -1.0)):
            D, c = self.diffusivity[field - 1], ions[field - 1]
            by_c = D * (self.stiff + sign * carried)
            jacobian[:, :, field, :, field] = by_c
            jacobian[:, :, field, :, 0] = sign * D * self._grad_grad(self.weight * (c @ self.value.T))
            residual[..., field] = np.einsum("eij,ej->ei", by_c, c)
        return residual, jacobian

    def residual(self, element: F64) -> F64:
        """Assembled residual [count, 3], the surface charge included."""
        total = np.zeros((self.count, _FIELDS))
        np.add.at(total, self.dofs, element)
        total[:, 0] -= self.charge
        return total

    def step(self, u: F64) -> tuple[F64, F64]:
        """One Newton step: the correction [count, 3] and the residual [count, 3] that it answers."""
        element, jacobian = self.element(u)
        E, n = element.shape[:2]
        right = self.residual(element)
        mine = self.dofs[..., None] * _FIELDS + np.arange(_FIELDS)
        o, i = self.outer.size * _FIELDS, self.inner.size * _FIELDS
        block = jacobian.reshape(E, n, _FIELDS, n, _FIELDS)
        Joo = block[:, self.outer][:, :, :, self.outer].reshape(E, o, o)
        Joi = block[:, self.outer][:, :, :, self.inner].reshape(E, o, i)
        Jio = block[:, self.inner][:, :, :, self.outer].reshape(E, i, o)
        Jii = block[:, self.inner][:, :, :, self.inner].reshape(E, i, i)
        inner_right = element[:, self.inner].reshape(E, i)
        back = np.linalg.solve(Jii, np.concatenate((Jio, inner_right[..., None]), axis=2))
        small = Joo - np.matmul(Joi, back[..., :o])
        rim = mine[:, self.outer].reshape(E, o)
        load = right.ravel().copy()
        np.subtract.at(load, rim, np.einsum("eij,ej->ei", Joi, back[..., o]))
        rows, cols = np.repeat(rim, o, axis=1).ravel(), np.tile(rim, (1, o)).ravel()
        both = self.free[rows] & self.free[cols]
        size = int(self.free.sum())
        matrix = sparse.csc_array(
            (small.ravel()[both], (self.number[rows[both]], self.number[cols[both]])), shape=(size, size)
        )
        factor = linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        correction = np.zeros(self.count * _FIELDS)
        correction[self.free] = -factor.solve(load[self.free])
        inside = mine[:, self.inner].reshape(E, i)
        correction[inside] = -back[..., o] - np.einsum("eij,ej->ei", back[..., :o], correction[rim])
        return correction.reshape(-1, _FIELDS), right


def _boundary_values(u: F64, top: Int, far: Int, bias: float, c_in: float, c_out: float) -> None:
    u[far], u[top] = (0.0, c_out, c_out), (bias, c_in, c_in)


def solve_pnp(
    pipette: Pipette,
    bias: float,
    c_in: float,
    c_out: float,
    surface_charge: float,
    distance: float | None = None,
    salt: Salt | None = None,
    fineness: Fineness = FINENESS,
) -> PnpSolution:
    """Poisson–Nernst–Planck for a tip with `surface_charge` [C/m²] on all its glass.

        div(eps grad phi) + F (c+ - c-) = 0;   div(D± (grad c± ± c± grad phi F/RT)) = 0
        n·eps grad phi = surface_charge on glass, 0 on the sample; no flux through either
        phi = bias, c± = c_in on a cut `fineness.top` radii up the cone; phi = 0, c± = c_out far outside

    `bias` [V], `c_in`, `c_out` [mol/m³], `distance` [m] or None, `salt`. The current is that of the cone up to
    the cut, in series with the shank above it. Assumes dilute-solution theory (a transference number that does not
    depend on c; activity 1), point ions, no flow. Fails at 1 M in detail (ions of 0.3 nm in a Debye length of
    0.2 nm): trends, not digits. Newton, with charge and bias raised in steps; refuses what does not converge.
    Source: Newman, Electrochemical Systems; White & Bund, Langmuir 2008, 24, 2212 for conical pores.
    """
    salt = salt or Salt()
    a = pipette.radius
    thermal = GAS_CONSTANT * salt.temperature / FARADAY
    c_ref = max(c_in, c_out)
    two_lambda2 = salt.permittivity * thermal / (FARADAY * c_ref * a**2)
    tip = tip_mesh(pipette.wall, pipette.cone_angle, None if distance is None else distance / a, fineness)
    order = tip.mesh.order
    _, glass_load = edge_terms(tip.glass, order, None)
    charge = np.zeros(tip.mesh.count)
    np.add.at(charge, tip.glass.dofs.ravel(), glass_load.ravel())
    charge *= surface_charge / (FARADAY * c_ref * a)
    top, far = np.unique(tip.inside.dofs), np.unique(tip.outside.dofs)
    D_ref = max(salt.cation, salt.anion)
    problem = _Problem(
        tip.mesh, two_lambda2, (salt.cation / D_ref, salt.anion / D_ref), 0.0 * charge, np.concatenate((top, far))
    )
    u = np.empty((tip.mesh.count, _FIELDS))
    u[:] = (0.0, c_out / c_ref, c_out / c_ref)
    steps = max(
        1, math.ceil(abs(bias) / 0.2), math.ceil(abs(surface_charge) / 0.02), math.ceil(abs(math.log(c_in / c_out)))
    )
    for step in range(1, steps + 1):
        share = step / steps
        problem.charge = share * charge
        inner = c_out * (c_in / c_out) ** share
        _boundary_values(u, top, far, share * bias / thermal, inner / c_ref, c_out / c_ref)
        corrections = _newton(problem, u)
    element, _ = problem.element(u)
    reaction = problem.residual(element)[top]
    scale = 2.0 * math.pi * FARADAY * D_ref * c_ref * a
    current = scale * float(np.sum(reaction[:, 1] - reaction[:, 2]))
    return PnpSolution(current, u[:, 0] * thermal, u[:, 1] * c_ref, u[:, 2] * c_ref, tuple(corrections), tip)


def _newton(problem: _Problem, u: F64) -> list[float]:
    """Iterate in place until the correction is below 1e-7 (kT and c_ref); returns the corrections' sizes."""
    sizes: list[float] = []
    for _ in range(25):
        correction, _ = problem.step(u)
        size = float(np.max(np.abs(correction)))
        # A concentration may fall by at most 90 % in one step.
        shrink = float(np.max(-correction[:, 1:] / np.maximum(u[:, 1:], 1e-300)))
        u += correction * min(1.0, 0.9 / max(shrink, 1e-300))
        sizes.append(size)
        if size < 1e-7:
            return sizes
    raise OutsideDomain(
        Problem(
            "Newton correction", f"{sizes[-1]:.2g}", "it must fall below 1e-7 in 25 steps", "raise bias and charge less"
        )
    )
