"""What `check` says, read as a person reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsicm.cli.check import check_report, checked_file, expected_count, percent, si_text
from opsicm.experiment.file import experiment_path


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (3.19e-9, "A", "3.19 nA"),
        (999.6e-12, "A", "1.00 nA"),
        (47.2e-15, "A", "47.2 fA"),
        (-0.8, "V", "-800 mV"),
        (0.0, "A", "0 A"),
        (233e3, "B", "233 kB"),
        (2.04e9, "B", "2.04 GB"),
        (1e-18, "A", "0.00100 fA"),
    ],
)
def test_an_amount_has_one_to_three_figures_before_the_point(value: float, unit: str, expected: str) -> None:
    assert si_text(value, unit) == expected


def test_negligible_numbers_are_rounded_to_none() -> None:
    assert expected_count(2.4e-160) == "none"
    assert expected_count(0.34) == "0.34"
    assert percent(2.3e-9) == "less than 0.01 %"
    assert percent(0.0031) == "0.31 %"


def report_lines(name: str) -> list[str]:
    """The lines of `opsicm check` for a packaged experiment."""
    file = experiment_path(f"short/{name}.yaml")
    return check_report(file, checked_file(file, None)).splitlines()[1:]


def test_a_series_says_once_what_holds_for_every_run() -> None:
    lines = report_lines("e02_current_at_four_distances")
    assert lines[0] == "  4 runs, one after the other; in every one"
    assert sum(line.startswith("  duration") for line in lines) == 1
    assert sum("goes" in line for line in lines) == 4
    assert "  samples          none: nothing hops" in lines
    assert any("at 10 µm the current goes" in line and "swing 3.02 nA" in line for line in lines)


def test_a_constant_current_shows_in_the_level_of_the_pipette_s() -> None:
    text = "\n".join(report_lines("e07_images_at_open_circuit"))
    assert "until a cut-off" not in text  # the forecast runs to its end
    assert "not forecast" not in text
    assert "52.0 pA above its value at rest" in text
    assert "false stops expected in 576 hops: none" in text
    assert not re.search(r"\de[-+]?\d", text), "no powers of ten"


def test_false_stops_have_their_cause_named(tmp_path: Path) -> None:
    """A slow approach beside a fast cell: the current drifts away from its reference before the surface is there."""
    text = experiment_path("short/e09_height_during_voltammogram.yaml").read_text(encoding="utf-8")
    for key, value in (("fall_nm_per_ms", 2.7), ("setpoint_pct", 0.5), ("loading_mg_cm2", 0.2)):
        text = re.sub(rf"{key}: [0-9.]+", f"{key}: {value}", text)
    (tmp_path / "slow.yaml").write_text(text, encoding="utf-8")
    ((_, prediction),) = checked_file(tmp_path / "slow.yaml", None)
    (hop,) = prediction.hops
    assert hop.false_stop_of_noise < 1e-4  # 0.5 % are more than ten times the noise
    assert hop.false_stop > 0.5
    assert hop.drift_over_setpoint > 1.0
    lines = [
        line.strip()
        for line in check_report(tmp_path / "slow.yaml", checked_file(tmp_path / "slow.yaml", None)).splitlines()
    ]
    said = " ".join(lines)
    assert re.search(
        r"of these none by noise alone, \S+ because the current drifts by up to \S+ % of the setpoint", said
    )
    assert "in an approach: approach faster or from nearer, raise setpoint_pct" in said
    assert "by noise alone" not in "\n".join(report_lines("e09_height_during_voltammogram"))
