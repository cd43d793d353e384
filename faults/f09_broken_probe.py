"""F9: the amplifier overloads, the tip crashes, the reference is lost. Holds when the run stops within one hop of it,
the pipette is up before the cell opens, the rig is safe, and the journal names the limit."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from faults.emulated_run import emulated_run, faulty
from faults.outcome import Outcome
from faults.steered_run import MemoryRecorder, run_steered
from opsicm.core.facts import Outcome as HopOutcome
from opsicm.experiment.file import experiment_from_text
from opsicm.instruments.roles import Rig

_HOP_NS: Final = 250_000_000  # [ns] of a hop over a surface that has come up or gone
_EXPERIMENT: Final = """\
opsicm: 1
title: the probe breaks
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - sweep: {from_V: 1.2, to_V: 0.3, rate_mV_s: 50, cycles: 2}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.2, 1.6], cell_mA: 10, pipette_nA: 20}
"""
_FAULTS: Final = {
    "amplifier overload": ("saturated_amplifier", "overload limit of the rig file"),
    "tip crash": ("crash, rise_nm: 3000, radius_nm: 400", "envelope.pipette_nA|the pipette touches|no contact in"),
    "lost reference": (
        "loose_reference, amplitude_mV: 900, flicker_Hz: 20",
        "envelope.cell_V|envelope.bias_mV|envelope.cell_mA",
    ),
}


def broken(fault: str, at: float) -> tuple[MemoryRecorder, list[tuple[int, str]]]:
    """(the run, every role made safe and when) of a twin with a fault at `at` [s]."""
    kind, _, settings = fault.partition(", ")
    more = f", {settings}" if settings else ""
    text = _EXPERIMENT + f"twin: {{faults: [{{fault: {kind}, at_s: {at:.3f}{more}}}]}}\n"
    safe: list[tuple[int, str]] = []

    def watch(rig: Rig) -> None:
        for role in ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier"):
            device = getattr(rig, role)

            def made_safe(plain=device.safe, role: str = role) -> None:  # type: ignore[no-untyped-def]
                safe.append((rig.clock.now_ns(), role))
                plain()

            device.safe = made_safe

    return run_steered(experiment_from_text(text), change=watch), safe


def judged(name: str, at: float) -> list[str]:
    """What was wrong with the end of one run."""
    fault, limits = _FAULTS[name]
    kept, safe = broken(fault, at)
    ending, wrong = kept.ending, []
    if ending is None or ending.outcome != "fault" or not ending.safe:
        return [f"{name}: it ended as {ending}"]
    alarm = str(kept.kinds("alarm")[-1].data["message"])
    if not any(limit in alarm for limit in limits.split("|")):
        wrong.append(f"the alarm is {alarm!r}")
    ended = kept.kinds("run_ended")[0].t_ns
    hops = kept.hops_of("probe[0]")
    after = hops[hops["t_ns"] > at * 1e9]
    overloads = np.flatnonzero(after["outcome"] == HopOutcome.OVERLOAD)
    first = overloads[0] if overloads.size else 0
    if name == "amplifier overload" and after.size - first > 2:
        wrong.append(f"{after.size - first - 1} hops after the overload")
    order = [role for _, role in safe]
    if order.index("hop_controller") > order.index("potentiostat"):
        wrong.append("the cell opened before the pipette was up")
    if name != "lost reference" and ended - at * 1e9 > 1.3e9 + _HOP_NS:
        wrong.append(f"ended {ended * 1e-9 - at:.2f} s later")
    return [f"{name}: {text}" for text in wrong]


def on_the_wire() -> list[str]:
    """What was wrong when the hop controller of an emulated bench met an overload."""
    with tempfile.TemporaryDirectory() as folder, emulated_run(Path(folder)) as bench:
        bench.until("hops", lambda: bench.hops > 3)
        faulty(bench, "hop_controller", {"overload": 0.0})
        bench.thread.join(20.0)
        record = bench.record
        hops = record.hops_of("probe[0]")
        ending = record.ending
        if ending is None or ending.outcome != "fault" or not ending.safe:
            return [f"on the wire it ended as {ending}"]
        wrong = [] if "overload limit" in str(record.kinds("alarm")[-1].data["message"]) else ["the alarm"]
        met = np.flatnonzero(hops["outcome"] == HopOutcome.OVERLOAD)
        if not met.size or hops.size - met[0] > 2:
            wrong.append(f"{hops.size - (met[0] if met.size else 0) - 1} hops after the overload")
        return [f"on the wire: {text}" for text in wrong]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Each fault once, and the overload on the wire, in short; each at 20 random moments in full."""
    n = 1 if short else 20
    wrong = [text for name in _FAULTS for _ in range(n) for text in judged(name, draw.uniform(3.0, 9.0))]
    for _ in range(1 if short else 5):
        wrong += on_the_wire()
    observed = "; ".join(["stopped within one hop, pipette up first, the limit in the journal", *wrong[:3]])
    return [Outcome("F9", "overload, tip crash, lost reference", 3 * n + (1 if short else 5), observed, not wrong)]
