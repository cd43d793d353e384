"""A run as Python gives it: labelled arrays in specimen coordinates, images, results and figures of one run file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.series import coarse_heights
from opsicm.analysis.topography.raster import Frame, frames, rows_of_passes
from opsicm.cli.python_plots import RunPlots
from opsicm.cli.python_tables import ResultList, html_table, text_table
from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.model import Experiment
from opsicm.experiment.program import written_steps
from opsicm.record.reader import Run
from opsicm.reporting.reports import report_of
from opsicm.results.run_results import results_of

F64 = NDArray[np.float64]
_HOUR_NS: Final = 3.6e12
_PITCH: Final = 0.1  # of a pixel: rasters whose pixels lie as close have the same pixels
_TIME: Final = {"units": "h", "long_name": "time since the run started"}
_HEIGHT: Final = {
    "units": "m",
    "long_name": "height of the pipette at its stop",
    "zero": "zero of the coarse stage; up is positive; z_stop is the same on the scanner's own scale",
}
_SCANNER_HEIGHT: Final = {**_HEIGHT, "zero": "zero of the scanner: no coarse height was recorded; up is positive"}


class StoredRun:
    """One run, read when asked for: `opsicm.open(path)`.

    `hops`, `cell` and `slow` are its tables, `images()` its rasters, `trace(hop)` and `samples(segment)` what was
    sampled, `results` what it means, `plot.…()` its figures. Numbers are in SI, `t` in hours beside `t_ns`; negative
    cell current lithiates; z is up. `record` is the run file itself. Closes itself in `with opsicm.open(path) as run:`.
    """

    def __init__(self, path: Path | str) -> None:
        self._record: Run | None = Run(path)
        self.path: Path = self._record.path
        self.plot = RunPlots(self)

    def __enter__(self) -> StoredRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        if self._record is not None:
            self._record.close()
        self._record = None

    @property
    def record(self) -> Run:
        """The run file itself, as it was written: heights on the scanner's scale, counts, lazy streams."""
        if self._record is None:
            path = str(self.path)
            raise BadInput(Problem("run", self.path.parent.name, "was closed", f"open it again: opsicm.open({path!r})"))
        return self._record

    # -- What it is -------------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The experiment's title."""
        return self.record.title

    @property
    def started_utc(self) -> str:
        """The UTC time of t = 0."""
        return self.record.started_utc

    @property
    def outcome(self) -> str:
        """How the run ended: completed, stopped, interrupted, fault, or unfinished after a crash."""
        return self.record.outcome

    @property
    def experiment_text(self) -> str:
        """The experiment file as it was run."""
        return self.record.experiment_text

    @property
    def rig_text(self) -> str:
        """The rig file as it was run with."""
        return self.record.rig_text

    @property
    def parameters(self) -> dict[str, Any]:
        """Pipette, specimen and parameter set as known when the run began; empty where it never began."""
        return self.record.parameters

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, rig, source, and what was lost."""
        return self.record.provenance

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The journal: what happened, in order."""
        return tuple(self.record.facts)

    @cached_property
    def steps(self) -> dict[str, str]:
        """The steps that ran, in order of their start: path → word, as `{"cell[0]": "sweep", "probe[0]": "hop"}`."""
        words: dict[str, str] = {}
        experiment = self._experiment
        if experiment is not None:
            words = {placed.path: placed.step.word for placed in written_steps("cell", experiment.cell)}
            words |= {placed.path: placed.step.word for placed in written_steps("probe", experiment.probe)}
        started = [fact.step for fact in self.facts if fact.kind == "step_started"]
        started += [str(step) for step in np.unique(self.record.hops["step"].values)]
        return {step: words.get(step, "") for step in dict.fromkeys(started)}

    @cached_property
    def _experiment(self) -> Experiment | None:
        """The experiment; None where it was written for another version of the program."""
        try:
            return experiment_from_text(self.experiment_text, self.path.name).experiment
        except BadInput:
            return None

    def _policies(self, *channels: str) -> str:
        """How channels were recorded, as in the experiment file."""
        if self._experiment is None:
            return ", ".join(channels)
        return ", ".join(f"{channel}: {self._experiment.record.policy(channel)}" for channel in channels)

    def must_have(self, step: str) -> None:
        """Raises `BadInput` with the names there are where no step of the run has this name."""
        if step not in self.steps:
            there = ", ".join(f"{path} ({word})" if word else path for path, word in self.steps.items()) or "none"
            raise BadInput(Problem("step", repr(step), f"the run's steps are {there}", "write the name of one"))

    # -- What was measured ------------------------------------------------------------------------------------------

    @cached_property
    def hops(self) -> xr.Dataset:
        """One row per hop, dimension `hop`: positions, `height`, currents, potential, `outcome` (0: contact), `step`.

        `height` [m] is z_stop on the scale of the coarse stage, the same for all steps of the run: where the pipette
        stopped, some tens of nanometres above the surface. Coordinates `t` [h] and `t_ns`.
        """
        hops = self.record.hops
        height, attributes = self._heights(hops)
        hops = hops.assign(height=("hop", height, attributes)).set_coords("t_ns")
        return hops.assign_coords(t=("hop", hops["t_ns"].values / _HOUR_NS, _TIME))

    @cached_property
    def cell(self) -> xr.Dataset:
        """The cell: `potential` [V], `current` [A], `charge` [C], `soc`, `set_point`, `control` over `t` [h]."""
        return _over_time(self.record.cell)

    @cached_property
    def slow(self) -> xr.Dataset:
        """The probe beside the hops: `pipette_current` [A], `pipette_bias` [V], `z`, `coarse_z` [m] … over `t` [h]."""
        return _over_time(self.record.slow)

    def _heights(self, hops: xr.Dataset) -> tuple[F64, dict[str, str]]:
        coarse = coarse_heights(hops, self.record.slow) if hops.sizes["hop"] else None
        z = np.asarray(hops["z_stop"].values, dtype=np.float64)
        return (z, _SCANNER_HEIGHT) if coarse is None else (z + coarse, _HEIGHT)

    def images(self, step: str | None = None) -> xr.Dataset:
        """The images of a raster, or of all rasters on the same pixels in order of time: dimensions (image, y, x).

        Variables `height` [m], `i_ref`, `i_stop` [A] and `t_ns` (-1 without a hop); NaN where no hop made contact.
        Coordinates `x`, `y` [m] of the specimen, and of each image, counted from 1, its `potential` [V],
        `cell_current` [A], `soc` [1], `t` [h] and `step`. A raster that is turned against the axes has `x` and `y`
        along and across its rows about the image's centre, and says so. An image with fewer than half its pixels is
        left out. Raises `BadInput` where a step is no raster, or where rasters differ and none is named.
        """
        chosen = self.frames(step)
        hops, cell = self.hops, self.cell
        index = np.array([frame.rows for _, frame in chosen])

        def spread(name: str) -> xr.Variable:
            known = index >= 0
            values = np.where(known, hops[name].values[index], np.nan)
            return xr.Variable(("image", "y", "x"), values, hops[name].attrs)

        t_ns = np.where(index >= 0, hops["t_ns"].values[index], -1)
        time = np.array([frame.time for _, frame in chosen]) / 3600.0
        of_image: dict[str, tuple[Any, dict[str, str]]] = {
            "image": (np.arange(1, len(chosen) + 1), {}),
            "t": (time, {**_TIME, "long_name": "time of the middle of the image"}),
            "potential": (np.array([frame.potential for _, frame in chosen]), {"units": "V"}),
            "cell_current": (np.array([frame.cell_current for _, frame in chosen]), {"units": "A"}),
            "soc": (np.interp(time, cell["t"].values, cell["soc"].values), dict(cell["soc"].attrs)),
            "step": (np.array([name for name, _ in chosen]), {}),
        }
        return xr.Dataset(
            {**{name: spread(name) for name in ("height", "i_ref", "i_stop")}, "t_ns": (("image", "y", "x"), t_ns)},
            coords={**{name: ("image", *content) for name, content in of_image.items()}, **_axes(chosen[0][1])},
            attrs={"title": self.title},
        )

    def frames(self, step: str | None = None) -> list[tuple[str, Frame]]:
        """(step, frame) of the images that `images` gives; a frame's `rows` are the hops of its pixels."""
        if step is not None:
            self.must_have(step)
        found = self._frames
        chosen = [(name, frame) for name, frame in found if step in (None, name)]
        if not chosen:
            there = ", ".join(dict.fromkeys(name for name, _ in found))
            limit = f"rasters with an image are {there}" if there else "the run has no raster with an image"
            raise BadInput(Problem("images of step", step or "any", limit, "name a raster step, or use run.hops"))
        if not all(_same_pixels(chosen[0][1], frame) for _, frame in chosen):
            names = ", ".join(dict.fromkeys(name for name, _ in chosen))
            raise BadInput(Problem("rasters", names, "their pixels differ", f"name one: run.images({chosen[0][0]!r})"))
        return chosen

    @cached_property
    def _frames(self) -> list[tuple[str, Frame]]:
        hops = self.record.hops
        segments, height = hops["segment"].values, self.hops["height"].values
        coarse = height - hops["z_stop"].values
        found: list[tuple[str, Frame]] = []
        pass_rows = rows_of_passes(hops)
        for segment in np.unique(segments):
            rows = np.flatnonzero(segments == segment)
            step = str(hops["step"].values[rows[0]])
            for frame in frames(hops.isel(hop=rows), coarse[rows], pass_rows.get(step, 0)):
                frame.rows[frame.rows >= 0] = rows[frame.rows[frame.rows >= 0]]
                found.append((step, frame))
        return found

    @property
    def segments(self) -> list[int]:
        """Numbers of the segments: samples without a gap, one for each time that a step hopped."""
        return self.record.segments()

    def samples(self, segment: int, first: int = 0, stop: int | None = None) -> xr.Dataset:
        """Samples [first, stop) of a segment in SI units, a variable per channel that was kept in full.

        Coordinate `t_ns`. A whole segment may be gigabytes: take a part.
        """
        self._must_have_segment(segment)
        return self.record.samples(segment, first, stop)

    def decimated(self, segment: int) -> xr.Dataset:
        """Smallest, largest and mean value of every so many samples of a segment, of channels recorded `decimated`."""
        self._must_have_segment(segment)
        if self._experiment is not None and not any(
            policy != "off" for policy in self._experiment.record.model_dump().values()
        ):
            limit = "the run was recorded with every channel off"
            raise BadInput(Problem("samples of segment", str(segment), limit, "record: {z: decimated} keeps a summary"))
        return self.record.decimated(segment)

    def _must_have_segment(self, segment: int) -> None:
        if segment not in self.segments:
            there = ", ".join(map(str, self.segments)) or "none: nothing hopped"
            raise BadInput(Problem("segment", str(segment), f"the segments are {there}", "write one of these"))

    def trace(self, hop: int) -> xr.Dataset:
        """The samples of one hop from its start to its top, with `height` [m]: z on the scale of the coarse stage."""
        hops = self.hops
        if not 0 <= hop < hops.sizes["hop"]:
            raise BadInput(Problem("hop", str(hop), f"the run has {hops.sizes['hop']}", "count from 0"))
        samples = self.record.trace(hop)
        if not {"pipette_current", "z"} <= set(samples):
            limit = f"they were not kept: the run was recorded with {self._policies('pipette_current', 'z')}"
            remedy = "record: {pipette_current: full, z: full} in the experiment keeps them"
            raise BadInput(Problem("samples of hop", str(hop), limit, remedy))
        offset = float(hops["height"].values[hop] - hops["z_stop"].values[hop])
        attributes = {**hops["height"].attrs, "long_name": "height of the pipette"}
        return samples.assign(height=("sample", samples["z"].values + offset, attributes))

    # -- What it means ----------------------------------------------------------------------------------------------

    @cached_property
    def results(self) -> ResultList:
        """All results of the run, each with uncertainty, unit and method."""
        return ResultList(results_of(self.record))

    def report(self, output: Path | str | None = None) -> Path:
        """Write the report, a self-contained HTML page, beside the run file or to `output`; returns its path."""
        return report_of([self.path], None if output is None else Path(output))

    # -- How it shows itself ----------------------------------------------------------------------------------------

    def _summary(self) -> list[tuple[str, str]]:
        hops = self.record.hops
        contact = int(np.count_nonzero(hops["outcome"].values == 0))
        t = self.record.cell["t_ns"].values
        tracks = {
            track: ", ".join(f"{path} {word}".rstrip() for path, word in self.steps.items() if path.startswith(track))
            for track in ("cell", "probe")
        }
        return [
            ("outcome", f"{self.outcome} after {_duration(float(t[-1]) * 1e-9 if t.size else 0.0)}"),
            ("started", self.started_utc),
            ("source", str(self.provenance.get("source", "unknown"))),
            *((f"{track} steps", text or "none") for track, text in tracks.items()),
            ("hops", f"{hops.sizes['hop']}, {contact} in contact"),
            ("images", str(len(self._frames))),
            ("file", str(self.path)),
        ]

    def __repr__(self) -> str:
        if self._record is None:
            return f"<run, closed: {self.path}>"
        return f"{self.title}\n{text_table([(f'  {name}', text) for name, text in self._summary()])}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        if self._record is None:
            return html_table([("closed", str(self.path))])
        return html_table(self._summary(), (self.title, ""))


