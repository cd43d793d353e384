"""Text tables of t, I, z …: columns chosen by their titles and units, or by `--columns`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import factor, si_unit
from opsicm.formats.cell_record import CellRecord
from opsicm.formats.column_titles import (
    QUANTITIES,
    STEP_TIME,
    WALL_CLOCK,
    Meaning,
    meanings,
    stated_unit,
    unit_factor,
    unit_name,
)
from opsicm.formats.matrix import on_grid
from opsicm.formats.text import Text, bad
from opsicm.formats.text_table import (
    CLOCK,
    DURATION,
    EMPTY,
    NUMBER,
    SEPARATOR_NAME,
    TIME_OF_DAY,
    WORDS,
    TextTable,
    continued,
    dates_of,
    find_table,
    read_columns,
    read_words,
    restarts,
    split_fields,
)
from opsicm.formats.written_digits import written_step

F64 = NDArray[np.float64]
LEAST_MATRIX: Final = 8  # columns: fewer make no image
MATRIX_REMEDY: Final = "give --unit nm --size-um X,Y with the unit and size that it has"
_DATED: Final = 300_000  # rows
_UNLIKE: Final = (
    0.01  # of the largest: two currents further apart give charges that differ by more than calibrations do
)
_EXPLAINED: Final = "one entry for each column from the left, _ for one to skip"
_USUAL_UNIT: Final = {
    "t": "s",
    "I": "pA",
    "z": "um",
    "x": "um",
    "y": "um",
    "R": "MOhm",
    "V": "V",
    "E": "V",
    "sto": "1",
    "c": "M",
}
_TIME_KINDS: Final = (DURATION, TIME_OF_DAY, CLOCK)


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """The columns of a table by quantity, in SI, and how the text was written.

    `skipped` names the columns that were not read; `notes` state what the reader assumed, `looks` what a person should
    look at. `counters` are the instrument's integrals of the current [C] by their titles, `clock` its wall clock
    [s since 1970], of a cell's record; `steps`: what the last digit of a quantity stands for, in SI.
    """

    data: Mapping[str, F64]
    units: Mapping[str, str]
    header: tuple[str, ...]
    separator: str
    decimal: str
    encoding: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    counters: Mapping[str, F64] | None = None
    clock: F64 | None = None
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnlabelledTable:
    """A table whose columns have no titles, or titles without units: `values` [row, column] as written.

    `example` is a `--columns` option made from its titles, as it is typed in a shell.
    """

    values: F64
    titles: tuple[str, ...]
    header: tuple[str, ...]
    written: str
    skipped: tuple[str, ...]
    example: str


@dataclass(frozen=True, slots=True)
class _Choice:
    """A column taken as a quantity: `unit` as stated or given, `scale` to SI."""

    column: int
    letter: str
    unit: str
    scale: float


def parse_unlabelled(text: Text, path: Path) -> UnlabelledTable:
    """The table in a text that does not state what its columns are."""
    table = find_table(text, path)
    readable = [k for k, kind in enumerate(table.kinds) if kind not in (WORDS, EMPTY)]
    values = read_columns(table, readable).values
    example = suggestion(table)
    if table.titles is None and len(readable) == table.width == 3 and on_grid(*(values[k] for k in readable)):
        example = "--columns x=um,y=um,z=nm"
    word = "comma" if table.decimal == "," else "point"
    return UnlabelledTable(
        np.column_stack([values[k] for k in readable]),
        tuple(table.named(k) for k in readable),
        table.header,
        f"{SEPARATOR_NAME[table.separator]} separated, decimal {word}",
        tuple(table.named(k) for k in range(table.width) if k not in readable),
        example,
    )


def parse_columns(text: Text, path: Path, columns: str | None = None) -> ColumnTable:
    """The columns of a text table in SI.

    `columns` says what they are where the titles do not: "t=s,I=pA,z=um" from the left or by the letters of titles,
    't="Test Time / s"' or 'I="Current"=mA' by title.
    """
    return columns_of(find_table(text, path), text.encoding, columns)


def columns_of(table: TextTable, encoding: str, columns: str | None = None) -> ColumnTable:
    """As `parse_columns`, of a table already found."""
    known = meanings(table.titles, table.units) if table.titles is not None else []
    if columns is None:
        chosen, notes, looks = _from_titles(table, known)
    else:
        chosen, notes, looks = _specified(columns, table, known), [], []
    cell = {"t", "E", "I"} <= {one.letter for one in chosen}
    wanted = [one.column for one in chosen]
    dates = _clock_column(table, chosen, known) if columns is None else None
    counters = _counters(table, wanted) if cell else {}
    read = read_columns(table, wanted, counters)
    data = {one.letter: one.scale * read.values[one.column] for one in chosen}
    clock = None
    # Dates of a long table take longer than its numbers, and are read where they are needed.
    if dates is not None and (data["t"].size <= _DATED or restarts(data["t"]).size):
        clock = dates_of(read_words(table, dates, wanted))
        clock = clock if clock is not None and clock.size == data["t"].size else None
    if "t" in data:
        t = next(one for one in chosen if one.letter == "t")
        rank = known[t.column].rank if known else 0
        clock = data["t"] if table.kinds[t.column] == CLOCK else clock
        data["t"], of_time = _time(data["t"], table.kinds[t.column], rank, clock)
        notes += of_time
    potential = next((known[one.column] for one in chosen if one.letter == "E" and known), None)
    if potential is not None and potential.reference:
        notes.append(f"E is against {potential.reference}, as its title says")
    if cell:
        data["I"], of_sign = _signed(data["I"], table, wanted)
        notes += of_sign
    used = {*wanted, *read.values, *([dates] if clock is not None and dates is not None else [])}
    return ColumnTable(
        data,
        {one.letter: one.unit for one in chosen},
        table.header,
        SEPARATOR_NAME[table.separator],
        table.decimal,
        encoding,
        tuple(_skipped(table, k) for k in range(table.width) if k not in used),
        (*notes, *read.notes),
        (*table.looks, *looks, *read.looks),
        {table.named(k): scale * read.values[k] for k, scale in counters.items() if k in read.values} or None,
        clock if cell else None,
        _steps(table, chosen, data),
    )


def _steps(table: TextTable, chosen: Sequence[_Choice], data: Mapping[str, F64]) -> dict[str, float]:
    """What the last digit of each quantity stands for, in SI: a thousand rows, from beginning to end, show it."""
    spread = table.lines[table.first :: max(1, (len(table.lines) - table.first) // 1000)]
    sample = [parts for line in spread if len(parts := split_fields(line, table.separator)) == table.width]
    steps = {}
    for one in chosen:
        style = table.styles[one.column]
        if table.kinds[one.column] == NUMBER:
            written = [style.plain(parts[one.column]) for parts in sample]
            steps[one.letter] = one.scale * written_step(written, np.abs(data[one.letter]) / one.scale)
    return steps


def _counters(table: TextTable, used: Sequence[int]) -> dict[int, float]:
    """The columns that are the instrument's own integrals of the current, with their factors to coulomb."""
    counters = {}
    for k, title in enumerate(table.titles or ()):
        unit = table.units[k] if k < len(table.units) and table.units[k] else ""
        match = _COUNTER.fullmatch(f"{title} [{unit}]" if unit else title)
        if match is not None and k not in used and table.kinds[k] == NUMBER:
            counters[k] = _COULOMB[match["unit"].lower().replace(".", "").replace(" ", "").replace("-", "")]
    return counters


