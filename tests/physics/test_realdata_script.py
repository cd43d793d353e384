"""`make realdata`: without the curves it fails and says what to give; its fit recovers a curve it made itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "realdata_approach.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("realdata_approach", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_the_data_folder_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["realdata_approach.py", str(tmp_path)])
    assert _script().main() == 2
    assert "OPSICM_DATA" in capsys.readouterr().err


def test_the_fit_finds_what_was_put_in_and_prefers_the_right_model() -> None:
    script = _script()
    z = np.arange(1500.0, -0.5, -10.0)
    rng = np.random.default_rng(3)
    for made, other, shape, scale in (
        (script.template, script.hyperbola, 80.0, 60.0),
        (script.hyperbola, script.template, 1.2, 1.0),
    ):
        current = 1400.0 * made(z + 25.0, shape) + rng.normal(0.0, 0.3, z.size)
        sigma = np.full(z.size, 0.3)
        right = script.fit(z, current, sigma, made, (0.5 * scale, scale, 2.0 * scale))
        start = 60.0 if other is script.template else 1.0
        wrong = script.fit(z, current, sigma, other, (0.5 * start, start, 2.0 * start))
        assert right.shape == pytest.approx(shape, rel=0.05)
        assert right.z0 == pytest.approx(-25.0, abs=3.0)
        assert 0.7 < right.chi2 / right.freedom < 1.35
        assert wrong.chi2 > right.chi2 + 10.0
