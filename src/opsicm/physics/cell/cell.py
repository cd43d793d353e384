"""The cell under the pipette: a thin shell with state round the compiled steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import LimitCrossed, OutsideDomain, Problem
from opsicm.physics.cell import kernel as k
from opsicm.physics.cell.bath_mixing import convection_vector
from opsicm.physics.cell.grid import bath_grid, particle_grid
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.cell.sizes import RADIUS
from opsicm.physics.cell.solve import CUT_OFF, march
from opsicm.physics.cell.trace import TRACE_COLUMNS, Trace, look, march_and_record, mean_of_particles
from opsicm.physics.cell.vessel import centre_above_mean, reference_on_the_axis
from opsicm.physics.materials.material import Material

# -- What a cell is asked to leave out, and how it says that it cannot go on.


_REASONS: Final = {
    k.DEPLETED_SPECIMEN: ("salt depleted", "at the specimen", "lower the current, stir, or raise the concentration"),
    k.DEPLETED_COUNTER: ("salt depleted", "at the counter electrode", "lower the current or raise the concentration"),
    k.STOICHIOMETRY: ("{} full or empty", "at the particle surface", "stop earlier: set a cut-off potential"),
    k.UNSTABLE_COMPENSATION: ("iR over-compensated", "in the potentiostat", "compensate a smaller part"),
    k.SALT_TOO_HIGH: ("salt beyond the table", "in the bath", "lower the current or the concentration"),
}


@dataclass(frozen=True)
class Terms:
    """Parts of the model that can be switched: `ohmic`, `salt` in what the pipette finds; `convection` in the bath.

    Ohmic (the potential drop) and salt (the changed concentration) act on the reading alone, so that both parts
    belong to one and the same cell current. Convection changes the bath itself.
    """

    ohmic: bool = True
    salt: bool = True
    convection: bool = False


class CellStopped(LimitCrossed):
    """A step that no cell can make; the state is that of the last moment that could be met."""

    def __init__(self, outcome: int, time: float, material: Material) -> None:
        reason, self.place, remedy = _REASONS[outcome]
        low, high = material.stoichiometry_range
        known = "" if (low, high) == (0.0, 1.0) else f" (its curve is known for x = {low:g} … {high:g})"
        self.reason = reason.format(material.name) + (known if outcome == k.STOICHIOMETRY else "")
        self.time = time
        super().__init__(Problem(f"cell at {time:.6g} s", "", f"{self.reason} {self.place}", remedy))


# -- The numbers of a cell in the order that the compiled steps read them.


Floats = NDArray[np.float64]


def parameter_vector(p: CellParameters, pores: bool, tolerance: float) -> Floats:
    """`p` per specimen area, as `cell_step` wants it; without `pores` the coating's own resistance is left out."""
    e = p.electrolyte
    v = np.zeros(k.PARAMETERS_SIZE)
    v[k.P_THERMAL] = GAS_CONSTANT * e.temperature / FARADAY
    v[k.P_TRANSFERENCE], v[k.P_UD] = e.transference, e.diffusion_potential
    v[k.P_X_LOW], v[k.P_X_HIGH] = p.material.stoichiometry_range
    v[k.P_AREAL] = p.areal_capacity
    v[k.P_KINETIC] = p.exchange_current_density * p.internal_area
    v[k.P_C_STANDARD] = 1000.0
    v[k.P_FILM] = p.film_resistance / p.internal_area
    v[k.P_CAPACITANCE] = p.double_layer_capacitance * p.internal_area
    v[k.P_PORE_FACTOR] = p.porosity**p.bruggeman
    kappa = float(e.conductivity(e.concentration))
    if pores:
        v[k.P_PORE_R] = p.thickness / (3.0 * v[k.P_PORE_FACTOR] * kappa)
    v[k.P_Z_REFERENCE], beyond = reference_on_the_axis(p)
    v[k.P_Z_SALT], v[k.P_R_BEYOND] = p.reference_salt_height, beyond / kappa
    v[k.P_R_FROM_MEAN] = (beyond - centre_above_mean(p)) / kappa
    v[k.P_SEI_RATE] = p.sei_rate * p.internal_area
    v[k.P_SEI_POTENTIAL], v[k.P_SEI_THICKNESS] = p.sei_potential, p.sei_throttle_thickness
    v[k.P_SEI_VOLUME] = 1e-9 / p.sei_charge_per_nm / p.internal_area
    v[k.P_SEI_RESISTIVITY] = p.sei_resistance_per_nm / 1e-9 / p.internal_area
    v[k.P_TOLERANCE] = tolerance
    v[k.P_HYSTERESIS], v[k.P_TURN] = p.material.hysteresis, p.material.hysteresis_turn
    return v


