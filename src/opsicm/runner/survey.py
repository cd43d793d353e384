"""Steps that make a measurement trustworthy: engage, tilt survey, landmarks, a new tip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Outcome
from opsicm.runner.hop_words import HopWords
from opsicm.runner.hopping import Hopping
from opsicm.runner.patterns import Pattern, at_one_point, over_a_rectangle
from opsicm.runner.probe_context import ProbeBench

Image = NDArray[np.float64]
Registration = Callable[[Image, Image], tuple[float, float]]
"""(rows, columns) by which the second image's pattern lies beside the first's [px]."""

_SAME: Final = 0.5e-6  # [m] within which a second contact confirms the first
FARTHEST: Final = 500e-6  # [m] that an approach from far goes down before the surface is called lost
_SHARE: Final = 0.9  # of what a fall can reach, that the coarse stage may go down at most


class Engaging:
    """Fall; where nothing is met, go down by `step` [m] with the pipette withdrawn, and fall again.

    A step is never longer than what the fall before it has found free. Two contacts at the same height end it.
    """

    def __init__(self, bench: ProbeBench, path: str, words: HopWords, step: float) -> None:
        self._bench = bench
        self._path = path
        low = bench.rig.scanner.z_range[0]
        self._reach = min(bench.approach, _SHARE * abs(low))
        self._step = min(step, _SHARE * self._reach)
        self._from: float | None = None
        self._met: float | None = None
        self.words: HopWords | None = words
        self.done = 0
        self.over = False

    def enter(self) -> None:
        """From where the pipette is."""
        self._bench.begin_segment()
        self._met = None

    def leave(self) -> None:
        """Nothing to put back."""

    def pass_time(self, until_ns: int) -> None:
        """Stay at the top, sampling."""
        self._bench.dwell(self._path, until_ns)

    def turn(self, until_ns: int) -> None:
        """One fall, whatever time it takes; then down, or done."""
        bench = self._bench
        if bench.travels(until_ns):
            return
        assert self.words is not None
        coarse = bench.rig.coarse_stage.position()
        self._from = coarse if self._from is None else self._from
        points = at_one_point((0.0, 0.0), None).some(0, 1)
        plan = replace(bench.plan(self._path, points, self.words, 2**62), approach=self._reach)
        (hop,) = bench.run(plan, misses_matter=False)
        if hop["outcome"] == Outcome.CONTACT:
            height = coarse + float(hop["z_stop"])
            if self._met is not None and abs(height - self._met) < _SAME:
                self._engaged(height)
            self._met = height
        elif hop["outcome"] == Outcome.NO_CONTACT:
            self._met = None
            if self._from - coarse + self._step > FARTHEST:
                raise LimitCrossed(
                    Problem(
                        "surface",
                        f"not met {(self._from - coarse) * 1e6:.4g} µm below where the pipette began",
                        f"an approach goes down {FARTHEST * 1e6:g} µm at most",
                        "bring the pipette nearer by hand",
                    )
                )
            bench.arrives_ns = bench.rig.coarse_stage.move_to(coarse - self._step)
            bench.begin_segment()

    def _engaged(self, height: float) -> None:
        bench = self._bench
        bench.lift_to(bench.rig.hop_controller.start_height)
        below, (low, high) = -bench.rig.hop_controller.start_height, bench.rig.scanner.z_range
        data = {"message": "engaged", "surface_m": height, "z_m": below, "z_range_m": [low, high]}
        bench.fact("note", self._path, data)
        self.over = True


class Imaging(Hopping):
    """One pass over a rectangle whose heights [m] are kept as an image (rows upwards)."""

    def __init__(self, bench: ProbeBench, path: str, pattern: Pattern, words: HopWords) -> None:
        super().__init__(bench, path, pattern, words)
        points = pattern.points
        self.image: Image = np.full((int(points.line.max()) + 1, int(points.pixel.max()) + 1), np.nan)

    def keep(self, hops: NDArray[Any]) -> None:
        """Heights of the contacts."""
        met = hops[hops["outcome"] == Outcome.CONTACT]
        self.image[met["line"], met["pixel"]] = met["z_stop"] + self._bench.rig.coarse_stage.position()

    def leave(self) -> None:
        """What the image says is a fact once it is whole."""
        if self.over:
            self.conclude()

    def conclude(self) -> None:
        """Make something of the image."""


class TiltSurvey(Imaging):
    """A plane through the heights of a grid: z = z0 + sx (x - xc) + sy (y - yc)."""

    def __init__(
        self,
        bench: ProbeBench,
        path: str,
        words: HopWords,
        centre: tuple[float, float],
        size: tuple[float, float],
        points: int,
    ) -> None:
        super().__init__(bench, path, over_a_rectangle(centre, size, (points, points)), words)
        self._size = size

    def conclude(self) -> None:
        """Least squares; the residual says how much of the height is not tilt."""
        rows, columns = self.image.shape
        y, x = np.meshgrid(
            np.linspace(-0.5, 0.5, rows) * self._size[1], np.linspace(-0.5, 0.5, columns) * self._size[0], indexing="ij"
        )
        good = np.isfinite(self.image)
        if np.count_nonzero(good) < 3:
            self._bench.fact("note", self._path, {"message": "no tilt: fewer than three contacts"})
            return
        design = np.column_stack([np.ones(int(good.sum())), x[good], y[good]])
        plane, *_ = np.linalg.lstsq(design, self.image[good], rcond=None)
        left = self.image[good] - design @ plane
        data = {
            "message": "tilt",
            "slope_x": float(plane[1]),
            "slope_y": float(plane[2]),
            "z0_m": float(plane[0]),
            "rms_m": float(np.sqrt(np.mean(left**2))),
            "n": int(good.sum()),
        }
        self._bench.fact("note", self._path, data)


class LandmarkImage(Imaging):
    """An image under a name."""

    def __init__(self, bench: ProbeBench, path: str, pattern: Pattern, words: HopWords, name: str) -> None:
        super().__init__(bench, path, pattern, words)
        self._name = name

    def conclude(self) -> None:
        """The bench remembers it."""
        self._bench.landmarks[self._name] = self.image
        self._bench.fact("note", self._path, {"message": "landmark", "name": self._name})


class Returning(Imaging):
    """The landmark again; x and y of every later hop move with it. `pixel` [m] along x and y."""

    def __init__(
        self,
        bench: ProbeBench,
        path: str,
        pattern: Pattern,
        words: HopWords,
        name: str,
        pixel: tuple[float, float],
        register: Registration,
    ) -> None:
        super().__init__(bench, path, pattern, words)
        self._name = name
        self._pixel = pixel
        self._register = register

    def conclude(self) -> None:
        """By how much the specimen lies elsewhere under the scanner."""
        first = self._bench.landmarks.get(self._name)
        if first is None:  # a run resumed after its landmark: the image is in the run before
            self._bench.fact("note", self._path, {"message": "no landmark to return to", "name": self._name})
            return
        rows, columns = self._register(first, self.image)
        shift = (columns * self._pixel[0], rows * self._pixel[1])
        x, y = self._bench.offset
        self._bench.offset = (x + shift[0], y + shift[1])
        data = {"message": "returned", "name": self._name, "shift_m": list(shift), "offset_m": list(self._bench.offset)}
        self._bench.fact("note", self._path, data)


class TipExchange:
    """Up, and a fact: what is measured before and after is not to be taken for one."""

    def __init__(self, bench: ProbeBench, path: str, note: str) -> None:
        self._bench = bench
        self._path = path
        self._note = note
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Once it has been said."""
        return self.done > 0

    def enter(self) -> None:
        """Up."""
        self._bench.rig.hop_controller.safe()

    def leave(self) -> None:
        """Nothing to put back: the next step approaches anew."""

    def pass_time(self, until_ns: int) -> None:
        """Stand."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:  # noqa: ARG002 - takes no time
        """Say it; what was usual of the old tip is not of the new one."""
        self._bench.fact("tip_exchanged", self._path, {"note": self._note})
        self._bench.limits.forget_tip()
        self.done = 1
