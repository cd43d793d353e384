"""Several runs of one experiment together: what was varied, one row per run, and how each quantity follows.

Runs are a series where their experiment files differ in a few values (`vary` makes such). Resumed halves count as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result
from opsicm.core.errors import OpsicmError
from opsicm.core.statistics import straight_line
from opsicm.experiment.refusal import path_text
from opsicm.experiment.yaml_file import yaml_document
from opsicm.figures.pipette import ParkedPipette, parked_voltammograms_view
from opsicm.figures.series import Quantity, series_view
from opsicm.figures.view import Axis, View
from opsicm.record.reader import Run
from opsicm.results.calibration_across_runs import calibration_figure, calibration_sentences
from opsicm.results.evidence import Evidence, Finding, arrays
from opsicm.results.findings import finding_of
from opsicm.results.number_text import quantity
from opsicm.results.pipette_steps import reading_bias
from opsicm.results.tables import Column, Table

F64 = NDArray[np.float64]
_MOST_VARIED: Final = 3  # values that differ: more and the runs are no series
_MOST_COLUMNS: Final = 7
_MOST_STAYING: Final = 2  # columns of quantities that do not follow what was varied
_MOST_SENTENCES: Final = 4
_STEADY: Final = 0.02  # relative range of a quantity that stays
_OF_U: Final = 3.0  # and its range in u
_UNIT_TEXT: Final = {"1": "", "MOhm": "MΩ"}
_POWER: Final = 0.995  # R² of a line in logarithms: a power law

# What tells the runs of a series apart, the most telling first: (quantity, part, words).
_TELLING: Final = (
    ("pipette_resistance", "", "resistance of the pipette"),
    ("current_at_bias", "", "current at the bias"),
    ("rectification", "", "rectification"),
    ("expansion", "lithiation", "expansion in lithiation"),
    ("height_change", "lithiation", "height change in lithiation"),
    ("height_change", "delithiation", "height change in delithiation"),
    ("kymograph_largest_change", "", "largest height change of the line"),
    ("step_edge_rise", "", "rise of the edge"),
    ("near_less_far_current", "lithiation_peak", "near less far at the peak of lithiation"),
    ("near_less_far_current", "delithiation_peak", "near less far at the peak of delithiation"),
    ("pipette_change_at_peak", "lithiation", "pipette current at the cathodic peak"),
    ("pipette_change_at_peak", "delithiation", "pipette current at the anodic peak"),
    ("peak_current", "lithiation", "cathodic peak of the cell current"),
    ("peak_current", "delithiation", "anodic peak of the cell current"),
    ("pipette_step_ohmic", "", "step of the pipette current"),
    ("concentration", "", "concentration"),
    ("height_scatter", "", "scatter of a height"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a series: its folder, title, the values of its experiment file by path, results, and its sentences.

    `parked` are its slow rows under a controlled potential, None where there are none; `sweep` the pipette's own
    voltammogram; `bias` [V] at which that is read; `started` in UTC.
    """

    name: str
    title: str
    started: str
    values: dict[str, Any]
    results: tuple[Result, ...]
    finding: Finding
    parked: ParkedPipette | None
    sweep: xr.DataArray | None
    bias: float


@dataclass(frozen=True, slots=True)
class Varied:
    """A value that differs between the runs: its path in the experiment file, label and unit, and a value of each."""

    path: str
    label: str
    unit: str
    values: tuple[Any, ...]

    @property
    def numbers(self) -> F64 | None:
        """The values as numbers; None where one is a text."""
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in self.values):
            return None
        return np.array(self.values, dtype=np.float64)


def member(run: Run, results: Sequence[Result]) -> Member:
    """What a series keeps of an open run."""
    try:
        values = _flat(yaml_document(run.experiment_text, "experiment").data)
    except OpsicmError:
        values = {}
    sweep = next(arrays([r for r in results if r.name == "pipette_resistance" and r.value is not None]), None)
    return Member(
        run.path.parent.name,
        run.title,
        run.started_utc,
        values,
        tuple(results),
        finding_of(Evidence(tuple(results), run)),
        _parked(run),
        None if sweep is None else sweep[1],
        reading_bias(run) if run.parameters else 0.0,
    )