def _over_time(table: xr.Dataset) -> xr.Dataset:
    """A table of rows with `t` [h] as its dimension."""
    hours = table["t_ns"].values / _HOUR_NS
    return table.set_coords("t_ns").assign_coords(t=("row", hours, _TIME)).swap_dims(row="t")


def _axes(frame: Frame) -> dict[str, xr.Variable]:
    """Coordinates of the columns and rows: x and y of the specimen, or along the edges of a turned raster."""
    of = "of the specimen"
    if frame.rotation:
        of = f"about the centre of an image whose rows are turned by {np.degrees(frame.rotation):.3g}°"
    return {
        name: xr.Variable((name,), values, {"units": "m", "long_name": f"{name} {of}"})
        for name, values in (("x", frame.x), ("y", frame.y))
    }


def _same_pixels(one: Frame, other: Frame) -> bool:
    """Whether two images have the same pixels, within a tenth of a pitch."""
    if one.rows.shape != other.rows.shape or abs(one.rotation - other.rotation) > _PITCH / max(one.rows.shape):
        return False
    pairs = ((one.x, other.x), (one.y, other.y))
    return all(np.all(np.abs(a - b) <= _PITCH * float(np.ptp(a)) / max(a.size - 1, 1)) for a, b in pairs)


def _duration(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"
