"""Tables in text: separator, titles, kinds of columns and decimal marks found from the rows, then columns as numbers.

A table may hold words, dates, h:mm:ss, quoted fields, grouped thousands, a row of units, comments and repeated titles.
A row is never dropped in silence: what is no row is counted and named, what is damaged is refused with its line.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.column_titles import is_unit_row, meaning
from opsicm.formats.field_values import (
    NumberStyle,
    decimal_evidence,
    duration,
    is_missing,
    looks_like_number,
    plain_duration,
    says_missing,
    time_of_day,
    wall_clock,
)
from opsicm.formats.text import Text, bad

F64 = NDArray[np.float64]
_SEPARATORS: Final = ("\t", ";", ",", "|", None)
SEPARATOR_NAME: Final = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", None: "blank"}
_LONGEST_HEADER: Final = 300
_WINDOW: Final = 120  # lines from which the layout is found
_SPREAD: Final = 300  # further rows, from all over the file, for kinds and decimal marks
_HALF_DAY: Final = 43200.0
_MOSTLY: Final = 0.8  # of the rows: columns at the left that are empty in more of them hold cycles or steps

NUMBER, DURATION, CLOCK, TIME_OF_DAY, WORDS, EMPTY = "number", "duration", "wall clock", "time of day", "words", "empty"


_Rows = tuple[Sequence[int], list[str], Counter[str], list[str]]


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before its columns are chosen; its rows are among `lines` from `first` on (and `found` once sought)."""

    path: Path
    titles: tuple[str, ...] | None
    units: tuple[str, ...]
    header: tuple[str, ...]
    separator: str | None
    width: int
    kinds: tuple[str, ...]
    styles: tuple[NumberStyle, ...]
    first: int
    lines: Sequence[str]
    looks: tuple[str, ...]
    left: int
    found: dict[tuple[int, ...], _Rows] = field(default_factory=dict, compare=False, repr=False)

    @property
    def decimal(self) -> str:
        """The decimal mark of most columns of numbers."""
        marks = [style.decimal for kind, style in zip(self.kinds, self.styles, strict=True) if kind == NUMBER]
        return "," if marks.count(",") > len(marks) / 2 else "."

    def named(self, column: int) -> str:
        """The title of a column, or its number."""
        return self.titles[column] if self.titles is not None else f"column {column + 1}"


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table as numbers (durations and dates in seconds) by their index, and what was left out."""

    values: Mapping[int, F64]
    notes: tuple[str, ...]
    looks: tuple[str, ...]


def split_fields(line: str, separator: str | None) -> list[str]:
    """The fields of a line; quoted ones may hold the separator."""
    if separator is None:
        return line.split()
    fields = [field.strip() for field in _fields_as_written(line, separator)]
    # A separator at the end of every row does not begin another column.
    return fields[:-1] if len(fields) > 1 and not fields[-1] else fields


def find_table(text: Text, path: Path, first: int | None = None, separator: str | None = "") -> TextTable:
    """The table in a text; `first` and `separator` where a format states them. Raises `BadInput` where there is none.

    The separator is the one under which most lines have the same number of fields and most fields are values.
    """
    window = _layout_lines(text.lines, first or 0)
    candidates = _SEPARATORS if separator == "" else (separator,)
    best: tuple[float, float, str | None, int] | None = None
    for one in candidates:
        found = _agreement(window, one)
        # A few lines of a header, which happen to fit a later separator, do not outweigh an earlier one.
        if found is not None and (
            best is None or found[0] > 1.05 * best[0] or (found[0] > best[0] and found[1] > best[1] + 1e-9)
        ):
            best = (found[0], found[1], one, found[2])
    if best is None:
        limit = f"at least two columns of numbers after at most {_LONGEST_HEADER} lines of header"
        raise bad(path, "content", "not a table", limit, "export the data as text with one row per sample")
    _, _, chosen, width = best
    start = _first_row(text.lines, chosen, width, first or 0)
    sample = _sample(text.lines, chosen, width, start)
    kinds = tuple(_kind([row[k] for row in sample], chosen) for k in range(width))
    header = tuple(line for line in text.lines[:start] if line.strip())
    trailing = chosen is not None and len(_fields_as_written(text.lines[start], chosen)) == width + 1
    titles, units = _titles(header, chosen, width, trailing)
    looks: list[str] = []
    if titles is None:
        titles, units, moved = _titles_below(text.lines, start, chosen, width)
        if moved is not None:
            looks.append(f"{moved - start} lines above the titles are not read")
            header, start = (*header, *text.lines[start:moved]), moved
    _refuse_two_commas(text.lines, chosen, header, sample, start, path)
    styles, style_looks = _styles(sample, kinds, chosen, path, start)
    shares = [sum(not row[k] for row in sample) / max(len(sample), 1) for k in range(width)]
    left = next((k for k, share in enumerate(shares) if share < _MOSTLY), 0)
    return TextTable(
        path, titles, units, header, chosen, width, kinds, styles, start, text.lines, (*looks, *style_looks), left
    )


def read_columns(table: TextTable, wanted: Iterable[int], further: Iterable[int] = ()) -> Columns:
    """The wanted columns, and those of `further` that are whole.

    Raises `BadInput` for a damaged row, named with its line, and for a second, other table.
    """
    wanted = sorted(set(wanted))
    words = [table.named(k) for k in wanted if table.kinds[k] in (WORDS, EMPTY)]
    if words:
        limit = "numbers, h:mm:ss or dates are needed"
        raise bad(table.path, "column", repr(words[0]), f"it holds {WORDS}: {limit}", "choose another with --columns")
    numbers, rows, counts, looks = _rows(table, wanted)
    looks = list(looks)
    notes = [f"{n} {what}" for what, n in counts.items() if n]
    both = sorted({*wanted, *further})
    values = _quick(table, rows, both)
    if values is None:
        values = _plainly(table, rows, wanted)
    if values is None:
        values, more_notes, more_looks = _slow(table, numbers, rows, wanted)
        notes += more_notes
        looks += more_looks
    if len(values) < len(both):
        for k in set(both) - set(wanted):
            one = _quick(table, rows, [k])
            values |= one if one is not None and one[k].size == values[wanted[0]].size else {}
    return Columns(values, tuple(notes), tuple(looks))


def read_words(table: TextTable, column: int, wanted: Iterable[int]) -> list[str]:
    """The fields of a column as written, in the rows of which `read_columns` reads the wanted columns."""
    wanted = sorted(set(wanted))
    _, rows, _, _ = _rows(table, wanted)
    words = []
    for line in rows:
        fields = split_fields(line, table.separator)
        if any(any(c.isdigit() for c in fields[k]) for k in wanted if k < len(fields)):
            words.append(fields[column] if column < len(fields) else "")
    return words


# Layout


def _layout_lines(lines: Sequence[str], first: int) -> list[str]:
    window = [line for line in lines[first : first + _LONGEST_HEADER + _WINDOW] if _is_content(line)]
    return window if len(window) <= _WINDOW else window[-_WINDOW:]


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _values(fields: Iterable[str], separator: str | None) -> int:
    """The number of fields that are values."""
    return sum(_is_value(field, separator) for field in fields)


def _groups_by_blanks(separator: str | None) -> bool:
    """Whether a blank may group digits: elsewhere it may separate, as in "0,500 100,2"."""
    return separator in ("\t", ";")


def _is_value(field: str, separator: str | None = None) -> bool:
    if _is_float(field):
        return True
    if not field or not any(c.isdigit() for c in field):
        return False
    if looks_like_number(field, blanks=_groups_by_blanks(separator)):
        return True
    return duration(field) is not None or time_of_day(field) is not None or wall_clock(field) is not None


def _is_float(field: str) -> bool:
    """Whether Python reads a field as a number at once, as it does most."""
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _agreement(window: Sequence[str], separator: str | None) -> tuple[float, float, int] | None:
    """How well a separator explains the lines: number of lines times share of values, that share, and the width."""
    shares: dict[int, list[float]] = {}
    for line in window:
        if separator is not None and separator not in line:
            continue
        fields = split_fields(line, separator)
        values = _values(fields, separator)
        if len(fields) >= 2 and values >= 2:
            written = sum(bool(field) for field in fields)
            shares.setdefault(len(fields), []).append(values / written)
    if not shares:
        return None
    width = max(shares, key=lambda w: (len(shares[w]), w))
    total = sum(shares[width])
    return total, total / len(shares[width]), width


def _first_row(lines: Sequence[str], separator: str | None, width: int, first: int) -> int:
    for k in range(first, len(lines)):
        if not _is_content(lines[k]):
            continue
        fields = split_fields(lines[k], separator)
        if len(fields) == width and _values(fields, separator) >= 2 and not _is_titles(fields):
            return k
    return first


def _is_titles(fields: Sequence[str]) -> bool:
    """Whether fields are titles: two of them are known words, or more than half hold no digits."""
    known = sum(meaning(field).letter is not None for field in fields if field and not _is_value(field))
    return known >= 2


def _sample(lines: Sequence[str], separator: str | None, width: int, start: int) -> list[list[str]]:
    """Rows at the beginning and from all over the file."""
    stop = len(lines)
    near = range(start, min(stop, start + _WINDOW))
    far = np.linspace(start, max(stop - 1, start), _SPREAD).astype(int).tolist() if stop - start > _WINDOW else []
    rows = []
    for k in dict.fromkeys([*near, *far]):
        fields = split_fields(lines[k], separator) if _is_content(lines[k]) else []
        if len(fields) == width and _values(fields, separator) >= 2:
            rows.append(fields)
    return rows


def _kind(tokens: Sequence[str], separator: str | None) -> str:
    """What most of the fields of a column are."""
    kinds: Counter[str] = Counter()
    for token in tokens:
        if says_missing(token):
            kinds[EMPTY] += 1
        elif _is_float(token) or looks_like_number(token, blanks=_groups_by_blanks(separator)):
            kinds[NUMBER] += 1
        elif duration(token) is not None:
            kinds[DURATION] += 1
        elif time_of_day(token) is not None:
            kinds[TIME_OF_DAY] += 1
        elif wall_clock(token) is not None:
            kinds[CLOCK] += 1
        else:
            kinds[WORDS] += 1
    del kinds[EMPTY]
    return kinds.most_common(1)[0][0] if kinds else EMPTY


# Titles


def _titles(
    header: Sequence[str], separator: str | None, width: int, trailing: bool
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The titles of the columns and a row of units below them: the header line that names most quantities."""
    best: tuple[int, int, tuple[str, ...]] | None = None
    units: dict[int, tuple[str, ...]] = {}
    for k, line in enumerate(header):
        for parts in _divisions(line, separator, width, trailing):
            if is_unit_row(parts):
                units[k] = tuple(parts)
                break
            if _values(parts, separator) > len(parts) / 2:
                continue
            known = sum(meaning(part).letter is not None for part in parts)
            if all(parts) or known >= 2 or sum(map(bool, parts)) >= max(2, len(parts) / 2):
                # The last line wins among equals, for the titles stand next to the rows.
                if best is None or known >= best[0]:
                    best = (known, k, tuple(parts))
                break
    if best is None:
        # A row of units alone names no quantity: it stands for titles, and the user says what they are.
        return (units[max(units)], ()) if units else (None, ())
    _, at, titles = best
    return titles, units.get(at + 1, ())


