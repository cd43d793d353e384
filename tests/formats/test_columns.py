"""The table reader: what it reads is the same table, however it was written; what is ambiguous it does not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.columns import ColumnTable, parse_columns
from opsicm.formats.identify import identify
from opsicm.formats.text import decode, read_bytes

T = np.arange(12) * 0.01
CURRENT_PA = 1400.0 - 0.125 * np.arange(12) ** 2
Z_UM = 5.0 - 0.25 * np.arange(12)
SPEC = "t=s,I=pA,z=um"


def table(separator: str, decimal: str, header: str = "", end: str = "\n") -> str:
    rows = (
        separator.join(f"{v:.6f}".replace(".", decimal) for v in row) for row in zip(T, CURRENT_PA, Z_UM, strict=True)
    )
    return header + end.join(rows) + end


def read_columns(path: Path, columns: str | None = None) -> ColumnTable:
    return parse_columns(decode(read_bytes(path), path), path, columns)


def put(tmp_path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = tmp_path / "curve.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def check(path: Path, columns: str | None) -> None:
    data = read_columns(path, columns).data
    np.testing.assert_allclose(data["t"], T, rtol=1e-12)
    np.testing.assert_allclose(data["I"], CURRENT_PA * 1e-12, rtol=1e-12)
    np.testing.assert_allclose(data["z"], Z_UM * 1e-6, rtol=1e-12)


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [("\t", "."), ("\t", ","), (";", "."), (";", ","), (" ", "."), ("  ", ","), (",", "."), (", ", "."), ("; ", ",")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_spelling_reads_the_same(tmp_path: Path, separator: str, decimal: str, end: str) -> None:
    check(put(tmp_path, table(separator, decimal, end=end)), SPEC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_every_encoding_reads_the_same(tmp_path: Path, encoding: str) -> None:
    header = "Messung für µ\nZeit [s]\tStrom [pA]\tHöhe [µm]\n"
    check(put(tmp_path, table("\t", ",", header), encoding), None)


@pytest.mark.parametrize(
    "header",
    ["t_s\tI_pA\tz_um\n", "time / s\tcurrent / pA\tz / µm\n", "# t (s)\tI (pA)\tz (um)\n", "t [s]|I [pA]|z [μm]\n"],
)
def test_units_in_titles_are_understood(tmp_path: Path, header: str) -> None:
    check(put(tmp_path, table("\t", ".", header)), None)


def test_columns_are_taken_by_title_in_any_order(tmp_path: Path) -> None:
    check(put(tmp_path, table("\t", ".", "t\tI\tz\n")), "z=um,t=s,I=pA")


def test_a_column_can_be_skipped(tmp_path: Path) -> None:
    data = read_columns(put(tmp_path, table(";", ",")), "_,I=nA,z=nm").data
    assert list(data) == ["I", "z"]
    np.testing.assert_allclose(data["I"], CURRENT_PA * 1e-9)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (None, r"without titles.*--columns t=s,I=pA,z=um"),
        ("t=s,I=pA", "2 entries; curve.txt has 3 columns"),
        ("t=s,I=um,z=um", "I is measured in A"),
        ("t=s,I=pA,z=furlong", "unit of z is 'furlong'; known units"),
        ("t=s,I=pA,q=um", "'q=um'; known letters are"),
        ("t=s,z=um,z=um", "z twice"),
        ("_,_,_", "empty"),
        ("t", "known letters"),
    ],
)
def test_a_wrong_specification_is_explained(tmp_path: Path, columns: str | None, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_columns(put(tmp_path, table("\t", ".")), columns)


def test_titles_without_units_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its title states no unit"):
        read_columns(put(tmp_path, table("\t", ".", "t\tI\tz\n")))


def test_comma_that_could_be_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="one column with decimal comma, or two"):
        read_columns(put(tmp_path, "".join(f"{k},{k + 3}\n" for k in range(20))), "z=um,I=pA")


def test_a_damaged_row_is_named_with_its_line(tmp_path: Path) -> None:
    lines = table("\t", ".").splitlines()
    lines[9] = "0.09\t13"
    with pytest.raises(BadInput, match=r"curve\.txt:10: row is '0\.09.*3 numbers are needed"):
        read_columns(put(tmp_path, "\n".join(lines)), SPEC)


def test_nan_is_data_and_is_reported(tmp_path: Path) -> None:
    lines = table("\t", ".").splitlines()
    lines[4] = "0.04\tNaN\t4.0"
    path = put(tmp_path, "\n".join(lines))
    assert np.isnan(read_columns(path, SPEC).data["I"][4])
    assert any(finding.text == "I: 1 of 12 values are not numbers" for finding in identify(path, SPEC).findings)
