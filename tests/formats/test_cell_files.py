"""Files of potentiostats and cyclers after their public descriptions: texts, workbooks, binary modules, sessions."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.errors import BadInput
from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import identify, read

F64 = NDArray[np.float64]
N = 30
T = 10.0 * np.arange(N)
E = 0.8 - 0.01 * np.arange(N)
I_MA = np.where(np.arange(N) < 5, 0.0, -0.05)


def put(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def record_in(path: Path) -> CellRecord:
    content = read(path)
    if isinstance(content, ColumnTable):
        return CellRecord("", content.data["t"], content.data["E"], content.data["I"], content.counters, content.clock)
    assert isinstance(content, CellFile)
    (record,) = content.records
    return record


def check(record: CellRecord, current_mA: F64 = I_MA) -> None:
    np.testing.assert_allclose(record.t - record.t[0], T, atol=1e-9)
    np.testing.assert_allclose(record.potential, E, rtol=1e-6)
    np.testing.assert_allclose(record.current, 1e-3 * current_mA, rtol=1e-6, atol=1e-15)


# EC-Lab's text


def mpt(titles: list[str], comment: str = "", decimal: str = ".", rows: list[list[str]] | None = None) -> str:
    before = ["", "Galvanostatic Cycling", "", "Run on channel : 1", f"Comments : {comment}", ""]
    number = 3 + len(before)
    columns = {"mode": ["1"] * N, "time/s": [f"{v:.6E}" for v in T], "I/mA": [f"{v:.6f}" for v in I_MA]}
    columns |= {"<I>/mA": [f"{v - 0.001:.6f}" for v in I_MA], "Ewe/V": [f"{v:.6f}" for v in E]}
    columns |= {"<Ewe/V>": columns["Ewe/V"], "<Ewe>/V": columns["Ewe/V"], "Ewe-Ece/V": [f"{v - 2:.6f}" for v in E]}
    columns |= {"(Q-Qo)/mA.h": [f"{v:.6E}" for v in np.cumsum(I_MA) * 10 / 3600]}
    body = rows or [[columns[title][k].replace(".", decimal) for title in titles] for k in range(N)]
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {number}", *before, "\t".join(titles) + "\t"]
    return "\r\n".join([*lines, *("\t".join(row) for row in body)]) + "\r\n"


@pytest.mark.parametrize(
    ("comment", "encoding"),
    [
        ("cycle … then hold", "cp1252"),
        ("Zelle für Müller, 20 °C, ± 5 µA", "latin-1"),
        ("第三次循环 电池", "gbk"),
        ("三回目のサイクル", "shift_jis"),
        ("третий цикл", "cp1251"),
        ("třetí cyklus ž", "cp1250"),
        ("third … ± µ 第三", "utf-8"),
        ("a\x0bb\x0cc\x1cd\u2028e", "utf-8"),
        ("a lone \r in it", "latin-1"),
    ],
)
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_comment_in_any_encoding_does_not_shift_the_titles(
    tmp_path: Path, comment: str, encoding: str, decimal: str
) -> None:
    text = mpt(["mode", "time/s", "Ewe/V", "I/mA"], comment, decimal)
    check(record_in(put(tmp_path, "a.mpt", text, encoding)))


def test_a_comment_of_several_lines_is_not_counted_by_every_program(tmp_path: Path) -> None:
    text = mpt(["mode", "time/s", "Ewe/V", "I/mA"], "first\r\nsecond\r\nthird")
    check(record_in(put(tmp_path, "a.mpt", text)))


@pytest.mark.parametrize("potential", ["Ewe/V", "<Ewe/V>", "<Ewe>/V"])
def test_ec_lab_s_spellings_of_the_potential(tmp_path: Path, potential: str) -> None:
    path = put(tmp_path, "a.mpt", mpt(["mode", "time/s", potential, "Ewe-Ece/V", "I/mA"]))
    check(record_in(path))
    assert any(f"E is '{potential}', not 'Ewe-Ece/V'" in finding.text for finding in identify(path).findings)


def test_of_two_currents_the_mean_is_taken_and_said(tmp_path: Path) -> None:
    path = put(tmp_path, "a.mpt", mpt(["mode", "time/s", "Ewe/V", "<I>/mA", "I/mA", "(Q-Qo)/mA.h"]))
    record = record_in(path)
    check(record, I_MA - 0.001)
    assert record.counters is not None
    assert record.counters["(Q-Qo)/mA.h"][-1] == pytest.approx(np.sum(I_MA) * 1e-3 * 10.0, rel=1e-5)
    look = next(finding for finding in identify(path).findings if "'<I>/mA'" in finding.text)
    assert not look.ok
    assert "I is '<I>/mA', not 'I/mA', from which it differs by up to 1e-06 A" in look.text
    option = re.search(r"--columns '([^']*)' takes the other", look.text)
    assert option is not None
    content = read(path, option[1])
    assert isinstance(content, CellFile)
    check(content.records[0])


def test_an_exported_date_is_a_time(tmp_path: Path) -> None:
    rows = [[f"05/13/2024 11:{k // 6:02d}:{10 * (k % 6):02d}.000", f"{E[k]:.6f}", f"{I_MA[k]:.6f}"] for k in range(N)]
    check(record_in(put(tmp_path, "a.mpt", mpt(["time/s", "Ewe/V", "I/mA"], rows=rows))))


def test_columns_that_were_not_exported_are_named_with_the_way_to_export_them(tmp_path: Path) -> None:
    path = put(tmp_path, "a.mpt", mpt(["mode", "time/s", "Ewe/V"]))
    with pytest.raises(BadInput, match=r"time/s, Ewe/V and I/mA \(or <I>/mA\) are needed; export these columns too"):
        read(path)


# EC-Lab's binary


def mpr(numbers: list[int], version: int = 3, longer: bool = False, cut: int = 0) -> bytes:
    types = {4: "<f8", 6: "<f4", 8: "<f4", 11: "<f8", 131: "<u2", 13: "<f8", 77: "<f4"}
    values = {4: T, 6: E, 8: I_MA, 11: I_MA - 0.001, 131: np.zeros(N), 13: np.cumsum(I_MA) * 10 / 3600, 77: E}
    fields = [n for n in numbers if n not in (1, 2, 3, 21, 31, 65)]
    names = (["flags"] if len(fields) < len(numbers) else []) + [str(n) for n in fields]
    kind = np.dtype([(n, "u1" if n == "flags" else types[int(n)]) for n in names])
    rows = np.zeros(N, kind)
    for n in fields:
        rows[str(n)] = values[n]
    head = struct.pack("<IB", N, len(numbers))
    if version == 0:
        head = (head + bytes(numbers)).ljust(100, b"\x00")
    else:
        head = (head + struct.pack(f"<{len(numbers)}H", *numbers)).ljust(405 if version == 2 else 406, b"\x00")

    def module(name: bytes, content: bytes, version: int) -> bytes:
        sizes = struct.pack("<II", len(content), version)
        sizes = b"\xff\xff\xff\xff" + sizes + struct.pack("<I", 11) if longer else sizes
        return b"MODULE" + name.ljust(10) + b"long name".ljust(25) + sizes + b"05/13/24" + content

    data = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4)
    data += module(b"VMP Set", bytes(40), 0) + module(b"VMP data", head + rows.tobytes(), version)
    return data[: len(data) - cut]


@pytest.mark.parametrize("version", [0, 2, 3])
@pytest.mark.parametrize("longer", [False, True])
def test_a_binary_of_ec_lab(tmp_path: Path, version: int, longer: bool) -> None:
    record = record_in(put(tmp_path, "a.mpr", mpr([1, 2, 3, 21, 31, 65, 4, 6, 8, 131, 13], version, longer)))
    check(record)
    assert record.counters is not None
    assert record.counters["(Q-Qo)"][-1] == pytest.approx(np.sum(I_MA) * 1e-3 * 10.0)


def test_a_binary_of_ec_lab_with_both_currents(tmp_path: Path) -> None:
    path = put(tmp_path, "a.mpr", mpr([4, 6, 8, 11]))
    check(record_in(path), I_MA - 0.001)
    assert any("I is '<I>', the mean over an interval" in finding.text for finding in identify(path).findings)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (mpr([4, 6, 8], cut=100), "damaged .mpr"),
        (mpr([4, 6]), r"without I; time, Ewe and I are needed; in EC-Lab: Experiment, Export as Text"),
        (mpr([4, 6, 8]).replace(struct.pack("<3H", 4, 6, 8), struct.pack("<3H", 4, 6, 900)), "number 900"),
    ],
)
def test_a_binary_that_is_not_read_says_what_to_export(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(put(tmp_path, "a.mpr", content))


# PalmSens


def session(camel: bool, current_type: str = "MicroAmpere", scale: float = 1e3) -> bytes:
    def named(key: str) -> str:
        return key if camel else key.lower()

    def array(kind: int, unit: str, symbol: str, values: NDArray[np.floating[Any]]) -> dict[str, Any]:
        of_unit = {named("Type"): f"PalmSens.Units.{unit}", named("S"): symbol}
        points = [{named("V"): float(v)} for v in values]
        return {named("ArrayType"): kind, named("Unit"): of_unit, named("DataValues"): points}

    arrays = [array(0, "Time", "s", T), array(1, "Volt", "V", E), array(2, current_type, "A", scale * I_MA)]
    measurement = {named("Title"): "CV", named("DataSet"): {named("Type"): "PalmSens.Data", named("Values"): arrays}}
    document = {named("Type"): "PalmSens.DataFiles.SessionFile", named("Measurements"): [measurement]}
    return (json.dumps(document) + "\ufeff").encode("utf-16")


@pytest.mark.parametrize("camel", [False, True])
@pytest.mark.parametrize(("unit", "scale"), [("MicroAmpere", 1e3), ("NanoAmpere", 1e6), ("Ampere", 1e-3)])
def test_a_session_of_palmsens_is_in_the_unit_of_its_type_not_of_its_symbol(
    tmp_path: Path, camel: bool, unit: str, scale: float
) -> None:
    check(record_in(put(tmp_path, "a.pssession", session(camel, unit, scale))))


def test_a_cut_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"damaged \.pssession"):
        read(put(tmp_path, "a.pssession", session(True)[:900]))


# Texts of cyclers, each with its own header and titles


def day_time(k: int) -> str:
    return f"{k // 6:02d}:{10 * (k % 6):02d}"


def clock(k: int, form: str) -> str:
    seconds = 10 * k
    plain = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return {"hms": plain, "days": f"  0d {plain}", "ms": f"{plain}.000"}[form]


CYCLERS = {
    "Arbin csv": (
        "Data Point,Date Time,Test Time (s),Step Index,Current (A),Voltage (V),Charge Capacity (Ah)",
        lambda k: f"{k},\t09/20/2024 08:{day_time(k)}.558,{T[k]:.4f},1,{1e-3 * I_MA[k]:.8f},{E[k]:.6f},0",
    ),
    "Basytec": (
        "~Resultfile from Basytec Battery Test System\n~\n~Time[s]\tDataSet\tCommand\tU[V]\tI[A]\tAh[Ah]\tT1[°C]",
        lambda k: f"{float(T[k])!r}\t{k}\tPause\t{float(E[k])!r}\t{float(1e-3 * I_MA[k])!r}\t0\t25.4",
    ),
    "Novonix": (
        "[Summary]\nNovonix\nCapacity (Ah): 5\n[End Summary]\n[Protocol]\n{\"a\": 1}\n[End Protocol]\n[Data]\n"
        "Date and Time,Cycle Number,Step Type,Run Time (h),Step Time (h),Current (A),Potential (V),Capacity (Ah)",
        lambda k: f"2025-07-19 15:{day_time(k)},1,7,{T[k] / 3600:.12f},0,{1e-3 * I_MA[k]:.8f},{E[k]:.8f},0",
    ),
    "PEC": (
        "Test:,187\nTestRegime Name:,A\n\n"
        "Test,Cell ID,Total Time (Seconds),Real Time,Voltage (mV),Current (mA),Charge Capacity (mAh)",
        lambda k: f"187,,{T[k]:.3f},02/22/2019 16:{k // 6:02d}:{10 * (k % 6):02d},{1e3 * E[k]:.4f},{I_MA[k]:.5f},0",
    ),
    "PEC, later": (
        "Test,Total Time (Hours in hh:mm:ss.xxx),Instruction Name,Voltage (V),Current (A)",
        lambda k: f"187,{clock(k, 'ms')},Idle,{E[k]:.7f},{1e-3 * I_MA[k]:.8f}",
    ),
    "Landt": (
        "cell id:,,,,\nchannel_index,date_time_iso_string,test_time_s,current_A,voltage_V,step_name",
        lambda k: f"{k},04/30/2024 14:{k // 6:02d}:{10 * (k % 6):02d},{T[k]:.3f},{1e-3 * I_MA[k]:.8f},{E[k]:.4f},rest,",
    ),
    "Neware csv": (
        "DataPoint,Cycle Index,Step Type,Time,Total Time,Current(A),Voltage(V),Capacity(Ah)",
        lambda k: f"{k},1,Rest,00:00:00,{clock(k, 'hms')},{1e-3 * I_MA[k]:.8f},{E[k]:.4f},0",
    ),
    "BDF, labels": (
        "Test Time / s,Voltage / V,Current / A,Cycle Count / 1,Step Type / 1",
        lambda k: f"{T[k]},{E[k]:.6f},{1e-3 * I_MA[k]:.9f},1,rest",
    ),
    "BDF, names": (
        "test_time_second,voltage_volt,current_ampere,ambient_temperature_celsius",
        lambda k: f"{T[k]},{E[k]:.6f},{1e-3 * I_MA[k]:.9f},25.0",
    ),
    "CH Instruments": (
        "May 13, 2024   11:19:51\nChronopotentiometry\n\nTime/sec, Potential/V, Current/A",
        lambda k: f"{T[k]:.2f}, {E[k]:.4f}, {1e-3 * I_MA[k]:.3e}",
    ),
    "Autolab": (
        "Corrected time (s);WE(1).Potential (V);WE(1).Current (A);Index",
        lambda k: f"{T[k]:.4f};{E[k]:.6f};{1e-3 * I_MA[k]:.9f};{k}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CYCLERS))
def test_the_text_of_a_cycler(tmp_path: Path, name: str) -> None:
    head, row = CYCLERS[name]
    path = put(tmp_path, "a.txt", "\n".join([head, *(row(k) for k in range(N))]) + "\n")  # type: ignore[no-untyped-call]
    check(record_in(path))


@pytest.mark.parametrize("form", ["signed", "magnitude"])
def test_maccor_s_current_has_the_sign_of_its_state(tmp_path: Path, form: str) -> None:
    """Maccor writes magnitudes, and D where the cell is discharged."""
    current = I_MA if form == "signed" else np.abs(I_MA)
    head = "Today's Date:\t14 December 2020\nProcedure:\tA.000\nRec#\tTestTime\tAmps\tVolts\tState\tDPt Time"
    rows = [
        f"{k}\t{clock(k, 'days')}\t{1e-3 * current[k]:.8f}\t{E[k]:.5f}\t{'R' if k < 5 else 'D'}\t12/11/2020 12:22:12"
        for k in range(N)
    ]
    path = put(tmp_path, "a.txt", "\n".join([head, *rows]))
    check(record_in(path))
    said = any("written without sign: negative in the 25 rows" in finding.text for finding in identify(path).findings)
    assert said == (form == "magnitude")


def test_titles_without_units_are_not_guessed_and_the_suggestion_works(tmp_path: Path) -> None:
    """Maccor's csv names neither volt nor ampere."""
    rows = [f"{k},{T[k]:.4f},{-28.8 if k else 0},{3.6 + k / 1000:.3f}" for k in range(N)]
    path = put(tmp_path, "a.csv", "\n".join(["Rec,Test Time (sec),Current,Voltage", *rows]))
    with pytest.raises(BadInput, match="its title states no unit") as caught:
        read(path)
    remedy = caught.value.problems[0].remedy
    assert remedy.startswith("""give --columns 't="Test Time (sec)",I="Current"=mA,E="Voltage"=V'""")
    table = read(path, 't="Test Time (sec)",I="Current"=mA,E="Voltage"=V')
    assert isinstance(table, ColumnTable)
    assert table.data["I"][-1] == pytest.approx(-0.0288)
    # A shell may have taken the quotation marks away.
    again = read(path, "t=Test Time (sec),I=Current=mA,E=Voltage=V")
    assert isinstance(again, ColumnTable)
    np.testing.assert_array_equal(again.data["I"], table.data["I"])


