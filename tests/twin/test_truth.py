"""The twin's record against theory that shares no line with its loops: currents, spectrum, heights, false stops.

The theory here is NumPy on whole falls: the path of the scanner in closed form, the finite-element curve as physics
has it, one-pole filters by `scipy.signal.lfilter`, chance by NumPy's own generator.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter, welch

from opsicm.cli.rigs import load_rig, prepare, rig_numbers
from opsicm.core.facts import Outcome
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.instruments.roles import HopPlan, Rig
from opsicm.physics.pipette.tip_field import ApproachCurve
from tests.fixtures.laboratory import RIG, Laboratory

F64 = NDArray[np.float64]
DT = 1e-5
LAG = 200e-6  # [s] of the scanner, as the rig file says
COUNT = 10e-9 / 32767  # [A] the converter's step over ±10 nA
HEIGHT_NOISE = np.hypot(0.3e-9, 10e-6 / 32767 / np.sqrt(12.0))  # [m] sensor and converter
RATE = 30e-6


class Bench(NamedTuple):
    """A twin over a flat specimen at rest, and the numbers of its file."""

    rig: Rig
    numbers: RigNumbers

    def lift(self, height: float) -> None:
        """The pipette `height` [m] above the specimen, piezo at mid-range, 0.7 V against lithium on its wire."""
        self.rig.clock.wait_until(self.rig.coarse_stage.move_to(height))
        self.rig.amplifier.command(0.7 - self.rig.potentiostat.read().potential)
        assert self.rig.scanner.read_z() == 0.0


def bench(laboratory: Laboratory, amplifier_fA: float = 15.0, seed: int = 1) -> Bench:
    rig = re.sub(r"(?m)^  surface: .*$", "  surface: {kind: flat}", RIG)
    rig = rig.replace("initial_V: 0.4", "initial_V: 1.2")  # where nothing reacts: at 0.4 V the specimen leaks 0.1 mV/s
    rig = rig.replace("amplifier_fA_rtHz: 15", f"amplifier_fA_rtHz: {amplifier_fA}")
    experiment = laboratory.experiment(rig=rig)
    loaded = load_rig(experiment, None)
    return Bench(prepare(experiment, loaded, seed, lambda _: None).rig, rig_numbers(experiment, loaded))


def plan(
    hops: int,
    segment: int,
    amplitude: float,
    setpoint: float,
    approach: float,
    rate: float = RATE,
    until_ns: int = 2**62,
) -> HopPlan:
    place, number = np.zeros(hops), np.zeros(hops, np.int32)
    return HopPlan(
        "probe[0]",
        segment,
        0,
        place,
        place,
        number,
        number,
        np.full(hops, amplitude),
        HopParameters(amplitude, rate, setpoint, approach),
        0.7,
        until_ns,
    )


def single_hops(b: Bench, hops: int, height: float, setpoint: float, approach: float) -> tuple[np.ndarray, list[F64]]:
    """(records, current [A] from a fall's first sample on) of falls that all begin `height` [m] above the specimen."""
    records, falls = [], []
    for segment in range(hops):
        b.lift(height)
        outcome = b.rig.hop_controller.run(plan(1, segment, height, setpoint, approach), lambda: False)
        counts = np.concatenate([block.counts for block in outcome.blocks])
        records.append(outcome.hops)
        current = b.rig.hop_controller.channels[0].si(counts[:, 0])
        falls.append(current[outcome.hops["sample_fall"][0] + 1 : outcome.hops["sample_stop"][0] + 1])
    return np.concatenate(records), falls


def fallen(samples: F64, rate: float) -> F64:
    """[m] below its top that a first-order scanner stands, `samples` after a ramp of `rate` [m/s] has begun.

    The converter holds each command for a sample: s (n - k (1 - k^n)/(1 - k)) with s = rate DT, k = exp(-DT/LAG).
    """
    k = np.exp(-DT / LAG)
    return np.asarray(rate * DT * (samples - k * (1.0 - k**samples) / (1.0 - k)))


def quiet_fall(curve: ApproachCurve, filter_Hz: float, tops: F64, samples: int, rate: float) -> F64:
    """[top, sample] current without noise over the one far away, filtered, of falls from `tops` [m]."""
    pole = np.exp(-2.0 * np.pi * filter_Hz * DT)
    top = curve.relative_current(tops)[:, None]
    passed = curve.relative_current(tops[:, None] - fallen(np.arange(float(samples)), rate)) - top
    return np.asarray(top + lfilter([1.0 - pole], [1.0, -pole], passed, axis=1))


def rounded(current: F64) -> F64:
    return np.asarray(np.floor(current / COUNT + 0.5) * COUNT)


def drawn_stops(
    rng: np.random.Generator, n: RigNumbers, tops: F64, setpoint: float, approach: float, rate: float
) -> F64:
    """True distance [m] of the first sample at or below the threshold in falls from `tops` [m]; NaN where none is.

    Noise: Gaussian, correlated as exp(-2 pi f DT) from sample to sample, through the reference and on into the fall.
    """
    far, pole = 0.7 / n.resistance, np.exp(-2.0 * np.pi * n.filter_Hz * DT)
    looks, reference = int(np.ceil(approach / (rate * DT) - 1e-9)) + 1, round(n.timing.reference / DT)
    distances = []
    for some in np.array_split(tops, max(1, tops.size // 200)):
        kicks = rng.standard_normal((some.size, reference + looks)) * n.current_noise
        kicks[:, 1:] *= np.sqrt(1.0 - pole**2)
        noise = lfilter([1.0], [1.0, -pole], kicks, axis=1)
        at_top = far * n.curve.relative_current(some)[:, None]
        averaged = rounded(at_top + noise[:, :reference]).mean(axis=1, keepdims=True)
        one_of_each, which = np.unique(some, return_inverse=True)
        quiet = quiet_fall(n.curve, n.filter_Hz, one_of_each, looks, rate)[which]
        seen = rounded(far * quiet + noise[:, reference:])
        below = seen <= (1.0 - setpoint) * averaged
        at = some - fallen(below.argmax(axis=1).astype(float), rate)
        distances.append(np.where(below.any(axis=1), at, np.nan))
    return np.concatenate(distances)


def test_far_away_the_current_is_the_voltage_over_the_resistance(laboratory: Laboratory) -> None:
    b = bench(laboratory)
    b.lift(300e-6)
    end = b.rig.clock.now_ns() + 2_000_000_000
    outcome = b.rig.hop_controller.run(plan(0, 1, 1e-6, 0.02, 1e-6, until_ns=end), lambda: False)
    current = b.rig.hop_controller.channels[0].si(np.concatenate([block.counts[:, 0] for block in outcome.blocks]))
    # A reading has 11 µV of noise; the mean of 400 0.6 µV, 8e-7 of the bias.
    potential = np.mean([b.rig.potentiostat.read().potential for _ in range(400)])
    command = b.rig.amplifier.read()[1]
    ends = np.array([0.7, command + potential]) / b.numbers.resistance
    error = 4.0 * b.numbers.current_noise * np.sqrt(2.0 / (2.0 * np.pi * b.numbers.filter_Hz) / 2.0)
    # The specimen's rest potential moves meanwhile, and the wire with it.
    assert ends.min() - error < current.mean() < ends.max() + error
    # The command is from one reading: four times its 11 µV of 0.7 V, beside the 2e-5 of what moves and of noise.
    assert abs(ends[1] - ends[0]) + error < (2e-5 + 4.0 * 11e-6 / 0.7) * current.mean()


@pytest.mark.parametrize("height", [50e-9, 300e-9, 2e-6])
def test_a_pipette_that_dwells_near_the_specimen_feels_it(laboratory: Laboratory, height: float) -> None:
    b = bench(laboratory)
    b.lift(height)
    end = b.rig.clock.now_ns() + 500_000_000
    outcome = b.rig.hop_controller.run(plan(0, 1, 1e-6, 0.02, 1e-6, until_ns=end), lambda: False)
    current = b.rig.hop_controller.channels[0].si(np.concatenate([block.counts[:, 0] for block in outcome.blocks]))
    theory = 0.7 / b.numbers.resistance * b.numbers.curve.relative_current(np.array(height))
    # The wire's potential has moved by some microvolts; the mean of half a second is known to 5e-6.
    assert current.mean() / theory == pytest.approx(1.0, abs=3e-5)


def test_during_a_fall_the_current_is_the_curve_behind_scanner_and_filter(laboratory: Laboratory) -> None:
    b, height = bench(laboratory), 600e-9
    records, falls = single_hops(b, 200, height, 0.1, height)
    # The wire's potential is the command and what the specimen has relaxed to since: the record has both.
    far = (0.7 + records["bias_residual"].mean()) / b.numbers.resistance
    length = min(fall.size for fall in falls)
    theory = far * quiet_fall(b.numbers.curve, b.numbers.filter_Hz, np.array([height]), length, RATE)[0]
    # Half the setpoint is 100 standard deviations from it: no stop has chosen these samples.
    sound = theory > 0.95 * theory[0]
    each = np.array([fall[:length] for fall in falls])[:, sound] - theory[sound]
    assert theory[sound][-1] < 0.96 * theory[0]  # the steep part is in it
    spread = np.hypot(b.numbers.current_noise, COUNT / np.sqrt(12.0))
    assert np.abs(each.mean(axis=0)).max() < 5.0 * spread / np.sqrt(len(falls))
    assert np.std(each) / spread == pytest.approx(1.0, abs=0.01)


def test_the_spectrum_of_the_current_is_the_predicted_one_within_5_percent_per_decade(laboratory: Laboratory) -> None:
    """S = (4 k T/R + amplifier²)/(1 + (f/f_c)²), folded at the sampling rate, and the converter's LSB²/12."""
    b = bench(laboratory)
    b.lift(3e-6)
    end = b.rig.clock.now_ns() + 100_000_000_000
    outcome = b.rig.hop_controller.run(plan(0, 1, 1e-6, 0.02, 1e-6, until_ns=end), lambda: False)
    counts = np.concatenate([block.counts[:, 0] for block in outcome.blocks])
    current = counts.astype(np.float64) * COUNT
    f, seen = welch(current, 1.0 / DT, nperseg=2**16)
    n = b.numbers
    density = 4.0 * 1.380649e-23 * 298.15 / n.resistance + 15e-15**2
    some = slice(None, None, 8)  # of a smooth curve
    folds = f[some, None] + np.arange(-60, 61) / DT
    predicted = (density / (1.0 + (folds / n.filter_Hz) ** 2)).sum(axis=1) + COUNT**2 / 12.0 * 2.0 * DT
    decades = [10.0, 100.0, 1e3, 1e4, 0.5 / DT]
    for low, high in pairwise(decades):
        band = (f >= low) & (f < high)
        assert seen[band].mean() / predicted[band[some]].mean() == pytest.approx(1.0, abs=0.05), (low, high)


def drawn_heights(rng: np.random.Generator, n: RigNumbers, amplitude: float, rate: float) -> F64:
    """[m] heights that a chain of hops records: each top is `amplitude` above the stop before, as the sensor saw it."""
    approach = amplitude + 50e-9
    at = drawn_stops(rng, n, np.full(1000, amplitude + 30e-9), 0.02, approach, rate)
    for hops in (1000, 6000):
        tops = rng.choice(at, hops) + HEIGHT_NOISE * rng.standard_normal(hops) + amplitude
        at = drawn_stops(rng, n, tops, 0.02, approach, rate)
    return np.asarray(at + HEIGHT_NOISE * rng.standard_normal(at.size))


def naive_height_noise(n: RigNumbers, top: float) -> float:
    """sigma_I/(dI/dz) where the mean current meets a 2 % threshold, and the sensor's own noise [m]."""
    at_top = n.curve.relative_current(np.array(top))
    slope = n.curve.slope(n.curve.distance(0.98 * at_top))
    return float(np.hypot(n.current_noise / (0.7 / n.resistance * slope), HEIGHT_NOISE))


@pytest.mark.parametrize("rate", [10e-6, 30e-6, 100e-6])
def test_the_spread_of_heights_is_that_of_first_crossings(laboratory: Laboratory, rate: float) -> None:
    """Within 5 % of the drawn one; of sigma_I/(dI/dz) with the sensor's noise at 30 nm/ms only.

    A stop is the *first* sample at or below the threshold. In a slow fall many looks compete, the early ones win and
    the spread narrows: 0.89 of sigma_I/(dI/dz) at 10 nm/ms. In a fast one the filter is late, the curve there is
    steeper, and a sample is a step of 1 nm: 1.10 at 100 nm/ms. At 30 nm/ms the two nearly cancel: 0.98.
    """
    b, amplitude = bench(laboratory), 200e-9
    b.lift(amplitude)
    b.rig.hop_controller.run(plan(20, 1, amplitude, 0.02, 5e-6, rate), lambda: False)
    records = b.rig.hop_controller.run(plan(4000, 1, amplitude, 0.02, 5e-6, rate), lambda: False).hops
    assert np.all(records["outcome"] == Outcome.CONTACT)
    seen = records["z_stop"] + amplitude  # against the specimen
    drawn = drawn_heights(np.random.default_rng(5), b.numbers, amplitude, rate)
    assert np.std(seen) / np.std(drawn) == pytest.approx(1.0, abs=0.05)
    assert abs(seen.mean() - drawn.mean()) < 0.06e-9  # 4 standard deviations of the two means
    if rate == RATE:
        naive = naive_height_noise(b.numbers, float(seen.mean()) + amplitude)
        assert np.std(seen) / naive == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("amplifier_fA", "seed"), [(60.0, 1), (75.0, 2), (90.0, 3)])
def test_false_stops_and_misses_are_those_of_filtered_noise(
    laboratory: Laboratory, amplifier_fA: float, seed: int
) -> None:
    """A 1 % threshold in falls of 1 µm that end where the mean current has just dropped by it (57 nm).

    False: stopped more than twice as far from the specimen; missed: not stopped at all.
    """
    b, height, hops, draws = bench(laboratory, amplifier_fA, seed), 1e-6, 3000, 6000
    n = b.numbers
    nominal = float(n.curve.distance(0.99 * n.curve.relative_current(np.array(height))))
    records, _ = single_hops(b, hops, height, 0.01, height - nominal)
    missed = records["outcome"] == Outcome.NO_CONTACT
    false = ~missed & (records["z_stop"] + height > 2.0 * nominal)
    at = drawn_stops(np.random.default_rng(seed), n, np.full(draws, height), 0.01, height - nominal, RATE)
    for seen, drawn in ((false, at > 2.0 * nominal), (missed, np.isnan(at))):
        share = (seen.sum() + drawn.sum()) / (hops + draws)
        by_chance = np.sqrt(share * (1.0 - share) * (1.0 / hops + 1.0 / draws))
        assert seen.mean() == pytest.approx(drawn.mean(), abs=4.0 * by_chance)
