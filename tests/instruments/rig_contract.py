"""What every rig must do, twin, replay and drivers alike: inherit and supply `rig`."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.facts.hop import HOP_DTYPE
from opsicm.instruments.cell_control import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.rig import Rig
from opsicm.instruments.roles import HopPlan


def plan(hops: int, until_ns: int = 2**62, segment: int = 1) -> HopPlan:
    """A plan of `hops` hops at the origin."""
    zeros, numbers = np.zeros(hops), np.zeros(hops, np.int32)
    return HopPlan(
        "probe[0]", segment, 0, zeros, zeros, numbers, numbers, np.full(hops, 2e-6), 3e-5, 0.02, 5e-6, 0.7, until_ns
    )  # fmt: skip


class RigContract:
    """Tests that any rig passes."""

    @pytest.fixture
    def rig(self) -> Rig:
        raise AssertionError("a subclass supplies its rig")

    def test_time_starts_at_zero_and_moves_when_waited_for(self, rig: Rig) -> None:
        assert rig.clock.now_ns() == 0
        rig.clock.wait_until(50_000_000)
        assert rig.clock.now_ns() >= 50_000_000
        before = rig.clock.now_ns()
        rig.clock.wait_until(10)
        assert rig.clock.now_ns() >= before

    def test_a_control_begins_at_its_nanosecond(self, rig: Rig) -> None:
        rig.potentiostat.apply(OpenCircuit(), 0)
        rig.potentiostat.apply(ConstantCurrent(-1e-4), 300_000_000)
        rig.clock.wait_until(300_000_000)
        assert rig.potentiostat.read().charge == pytest.approx(0.0, abs=1e-9)
        rig.clock.wait_until(1_300_000_000)
        assert rig.potentiostat.read().charge == pytest.approx(-1e-4, rel=1e-6)

    def test_lithiation_is_negative_and_lowers_the_potential(self, rig: Rig) -> None:
        before = rig.potentiostat.read().potential
        rig.potentiostat.apply(ConstantCurrent(-1e-4), 0)
        rig.clock.wait_until(2_000_000_000)
        reading = rig.potentiostat.read()
        assert reading.current == pytest.approx(-1e-4, rel=1e-9)
        assert reading.potential < before
        assert reading.control == "current"

    def test_a_cut_off_opens_the_circuit_by_itself(self, rig: Rig) -> None:
        low = rig.potentiostat.read().potential - 0.05
        rig.potentiostat.apply(ConstantCurrent(-1e-3, lowest=low), 0)
        rig.clock.wait_until(60_000_000_000)
        reading = rig.potentiostat.read()
        assert reading.cut_off
        assert abs(reading.current) < 1e-12

    def test_hops_leave_records_and_samples_on_one_clock(self, rig: Rig) -> None:
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        first = rig.hop_controller.run(plan(3), lambda: False)
        second = rig.hop_controller.run(plan(2), lambda: False)
        blocks = [*first.blocks, *second.blocks]
        dt_ns = rig.hop_controller.timing.dt_ns
        index = 0
        for block in blocks:
            assert block.first_sample == index, "samples of one segment have no gap"
            assert block.t0_ns == blocks[0].t0_ns + index * dt_ns
            assert block.counts.dtype == np.int16
            assert block.counts.shape[1] == len(rig.hop_controller.channels) == len(block.quality)
            index += block.counts.shape[0]
        records = np.concatenate([first.hops, second.hops])
        assert records.dtype == HOP_DTYPE
        assert records.size == 5
        assert np.all(records["outcome"] == 0)
        order = [records[f"sample_{name}"] for name in ("start", "fall", "stop", "top")]
        assert np.all(np.diff(order, axis=0) > 0)
        assert np.all(records["t_ns"] == blocks[0].t0_ns + records["sample_stop"] * dt_ns)
        assert np.all(records["i_stop"] <= records["i_ref"] * (1 - 0.02))

    def test_a_plan_without_hops_dwells_and_samples(self, rig: Rig) -> None:
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        outcome = rig.hop_controller.run(plan(0, until_ns=20_000_000), lambda: False)
        assert outcome.hops.size == 0
        assert sum(block.counts.shape[0] for block in outcome.blocks) == pytest.approx(2000, abs=1)

    def test_a_stop_ends_the_plan_with_the_hop_in_flight(self, rig: Rig) -> None:
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        outcome = rig.hop_controller.run(plan(10), lambda: True)
        assert outcome.hops.size == 1

    def test_safe_means_pipette_up_cell_open_bias_zero(self, rig: Rig) -> None:
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        rig.potentiostat.apply(PotentialRamp(0.3), 0)
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        rig.hop_controller.run(plan(2), lambda: False)
        z = rig.scanner.read_z()
        rig.safe()
        rig.clock.wait_until(rig.clock.now_ns() + 1_000_000_000)
        reading = rig.potentiostat.read()
        assert abs(reading.current) < 1e-12
        assert reading.control == "open_circuit"
        assert rig.scanner.read_z() > z
        assert rig.amplifier.read()[1] == 0.0
