"""A second run on a stage with a motor is told where the first one was engaged, in the words of the rig file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from opsicm.cli.execute import engaged_elsewhere
from opsicm.cli.main import main
from opsicm.experiment.rig_file import rig_from_text
from opsicm.instruments.roles import RoleState
from opsicm.twin.devices import TwinCoarseStage
from tests.fixtures.laboratory import RIG, TEXT, Laboratory

QUICK = TEXT[: TEXT.index("cell:")] + "cell: [open_circuit: {for_s: 0.2}]\n"


@pytest.fixture
def stands(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Where the stage is engaged when a run connects, as a motor's driver says it."""
    frame = {"engaged_at_mm": 12.699968254, "start_height_um": 3.0}
    state = TwinCoarseStage.state

    def told(stage: TwinCoarseStage) -> RoleState:
        return replace(state(stage), settings=dict(frame))

    monkeypatch.setattr(TwinCoarseStage, "state", told)
    return frame


def test_the_next_run_says_what_to_write(
    laboratory: Laboratory, stands: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.experiment(QUICK, RIG)
    out = laboratory.folder / "out"
    command = ["run", str(laboratory.folder / "experiment.yaml"), "--out", str(out)]
    assert main(command) == 0
    assert "coarse stage" not in capsys.readouterr().err  # there was no run before
    assert main(command) == 0
    assert "coarse stage" not in capsys.readouterr().err  # it stands there still
    stands["engaged_at_mm"] = 12.79  # the run has left it higher
    assert main(command) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "it stands at 12.7900 mm, which is taken for 3 µm above the specimen" in said
    written = re.search(r"roles.coarse_stage.settings: engaged_at_mm: (\S+), start_height_um: (\S+)", said)
    assert written is not None
    assert float(written[1]) == pytest.approx(12.699968254, abs=1e-7)
    assert float(written[2]) == 3.0


def test_a_rig_file_that_says_it_is_left_alone_and_so_are_strangers_folders(tmp_path: Path) -> None:
    class Stage:
        def state(self) -> RoleState:
            return RoleState(0, settings={"engaged_at_mm": 5.0, "start_height_um": 3.0})

    class Bench:
        coarse_stage = Stage()

    for name, text in (("a", "no journal"), ("b", "[1]\n"), ("c", json.dumps({"data": {"coarse_stage": 3}}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.jsonl").write_text(text, encoding="utf-8")
    silent = rig_from_text(RIG)
    bench: object = Bench()
    assert engaged_elsewhere(silent, bench, tmp_path) == ""  # type: ignore[arg-type]
    line = {"data": {"coarse_stage": {"engaged_at_mm": 7.0, "start_height_um": 3.0}}}
    (tmp_path / "a" / "journal.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert "engaged_at_mm: 7, start_height_um: 3" in engaged_elsewhere(silent, bench, tmp_path)  # type: ignore[arg-type]
    of_twin = "  coarse_stage:\n    driver: twin\n"
    assert of_twin in RIG
    stated = rig_from_text(RIG.replace(of_twin, "  coarse_stage: {driver: zaber, settings: {engaged_at_mm: 5}}\n"))
    assert engaged_elsewhere(stated, bench, tmp_path) == ""  # type: ignore[arg-type]
