"""What check predicts: against the run that follows, against arithmetic, and against the project's own table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from opsicm.cli.check import checked_run
from opsicm.cli.rigs import load_rig, rig_numbers
from opsicm.core.errors import BadInput
from opsicm.experiment.file import read_experiment
from opsicm.experiment.probe_bounds import AwaitedEvents
from opsicm.forecast.cell import forecast
from opsicm.forecast.prediction import Prediction, predict
from opsicm.forecast.schedule import events
from opsicm.forecast.signals import FilteredNoise, false_stop_probability
from opsicm.record.reader import Run
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

HEAD = TEXT[: TEXT.index("cell:")]
RASTER = (
    "  - raster: {center_um: [0, 0], size_um: [4, 4], pixels: [8, 8], amplitude_nm: 500, fall_nm_per_ms: 30, "
    "setpoint_pct: 2, at: {after_each: rest}}\n"
)
ENVELOPE = "envelope: {cell_V: [-0.6, 2.0]}\n"


def predicted(folder: Path, text: str, rig: str = RIG) -> Prediction:
    """The prediction for an experiment."""
    return checked_run(Laboratory(folder).experiment(text, rig), None, None)


def refused(folder: Path, text: str, rig: str = RIG) -> str:
    """What an experiment is refused for."""
    with pytest.raises(BadInput) as found:
        predicted(folder, text, rig)
    return str(found.value)


def test_signal_duration_and_size_are_those_of_the_run(tmp_path: Path, short_run: Run) -> None:
    """Goals: the signal within 20 %, the duration within 2 %, the file's size within 10 % of what happens."""
    said = predicted(tmp_path, TEXT)
    assert said.duration == pytest.approx(float(short_run.cell["t_ns"][-1]) * 1e-9, rel=0.02)
    (signal,) = said.signals
    met = short_run.hops.isel(hop=(short_run.hops["outcome"] == 0).values)
    swing = float(met["i_ref"].max() - met["i_ref"].min())
    assert signal.swing == pytest.approx(swing, rel=0.2)
    heights = np.convolve(met["z_stop"].values, np.ones(10) / 10, "valid")  # ten hops: the noise of one is not a swing
    assert signal.height_change == pytest.approx(float(np.ptp(heights)), rel=0.2)
    assert said.file_bytes == pytest.approx(short_run.path.stat().st_size, rel=0.10)


def test_images_at_levels_take_the_predicted_time(tmp_path: Path) -> None:
    text = HEAD + (
        "cell:\n  - ladder: {from_V: 0.4, to_V: 0.2, step_mV: 100, rest_s: 20, hold_s: 4}\nprobe:\n" + RASTER + ENVELOPE
    )
    said = predicted(tmp_path, text)
    (hop,) = said.hops
    assert said.duration == pytest.approx(72.0)
    assert (hop.hops, hop.occasions, hop.per_image) == (3 * 64, 3, 64)
    laboratory = Laboratory(tmp_path)
    with laboratory.run(text) as run:
        assert run.hops.sizes["hop"] == hop.hops
        assert float(run.cell["t_ns"][-1]) * 1e-9 == pytest.approx(72.0, rel=0.02)
        lasts = [
            float(np.ptp(run.hops["t_ns"][run.hops["line"].values >= 0].values[k * 64 : k * 64 + 64])) for k in range(3)
        ]
        assert np.mean(lasts) * 1e-9 == pytest.approx(hop.seconds / 3 * 63 / 64, rel=0.1)


def test_an_image_that_a_rest_cannot_hold_is_refused_with_both_times(tmp_path: Path) -> None:
    text = HEAD + (
        "cell:\n  - ladder: {from_V: 0.4, to_V: 0.2, step_mV: 100, rest_s: 20, hold_s: 1.2}\nprobe:\n"
        + RASTER
        + ENVELOPE
    )
    said = refused(tmp_path, text)
    assert "experiment.yaml:9: probe[0].raster; takes 2 s at each rest (64 hops of" in said
    assert "leaves 1.2 s" in said


