"""The one loop: time lines, order of facts, every exit, the bias, and what a short run must show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.cli.execute import Execution, execute
from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.facts import Fact
from opsicm.record.reader import Run
from opsicm.results.run_results import results_of
from opsicm.twin.hop_controller import TwinHopController
from tests.fixtures.laboratory import RIG, TEXT, Laboratory


def facts_of(folder: Path) -> list[Fact]:
    """The journal as it lies in the folder."""
    return [Fact.from_line(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]


def test_signs_lithiation_is_negative_current_more_pipette_current_and_up(short_run: Run) -> None:
    hops = short_run.hops
    lithiating = hops["cell_current"].values < -1e-5
    delithiating = hops["cell_current"].values > 1e-5
    rest = hops["i_ref"].values[:20].mean()
    assert lithiating.any()
    assert delithiating.any()
    assert hops["i_ref"].values[lithiating].mean() > rest > hops["i_ref"].values[delithiating].mean()
    z, t = hops["z_stop"].values, hops["t_ns"].values
    turn = int(np.argmax(z))
    assert z[turn] - z[0] > 0.5e-6
    # Up while lithium goes in and down while it comes out: over a second, against 0.7 nm of noise.
    before, after = z[:turn:12], z[turn::12]
    assert np.all(np.diff(before) > -3e-9)
    assert np.all(np.diff(after) < 3e-9)
    assert abs(t[turn] - t[np.argmin(np.abs(hops["cell_current"].values[600:])) + 600]) < 1.5e9


def test_the_charge_that_passed_is_the_integral_of_the_current(short_run: Run) -> None:
    cell = short_run.cell
    t, i = cell["t_ns"].values * 1e-9, cell["current"].values
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (i[1:] + i[:-1]) * np.diff(t))])
    passed = cell["charge"].values - cell["charge"].values[0]
    # Trapezoids over rows up to a second apart at 8 mV/s.
    assert np.max(np.abs(integral - passed)) < 0.01 * np.ptp(passed)


SLOWLY = """\
opsicm: 1
title: charge, rest, compare
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.05}
cell:
  - rest: {for_s: 5}
  - constant_current: {current_mA: -0.1, until: {for_s: 190}}
  - rest: {for_s: 200}
  - rest: {for_s: 5}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[0]"}
  - park: {height_um: 5, during: "cell[1]"}
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[3]"}
"""


def test_height_follows_charge_by_the_published_volumes(laboratory: Laboratory) -> None:
    # Not by the twin's code: the published volumes 0 … 13.1 % at x = 0 … 1, and the charge in the file.
    run = laboratory.run(SLOWLY)
    capacity = run.parameters["specimen"]["capacity_C"]
    # Ecker 2015 at 0.4 V has 0.0413; the branch fitted to its dilute points, 0.2822 − 0.209 L + 0.0246 L² with
    # L = ln(x/0.0667), has 0.0392.
    x0 = 0.0392
    x1 = x0 - float(run.cell["charge"].values[-1]) / capacity
    assert x1 - x0 == pytest.approx(0.1e-3 * 190 / capacity, rel=1e-6)
    volume = np.interp([x0, x1], [0, 0.12, 0.18, 0.24, 0.5, 1.0], [0, 0.0241, 0.0336, 0.0437, 0.0558, 0.131])
    factor = run.parameters["set"]["leaves"]["swelling_factor"]["value"]
    expected = 28e-6 * factor * (volume[1] - volume[0])
    first = run.hops["step"].values == "probe[0]"
    coarse = np.interp(run.hops["t_ns"].values, run.slow["t_ns"].values, run.slow["coarse_z"].values)
    z = run.hops["z_stop"].values + coarse
    measured = z[~first].mean() - z[first].mean()
    # At x = 0.62, for on the plateau below 0.57 sizes do not come to the same x, and their mean volume is not that of
    # the mean x; from 0.5 to 1 the volume is a straight line, so that it is. u of both means together is 0.2 nm.
    assert measured == pytest.approx(expected, rel=0.01)


def test_the_bias_stays_within_a_few_millivolts_and_the_residual_is_recorded(short_run: Run) -> None:
    residual = np.abs(short_run.hops["bias_residual"].values)
    assert residual.max() < 2e-3  # what the tracker allows for a kink of the potential
    assert np.median(residual) < 0.1e-3
    assert residual.max() > 0.0


def test_facts_are_in_order_and_every_intent_comes_before_what_it_intends(short_run: Run) -> None:
    facts = short_run.facts
    assert [fact.seq for fact in facts] == list(range(len(facts)))
    assert np.all(np.diff([fact.t_ns for fact in facts]) >= 0)
    assert facts[0].kind == "run_started"
    assert facts[-1].kind == "run_ended"
    assert facts[-1].data["outcome"] == "completed"
    intents = [fact for fact in facts if fact.kind == "intent"]
    applied = [fact for fact in facts if fact.kind == "applied" and "at_ns" in fact.data]
    assert [fact.data["at_ns"] for fact in applied] == [0, 50_000_000_000]
    for intent, done in zip(intents, applied, strict=False):
        assert intent.seq < done.seq
        assert intent.data["control"] == done.data["control"]
        assert intent.data["at_ns"] == done.data["at_ns"]
    spans = [fact.data["range"] for fact in facts if fact.kind == "hops"]
    assert [a for span in spans for a in range(span[0], span[1] + 1)] == list(range(short_run.hops.sizes["hop"]))


def test_one_seed_one_run_to_the_bit(laboratory: Laboratory) -> None:
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 400")
    first, again = laboratory.run(text), laboratory.run(text)
    assert first.path != again.path
    for name in first.hops:
        assert np.array_equal(first.hops[name].values, again.hops[name].values), name
    a, b = first.samples(1), again.samples(1)
    assert np.array_equal(a["pipette_current"].values, b["pipette_current"].values)
    assert np.array_equal(a["z"].values, b["z"].values)


PROGRAM = """\
opsicm: 1
title: two programs
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - rest: {for_s: 1.5}
  - hold: {potential_V: 0.3, for_s: 2}
  - constant_current: {current_mA: -0.2, until: {for_s: 2}}
  - open_circuit: {for_s: 1}
