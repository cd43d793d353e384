# ruff: noqa: E501 - one experiment a line
"""What `check` passes, a run does not stop for: experiments that once did, found by drawing and running small ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.cli.check import checked_run
from opsicm.cli.execute import execute
from opsicm.core.errors import BadInput
from opsicm.experiment.file import read_experiment

PARK = "park: {height_um: 20}"
HOP = "amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2"
# rig, bias [V], loading [mg/cm²], cell steps, probe steps, and what check says; empty where the run must complete.
DRAWN = {
    "a cut-off's jump": ("demo", 0.7, 4.4, ["constant_current: {current_mA: -2, until: {potential_V: 0.1}}", "rest: {for_s: 3}"],
                         [f"hop: {{at_um: [0, 0], {HOP}}}"], ""),
    "ended by its charge": ("demo", 0.7, 0.05, ["constant_current: {lithiate: 2C, until: {charge_mAh: 1.0e-05}}",
                                               "hold: {potential_V: 0.2, for_s: 5}"],
                            [f"hop: {{at_um: [3, 0], {HOP}}}"], ""),
    "a charge of no time": ("demo", 0.7, 1, ["constant_current: {current_mA: 0.5, until: {charge_mAh: 1.0e-05, soc_pct: 95}}"], [], ""),
    "bias cancelled far up": ("demo", 0.3, 4.4, ["rest: {for_s: 0.3}", "sweep: {from_V: 0.3, to_V: 1.7, rate_mV_s: 200}"], [], ""),
    "a hop of 3 s": ("demo", 0.7, 0.05, ["rest: {for_s: 15}"],
                     ["hop: {at_um: [0, 0], amplitude_nm: 1500, fall_nm_per_ms: 0.5, setpoint_pct: 2}"], ""),
    "cancelled at the jump to a sweep's start": ("graphite", 0.3, 4.4, ["sweep: {from_V: 1.7, to_V: 0.01, rate_mV_s: 2}"],
                                                 ["tower: {low_um: 5, high_um: 500, speed_mm_s: 0.5, during: cell[0]}"],
                                                 "because the cell's current cancels it there"),
    "beyond the material": ("lico2", 0.7, 0.05, ["sweep: {from_V: 0.005, to_V: 0.01, rate_mV_s: 100}"], [PARK],
                            "the specimen cannot follow it"),
    "an approach across vertices": ("demo", 0.3, 0.05, ["sweep: {from_V: 0.4, to_V: 1.5, rate_mV_s: 1000, cycles: 4}"],
                                    ["engage: {fall_nm_per_ms: 1, setpoint_pct: 1, step_um: 5}"], "a single approach lasts 5 s"),
    "wrong sign": ("demo", 0.7, 1, ["gitt: {c_rate: 0.1, pulse_s: 5, rest_s: 5, until: {potential_V: 0.01}}"], [PARK],
                   "ends where it begins"),
    "parked low": ("graphite", 0.7, 0.05, ["sweep: {from_V: 1.2, to_V: 0.01, rate_mV_s: 20}"], ["park: {height_um: 0.1}"],
                   "and comes too near at"),
    "rough": ("graphite", 0.7, 1, ["rest: {for_s: 30}"],
              [f"raster: {{center_um: [0, 0], size_um: [15, 15], pixels: [12, 12], {HOP}}}"], "the tip would strike it"),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_what_check_passes_completes_and_what_would_stop_is_refused(tmp_path: Path, name: str) -> None:
    rig, bias, loading, cell, probe, words = DRAWN[name]
    lines = [f"opsicm: 1\ntitle: {name}\nrig: twin/{rig}\npipette: {{bias_V: {bias}}}"]
    lines += [f"specimen: {{loading_mg_cm2: {loading}}}", "cell:", *(f"  - {step}" for step in cell)]
    lines += ["probe:", *(f"  - {step}" for step in probe)] if probe else []
    envelope = "[-0.05, 4.5]" if rig == "lico2" else "[-0.6, 2.0]"
    path = tmp_path / "experiment.yaml"
    path.write_text("\n".join([*lines, f"envelope: {{cell_V: {envelope}}}\n"]), encoding="utf-8")
    loaded = read_experiment(path)
    if words:
        with pytest.raises(BadInput) as refused:
            checked_run(loaded, None, None)
        assert words in str(refused.value)
    else:
        checked_run(loaded, None, None)
        ending = execute(loaded, tmp_path / "out").ending
        assert ending.outcome == "completed", ending.error
