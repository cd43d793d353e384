"""Injects the faults and prints a table, all rows or some: python -m faults [--only f03] [--seed N] [--short]."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import sys
import time

import faults


def main() -> int:
    """Print the table; 1 if a row does not hold."""
    reader = argparse.ArgumentParser(prog="python -m faults")
    reader.add_argument("--only", default="", help="part of a file's name, as f03")
    reader.add_argument("--seed", type=int, default=None, help="seed of the random moments")
    reader.add_argument("--short", action="store_true", help="the short forms, as in the tests")
    arguments = reader.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}\n\n| row | fault | n | observed | holds | s |\n|---|---|---|---|---|---|", flush=True)
    bad = False
    for module in sorted(m.name for m in pkgutil.iter_modules(faults.__path__) if m.name[1:3].isdigit()):
        if arguments.only not in module:
            continue
        began = time.monotonic()
        for row in importlib.import_module(f"faults.{module}").run(random.Random(f"{seed} {module}"), arguments.short):
            holds = "not judged" if row.holds is None else "yes" if row.holds else "NO"
            spent = time.monotonic() - began
            print(f"| {row.row} | {row.fault} | {row.n} | {row.observed} | {holds} | {spent:.0f} |", flush=True)
            bad = bad or row.holds is False
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
