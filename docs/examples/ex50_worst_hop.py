"""Example 50. The worst hop of a run, told again: its samples through the same pure step that made it.

    python docs/examples/ex50_worst_hop.py [RUN [PICTURE.png]]

Without a RUN it makes one: six seconds of hops during which a clog comes and goes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np

from opsicm.cli.execute import execute
from opsicm.cli.rigs import load_rig, rig_numbers
from opsicm.experiment.file import read_experiment
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.figures.draw import draw, png
from opsicm.figures.view import Axis, CurvePanel, Series, View
from opsicm.instruments.hop import SETTLE, STOP_DECIDED, start, step
from opsicm.record.reader import Run

matplotlib.use("Agg")
TEXT = """\
opsicm: 1
title: a clog comes and goes
rig: twin/demo
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 6}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
twin: {faults: [{fault: clog, at_s: 3, for_s: 0.5, share: 0.1, rise_s: 0.05}]}
"""


def own_run(folder: Path) -> Path:
    """A run of the text above."""
    (folder / "experiment.yaml").write_text(TEXT, encoding="utf-8")
    return execute(read_experiment(folder / "experiment.yaml"), folder, seed=1).path


def told_again(run: Run, hop: int) -> tuple[int, float, float]:
    """(sample of the stop, reference current [A], height [m]) that the pure step finds in the recorded samples.

    It is fed from the hop before, whose reference it may be judged by.
    """
    folder = run.path.parent
    loaded = read_experiment(folder / "experiment.yaml")
    experiment = loaded.experiment
    hopping = {placed.path: placed.step for placed in written_steps("probe", experiment.probe)}[
        run.hops["step"].values[hop]
    ]
    assert isinstance(hopping, ApproachingStep)
    timing = rig_numbers(loaded, load_rig(loaded, str(folder))).timing
    settings = timing.settings(experiment.hop_parameters(hopping))
    before = run.trace(hop - 1)
    # Where the command stands is not recorded: the step's heights are measured ones, so any start will do.
    state = start(float(before["z"].values[0]))
    stop = (-1, 0.0, 0.0)
    plain = step.py_func
    for part in (before, run.trace(hop)):
        state = state._replace(phase=SETTLE, spent=0)  # a hop begins where its record says
        first = int(run.hops["sample_start"][hop])
        for k, (current, z) in enumerate(zip(part["pipette_current"].values, part["z"].values, strict=True)):
            state, event = plain(state, settings, current, z)
            if event == STOP_DECIDED:
                stop = (first + k, state.i_ref, state.z_stop)
    return stop


def view(run: Run, hop: int) -> View:
    """Current and height of the hop and of its neighbours against time."""
    milliseconds, current, height = [], [], []
    record = run.hops
    begins = float(record["sample_start"][hop])
    for k in range(max(0, hop - 1), min(record.sizes["hop"], hop + 2)):
        trace = run.trace(k)
        at = float(record["sample_start"][k]) - begins + np.arange(trace.sizes["sample"])
        milliseconds.append(at * run.dt_ns * 1e-6)
        current.append(trace["pipette_current"].values * 1e9)
        height.append(trace["z"].values * 1e9)
    t, z = np.concatenate(milliseconds), np.concatenate(height)
    inside = np.array([0.0, float(record["sample_top"][hop]) - begins]) * run.dt_ns * 1e-6
    i_ref = float(record["i_ref"][hop]) * 1e9
    threshold = i_ref * (1.0 - float(record["setpoint"][hop]))
    time = Axis("time from the start of the hop", "ms")
    stop = np.full(2, (float(record["sample_stop"][hop]) - begins) * run.dt_ns * 1e-6)
    return View(
        "worst_hop",
        f"hop {hop} and its neighbours",
        (
            CurvePanel(
                time,
                Axis("pipette current", "nA"),
                (
                    Series("samples", t, np.concatenate(current), "pipette"),
                    Series("its reference", inside, np.full(2, i_ref), "model"),
                    Series("its threshold", inside, np.full(2, threshold), "limit", "dashed"),
                ),
            ),
            CurvePanel(
                time,
                Axis("z", "nm"),
                (
                    Series("samples", t, z, "height"),
                    Series("stop", stop, np.array([z.min(), z.max()]), "limit", "dashed"),
                ),
            ),
        ),
        share_x=True,
    )


def _chosen(arguments: list[str], folder: Path) -> Path:
    return Path(arguments[0]) if arguments else own_run(folder)


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, Run(_chosen(arguments, Path(folder))) as run:
        heights = run.hops["z_stop"].values
        # The first hop of a step has no hop before it to be judged by.
        hop = 1 + int(np.argmax(np.abs(heights[1:] - np.median(heights))))
        sample, i_ref, z_stop = told_again(run, hop)
        record = run.hops.isel(hop=hop)
        print(f"worst hop        {hop} of {heights.size}: {(heights[hop] - np.median(heights)) * 1e9:+.0f} nm off")
        print(f"stop at sample   computed {sample}   recorded {int(record['sample_stop'])}")
        print(f"reference        computed {i_ref * 1e9:.4f} nA   recorded {float(record['i_ref']) * 1e9:.4f} nA")
        print(f"height           computed {z_stop * 1e9:.1f} nm   recorded {float(record['z_stop']) * 1e9:.1f} nm")
        if len(arguments) > 1:
            Path(arguments[1]).write_bytes(png(draw(view(run, hop)), dpi=80))


if __name__ == "__main__":
    main(sys.argv[1:])
