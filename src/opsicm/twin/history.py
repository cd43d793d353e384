"""A specimen with a past: what was applied to it before, applied again, without a probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opsicm.experiment.controls import CellControl
from opsicm.physics.cell.cell import Cell
from opsicm.twin.far_pipette import FarPipette
from opsicm.twin.specimen import RisingSurface
from opsicm.twin.travel import Travel
from opsicm.twin.world import World

_BEGUN_NS = 1_000_000


def live_through(cell: Cell, history: Sequence[tuple[int, CellControl]]) -> None:
    """Take `cell` through every (nanosecond, control) of a run, in its order; the last one is where the run ended.

    The same world with the same steps as in the run, so the state is the one that it ended in, but for where a control
    ended early: the journal knows that to the turn of the loop, up to 0.1 s late.
    """
    electrolyte = cell.parameters.electrolyte
    pipette = FarPipette(1.0, electrolyte.kappa_table, electrolyte.concentration, 0.0)
    world = World(cell, RisingSurface(np.zeros((2, 2)), 1.0, 1.0, cell), pipette, Travel(0.0, 1.0))
    for at_ns, control in history:
        world.schedule(control, at_ns)
        world.advance_to(max(at_ns, world.now_ns) + _BEGUN_NS)