@pytest.mark.parametrize(("gain", "holds"), [(200, True), (100, True), (99, False), (20, False)])
def test_the_command_range_is_that_of_the_whole_sweep(gain: int, holds: bool, tmp_path: Path) -> None:
    """0.7 V with E from 0 to 1.7 V needs -1.0 … +0.7 V: ±10 V into 100 mV/V just reaches it, into 20 mV/V cannot."""
    text = (
        HEAD
        + "cell:\n  - sweep: {from_V: 1.7, to_V: 0.0, rate_mV_s: 10}\nprobe:\n  - park: {height_um: 1000}\n"
        + ENVELOPE
    )
    rig = RIG.replace("external_bias_mV_per_V: 200", f"external_bias_mV_per_V: {gain}")
    if holds:
        assert predicted(tmp_path, text, rig).command_span == pytest.approx((-1.0, 0.7), abs=1e-6)
    else:
        assert "needs V_tip - E of -1.00 … 0.70 V and the amplifier reaches" in refused(tmp_path, text, rig)


def test_events_of_the_cell(tmp_path: Path) -> None:
    text = HEAD + (
        "cell:\n  - sweep: {from_V: 0.4, to_V: 0.1, rate_mV_s: 10}\n  - rest: {for_s: 30}\n"
        "  - repeat: {times: 2, steps: [{hold: {potential_V: 0.3, for_s: 5}}, {rest: {for_s: 7}}]}\n" + ENVELOPE
    )
    loaded = Laboratory(tmp_path).experiment(text)
    cell = forecast(loaded.experiment, rig_numbers(loaded, load_rig(loaded, None)).cell, [1e-5])
    assert cell.end == pytest.approx(60 + 30 + 24)
    assert events(AwaitedEvents(after_each="rest"), cell) == pytest.approx([60.0, 95.0, 107.0])
    crossed = events(AwaitedEvents(potential_V=(0.2,)), cell)
    assert crossed[:2] == pytest.approx([20.0, 40.0], abs=0.3)
    assert cell.span_of(2) == pytest.approx((90.0, 114.0))


SERIES = RASTER.replace("at: {after_each: rest}", "{}, during: cell[1]")


def test_images_at_intervals_are_forecast_when_they_run(tmp_path: Path) -> None:
    """At 0 and 12 s of a rest of 15 s that begins at 5 s; the second image is cut off by the end of the rest."""
    cell = "cell:\n  - rest: {for_s: 5}\n  - rest: {for_s: 15}\n  - rest: {for_s: 5}\nprobe:\n"
    text = (
        HEAD
        + cell
        + SERIES.replace("{}", "every_min: 0.2").replace("[8, 8]", "[16, 16]")
        + "  - park: {height_um: 10}\n"
        + ENVELOPE
    )
    said = predicted(tmp_path, text)
    images = [(window.start, window.whole) for window in said.windows if window.path == "probe[0]"]
    assert images == [(5.0, True), (pytest.approx(17.0), False)]
    assert [w.end for w in said.windows if w.path == "probe[0]"][-1] == pytest.approx(20.0)
    with Laboratory(tmp_path).run(text) as run:
        began = [fact.t_ns * 1e-9 for fact in run.facts if fact.kind == "step_started" and fact.step == "probe[0]"]
    assert began == pytest.approx([5.0, 17.0], abs=0.1)


def test_an_image_longer_than_its_interval_is_refused_with_an_interval_that_works(tmp_path: Path) -> None:
    cell = "cell:\n  - rest: {for_s: 5}\n  - rest: {for_s: 900}\nprobe:\n"
    text = HEAD + cell + SERIES.replace("[8, 8]", "[32, 32]") + "  - park: {height_um: 10}\n" + ENVELOPE
    said = refused(tmp_path, text.replace("{}", "every_min: 0.2"))
    assert "every_min is 0.2; it takes" in said
    remedy = said.split("write ")[1].split(" or more")[0]
    assert predicted(tmp_path, text.replace("{}", remedy)).windows


def test_a_cut_off_is_forecast(tmp_path: Path) -> None:
    """At rest until the charge is passed: t = Q/I whatever the electrode does."""
    text = HEAD + "cell:\n  - constant_current: {current_mA: -0.01, until: {charge_mAh: 0.0005}}\n" + ENVELOPE
    assert predicted(tmp_path, text).duration == pytest.approx(180.0, rel=1e-6)


def test_a_hold_that_a_current_ends_is_forecast(tmp_path: Path) -> None:
    """The run ends it within a look of the crossing; the goal is the duration within 2 %."""
    text = HEAD + (
        "cell:\n  - constant_current: {current_mA: -0.05, until: {potential_V: 0.1}}\n"
        "  - hold: {potential_V: 0.1, for_s: 5000, until: {c_rate: 0.2}}\n"
    )
    said = predicted(tmp_path, text + ENVELOPE)
    # A fifth of this capacity per hour is 3 µA: a potentiostat in its 100 µA range, where its noise is 10 nA.
    fine = RIG.replace("initial_V: 0.4", "initial_V: 0.4, current_noise_nA: 10")
    with Laboratory(tmp_path).run(text + ENVELOPE, fine) as run:
        lasted = float(run.cell["t_ns"][-1]) * 1e-9
    assert lasted < 4000.0
    assert said.duration == pytest.approx(lasted, rel=0.02, abs=2.0)


