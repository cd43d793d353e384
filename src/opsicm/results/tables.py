"""Results as tables: one row per image, branch, pulse, step or sweep, one column per quantity; and each as a plot.

A table is declared by what makes a row and by its columns (`KINDS`). Quantities that stand alone are listed together;
the method of a quantity is written once (`methods_of`), with dots where it differs from result to result.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.approach.results import CHI2, COEFFICIENT, DISTANCE, POSITION, RESISTANCE
from opsicm.analysis.result import Result
from opsicm.figures.series import Quantity, series_view
from opsicm.figures.view import Axis, View, time_axis
from opsicm.results.evidence import Evidence, arrays
from opsicm.results.number_text import number, result_text

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """A quantity in `unit`: a value of each row (None: none; a text where it is no number) and its uncertainties.

    `u` is the repeatability, `u_calibration` what is common to the whole column. `decimals` of all entries where no
    uncertainty decides, as for times and set potentials.
    """

    label: str
    unit: str
    values: tuple[float | str | None, ...]
    u: tuple[float | None, ...] = ()
    decimals: int | None = None
    u_calibration: tuple[float | None, ...] = ()

    @property
    def heading(self) -> str:
        """The label with the unit."""
        unit = self.unit.replace("MOhm", "MΩ")
        return f"{self.label} ({unit})" if unit not in ("", "1") else self.label

    def text(self, row: int) -> str:
        """The entry of a row, rounded by its uncertainty."""
        value = self.values[row]
        if value is None or isinstance(value, str):
            return "–" if value is None else value
        if self.decimals is not None:
            return f"{round(value, self.decimals) + 0.0:.{self.decimals}f}"
        common = self.u_calibration[row] if self.u_calibration else None
        return number(value, self.u[row] if self.u else None, self.unit, u_calibration=common)

    @property
    def parts(self) -> tuple[tuple[str, tuple[float | str | None, ...]], ...]:
        """(heading, entries) of the values and of each uncertainty that is known, for a table of plain numbers."""
        named = (("u of ", self.u), ("u of the calibration of ", self.u_calibration))
        known = [(f"{words}{self.heading}", us) for words, us in named if any(u is not None for u in us)]
        return (self.heading, self.values), *known

    @property
    def numbers(self) -> F64:
        """The values as numbers, NaN where there is none."""
        return np.array([np.nan if v is None or isinstance(v, str) else v for v in self.values])


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length; `notes` say why entries are missing; `view` plots its columns over one of them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    view: View | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values)

    def csv(self) -> str:
        """The table as comma-separated text, uncertainties in columns of their own."""
        buffer = io.StringIO()
        write = csv.writer(buffer, lineterminator="\n").writerow
        parts = [part for column in self.columns for part in column.parts]
        write([heading for heading, _ in parts])
        for k in range(self.rows):
            entries = [values[k] for _, values in parts]
            write(["" if e is None else f"{e:.7g}" if isinstance(e, float) else e for e in entries])
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Kind:
    """A table: what makes a row (`key`, None: not in it), its columns (quantity, part, heading), words for a row."""

    name: str
    title: str
    key: Callable[[Result], Hashable | None]
    columns: tuple[tuple[str, str, str], ...]
    row: Callable[[Result], str]
    heading: str
    fewest: int = 2


def _image(result: Result) -> Hashable | None:
    return result.of.image


def _branch(result: Result) -> Hashable | None:
    of = result.of
    return (of.source, of.step, of.segment, of.part, of.number) if of.part and of.image is None else None


def _index(result: Result) -> Hashable | None:
    of = result.of
    return (of.source, of.curve, of.part, of.number, result.index) if result.index is not None else None


def _pulse(result: Result) -> Hashable | None:
    return (result.of.source, result.index) if result.index is not None else None


def _step(result: Result) -> Hashable | None:
    of = result.of
    return (of.step, of.segment) if of.image is None else None


def _execution(result: Result) -> Hashable | None:
    return (result.of.step, result.of.occurrence)


def _moment(result: Result) -> Hashable | None:
    return (result.of.step, result.of.occurrence, result.of.part)


def _recording(result: Result) -> Hashable | None:
    return (result.of.source, result.of.curve)


def _level(result: Result) -> Hashable | None:
    return (result.of.source, result.of.part) if result.of.image is None and result.of.part else None


def _part_words(result: Result) -> str:
    of = result.of
    where = ": ".join(filter(None, [of.recording, of.step]))
    segment = "" if of.segment is None else f"segment {of.segment}"
    part = of.part.replace("_", " ") + ("" if of.number is None else f" {of.number}")
    return " ".join(filter(None, [where, segment, part])) or "–"


def _index_words(result: Result) -> str:
    return " ".join(filter(None, [_part_words(result).replace("–", ""), str(result.index)]))


def _place_words(result: Result) -> str:
    of = result.of
    execution = "" if of.occurrence is None else f"#{of.occurrence}"
    segment = "" if of.segment is None else f" segment {of.segment}"
    return f"{of.step}{execution}{segment}" or of.recording or "–"


# The tables, in the order of the page. A new kind of result with several rows needs an entry here.
KINDS: Final[tuple[_Kind, ...]] = (
    _Kind(
        "images",
        "Images",
        _image,
        (
            ("height_change", "", "height change"),
            ("expansion", "", "expansion"),
            ("Sq", "after plane", "Sq after a plane"),
            ("shift_x", "", "shift x"),
            ("shift_y", "", "shift y"),
            ("step_height", "", "step height"),
        ),
        lambda r: str(r.of.image),
        "image",
    ),
    _Kind(
        "roughness",
        "Roughness",
        _level,
        tuple((name, "", name) for name in ("Sq", "Rq", "Sa", "Sz", "Ssk", "Sku")),
        _part_words,
        "levelling",
    ),
    _Kind(
        "branches",
        "Branches",
        _branch,
        (
            ("charge", "", "charge"),
            ("height_change", "", "height change"),
            ("expansion", "", "expansion"),
            ("expansion_first_half", "", "in the first half"),
            ("expansion_second_half", "", "in the second half"),
            ("peak_current", "", "peak of the cell current"),
            ("pipette_change_at_peak", "", "pipette current there"),
        ),
        _part_words,
        "branch",
    ),
    _Kind(
        "pixels",
        "Pixels of the line",
        _branch,
        (("height_change_over_pixels", "", "height change, median over pixels"),),
        _part_words,
        "branch",
    ),
    _Kind(
        "transitions",
        "Transitions",
        _branch,
        (
            ("transition_from_height", "", "bend of the height"),
            ("transition_from_potential", "", "nearest stage in the potential"),
        ),
        _part_words,
        "branch",
    ),
    _Kind(
        "half_cycles",
        "Constant-current parts",
        _branch,
        (
            ("capacity", "", "charge"),
            ("dq_dv_highest", "", "highest |dQ/dV| at"),
            ("pipette_slope", "", "slope of the pipette current"),
        ),
        _part_words,
        "part",
    ),
    _Kind("stages", "Ends of stages", _index, (("stage_end", "", "end of stage"),), _index_words, "half-cycle, stage"),
    _Kind(
        "pulses",
        "Pulses",
        _pulse,
        (("relaxed_potential", "", "relaxed potential"), ("diffusivity", "", "diffusivity")),
        lambda r: str(r.index),
        "pulse",
    ),
    _Kind("peaks", "Peaks", _index, (("peak_potential", "", "potential"),), _index_words, "peak"),
    _Kind("sweeps", "Sweeps", _index, (("sweep_charge", "", "charge"),), _index_words, "sweep"),
    _Kind(
        "tower",
        "Tower",
        _moment,
        (("near_less_far_current", "", "near less far"), ("gradient_extent", "", "decays over")),
        _part_words,
        "time",
    ),
    _Kind(
        "hopping",
        "Hopping",
        _step,
        (
            ("hops", "", "hops"),
            ("hop_period", "", "period"),
            ("height_scatter", "", "height scatter"),
            ("ten_hop_bulk_change", "", "current over ten hops"),
            ("height_cross_talk", "", "cross-talk"),
        ),
        _place_words,
        "step",
    ),
    _Kind(
        "pipette_sweeps",
        "Pipette voltammograms",
        _execution,
        (
            ("pipette_resistance", "", "resistance"),
            ("current_at_bias", "", "current at the bias"),
            ("rectification", "", "rectification"),
            ("current_offset", "", "current at zero bias"),
            ("hysteresis", "", "hysteresis"),
        ),
        _place_words,
        "step",
    ),
    _Kind(
        "approaches",
        "Approach curves",
        _recording,
        tuple((name, "", name) for name in (DISTANCE, POSITION, COEFFICIENT, RESISTANCE, CHI2)),
        lambda r: r.of.recording or "–",
        "curve",
    ),
)


def tables_of(evidence: Evidence) -> list[Table]:
    """Every table that applies, and last the results that stand alone."""
    tables: list[Table] = []
    used: set[int] = set()
    for kind in KINDS:
        found = _table(kind, evidence)
        if found is not None:
            table, of_it = found
            used |= of_it
            tables.append(_completed(table, evidence))
    tables += _current_steps(evidence)
    alone = [r for r in evidence.results if id(r) not in used and r.value is not None and r.of.image is None]
    return [*tables, *([_alone(alone)] if alone else [])]


def _table(kind: _Kind, evidence: Evidence) -> tuple[Table, set[int]] | None:
    names = {name for name, _, _ in kind.columns}
    rows: dict[Hashable, dict[str, Result]] = {}
    for result in evidence.results:
        if result.name not in names or (key := kind.key(result)) is None:
            continue
        column = next((c for c in kind.columns if c[0] == result.name and c[1] in ("", result.of.part)), None)
        if column is not None:
            rows.setdefault(key, {}).setdefault(column[2], result)
    rows = {key: row for key, row in rows.items() if any(r.value is not None for r in row.values())}
    if len(rows) < kind.fewest:
        return None
    columns = [Column(kind.heading, "", tuple(kind.row(next(iter(row.values()))) for row in rows.values()))]
    notes, used = [], set()
    for _, _, heading in kind.columns:
        entries = [row.get(heading) for row in rows.values()]
        present = [r for r in entries if r is not None]
        used |= {id(r) for r in present}
        if any(r.value is not None for r in present):
            if reasons := [f"{r.outcome}: {r.reason}" for r in present if r.value is None]:
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                notes.append(f"{heading}: {reasons[0]}{more}")
            values = tuple(None if r is None else r.value for r in entries)
            us = tuple(None if r is None else r.u for r in entries)
            common = tuple(None if r is None else r.u_calibration for r in entries)
            columns.append(Column(heading, present[0].unit, values, us, u_calibration=common))
    return Table(kind.name, kind.title, tuple(columns), tuple(notes)), used


def _alone(results: Sequence[Result]) -> Table:
    return Table(
        "values",
        "Single values",
        (
            Column("quantity", "", tuple(r.label.replace("_", " ") for r in results)),
            Column("value", "", tuple(result_text(r) for r in results)),
            Column("unit", "", tuple("" if r.unit == "1" else r.unit.replace("MOhm", "MΩ") for r in results)),
        ),
    )


# -- What the run's own records add to a table: times, potentials, states of charge; and what is plotted against them.


def _completed(table: Table, evidence: Evidence) -> Table:
    add = _COMPLETIONS.get(table.name)
    return table if add is None else add(table, evidence)


def _images(table: Table, evidence: Evidence) -> Table:
    # Frames count from 1, and so do the rows' texts.
    numbers = [int(str(text)) for text in table.columns[0].values]
    frames = evidence.frames
    if not frames or max(numbers) > len(frames):
        return table
    t = np.array([frames[k - 1].time for k in numbers])
    potential = np.array([frames[k - 1].potential for k in numbers])
    columns = [_time_column(t), Column("potential", "V", _floats(potential), decimals=2)]
    if evidence.charge_moves:
        columns.append(_charge_column(evidence, t))
    complete = replace(table, columns=(table.columns[0], *columns, *table.columns[1:]))
    if any(frames[k - 1].bad for k in numbers):
        bad = Column("no contact", "", tuple(str(frames[k - 1].bad) for k in numbers))
        complete = replace(complete, columns=(*complete.columns, bad))
    return complete


def _pulses(table: Table, evidence: Evidence) -> Table:
    trace = next((r.trace for r in evidence.all("relaxed_potential") if r.trace is not None), None)
    if trace is None or "settled" not in trace or trace["settled"].size != table.rows:
        return table
    columns = [
        _time_column(trace["settled"].values),
        Column("charge passed", "mAh", _floats(trace["passed"].values), decimals=4),
    ]
    return replace(table, columns=(table.columns[0], *columns, *table.columns[1:]))


def _half_cycles(table: Table, _evidence: Evidence) -> Table:
    sizes = np.abs(next(c for c in table.columns if c.label == "charge").numbers)
    # Pulses of one charge show nothing over their number.
    if table.rows < _FEWEST_PLOTTED or float(np.nanmax(sizes) - np.nanmin(sizes)) < _ALIKE * float(np.nanmax(sizes)):
        return table
    number_of = Column("number", "", tuple(float(k) for k in range(1, table.rows + 1)))
    size = next(c for c in table.columns if c.label == "charge")
    passed = replace(size, values=tuple(None if v is None else abs(float(v)) for v in size.values))
    return replace(
        table, view=_plot("capacity_by_part", table.title, number_of, replace(table, columns=(passed,)), ("charge",))
    )


def _tower(table: Table, evidence: Evidence) -> Table:
    ways = next(arrays(evidence.all("tower_ways")), None)
    if ways is None or len(evidence.all("tower_ways")) > 1:
        return table
    times = ways[1]["time"].values
    current, potential = evidence.cell_at("current", times), evidence.cell_at("potential", times)
    pick: dict[str, int] = {
        "first": 0,
        "last": -1,
        "lithiation peak": int(np.argmin(current)),
        "delithiation peak": int(np.argmax(current)),
        "lowest potential": int(np.argmin(potential)),
    }
    rows = [pick.get(str(text)) for text in table.columns[0].values]
    if any(k is None for k in rows):
        return table
    at = np.array(rows, dtype=int)
    columns = (
        _time_column(times[at]),
        Column("potential", "V", _floats(potential[at]), decimals=3),
        Column("cell current", "mA", _floats(1e3 * current[at]), decimals=3),
    )
    return replace(table, columns=(table.columns[0], *columns, *table.columns[1:]))


_COMPLETIONS: Final[Mapping[str, Callable[[Table, Evidence], Table]]] = {
    "images": _images,
    "pulses": _pulses,
    "half_cycles": _half_cycles,
    "tower": _tower,
}
_FEWEST_PLOTTED: Final = 3
_ALIKE: Final = 0.01  # relative range of charges that are one


def _current_steps(evidence: Evidence) -> list[Table]:
    """Every start and end of the cell current, with the pipette current's response to it."""
    ohmic = next(arrays(evidence.all("pipette_step_ohmic")), None)
    slow = next(arrays(evidence.all("pipette_step_diffusive")), None)
    if ohmic is None or slow is None or ohmic[1].size != slow[1].size or ohmic[1].size < _FEWEST_PLOTTED:
        return []
    t = ohmic[1]["t"].values
    cell = 1e3 * (evidence.cell_at("current", t + 1.0) - evidence.cell_at("current", t - 1.0))
    charge = _charge_column(evidence, t)
    after, before = (np.abs(evidence.cell_at("current", t + s)) for s in (1.0, -1.0))
    begins = after > before
    columns = (
        Column("step", "", tuple(f"{k} {'begins' if b else 'ends'}" for k, b in enumerate(begins, start=1))),
        _time_column(t),
        charge,
        Column("cell current", "mA", _floats(cell), decimals=3),
        Column("at once", "pA", _floats(1e12 * ohmic[1].values), decimals=1),
        Column("grows as √t", "pA", _floats(1e12 * slow[1].values), decimals=1),
    )
    notes = ("The pipette current's part, counted as of a step that lithiates.",)
    table = Table("current_steps", "Steps of the cell current", columns, notes)
    quantities = [
        Quantity(Axis(f"{c.label}, current {word}", "pA"), np.where(begins == state, c.numbers, np.nan))
        for c in columns[4:]
        for word, state in (("begins", True), ("ends", False))
    ]
    title = "Response of the pipette current to each step of the cell current"
    over = Axis(charge.label, charge.unit)
    return [replace(table, view=series_view("pipette_steps", title, over, charge.numbers, quantities))]