# Discharging, charging or at rest, as cyclers write it in a column of its own.
_STATE_TITLES: Final = re.compile(
    r"(state|md|status|mode|step[ _]?(type|name)|charge/discharge|工步类型)(\s*/\s*1)?", re.IGNORECASE
)
_DISCHARGING: Final = re.compile(r"d|dis|dch|.*(dchg|discharg|entlad|放电).*", re.IGNORECASE)
_COUNTER: Final = re.compile(
    r"(?:.*\b)?(?P<word>\(?q-qo\)?|ah|q (?:dis)?charge|(?:dis|d)?ch(?:ar)?g(?:e|ing)?[._ ]*cap(?:acity)?\.?|"
    r"(?:net |net_)?capacity|cap\.)"
    r"\s*[\[(/_]?\s*/?\s*(?P<unit>m?a[.\-]?h|c)\s*[\])]?",
    re.IGNORECASE,
)
_COULOMB: Final = {"mah": 3.6, "ah": 3600.0, "c": 1.0}


def _signed(current: F64, table: TextTable, wanted: Sequence[int]) -> tuple[F64, list[str]]:
    """The current with its sign, where it is written without one beside a column that says discharge."""
    if not (current[np.isfinite(current)] > 0.0).any() or (current < 0.0).any():
        return current, []
    for k, title in enumerate(table.titles or ()):
        if table.kinds[k] != WORDS or not _STATE_TITLES.fullmatch(title.strip()):
            continue
        states = read_words(table, k, wanted)
        falling = np.array([_DISCHARGING.fullmatch(state) is not None for state in states]) & (current > 0.0)
        if falling.any():
            text = f"the current is written without sign: negative in the {int(falling.sum())} rows that {title!r} "
            return np.where(falling, -current, current), [f"{text}calls a discharge"]
    return current, []


