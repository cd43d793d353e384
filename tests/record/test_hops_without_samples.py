"""A hop controller may hand over its hops and no samples: the run is read, analysed and reported like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from opsicm.cli.main import main
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.twin.hop_controller import TwinHopController
from tests.fixtures.laboratory import Laboratory


def test_hops_without_samples_are_analysed(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = TwinHopController.run

    def without_samples(self: Any, plan: HopPlan, stop: Callable[[], bool], **more: Any) -> PlanOutcome:
        return replace(whole(self, plan, stop, **more), blocks=[])

    monkeypatch.setattr(TwinHopController, "run", without_samples)
    monkeypatch.setattr(TwinHopController, "channels", ())
    with laboratory.run() as run:
        hops = run.hops.sizes["hop"]
        assert hops > 20
        assert run.segments() == []
        assert run.length(1) == 0
    assert main(["analyse", str(run.path.parent)]) == 0
    assert "height_change" in capsys.readouterr().out
    assert main(["validate", str(run.path)]) == 0
    assert main(["report", str(run.path.parent)]) == 0