def test_white_noise_stops_as_the_project_s_table_says() -> None:
    """0.16 % noise, 300 looks, a noiseless reference: a 0.5 % threshold stops 23 % of the falls, 1 % stops 6e-8."""
    white, nowhere = FilteredNoise(0.0016, 0.0), np.zeros(10)
    assert false_stop_probability(0.005, white, nowhere, 300, math.inf) == pytest.approx(0.23, abs=0.006)
    assert false_stop_probability(0.01, white, nowhere, 300, math.inf) == pytest.approx(6e-8, rel=0.1)
    assert false_stop_probability(0.02, white, nowhere, 300, 8, drift=0.021) > 0.5


DRAWN = [
    (0.005, 0.0016, 0.0, 300, 8),
    (0.02, 0.0044, 0.73, 3000, 400),
    (0.02, 0.0052, 0.73, 3000, 40),
    (0.02, 0.006, 0.9, 3000, 400),
]


@pytest.mark.parametrize(("setpoint", "rms", "memory", "samples", "reference"), DRAWN)
def test_false_stops_of_drawn_falls(setpoint: float, rms: float, memory: float, samples: int, reference: int) -> None:
    """Against falls drawn by NumPy and filtered by SciPy: white noise whose reference has 8 looks, and filtered noise.

    One reference serves a whole fall: the project's table has 39 % for the first, as if every look had its own.
    """
    falls = 4000
    rng = np.random.default_rng(5)
    drawn = rng.standard_normal((falls, 100 + reference + samples)) * math.sqrt(1.0 - memory**2) * rms
    current = 1.0 + lfilter([1.0], [1.0, -memory], drawn, axis=1)[:, 100:]
    mean = current[:, :reference].mean(axis=1, keepdims=True)
    stopped = (current[:, reference:] <= (1.0 - setpoint) * mean).any(axis=1).mean()
    said = false_stop_probability(setpoint, FilteredNoise(rms, memory), np.zeros(10), samples, reference)
    assert said == pytest.approx(stopped, abs=0.04 * stopped + 3.5 * math.sqrt(stopped / falls))


@pytest.mark.parametrize("amplifier_fA", [145, 165, 190])
def test_false_stops_are_those_of_the_twin(tmp_path: Path, amplifier_fA: int) -> None:
    """Some 1500 hops on a flat specimen at rest; false is a stop at more than the distance that takes half of 2 %."""
    rig = RIG.replace("amplifier_fA_rtHz: 15", f"amplifier_fA_rtHz: {amplifier_fA}")
    rig = rig.replace("{kind: rough, rq_nm: 300, correlation_nm: 1500, size_um: 20, pixels: 128}", "{kind: flat}")
    text = HEAD + (
        "cell:\n  - open_circuit: {for_s: 120}\nprobe:\n  - hop: {at_um: [0, 0], amplitude_nm: 2000, "
        "fall_nm_per_ms: 30, setpoint_pct: 2.0}\n" + ENVELOPE
    )
    loaded = Laboratory(tmp_path).experiment(text, rig)
    numbers = rig_numbers(loaded, load_rig(loaded, None))
    (hop,) = predict(loaded.experiment, numbers).hops
    half = float(numbers.curve.distance(np.array(0.99)))
    with Laboratory(tmp_path).run(text, rig) as run:
        height = run.hops["z_stop"].values + np.interp(run.hops["t_ns"], run.slow["t_ns"], run.slow["coarse_z"])
    false = (height[1:] > half).mean()  # before anything has passed the flat specimen lies at 0
    assert hop.false_stop == pytest.approx(false, abs=0.1 * false + 3.5 * math.sqrt(max(false, 1e-3) / height.size))


def test_the_ten_hop_criterion_tells_a_fast_sweep_from_a_slow_one(tmp_path: Path) -> None:
    def ten_hops(rate: float) -> float:
        text = TEXT.replace("rate_mV_s: 8", f"rate_mV_s: {rate}")
        (signal,) = predicted(tmp_path, text).signals
        assert signal.ten_hops is not None
        return signal.ten_hops

    assert ten_hops(0.3) < 0.005 < ten_hops(8)


