"""The documentation's page of the reproduction, and its check for drift.

python scripts/reproduction_page.py write TABLE.json FIGURES long|short    writes docs/reproduction.md and its pictures
python scripts/reproduction_page.py keep TABLE.json             keeps a short table as what the check compares with
python scripts/reproduction_page.py check TABLE.json            fails where structure or verdicts differ from it
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from opsicm.reproduction.page import FIGURES, drift, page

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "reproduction.md"
PICTURES = DOCS / "images" / "reproduction"
KEPT = DOCS / "reproduction-short.json"


def write(table: Path, figures: Path, form: str) -> None:
    """The page from a table and the figures that were drawn with it; pictures of an earlier one go."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    shown = {}
    for name in (name for names in FIGURES.values() for name in names):
        for file in (figures / f"{name}.png", figures / f"{name}.gif"):
            if file.is_file():
                shutil.copyfile(file, PICTURES / file.name)
                shown[name] = f"images/reproduction/{file.name}"
    PAGE.write_text(page(json.loads(table.read_text(encoding="utf-8")), shown, form), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """What the module's docstring says; the exit code."""
    match arguments:
        case ["write", table, figures, "long" | "short" as form]:
            write(Path(table), Path(figures), form)
        case ["keep", table]:
            shutil.copyfile(table, KEPT)
        case ["check", table]:
            now, kept = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (table, KEPT))
            lines = drift(now, kept)
            print("\n".join(lines) or "no drift")
            return 1 if lines else 0
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
