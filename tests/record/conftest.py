"""One recorded run for the tests that only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import record


@pytest.fixture(scope="session")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 20 blocks in three segments, one hop a block. Read only."""
    return record(tmp_path_factory.mktemp("recorded"))
