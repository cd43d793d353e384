"""Memory, flow and charge of the tip in the twin: closed forms of one pipette, and a jump of the bias in a world."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from opsicm.cli.check import checked_run
from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.errors import BadInput
from opsicm.physics.cell.electrolyte import conductivity_proportional
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.memory import tip_memory
from opsicm.physics.pipette.rectification import GlassCharge
from opsicm.twin.far_pipette import FarPipette
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.world import World
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.one_instrument import world_behind

TIP = Pipette()
R_GEO = geometric_resistance(TIP)
KAPPA = conductivity_proportional(0.62)  # [S/m], proportional to the salt: closed forms hold


def pipette(glass: GlassCharge | None = None) -> FarPipette:
    return FarPipette(R_GEO, KAPPA, 1000.0, 0.0, tip_memory(TIP, 2.6e-10), glass)


def test_salt_outside_is_shown_half_after_a_millisecond_and_to_90_percent_after_77() -> None:
    t_ns = (0, 1, 800_000, 77_000_000, 10_000_000_000)
    salt = np.array([1000.0, 990.0, 990.0, 990.0, 990.0])
    shown = pipette().trajectory(t_ns, salt, np.zeros(5), np.zeros(pipette().memory.time.size))
    np.testing.assert_allclose(1000.0 - np.array(shown.salt), [0.0, 0.0, 5.0, 9.0, 9.9], atol=0.12)
    # A logarithmic mean of what is inside and what is shown, for a conductivity proportional to the salt.
    c = np.array(shown.salt[2:])
    np.testing.assert_allclose(shown.conductance[2:], 0.62e-3 / R_GEO * (1000.0 - c) / np.log(1000.0 / c), rtol=1e-6)


@pytest.mark.parametrize("zeta_sign", [-1.0, 1.0])
@pytest.mark.parametrize("bias", [-0.7, 0.7])
def test_the_current_with_flow_is_the_closed_form(zeta_sign: float, bias: float) -> None:
    """c_eff = A/(1 - ln(c_in/c_out)/Pe), A = (c_out e^Pe - c_in)/(e^Pe - 1): positive glass draws the bath in."""
    per_volt, outside = 5.0 * zeta_sign, 900.0
    glass = GlassCharge(TIP, 14e-3 * zeta_sign, per_volt, 0.0, 0.3, 298.15)
    current = pipette(glass).current(np.ones(1), np.array([outside]), np.array([bias]), 0.0)[0]
    Pe = per_volt * bias
    A = (outside * math.exp(Pe) - 1000.0) / math.expm1(Pe)
    effective = A / (1.0 - math.log(1000.0 / outside) / Pe)
    assert current == pytest.approx(0.62e-3 * effective / R_GEO * bias, rel=1e-6)
    assert (effective < 948.0) == (Pe > 0.0)  # nearer to the bath's 900 than the logarithmic mean


def bench(laboratory: Laboratory, tip: str) -> World:
    experiment = laboratory.experiment(rig=RIG.replace("  seed: 1\n", f"  tip: {tip}\n  seed: 1\n"))
    rig = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
    controller = rig.hop_controller
    assert isinstance(controller, TwinHopController)
    rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
    controller.world.advance_to(20_000_000_000)
    rig.amplifier.command(-0.7 - rig.potentiostat.read().potential)
    return controller.world


def test_a_charged_tip_settles_to_another_bias_as_its_salt_diffuses(laboratory: Laboratory) -> None:
    """1.7 % between both directions at -20 mC/m² (docs/explanations/pipette.md), of which half comes within 1 ms."""
    world = bench(laboratory, "{charge_mC_m2: -20}")
    jumped = world.now_ns
    conductance = []
    for later in (0, 800_000, 77_000_000, 20_000_000_000):
        world.advance_to(jumped + later)
        conductance.append(world.bulk_current(world.state_at(world.now_ns)) / -0.7)
    assert 100.0 * (1.0 - conductance[0] / conductance[-1]) == pytest.approx(1.7, rel=0.25)
    shares = (np.array(conductance) - conductance[0]) / (conductance[-1] - conductance[0])
    np.testing.assert_allclose(shares[1:3], [0.5, 0.9], atol=0.03)


def test_the_loop_sees_the_jump_settle_in_pieces(laboratory: Laboratory) -> None:
    world = bench(laboratory, "{charge_mC_m2: -20}")
    pieces = np.diff([world.now_ns, *world.breakpoints(world.now_ns + 200_000_000)])
    assert pieces[0] <= 100_000
    assert np.all(pieces[:12] < 10_000_000)
    still = bench(laboratory, "{memory: false}")
    assert still.pipette.memory.time.size == 0
    assert still.breakpoints(still.now_ns + 200_000_000)[0] - still.now_ns == 100_000_000


EDGE = TEXT.replace("0.05}", "0.05, rest_V: 1.7}").replace(
    "{from_V: 0.4, to_V: 0.0, rate_mV_s: 8, cycles: 1, ir_compensation_pct: 97}",
    "{from_V: 1.7, to_V: 1.66, rate_mV_s: 20}",
)


@pytest.mark.parametrize(
    ("key", "value", "known"),
    # Pe = eps zeta V/(eta D) = 60, and Du V F/RT = 0.3 with Du = sigma/(F c a).
    [("zeta_mV", 120, 1.44), ("charge_mC_m2", -30, 0.3 * 0.025693 * 96485.33 * 1000.0 * 50e-9 / 30e-3)],
)
def test_what_check_lets_through_at_the_edge_runs_and_what_it_refuses_does_not(
    key: str, value: float, known: float, laboratory: Laboratory
) -> None:
    """Before the first bias the specimen's 1.7 V is across the tip: more than the 0.7 V that the file asks for."""
    rig = RIG.replace("  seed: 1\n", f"  tip: {{{key}: {value}}}\n  seed: 1\n")
    with pytest.raises(BadInput, match="as long as the amplifier commands 0 V") as refusal:
        checked_run(laboratory.experiment(EDGE, rig), None, None)
    (problem,) = refusal.value.problems
    assert f"known up to {known:.3g} V" in problem.limit
    beyond = laboratory.run(EDGE, rig)
    assert (beyond.outcome, beyond.hops.sizes["hop"]) == ("fault", 0)
    advice = re.fullmatch(rf"write ({key}: [-\d.]+) in world\.tip of the rig file", problem.remedy)
    assert advice is not None
    assert float(advice[1].split()[1]) / value > 0.95 * known / 1.75  # it gives away little
    rig = RIG.replace("  seed: 1\n", f"  tip: {{{advice[1]}}}\n  seed: 1\n")
    checked_run(laboratory.experiment(EDGE, rig), None, None)
    run = laboratory.run(EDGE, rig)
    assert run.outcome == "completed"
    assert run.hops.sizes["hop"] > 20