def test_the_range_of_the_pipette_electrode_is_checked(tmp_path: Path) -> None:
    text = HEAD + (
        "cell:\n  - open_circuit: {for_s: 60}\nprobe:\n  - pipette_sweep: {from_V: -1.9, to_V: 1.9, rate_mV_s: 100, "
        "height_um: 50}\n" + ENVELOPE
    )
    said = refused(tmp_path, text)
    assert "experiment.yaml:9: probe[0].pipette_sweep.from_V is -1.9; drives 9.74 nA, and the amplifier ends at" in said


HOP = "amplitude_nm: 500, fall_nm_per_ms: 30, setpoint_pct: 2"
AREA = "center_um: [0, 0], size_um: [4, 4], pixels: [2, 2]"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            f"raster: {{{AREA}, {HOP}, amplitude_map: absent.npy}}",
            "amplitude_map is 'absent.npy'; is no file in the experiment's folder",
        ),
        (
            f"modulate: {{at_um: [0, 0], {HOP}, levels_V: [1.9, 0.6], dwell_ms: 5, blanking_ms: 1, hops: 2}}",
            "levels_V is 1.9; drives 9.74 nA, and the amplifier ends at",
        ),
        (
            f"hop: {{at_um: [0, 0], {HOP}, modulate: {{levels_V: [1.9, 0.6], dwell_ms: 5, blanking_ms: 1}}, hops: 2}}",
            "modulate.levels_V is 1.9; drives 9.74 nA",
        ),
        (
            "pipette_sweep: {from_V: -1.9, to_V: 1.9, rate_mV_s: 1000, height_um: 50}",
            "from_V is -1.9; drives 9.74 nA, and the amplifier ends at",
        ),
        (f"hop: {{at_um: [0, 0], {HOP.replace('30', '900')}, hops: 2}}", "fall_nm_per_ms is 900; overshoots by"),
        (f"hop: {{at_um: [90, 0], {HOP}, hops: 2}}", "at_um is [90.0, 0.0]; the scanner reaches"),
        (f"tilt: {{center_um: [90, 0], size_um: [4, 4], points: 2, {HOP}}}", "size_um is [4.0, 4.0]; the scanner"),
    ],
)
def test_a_problem_of_a_step_is_reported_inside_three_repeats_too(step: str, words: str, tmp_path: Path) -> None:
    cell = "cell:\n  - open_circuit: {for_s: 60}\nprobe:\n  - "
    inside = step
    for _ in range(3):
        inside = f"repeat: {{times: 2, steps: [{{{inside}}}]}}"
    word = step.split(":", maxsplit=1)[0]
    nested = f"probe[0].{'repeat.steps[0].' * 3}{word}."
    for text, place in ((step, f"probe[0].{word}."), (inside, nested)):
        message = refused(tmp_path, f"{HEAD}{cell}{text}\n{ENVELOPE}")
        assert f"experiment.yaml:9: {place}{words}" in message, message


def test_a_tip_between_two_images_needs_no_park_of_its_own(tmp_path: Path) -> None:
    """Found by running E7: the surface came up by 2.6 µm under a tip that stood 2 µm above it. Now it waits far up."""
    cell = "cell:\n  - rest: {for_s: 20}\n  - sweep: {from_V: 0.4, to_V: 0.0, rate_mV_s: 1, ir_compensation_pct: 97}\n"
    for park in ("", "  - park: {height_um: 10}\n"):
        assert predicted(tmp_path, HEAD + cell + "probe:\n" + park + RASTER + ENVELOPE).hops[0].hops == 64
    low = HEAD + cell + "probe:\n  - park: {height_um: 0.5}\n" + RASTER + ENVELOPE
    assert "park.height_um is 0.5; the surface is expected to rise by" in refused(tmp_path, low)


