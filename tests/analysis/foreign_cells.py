"""Cell records of other instruments, read here with the standard library and NumPy alone."""

from __future__ import annotations

import re
import zipfile

import numpy as np
from foreign_data import DATA
from numpy.typing import NDArray

F64 = NDArray[np.float64]
ARBIN = DATA / "electrochemistry" / "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"
MPT = DATA / "electrochemistry" / "Pt_poly_cv.mpt"
ECKER = DATA / "graphite_ocp" / "graphite_ocp_Ecker2015.csv"


def arbin() -> dict[str, F64]:
    """Columns of the channel's sheet by their titles (graphite against Li, Arbin)."""
    with zipfile.ZipFile(ARBIN) as book:
        shared = re.findall(r"<si>(.*?)</si>", book.read("xl/sharedStrings.xml").decode(), re.DOTALL)
        texts = ["".join(re.findall(r"<t[^>]*>(.*?)</t>", one, re.DOTALL)) for one in shared]
        sheet = book.read("xl/worksheets/sheet2.xml").decode()
    rows = []
    for row in re.findall(r"<row .*?</row>", sheet, re.DOTALL):
        cells = re.findall(r'<c r="([A-Z]+)\d+"([^>]*)>(?:.*?)<v>(.*?)</v>', row)
        rows.append({column: texts[int(v)] if 't="s"' in how else v for column, how, v in cells})
    titles = rows[0]
    return {
        name: np.array([float(row.get(column, "nan")) for row in rows[1:]])
        for column, name in titles.items()
        if name not in ("Date_Time",)
    }


def platinum() -> dict[str, F64]:
    """t [s], E [V], I [A], EC-Lab's own charge [C], of a voltammogram of platinum (BioLogic text, decimal comma)."""
    lines = MPT.read_text("latin-1").splitlines()
    head = int(lines[1].split(":")[1])
    titles = lines[head - 1].rstrip("\t").split("\t")
    table = np.array([[float(v.replace(",", ".")) for v in line.rstrip("\t").split("\t")] for line in lines[head:]])
    column = {name: table[:, k] for k, name in enumerate(titles[: table.shape[1]])}
    return {"t": column["time/s"], "E": column["Ewe/V"], "I": 1e-3 * column["<I>/mA"], "Q": column["(Q-Qo)/C"]}


def ecker() -> tuple[F64, F64]:
    """Stoichiometry and measured open-circuit potential [V] of graphite."""
    table = np.loadtxt(ECKER, delimiter=",")
    return table[:, 0], table[:, 1]
