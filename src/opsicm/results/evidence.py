"""What sentences about a run or file are made from: its results, looked up by quantity and subject, and its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.results import images_of
from opsicm.analysis.result import Result
from opsicm.analysis.topography.raster import Frame
from opsicm.record.reader import Run
from opsicm.results.number_text import quantity

F64 = NDArray[np.float64]
_NEGLIGIBLE: Final = 1e-5  # of the capacity


@dataclass(frozen=True)
class Evidence:
    """The results of a run (or of a third-party file: `run` None)."""

    results: tuple[Result, ...]
    run: Run | None = None

    def all(self, name: str) -> list[Result]:
        """Every result of this quantity that has a value."""
        return [r for r in self.results if r.name == name and r.value is not None]

    def first(self, name: str, part: str | None = None) -> Result | None:
        """The first result of this quantity (and part) that has a value."""
        return next((r for r in self.all(name) if part is None or r.of.part == part), None)

    def why_not(self, name: str) -> str:
        """The reason why this quantity has no value; "" where it has one or was never tried."""
        return next((r.reason for r in self.results if r.name == name and r.value is None), "")

    @cached_property
    def frames(self) -> list[Frame]:
        """The images of the run, in order of time."""
        return [] if self.run is None or not self.run.hops.sizes["hop"] else images_of(self.run.hops, self.run.slow)

    @cached_property
    def cell_time(self) -> F64:
        """Times [s] of the cell's rows."""
        return np.zeros(0) if self.run is None else np.asarray(self.run.cell["t_ns"].values * 1e-9)

    def cell_at(self, name: str, t: float | F64) -> F64:
        """A column of the cell's rows at times `t` [s]; NaN without rows."""
        if self.run is None or not self.cell_time.size:
            return np.full(np.shape(t), np.nan)
        return np.asarray(np.interp(t, self.cell_time, self.run.cell[name].values))

    @property
    def capacity(self) -> float:
        """Capacity of the specimen [C]; NaN where it is not stated."""
        return self.parameter("specimen", "capacity_C")

    @property
    def thickness(self) -> float:
        """Thickness of the specimen [m]; NaN where it is not stated."""
        return self.parameter("specimen", "thickness_m")

    def parameter(self, group: str, key: str) -> float:
        """A number of the run's header; NaN where it is not stated."""
        parameters: dict[str, Any] = {} if self.run is None else self.run.parameters
        value = parameters.get(group, {}).get(key)
        return float(value) if isinstance(value, int | float) else float("nan")

    @cached_property
    def charge_moves(self) -> bool:
        """Whether more than a negligible charge passed."""
        if self.run is None or not self.cell_time.size:
            return False
        passed = float(np.ptp(self.run.cell["charge"].values))
        # Of an unknown capacity the charge that passed is as much as is known.
        return passed > _NEGLIGIBLE * (self.capacity if np.isfinite(self.capacity) else passed)

    @cached_property
    def has_state_of_charge(self) -> bool:
        """Whether cut-offs defined a state of charge at any time."""
        return self.run is not None and bool(np.isfinite(self.run.cell["soc"].values).any())

    def state_of_charge(self, t: F64) -> F64:
        """The state of charge [%] at times `t` [s], NaN where no cut-offs had defined one yet."""
        return 100.0 * self.cell_at("soc", t)

    def lithiation(self, t: F64) -> F64:
        """The charge passed since the start of the run at times `t` [s], in % of the capacity between x = 0 and 1."""
        start = self.cell_at("charge", float(self.cell_time[0])) if self.cell_time.size else 0.0
        return np.asarray(-100.0 * (self.cell_at("charge", t) - start) / self.capacity)

    @cached_property
    def is_swept(self) -> bool:
        """Whether the potential was imposed while charge passed, for most of the charge."""
        if self.run is None or self.cell_time.size < 2:
            return False
        control, charge = self.run.cell["control"].values, self.run.cell["charge"].values
        moved = np.abs(np.diff(charge))
        imposed = np.isin(control[1:], ("potential", "sweep", "hold"))
        return bool(moved.sum() > 0.0 and moved[imposed].sum() > 0.5 * moved.sum())


@dataclass(frozen=True, slots=True)
class Finding:
    """Sentences, the most important first, and the names of views of which the first that exists shows them."""

    sentences: tuple[str, ...]
    figures: tuple[str, ...] = ()


Finder = Callable[[Evidence], Finding | None]


def shown(result: Result) -> str:
    """`value ± u unit` of a result, for a sentence."""
    return quantity(result.value, result.u, result.unit, result.u_calibration)


def shown_size(result: Result) -> str:
    """The same without the sign, where words say the direction."""
    return quantity(abs(result.value or 0.0), result.u, result.unit, result.u_calibration)


def datasets(results: list[Result]) -> Iterator[tuple[Result, xr.Dataset]]:
    """(result, trace) of those whose trace is a data set."""
    for result in results:
        if isinstance(result.trace, xr.Dataset):
            yield result, result.trace


def arrays(results: list[Result]) -> Iterator[tuple[Result, xr.DataArray]]:
    """(result, trace) of those whose trace is one array."""
    for result in results:
        if isinstance(result.trace, xr.DataArray):
            yield result, result.trace
