"""Where measured files of other people lie: OPSICM_DATA, or the folder shared/data beside the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

DATA: Final = Path(os.environ.get("OPSICM_DATA", Path(__file__).parents[2].parent / "shared/data"))