def _divisions(line: str, separator: str | None, width: int, trailing: bool) -> Iterable[list[str]]:
    """The ways of dividing a header line into as many parts as there are columns (`trailing`: and an empty one)."""
    bare = (
        line.strip(" \r\n").lstrip("#~%;*!\ufeff ") if separator != ";" else line.strip(" \r\n").lstrip("#~%*!\ufeff ")
    )
    for sep in dict.fromkeys((separator, "\t", ";", "|", ",")):
        if sep is None:
            continue
        parts = [part.strip().strip('"').strip() for part in _fields_as_written(bare, sep)]
        if len(parts) == width + 1 and (trailing or not parts[-1]):
            parts.pop()
        if len(parts) == width:
            yield parts
    if separator is None or "\t" not in line:
        for parts in (_by_wide_blanks(bare), bare.split(), _joined(bare.split())):
            if len(parts) == width:
                yield [part.strip('"') for part in parts]


def _fields_as_written(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line.replace("\r", " ")], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a quotation that nothing ends, longer than any field
        return line.split(separator)


def _by_wide_blanks(line: str) -> list[str]:
    return [part.strip() for part in line.replace("\t", "  ").split("  ") if part.strip()]


def _joined(words: Sequence[str]) -> list[str]:
    """Words with the unit that follows them: "t", "(s)" or "time", "/", "s"."""
    joined: list[str] = []
    for word in words:
        if joined and (word[0] in "([{/" or joined[-1].endswith("/")):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def _titles_below(
    lines: Sequence[str], start: int, separator: str | None, width: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...], int | None]:
    """Titles that stand below lines which look like rows, as the settings of some instruments do."""
    for k in range(start, min(len(lines), start + _LONGEST_HEADER)):
        fields = split_fields(lines[k], separator)
        if len(fields) == width and _is_titles(fields):
            below = split_fields(lines[k + 1], separator) if k + 1 < len(lines) else []
            units = tuple(below) if is_unit_row(below) else ()
            return tuple(fields), units, k + 1 + bool(units)
    return None, (), None


