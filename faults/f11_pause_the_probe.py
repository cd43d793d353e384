"""F11: the probe paused and resumed at random moments. Holds when the cell's time line is the same to 1 ms and no
potential is applied twice."""

from __future__ import annotations

import random

import numpy as np

from faults.outcome import Outcome
from faults.steered_run import MemoryRecorder, run_steered
from opsicm.experiment.controls import control_from_data
from opsicm.experiment.file import experiment_from_text
from opsicm.runner.commands import Command

_EXPERIMENT = """\
opsicm: 1
title: to be paused
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 0.4, for_s: 7.5}
  - sweep: {from_V: 0.4, to_V: 0.1, rate_mV_s: 20, cycles: 2}
  - constant_current: {current_mA: -0.05, until: {for_s: 11}}
  - rest: {for_s: 5}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.5, 2.0]}
"""
_TURNS = 83.5  # [s]


def applied_controls(run: MemoryRecorder) -> list[tuple[str, int]]:
    """(control, ns) of everything applied."""
    return [
        (repr(control_from_data(f.data["control"])), f.data["at_ns"])
        for f in run.facts
        if f.kind == "applied" and "at_ns" in f.data
    ]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """10 pauses in short, 100 in full, all in one run."""
    n = 10 if short else 100
    moments = sorted(draw.uniform(0.0, _TURNS) for _ in range(2 * n))
    words = ("pause-probe", "resume-probe")
    commands = [(round(t * 1e9), Command(words[k % 2])) for k, t in enumerate(moments)]
    experiment = experiment_from_text(_EXPERIMENT)
    plain, paused = run_steered(experiment), run_steered(experiment, commands)
    a, b = applied_controls(plain), applied_controls(paused)
    worst = max((abs(x[1] - y[1]) for x, y in zip(a, b, strict=False)), default=0) * 1e-9
    repeated = len(b) - len(set(b))
    # Away from the vertices of the sweep, where rows a second apart would compare two interpolations.
    at = np.linspace(10.0, 60.0, 400)
    potentials = [np.interp(at, r.column("t_ns") * 1e-9, r.column("potential")) for r in (plain, paused)]
    apart = float(np.max(np.abs(potentials[0] - potentials[1])))
    accepted = sum(ok for ok, _ in paused.answers)
    observed = (
        f"controls at most {worst * 1e3:.3g} ms apart, {repeated} applied twice, potential {apart * 1e3:.2g} mV apart, "
        f"{accepted} of {2 * n} commands accepted"
    )
    same = [x[0] for x in a] == [y[0] for y in b]
    holds = same and worst <= 1e-3 and not repeated and apart < 2e-3
    return [Outcome("F11", "pause and resume the probe", n, observed, holds)]
