"""The hop: hops and samples per second of the twin's fast loop, against a NumPy version that gives the same stops.

The NumPy version takes a hop at a time: the whole fall as one array, both lags by `scipy.signal.lfilter`, the crossing
by `argmax`, then the rise. That is as far as arrays go: where the next hop begins depends on where this one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from opsicm.app.bench.row import BenchRow
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.hop import HopSettings, HopTiming, start
from opsicm.physics.noise import gaussian_block
from opsicm.physics.pipette import Pipette
from opsicm.physics.tip_field import approach_curve
from opsicm.twin.hop_lanes import run_lanes
from opsicm.twin.hop_loop import STOP
from opsicm.twin.hop_sense import Instrument, Motion, Slice
from opsicm.twin.loop_curve import loop_curve

_HOPS: Final = 200
_SURFACE: Final = -3e-6
_BULK: Final = 3.6e-9
_SEED: Final = 1
_TIMING: Final = HopTiming(4e-3, 4e-3, 4e-4, 3e-4, 9.5e-9, 10_000)
_INSTRUMENT: Final = Instrument(1 - np.exp(-0.05), 1 - np.exp(-0.314), 3.5e-12, 0.3e-9, 1e-5, 3.05e-13, 3.05e-10)
_CURVE: Final = approach_curve(Pipette())
_LOOP_CURVE: Final = loop_curve(_CURVE.packed)

Noise = Callable[[int, int, int], NDArray[np.float32]]


def loop(hops: int) -> tuple[NDArray[np.int64], int]:
    """(sample index of each stop, samples) of the compiled loop."""
    settings = _TIMING.settings(2e-6, 30e-6, 0.02, 5e-6)
    moments, measured = np.zeros((hops, 5), np.int64), np.full((hops, 5), np.inf)
    counts = np.empty((hops * 14_000, 2), np.int16)
    now = Slice(_BULK, _BULK, 0.0, 0.0)
    surface = np.full(hops, _SURFACE)
    _, _, taken, *_ = run_lanes(
        start(0.0), Motion(0.0, 0.0, _BULK, 0), settings, _INSTRUMENT, now, counts.shape[0], 0, 1, _SEED, 2**62,
        _LOOP_CURVE, surface, np.full(hops, 2e-6), moments, measured, counts,
    )  # fmt: skip
    return moments[:, STOP], taken


def same_noise(channel: int, first: int, count: int) -> NDArray[np.float32]:
    """The loop's own numbers: for the comparison of the stops."""
    out = np.empty(count, np.float32)
    gaussian_block(_SEED, 16 + channel, first, out)
    return out


def numpy_hops(hops: int, noise: Noise) -> tuple[NDArray[np.int64], int]:
    """(sample index of each stop, samples) by arrays, hop after hop."""
    s: HopSettings = _TIMING.settings(2e-6, 30e-6, 0.02, 5e-6)
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
    """Hops and samples per second; the ratio to NumPy, in one run."""
    loop(2)
    watch = stopwatch()
    stops, samples = loop(_HOPS)
    compiled_s = watch()
    agreed = int(np.count_nonzero(numpy_hops(20, same_noise)[0] == stops[:20]))
    drawn = np.random.default_rng(1)
    watch = stopwatch()
    _, peer_samples = numpy_hops(_HOPS, lambda _channel, _first, count: drawn.standard_normal(count, np.float32))
    peer_s = watch()
    ours, peer = samples / compiled_s, peer_samples / peer_s
    same = f"{agreed} of 20 stops on the same sample"
    return [
        BenchRow(
            "hop_rate", _HOPS / compiled_s, "hops/s", "", "2 µm at 30 nm/ms, 100 kS/s, noise on", "", None, "reported"
        ),
        BenchRow("sample_rate", ours * 1e-6, "MS/s", f"NumPy {peer * 1e-6:.3g} MS/s", same, "", None, "reported"),
        BenchRow("samples_over_numpy", ours / peer, "1", "NumPy, hop by hop", same, "at least 5", ours / peer >= 5.0),
    ]