def _skipped(table: TextTable, column: int) -> str:
    kind = table.kinds[column]
    return f"{table.named(column)} ({kind})" if kind in (WORDS, EMPTY) else table.named(column)


# Time


def _time(t: F64, kind: str, rank: int, clock: F64 | None) -> tuple[F64, list[str]]:
    """Seconds from a clock of any kind: dates from the first row on, steps one after the other."""
    if kind == CLOCK:
        return t - t[np.isfinite(t)][0] if np.isfinite(t).any() else t, ["t is taken from dates, from the first row on"]
    if rank == WALL_CLOCK and kind == NUMBER and t.size:
        return t - t[0], ["t is taken from a wall clock, from the first row on"]
    back = restarts(t)
    if back.size and rank == STEP_TIME:
        return continued(t), [f"the clock restarts with each step: continued over {back.size} restarts"]
    if back.size and clock is not None and not restarts(clock).size and np.isfinite(clock).all():
        return clock - clock[0], [f"the clock restarts {back.size} times: t is taken from the dates instead"]
    return t, []


def _clock_column(table: TextTable, chosen: Sequence[_Choice], known: Sequence[Meaning]) -> int | None:
    """A column of dates with times beside the column of time."""
    if not known or not any(one.letter == "t" and table.kinds[one.column] != CLOCK for one in chosen):
        return None
    dates = [k for k, one in enumerate(known) if one.letter == "t" and table.kinds[k] == CLOCK]
    return dates[0] if dates else None


# By title


def _from_titles(table: TextTable, known: Sequence[Meaning]) -> tuple[list[_Choice], list[str], list[str]]:
    path = table.path
    if table.titles is None:
        value = f"{table.width} without titles"
        limit = "their quantities and units are not stated"
        remedy = f"give {suggestion(table)}, {_EXPLAINED}"
        if table.width >= LEAST_MATRIX and set(table.kinds) == {NUMBER}:
            remedy = f"if it is an image, {MATRIX_REMEDY}; else name its columns, as --columns t=s,I=pA,z=um,_,…"
        raise bad(path, "columns", value, limit, remedy)
    candidates = {letter: _candidates(table, known, letter) for letter in QUANTITIES}
    chosen, notes, looks = [], [], []
    for found in candidates.values():
        if found:
            choice, note, look = _best(found, table, known)
            chosen.append(choice)
            notes += [note] if note else []
            looks += [look] if look else []
    letters = {one.letter for one in chosen}
    for k, one in sorted(enumerate(known), key=lambda item: item[1].rank):
        needed = one.letter is not None and one.letter not in letters and table.kinds[k] in (NUMBER, *_TIME_KINDS)
        if not needed or one.letter is None or one.letter in ("x", "y") or one.rank == STEP_TIME:
            continue
        if one.unit is None and not (one.letter in ("R", "V") and len(chosen) > 1):
            limit = "its title states no unit"
            raise bad(path, "column", repr(one.title), limit, f"give {suggestion(table)}, with the unit it is in")
        if one.unit is not None:
            _check_unit(one.letter, one.unit, path.name, f"give {suggestion(table)}, with the unit it is in")
    words = [k for k, one in enumerate(known) if one.letter in ("t", "I", "E", "z") and table.kinds[k] == WORDS]
    for k in words:
        if known[k].letter not in letters and known[k].rank < WALL_CLOCK and known[k].factor is not None:
            value, limit = repr(table.titles[k]), "it holds words where numbers are needed"
            raise bad(path, "column", value, limit, "export the file with this column as numbers")
    if not chosen:
        value = repr(list(table.titles))[:80]
        limit = f"none names a quantity of {', '.join(QUANTITIES)}"
        raise bad(path, "titles", value, limit, f"give {suggestion(table)}")
    if {"t", "E", "I"} <= letters and "z" not in letters:  # a cell's record
        chosen = [one for one in chosen if one.letter in ("t", "E", "I")]
    return chosen, notes, looks


