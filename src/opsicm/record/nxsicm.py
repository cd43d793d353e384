"""NXsicm: what a file of scanning ion conductance microscopy must hold, as a table.

The table is the definition: `opsicm validate` checks against it, the NXDL beside the documentation and the page that
explains it are written from it, and a test compares the three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from opsicm.facts.hop import HOP_DTYPE
from opsicm.record.run_layout import CELL, HOP_UNITS, SLOW


@dataclass(frozen=True, slots=True)
class Item:
    """A group or field: `type` is the NeXus class of a group, else text, int or float; `*` stands for a number.

    `repeated` items may be absent: a run without samples has no segment.
    """

    path: str
    kind: Literal["group", "field"]
    type: str
    rank: int = 0
    unit: str | None = None
    repeated: bool = False
    doc: str = ""


def _group(path: str, nexus_class: str, doc: str, repeated: bool = False) -> Item:
    return Item(path, "group", nexus_class, repeated=repeated, doc=doc)


def _field(path: str, kind: str, rank: int, unit: str | None, doc: str, repeated: bool = False) -> Item:
    return Item(path, "field", kind, rank, unit, repeated, doc)


_HOP_DOC: Final = {
    "hop": "number of the hop in the run, from 0",
    "line": "line of a raster, from 0; -1 elsewhere",
    "pixel": "pixel of a line, from 0; -1 elsewhere",
    "x": "lateral position along the fast axis",
    "y": "lateral position along the slow axis",
    "segment": "segment whose samples it has",
    "sample_start": "index in the segment of its first sample",
    "sample_fall": "index of the first sample of the fall",
    "sample_stop": "index of the sample that ended the fall",
    "sample_top": "index of its last sample, back at the top",
    "t_ns": "time of the stop since the start of the run",
    "i_ref": "reference current, far from the surface",
    "i_stop": "current at the stop",
    "setpoint": "relative drop of the current that ends a fall, 0.02 is 2 %",
    "z_stop": "measured height at the stop",
    "z_min": "lowest measured height of the hop",
    "cell_potential": "specimen against Li/Li+ at the stop",
    "cell_current": "cell current at the stop, negative lithiates",
    "bias_residual": "by how much the tip's potential missed what it should be",
    "outcome": "0 contact, 1 no contact in range, 2 below threshold at start, 3 overload, 4 aborted",
    "flags": "bits of what else was noticed",
}
_CELL_DOC: Final = {
    "t_ns": "time since the start of the run",
    "potential": "specimen against Li/Li+ at the reference electrode",
    "current": "through the specimen, negative lithiates",
    "charge": "integral of the current since the start",
    "set_point": "potential asked for; NaN where no potential is controlled",
    "soc": "charge since the last delithiated cut-off over the reversible capacity; NaN while unknown",
}
_SLOW_DOC: Final = {
    "t_ns": "time since the start of the run",
    "pipette_current": "through the pipette, positive flows into the bath",
    "pipette_bias": "command voltage at the amplifier",
    "bias_residual": "by how much the tip's potential missed what it should be",
    "z": "measured height of the pipette, positive is up",
    "coarse_z": "height of the scanner's zero",
}

REQUIRED: Final[tuple[Item, ...]] = (
    _group("/entry", "NXentry", "one run"),
    _field("/entry/definition", "text", 0, None, "NXsensor_scan, which this definition extends"),
    _field("/entry/definition_local", "text", 0, None, "NXsicm; attribute version"),
    _field("/entry/file_version", "int", 0, None, "version of this layout, 1"),
    _field("/entry/title", "text", 0, None, "what the experiment is called"),
    _field("/entry/start_time", "text", 0, None, "ISO 8601 with offset: the instant of t_ns = 0"),
    _field("/entry/experiment", "text", 0, None, "the experiment as it was asked for, in full"),
    _field("/entry/rig", "text", 0, None, "the instruments, in full"),
    _field("/entry/parameters", "text", 0, None, "JSON: pipette, specimen, parameters with their status"),
    _field("/entry/journal", "text", 1, None, "facts in order, one JSON object each"),
    _group("/entry/provenance", "NXcollection", "who, where, with what, seed, and what was lost"),
    _group("/entry/process", "NXprocess", "the program that wrote the file"),
    _group("/entry/user", "NXuser", "who measured"),
    _group("/entry/sample", "NXsample", "the specimen"),
    _group("/entry/instrument", "NXinstrument", "the slow columns as NXsensor groups in operando (NXenvironment)"),
    _group("/entry/data", "NXdata", "the default plot: signal, axes, readable without a plug-in"),
    _group("/entry/hops", "NXcollection", "one row per approach and withdrawal"),
    *(_field(f"/entry/hops/{n}", "float" if HOP_DTYPE[n].kind == "f" else "int", 1, HOP_UNITS.get(n, "1"), _HOP_DOC[n])
      for n in HOP_DTYPE.names or ()),
    _field("/entry/hops/step", "text", 1, None, "path of the probe step that it belongs to"),
    _group("/entry/cell", "NXcollection", "slow rows of the cell"),
    *(_field(f"/entry/cell/{n}", "int" if n == "t_ns" else "float", 1, u, _CELL_DOC[n]) for n, u in CELL.items()),
    _field("/entry/cell/control", "text", 1, None, "what is held: a word"),
    _group("/entry/slow", "NXcollection", "slow rows of the probe, row for row with the cell's"),
    *(_field(f"/entry/slow/{n}", "int" if n == "t_ns" else "float", 1, u, _SLOW_DOC[n]) for n, u in SLOW.items()),
    _group("/entry/samples", "NXcollection", "the sampled channels, one group per stretch without a gap"),
    _group("/entry/samples/segment_*", "NXcollection", "sample k is at its t0_ns + k dt_ns", True),
    _field("/entry/samples/segment_*/counts", "int", 2, None, "[sample, channel]; SI = counts*scale + offset", True),
    _field("/entry/samples/segment_*/blocks", "int", 2, None, "as they came; see attribute columns", True),
    _field("/entry/samples/segment_*/lost", "int", 2, None, "[first, stop) of lost samples", True),
    _group("/entry/samples/segment_*/decimated", "NXcollection", "the same in short", True),
    _field("/entry/samples/segment_*/decimated/first_sample", "int", 1, "1", "first sample of a row", True),
    _field("/entry/samples/segment_*/decimated/samples", "int", 1, "1", "samples in a row", True),
    _field("/entry/samples/segment_*/decimated/minimum", "int", 2, None, "smallest count [row, channel]", True),
    _field("/entry/samples/segment_*/decimated/maximum", "int", 2, None, "largest count", True),
    _field("/entry/samples/segment_*/decimated/mean", "float", 2, None, "mean count", True),
)  # fmt: skip
