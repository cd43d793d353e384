"""The page and the NXDL say what the table says; the community's validator agrees where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from opsicm.record.validate import REQUIRED

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_names_everything_required() -> None:
    page = (_REFERENCE / "nxsicm.md").read_text(encoding="utf-8")
    for item in REQUIRED:
        rank = "" if item.kind == "group" else f", rank {item.rank}"
        assert f"| `{item.path}` | {item.type}{rank} | {item.unit or ''} | {item.doc} |" in page


def test_the_nxdl_names_everything_required() -> None:
    root = ET.parse(_REFERENCE / "NXsicm.nxdl.xml").getroot()
    assert root.get("extends") == "NXsensor_scan"
    found: set[str] = set()

    def walk(node: ET.Element, path: str) -> None:
        for child in node:
            if (name := child.get("name")) is not None:
                here = f"{path}/{name.replace('segment_NNNN', 'segment_*')}"
                found.add(here)
                walk(child, here)

    walk(root, "")
    assert {item.path for item in REQUIRED} == found - {"/entry/samples/segment_*/decimated/"}


@pytest.mark.skipif(shutil.which("pynx") is None, reason="pynxtools is not installed")
def test_the_community_validator_passes(run_path: Path) -> None:
    command = ["pynx", "validate", "--ignore-undocumented", str(run_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    output = done.stdout + done.stderr
    assert "is valid according to the `NXsensor_scan`" in output
    assert "NOT valid" not in output
