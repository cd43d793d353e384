"""The emulated data-acquisition card through NI's own client: samples in real time, and the round trip of a command.

The server and the world behind it run in a process of their own, as they would in another computer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.cli.rigs import pipette_of, prepare, specimen_parameters
from opsicm.drivers.ni_card import NiCard, card
from opsicm.emulators.ni_grpc_server import serve
from opsicm.emulators.paced_world import SLICE_NS, PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import read_rig, rig_from_text, rig_path
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.registry import RigSetup, RoleSetup
from opsicm.instruments.roles import Rig

_SECONDS: Final = 5.0
_TRIPS: Final = 2000
_SETTINGS: Final = "{z_output: Dev1/ao0, z_um_per_V: 1, monitor_a: Dev1/ai6, monitor_b: Dev1/ai7}"
_RIG: Final = """opsicm_rig: 1
title: eight inputs
roles:
  amplifier: {driver: patch_clamp, address: ADDRESS, settings: {gain_telegraph: Dev1/ai4, mode_telegraph: Dev1/ai5}}
  potentiostat: {driver: analogue_potentiostat, address: ADDRESS}
  scanner: {driver: nidaqmx, address: ADDRESS, settings: SETTINGS}
  hop_controller: {driver: nidaqmx, address: ADDRESS}
  coarse_stage: {driver: zaber}
clock: {master: hop_controller, rate_kS_s: RATE}
channels:
  - {name: pipette_current, role: amplifier, input: Dev1/ai0, gain: 1.0e-9}
  - {name: z, role: scanner, input: Dev1/ai1, gain: 1.0e-6}
  - {name: cell_potential, role: potentiostat, input: Dev1/ai2}
  - {name: cell_current, role: potentiostat, input: Dev1/ai3, gain: 1.0e-2}
wiring: {grounding: common, external_bias_mV_per_V: 200}
"""
_EXPERIMENT: Final = """opsicm: 1
title: what stands behind the card
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 1}
"""


def _rig(address: str, rate_kS_s: float) -> str:
    return _RIG.replace("ADDRESS", address).replace("SETTINGS", _SETTINGS).replace("RATE", f"{rate_kS_s:g}")


def serve_until_closed() -> None:
    """The card on the wire until standard input ends; its address is printed."""
    experiment, behind = experiment_from_text(_EXPERIMENT), read_rig(rig_path("twin/graphite"))

    def connect(hold: Callable[[int], None]) -> Rig:
        return prepare(experiment, behind, 1, hold, slice_ns=SLICE_NS).rig

    address = "grpc://127.0.0.1:0/Dev1"
    with PacedWorld(connect) as world:
        server = serve(world, Entry("nidaqmx", address, {}, rig_from_text(_rig(address, 100.0))))
        sys.stdout.write(server.address + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.close()


@contextmanager
def connected(rate_kS_s: float) -> Iterator[NiCard]:
    """A card of eight inputs at this rate, its server in another process."""
    command = [sys.executable, "-c", "from benchmarks.daq import serve_until_closed; serve_until_closed()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        with ExitStack() as connections:
            loaded = rig_from_text(_rig(process.stdout.readline().strip(), rate_kS_s))
            experiment, behind = experiment_from_text(_EXPERIMENT), read_rig(rig_path("twin/graphite"))
            parameters, pipette = (
                specimen_parameters(experiment, behind).values,
                pipette_of(experiment.experiment, behind),
            )
            setup = RigSetup(loaded, experiment.experiment, parameters, pipette, connections=connections)
            yield card(RoleSetup("scanner", loaded.role("scanner").address, None, setup))
    finally:
        process.stdin.close()
        process.wait(20.0)


def throughput(rate_kS_s: float, seconds: float) -> tuple[float, int, int]:
    """(samples per second of each input, how many were lost, inputs) over `seconds`, from when the card has settled."""
    with connected(rate_kS_s) as one:
        assert len(one.inputs) == 8
        assert one.ring.wait_for(round(one.rate), 20.0)
        watch, before = stopwatch(), one.ring.end
        pause(seconds)
        return (one.ring.end - before) / watch(), one.ring.lost, len(one.inputs)


def round_trips() -> NDArray[np.float64]:
    """[s] of writes to an output while eight inputs are sampled at 100 kS/s."""
    with connected(100.0) as one:
        assert one.ring.wait_for(round(one.rate), 20.0)
        each = np.empty(_TRIPS)
        for k in range(_TRIPS):
            watch = stopwatch()
            one.write("ao0", 0.001 * (k % 2))
            each[k] = watch()
        return each


def row() -> list[BenchRow]:
    """A million samples a second of eight inputs, and two thousand commands."""
    rate, lost, inputs = throughput(1000.0, _SECONDS)
    p50, p99 = np.percentile(round_trips(), [50, 99]) * 1e3
    return [
        BenchRow(
            "emulated DAQ, samples",
            rate * 1e-6,
            "MS/s",
            "",
            f"x {inputs} inputs for {_SECONDS:g} s, {lost} lost; server in a process of its own",
            "emulated DAQ ≥ 1 MS/s × 8 in real time with no lost sample",
            rate >= 0.995e6 and lost == 0,
        ),
        BenchRow(
            "emulated DAQ, command round trip p99",
            float(p99),
            "ms",
            "",
            f"{_TRIPS} writes on loopback while eight inputs are sampled, median {p50:.2f} ms",
            "command round trip p99 ≤ 5 ms on loopback",
            bool(p99 <= 5.0),
        ),
    ]
