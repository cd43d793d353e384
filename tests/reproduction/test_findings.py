"""The page of findings: what is computed against sums by hand, what is quoted against the table it was given."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from opsicm.analysis.result import Result, failed
from opsicm.experiment.parameter_file import parameter_set
from opsicm.experiment.yaml_file import read_yaml
from opsicm.physics.cell.parameters import CellParameters
from opsicm.reproduction.cases import experiment_file
from opsicm.reproduction.findings import SALTS, calibration_line, cone_table, findings, turning_points, write_findings
from opsicm.reproduction.paper import IDS, ROWS
from opsicm.reproduction.table import ComparedRow, compare, side_by_side
from opsicm.reproduction.variants import DEFAULT, PROPORTIONAL, DeclaredSet

ABSENT = {name: failed(name, "", "", "not run", "no file") for name in IDS}
UNITS = {row.id: row.unit for row in ROWS}


def _compared(chosen: DeclaredSet, /, **here: float) -> list[ComparedRow]:
    named = {key.replace("__", "."): value for key, value in here.items()}
    results = {name: Result(name, value, None, UNITS[name], "m") for name, value in named.items()}
    return compare(results, ABSENT, {}, IDS, None, chosen)


def _page(**here: float) -> str:
    return findings([one.record() for one in _compared(DEFAULT, **here)], "long")


def _swelling(*rows: tuple[float, float]) -> CellParameters:
    """Parameters of which only the volume of the material is asked: straight pieces (x, relative volume)."""
    table = np.array(rows)
    material = SimpleNamespace(volume_change=lambda x: np.interp(x, table[:, 0], table[:, 1]))
    return cast(CellParameters, SimpleNamespace(material=material))


def test_an_electrode_turns_where_its_halves_have_the_ratio() -> None:
    # 4 % up to x = 0.2, none beyond: at x = 0.32 the first half, to 0.16, is 3.2 %, the second 0.8 %.
    ((x, change),) = turning_points(_swelling((0.0, 0.0), (0.2, 0.04), (1.0, 0.04)), 4.0)
    assert x == pytest.approx(0.32, abs=1e-3)
    assert change == pytest.approx(0.04)
    # Even swelling has equal halves everywhere, and 2.31 nowhere.
    assert turning_points(_swelling((0.0, 0.0), (1.0, 0.1)), 2.31) == []


def test_the_stages_of_graphite_give_two_places_and_one_is_out_of_reach() -> None:
    points = turning_points(parameter_set().values, 4.11 / 1.78)
    assert [round(x, 2) for x, _ in points] == [0.38, 0.56]
    # By hand, 4.37 % at 0.24, 5.58 at 0.5, 13.1 at 1: v(0.28) = 4.556 %, v(0.56) = 6.482 %, a ratio of 2.37.
    assert points[1][1] == pytest.approx(0.0648, abs=0.001)
    assert 0.0589 / points[0][1] > 1.0 > 0.0589 / points[1][1] > 0.85


def test_every_cone_of_the_table_gives_the_papers_step_and_another_current() -> None:
    kappa = 0.62
    angles, currents, distances = (np.array(column) for column in zip(*cone_table(parameter_set().values), strict=True))
    # dI = i L κ-free: I₀ L / (V κ) is the same for all, 0.35 nA over 8 A/m².
    np.testing.assert_allclose(currents * distances / (0.7 * kappa), 0.35e-9 / 8.0, rtol=1e-9)
    assert np.all(np.diff(currents) > 0.0)
    # An endless cone of 4°: R κ = 1/(π a tan θ) + 1/(4 a), whose shank of 20 µm lacks 3 %.
    endless = 1.0 / (math.pi * 50e-9 * math.tan(math.radians(4.0))) + 1.0 / (4.0 * 50e-9)
    assert currents[angles == 4.0][0] == pytest.approx(0.7 * kappa / endless, rel=0.05)


WIDE, LOW = (0.5, 1.0, 1.5), (0.25, 0.5, 1.0)  # [M] of the short form


def test_a_line_is_a_line_for_kappa_proportional_and_not_across_a_maximum() -> None:
    p = parameter_set().values
    # Without salt's slope only the junction is left: U ln c of 0.7 V, U = 0.4 · 25.7 mV · 1.3 = 13.4 mV, over ln 3.
    flat = calibration_line(np.ones_like, p, WIDE)
    assert flat[1] == pytest.approx(100.0 * 0.01336 * math.log(3.0) / 0.7, rel=0.05)
    assert calibration_line(lambda c: c, p, WIDE)[0] == pytest.approx(0.998, abs=0.001)
    assert calibration_line(lambda c: c * np.exp(-c / 1000.0), p, WIDE)[0] < 0.4
    # The rows E1.linearity and E1.linearity_low, E1.slope_low of the short runs, through hops of nothing but noise.
    kappa = p.electrolyte.conductivity
    assert calibration_line(kappa, p, WIDE)[0] == pytest.approx(0.596, abs=0.01)
    assert calibration_line(kappa, p, LOW) == pytest.approx((0.910, 20.7), rel=0.01)


def test_the_salts_of_the_page_are_those_of_the_experiment() -> None:
    for form, salts in SALTS.items():
        vary = read_yaml(experiment_file("E1", form == "short")).data["vary"]
        assert tuple(vary["electrolyte.salt_M"]) == salts


def test_salt_can_make_both_a_rising_line_and_a_rising_charge() -> None:
    """A maximum below 1 M: the average slope below it is positive, the local one at 1 M negative."""
    text = findings([], "short")
    assert "| maximum at 0.95 M | -0.026 | 0.09, +2 % | 0.86, +17 % |" in text
    assert "| `graphite-li-pc` | -0.118 |" in text
    assert "a maximum between 0.93 and 1 M passes even that, with s between -0.04 and 0" in text
    assert "drift on charge" not in text


def test_the_page_quotes_the_table_and_says_what_was_not_run() -> None:
    columns = [
        _compared(DEFAULT, E5__rest=0.9, E9__ratio=1.9),
        _compared(PROPORTIONAL, E5__rest=13.7, E1__slope_low=60.0),
    ]
    text = findings([one.record() for one in side_by_side(columns)], "long")
    assert "relaxes by 13.7 % of the step" in text
    # 5 % of 13.7 %, of s = 0.5.
    assert "need s below 0.18" in text
    assert "E9.ratio is 1.9 and E9.total not run" in text
    assert "under κ ∝ c 60 %" in text
    assert "need s below" not in _page()


def test_the_order_of_c_and_d_follows_the_runs() -> None:
    one: dict[str, Any] = {"E11__reversal_first": 0.16, "E11__reversal_last": 0.16}
    text = _page(**one, E11__order=-3.0)
    assert "There is no second one here" in text
    assert "is before C here (E11.order -3 min)" in text
    two = _page(E11__reversal_first=0.16, E11__reversal_last=0.45, E11__order=2.0)
    assert "There is a second one, at 0.45 V" in two
    assert "is after C here" in two


def test_there_are_twelve_numbers_to_read_off(tmp_path: Path) -> None:
    page = write_findings(_compared(DEFAULT, E2__swing_10=2.1), tmp_path / "out", "short")
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "out" / "findings.md"
    rows = [line for line in text.partition("## 6. Twelve numbers")[2].splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 12
    assert "| 3a | swing at 10 µm | the same, with the peak current of 3b | 2.1 nA |" in rows
    assert "short forms" in text
