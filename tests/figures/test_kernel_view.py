"""The view of one pipette: the numbers that its notes state are those of its curves."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.figures.pipette import kernel_view
from opsicm.figures.view import CurvePanel
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.lateral import point_spread
from opsicm.physics.pipette.tip_field import approach_curve


def test_both_curves_pass_through_98_percent_and_the_note_states_the_shank() -> None:
    curve = approach_curve(Pipette())
    spread = point_spread(curve.pipette, float(curve.distance(np.array(0.98))))
    view = kernel_view(curve, spread)
    approach, ring, edge = view.panels
    assert isinstance(approach, CurvePanel)
    assert "33.7 nm for a shank of 20 µm" in approach.note
    for series in approach.series[:2]:
        assert np.interp(33.66, series.x, series.y) == pytest.approx(98.0, abs=0.02)
    assert isinstance(ring, CurvePanel)
    assert ring.series[0].x[np.argmax(ring.series[0].y)] == pytest.approx(56.0, abs=3.0)
    assert isinstance(edge, CurvePanel)
    marks = edge.series[1]
    assert np.interp(marks.x, edge.series[0].x, edge.series[0].y) == pytest.approx([10.0, 90.0], abs=0.2)
