"""A day of cycling: speed, and whether memory stays where it is."""

from __future__ import annotations

import tracemalloc
from timeit import default_timer

from benchmarks.row import BenchRow
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell, Terms

_HOURS = 24.0


def row() -> list[BenchRow]:
    """24 h between 1.0 and 0.02 V at ±0.4 mA/cm², steps of 0.1 s as hopping asks for, convection on."""
    p = parameter_set().values
    cell = Cell(p, initial_potential=1.0, terms=Terms(convection=True))
    cell.set_current(-4.0 * p.area, cut_offs=(0.02, 1.1))
    cell.advance(0.1)
    tracemalloc.start()
    start = default_timer()
    lithiating, early = True, 0
    while cell.time < _HOURS * 3600.0:
        cell.advance(0.1)
        if cell.reached_cut_off:
            lithiating = not lithiating
            cell.set_current((-4.0 if lithiating else 4.0) * p.area, cut_offs=(0.02, 1.0))
        if early == 0 and cell.time > 3600.0:
            early = tracemalloc.get_traced_memory()[0]
    took = default_timer() - start
    grown = tracemalloc.get_traced_memory()[0] - early
    tracemalloc.stop()
    met = took <= 60.0 and grown < 100_000
    limit = f"{took * 1e5 / (_HOURS * 3600.0):.3g} µs per step of 0.1 s; memory grew by {grown} bytes in 23 h"
    return [BenchRow("24 h of cycling", took, "s", "real time 86 400 s", limit, "<= 60 s; memory flat", met)]
