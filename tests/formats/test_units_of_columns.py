"""A unit that a column may not have is refused with a remedy that is right, and one that is improbable is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.identify import read
from opsicm.results.third_party import analyse_file


def written(path: Path, title: str, t: np.ndarray, current: np.ndarray, potential: np.ndarray) -> Path:
    np.savetxt(path, np.column_stack((t, current, potential)), delimiter=",", header=title, comments="", fmt="%.9g")
    return path


T, CURRENT, E = np.arange(0.0, 2000.0, 10.0), np.full(200, 0.5123), 0.3 + 1e-4 * np.arange(200)


@pytest.mark.parametrize(
    ("unit", "per"),
    [("mA/g", "mass of active material"), ("A/kg", "mass of active material"), ("mA/cm²", "area of the electrode")],
)
def test_a_current_per_something_is_not_offered_as_a_current(tmp_path: Path, unit: str, per: str) -> None:
    path = written(tmp_path / "a.csv", f"t/s,I/{unit},E/V", T, CURRENT, E)
    with pytest.raises(BadInput) as refused:
        read(path)
    assert f"multiply the column by the {per} in a copy of the file and title it I/" in str(refused.value)
    assert "--columns" not in str(refused.value)
    whole = unit.partition("/")[0]
    copy = written(tmp_path / "b.csv", f"t/s,I/{whole},E/V", T, 2.0 * CURRENT, E)  # the remedy, followed
    assert {r.name: r.outcome for r in analyse_file(copy)}["capacity"] == "ok"


@pytest.mark.parametrize(
    ("title", "t", "e", "words"),
    [
        ("t/s,I/mA,E/mV", T, E, "no cell has below 6 mV throughout: is the column in V?"),
        ("t/s,I/mA,E/V", 1e3 * T, E, "if so, write ms in the title of"),
        ("t/s,I/mA,E/V", T, 1e3 * E, "is the column in mV?"),
    ],
)
def test_an_improbable_unit_is_looked_at(tmp_path: Path, title: str, t: np.ndarray, e: np.ndarray, words: str) -> None:
    path = written(tmp_path / "a.csv", title, t, CURRENT, e)
    assert any(words in r.reason for r in analyse_file(path) if r.name == "plausibility")


def test_a_store_of_cells_logged_each_hour_is_plausible(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "t/s,I/mA,E/V", 360.0 * T, CURRENT, 3.0 + E)
    assert not [r.reason for r in analyse_file(path) if r.name == "plausibility" and "apart" in r.reason]