def _flat(data: Any, path: tuple[str | int, ...] = ()) -> dict[str, Any]:
    """Every value of nested data by its path, as a problem names it."""
    if isinstance(data, dict):
        return {k: v for key, value in data.items() for k, v in _flat(value, (*path, key)).items()}
    if isinstance(data, list) and any(isinstance(entry, dict) for entry in data):
        return {k: v for n, value in enumerate(data) for k, v in _flat(value, (*path, n)).items()}
    return {path_text(path): data}


def _parked(run: Run) -> ParkedPipette | None:
    """The slow rows of a run that never hops, while a potential was controlled."""
    cell, slow = run.cell, run.slow
    if run.hops.sizes["hop"] or cell.sizes["row"] != slow.sizes["row"]:
        return None
    kept = (cell["control"].values == "potential") & np.isfinite(cell["set_point"].values)
    if kept.sum() < 20 or np.ptp(cell["set_point"].values[kept]) < 0.05:
        return None
    pipette = slow["pipette_current"].values
    return ParkedPipette(
        "",
        cell["t_ns"].values[kept] * 1e-9,
        cell["set_point"].values[kept],
        pipette[kept],
        cell["current"].values[kept],
        float(pipette[0]),
    )


def varied_of(members: Sequence[Member]) -> list[Varied]:
    """The values that differ between the runs, at most three; [] where the runs are no series.

    A value that one file leaves at its default and another states counts as different only if all state it.
    """
    paths = dict.fromkeys(path for one in members for path in one.values if path not in ("title", "vary"))
    varied = []
    for path in paths:
        values = tuple(one.values.get(path) for one in members)
        if None not in values and len({str(v) for v in values}) > 1:
            label, unit = _named(path)
            varied.append(Varied(path, label, unit, values))
    return varied if len(varied) <= _MOST_VARIED else []


def _named(path: str) -> tuple[str, str]:
    """(label, unit) of a path: `pipette.radius_nm` is (pipette radius, nm)."""
    *above, key = path.split(".")
    for ending, unit in _UNITS.items():
        if key.endswith(f"_{ending}"):
            key, shown_unit = key.removesuffix(f"_{ending}"), unit
            break
    else:
        shown_unit = ""
    owner = above[-1].split("[")[0] if above else ""
    return " ".join(filter(None, [owner.replace("_", " "), key.replace("_", " ")])), shown_unit


_UNITS: Final = {
    "mA_cm2": "mA/cm²",
    "mg_cm2": "mg/cm²",
    "nm_per_ms": "nm/ms",
    "mV_s": "mV/s",
    "mm_s": "mm/s",
    "cm2": "cm²",
    "pct": "%",
    "nm": "nm",
    "um": "µm",
    "mV": "mV",
    "mA": "mA",
    "deg": "°",
    "V": "V",
    "M": "M",
    "s": "s",
}


# -- The page of a series: table, sentences, figures.


def series_table(members: Sequence[Member], varied: Sequence[Varied]) -> Table:
    """One row per run: what was varied, and the quantities that tell the runs apart."""
    columns = [Column(v.label, v.unit, tuple(_entry(x) for x in v.values)) for v in varied]
    if not columns:
        columns = [Column("run", "", tuple(one.name for one in members))]
    columns += _telling_columns(members)
    order = _order(varied, len(members))
    columns = [
        Column(c.label, c.unit, tuple(c.values[k] for k in order), tuple(c.u[k] for k in order) if c.u else ())
        for c in columns
    ]
    return Table("runs", "Runs", tuple(columns))


def _entry(value: Any) -> float | str:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _order(varied: Sequence[Varied], count: int) -> list[int]:
    """The runs in order of what was varied."""
    keys = [v.numbers if v.numbers is not None else np.zeros(count) for v in varied]
    return sorted(range(count), key=lambda k: tuple(float(key[k]) for key in keys))


