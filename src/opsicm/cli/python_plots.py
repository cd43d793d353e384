"""The figures of a run from Python: `run.plot.images()`, `.voltammogram()`, `.sections()` … are matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from opsicm.analysis.topography.image_series import LEVELLING, Levelling
from opsicm.cli.python_tables import FigureDict, shown_in_notebooks
from opsicm.core.errors import BadInput, Problem
from opsicm.figures.draw import draw
from opsicm.figures.hops import hop_view
from opsicm.figures.view import View
from opsicm.results.image_figures import ImageChoice, Line, image_views
from opsicm.results.run_results import views_of
from opsicm.results.trace_figures import views_of_traces

if TYPE_CHECKING:
    from opsicm.cli.python_run import StoredRun


def drawn(view: View) -> Figure:
    """The figure of a view."""
    return shown_in_notebooks(draw(view))


def figures(views: Sequence[View]) -> FigureDict:
    """The figure of every view by its name; a name that comes again is numbered, `image`, `image_2`."""
    return FigureDict((name, drawn(view)) for name, view in _named(views).items())


def _named(views: Sequence[View]) -> dict[str, View]:
    named: dict[str, View] = {}
    for view in views:
        count = 1 + sum(other.name == view.name for other in named.values())
        named[view.name if count == 1 else f"{view.name}_{count}"] = view
    return named


class RunPlots:
    """The figures of a run. `run.plot()` draws all that its report shows; each method below draws one.

    A method whose figure a run does not have raises with the names that it has. `figure.savefig("name.png")` saves one.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run

    def __call__(self) -> FigureDict:
        """Every figure of the run's report, by name."""
        return figures(self._views)

    @property
    def names(self) -> list[str]:
        """The names of the figures that the run's report shows."""
        return list(_named(self._views))

    @cached_property
    def _views(self) -> list[View]:
        return views_of(self._run.record, list(self._run.results)) if self._run.parameters else []

    def time(self) -> Figure:
        """Height, potential, pipette current and cell current against time."""
        return self._one("time")

    def potential(self) -> Figure:
        """Expansion, pipette current and cell current against potential, of a run that hops at a point or on a line."""
        return self._one("potential")

    def voltammogram(self) -> Figure:
        """Cell current against potential, a curve for each sweep, with the peaks."""
        return self._one("voltammogram")

    def capacity(self) -> Figure:
        """Potential against the charge passed in each half-cycle at constant current."""
        return self._one("capacity")

    def titration(self) -> Figure:
        """The relaxed potentials of pulses and rests (GITT)."""
        return self._one("titration")

    def tower(self, step: str | None = None) -> Figure:
        """Pipette current over height and time, a column for each trip of the coarse stage."""
        return self._one("tower", step)

    def sections(self, step: str | None = None) -> Figure:
        """Pipette current above the surface (XZ), less its mode, with and without what geometry alone gives."""
        return self._one("section", step)

    def line(self, step: str | None = None) -> Figure:
        """Height along a line against time, since its first complete pass."""
        return self._one("kymograph", step)

    def current_voltage(self, step: str | None = None) -> Figure:
        """Pipette current against the pipette's own bias."""
        return self._one("current_voltage", step)

    def images(self, step: str | None = None, levelling: Levelling = "first-plane") -> Figure:
        """Every image of a raster, or of all rasters on the same pixels, on one colour scale, potential and SOC above.

        Levelling: "first-plane" takes the plane of the first image from all, so that what the specimen expanded by
        stays in; "plane" its own from each, "parabola" a surface of degree 2, "rows" each row's median, "none" nothing.
        """
        views = self._image_views(step, ImageChoice(levelling))
        return drawn(next((view for view in views if view.name == "image_series"), views[0]))

    def changes(self) -> Figure:
        """Height change of every image since the first, on a diverging scale about zero."""
        return self._one("image_changes")

    def profiles(
        self, step: str | None = None, line: Line | None = None, levelling: Levelling = "first-plane"
    ) -> Figure:
        """Heights of every image along `line` (x, y of its start and its end [m]), by default a row of pixels."""
        views = self._image_views(step, ImageChoice(levelling, line))
        return drawn(next(view for view in views if view.name in ("image_profiles", "image")))

    def _image_views(self, step: str | None, choice: ImageChoice) -> list[View]:
        if choice.levelling not in LEVELLING:
            limit = f"images are levelled by {', '.join(LEVELLING)}"
            raise BadInput(Problem("levelling", repr(choice.levelling), limit, "write one of these"))
        frames = [frame for _, frame in self._run.frames(step)]
        return image_views(frames, self._run.record.cell, [], choice)

    def hop(self, number: int) -> Figure:
        """One hop as sampled: pipette current and height against time, with reference, threshold and stop."""
        trace = self._run.trace(number)
        row = self._run.hops.isel(hop=number)
        record = {name: float(row[name]) for name in ("i_ref", "z_stop", "t_ns", "setpoint", "outcome")}
        return drawn(hop_view(trace, {**record, "hop": number}))

    def _one(self, name: str, step: str | None = None) -> Figure:
        views = self._views
        if step is not None:
            self._run.must_have(step)
            # A run with one step does not repeat its name in every result.
            views = views_of_traces([r for r in self._run.results if r.of.step in ("", step)])
        matching = [view for view in views if view.name == name]
        if not matching:
            of = self._run.path.parent.name if step is None else step
            limit = f"{of} has none; its figures are {', '.join(_named(views)) or 'none'}"
            raise BadInput(Problem("figure", repr(name), limit, "draw one of these: run.plot()[name]"))
        if len(matching) > 1:
            titles = "; ".join(view.title for view in matching)
            limit = f"there are {len(matching)}: {titles}"
            again = [key for key, view in _named(self._views).items() if view.name == name]
            raise BadInput(Problem("figure", repr(name), limit, f"run.plot()[name] with one of {', '.join(again)}"))
        return drawn(matching[0])
