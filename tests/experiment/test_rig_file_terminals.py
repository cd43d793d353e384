"""One terminal drives one thing, and the master of the sample clock is a role."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment.rig_file import read_rig, rig_from_text

RIGS = Path(__file__).parents[2] / "experiments" / "rigs"
PAPER = (RIGS / "paper.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("shared", ["Dev1/ao2", "ao2"])
def test_two_outputs_on_one_terminal_are_refused(shared: str) -> None:
    assert "command_output: Dev1/ao0" in PAPER
    assert "z_output: Dev1/ao2" in PAPER
    with pytest.raises(BadInput) as refused:
        rig_from_text(PAPER.replace("command_output: Dev1/ao0", f"command_output: {shared}"))
    (problem,) = refused.value.problems
    assert problem.line is not None
    assert {"command_output", "z_output"} <= set(str(problem).replace(";", " ").replace(".", " ").split())
    assert "writing the one would move the other" in problem.limit


def test_the_same_name_on_another_card_is_another_terminal() -> None:
    text = PAPER.replace("command_output: Dev1/ao0", "command_output: Dev1/ao2").replace(
        "driver: patch_clamp\n    address: Dev1", "driver: patch_clamp\n    address: grpc://10.0.0.7:31763/Dev1"
    )
    assert "10.0.0.7" in text
    rig_from_text(text)


def test_a_master_that_is_no_role_is_refused() -> None:
    text = PAPER.replace("master: hop_controller", "master: daq")
    with pytest.raises(BadInput, match=r"clock.master is 'daq'; is no role; the roles are amplifier, potentiostat"):
        rig_from_text(text)


@pytest.mark.parametrize("path", sorted(RIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_rigs_that_are_shipped_share_nothing(path: Path) -> None:
    assert read_rig(path).rig.clock.master == "hop_controller"
