"""Steps that make a measurement trustworthy: engage, tilt survey, landmarks, a new tip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Outcome
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_steps import Engage, ExchangeTip, Landmark, Tilt
from opsicm.runner.hopping import Hopping
from opsicm.runner.patterns import Pattern, at_one_point, over_a_rectangle
from opsicm.runner.probe_context import ProbeContext

Image = NDArray[np.float64]
Registration = Callable[[Image, Image], tuple[float, float]]
"""(rows, columns) by which the second image's pattern lies beside the first's [px]."""

_SAME: Final = 0.5e-6  # [m] within which a second contact confirms the first
FARTHEST: Final = 500e-6  # [m] that an approach from far goes down before the surface is called lost
_SHARE: Final = 0.9  # of what an approach can reach, that the coarse stage may go down at most


class Engagement:
    """Approach; where nothing is met, go down by a step with the pipette withdrawn, and approach again.

    A step is never longer than what the approach before it has found free. Two contacts at the same height end it.
    """

    def __init__(self, context: ProbeContext, path: str, step: Engage) -> None:
        self._context = context
        self._path = path
        low = context.rig.scanner.z_range[0]
        self._reach = min(context.approach, _SHARE * abs(low))
        self._step = min(step.step, _SHARE * self._reach)
        self._began_at: float | None = None
        self._last_contact: float | None = None
        self.hop: HopParameters | None = step.hop_parameters(context.approach)
        self.done = 0
        self.finished = False

    def start(self) -> None:
        """From where the pipette is."""
        self._context.begin_segment()
        self._last_contact = None

    def stop(self) -> None:
        """Nothing to put back."""

    def wait(self, until_ns: int) -> None:
        """Stay at the top, sampling."""
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """One approach, whatever time it takes; then down, or done."""
        context = self._context
        if context.travels(until_ns):
            return
        assert self.hop is not None
        coarse = context.rig.coarse_stage.position()
        self._began_at = coarse if self._began_at is None else self._began_at
        points = at_one_point((0.0, 0.0), None).some(0, 1)
        plan = context.plan(self._path, points, replace(self.hop, approach=self._reach), 2**62)
        (record,) = context.run(plan, misses_matter=False)
        if record["outcome"] == Outcome.CONTACT:
            height = coarse + float(record["z_stop"])
            if self._last_contact is not None and abs(height - self._last_contact) < _SAME:
                self._engaged(height)
            self._last_contact = height
        elif record["outcome"] == Outcome.NO_CONTACT:
            self._last_contact = None
            if self._began_at - coarse + self._step > FARTHEST:
                raise LimitCrossed(
                    Problem(
                        "surface",
                        f"not met {(self._began_at - coarse) * 1e6:.4g} µm below where the pipette began",
                        f"an approach goes down {FARTHEST * 1e6:g} µm at most",
                        "bring the pipette nearer by hand",
                    )
                )
            context.arrives_ns = context.rig.coarse_stage.move_to(coarse - self._step)
            context.begin_segment()

    def _engaged(self, height: float) -> None:
        context = self._context
        start, (low, high) = context.rig.hop_controller.start_height, context.rig.scanner.z_range
        context.lift_to(start)
        data = {"message": "engaged", "surface_m": height, "z_m": -start, "z_range_m": [low, high]}
        context.fact("note", self._path, data)
        self.finished = True


class Imaging(Hopping):
    """One pass over a rectangle whose heights [m] are kept as an image (rows upwards)."""

    def __init__(self, context: ProbeContext, path: str, pattern: Pattern, hop: HopParameters) -> None:
        super().__init__(context, path, pattern, hop)
        points = pattern.points
        self.image: Image = np.full((int(points.line.max()) + 1, int(points.pixel.max()) + 1), np.nan)

    def keep(self, hops: NDArray[Any]) -> None:
        """Heights of the contacts."""
        contacts = hops[hops["outcome"] == Outcome.CONTACT]
        self.image[contacts["line"], contacts["pixel"]] = contacts["z_stop"] + self._context.rig.coarse_stage.position()

    def stop(self) -> None:
        """A whole image is evaluated."""
        if self.finished:
            self.conclude()

    def conclude(self) -> None:
        """Evaluate the image."""


class TiltSurvey(Imaging):
    """A plane through the heights of a grid: z = z0 + sx (x - xc) + sy (y - yc)."""

    def __init__(self, context: ProbeContext, path: str, step: Tilt) -> None:
        grid = over_a_rectangle(step.center, step.size, (step.points, step.points))
        super().__init__(context, path, grid, step.hop_parameters(context.approach))
        self._size = step.size

    def conclude(self) -> None:
        """Least squares; the residual says how much of the height is not tilt."""
        rows, columns = self.image.shape
        y, x = np.meshgrid(
            np.linspace(-0.5, 0.5, rows) * self._size[1], np.linspace(-0.5, 0.5, columns) * self._size[0], indexing="ij"
        )
        good = np.isfinite(self.image)
        if np.count_nonzero(good) < 3:
            self._context.fact("note", self._path, {"message": "no tilt: fewer than three contacts"})
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
        self._context.fact("note", self._path, data)


class LandmarkImage(Imaging):
    """An image under a name."""

    def __init__(self, context: ProbeContext, path: str, landmark: Landmark) -> None:
        pattern = over_a_rectangle(landmark.center, landmark.size, landmark.pixels)
        super().__init__(context, path, pattern, landmark.hop_parameters(context.approach))
        self._landmark = landmark

    def conclude(self) -> None:
        """Keep it for a return."""
        name = self._landmark.name
        self._context.landmarks[name] = self.image
        self._context.fact("note", self._path, {"message": "landmark", "name": name})


class ReturnToLandmark(LandmarkImage):
    """The landmark again; x and y of every later hop move with it."""

    def __init__(self, context: ProbeContext, path: str, landmark: Landmark, register: Registration) -> None:
        super().__init__(context, path, landmark)
        self._register = register

    def conclude(self) -> None:
        """By how much the specimen lies elsewhere under the scanner."""
        context, name = self._context, self._landmark.name
        first = context.landmarks.get(name)
        if first is None:  # a run resumed after its landmark: the image is in the run before
            context.fact("note", self._path, {"message": "no landmark to return to", "name": name})
            return
        rows, columns = self._register(first, self.image)
        width, height = (length / (n - 1) for length, n in zip(self._landmark.size, self._landmark.pixels, strict=True))
        shift = (columns * width, rows * height)
        x, y = context.offset
        context.offset = (x + shift[0], y + shift[1])
        data = {"message": "returned", "name": name, "shift_m": list(shift), "offset_m": list(context.offset)}
        context.fact("note", self._path, data)


class TipExchange:
    """Up, and a fact: what is measured before and after is not to be taken for one."""

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, path: str, step: ExchangeTip) -> None:
        self._context = context
        self._path = path
        self._note = step.note
        self.done = 0

    @property
    def finished(self) -> bool:
        """Whether it is recorded."""
        return self.done > 0

    def start(self) -> None:
        """Up."""
        self._context.rig.hop_controller.safe()

    def stop(self) -> None:
        """Nothing to put back: the next step approaches anew."""

    def wait(self, until_ns: int) -> None:
        """Stand."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:  # noqa: ARG002 - takes no time
        """Record it; limits learnt from the old tip are not those of the new one."""
        self._context.fact("tip_exchanged", self._path, {"note": self._note})
        self._context.limits.forget_tip()
        self.done = 1