@pytest.mark.parametrize(
    "step",
    [
        "open_circuit: {for_s: 1e-320}",
        "hold: {potential_V: 0.3, for_s: 1e-320}",
        "hold: {potential_V: 0.3, for_s: 1e-12, until: {current_mA: 1e-9}}",
        "constant_current: {current_mA: -0.1, until: {for_s: 1e-320}}",
        "gitt: {current_mA: -0.1, pulse_s: 1e-320, rest_s: 1e-12, pulses: 3}",
    ],
)
def test_a_step_shorter_than_the_clock_can_tell_is_forecast_in_no_time(tmp_path: Path, step: str) -> None:
    """Found by F14: a rest of 1e-320 s was waited for without end, since it adds nothing to the time."""
    text = HEAD + f"cell:\n  - rest: {{for_s: 5}}\n  - {step}\n  - rest: {{for_s: 5}}\n" + ENVELOPE
    loaded = Laboratory(tmp_path).experiment(text)
    assert predict(loaded.experiment, rig_numbers(loaded, load_rig(loaded, None))).duration == pytest.approx(10.0)
    assert "cell[1]" in (said := refused(tmp_path, text))
    assert "holds a control for less than 1 ms, in which nothing happens; let it last longer, or delete it" in said


COMPENSATED = """\
opsicm: 1
title: compensated
rig: twin/graphite
pipette: {{bias_V: {bias}}}
specimen: {{loading_mg_cm2: 10.2}}
cell:
  - hold: {{potential_V: 1.7, for_s: 20{hold}}}
  - sweep: {{from_V: 1.7, to_V: 0.0, rate_mV_s: 0.3, cycles: 1, ir_compensation_pct: {percent}}}
probe:
  - park: {{height_um: 10}}
envelope: {{cell_V: [{low}, 2.0]}}
"""


def test_a_cell_current_that_cancels_the_bias_is_foreseen(tmp_path: Path) -> None:
    """A tenth of the usual current counts as a touch. 80 % of i R at the full loading leave less at 0.4 V."""
    path = tmp_path / "much.yaml"
    path.write_text(COMPENSATED.format(bias=0.4, percent=80, hold="", low=-1.0))
    with pytest.raises(BadInput) as found:
        checked_run(read_experiment(path), None, None)
    said = str(found.value)
    assert "because the cell's current cancels it there; below a tenth" in said
    assert "at 10 µm in probe[0]" in said
    assert "compensate less, sweep more slowly, stay higher" in said
    path.write_text(COMPENSATED.format(bias=0.7, percent=80, hold="", low=-1.0))
    assert checked_run(read_experiment(path), None, None).signals


def test_a_compensated_jump_beyond_the_envelope_is_foreseen(tmp_path: Path) -> None:
    """From the specimen's 1.2 V to 1.7 V at 95 %: the actual potential goes beyond by f i R_u, as the run would see."""
    path = tmp_path / "jump.yaml"
    path.write_text(COMPENSATED.format(bias=0.7, percent=50, hold=", ir_compensation_pct: 95", low=-1.0))
    with pytest.raises(BadInput) as found:
        checked_run(read_experiment(path), None, None)
    said = str(found.value)
    assert "envelope.cell_V" in said
    assert "the cell's actual potential is expected from" in said
    assert "begin a compensated step from a hold without compensation" in said


def test_a_cell_current_beyond_the_envelope_is_foreseen(tmp_path: Path) -> None:
    text = TEXT.replace("envelope: {", "envelope: {cell_mA: 0.001, ") if "envelope: {" in TEXT else TEXT
    said = refused(tmp_path, text if "cell_mA" in text else TEXT + "envelope: {cell_mA: 0.001}\n")
    assert "envelope.cell_mA is 0.001" in said
    assert "the cell's current is expected to reach" in said


def test_an_event_that_does_not_come_is_refused_and_a_state_of_charge_says_from_when_it_counts(tmp_path: Path) -> None:
    cell = (
        "cell:\n  - constant_current: {current_mA: -0.2, until: {potential_V: 0.05}}\n"
        "  - constant_current: {current_mA: 0.2, until: {potential_V: 1.0}}\n"
    )
    again = "  - constant_current: {current_mA: -0.2, until: {potential_V: 0.05}}\n  - rest: {for_s: 60}\n"
    hop = "probe:\n  - hop: {at_um: [0, 0], amplitude_nm: 500, fall_nm_per_ms: 30, setpoint_pct: 2, hops: 5, at: "
    said = refused(tmp_path, HEAD + cell + hop + "{soc_pct: [20]}}\n" + ENVELOPE)
    assert "its event does not come in the forecast" in said
    assert "SOC is counted once the program's highest potential has been reached" in said
    said = refused(tmp_path, HEAD + cell + hop + "{potential_V: [1.8]}}\n" + ENVELOPE)
    assert "its event does not come" in said
    assert "SOC" not in said
    (window,) = predicted(tmp_path, HEAD + cell + again + hop + "{soc_pct: [20]}}\n" + ENVELOPE).windows
    assert window.whole
