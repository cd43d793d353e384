"""Output to the terminal: tables on standard output, progress and problems on standard error.

What is printed holds text of other people: titles, notes, paths. It is never read as markup, and characters that would
steer the terminal are shown instead of sent.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsicm.core.errors import BadInput, OpsicmError, Problem

if TYPE_CHECKING:
    from opsicm.analysis.result import Result

_REMARK: Final = 40
_GAPS: Final = 6  # between four columns

# Control characters but tab and line end, and those that reverse the direction of writing: each as its code.
_STEERING: Final = {
    code: ascii(chr(code))[1:-1]
    for code in (*range(0x09), 0x0B, 0x0C, *range(0x0D, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F))
} | {code: ascii(chr(code))[1:-1] for code in range(0x2066, 0x206A)}
_IN_ASCII: Final = {
    "µ": "u",
    "μ": "u",
    "±": "+/-",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "→": "->",
    "×": "x",
    "·": "*",
    "°": " deg",
    "Ω": "Ohm",
    "Δ": "d",
    "√": "sqrt ",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "“": '"',
    "”": '"',
    "’": "'",
}


def printable(text: str) -> str:
    """`text` with the characters that would steer a terminal shown as their codes."""
    return text.translate(_STEERING)


class _Console(Console):
    """A console on which no text is markup."""

    def __init__(self, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called where it was caught; main knows what to do


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replaces a character that the terminal's encoding has not: as an engineer would type it, else without its accent,
    else by a question mark. A byte of a path that is no text is written as the byte that it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = _IN_ASCII.get(character) or unicodedata.normalize("NFKD", character)
    return plain.encode("ascii", "ignore").decode("ascii") or "?", error.start + 1


_PLAIN: Final = "opsicm_plain_ascii"


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: typer prints help and usage in UTF-8 to a stream whose encoding is called ASCII, which
    it takes for a mistake."""
    known = codecs.lookup("ascii")
    if name != _PLAIN:
        return None
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        known.streamreader,
        known.streamwriter,
        known.incrementalencoder,
        known.incrementaldecoder,
        _PLAIN,
    )


class _Forgiving:
    """Standard error that may be gone: a closed terminal or a full device is no reason to stop what runs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Make this process's streams take every text: in an encoding without µ or ± it is written in ASCII."""
    codecs.register_error("opsicm-ascii", _in_ascii)
    codecs.register(_plain_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_PLAIN if ascii_only else None, errors="opsicm-ascii")
    sys.stderr = _Forgiving(sys.stderr)


def flush_output(code: int) -> int:
    """The exit code, after what was printed has reached its device; 2 where a success was printed in vain."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # who read it has read enough
        pass
    except OSError as error:
        print_problems(_unwritable_output(error))
        code = code or 2
    _discard_output()
    return code


def _discard_output() -> None:
    """What is left of standard output would be tried again, and complained about, when the interpreter ends."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _unwritable_output(error: OSError) -> BadInput:
    limit = f"cannot be written ({error.strerror})"
    return BadInput(Problem("standard output", "", limit, "direct it to another file or device"))


out = _Console()
err = _Console(stderr=True)

DEFAULT_OUT: Final = Path("out")
"""Where every command puts runs, and looks for them, unless it is told otherwise."""
OutOption = Annotated[Path, typer.Option("--out", help="Folder in which the run's own folder is made.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print a list of records with stable keys instead.")]
ParticleOption = Annotated[
    float | None,
    typer.Option(
        "--particle-radius-um",
        metavar="UM",
        help="Radius of the active particles [µm]: the diffusivity from a titration goes with its square.",
        min=1e-3,
        max=1e3,
    ),
]
SetpointOption = Annotated[
    float | None,
    typer.Option(
        "--setpoint",
        metavar="PCT",
        help="Setpoint: the current drop [%] that ended the approaches of a trace of hops.",
        min=0.01,
        max=99,
    ),
]
LevellingOption = Annotated[
    str | None,
    typer.Option(
        "--levelling",
        metavar="HOW",
        help="What is subtracted from images: first-plane (of the first image, the default), none, plane, parabola or "
        "rows (each row's median).",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="X0,Y0,X1,Y1",
        help="Line of the profiles through images [µm], in the experiment's coordinates; by default the row with the "
        "largest change.",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(help="Columns of a text file with their units, as t=s,I=pA,z=um, or by title: 't=\"Test Time / s\"'."),
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size-um", metavar="X,Y", help="Width and height [µm] of an image whose file does not state them."),
]
UnitOption = Annotated[
    str | None,
    typer.Option("--unit", help="Unit of the heights of an image whose file does not state it, as nm; a text matrix."),
]


def print_problems(error: OpsicmError) -> None:
    """Every problem of an error, one a line, on standard error."""
    for problem in error.problems:
        err.print(Text.assemble(("error", "bold red"), " ", printable(str(problem))))


def print_path(path: Path) -> None:
    """The path of a run file on standard output; where that takes nothing, on standard error: the run is not lost."""
    try:
        out.print(str(path))
        sys.stdout.flush()  # now, not when the program ends and the run's own exit code is at stake
    except OSError as error:
        _discard_output()
        print_problems(_unwritable_output(error))
        err.print(f"run file  {path}")


def print_json(records: Sequence[dict[str, Any]]) -> None:
    """Records as JSON on standard output; a number that JSON does not know becomes null."""
    print(json.dumps(list(records), indent=2, ensure_ascii=not _takes_unicode(), allow_nan=False))


def _takes_unicode() -> bool:
    encoding = getattr(sys.stdout, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def print_results(results: Iterable[Result], title: str) -> None:
    """Results as a table: name, value ± u, unit; why not, where there is no value."""
    from opsicm.results.number_text import result_text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    # A wrapped name cannot be searched for, so only the remark wraps, and never below the width of a sentence.
    table.add_column("quantity", no_wrap=True)
    table.add_column("value ± u (± calibration)", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("remark", min_width=_REMARK)
    shown = list(results)
    for result in shown:
        bad = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.flags.items() if count)
        remark = bad if result.outcome == "ok" else f"{result.outcome}: {result.reason}"
        table.add_row(result.label, result_text(result), result.unit, remark)
    narrow = sum(max((len(text) for text in column), default=0) for column in zip(*_cells(shown), strict=True))
    # A console prints no wider than itself, so a wide table gets a wider one.
    _Console(width=max(out.width, narrow + _REMARK + _GAPS)).print(table)


def _cells(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """The texts of the three columns that may not break, headings included."""
    from opsicm.results.number_text import result_text

    rows = ((r.label, result_text(r), r.unit) for r in results)
    return [("quantity", "value ± u (± calibration)", "unit"), *rows]


def working(what: str) -> AbstractContextManager[object]:
    """A spinner on standard error during a task of some seconds; silent without a terminal."""
    return err.status(Text(printable(what))) if err.is_terminal else nullcontext()


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """A function that returns whether Ctrl-C was pressed, SIGTERM received, or SIGHUP from a terminal that closes: the
    run then ends by itself, safely."""
    stop_requested = False

    def handler(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stop_requested
        if not stop_requested:
            err.print("stopping: pipette up, cell to open circuit, file kept …")
        stop_requested = True

    stopping = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup wants it
        stopping.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in stopping}
    try:
        yield lambda: stop_requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def pace_of(text: str) -> float | None:
    """The value of --speed: None for max, else how many times faster than real time."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < 1e9:
        raise BadInput(Problem("--speed", repr(text), "is max, or a number above 0", "1 is real time, max the fastest"))
    return speed