# Decimal marks


def _refuse_two_commas(
    lines: Sequence[str],
    separator: str | None,
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    start: int,
    path: Path,
) -> None:
    """Refuse a comma that could separate or be decimal."""
    if separator != "," or not sample or any('"' in line for line in lines[start : start + 5]):
        return
    width = len(sample[0])
    integers = all(field.lstrip("+-").isdigit() for row in sample for field in row if field)
    titles = [len(_fields_as_written(line, ",")) for line in header[-3:] if "," in line]
    halved = any(2 * n == width and n >= 2 for n in titles) and width not in titles
    if halved or (integers and width == 2 and 2 not in titles):
        limit = "one column with decimal comma, or two?" if width == 2 else "a comma could separate or be decimal"
        value = f"ambiguous in {lines[start][:40]!r}"
        raise bad(path, "decimal sign", value, limit, "separate the columns with tabs or semicolons", line=start + 1)


def _styles(
    sample: Sequence[Sequence[str]], kinds: Sequence[str], separator: str | None, path: Path, start: int
) -> tuple[tuple[NumberStyle, ...], list[str]]:
    """How each column writes its numbers, from its own fields and, where they do not tell, from those of the others."""
    evidence = [decimal_evidence(row[k] for row in sample) if kind == NUMBER else None for k, kind in enumerate(kinds)]
    known = [e for e in evidence if e is not None]
    point, comma = any(e.point for e in known), any(e.comma for e in known)
    of_file = "." if point and not comma else "," if comma and not point else ""
    blanks = " " if _groups_by_blanks(separator) else ""
    styles, looks = [], []
    for k, e in enumerate(evidence):
        if e is None:
            styles.append(NumberStyle())
            continue
        if (e.point and e.comma) or e.three == "both":
            value, limit = f"ambiguous in column {k + 1}", "both a point and a comma are decimal in it"
            raise bad(path, "decimal sign", value, limit, "export the file with one decimal mark", line=start + 1)
        decimal = "." if e.point else "," if e.comma else of_file
        if not decimal and e.three == ",":
            if not e.always:
                value = f"ambiguous in column {k + 1}"
                limit = "its commas could be decimal or group thousands"
                raise bad(path, "decimal sign", value, limit, "export the file without grouped digits", line=start + 1)
            looks.append(f"column {k + 1}: every number has a comma and three digits: read as a decimal comma")
            decimal = ","
        decimal = decimal or "."
        grouping = ("," if decimal == "." else ".") if e.three and e.three != decimal else ""
        if e.three == "" and (e.point or e.comma):
            grouping = "," if decimal == "." else "."  # 1,234.5: both marks in one number
        styles.append(NumberStyle(decimal, grouping + "'\u00a0\u202f\u2009" + blanks))
    return tuple(styles), looks