# Workbooks


def workbook(rows: list[list[object]], whole: bool = True) -> bytes:
    """A workbook of one sheet; without the package's relations where not `whole`, as some exporters leave them out."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"

    def cell(value: object) -> str:
        if isinstance(value, str) and value.startswith("#"):
            return f'<c t="e"><v>{value}</v></c>'
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    sheet = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr(
            "xl/workbook.xml",
            f'<?xml version="1.0"?><workbook xmlns="{main}" xmlns:r="{kind}"><sheets>'
            '<sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        of_sheet = f"{kind}/worksheet" if whole else "x"
        relation = f'<Relationship Id="rId1" Type="{of_sheet}" Target="worksheets/sheet1.xml"/>'
        book.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships">{relation}</Relationships>'
        )
        book.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>'
        )
        if whole:
            relation = f'<Relationship Id="rId1" Type="{kind}/officeDocument" Target="xl/workbook.xml"/>'
            book.writestr("_rels/.rels", f'<Relationships xmlns="{package}/relationships">{relation}</Relationships>')
    return out.getvalue()


TITLES: list[object] = ["Data_Point", "Test_Time(s)", "Step", "Current(A)", "Voltage(V)"]


def cells(written: bool, decimal: str = ".") -> list[list[object]]:
    def number(value: float) -> object:
        return f"{value:.6f}".replace(".", decimal) if written else round(float(value), 6)

    return [[k, number(T[k]), "Rest", number(1e-3 * I_MA[k]), number(E[k])] for k in range(N)]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("written", "decimal"), [(False, "."), (True, "."), (True, ",")])
def test_a_workbook_of_numbers_or_of_numbers_written_as_text(
    tmp_path: Path, whole: bool, written: bool, decimal: str
) -> None:
    check(record_in(put(tmp_path, "a.xlsx", workbook([TITLES, *cells(written, decimal)], whole))))


def test_a_workbook_with_a_header_a_row_of_units_and_mixed_cells(tmp_path: Path) -> None:
    rows = cells(False)
    rows[7][4] = f"{E[7]:.6f}".replace(".", ",")
    units: list[object] = ["", "s", "", "A", "V"]
    titles: list[object] = ["Data_Point", "Test_Time", "Step", "Current", "Voltage"]
    check(record_in(put(tmp_path, "a.xlsx", workbook([["Cell", "17"], [], titles, units, *rows]))))


def test_a_cell_with_an_error_is_a_missing_value(tmp_path: Path) -> None:
    rows = cells(False)
    rows[9][3] = "#N/A"
    path = put(tmp_path, "a.xlsx", workbook([TITLES, *rows]))
    record = record_in(path)
    assert np.flatnonzero(np.isnan(record.current)).tolist() == [9]
    assert any("Current(A): 1 of 30 fields hold no value" in f.text for f in identify(path).findings if not f.ok)


def test_a_workbook_that_is_none_of_a_cell_says_what_is_missing(tmp_path: Path) -> None:
    rows: list[list[object]] = [["Name", "Age"], ["A", 3], ["B", 4]]
    with pytest.raises(BadInput, match=r"a sheet needs titled columns.*title them as Time\(s\)"):
        read(put(tmp_path, "a.xlsx", workbook(rows)))


# Rows that must not vanish


@pytest.mark.parametrize("above", [1, 3, 5, 12])
def test_rows_above_a_repeated_title_are_read(tmp_path: Path, above: int) -> None:
    title = "time/s,Ewe/V,I/mA"
    rows = [f"{T[k]:.1f},{E[k]:.4f},{I_MA[k]:.4f}" for k in range(N)]
    path = put(tmp_path, "a.csv", "\n".join([title, *rows[:above], title, *rows[above:]]))
    check(record_in(path))
    assert any("1 repeated title lines" in finding.text for finding in identify(path).findings)


def test_a_second_table_under_other_titles_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [f"{T[k]:.1f},{E[k]:.4f},{I_MA[k]:.4f}" for k in range(N)]
    text = "\n".join(["time/s,Ewe/V,I/mA", *rows, "time/s,I/mA,Ewe/V", *rows])
    with pytest.raises(BadInput, match=r"a\.csv:32: content is two tables.*split the file before this line"):
        read(put(tmp_path, "a.csv", text))


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [f"{T[k]:.1f},{E[k]:.4f},{I_MA[k]:.4f}" for k in range(N)]
    path = put(tmp_path, "a.csv", "\n".join(["time/s,Ewe/V,I/mA", *rows, "300.0,0.49"]))
    check(record_in(path))
    assert any("the last line is torn ('300.0,0.49')" in f.text for f in identify(path).findings if not f.ok)


def test_an_overload_is_a_missing_value_not_the_end(tmp_path: Path) -> None:
    rows = [f"{T[k]:.1f},{E[k]:.4f},{'OVERLOAD' if k == 20 else f'{I_MA[k]:.4f}'}" for k in range(N)]
    record = record_in(put(tmp_path, "a.csv", "\n".join(["time/s,Ewe/V,I/mA", *rows])))
    assert np.flatnonzero(np.isnan(record.current)).tolist() == [20]
    assert record.t.size == N


def test_lines_of_cycles_and_steps_between_the_rows(tmp_path: Path) -> None:
    """Neware's layered export: cycles in the first column, steps in the second, rows in the third."""
    head = ["Cycle Index,Chg. Cap.(Ah)", ",Step Index,Step Type", ",,Total Time,Current(A),Voltage(V),Energy(Wh)"]
    rows = [f",,{clock(k, 'hms')},{1e-3 * I_MA[k]:.8f},{E[k]:.4f},0" for k in range(N)]
    path = put(
        tmp_path, "a.csv", "\n".join([*head, "1,0.02,,,,", ",1,Rest,,,", *rows[:10], ",2,CC DChg,,,", *rows[10:]])
    )
    check(record_in(path))
