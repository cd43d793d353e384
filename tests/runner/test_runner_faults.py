"""Short forms of the fault rows that the runner owns. The seed is printed; `python -m faults --seed N` repeats it."""

from __future__ import annotations

import importlib
import random

import numpy as np
import pytest

from faults import f15_late_potentiostat
from faults.steered_run import run_steered
from opsicm.experiment.file import experiment_from_text
from opsicm.instruments.roles import Rig


@pytest.mark.parametrize(
    "module",
    [
        "f02_kill_the_controller",
        "f07_lost_instruments",
        "f08_bad_answers",
        "f09_broken_probe",
        "f11_pause_the_probe",
        "f13_a_long_run",
        "f15_late_potentiostat",
        "f17_wire_faults",
        "f24_lost_rig",
        "f25_lost_watchdog",
        "f26_hostile_commands",
        "f27_closed_terminal",
    ],
)
def test_short_form(module: str) -> None:
    seed = 7  # `make test` is no lottery; `make faults` draws
    rows = importlib.import_module(f"faults.{module}").run(random.Random(f"{seed} {module}"), short=True)
    assert rows
    for row in rows:
        assert row.holds, f"{row.row} {row.fault}, seed {seed}: {row.observed}"


def test_the_bias_is_sampled_every_millisecond() -> None:
    """A glitch of 50 mV that lasts two milliseconds is seen, and fails the row's promise."""
    seen: list[f15_late_potentiostat.TipPotentialMonitor] = []

    def glitch(rig: Rig) -> None:
        world = rig.hop_controller.world  # type: ignore[attr-defined]
        plain, was = rig.clock.wait_until, [0.0, 0.0]

        def wait_until(t_ns: int) -> None:
            for at_ns, volts in ((3_000_400_000, 0.05), (3_002_400_000, -0.05)):
                if world.now_ns < at_ns <= t_ns and was[0] * was[1] == 0.0 and was[volts < 0.0] == 0.0:
                    plain(at_ns)
                    world.set_command(world.command(at_ns) + volts, world.command_slope)
                    was[volts < 0.0] = volts
            plain(t_ns)

        rig.clock.wait_until = wait_until  # type: ignore[method-assign]
        seen.append(f15_late_potentiostat.TipPotentialMonitor(rig))

    late = experiment_from_text(f15_late_potentiostat.EXPERIMENT, "late.yaml")
    run_steered(late, change=glitch)
    (wire,) = seen
    off = np.abs(np.array(wire.off))
    assert 7400 <= off.size < 7410  # 7.4 s, and the instants that the bias is set between two milliseconds
    assert 1 <= np.count_nonzero(off > 0.04) <= 3