# Rows


def _rows(table: TextTable, wanted: Sequence[int]) -> _Rows:
    """The indices of the lines that are rows, these lines, counts of what else is among them, and what to look at."""
    if tuple(wanted) not in table.found:
        table.found[tuple(wanted)] = _sought_rows(table, wanted)
    return table.found[tuple(wanted)]


def _sought_rows(table: TextTable, wanted: Sequence[int]) -> _Rows:
    lines, separator, first = table.lines, table.separator, table.first
    known = {line for line in lines[max(first - 4, 0) : first] if line.strip()}
    counts: Counter[str] = Counter()
    looks: list[str] = []
    # Cycles and steps stand between the rows of some exports, further to the left.
    level = (separator or "") * table.left
    body = list(lines[first:])
    quoted = any('"' in line for line in body[:_WINDOW])
    if separator is None or quoted:
        alike = [False] * len(body)
    else:
        expected = lines[first].count(separator)
        alike = [line.count(separator) == expected for line in body]
        if all(alike) and known.isdisjoint(body) and not any(line.startswith("#") for line in body) and not level:
            return range(first, len(lines)), body, counts, looks
    numbers: list[int] = []
    rows: list[str] = []
    last = next((k for k in range(len(lines) - 1, -1, -1) if lines[k].strip()), 0)
    for k, (line, same) in enumerate(zip(body, alike, strict=True), start=first):
        if same and line not in known and line[:1] != "#" and line.startswith(level):
            numbers.append(k)
            rows.append(line)
            continue
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            counts["comment lines between the rows"] += 1
            continue
        if line in known:
            counts["repeated title lines between the rows"] += 1
            continue
        fields = split_fields(line, separator)
        if level and any(fields[: table.left]):
            counts["lines of cycles and steps between the rows"] += 1
            continue
        verdict = _verdict(table, fields, wanted, k == last)
        if verdict == "row":
            numbers.append(k)
            rows.append(line)
        elif verdict == "torn":
            looks.append(f"the last line is torn ({line[:40]!r}): it is left out")
        elif verdict == "words":
            _refuse_other_titles(table, fields, k)
            counts["lines of words between the rows"] += 1
        else:
            limit = f"{table.width} numbers are needed, as in the rows before"
            if any(kind in (WORDS, EMPTY) for kind in table.kinds):
                limit = f"{table.width} fields are needed, as in the rows before"
            remedy = "the file is cut or damaged here: copy it again, or delete this line"
            raise bad(table.path, "row", repr(line[:60]), limit, remedy, line=k + 1)
    return numbers, rows, counts, looks


