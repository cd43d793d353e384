"""The tutorial "Write a driver", done as it says: its code is the example's, its commands work, the driver survives."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from docs.examples.text_stage_device import Server
from opsicm.cli.emulated_rig import standing_experiment
from opsicm.cli.main import main
from opsicm.cli.rigs import prepare
from opsicm.core.errors import InstrumentLost, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.experiment.rig_file import PRESETS, read_rig
from opsicm.instruments.roles import Rig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/write-a-driver.md").read_text(encoding="utf-8")
DRIVER = ROOT / "docs/examples/text_stage.py"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def rig_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The rig of step 6, the driver installed as in step 5: the metadata that pip would write, from the page's own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/text_stage.py").write_text(DRIVER.read_text(encoding="utf-8"), encoding="utf-8")
    metadata = tmp_path / "site/text_stage-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: text-stage\nVersion: 1.0\n", encoding="utf-8")
    project = next(text for kind, text in BLOCKS if kind == "toml")
    place = re.search(r'text_stage = "(.*)"', project)
    assert place is not None
    (metadata / "entry_points.txt").write_text(f"[opsicm.drivers]\ntext_stage = {place[1]}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    role = next(text for kind, text in BLOCKS if kind == "yaml").replace("4000", str(server.server_address[1]))
    preset = (PRESETS / "twin-graphite.yaml").read_text(encoding="utf-8")
    path = tmp_path / "rig.yaml"
    path.write_text(preset.replace("  coarse_stage:\n    driver: twin\n", role), encoding="utf-8")
    return path


@pytest.fixture
def rig(rig_file: Path) -> Iterator[Rig]:
    with ExitStack() as open_things:
        loaded = read_rig(rig_file)
        yield prepare(standing_experiment(loaded), loaded, 1, lambda _: None, connections=open_things).rig


def test_every_piece_of_code_on_the_page_stands_in_the_driver() -> None:
    text = DRIVER.read_text(encoding="utf-8")
    pieces = [piece for kind, piece in BLOCKS if kind == "python"]
    assert len(pieces) == 6
    assert [piece for piece in pieces if piece not in text] == []


def test_the_steps_of_the_page(rig_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "list"]) == 0
    assert "\ntext_stage" in capsys.readouterr().out
    assert main(["rig", "check", str(rig_file), "--role", "coarse_stage", "--yes"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ACME TS-25, serial 0042, firmware 1.7" in said
    assert "went 10.00 µm up and came back within 0 nm" in said, said
    assert "note: not verified on hardware: against docs/examples/text_stage_device.py only" in said


def test_it_counts_from_where_it_was_engaged_and_the_twin_goes_along(rig: Rig, server: Server) -> None:
    assert rig.coarse_stage.position() == pytest.approx(3e-6)
    arrival = rig.coarse_stage.move_to(53e-6)
    assert arrival == pytest.approx(50e-6 / 5e-4 * 1e9, rel=1e-6)
    assert server.stage.target == 2_050_000
    rig.coarse_stage.safe()
    assert 3e-6 <= rig.coarse_stage.position() < 53e-6


def test_a_command_out_of_range_is_refused_before_it_is_sent(rig: Rig, server: Server) -> None:
    with pytest.raises(OutsideDomain, match="coarse stage is 6000 µm; the stage may go to 5000 µm; move less"):
        rig.coarse_stage.move_to(6e-3)
    assert server.stage.target == 2_000_000


def test_a_line_that_fails_is_lost_and_comes_back(rig: Rig, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = server.stage.answer
    monkeypatch.setattr(server.stage, "answer", lambda _: "what")
    with pytest.raises(InstrumentLost, match="could not convert string to float"):
        rig.coarse_stage.position()
    assert rig.coarse_stage.state().quality is Quality.MISSING
    monkeypatch.setattr(server.stage, "answer", answer)
    state = rig.coarse_stage.state()
    assert state.quality is Quality.GOOD
    assert state.settings == {"position_nm": 2e6}


def test_a_stage_that_is_off_is_not_ready(
    rig_file: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> socket.socket:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "create_connection", refused)
    assert main(["rig", "check", str(rig_file), "--role", "coarse_stage"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "nobody answers there (ConnectionRefusedError: refused)" in said
    assert "switch it on, check its cable and address" in said
    assert server.stage.target == 2_000_000
