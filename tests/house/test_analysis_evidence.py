"""The page of evidence names tests that exist, and every quantity that the analysis prints."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from opsicm.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/analysis-evidence.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| `")]
LISTED = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])]
NAMED = {"Result", "failed"}
# Stand for a record of which nothing could be said, beside the outcome that names why.
NOTHING = {"record", "trace", "raster", "kymograph", "voltammogram"}

TEXT = """
opsicm: 1
title: one of each
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - sweep: {from_V: 1.2, to_V: 0.1, rate_mV_s: 100, cycles: 1}
  - constant_current: {current_mA: -0.2, until: {for_s: 10}}
  - rest: {for_s: 10}
  - hold: {potential_V: 0.2, for_s: 45}
probe:
  - tower: {low_um: 100, high_um: 600, speed_mm_s: 0.5, record_every_s: 0.02, trips: 2}
  - pipette_sweep: {from_V: -0.6, to_V: 0.7, rate_mV_s: 500, height_um: 100}
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 60, setpoint_pct: 2.0, hops: 200}
  - raster: {center_um: [0, 0], size_um: [4, 4], pixels: [8, 8], amplitude_nm: 2000, fall_nm_per_ms: 60,
             setpoint_pct: 2.0}
  - modulate: {at_um: [0, 0], levels_V: [0.6, 0.7], dwell_ms: 5, blanking_ms: 1, amplitude_nm: 1000,
               fall_nm_per_ms: 60, setpoint_pct: 2.0, hops: 20}
envelope: {cell_V: [-0.05, 1.7], approach_um: 8}
record: {pipette_bias: full}
"""


def is_listed(quantity: str) -> bool:
    return any(fnmatchcase(quantity, pattern) for pattern in LISTED)


def named_in(source: Path) -> set[str]:
    """Names that a source gives its results in so many words, other parts as `*`."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in NAMED and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
            elif isinstance(first, ast.JoinedStr):
                found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in first.values))
    return found


def test_every_test_on_the_page_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 40
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_every_row_has_a_test() -> None:
    for row in ROWS:
        assert "::test_" in row[2], row[0]


def test_every_name_in_the_sources_is_on_the_page() -> None:
    sources = [*(ROOT / "src/opsicm/analysis").rglob("*.py"), ROOT / "src/opsicm/results/calibration_across_runs.py"]
    names = {name for source in sources for name in named_in(source)} - NOTHING
    assert len(names) > 35
    missing = [name for name in sorted(names) if not is_listed(name) and not any(fnmatchcase(n, name) for n in LISTED)]
    assert not missing, f"give a witness in docs/reference/analysis-evidence.md: {missing}"


def test_every_name_that_analyse_prints_is_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "each.yaml").write_text(TEXT)
    assert main(["run", str(tmp_path / "each.yaml"), "--out", str(tmp_path)]) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    assert main(["analyse", path, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert len(records) > 40
    missing = [record["name"] for record in records if not is_listed(record["quantity"])]
    assert not missing, f"give a witness in docs/reference/analysis-evidence.md: {missing}"