def _candidates(table: TextTable, known: Sequence[Meaning], letter: str) -> list[_Choice]:
    """The columns that can be read as a quantity, the best first."""
    found = []
    for k, one in enumerate(known):
        kind = table.kinds[k]
        if one.letter != letter or kind in (WORDS, EMPTY):
            continue
        scale = one.factor
        if kind in _TIME_KINDS:
            scale = 1.0 if letter == "t" else None
        elif letter == "sto" and one.unit is None:
            scale = 1.0
        elif one.unit == "h:mm:ss":
            scale = None
        if scale is not None:
            found.append(_Choice(k, letter, one.unit or kind, scale))
    return sorted(found, key=lambda choice: known[choice.column].rank)


def _best(found: Sequence[_Choice], table: TextTable, known: Sequence[Meaning]) -> tuple[_Choice, str, str]:
    """The first candidate, a note and a thing to look at; refused where a second one of its rank says otherwise."""
    first = found[0]
    rivals = [one for one in found[1:] if known[one.column].rank == known[first.column].rank]
    if rivals:
        columns = read_columns(table, [first.column, *(one.column for one in rivals)]).values
        a = first.scale * columns[first.column]
        for one in rivals:
            b = one.scale * columns[one.column]
            if not np.allclose(
                a, b, rtol=0.0, atol=1e-3 * max(float(np.nanmax(np.abs(a), initial=0.0)), 1e-300), equal_nan=True
            ):
                names = f"{table.named(first.column)!r} and {table.named(one.column)!r}"
                remedy = f"say which: give {suggestion(table)}"
                raise bad(table.path, "columns", f"{first.letter} twice in {names}", "each quantity once", remedy)
    if len(found) == 1 or first.letter not in ("I", "E"):
        return first, "", ""
    second = found[1]
    columns = read_columns(table, [first.column, second.column]).values
    of_first = first.scale * columns[first.column]
    apart = float(np.nanmax(np.abs(of_first - second.scale * columns[second.column]), initial=0.0))
    text = (
        f"{first.letter} is {table.named(first.column)!r}, not {table.named(second.column)!r}, from which it differs "
        f"by up to {apart:.3g} {QUANTITIES[first.letter]}"
    )
    if first.letter == "I" and apart > _UNLIKE * float(np.nanmax(np.abs(of_first), initial=0.0)):
        return first, "", f"{text}: {suggestion(table, second)} takes the other"
    return first, text, ""


def suggestion(table: TextTable, instead: _Choice | None = None) -> str:
    """A `--columns` option for this table, as it is typed in a shell: by its titles where they name quantities.

    `instead` is a column to be taken for its quantity whatever its rank.
    """
    if table.titles is not None:
        known = meanings(table.titles, table.units)
        items = []
        cell = any(one.letter == "E" for one in known) and not any(one.letter == "z" for one in known)
        for letter in ("t", "I", "E", "z") if cell else QUANTITIES:
            of_letter = [
                k for k, one in enumerate(known) if one.letter == letter and table.kinds[k] not in (WORDS, EMPTY)
            ]
            of_letter.sort(key=lambda k: (known[k].rank, known[k].factor is None))
            if instead is not None and instead.letter == letter:
                of_letter.insert(0, instead.column)
            unique = [k for k in of_letter if table.titles.count(table.titles[k]) == 1 and '"' not in table.titles[k]]
            if unique:
                items.append(_item(letter, table, known[unique[0]], unique[0], cell))
        if items and any(one.startswith(("E", "z", "I", "R")) for one in items):
            return f"--columns {shlex.quote(','.join(items))}"
    numeric = [k for k, kind in enumerate(table.kinds) if kind not in (WORDS, EMPTY)]
    names = ["sto=1", "E=V"] if len(numeric) == 2 else ["t=s", "I=pA", "z=um"]
    entries = ["_"] * table.width
    for k, name in zip(numeric, names, strict=False):
        entries[k] = name
    return f"--columns {','.join(entries)}"


def _item(letter: str, table: TextTable, one: Meaning, k: int, cell: bool) -> str:
    title = f'{letter}="{table.named(k)}"'
    if one.factor is not None or table.kinds[k] in _TIME_KINDS or letter == "sto":
        return title
    return f"{title}={'mA' if cell and letter == 'I' else _USUAL_UNIT[letter]}"


