"""Pulses are counted from the first one, also where the record begins with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opsicm.analysis.cell.titration import titration


def record(pulses: int, first_rest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(t, E, I): pulses of 60 s and rests of 200 s; after the k-th the potential rests at 0.5 - 0.02 k V."""
    t, e, i = [], [], []
    now = 0.0
    parts = [("rest", 0)] * first_rest + [part for k in range(1, pulses + 1) for part in (("pulse", k), ("rest", k))]
    for kind, k in parts:
        since = np.arange(60.0 if kind == "pulse" else 200.0)
        level = 0.5 - 0.02 * k
        t.append(now + since)
        e.append(level - 0.03 - 0.001 * np.sqrt(since) if kind == "pulse" else level - 0.02 * np.exp(-since / 20.0))
        i.append(np.full(since.size, -1e-3 if kind == "pulse" else 0.0))
        now += since.size
    return np.concatenate(t), np.concatenate(e), np.concatenate(i)


@pytest.mark.parametrize("first_rest", [True, False])
def test_the_first_pulse_is_the_first(first_rest: bool) -> None:
    found = titration(*record(4, first_rest), particle_radius=5e-6)
    assert [pulse.relaxed_potential for pulse in found] == pytest.approx([0.48, 0.46, 0.44, 0.42], abs=1e-4)
    assert math.isnan(found[0].before) is not first_rest
    if not first_rest:
        assert found[0].diffusivity is None
        assert found[0].reason.startswith("the record begins with this pulse")
        assert found[1].before == pytest.approx(0.48, abs=1e-4)


def test_a_current_and_a_rest_are_no_titration() -> None:
    assert titration(*record(1, first_rest=False)) == []
    assert len(titration(*record(1, first_rest=True))) == 1