def _verdict(table: TextTable, fields: Sequence[str], wanted: Sequence[int], last: bool) -> str:
    if len(fields) == table.width:
        return "row" if _values(fields, table.separator) or not any(fields) else "words"
    if not _values(fields, table.separator):
        return "torn" if last and len(fields) > 1 else "words"
    if len(fields) < table.width:
        if last:
            return "torn"
        # Columns to the right that are empty are left out by some programs.
        return "row" if wanted[-1] < len(fields) - 1 and len(fields) > 2 else "damaged"
    beyond_words = next((k for k, kind in enumerate(table.kinds) if kind == WORDS), len(fields))
    return "row" if not any(fields[table.width :]) or wanted[-1] < beyond_words < len(fields) else "damaged"


def _refuse_other_titles(table: TextTable, fields: Sequence[str], k: int) -> None:
    """Refuse rows under other titles: read under the first ones they would be wrong."""
    if not _is_titles(fields):
        return
    before = [meaning(title).letter for title in table.titles or ()]
    if [meaning(field).letter for field in fields] != before:
        limit = f"a second table with the titles {', '.join(fields)[:60]!r} begins here"
        raise bad(table.path, "content", "two tables", limit, "split the file before this line", line=k + 1)


def _quick(table: TextTable, rows: Sequence[str], wanted: Sequence[int]) -> dict[int, F64] | None:
    """Columns of plain numbers by NumPy's reader; None where a field is anything else."""
    if any(table.kinds[k] != NUMBER for k in wanted) or not rows:
        return None
    decimals = {table.styles[k].decimal for k in wanted}
    if len(decimals) > 1 or ("," in decimals and table.separator == ","):
        return None
    lines = rows if "." in decimals else [line.replace(",", ".") for line in rows]
    try:
        values = np.loadtxt(
            lines,
            delimiter=table.separator,
            comments=None,
            ndmin=2,
            usecols=list(wanted),
            quotechar='"',
            dtype=np.float64,
        )
    except ValueError:
        return None
    return (
        {k: np.ascontiguousarray(values[:, j]) for j, k in enumerate(wanted)} if values.shape[0] == len(rows) else None
    )


