"""Draws every fault of the twin once, each from a run of its own: docs/images/faults/*.png.

python -m scripts.twin_faults [NAME …]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np

from opsicm.cli.execute import execute
from opsicm.experiment.file import read_experiment
from opsicm.record.reader import Run

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "faults"
AT_REST = "  - open_circuit: {{for_s: {seconds}}}"
SWEEP = "  - sweep: {{from_V: 1.2, to_V: 0.8, rate_mV_s: 100, cycles: 2}}"
TEXT = """\
opsicm: 1
title: {name}
rig: twin/demo
pipette: {{bias_V: 0.7}}
specimen: {{loading_mg_cm2: 0.1}}
cell:
{cell}
probe:
  - {probe}
envelope: {{cell_V: [0.2, 2.0], pipette_nA: 20}}
record: {{cell_potential: decimated, cell_current: decimated, pipette_bias: decimated}}
twin: {{faults: [{{fault: {name}, {amounts}}}]}}
"""
HOP = "hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}"
PARK = "park: {height_um: 10}"
# Fault → (its amounts, cell program, seconds, probe)
RUNS = {
    "drift": ("at_s: 5, for_s: 20, pct_per_min: 12", AT_REST, 30, HOP),
    "clog": ("at_s: 5, for_s: 3, share: 0.4, rise_s: 0.3", AT_REST, 12, HOP),
    "break": ("at_s: 5, radius_nm: 100", AT_REST, 10, HOP),
    "crash": ("at_s: 5, rise_nm: 3000, radius_nm: 100", AT_REST, 10, HOP),
    "bubble": ("at_s: 5, for_s: 2, share: 0.5, flicker_Hz: 10", AT_REST, 10, HOP),
    "fouling": ("at_s: 5, share: 0.4, tau_s: 10", AT_REST, 30, HOP),
    "loose_reference": ("at_s: 5, for_s: 5, amplitude_mV: 5, flicker_Hz: 2", SWEEP, 16, HOP),
    "saturated_amplifier": ("at_s: 5", AT_REST, 10, HOP),
    "lost_potentiostat": ("at_s: 5", SWEEP, 16, HOP),
    "late_answers": ("at_s: 5, for_s: 5, latency_ms: 200", SWEEP, 16, PARK),
    "clock_skew": ("at_s: 2, skew_ppm: 50000", SWEEP, 16, PARK),
}


def run_of(name: str, folder: Path) -> Run:
    """The run that shows a fault."""
    amounts, cell, seconds, probe = RUNS[name]
    path = folder / f"{name}.yaml"
    text = TEXT.format(name=name, amounts=amounts, cell=cell.format(seconds=seconds), probe=probe)
    path.write_text(text, encoding="utf-8")
    return Run(execute(read_experiment(path), folder / name).path)


def draw(name: str, run: Run) -> None:
    """Pipette current, heights and the cell against time, with what the run said last."""
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(6.4, 5.2), sharex=True, layout="constrained")
    slow, cell, hops = run.slow, run.cell, run.hops
    if hops["t_ns"].size:
        for segment in run.segments():
            samples = run.samples(segment)
            every = max(1, samples["pipette_current"].size // 4000)
            time = samples["t_ns"].values[::every] * 1e-9
            top.plot(time, samples["pipette_current"].values[::every] * 1e9, "-", lw=0.4, color="0.6")
        t = hops["t_ns"].values * 1e-9
        top.plot(t, hops["i_ref"].values * 1e9, ".", ms=3, color="C0", label="reference of each hop")
        met = hops["outcome"].values == 0
        middle.plot(t[met], hops["z_stop"].values[met] * 1e9, ".", ms=3, color="C2", label="contact")
        middle.plot(t[~met], hops["z_stop"].values[~met] * 1e9, "x", ms=4, color="C3", label="no contact")
        middle.set_ylabel("height z (nm)")
    else:
        top.plot(slow["t_ns"].values * 1e-9, slow["pipette_current"].values * 1e9, ".-", ms=3, lw=0.6, label="readings")
        residual = slow["pipette_bias"].values + np.interp(
            slow["t_ns"].values, cell["t_ns"].values, cell["potential"].values
        )
        middle.plot(slow["t_ns"].values * 1e-9, (residual - 0.7) * 1e3, ".-", ms=3, lw=0.6, label="bias residual")
        middle.set_ylabel("V$_{cmd}$ + E − 0.7 V (mV)")
    bottom.plot(cell["t_ns"].values * 1e-9, cell["potential"].values, "-", color="C4", label="E vs Li/Li$^+$ (V)")
    other = bottom.twinx()
    other.plot(cell["t_ns"].values * 1e-9, cell["current"].values * 1e3, "-", lw=0.8, color="C1")
    other.set_ylabel("cell current (mA), < 0 lithiates", fontsize=7)
    if np.ptp(cell["potential"].values) < 1e-3:  # at rest: rounding is not to be magnified
        bottom.set_ylim(1.1, 1.3)
        other.set_ylim(-0.1, 0.1)
    top.set_ylabel("pipette current (nA)")
    bottom.set_ylabel("E vs Li/Li$^+$ (V)")
    bottom.set_xlabel("time (s)")
    for axis in (top, middle):
        axis.legend(fontsize=7, loc="best")
    top.set_title(f"{name}: {RUNS[name][0]}", fontsize=9)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png", dpi=80)
    plt.close(figure)


def main() -> None:
    """Draw those that are named, or all."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or RUNS:
            run = run_of(name, Path(folder))
            draw(name, run)
            alarms = [str(fact.data["message"]) for fact in run.facts if fact.kind == "alarm"]
            sys.stdout.write(f"{name}: {run.outcome} {alarms}\n")


if __name__ == "__main__":
    main()
