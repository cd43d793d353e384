"""`python -m benchmarks [--only PART] [--json FILE]`: the performance table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.table import main

parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the performance table.")
parser.add_argument("--only", help="only rows whose file name contains this")
parser.add_argument("--json", type=Path, help="write the rows to this file as well")
arguments = parser.parse_args()
sys.exit(main(arguments.only, arguments.json))