def _plainly(table: TextTable, rows: Sequence[str], wanted: Sequence[int]) -> dict[int, F64] | None:
    """Columns of numbers, durations and dates without a missing field; None where there is one, or quotation marks."""
    if not rows or any('"' in line for line in rows[:_WINDOW]):
        return None
    choose, separator = itemgetter(*wanted), table.separator
    try:
        chosen = [choose(line.split(separator)) for line in rows]
        columns = [chosen] if len(wanted) == 1 else list(zip(*chosen, strict=True))
        return {k: _plain_column(table, k, column) for k, column in zip(wanted, columns, strict=True)}
    except (IndexError, ValueError, TypeError):
        return None


def _plain_column(table: TextTable, k: int, tokens: Sequence[str]) -> F64:
    kind = table.kinds[k]
    if kind == NUMBER:
        if any("_" in token for token in tokens[:_WINDOW]):
            raise ValueError
        decimal = table.styles[k].decimal
        return np.array(list(map(float, tokens if decimal == "." else [t.replace(",", ".") for t in tokens])))
    stripped = [token.strip() for token in tokens]
    parse = _duration if kind == DURATION else time_of_day if kind == TIME_OF_DAY else _clock_reader(stripped)
    return _unwrapped(np.array([parse(token) for token in stripped], dtype=np.float64), kind)


def _slow(
    table: TextTable, at: Sequence[int], rows: Sequence[str], wanted: Sequence[int]
) -> tuple[dict[int, F64], list[str], list[str]]:
    """Columns of anything, field by field."""
    tokens: dict[int, list[str]] = {k: [] for k in wanted}
    numbers: list[int] = []
    words = 0
    for k, line in zip(at, rows, strict=True):
        fields = line.split(table.separator) if '"' not in line else split_fields(line, table.separator)
        chosen = [fields[c].strip() if c < len(fields) else "" for c in wanted]
        if not any(any(c.isdigit() for c in field) for field in chosen):
            # Titles again, a row of units, or words: no row of this table.
            if any(chosen):
                _refuse_other_titles(table, fields, k)
            words += 1
            continue
        numbers.append(k + 1)
        for c, token in zip(wanted, chosen, strict=True):
            tokens[c].append(token)
    values: dict[int, F64] = {}
    notes, looks = [], []
    if words:
        notes.append(f"{words} lines without a number in these columns")
    for c in wanted:
        values[c], missing = _converted(table, c, tokens[c], numbers)
        if missing:
            looks.append(f"{table.named(c)}: {missing} of {len(numbers)} fields hold no value")
    return values, notes, looks


