"""What is not read is named by its first bytes, with what reads it; what is advised works when it is followed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shlex
import sys
import time as wall_time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.formats import optional
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import identify, read

TABLE = "time/s,Ewe/V,I/mA\n" + "".join(f"{k}.0,{0.8 - k / 1000:.4f},-0.0500\n" for k in range(40))


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def hdf5(attribute: str = "") -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["Ewe"] = np.arange(3.0)
        if attribute:
            file.attrs[attribute] = "1"
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(100), "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG picture.*holds colours, not heights"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "a JPEG picture"),
        (b"GIF89a" + bytes(100), "a GIF picture"),
        (b"MZ\x90\x00" + bytes(100), r"a program for Windows \(EXE\)"),
        (b"\x7fELF\x02" + bytes(100), "a program for Linux"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7-Zip archive; .*unpack it"),
        (b"SQLite format 3\x00" + bytes(100), "an SQLite database"),
        (b"\x00\x01\x00\x00Standard Jet DB\x00" + bytes(100), r"Arbin's \.res.*export it as \.xlsx or \.csv"),
        (b"MATLAB 5.0 MAT-file, Platform" + bytes(100), "a MATLAB file.*writematrix"),
        (b"TDSm" + bytes(100), "LabVIEW's TDMS.*export it as text"),
        (b"\x80\x04\x95" + bytes(100), "a Python pickle.*it can run code"),
        (
            b"EC-LAB SETTING FILE\n\nNumber of linked techniques : 1\n",
            r"EC-Lab's settings \(\.mps\).*name the \.mpt or \.mpr",
        ),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>\n" * 3, "a web page.*login"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12\n", "Git LFS.*git lfs pull"),
        (b'{"cells": [], "nbformat": 4}\n', "a Jupyter notebook"),
        (b'{"metadata": {"provenance": "yadg process"}, "data": []}\n', "a datagram of yadg"),
        (b"opsicm: 1\ntitle: a\nrig: twin/graphite\n", "an experiment file of this program.*opsicm check"),
        (bytes(4096), "all zero.*never written"),
        (bytes(range(1, 256)) * 20, r"binary of an unknown kind; it begins with 01 02 03"),
        (hdf5(), "HDF5 of another program; .*it holds Ewe"),
        (hdf5("yadg_provenance"), "NetCDF of yadg"),
        (hdf5("_NCProperties"), "NetCDF; .*it holds Ewe"),
        (zipped(a__b=b"1,2", c=b"3"), "a zip archive; it holds 2 files: a/b, c; unpack it and name one of them"),
        (zipped(word__document=b"x"), "a Word document"),
        (zipped(a=b"x" * 200)[:60], "damaged workbook or zip archive"),
    ],
)
def test_a_refusal_says_what_the_file_is(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=says):
        read(path)
    with pytest.raises(BadInput, match=says):
        identify(path)
    assert main(["analyse", str(path)]) == 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_sound_compressed_file_is_read_and_a_cut_one_is_named(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(pack(TABLE.encode()))
    table = read(path)
    assert isinstance(table, ColumnTable)
    assert table.data["t"].size == 40
    path.write_bytes(pack(TABLE.encode() * 50)[:-20])
    with pytest.raises(BadInput, match=r"damaged \(.*copy it again"):
        read(path)


@pytest.mark.parametrize(
    ("library", "content", "what"),
    [
        ("python_calamine", zipped(xl__workbook=b"").replace(b"xl/workbook", b"xl/workbook"), "a workbook"),
        ("pyarrow", b"ARROW1" + bytes(60), "a Feather table"),
        ("pyarrow", b"PAR1" + bytes(60), "a Parquet table"),
        ("fastnda", zipped(**{"data.ndc": b"x"}), "a Neware file"),
        ("pyabf", b"ABF2" + bytes(600), "an Axon file"),
        ("SurfaceTopography", b"\\*File list\r\n\\Version: 0x09200201\r\n", "a microscope's file"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, content: bytes, what: str
) -> None:
    if library == "python_calamine":
        content = zipped(**{"xl__workbook.xml": b"<workbook/>"})
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == library else sys.modules.get(name))
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read(path)
    problem = caught.value.problems[0]
    assert problem.value.startswith(what)
    assert problem.remedy == "pip install opsicm[formats]"
    assert "is not installed" in problem.limit


SUGGESTED = {
    "words as titles": "Rec,Time,Current,Voltage,Step Type\n"
    + "".join(f"{k},{k}.5,-0.0500,0.8{k:02d},Rest\n" for k in range(40)),
    "unknown titles": "alpha;beta;gamma\n" + "".join(f"{k}.5;{1400 - k / 7:.3f};{5 - k / 10:.3f}\n" for k in range(40)),
    "no titles": "".join(f"{k}.5\t{1400 - k / 7:.3f}\t{5 - k / 10:.3f}\n" for k in range(40)),
    "words and no titles": "".join(f"{k}.5\tRest\t{1400 - k / 7:.3f}\t{5 - k / 10:.3f}\n" for k in range(40)),
    "two columns": "".join(f"{k / 40:.4f}\t{0.8 - k / 100:.4f}\n" for k in range(40)),
    "quoted titles with commas": '"Time, elapsed","Current, measured","Voltage"\n'
    + "".join(f"{k}.5,-0.05,0.8{k:02d}\n" for k in range(40)),
    "an apostrophe": "Time;Pipette's current;z;Current\n"
    + "".join(f"{k}.5;1;{5 - k / 10:.3f};{1400 - k / 7:.2f}\n" for k in range(40)),
    "two of a kind": "time/s,E/V,U/V,I/mA\n" + "".join(f"{k}.5,0.8{k:02d},0.7{k:02d},-0.05\n" for k in range(40)),
    "a unit that is unknown": "time/s,Ewe/V,I/µΑ.\n" + "".join(f"{k}.5,0.8{k:02d},-0.05\n" for k in range(40)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SUGGESTED))
def test_the_suggested_columns_are_right_when_followed(tmp_path: Path, name: str) -> None:
    """Typed into a shell as it is printed: what is asked for is found, and the quantities are those of the titles."""
    path = tmp_path / "table.txt"
    path.write_text(SUGGESTED[name], encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read(path)
    remedy = caught.value.problems[0].remedy
    option = re.search(r"--columns ('(?:[^']|'\"'\"')*'|\S+)", remedy)
    assert option is not None, remedy
    columns = shlex.split(option[0].rstrip(","))[1]
    assert main(["identify", str(path), "--columns", columns]) == 0
    table = read(path, columns)
    assert isinstance(table, ColumnTable)
    if "t" in table.data:
        np.testing.assert_allclose(table.data["t"], np.arange(40) + 0.5)
    if "E" in table.data and name != "two columns":
        assert table.data["E"][3] == pytest.approx(0.803)


def test_a_refusal_takes_less_than_two_seconds_and_large_text_five(tmp_path: Path) -> None:
    """Time on the processor, of 20 MB each: a fifth of what is promised of 100 MB, with what a loaded machine adds."""
    rows = 20_000_000 // 45
    t = np.arange(rows) * 0.1
    lines = [f"{a:.2f}\t0.712345678\t-0.050012345\t25.10\t1.0" for a in t.tolist()]
    path = tmp_path / "large.txt"
    path.write_text("time/s\tEwe/V\tI/mA\tT/C\tn\n" + "\n".join(lines))
    start = wall_time.process_time()
    read(path)
    assert wall_time.process_time() - start < 1.5
    path.write_text("nothing here is a number, however long one looks for it\n" * (20_000_000 // 56))
    start = wall_time.process_time()
    with pytest.raises(BadInput):
        read(path)
    assert wall_time.process_time() - start < 1.5
