"""A stored run is a rig: it passes the rig contract, and its own experiment executed on it gives the same run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opsicm.cli import main as cli
from opsicm.cli.execute import execute
from opsicm.cli.replaying import execute_on_run
from opsicm.cli.rigs import load_rig, prepare, stored_run_role
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import Rig
from opsicm.record.reader import Run
from opsicm.record.replay import NotAsRecorded
from opsicm.results.run_results import results_of
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.rig_contract import RigContract, plan
from tests.fixtures.taped import Tape

# A current, a rest, two ramps; a raster and a parked pipette: what the short run has not.
PROGRAM = """\
opsicm: 1
title: many steps
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {area_cm2: 0.5, thickness_um: 28, loading_mg_cm2: 0.05}
cell:
  - constant_current: {current_mA: -0.05, until: {for_s: 4}}
  - open_circuit: {for_s: 2}
  - sweep: {from_V: 0.4, to_V: 0.1, rate_mV_s: 80, cycles: 1}
probe:
  - raster: {center_um: [0, 0], size_um: [4, 4], pixels: [6, 6], passes: 1, amplitude_nm: 1000, fall_nm_per_ms: 60,
             setpoint_pct: 2.0}
  - park: {height_um: 20}
envelope: {cell_V: [-0.6, 2.0]}
"""


def twin(laboratory: Laboratory) -> Rig:
    return prepare(laboratory.experiment(), load_rig(laboratory.experiment(), None), 1, lambda _: None).rig


@contextmanager
def replayed(laboratory: Laboratory, run: Path) -> Iterator[Rig]:
    """The stored run as a rig."""
    experiment = laboratory.experiment()
    with ExitStack() as connections:
        stand_in = stored_run_role(run)
        yield prepare(
            experiment, load_rig(experiment, None), 1, lambda _: None, stand_in=stand_in, connections=connections
        ).rig


class TestReplay(RigContract):
    """Every test of the contract, on what the twin did when it was put to the same test."""

    @pytest.fixture
    def rig(self, laboratory: Laboratory, request: pytest.FixtureRequest) -> Iterator[Rig]:
        tape = Tape(twin(laboratory), laboratory.folder)
        getattr(RigContract, request.function.__name__)(self, tape.rig)
        with replayed(laboratory, tape.close()) as rig:
            yield rig


@pytest.fixture(scope="module")
def hopped_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A current, and three hops after a second of it. Read only."""
    laboratory = Laboratory(tmp_path_factory.mktemp("hopped"))
    tape = Tape(twin(laboratory), laboratory.folder)
    tape.rig.potentiostat.apply(ConstantCurrent(-1e-4), 0)
    tape.rig.clock.wait_until(1_000_000_000)
    tape.rig.amplifier.command(0.3)
    tape.rig.hop_controller.run(plan(3), lambda: False)
    return tape.close()


@pytest.fixture
def hopped(hopped_path: Path, laboratory: Laboratory) -> Iterator[tuple[Rig, Rig]]:
    """(a replay of it, a twin like the one it was)."""
    with replayed(laboratory, hopped_path) as rig:
        yield rig, twin(laboratory)


def test_another_control_is_refused(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    with pytest.raises(NotAsRecorded, match=r"current of -0\.2 mA .* record has current of -0\.1 mA"):
        rig.potentiostat.apply(ConstantCurrent(-2e-4), 0)


def test_a_control_after_the_last_is_refused(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    rig.potentiostat.apply(ConstantCurrent(-1e-4), 0)
    with pytest.raises(NotAsRecorded, match="no further control"):
        rig.potentiostat.apply(OpenCircuit(), 10)


def test_the_end_of_the_record_is_the_end_of_its_time(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    with pytest.raises(NotAsRecorded, match=r"wait is until 3600\.0.* its end at 1\."):
        rig.clock.wait_until(3_600_000_000_000)
    assert rig.clock.now_ns() == 0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"x": np.full(3, 1e-6)}, "another x"),
        ({"step": "probe[1]"}, "another step"),
        ({"parameters": HopParameters(2e-6, 3e-5, 0.03, 5e-6)}, "another setpoint"),
        ({"first_hop": 7}, "another number"),
        ({"segment": 2}, "samples of segment 1"),
    ],
)
def test_another_plan_is_refused(hopped: tuple[Rig, Rig], changed: dict[str, Any], says: str) -> None:
    rig, _ = hopped
    rig.clock.wait_until(1_000_000_000)
    with pytest.raises(NotAsRecorded, match=says):
        rig.hop_controller.run(replace(plan(3), **changed), lambda: False)