def _telling_columns(members: Sequence[Member]) -> list[Column]:
    columns = []
    for name, part, words in _TELLING:
        found = [
            next(
                (
                    r
                    for r in one.results
                    if r.name == name and r.value is not None and part in ("", r.of.part) and r.of.image is None
                ),
                None,
            )
            for one in members
        ]
        if sum(r is not None for r in found) >= max(2, len(members) // 2):
            unit = next(r.unit for r in found if r is not None)
            values = tuple(None if r is None else r.value for r in found)
            columns.append(Column(words, unit, values, tuple(None if r is None else r.u for r in found)))
    ratio = _per_cell_current(columns)
    moving = [column for column in columns if not _stays(column)]
    staying = [column for column in columns if column not in moving]
    # Whether the contrast itself changes is the question of such a series, whatever the answer.
    return [*([] if ratio is None else [ratio]), *moving, *staying[:_MOST_STAYING]][:_MOST_COLUMNS]


def _per_cell_current(columns: Sequence[Column]) -> Column | None:
    """The pipette current's swing per cell current at the cathodic peak: whether the contrast itself changed."""
    by_label = {column.label: column for column in columns}
    swing, peak = (
        by_label.get("pipette current at the cathodic peak"),
        by_label.get("cathodic peak of the cell current"),
    )
    if swing is None or peak is None:
        return None
    ratio = swing.numbers / peak.numbers
    u = np.abs(ratio) * np.array([abs((a or 0.0) / (b or np.nan)) for a, b in zip(swing.u, swing.numbers, strict=True)])
    known = np.isfinite(ratio)
    values = tuple(float(v) if k else None for v, k in zip(ratio, known, strict=True))
    label = "pipette current per cell current at the cathodic peak"
    return Column(label, "pA/mA", values, tuple(float(v) if k else None for v, k in zip(u, known, strict=True)))


def series_finding(
    members: Sequence[Member], varied: Sequence[Varied], table: Table, together: Sequence[Result]
) -> list[str]:
    """How the quantities follow what was varied; the calibration where there is one."""
    sentences = calibration_sentences(together)
    columns = table.columns[max(len(varied), 1) :]
    if len(varied) == 1 and (x := table.columns[0].numbers).size > 1 and np.isfinite(x).all():
        sentences += [_trend(column, table.columns[0]) for column in columns[:_MOST_SENTENCES]]
    elif not sentences:
        sentences += [_range(column) for column in columns[:_MOST_SENTENCES]]
    else:
        sentences += [_by_one(column, table, varied) for column in columns[:2]]
    if not sentences:
        sentences = [f"{one.name}: {one.finding.sentences[0]}" for one in members[:_MOST_SENTENCES]]
    return [text for text in sentences if text]


def _trend(column: Column, over: Column) -> str:
    """How a quantity follows the one that was varied: it stays, or goes from … to …, as a power where it is one."""
    x, y = over.numbers, column.numbers
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if x.size < 2:
        return ""
    ends = [quantity(float(v), None, column.unit) for v in (y[0], y[-1])]
    name = f"{column.label[0].upper()}{column.label[1:]}"
    if _stays(column):
        middle = quantity(float(np.mean(y)), 0.5 * float(np.ptp(y)), column.unit)
        return f"{name} stays at {middle} from {x[0]:g} to {x[-1]:g} {over.unit}."
    direction = "grows" if abs(y[-1]) > abs(y[0]) else "falls"
    if not (np.all(np.diff(np.abs(y)) > 0.0) or np.all(np.diff(np.abs(y)) < 0.0)):
        direction = "goes, not steadily,"
    text = f"{name} {direction} from {ends[0]} at {x[0]:g} {over.unit} to {ends[1]} at {x[-1]:g} {over.unit}".rstrip()
    power = _power(x, np.abs(y)) if x.size > 2 else None
    if power is not None:
        return f"{text}, as the power {quantity(*power, '1')} of it.".replace("-", "−")
    share = 100.0 * (abs(y[-1]) / abs(y[0]) - 1.0) if y[0] else 0.0
    return f"{text} ({share:+.0f} %).".replace("-", "−") if y[0] else f"{text}."


def _power(x: F64, y: F64) -> tuple[float, float] | None:
    """The exponent of a power law and its u; None where x or y is not positive or a power does not describe it.

    The slope of ln y on ln x; u is that of the line, from the scatter about it: of three runs it is known to a factor
    of two or three.
    """
    if np.any(x <= 0.0) or np.any(y <= 0.0) or np.ptp(np.log(x)) == 0.0:
        return None
    line = straight_line(np.log(x), np.log(y))
    r = float(np.corrcoef(np.log(x), np.log(y))[0, 1])
    return (line.slope, line.u_slope) if r**2 >= _POWER else None


def _range(column: Column) -> str:
    y = column.numbers[np.isfinite(column.numbers)]
    low, high = (quantity(float(v), None, column.unit) for v in (y.min(), y.max()))
    return f"{column.label[0].upper()}{column.label[1:]}: {low} to {high} over the runs."


def _by_one(column: Column, table: Table, varied: Sequence[Varied]) -> str:
    """Where several values were varied: how a quantity follows each, the others held at their first value."""
    parts = []
    for k in range(len(varied)):
        others = [j for j in range(len(varied)) if j != k]
        rows = [
            n
            for n in range(table.rows)
            if all(table.columns[j].values[n] == table.columns[j].values[0] for j in others)
        ]
        x, y = table.columns[k].numbers[rows], column.numbers[rows]
        if len(rows) > 1 and np.isfinite(x).all() and np.isfinite(y).all():
            ends = " → ".join(quantity(float(v), None, column.unit) for v in (y[0], y[-1]))
            parts.append(f"{ends} as the {varied[k].label} goes {x[0]:g} → {x[-1]:g} {varied[k].unit}".rstrip())
    return f"{column.label[0].upper()}{column.label[1:]}: {'; '.join(parts)}." if parts else ""


def series_views(
    members: Sequence[Member], varied: Sequence[Varied], table: Table, together: Sequence[Result]
) -> list[View]:
    """The runs over one another, the calibration, and each quantity over what was varied."""
    views = _calibration_views(members, varied, together)
    labels = [_member_label(varied, k) or one.name for k, one in enumerate(members)]
    order = _order(varied, len(members))
    parked = [_labelled(members[k].parked, labels[k]) for k in order]
    together_parked = [one for one in parked if one is not None]
    if len(together_parked) > 1:
        views.append(parked_voltammograms_view(together_parked, "Pipette and cell current of every run"))
    plot = _series_plot(varied, table)
    return views if plot is None else [*views, plot]


def _series_plot(varied: Sequence[Varied], table: Table) -> View | None:
    """The quantities that change, over the variable with the most values; a curve for each value of the others."""
    numeric = [k for k, v in enumerate(varied) if v.numbers is not None]
    columns = [c for c in table.columns[len(varied) :] if not _stays(c)]
    if not numeric or not columns:
        return None
    k = max(numeric, key=lambda n: (len(set(varied[n].values)), n))
    others = [n for n in range(len(varied)) if n != k]
    groups = [
        ", ".join(f"{table.columns[n].text(row)} {varied[n].unit}".rstrip() for n in others)
        for row in range(table.rows)
    ]
    quantities = [
        Quantity(Axis(c.label, _UNIT_TEXT.get(c.unit, c.unit)), c.numbers, np.array([u or 0.0 for u in c.u]))
        for c in columns[:4]
    ]
    over = table.columns[k]
    title = f"Against {varied[k].label}"
    return series_view("series", title, Axis(over.label, over.unit), over.numbers, quantities, groups if others else ())


def _stays(column: Column) -> bool:
    """Whether a quantity is the same in every run, to two per cent or within its uncertainty."""
    values = column.numbers[np.isfinite(column.numbers)]
    if not values.size:
        return True
    u = max((u for u in column.u if u is not None), default=0.0)
    return float(np.ptp(values)) <= max(_STEADY * abs(float(np.mean(values))), _OF_U * u)


def _labelled(one: ParkedPipette | None, label: str) -> ParkedPipette | None:
    return None if one is None else ParkedPipette(label, one.t, one.potential, one.pipette, one.cell, one.rest)


def _member_label(varied: Sequence[Varied], k: int) -> str:
    return ", ".join(
        f"{v.values[k]:g} {v.unit}".rstrip() if v.numbers is not None else str(v.values[k]) for v in varied
    )


def _calibration_views(members: Sequence[Member], varied: Sequence[Varied], together: Sequence[Result]) -> list[View]:
    trace = next((r.trace for r in together if r.name == "calibration_slope" and r.trace is not None), None)
    if not isinstance(trace, xr.Dataset):
        return []
    swept = [k for k, one in enumerate(members) if one.sweep is not None]
    curves = [
        (_member_label(varied, k) or members[k].name, sweep["bias"].values, sweep.values)
        for k in swept
        if (sweep := members[k].sweep) is not None
    ]
    return [calibration_figure(trace, curves, members[swept[0]].bias if swept else 0.0)]