def test_a_fill_too_far_from_the_bath_for_a_flow_is_refused(laboratory: Laboratory) -> None:
    rig = RIG.replace("  seed: 1\n", "  tip: {zeta_mV: 10}\n  seed: 1\n")
    text = TEXT.replace("{bias_V: 0.7}", "{bias_V: 0.7, fill_M: 0.005}")
    with pytest.raises(BadInput, match=r"pipette\.fill_M is 0\.005; differs 2\d\d times"):
        checked_run(laboratory.experiment(text, rig), None, None)


def test_zeta_and_charge_of_one_glass_have_one_sign(laboratory: Laboratory) -> None:
    with pytest.raises(BadInput, match=r"charge_mC_m2 is -20; has the other sign than zeta_mV, 10"):
        bench(laboratory, "{zeta_mV: 10, charge_mC_m2: -20}")


def test_a_tip_that_nobody_can_make_is_refused(laboratory: Laboratory) -> None:
    with pytest.raises(BadInput, match=r"world\.tip\.zeta_mV is 400"):
        bench(laboratory, "{zeta_mV: 400}")


def test_a_stage_may_be_told_to_move_at_a_sample_past_the_last_step() -> None:
    """The present may lie up to a sample beyond the cell's last step: the tip's memory then divided by zero."""
    with world_behind() as paced:
        twin = paced.ask(lambda rig: rig.clock._world)  # type: ignore[attr-defined]

        def moved(_: object) -> tuple[list[float], list[float], float]:
            twin.advance_to(twin._segment.end)
            twin.now_ns += 10_000
            before = twin._lags_at(twin.now_ns).tolist()
            twin.move_coarse(twin.coarse.carriage(twin.now_ns) + 1e-6, None)
            at_once = twin._lags_at(twin._segment.end).tolist()
            twin.advance_to(twin.now_ns + 1_000_000_000)
            return before, at_once, twin.pipette.memory.lag(twin._lags_at(twin.now_ns)[None])[0]

        before, at_once, later = paced.ask(moved)
    assert at_once == before
    assert abs(later) < 1.0  # [mol/m³]: at rest, a micrometre higher
