"""The hop: hops and samples per second of the twin's fast loop, against a NumPy version that gives the same stops.

The NumPy version takes a hop at a time: the whole fall as one array, both lags by `scipy.signal.lfilter`, the crossing
by `argmax`, then the rise. That is as far as arrays go: where the next hop begins depends on where this one stopped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from benchmarks.record_memory import private_bytes
from benchmarks.row import BenchRow
from opsicm.cli.rigs import load_rig, prepare
from opsicm.experiment.file import LoadedExperiment, experiment_path, read_experiment
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.rig_file import LoadedRig
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.hop import HopSettings, HopTiming, start
from opsicm.instruments.roles import HopPlan
from opsicm.physics.noise import gaussian_block
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.twin.fast_loop import (
    STOP,
    FilterState,
    Hops,
    Instrument,
    LoopState,
    Slice,
    Stream,
    approach_table,
    run_slice,
    run_slice_by_definition,
)

_HOPS: Final = 200
_DT: Final = 1e-5  # [s]
_MANY_HOPS: Final = 6000
_GROWTH: Final = 1e6  # [bytes]: pages that the allocator keeps
_IMAGE_GOAL: Final = (
    "128 × 128 hops of 2 µm at 30 nm/ms, 100 kS/s, first-order scanner: ≥ 1500× real time and aim for 2000×"
)
_POINT_GOAL: Final = "one point hopped for an hour, or a second-order scanner: ≥ 500×"
_SURFACE: Final = -3e-6
_BULK: Final = 3.6e-9
_SEED: Final = 1
_HOP: Final = HopParameters(amplitude=2e-6, fall_rate=30e-6, setpoint=0.02, approach=5e-6)
_TIMING: Final = HopTiming(4e-3, 4e-3, 4e-4, 3e-4, 9.5e-9, 10_000)
_INSTRUMENT: Final = Instrument(1 - np.exp(-0.05), 1 - np.exp(-0.314), 3.5e-12, 0.3e-9, 1e-5, 3.05e-13, 3.05e-10)
_CURVE: Final = approach_curve(Pipette())
_TABLE: Final = approach_table(_CURVE.packed)

Noise = Callable[[int, int, int], NDArray[np.float32]]


class LoopRecord(NamedTuple):
    """The record of a compiled loop, and the time [s] it took."""

    stops: NDArray[np.int64]  # sample of each
    samples: int
    record: bytes  # all of it: counts and event log
    seconds: float


def loop(hops: int, run: Any = run_slice, resonance: float = 0.0) -> LoopRecord:
    """`hops` hops by a compiled loop: the fast one, or its definition."""
    settings = _TIMING.settings(_HOP)
    log = np.zeros((hops, 5), np.int64), np.full((hops, 5), np.inf)
    plan = Hops(np.full(hops, _SURFACE), np.full(hops, 2e-6), *log)
    counts = np.empty((hops * 8_400 + 4_000, 2), np.int16)
    state = LoopState(start(0.0), FilterState(0.0, 0.0, _BULK), 0)
    now, instrument = Slice(counts.shape[0], _BULK, _BULK), _INSTRUMENT._replace(resonance=resonance)
    watch = stopwatch()
    _, taken, *_ = run(state, settings, instrument, now, Stream(0, 1, _SEED), plan, _TABLE, counts)
    seconds = watch()
    record = plan.moments.tobytes() + plan.measured.tobytes() + counts[:taken].tobytes()
    return LoopRecord(plan.moments[:, STOP], taken, record, seconds)


def python_hops(hops: int) -> tuple[list[int], int]:
    """(sample index of each stop, samples) sample by sample in plain Python, with the loop's own noise."""
    s, i, curve = _TIMING.settings(_HOP), _INSTRUMENT, [float(v) for v in _CURVE.packed]
    first, second = ([float(v) for v in same_noise(channel, 0, hops * 8_400 + 4_000)] for channel in (0, 1))
    z, filtered, command, k = 0.0, _BULK, 0.0, 0
    stops: list[int] = []
    while len(stops) < hops:
        phase, spent, total, reference, top, target = "reference", 0, 0.0, 0.0, command, 0.0
        while phase != "top":
            z += i.scanner_gain * (command - z)
            raw = _BULK * _plain_relative_current(z - _SURFACE, curve) + i.current_noise * first[k]
            filtered += i.filter_gain * (raw - filtered)
            current = math.floor(filtered / i.current_scale + 0.5) * i.current_scale
            height = math.floor((z + i.height_noise * second[k]) / i.height_scale + 0.5) * i.height_scale
            spent += 1
            if phase == "reference":
                total += current if spent > s.settle else 0.0
                if spent == s.settle + s.reference:
                    phase, spent, reference = "fall", 0, total / s.reference
            elif phase == "fall" and current <= (1.0 - s.setpoint) * reference:
                stops.append(k)
                phase, spent, target = "latency", 0, height + s.amplitude
                command -= s.fall_step
            elif phase == "fall":
                command = top - spent * s.fall_step
            elif phase == "latency" and spent < s.latency:
                command -= s.fall_step
            else:
                phase, command = "rise", min(command + s.rise_step, target)
                phase = "top" if command >= target else phase
            k += 1
    return stops, k


