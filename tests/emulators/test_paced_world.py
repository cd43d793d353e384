"""The world behind emulated instruments outlives what is asked of it, and says so when it does not."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from opsicm.emulators.paced_world import _DWELL
from tests.fixtures.one_instrument import world_behind


def _fail(*_: Any) -> None:
    raise OSError("no wire")


def test_what_a_question_raises_is_its_askers_and_the_world_goes_on() -> None:
    with world_behind() as world:
        with pytest.raises(OSError, match="no wire"):
            world.ask(_fail)
        assert world.ask(lambda rig: rig.hop_controller.start_height) > 0.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_world_that_has_ended_says_so_at_once() -> None:
    asked: Future[Any] = Future()
    with world_behind() as world:

        def fail_while_another_asks(*_: Any) -> None:
            world._jobs.put((lambda rig: rig, asked))
            raise OSError("no wire")

        world._sampling = (_DWELL, fail_while_another_asks)
        with pytest.raises(OSError, match="no wire"):
            asked.result(3.0)
        with pytest.raises(RuntimeError, match=r"the emulated world has ended \(OSError: no wire\)"):
            world.ask(lambda rig: rig)
