"""Experiment files that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

EXPERIMENTS: Final = Path(__file__).parent.parent / "experiments"


def experiment_path(name: str) -> Path:
    """The file of a packaged experiment, as `short/e09_height_during_voltammogram.yaml`."""
    return EXPERIMENTS / name