def _floats(values: Iterable[float] | F64) -> tuple[float | None, ...]:
    return tuple(float(v) if np.isfinite(v) else None for v in values)


def _time_column(t: F64) -> Column:
    axis, factor = time_axis(float(np.max(t, initial=0.0)))
    return Column("time", axis.unit, _floats(factor * t), decimals=2 if axis.unit == "h" else 1)


def _charge_column(evidence: Evidence, t: F64) -> Column:
    """State of charge, or where no cut-offs define one at all these times the charge passed as lithiation."""
    soc = evidence.state_of_charge(t)
    if np.isfinite(soc).all():
        return Column("state of charge", "%", _floats(soc), decimals=1)
    return Column("lithiation since the start", "%", _floats(evidence.lithiation(t)), decimals=1)


def _plot(name: str, title: str, over: Column, table: Table, labels: Sequence[str]) -> View | None:
    """The columns `labels` of a table over the column `over`."""
    shown = [c for c in table.columns if c.label in labels and np.isfinite(c.numbers).sum() > 1]
    if not shown:
        return None
    quantities = [
        Quantity(
            Axis(c.label, "" if c.unit == "1" else c.unit),
            c.numbers,
            np.array([u or 0.0 for u in c.u]) if c.u else None,
        )
        for c in shown
    ]
    return series_view(name, title, Axis(over.label, over.unit), over.numbers, quantities)


# -- Methods and remarks.


def methods_of(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(quantity, method) once for each quantity; where methods differ, dots stand for what differs."""
    by_name: dict[str, list[str]] = {}
    for result in results:
        if result.method:
            by_name.setdefault(result.name, []).append(result.method)
    return [(name.replace("_", " "), _common(methods)) for name, methods in by_name.items()]


def _common(methods: Sequence[str]) -> str:
    """The words that all methods share; "…" for those that differ, or the first words where the lengths differ."""
    split = [method.split(" ") for method in dict.fromkeys(methods)]
    if len({len(words) for words in split}) == 1:
        columns = list(zip(*split, strict=True))
        words = [column[0] if len(set(column)) == 1 else "…" for column in columns]
    else:
        ends = [k for k in range(min(map(len, split))) if len({words[k] for words in split}) > 1]
        words = [*split[0][: ends[0] if ends else min(map(len, split))], "…"]
    out: list[str] = []
    for word in words:
        if word != "…" or not out or out[-1] != "…":
            out.append(word)
    return " ".join(out)