probe:
  - park: {height_um: 10, during: "cell[0]"}
  - hop: {at_um: [1, 2], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[1]"}
  - line: {from_um: [0, 0], to_um: [4, 0], pixels: 5, amplitude_nm: 999, fall_nm_per_ms: 30, setpoint_pct: 2, passes: 2}
envelope: {cell_V: [-0.5, 2.0]}
"""


def test_the_cells_time_line_does_not_depend_on_the_probe(laboratory: Laboratory) -> None:
    with_probe = laboratory.run(PROGRAM)
    without = laboratory.run(PROGRAM[: PROGRAM.index("probe:")] + PROGRAM[PROGRAM.index("envelope:") :])
    for run in (with_probe, without):
        applied = [fact.data["at_ns"] for fact in run.facts if fact.kind == "applied" and "at_ns" in fact.data]
        assert applied == [0, 1_500_000_000, 3_500_000_000, 5_500_000_000]
    charges = [run.cell["charge"].values[-1] for run in (with_probe, without)]
    assert charges[0] == pytest.approx(charges[1], rel=1e-3)


def test_probe_steps_run_where_and_as_often_as_they_say(laboratory: Laboratory) -> None:
    run = laboratory.run(PROGRAM)
    hops = run.hops
    point = hops.isel(hop=np.flatnonzero(hops["step"].values == "probe[1]"))
    line = hops.isel(hop=np.flatnonzero(hops["step"].values == "probe[2]"))
    assert set(point["x"].values) == {1e-6}
    assert point["t_ns"].values.min() > 1_500_000_000
    assert point["t_ns"].values.max() < 3_500_000_000
    assert line["pixel"].values.tolist() == [0, 1, 2, 3, 4] * 2
    assert line["line"].values.tolist() == [0] * 5 + [1] * 5
    assert np.allclose(line["x"].values[:5], [0, 1e-6, 2e-6, 3e-6, 4e-6])
    assert set(point["segment"].values) == {1}
    assert set(line["segment"].values) == {2}
    assert run.slow["coarse_z"].values[1] == pytest.approx(10e-6)


def test_a_jump_of_the_potential_does_not_reach_the_pipette(laboratory: Laboratory) -> None:
    run = laboratory.run(PROGRAM)
    assert np.all(run.hops["outcome"].values == 0)
    # Rate × latency + 2 mV: the current step bends the potential of this thin specimen by up to 80 mV/s, and the first
    # approach of the line lasts 0.15 s.
    assert np.max(np.abs(run.hops["bias_residual"].values)) < 80e-3 * 0.15 + 2e-3
    held = run.hops["step"].values == "probe[1]"
    assert np.max(np.abs(run.hops["bias_residual"].values[held])) < 0.5e-3


def execution(laboratory: Laboratory, text: str, stop: Callable[[], bool] = lambda: False, rig: str = RIG) -> Execution:
    return execute(laboratory.experiment(text, rig), laboratory.folder / "out", seed=1, stop=stop)


def test_a_stop_ends_safely_and_keeps_the_file(laboratory: Laboratory) -> None:
    calls = count()
    done = execution(laboratory, TEXT, stop=lambda: next(calls) > 200)
    assert done.ending.outcome == "interrupted"
    with Run(done.path) as run:
        assert run.outcome == "interrupted"
        assert 0 < run.hops.sizes["hop"] < 1200
        kinds = [(fact.kind, fact.step) for fact in run.facts[-3:]]
        assert kinds == [("command", "run"), ("applied", "end"), ("run_ended", "run")]
        last = int(run.hops["sample_top"].values[-1])
        assert run.samples(1).sizes["sample"] >= last


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "cell_V: [-0.6, 2.0]",
            "cell_V: [0.0, 2.0]",
            r"cell potential is -0\.0.* V at .* s; envelope.cell_V is 0 … 2 V",
        ),
        (
            "cell_V: [-0.6, 2.0]",
            "cell_V: [-0.6, 2.0], cell_mA: 0.2",
            r"cell current is .* mA at .*envelope.cell_mA is 0.2",
        ),
        (
            "cell_V: [-0.6, 2.0]",
            "cell_V: [-0.6, 2.0], pipette_nA: 2",
            r"pipette current is 3\..* nA; envelope.pipette_nA is 2",
        ),
    ],
)
def test_a_limit_crossed_stops_the_run_and_the_file_says_so(
    laboratory: Laboratory, old: str, new: str, words: str
) -> None:
    done = execution(laboratory, TEXT.replace(old, new))
    assert done.ending.outcome == "fault"
    with pytest.raises(Exception, match=words):
        raise done.ending.error or AssertionError("no error")
    with Run(done.path) as run:
        alarms = [fact for fact in run.facts if fact.kind == "alarm"]
        assert len(alarms) == 1
        assert run.outcome == "fault"
        # Probe up and cell open come before the end is recorded.
        assert [fact.kind for fact in run.facts[-2:]] == ["applied", "run_ended"]


def test_a_lost_surface_stops_the_run(laboratory: Laboratory) -> None:
    deep = RIG.replace("start_height_um: 3", "start_height_um: 4.9").replace("rq_nm: 300", "rq_nm: 2500")
    experiment = laboratory.experiment(rig=deep)
    origin = np.zeros(1)

    def height(seed: int) -> float:
        rig = prepare(experiment, load_rig(experiment, None), seed, lambda _: None).rig
        assert isinstance(rig.hop_controller, TwinHopController)
        return float(rig.hop_controller.world.specimen.footprint(origin, origin).height[0])

    seed = next(seed for seed in range(1, 50) if height(seed) < -1e-6)
    done = execute(experiment, laboratory.folder / "out", seed=seed)
    assert done.ending.outcome == "fault"
    assert "no contact in 10 hops in a row" in str(done.ending.error)


def test_an_overload_stops_within_one_hop(laboratory: Laboratory) -> None:
    done = execution(laboratory, TEXT, rig=RIG.replace("pipette_overload_nA: 9.5", "pipette_overload_nA: 3.0"))
    assert done.ending.outcome == "fault"
    assert "overload limit" in str(done.ending.error)
    with Run(done.path) as run:
        assert int(np.count_nonzero(run.hops["outcome"].values == 3)) >= 1


def test_the_intent_is_on_disk_before_the_control_begins(laboratory: Laboratory) -> None:
    # The journal in the folder, not the one in the file: what a power cut would leave.
    done = execution(laboratory, TEXT)
    lines = (done.path.parent / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.index("intent") < kinds.index("applied")
    assert facts_of(done.path.parent) == list(Run(done.path).facts)


def test_soc_counts_from_the_last_delithiated_cut_off(laboratory: Laboratory) -> None:
    run = laboratory.run(TEXT.replace("cycles: 1", "cycles: 2").replace("rate_mV_s: 8", "rate_mV_s: 200"))
    soc: NDArray[np.float64] = run.cell["soc"].values
    t = run.cell["t_ns"].values * 1e-9
    # Unknown until a delithiated cut-off has been met; then from 0, up while lithium goes in.
    assert np.all(np.isnan(soc[t < 3.9]))
    second = soc[t > 4.05]
    assert np.all(np.isfinite(second))
    assert abs(second[0]) < 0.02
    assert 0.01 < second.max() < 1.0  # at 200 mV/s little goes in
    zeros = [fact for fact in run.facts if fact.data.get("message") == "state of charge: 0 % here"]
    assert [fact.data["potential_V"] for fact in zeros] == pytest.approx([0.4, 0.4], abs=0.1)
    (result,) = [result for result in results_of(run) if result.name == "soc_at_end"]
    assert re.search(r"0 % is what was left at 0\.\d+ V, \d+ s", result.method)


def test_no_hop_is_made_while_the_cell_moves_the_bulk_current(laboratory: Laboratory) -> None:
    # A jump of 0.8 V: the transient alone drops the current by 2 % in a few ms, and every fall would stop in mid-air.
    text = PROGRAM.replace("rest: {for_s: 1.5}", "hold: {potential_V: 1.2, for_s: 1.5}").replace(
        'during: "cell[0]"', "for_s: 1.4"
    )
    run = laboratory.run(text, RIG.replace("initial_V: 0.4", "initial_V: 1.2"))
    said = [(fact.t_ns, fact.data["message"]) for fact in run.facts if fact.kind == "quality"]
    assert said[0][1] == "waiting at the top"
    assert said[1][1] == "hopping again"
    after = run.hops["t_ns"].values > 1_500_000_000
    assert run.hops["t_ns"].values[after].min() > said[1][0]
    # One point: all heights within the noise and a little swelling of each other, none in mid-air.
    held = after & (run.hops["step"].values == "probe[1]")
    assert np.ptp(run.hops["z_stop"].values[held]) < 0.3e-6


def test_a_surface_at_the_end_of_the_scanner_stops_the_run(laboratory: Laboratory) -> None:
    done = execution(laboratory, TEXT, rig=RIG.replace("z_range_um: 20", "z_range_um: 5"))
    assert done.ending.outcome == "fault"
    assert "the scanner ends at -2.5 and 2.5 µm" in str(done.ending.error)


@pytest.mark.parametrize(("current", "for_s", "counted"), [(0.02, 3, False), (0.5, 60, True)])
def test_soc_counts_from_a_cut_off_that_was_reached_not_from_a_current_that_time_ended(
    laboratory: Laboratory, current: float, for_s: float, counted: bool
) -> None:
    steps = (
        f"  - constant_current: {{current_mA: {current}, until: {{potential_V: 1.0, for_s: {for_s}}}}}\n"
        "  - constant_current: {current_mA: -0.05, until: {potential_V: 0.05, for_s: 3}}\n"
    )
    head = TEXT.split("cell:")[0].replace("loading_mg_cm2: 0.05", "loading_mg_cm2: 0.1")
    run = laboratory.run(f"{head}cell:\n{steps}envelope: {{cell_V: [-0.6, 2.0]}}\n")
    assert run.outcome == "completed"
    assert bool(np.isfinite(run.cell["soc"].values).any()) is counted
