"""The run file, read lazily into labelled arrays."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401  registers the filter that the samples are stored with
import numpy as np
import xarray as xr

from opsicm.errors import BadInput, Problem, UnreadableRun
from opsicm.facts.fact import Fact
from opsicm.facts.hop import HOP_DTYPE
from opsicm.record.nexus_writer import FILE_VERSION
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, RUN_FILE

_GROUPS: Final = ("samples", "hops", "cell", "slow", "journal", "experiment", "rig", "parameters", "provenance")


def run_file(path: Path) -> Path:
    """The `run.nxs` that `path` (a run folder or a file) means; raises `BadInput` or `UnreadableRun` without one."""
    if not path.exists():
        raise BadInput(Problem("run", str(path), "does not exist", "give a run folder or its run.nxs", str(path)))
    if path.is_file():
        return path
    if (path / RUN_FILE).is_file():
        return path / RUN_FILE
    if (path / JOURNAL).is_file():
        problem = Problem(
            "run", path.name, "has no run.nxs: it was cut off before it was finished", _what_is_left(path), str(path)
        )
        raise UnreadableRun(problem)
    raise BadInput(
        Problem("folder", str(path), "is not a run folder (no journal.jsonl)", "give a run folder", str(path))
    )


class Run:
    """One run file. Arrays are read when asked for, the raw samples only piece by piece. A context manager."""

    def __init__(self, path: Path | str) -> None:
        self.path = run_file(Path(path))
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise _unreadable(self.path, error) from error
        try:
            self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; datasets already read stay valid."""
        self._file.close()

    def _check(self) -> None:
        entry = self._file.get("entry")
        if not isinstance(entry, h5py.Group) or "definition_local" not in entry:
            raise BadInput(
                Problem("file", self.path.name, "is HDF5 but not a run (no /entry/definition_local)",
                        "give a run.nxs; identify says what other files are", str(self.path))
            )  # fmt: skip
        version = int(entry["file_version"][()]) if "file_version" in entry else 0
        if version > FILE_VERSION:
            raise UnreadableRun(
                Problem(
                    "file_version",
                    str(version),
                    f"this version reads up to {FILE_VERSION}",
                    "update opsicm",
                    str(self.path),
                )
            )
        missing = [name for name in _GROUPS if name not in entry]
        if missing:
            there = ", ".join(name for name in _GROUPS if name in entry) or "nothing"
            raise UnreadableRun(
                Problem(
                    "run file",
                    self.path.name,
                    f"lacks {', '.join(missing)}",
                    f"what can still be read: {there}",
                    str(self.path),
                )
            )

    def _text(self, name: str) -> str:
        return str(self._file["entry"][name].asstr()[()])

    @property
    def title(self) -> str:
        """The experiment's title."""
        return self._text("title")

    @property
    def started_utc(self) -> str:
        """The UTC anchor of t_ns = 0."""
        return self._text("start_time")

    @property
    def experiment_text(self) -> str:
        """The experiment file as it was run."""
        return self._text("experiment")

    @property
    def rig_text(self) -> str:
        """The rig file as it was run with."""
        return self._text("rig")

    @property
    def parameters(self) -> dict[str, Any]:
        """What was known of pipette, specimen and electrolyte when the run began."""
        return dict(json.loads(self._text("parameters")))

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, rig."""
        group = self._file["entry/provenance"]
        return {name: item.asstr()[()] if item.dtype.kind == "O" else item[()] for name, item in group.items()}

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The journal."""
        return tuple(Fact.from_line(line) for line in self._file["entry/journal"].asstr()[:])

    @property
    def outcome(self) -> str:
        """How the run ended: completed, stopped, interrupted or fault; "cut off" without a last fact."""
        last = self.facts[-1] if self.facts else None
        return str(last.data.get("outcome")) if last is not None and last.kind == "run_ended" else "cut off"

    @cached_property
    def hops(self) -> xr.Dataset:
        """One row per hop, dimension `hop`, SI units in attributes; `step` is the probe step it belongs to."""
        return self._columns("hops", [*(HOP_DTYPE.names or ()), "step"], "hop")

    @cached_property
    def cell(self) -> xr.Dataset:
        """The cell's slow rows, dimension `row`."""
        return self._columns("cell", ["t_ns", "potential", "current", "charge", "set_point", "soc", "control"], "row")

    @cached_property
    def slow(self) -> xr.Dataset:
        """The probe's slow rows, dimension `row`."""
        names = ["t_ns", "pipette_current", "pipette_bias", "bias_residual", "z", "coarse_z"]
        return self._columns("slow", names, "row")

    def _columns(self, group: str, names: list[str], dimension: str) -> xr.Dataset:
        columns: dict[str, Any] = {}
        for name in names:
            item = self._file["entry"][group][name]
            values = item.asstr()[:] if item.dtype.kind == "O" else item[:]
            attributes = {key: str(value) for key, value in item.attrs.items()}
            # A column that is also the dimension would become an index; hop numbers are data.
            columns["number" if name == dimension else name] = (dimension, values, attributes)
        lengths = {name: column[1].shape[0] for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            shortest = min(lengths.values())
            raise UnreadableRun(
                Problem(f"/entry/{group}", str(lengths), "columns have unequal lengths",
                        f"the first {shortest} rows of each can still be read with any HDF5 tool", str(self.path))
            )  # fmt: skip
        return xr.Dataset(columns)

    @property
    def dt_ns(self) -> int:
        """Sample period, the same in every segment; 0 in a run without samples."""
        for group in self._file["entry/samples"].values():
            return int(group.attrs["dt_ns"])
        return 0

    def segments(self) -> list[int]:
        """Numbers of the stretches of samples without a gap."""
        return sorted(int(name.rsplit("_", 1)[1]) for name in self._file["entry/samples"])

    def samples(self, segment: int, first: int = 0, stop: int | None = None) -> xr.Dataset:
        """Samples [first, stop) of a segment in SI units, one variable per channel, coordinate `t_ns`."""
        group = self._file["entry/samples"][f"segment_{segment:04d}"]
        counts = group["counts"]
        stop = counts.shape[0] if stop is None else min(stop, counts.shape[0])
        rows = counts[first:stop]
        index = np.arange(first, first + rows.shape[0], dtype=np.int64)
        t_ns = int(group.attrs["t0_ns"]) + index * int(group.attrs["dt_ns"])
        attrs = counts.attrs
        channels = {
            str(name): (
                "sample",
                rows[:, k] * float(attrs["scale"][k]) + float(attrs["offset"][k]),
                {"units": str(attrs["unit"][k])},
            )
            for k, name in enumerate(attrs["name"])
        }
        return xr.Dataset(channels, coords={"t_ns": ("sample", t_ns)})

    def trace(self, hop: int) -> xr.Dataset:
        """The samples of one hop, from its start to its top."""
        row = self.hops.isel(hop=hop)
        return self.samples(int(row["segment"]), int(row["sample_start"]), int(row["sample_top"]) + 1)


def _what_is_left(folder: Path) -> str:
    journal = folder / JOURNAL
    facts = len(journal.read_bytes().splitlines()) if journal.is_file() else 0
    texts = [name for name in (EXPERIMENT, "rig.yaml") if (folder / name).is_file()]
    live = sorted(path.name for path in folder.glob("segment-*.h5"))
    kept = [*texts, *([f"{JOURNAL} ({facts} facts)"] if facts else [])]
    return f"what can still be read: {', '.join(kept) or 'nothing'}" + (
        f"; unfinished data: {', '.join(live)}" if live else ""
    )


def _unreadable(path: Path, error: OSError) -> UnreadableRun | BadInput:
    with path.open("rb") as file:
        is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    if not is_hdf5:
        return BadInput(
            Problem(
                "file", path.name, "is not a run file (no HDF5 signature)", "opsicm identify says what it is", str(path)
            )
        )
    what = "is truncated" if "truncated" in str(error) else f"is damaged ({str(error).splitlines()[0]})"
    size = path.stat().st_size
    return UnreadableRun(
        Problem("run file", f"{path.name} ({size} bytes)", what, _what_is_left(path.parent), str(path))
    )
