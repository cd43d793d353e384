"""What the console's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.browser import browser, page
from tests.fixtures.raster_run import raster_run
from tests.fixtures.tower_run import tower_run

__all__ = ["browser", "page"]


@pytest.fixture(scope="session")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two small images of a known surface."""
    return raster_run(tmp_path_factory.mktemp("raster") / "run")


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tower of a known current."""
    return tower_run(tmp_path_factory.mktemp("tower") / "run")
