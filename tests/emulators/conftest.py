"""A world that serves its instruments in another process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsicm.emulators.safe_world import SAFE
from opsicm.instruments.clock import stopwatch
from tests.fixtures.laboratory import RIG, TEXT

PATIENCE = 120.0  # [s] of a busy machine
_SPEED = "4"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a world that serves in another process."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "rig.yaml").write_text(RIG, encoding="utf-8")
    file = folder / "experiment.yaml"
    file.write_text(TEXT.replace("rig: twin/graphite", "rig: rig.yaml"), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-m", "opsicm.cli.world_process", str(file), str(folder), _SPEED])
    waited = stopwatch()
    while not (folder / SAFE).exists():
        assert process.poll() is None
        assert waited() < PATIENCE
    yield folder
    assert process.poll() is None, "the world has ended"
    process.send_signal(signal.SIGKILL)
    process.wait()
