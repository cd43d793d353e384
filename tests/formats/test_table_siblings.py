"""One table in every spelling: separators, decimal marks, quotation, encodings, rows of units, words, dates, headers.

The right values are those that the table was made of; a spelling that cannot be told apart is refused, never misread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import BadInput
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import read

N = 40
T = 10.0 * np.arange(N)
E = 0.8 - 0.002 * np.arange(N) ** 1.1
I_MA = np.where(np.arange(N) < 8, 0.0, -0.0512 + 0.0001 * np.arange(N))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")
EXTRA = ("", "words first", "words between", "date last", "empty last")
HEADERS = ("", "text", "hash", "blank line", "colons")
TITLES = (
    ("time/s", "Ewe/V", "I/mA"),
    ("Test Time / s", "Voltage / V", "Current / mA"),
    ("Time (s)", "E vs. Li/Li+ (V)", "Current (mA)"),
    ("Test_Time(s)", "<Ewe/V>", "<I>/mA"),
    ("Zeit [s]", "Spannung [V]", "Strom [mA]"),
    ("test_time_s", "voltage_V", "current_mA"),
)


@dataclass(frozen=True)
class Spelling:
    separator: str
    decimal: str
    quoted: str  # "", "all", "numbers"
    encoding: str
    end: str
    titles: tuple[str, str, str]
    unit_row: bool
    extra: str
    header: str
    time: str  # "s", "h:mm:ss"

    def number(self, value: float, digits: int) -> str:
        return f"{value:.{digits}f}".replace(".", self.decimal)

    def fields(self, k: int) -> list[str]:
        seconds = int(T[k])
        t = self.number(T[k], 2)
        if self.time == "h:mm:ss":
            t = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        values = [t, self.number(E[k], 5), self.number(I_MA[k], 6)]
        if self.extra == "words first":
            return ["Rest" if k < 8 else "CC Chg", *values]
        if self.extra == "words between":
            return [values[0], "Rest" if k < 8 else "D", *values[1:]]
        if self.extra == "date last":
            return [*values, f"2024-05-18 16:{seconds // 60:02d}:{seconds % 60:02d}"]
        if self.extra == "empty last":
            return [*values, ""]
        return values

    def title_fields(self) -> list[list[str]]:
        titles = list(self.titles)
        units = ["s", "V", "mA"]
        if self.time == "h:mm:ss":
            titles[0], units[0] = "Total Time" if self.separator != " " else "TotalTime", "h:mm:ss"
        if self.unit_row:
            titles = ["Time", "Voltage", "Current"]
        place = {"words first": 0, "words between": 1, "date last": 3, "empty last": 3}.get(self.extra)
        word = {"date last": "Date", "empty last": "Note"}.get(self.extra, "Step Type")
        rows = [titles, units] if self.unit_row else [titles]
        if place is not None:
            rows[0].insert(place, word)
            if self.unit_row:
                rows[1].insert(place, "")
        return rows

    def line(self, fields: list[str], numbers: bool) -> str:
        if self.quoted == "all" or (self.quoted == "numbers" and numbers):
            fields = [f'"{field}"' for field in fields]
        return self.separator.join(fields)

    def content(self) -> bytes:
        before = {
            "": [],
            "text": ["Galvanostatic cycling … of cell 12", "User: Müller", "3 mV/s, channel 4"],
            "hash": ["# made 2024-05-18", "# cell 12, channel 3"],
            "blank line": ["Export", ""],
            "colons": ["Name:" + self.separator + "x17", "Channel:" + self.separator + "4", "Mass (mg):12"],
        }[self.header]
        lines = [*before, *(self.line(row, False) for row in self.title_fields())]
        lines += [self.line(self.fields(k), True) for k in range(N)]
        return (self.end.join(lines) + self.end).encode(self.encoding)


def spellings(separator: str, decimal: str, quoted: str) -> Iterator[Spelling]:
    """Every encoding, line end, header, extra column and row of units; the titles in turn."""
    k = 0
    for extra, header, unit_row, time in product(EXTRA, HEADERS, (False, True), ("s", "h:mm:ss")):
        if separator == " " and (extra or unit_row):
            continue  # blanks inside a field, or an empty field, cannot be told from the separator
        for encoding, end in product(ENCODINGS, ("\n", "\r\n")):
            titles = TITLES[k % len(TITLES)] if separator != " " else TITLES[0]
            k += 1
            yield Spelling(separator, decimal, quoted, encoding, end, titles, unit_row, extra, header, time)


@pytest.mark.parametrize(
    ("separator", "decimal", "quoted"),
    [
        *((s, d, "") for s in ("\t", ";", " ") for d in (".", ",")),
        (",", ".", ""),
        *((s, d, "all") for s in ("\t", ";", ",") for d in (".", ",")),
        (",", ",", "numbers"),
        (";", ",", "numbers"),
    ],
)
def test_the_same_table_in_every_spelling(tmp_path: Path, separator: str, decimal: str, quoted: str) -> None:
    path = tmp_path / "table"
    count = 0
    for spelling in spellings(separator, decimal, quoted):
        path.write_bytes(spelling.content())
        table = read(path)
        assert isinstance(table, ColumnTable), spelling
        assert list(table.data) == ["t", "I", "E"], spelling
        np.testing.assert_allclose(table.data["t"], T, rtol=1e-12, err_msg=str(spelling))
        np.testing.assert_allclose(table.data["E"], np.round(E, 5), rtol=1e-12, err_msg=str(spelling))
        np.testing.assert_allclose(
            1e3 * table.data["I"], np.round(I_MA, 6), rtol=1e-9, atol=1e-15, err_msg=str(spelling)
        )
        if spelling.extra.startswith("words"):
            assert "Step Type (words)" in table.skipped
        count += 1
    assert count >= 80


@pytest.mark.parametrize(("separator", "decimal"), [("\t", "."), (";", ","), (",", ".")])
def test_grouped_thousands_are_read_or_refused_never_taken_for_decimals(
    tmp_path: Path, separator: str, decimal: str
) -> None:
    """1,234.5 and 1.234,5: 30 values from 0 to 15 000 s, grouped from 1000 on."""
    other = "," if decimal == "." else "."
    t = 500.25 * np.arange(30)
    path = tmp_path / "table"
    for group in (other, "\u00a0", "\u202f", "'", " "):
        if group == " " and separator == ",":
            continue
        written = [f"{v:,.2f}".replace(",", "G").replace(".", decimal).replace("G", group) for v in t]
        rows = [f'"{a}"{separator}"{k % 7}{decimal}5"' for k, a in enumerate(written)]
        path.write_text("\n".join([f"time/s{separator}E/V", *rows]), encoding="utf-8")
        table = read(path)
        assert isinstance(table, ColumnTable)
        np.testing.assert_allclose(table.data["t"], t, rtol=1e-12, err_msg=group)


def test_whole_numbers_that_could_be_decimals_are_refused(tmp_path: Path) -> None:
    """1,125 among numbers without a comma: 1.125 s with its zeros dropped elsewhere, or 1125 s?"""
    path = tmp_path / "table"
    path.write_text("time/s\tn\n" + "\n".join(f"{v:,}\t{k}" for k, v in enumerate(range(0, 30_000, 125))))
    with pytest.raises(
        BadInput, match=r"decimal sign is ambiguous.*could be decimal or group thousands.*without grouped"
    ):
        read(path)


@pytest.mark.parametrize("decimal", [".", ","])
def test_am_and_pm_run_over_noon_and_midnight(tmp_path: Path, decimal: str) -> None:
    path = tmp_path / "table"
    hours = np.arange(11.5, 37.5, 0.5)
    clock = [f"{(int(h) - 1) % 12 + 1}:{int(60 * h) % 60:02d}:00 {'PM' if int(h) % 24 >= 12 else 'AM'}" for h in hours]
    rows = [f"{c}\t{0.5 + 0.001 * k:.3f}\t0.1000".replace(".", decimal) for k, c in enumerate(clock)]
    path.write_text("Time\tE (V)\tI (mA)\n" + "\n".join(rows))
    table = read(path)
    assert isinstance(table, ColumnTable)
    np.testing.assert_allclose(np.diff(table.data["t"]), 1800.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("03/04/2024", "04/04/2024"),
        ("04/03/2024", "04/04/2024"),
        ("04.03.2024", "05.03.2024"),
        ("3-Mar-24", "4-Mar-24"),
    ],
)
def test_a_day_is_a_day_in_either_order(tmp_path: Path, first: str, second: str) -> None:
    """Of the two orders of day and month the one in which time runs forwards and the record is short."""
    path = tmp_path / "table"
    rows = [f"{first} 23:{m}:00,0.5,0.1" for m in range(10, 60, 5)] + [
        f"{second} 00:{m:02d}:00,0.4,0.1" for m in range(0, 30, 5)
    ]
    path.write_text("Date Time,E/V,I/mA\n" + "\n".join(rows))
    table = read(path)
    assert isinstance(table, ColumnTable)
    steps = np.diff(table.data["t"])
    np.testing.assert_allclose(steps, 300.0)
