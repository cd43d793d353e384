"""Draw the README's picture from a run of the demo.

python -m scripts.readme_picture RUN        writes docs/images/height_during_voltammogram.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from opsicm.figures.draw import draw, png
from opsicm.record.reader import Run
from opsicm.results.run_results import results_of, views_of

TARGET = Path(__file__).parents[1] / "docs" / "images" / "height_during_voltammogram.png"


def main() -> None:
    """The view against potential of the run named on the command line."""
    with Run(Path(sys.argv[1])) as run:
        view = next(view for view in views_of(run, results_of(run)) if view.name == "potential")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(png(draw(view), dpi=80))


main()