def test_a_dwell_in_place_of_recorded_hops_is_refused(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    rig.clock.wait_until(1_000_000_000)
    with pytest.raises(NotAsRecorded, match="of 0 hops"):
        rig.hop_controller.run(plan(0, until_ns=1_050_000_000), lambda: False)


def test_a_shorter_plan_gets_the_first_hops_and_the_next_one_the_rest(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    rig.clock.wait_until(1_000_000_000)
    first = rig.hop_controller.run(plan(1), lambda: False)
    second = rig.hop_controller.run(replace(plan(2), first_hop=1), lambda: False)
    assert [first.hops.size, second.hops.size] == [1, 2]
    blocks = [*first.blocks, *second.blocks]
    samples = np.cumsum([0, *(block.counts.shape[0] for block in blocks)])
    assert [block.first_sample for block in blocks] == samples[:-1].tolist()
    assert samples[-1] == second.hops["sample_top"][-1] + 1
    with pytest.raises(NotAsRecorded, match="ended"):
        rig.hop_controller.run(replace(plan(2), first_hop=3), lambda: False)


def test_another_height_is_refused_and_the_recorded_one_is_not(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    assert rig.coarse_stage.move_to(rig.coarse_stage.position()) == 0
    with pytest.raises(NotAsRecorded, match=r"coarse stage is asked to 900\.00 µm"):
        rig.coarse_stage.move_to(900e-6)


def test_the_cell_is_interpolated_between_two_rows(hopped: tuple[Rig, Rig]) -> None:
    rig, like = hopped
    for one in (rig, like):
        one.potentiostat.apply(ConstantCurrent(-1e-4), 0)
        one.clock.wait_until(500_000_000)
    # Currents of rows have 1 µA of noise: six times that, over the half second that is interpolated.
    assert rig.potentiostat.read().charge == pytest.approx(like.potentiostat.read().charge, abs=6e-6 * 0.5)
    assert rig.potentiostat.read().current == pytest.approx(-1e-4, abs=6e-6)


def test_a_rig_made_safe_neither_moves_nor_reports_a_driven_cell_as_open(hopped: tuple[Rig, Rig]) -> None:
    rig, _ = hopped
    rig.potentiostat.apply(ConstantCurrent(-1e-4), 0)
    rig.clock.wait_until(1_000_000_000)
    rig.safe()
    with pytest.raises(NotAsRecorded, match="was made safe"):
        rig.hop_controller.run(plan(3), lambda: False)
    with pytest.raises(NotAsRecorded, match="control current"):
        rig.potentiostat.read()


def of_the_run(run: Run) -> list[tuple[int, str, str, object]]:
    """Facts without what the recorder says of the disk, which depends on what else the machine does."""
    return [(fact.t_ns, fact.kind, fact.step, fact.data) for fact in run.facts if fact.step != "record"]


def the_same(one: Run, other: Run) -> None:
    for name in ("hops", "cell", "slow"):
        assert getattr(one, name).identical(getattr(other, name)), name
    assert one.segments() == other.segments()
    for segment in one.segments():
        assert one.samples(segment).identical(other.samples(segment))
    assert of_the_run(one) == of_the_run(other)
    results = [result.record() for result in results_of(one)]
    assert results
    np.testing.assert_equal([result.record() for result in results_of(other)], results)


def test_the_recorded_experiment_on_the_replay_gives_the_same_run(short_run: Run, tmp_path: Path) -> None:
    loaded = experiment_from_text(short_run.experiment_text)
    again = execute_on_run(short_run.path.parent, loaded, tmp_path)
    assert again.ending.error is None
    with Run(again.path) as other:
        the_same(short_run, other)
        assert other.provenance["replay_of"] == short_run.path.parent.name
        assert other.provenance["source"] == "digital twin"


def test_currents_rests_rasters_and_a_parked_pipette_replay_identically(laboratory: Laboratory) -> None:
    loaded = laboratory.experiment(PROGRAM)
    first = execute(loaded, laboratory.folder / "out", seed=1)
    again = execute_on_run(first.path.parent, loaded, laboratory.folder / "again")
    assert [first.ending.error, again.ending.error] == [None, None]
    with Run(first.path) as one, Run(again.path) as other:
        the_same(one, other)


def test_another_experiment_on_a_replay_ends_with_the_difference(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    faster = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 400")
    with laboratory.run(faster) as run:
        rig = str(run.path.parent)
    laboratory.experiment(faster)
    command = ["run", str(laboratory.folder / "experiment.yaml"), "--rig", rig, "--out", str(laboratory.folder / "b")]
    assert cli.main(command) == 0
    path = Path(capsys.readouterr().out.strip().splitlines()[-1])
    with Run(path) as other, Run(rig) as one:
        assert one.hops.identical(other.hops)
    laboratory.experiment(faster.replace("to_V: 0.0", "to_V: 0.1"), RIG)
    assert cli.main(command) == 3
    message = " ".join(capsys.readouterr().err.split())
    assert "a replay answers only what was recorded" in message
    assert cli.main([*command, "--seed", "2"]) == 2
    assert "leave out --seed and --world" in " ".join(capsys.readouterr().err.split())