# By --columns


def _specified(columns: str, table: TextTable, known: Sequence[Meaning]) -> list[_Choice]:
    """The entries by title, by the letters of titles where every one names one, else by position."""
    entries = _entries(columns, table)
    titles = [title.strip() for title in table.titles or ()]
    letters = [one.letter for one in known]
    if any(title is not None for _, title, _ in entries):
        return _by_title(columns, entries, table, titles, known)
    named = [letter for letter, _, _ in entries if letter != "_"]
    if len(named) == len(entries) and named and all(letters.count(letter) == 1 for letter in named):
        chosen = [(letters.index(letter), letter, unit) for letter, _, unit in entries]
        return _agreeing(chosen, table, known, columns)
    if len(entries) != table.width:
        value = f"{columns!r}, {len(entries)} entries"
        limit = f"{table.path.name} has {table.width} columns"
        raise BadInput(Problem("--columns", value, limit, f"write {suggestion(table)}, {_EXPLAINED}"))
    return _agreeing(
        [(k, letter, unit) for k, (letter, _, unit) in enumerate(entries) if letter != "_"], table, known, columns
    )


def _entries(columns: str, table: TextTable) -> list[tuple[str, str | None, str]]:
    """The entries of an option as (letter or _, title or None, unit), also without the marks that a shell takes."""
    entries: list[tuple[str, str | None, str]] = []
    parts = _divided(columns)
    titles = {title.strip(): title for title in table.titles or ()}
    while parts:
        item = parts.pop(0).strip()
        if item == "_":
            entries.append(("_", None, ""))
            continue
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name not in QUANTITIES:
            remedy = f"write {suggestion(table)}"
            raise BadInput(Problem("--columns", repr(item), f"known letters are {', '.join(QUANTITIES)}", remedy))
        # A title may hold commas.
        title, unit = _title_and_unit(value, titles)
        while title is None and unit_name(value) is None and parts and _title_begins(f"{value},{parts[0]}", titles):
            value = f"{value},{parts.pop(0)}"
            title, unit = _title_and_unit(value, titles)
        if title is None:
            unit = unit_name(value) or value
            _check_unit(name, unit, "--columns", f"give {suggestion(table)}")
        entries.append((name, title, unit))
    return entries


def _divided(columns: str) -> list[str]:
    """The parts between commas that stand outside quotation marks."""
    parts, quoted = [""], False
    for c in columns:
        quoted = quoted != (c == '"')
        if c == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _title_and_unit(value: str, titles: Mapping[str, str]) -> tuple[str | None, str]:
    """Title and unit of `"Current"=mA`, `Current=mA` or `Current / mA`; no title where the value is a unit."""
    if value.startswith('"') and value.count('"') > 1:
        title, _, rest = value[1:].partition('"')
        return title.strip(), rest.strip().lstrip("=").strip()
    if value in titles and unit_name(value) is None:
        return value, ""
    title, equals, unit = value.rpartition("=")
    if equals and title.strip() in titles:
        return title.strip(), unit.strip()
    return None, ""


def _title_begins(value: str, titles: Mapping[str, str]) -> bool:
    return any(title.startswith(value.strip()) or value.strip().startswith(f"{title}=") for title in titles)


def _by_title(
    columns: str,
    entries: Sequence[tuple[str, str | None, str]],
    table: TextTable,
    titles: Sequence[str],
    known: Sequence[Meaning],
) -> list[_Choice]:
    letters = [one.letter for one in known]
    chosen = []
    for letter, title, given in entries:
        unit = given
        if letter == "_":
            continue
        if title is None:
            at = [k for k, other in enumerate(letters) if other == letter]
            value = f"{letter}={unit}"
        else:
            at = [k for k, other in enumerate(titles) if other == title]
            value = f"{letter}={title!r}"
        if len(at) != 1:
            limit = f"the titles of {table.path.name} are {', '.join(map(repr, titles))[:200]}"
            remedy = f"write {suggestion(table)}" if not at else "name each column from the left instead, as t=s,_,I=pA"
            raise BadInput(
                Problem("--columns", value, limit if not at else f"{len(at)} columns have this title", remedy)
            )
        stated = known[at[0]]
        if not unit and table.kinds[at[0]] not in _TIME_KINDS:
            _stated_unit(letter, title or "", stated, table)
            unit = unit_name(_unit_of_any_word(stated.title, table.units, at[0])) or ""
        chosen.append((at[0], letter, unit or "s"))
    return _agreeing(chosen, table, known, columns)


