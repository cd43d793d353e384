"""Every import contract catches a trespass: a module that breaks it is written into a copy, and the check must fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# contract's name → (module to write, what it must not import)
TRESPASSES = {
    "Floors only import downwards": ("instruments/trespass.py", "from opsicm.runner import runner"),
    "Physics knows neither pydantic nor files of users": ("physics/trespass.py", "import yaml"),
    "Analysis sees arrays, never instruments, files or runs": (
        "analysis/trespass.py",
        "from opsicm.record import reader",
    ),
    "The twin has its own circuit: a sign error must not cancel itself": (
        "twin/trespass.py",
        "from opsicm.instruments import wiring",
    ),
    "Outside the twin's fast loop nobody sees a lane": ("twin/trespass.py", "from opsicm.twin.fast_loop import lanes"),
    "Only instruments/clock.py imports time (direct imports)": ("runner/trespass.py", "import time"),
    "Only cli says real or twin": ("record/trespass.py", "from opsicm.twin import world"),
    "Drivers compute no physics (direct imports)": ("drivers/trespass.py", "from opsicm.physics import noise"),
    "Emulators and drivers have no common author": ("emulators/trespass.py", "from opsicm import drivers"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command as lint; sys.path.insert(0, 'src'); lint()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_house_as_it_stands_keeps_every_contract(house: Path) -> None:
    said = lint(house)
    assert said.returncode == 0, said.stdout
    assert f"{len(TRESPASSES)} kept, 0 broken" in said.stdout, "every contract has its trespass"


@pytest.mark.parametrize("contract", TRESPASSES)
def test_a_trespass_is_caught(house: Path, contract: str) -> None:
    name, line = TRESPASSES[contract]
    module = house / "src/opsicm" / name
    module.write_text(f'"""A trespass."""\n\n{line}\n', encoding="utf-8")
    try:
        said = lint(house)
    finally:
        module.unlink()
    assert said.returncode != 0
    assert f"{contract} BROKEN" in " ".join(said.stdout.split())