class Cell:
    """A half cell with its bath, at rest at `initial_potential` [V vs Li/Li⁺] until told otherwise.

    Lithium in spherical particles of one size, or of a few sizes that share one potential and one bath; salt along z
    from the pores to the counter, Butler–Volmer with a double layer, SEI, and a potentiostat. `tolerance` scales the
    error allowed per step (inf: one step for each `advance`). Assumes a uniform reaction through the thin coating (as
    SPMe does); fails where the coating's own gradients rule: above about 1C here.
    """

    def __init__(
        self,
        parameters: CellParameters,
        *,
        initial_potential: float | None = None,
        terms: Terms | None = None,
        bath_cells: int = 80,
        pore_cells: int = 4,
        shells: int = 24,
        tolerance: float = 1.0,
    ) -> None:
        self.parameters = parameters
        self.terms = terms or Terms()
        p, e = parameters, parameters.electrolyte
        grid = bath_grid(p, bath_cells, pore_cells)
        particle = particle_grid(shells)
        self._z, self._faces, self._first = grid.z, grid.faces, grid.n_pores
        self._grid = np.zeros((6, grid.n + 1))
        for row, values in enumerate((grid.z, grid.faces, grid.volume, grid.conductance, grid.source)):
            self._grid[row, : values.size] = values
        self._grid[5, : grid.n] = grid.area
        self._particle = np.zeros((3, shells + 1))
        self._particle[0, :shells], self._particle[1] = particle.volume, particle.conductance
        self._particle[2, 0] = particle.surface_half
        self._classes = np.zeros((len(p.sizes), k.CLASS_SIZE))
        self._classes[:, k.RATE] = p.particle_diffusivity / p.sizes[:, RADIUS] ** 2
        self._classes[:, k.OF_VOLUME], self._classes[:, k.OF_SURFACE] = p.sizes[:, 1:].T
        self._numbers = parameter_vector(p, grid.n_pores > 0, tolerance)
        self._first_step = np.inf if np.isinf(tolerance) else 1e-3
        self._control = np.zeros(k.CONTROL_SIZE)
        self._limits = np.array([-np.inf, np.inf])
        self._convection = convection_vector(p, self.terms.convection)
        potential = p.initial_potential if initial_potential is None else initial_potential
        x0 = p.material.stoichiometry_at(potential)
        self._c, self._x = (
            np.full(grid.n, e.concentration),
            np.full((len(self._classes), shells + k.PARTICLE_STATE), x0),
        )
        self._x[:, shells + k.OWN_CURRENT] = self._x[:, shells + k.BRANCH] = 0.0
        self._mixing = np.ones(grid.n + 1)
        self._spare = (np.zeros(k.STATE_SIZE), np.zeros(grid.n), np.zeros_like(self._x))
        self._work = np.zeros((6, grid.n + 1))
        self._particle_work = np.zeros((5, shells, len(self._classes)))
        state = np.zeros(k.STATE_SIZE)
        state[k.POTENTIAL] = state[k.INTERFACE] = potential
        state[k.X_SURFACE] = x0
        state[k.C_SPECIMEN] = state[k.C_REFERENCE] = state[k.C_SURFACE] = e.concentration
        self._state = state
        formed = potential < p.sei_potential and p.sei_rate > 0.0
        state[k.SEI] = max(p.sei_initial_thickness, p.sei_formed_thickness if formed else 0.0)
        state[k.R_BATH] = self.resistance_between(0.0, float(self._numbers[k.P_Z_REFERENCE]))
        state[k.R_BATH] += self._numbers[k.P_R_FROM_MEAN]
        self.uncompensated_resistance = (state[k.R_BATH] + self._numbers[k.P_PORE_R]) / p.area
        self._reached_cut_off = False
        self.set_open_circuit()

    # ---- control ----

    def set_potential(self, potential: float, slope: float = 0.0, ir_compensation: float = 0.0) -> None:
        """Hold or sweep: E_set(t) = `potential` + `slope`·(t − now) [V, V/s], from now on.

        The potentiostat regulates E = E_set + f·i·R_u with f = `ir_compensation` [1] and R_u the specimen–reference
        resistance of the fresh cell: it holds the reference at −E. With f > 0 lithiation (i < 0) lowers E below
        E_set by what the bath drops, so that the interface sees E_set.
        """
        if not 0.0 <= ir_compensation <= 1.0:
            limit = "it lies in 0–1; above 1 the loop runs away"
            raise OutsideDomain(Problem("iR compensation", f"{ir_compensation:g}", limit, "give the fraction"))
        before = self.set_point
        continuous = self._control[k.MODE] == k.POTENTIOSTAT and abs(potential - before) < 1e-9
        compensation = ir_compensation * self.uncompensated_resistance * self.parameters.area
        continuous = continuous and self._control[k.COMPENSATION] == compensation
        self._control[:] = (k.POTENTIOSTAT, self.time, potential, slope, compensation, self.parameters.response_time)
        self._begin(continuous)

    def set_current(self, current: float, *, cut_offs: tuple[float, float] | None = None) -> None:
        """Drive `current` [A], < 0 lithiates. `cut_offs` (low, high) [V] end `advance` early at the crossing."""
        density = current / self.parameters.area
        continuous = self._control[k.MODE] == k.GALVANOSTAT and self._control[k.SET_VALUE] == density
        self._control[:] = (k.GALVANOSTAT, self.time, density, 0.0, 0.0, 0.0)
        self._limits[:] = cut_offs if cut_offs is not None else (-np.inf, np.inf)
        self._begin(continuous)

    def set_open_circuit(self) -> None:
        """No current: the potential relaxes."""
        self.set_current(0.0)

    def _begin(self, continuous: bool) -> None:
        self._reached_cut_off = False
        if not continuous:
            self._state[k.HISTORY] = 0.0
            self._state[k.NEXT_STEP] = self._first_step

    def advance(self, dt: float) -> float:
        """Move on by `dt` [s], in as many inner steps as the error asks; returns the time moved.

        Less than `dt` only when a cut-off was met (`reached_cut_off`). Raises `CellStopped` where no cell could follow.
        """
        if not dt > 0.0:
            raise OutsideDomain(Problem("time step", f"{dt:g} s", "it is positive", "advance by 1 ms to 10 s"))
        if self._reached_cut_off:
            return 0.0
        start = self.time
        outcome = march(dt, *self._march_arguments())
        if outcome == CUT_OFF:
            self._reached_cut_off = True
        elif outcome != k.OK:
            raise CellStopped(outcome, self.time, self.parameters.material)
        return self.time - start

    def record(self, dt: float, count: int, heights: ArrayLike = ()) -> Trace:
        """Advance `count` times by `dt` [s] and keep what was seen after each, also at `heights` [m].

        The same as `advance` in a loop, five times faster with heights. Ends early at a cut-off, as `advance` does.
        """
        if not (dt > 0.0 and count > 0):
            raise OutsideDomain(Problem("record", f"{count} steps of {dt:g} s", "both are positive", "correct them"))
        if self._reached_cut_off:
            count = 0
        p, e = self.parameters, self.parameters.electrolyte
        z = np.atleast_1d(np.asarray(heights, dtype=np.float64))
        rows = np.empty((count, TRACE_COLUMNS + 2 * z.size))
        outcome, done = march_and_record(dt, rows, z, self._z, p.swelling, *self._march_arguments())
        if outcome == CUT_OFF:
            self._reached_cut_off = True
        elif outcome != k.OK:
            raise CellStopped(outcome, self.time, self.parameters.material)
        gain = p.thickness * p.swelling_factor, p.internal_area * p.irreversible_factor
        trace = Trace.from_rows(rows[:done], z, p.area, gain)
        rest = float(e.concentration)
        return trace.without(ohmic=not self.terms.ohmic, salt=not self.terms.salt, rest=rest)

    def keep(self) -> tuple[Floats, ...]:
        """Everything about the present moment that `advance` and `record` change; for `go_back`."""
        return tuple(array.copy() for array in self._changing())

    def go_back(self, kept: tuple[Floats, ...]) -> None:
        """Be again what `keep` has seen."""
        for array, old in zip(self._changing(), kept, strict=True):
            array[:] = old
        self._reached_cut_off = False

    def _changing(self) -> tuple[Floats, ...]:
        return self._state, self._c, self._x, self._convection, self._control, self._limits

    def _march_arguments(self) -> tuple[Any, ...]:
        p, e = self.parameters, self.parameters.electrolyte
        return (
            self._state,
            self._c,
            self._x,
            *self._spare,
            self._control,
            self._limits,
            self._numbers,
            self._grid,
            self._particle,
            self._classes,
            self._mixing,
            self._convection,
            e.diffusivity_table,
            e.kappa_table,
            p.material.ocp,
            self._first,
            self._work,
            self._particle_work,
        )

    # ---- what the potentiostat sees ----

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return float(self._state[k.TIME])

    @property
    def potential(self) -> float:
        """Potential against the reference [V], as regulated or measured: the reference sits at minus this."""
        return float(self._state[k.POTENTIAL])

    @property
    def set_point(self) -> float:
        """E_set now [V] under potential control; the measured potential otherwise."""
        if self._control[k.MODE] != k.POTENTIOSTAT:
            return self.potential
        return float(self.set_point_at(self.time))

    def set_point_at(self, time: ArrayLike) -> Floats:
        """What the potential control in force orders, or ordered, at `time` [s, any shape] since the start [V]."""
        elapsed = np.asarray(time, dtype=np.float64) - self._control[k.SET_TIME]
        return np.asarray(self._control[k.SET_VALUE] + self._control[k.SLOPE] * elapsed)

    @property
    def reached_cut_off(self) -> bool:
        """Whether the last `set_current` has met one of its cut-offs; the cell then waits for a new order."""
        return self._reached_cut_off

    @property
    def current(self) -> float:
        """Cell current [A], < 0 lithiates."""
        return self.current_density * self.parameters.area

    @property
    def current_density(self) -> float:
        """Cell current per specimen area [A/m²]."""
        return float(self._state[k.CURRENT])

    @property
    def charge(self) -> float:
        """Charge passed since the start [C], signed: intercalation + double layer + SEI."""
        return float(self._state[k.CHARGE]) * self.parameters.area

    @property
    def sei_charge(self) -> float:
        """The part of `charge` that went into SEI [C, ≤ 0]."""
        return float(self._state[k.CHARGE_SEI]) * self.parameters.area

    @property
    def double_layer_charge(self) -> float:
        """The part of `charge` that sits on the double layer [C]."""
        return self.charge - self.sei_charge - float(self._state[k.CHARGE_F]) * self.parameters.area

    @property
    def capacity(self) -> float:
        """Charge between x = 0 and x = 1 [C]."""
        return self.parameters.areal_capacity * self.parameters.area

    @property
    def interface_potential(self) -> float:
        """ψ [V]: the particle against a Li electrode in the pores; what E would be without the bath."""
        return float(self._state[k.INTERFACE])

    # ---- what the specimen is ----

    @property
    def stoichiometry(self) -> float:
        """Mean x of the particles."""
        return self._means[0]

    @property
    def surface_stoichiometry(self) -> float:
        """x at the particles' surface, its mean over their surface where there are several sizes."""
        return float(self._state[k.X_SURFACE])

    @property
    def expansion(self) -> float:
        """Thickness gained [m]: thickness × factor × volume change (over the swelling curve's V₀), + `irreversible`."""
        p = self.parameters
        return p.thickness * p.swelling_factor * self.volume_change + self.irreversible

    @property
    def volume_change(self) -> float:
        """Mean of (V − V₀)/V₀ [1] over the particles, not that of the mean x; NaN where nobody has stated it."""
        return self._means[1]

    @property
    def _means(self) -> tuple[float, float]:
        filled, volume = mean_of_particles(self._x, self._particle[0], self._classes, self.parameters.swelling)
        return float(filled), float(volume)

    @property
    def sei_thickness(self) -> float:
        """Thickness of the film on the particles [m]."""
        return float(self._state[k.SEI])

    @property
    def irreversible(self) -> float:
        """The part of `expansion` that stays [m]: SEI volume per specimen area × `irreversible_factor`."""
        return self.sei_thickness * self.parameters.internal_area * self.parameters.irreversible_factor

    @property
    def salt_inventory(self) -> float:
        """Salt in pores and bath per specimen area [mol/m²]; constant."""
        return float(self._grid[2, : self._c.size] @ self._c)

    # ---- what the pipette finds ----

    def concentration(self, z: ArrayLike) -> Floats:
        """Salt [mol/m³] at heights `z` [m] ≥ 0; any shape. The rest value when `terms.salt` is off."""
        heights = np.asarray(z, dtype=np.float64)
        if not self.terms.salt:
            return np.full(heights.shape, self.parameters.electrolyte.concentration)
        at = np.concatenate([[0.0], self._z[self._first :]])
        values = np.concatenate([[self._state[k.C_SURFACE]], self._c[self._first :]])
        return np.asarray(np.interp(heights, at, values), dtype=np.float64)

    def bath_at(self, z: ArrayLike) -> tuple[Floats, Floats]:
        """(salt [mol/m³], ohmic potential less the reference's [V]) at heights `z` [m, n] ≥ 0, as `record` has them."""
        heights = np.asarray(z, dtype=np.float64)
        found = np.empty(2 * heights.size)
        kappa = self.parameters.electrolyte.kappa_table
        look(heights, self._z, self._state, self._c, self._numbers, self._grid, kappa, self._first, found)
        salt, drop = found[: heights.size], self.current_density * found[heights.size :]
        if not self.terms.salt:
            salt[:] = self.parameters.electrolyte.concentration
        return salt, drop if self.terms.ohmic else np.zeros(heights.size)

    @property
    def concentration_at_reference(self) -> float:
        """Salt at the reference electrode [mol/m³]."""
        return float(self.concentration(self.parameters.reference_salt_height))

    def resistance_between(self, z_low: float, z_high: float) -> float:
        """∫ dz/(κ(c) A_rel) between two heights [Ω m²], with the salt as it is now; signed."""
        kappa = self.parameters.electrolyte.kappa_table
        return float(k.ohmic_integral(z_low, z_high, self._c, self._faces, self._grid[5], kappa, self._first))

    def _resistance_to_reference(self, z: float) -> float:
        numbers = self._numbers
        return self.resistance_between(z, float(numbers[k.P_Z_REFERENCE])) + float(numbers[k.P_R_BEYOND])

    def ohmic_drop(self, z: ArrayLike) -> Floats:
        """i ∫_z^z_ref dz'/(κ A_rel) [V]: ohmic potential at `z` [m] less the reference's; 0 if `terms.ohmic` is off.

        The bath's diffusion potential is not in it, on purpose: for a pipette with a Li wire it cancels exactly.
        """
        heights = np.asarray(z, dtype=np.float64)
        if not self.terms.ohmic:
            return np.zeros(heights.shape)
        drops = [self._resistance_to_reference(float(height)) for height in heights.ravel()]
        return self.current_density * np.array(drops).reshape(heights.shape)