def _unit_of_any_word(title: str, units: Sequence[str], k: int) -> str:
    """The unit that a title states, whatever its word: the user has said what the word means."""

    return stated_unit(title) or (units[k] if k < len(units) else "")


def _stated_unit(letter: str, title: str, stated: Meaning, table: TextTable) -> None:
    at = next(k for k, other in enumerate(table.titles or ()) if other.strip() == title)
    unit = _unit_of_any_word(stated.title, table.units, at)
    if unit_name(unit) is None:
        limit = "its title states no unit" if not unit else f"its unit is {unit!r}, which is not known"
        example = f'{letter}="{title}"={_USUAL_UNIT[letter]}'
        raise BadInput(Problem("--columns", f'{letter}="{title}"', limit, f"write its unit after it, as {example}"))
    if letter != "sto":
        _check_unit(letter, unit_name(unit) or unit, table.path.name, "name the column that holds it")


def _agreeing(
    chosen: Sequence[tuple[int, str, str]], table: TextTable, known: Sequence[Meaning], columns: str
) -> list[_Choice]:
    """`chosen`, unless a title states another unit: one of the two is then wrong by a power of ten."""
    result = []
    for k, letter, unit in chosen:
        kind = table.kinds[k]
        if kind in (WORDS, EMPTY):
            limit = f"the column {table.named(k)!r} holds {'words' if kind == WORDS else 'nothing'}"
            raise BadInput(Problem("--columns", f"{letter}={unit}", limit, f"write {suggestion(table)}"))
        if kind in _TIME_KINDS:
            if letter != "t":
                limit = f"the column {table.named(k)!r} holds times"
                raise BadInput(Problem("--columns", f"{letter}={unit}", limit, f"write {suggestion(table)}"))
            result.append(_Choice(k, letter, unit, 1.0))
            continue
        stated = known[k] if known else None
        if stated is not None and stated.letter == letter and stated.factor not in (None, factor(unit)):
            limit = f"the title of column {k + 1} is {table.named(k)!r}"
            remedy = f"write {letter}={stated.unit}, or correct the title in a copy of the file"
            raise BadInput(Problem("--columns", f"{letter}={unit}", limit, remedy))
        result.append(_Choice(k, letter, unit, factor(unit)))
    letters = [one.letter for one in result]
    twice = sorted({letter for letter in letters if letters.count(letter) > 1})
    if twice or not result:
        value = f"{', '.join(twice)} twice in {columns[:80]}" if twice else "empty"
        raise BadInput(Problem("columns", value, "each quantity once", f"give {suggestion(table)}", file="--columns"))
    return result


_PER: Final = {
    **dict.fromkeys(("g", "mg", "kg"), "mass of active material"),
    **dict.fromkeys(("cm2", "cm²", "cm^2", "m2", "m²", "mm2", "mm²"), "area of the electrode"),
}


def _check_unit(letter: str, unit: str, source: str, remedy: str) -> None:
    if unit_factor(unit, QUANTITIES[letter]) is not None or (letter == "t" and unit == "h:mm:ss"):
        return
    per = _PER.get(unit.rpartition("/")[2].strip())
    if letter == "I" and per is not None:  # offering mA for it would be wrong by the mass
        whole = unit.rpartition("/")[0].strip()
        limit = f"a current is needed, and this is one per {per}, which the file does not state"
        remedy = f"multiply the column by the {per} in a copy of the file and title it I/{whole}"
        raise BadInput(Problem(f"unit of {letter}", repr(unit), limit, remedy, file=source))
    try:
        limit = f"{letter} is measured in {QUANTITIES[letter]}, and this is a unit of {si_unit(unit)}"
    except OutsideDomain as error:
        limit = error.problems[0].limit
    raise BadInput(Problem(f"unit of {letter}", repr(unit), limit, remedy, file=source))


def record_of(table: ColumnTable, name: str = "") -> CellRecord:
    """The cell's record in a table that has t, E and I."""
    data = table.data
    steps = [table.steps.get(letter, 0.0) for letter in "EI"]
    return CellRecord(name, data["t"], data["E"], data["I"], table.counters, table.clock, *steps)
