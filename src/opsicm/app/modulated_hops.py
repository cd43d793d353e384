"""Hops with `modulate`: the wire's levels before each hop, from the recorded bias or as the file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.app.probe_stretches import Stretch
from opsicm.record.reader import Run

F64 = NDArray[np.float64]
Place = tuple[F64, F64, F64, float]
MOST_SAMPLES: Final = 20_000_000


def modulated_steps(run: Run, found: list[Stretch]) -> dict[str, Mapping[str, Any]]:
    """Keys of `modulate` of every hopping step that has it and hopped, by the step's path."""
    keys = {s.step: s.keys if s.word == "modulate" else s.keys.get("modulate") for s in found}
    steps = run.hops["step"].values
    return {name: key for name, key in keys.items() if isinstance(key, dict) and (steps == name).any()}


def levels_of_hops(run: Run, step: str, keys: Mapping[str, Any], two_electrode: bool) -> Iterator[Place | None]:
    """(t [s], wire's potential [V], current [A], period [s]) of the levels before every hop; None where none are.

    The levels end where the hop begins. With a recorded bias they begin after the hop before, without one at so many
    dwells before this hop, and the wire stands where the file says.
    """
    hops = run.hops
    of = np.flatnonzero(hops["step"].values == step)
    segment, start, top = (hops[key].values[of] for key in ("segment", "sample_start", "sample_top"))
    dwell = round(1e6 * float(keys["dwell_ms"]) / run.dt_ns)
    levels = np.asarray(keys["levels_V"], dtype=np.float64)
    whole = dwell * levels.size
    for number in np.unique(segment):
        mine = np.flatnonzero(segment == number)
        before = np.append(0, top[mine][:-1])
        first = np.maximum(np.maximum(start[mine] - whole - dwell, before), 0)
        for block in _blocks(first, start[mine]):
            low = int(first[block[0]])
            part = run.samples(int(number), low, int(start[mine][block[-1]]))
            if "pipette_current" not in part:
                continue
            wire = _wire(run, part, two_electrode)
            t, current = part["t_ns"].values * 1e-9, part["pipette_current"].values
            for k in block:
                stop = int(start[mine][k])
                if wire is not None:
                    rows = slice(int(first[k]) - low, stop - low)
                    yield (t[rows], wire[rows], current[rows], run.dt_ns * 1e-9)
                elif stop - whole >= before[k]:
                    rows = slice(stop - whole - low, stop - low)
                    yield (t[rows], np.repeat(levels, dwell), current[rows], run.dt_ns * 1e-9)
                else:
                    yield None


def _wire(run: Run, part: xr.Dataset, two_electrode: bool) -> F64 | None:
    """The wire's potential against the reference, None where no bias was recorded."""
    if "pipette_bias" not in part:
        return None
    wire: F64 = part["pipette_bias"].values
    if two_electrode or not run.cell.sizes["row"]:
        return wire
    specimen = np.interp(part["t_ns"].values, run.cell["t_ns"].values, run.cell["potential"].values)
    return np.asarray(wire + specimen, dtype=np.float64)


def _blocks(first: NDArray[np.int64], stop: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """Hops in order, as many together as may be read at once."""
    begin = 0
    for k in range(first.size):
        if int(stop[k] - first[begin]) > MOST_SAMPLES and k > begin:
            yield np.arange(begin, k)
            begin = k
    if first.size:
        yield np.arange(begin, first.size)
