"""What many tests share: a laboratory, one short operando run, one recorded stream."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.record.reader import Run
from tests.fixtures.busy_machine import pytest_configure  # noqa: F401  pytest finds it by its name
from tests.fixtures.laboratory import TEXT, Laboratory
from tests.fixtures.recorded import record

# What is started below nohup inherits a hang-up that is ignored; runs that are tested have a terminal of their own.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# How long one example takes says how busy the machine is, not whether it is right: 0.2 s, the default, is flaky.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path)


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Laboratory(tmp_path_factory.mktemp("short_run")).run()


@pytest.fixture
def loaded() -> LoadedExperiment:
    return experiment_from_text(TEXT)


@pytest.fixture(scope="session")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded stream of 20 blocks in three segments, one hop a block. Read only."""
    return record(tmp_path_factory.mktemp("recorded"))