def _converted(table: TextTable, c: int, tokens: Sequence[str], numbers: Sequence[int]) -> tuple[F64, int]:
    kind = table.kinds[c]
    parse: Callable[[str], float | None]
    if kind == NUMBER:
        parse = _style_of_all(table, c, tokens).number
    elif kind == DURATION:
        parse = _duration
    elif kind == TIME_OF_DAY:
        parse = time_of_day
    else:
        parse = _clock_reader(tokens)
    result = np.empty(len(tokens))
    missing = 0
    for k, token in enumerate(tokens):
        value = parse(token)
        if value is None and kind == DURATION:
            value = time_of_day(token)
        if value is None:
            if not is_missing(token):
                limit = f"{kind} is needed in the column {table.named(c)!r}, as in the rows before"
                remedy = "the file is cut or damaged here: copy it again, or delete this line"
                raise bad(table.path, "row", repr(token[:60]), limit, remedy, line=numbers[k])
            value = np.nan
            missing += 1
        result[k] = value
    return _unwrapped(result, kind), missing


def _unwrapped(t: F64, kind: str) -> F64:
    """Seconds of a clock that runs over midnight."""
    if kind == TIME_OF_DAY or (kind == DURATION and np.nanmax(t, initial=0.0) < 2.0 * _HALF_DAY):
        for at in (np.flatnonzero(np.diff(t) < -_HALF_DAY) + 1).tolist():
            t[at:] += 2.0 * _HALF_DAY
    return t


def _duration(token: str) -> float | None:
    value = plain_duration(token)
    return value if value is not None else duration(token)


def _style_of_all(table: TextTable, c: int, tokens: Sequence[str]) -> NumberStyle:
    """The style of a column from all of its fields, where the first ones were whole numbers and said nothing."""
    style = table.styles[c]
    if all(style.number(token) is not None or is_missing(token) for token in tokens):
        return style
    kinds = [NUMBER]
    styles, _ = _styles([[token] for token in tokens], kinds, table.separator, table.path, table.first)
    return styles[0]


def dates_of(tokens: Sequence[str]) -> F64 | None:
    """[s since 1970] of dates with times; None where a field is none."""
    read = _clock_reader(tokens)
    values = [read(token) for token in tokens]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)


def _clock_reader(tokens: Sequence[str]) -> Callable[[str], float | None]:
    """A reader of dates with the order of day and month in which the column runs forwards, or the shorter one."""

    def seconds(token: str, day_first: bool | None) -> float | None:
        clock = wall_clock(token, day_first)
        return clock.seconds if clock is not None else None

    clocks = [wall_clock(token) for token in tokens[:: max(1, len(tokens) // 2000)]]
    day_first: bool | None = None
    if any(clock is not None and clock.ambiguous for clock in clocks):
        sampled = tokens[:: max(1, len(tokens) // 2000)]
        series = {
            order: [s for token in sampled if (s := seconds(token, order)) is not None] for order in (True, False)
        }

        def disorder(order: bool) -> tuple[int, float]:
            steps = np.diff(series[order])
            return int(np.count_nonzero(steps < 0)), float(np.ptp(series[order]))

        unlike = disorder(True) != disorder(False)
        day_first = disorder(True) < disorder(False) if unlike else None
    days: dict[str, float | None] = {}

    def quickly(token: str) -> float | None:
        """A date has many rows: it is read once, and the time of the row added."""
        day, _, rest = token.partition(" ")
        time = plain_duration(rest)
        if time is None or "," in day:
            return seconds(token, day_first)
        if day not in days:
            days[day] = seconds(day, day_first)
        start = days[day]
        return start + time if start is not None else seconds(token, day_first)

    return quickly


def restarts(t: F64) -> NDArray[np.intp]:
    """The rows at which a clock runs backwards."""
    return np.flatnonzero(np.diff(t) < 0.0) + 1


def continued(t: F64) -> F64:
    """Continuous time from a clock that restarts with each step: a step begins where the one before it ended."""
    back = restarts(t)
    starts = np.zeros(t.size)
    starts[back] = t[back - 1]
    return np.asarray(t + np.cumsum(starts), dtype=np.float64)
