"""A failure on a busy machine is a skip with its reason, for a promise about real time only; any other is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import busy_machine

pytest_plugins = ["pytester"]
PROMISES = """
import pytest

@pytest.mark.real_time
def test_promise():
    assert 1 == 2, "not within 2 ms"

def test_value():
    assert 3 == 4, "a wrong value"
"""


COUNTED = """
from opsicm.instruments.clock import pause, stopwatch
from tests.fixtures.busy_machine import ran_and_waited

for running in (True, False):
    before, for_a_while = sum(ran_and_waited()), stopwatch()
    while for_a_while() < 0.1:
        if not running:
            pause(0.02)
    print(sum(ran_and_waited()) - before)
"""


FIXTURE = """
import pytest

pytestmark = pytest.mark.real_time

@pytest.fixture(scope="module")
def instrument():
    raise OSError("no answer within half a second")

def test_one(instrument):
    pass

def test_another(instrument):
    pass
"""


@pytest.mark.parametrize(("waited", "skipped"), [(0.9, 1), (0.1, 0)])
def test_a_promise_is_skipped_where_the_machine_was_busy_and_a_value_never(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, waited: float, skipped: int
) -> None:
    counts = iter([(0, 0), (round(1e9 * (1 - waited)), round(1e9 * waited))] * 9)
    monkeypatch.setattr(busy_machine, "ran_and_waited", lambda: next(counts))
    pytester.makepyfile(PROMISES)
    ended = pytester.inline_run("-p", "tests.fixtures.busy_machine", "-p", "no:cacheprovider")
    passed, skips, failed = ended.listoutcomes()
    assert (len(passed), len(skips), len(failed)) == (0, skipped, 2 - skipped)
    for report in skips:
        assert "threads waited 90% of the time they were ready" in str(report.longrepr)
        assert "not within 2 ms" in str(report.longrepr)


def test_what_a_fixture_has_raised_on_a_busy_machine_is_excused_in_each_of_its_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([(0, 0), (1, 9), (0, 0), (9, 1)])  # busy in the first test, and no more in the second
    monkeypatch.setattr(busy_machine, "ran_and_waited", lambda: next(counts))
    pytester.makepyfile(FIXTURE)
    ended = pytester.inline_run("-p", "tests.fixtures.busy_machine", "-p", "no:cacheprovider")
    passed, skips, failed = ended.listoutcomes()
    assert (len(passed), len(skips), len(failed)) == (0, 2, 0)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not count it")
def test_a_thread_that_runs_is_counted_and_one_that_sleeps_is_not() -> None:
    """In a process of its own: threads that other tests have left behind would be counted too."""
    told = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True).stdout.split()
    ran, slept = map(int, told)
    assert ran > 0.08e9  # [ns] on or waiting for a processor, of 0.1 s
    assert slept < 0.06e9


def test_the_share_that_was_waited() -> None:
    assert busy_machine.share_waited((0, 0), (300, 100)) == 0.25
    assert busy_machine.share_waited((5, 5), (5, 5)) == 0.0
    assert busy_machine.share_waited((9, 9), (0, 0)) == 0.0