def _plain_relative_current(distance: float, packed: list[float]) -> float:
    a, far, x0, h, n = packed[:5]
    x = math.log(distance / a)
    cell = min(max(int((x - x0) / h), 0), int(n) - 1)
    t = min(x, x0 + h * n) - x0 - cell * h
    c0, c1, c2, c3 = packed[6 + 4 * cell : 10 + 4 * cell]
    return far / (far + math.exp(c0 + t * (c1 + t * (c2 + t * c3)) - x))


def _plan(first: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> HopPlan:
    numbers = np.zeros(x.size, np.int32)
    amplitude = np.full(x.size, _HOP.amplitude)
    return HopPlan("probe[0]", 1, first, x, y, numbers, numbers, amplitude, _HOP, 0.7, 2**62)


def memory_growth(hops: int) -> int:
    """[bytes] of its own that the process holds more after `hops` hops at one point than after as many before."""
    controller = _controller()
    many = np.zeros(12)

    def hop() -> None:
        for k in range(0, hops, 12):
            controller.run(_plan(k, many, many), lambda: False)

    hop()
    before = private_bytes(os.getpid())
    hop()
    return private_bytes(os.getpid()) - before


def _controller() -> Any:
    """The twin's own hop controller in front of its cell, engaged."""
    experiment = read_experiment(experiment_path("short/e09_height_during_voltammogram.yaml"))
    return controller_of(experiment, load_rig(experiment, None))


def controller_of(experiment: LoadedExperiment, loaded: LoadedRig) -> Any:
    """The hop controller of a twin in front of its cell, engaged at a bias of 0.7 V."""
    rig = prepare(experiment, loaded, _SEED, lambda _: None).rig
    rig.coarse_stage.move_to(rig.hop_controller.start_height)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    return rig.hop_controller


def hops_at(controller: Any, points: Iterable[tuple[float, float]]) -> float:
    """Virtual [s] of hops at `points` [m] by a twin's controller, in plans, cell and all."""
    x, y = np.array(list(points)).T
    plans = [_plan(k, x[k : k + 12], y[k : k + 12]) for k in range(0, x.size, 12)]
    samples = sum(block.counts.shape[0] for plan in plans for block in controller.run(plan, lambda: False).blocks)
    return float(samples * controller.timing.dt_ns * 1e-9)


def virtual_time(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """(virtual [s], processor's [s]) of hops at `points` [m] by the twin's own controller; the first plan not timed."""
    controller, places = _controller(), list(points)
    hops_at(controller, places[:12])
    watch = stopwatch()
    return hops_at(controller, places[12:]), watch()


def same_noise(channel: int, first: int, count: int) -> NDArray[np.float32]:
    """The loop's own numbers: for the comparison of the stops."""
    out = np.empty(count, np.float32)
    gaussian_block(_SEED, 16 + channel, first, out)
    return out


def numpy_hops(hops: int, noise: Noise) -> tuple[NDArray[np.int64], int]:
    """(sample index of each stop, samples) by arrays, hop after hop."""
    s: HopSettings = _TIMING.settings(_HOP)
    i = _INSTRUMENT
    z, filtered, command, first = 0.0, _BULK, 0.0, 0
    stops = np.empty(hops, np.int64)
    wait = s.settle + s.reference
    for hop in range(hops):
        reach = wait + int((command - _SURFACE) / s.fall_step) + 200
        commands = command - s.fall_step * np.maximum(0, np.arange(reach) - wait)
        z_all, current, heights = _sense(commands, z, filtered, first, noise)
        reference = _counts(current, i.current_scale)[s.settle : wait].mean()
        falling = _counts(current, i.current_scale)[wait:]
        stop = wait + int(np.argmax(falling * reference <= (1.0 - s.setpoint) * reference * reference))
        stops[hop] = first + stop
        turn = stop + s.latency
        target = _counts(heights, i.height_scale)[stop] + s.amplitude
        bottom = commands[turn]
        steps = int(np.ceil((target - bottom) / s.rise_step))
        rise = np.minimum(bottom + s.rise_step * np.arange(1, steps + 1), target)
        z2, current2, _ = _sense(rise[:-1], z_all[turn], current[turn], first + turn + 1, noise)
        z, filtered, command = float(z2[-1]), float(current2[-1]), float(rise[-1])
        first += turn + 1 + rise.size - 1
    return stops, first


def _sense(
    commands: NDArray[np.float64], z: float, filtered: float, first: int, noise: Noise
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    i = _INSTRUMENT
    true, _ = lfilter([i.scanner_gain], [1.0, i.scanner_gain - 1.0], commands, zi=[(1 - i.scanner_gain) * z])
    gap = true - _SURFACE
    raw = _BULK * _CURVE.relative_current(gap)
    raw = raw + i.current_noise * noise(0, first, commands.size)
    current, _ = lfilter([i.filter_gain], [1.0, i.filter_gain - 1.0], raw, zi=[(1 - i.filter_gain) * filtered])
    return true, current, true + i.height_noise * noise(1, first, commands.size)


def _counts(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    return np.asarray(np.floor(values / scale + 0.5) * scale)


def row() -> list[BenchRow]:
    """Times real time of the twin's pipeline; the loop against NumPy and plain Python, in one run."""
    image, image_s = virtual_time((1e-7 * (k % 128), 1e-7 * (k // 128)) for k in range(16 * 128))
    point, point_s = virtual_time((0.0, 0.0) for _ in range(760))
    loop(2)
    fast = min((loop(_HOPS) for _ in range(3)), key=lambda done: done.seconds)
    same = fast.record == loop(_HOPS, run_slice_by_definition).record
    ringing = min((loop(_HOPS, resonance=0.1) for _ in range(3)), key=lambda done: done.seconds)
    second = ringing.samples * _DT / ringing.seconds
    grown = memory_growth(_MANY_HOPS)
    agreed = int(np.count_nonzero(numpy_hops(20, same_noise)[0] == fast.stops[:20]))
    drawn = np.random.default_rng(1)
    watch = stopwatch()
    _, peer_samples = numpy_hops(_HOPS, lambda _channel, _first, count: drawn.standard_normal(count, np.float32))
    peer_s = watch()
    watch = stopwatch()
    plain_stops, plain_samples = python_hops(3)
    plain_s = watch()
    rate, peer, plain = fast.samples / fast.seconds, peer_samples / peer_s, plain_samples / plain_s
    plainly = int(np.count_nonzero(np.array(plain_stops) == fast.stops[:3]))
    words = f"{agreed} of 20 stops on the same sample"
    definition = f"records and samples of the scalar definition: {'the same bits' if same else 'NOT the same'}"
    return [
        BenchRow(
            "twin_image",
            image / image_s,
            "x real time",
            "",
            f"{definition}; 16 lines of the 128",
            _IMAGE_GOAL,
            same and image / image_s >= 1500.0,
        ),
        BenchRow(
            "twin_point",
            point / point_s,
            "x real time",
            "",
            f"{definition}; a minute of the hour",
            _POINT_GOAL,
            same and point / point_s >= 500.0,
        ),
        BenchRow("twin_second_order", second, "x real time", "", "the loop alone", _POINT_GOAL, second >= 500.0),
        BenchRow(
            "twin_memory",
            grown * 1e-6,
            "MB",
            "",
            f"{_MANY_HOPS} hops in plans of 12, after as many",
            "no growth of memory with hops",
            grown < _GROWTH,
        ),
        BenchRow("twin_loop", rate * _DT, "x real time", "", f"the loop alone; {definition}", "", None, "reported"),
        BenchRow("sample_rate", rate * 1e-6, "MS/s", f"NumPy {peer * 1e-6:.3g} MS/s", words, "", None, "reported"),
        BenchRow(
            "samples_over_numpy",
            rate / peer,
            "1",
            "NumPy, hop by hop",
            words,
            "≥ 5× a good NumPy version",
            rate / peer >= 5.0,
        ),
        BenchRow(
            "samples_over_python",
            rate / plain,
            "1",
            f"plain Python {plain * 1e-6:.2g} MS/s",
            f"{plainly} of 3 stops on the same sample",
            "≥ 90× pure Python",
            rate / plain >= 90.0,
        ),
    ]
