"""The walk of `opsicm rig check`: first what only reads, role by role; then, when the operator agrees, what moves."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from opsicm.cli.emulated_rig import load_named_rig
from opsicm.cli.rig_bench import Bench, bench_of, connect, drivers_of, file_problems, let_the_twin_follow
from opsicm.cli.rig_findings import NOT_READY, RIG, Finding, exit_code, lines_of, of_error, table_of
from opsicm.cli.rig_readings import command_range, experiment_on_it, identity, latency, noise, settings
from opsicm.cli.rig_trials import Sight, Trial, trial_names, trials, untried_for_want_of_a_role
from opsicm.cli.rigs import data_source
from opsicm.cli.terminal import err, out, print_json
from opsicm.cli.wiring import is_instrument
from opsicm.core.errors import BadInput, LimitCrossed, OpsicmError, Problem
from opsicm.experiment.file import LoadedExperiment, read_experiment
from opsicm.experiment.rig_file import LoadedRig, RoleName
from opsicm.instruments.registry import ROLES

Ask = Callable[[str], bool | None]
"""Asks the operator: yes, no, or None where nobody can answer."""
_READINGS: Final = (identity, settings, latency, noise, command_range)


def step_names() -> list[str]:
    """The steps of a check in order, as its findings name them; the file and the experiment apart."""
    return ["drivers", "connection", *(step.__name__.replace("_", " ") for step in _READINGS), *trial_names()]


class Walk:
    """The findings of a rig, in order, and what must be made safe when they are interrupted.

    `ask` asks whether something may be done, `saw` what somebody has seen of it: that no option can answer beforehand.
    """

    def __init__(
        self, loaded: LoadedRig, experiment: LoadedExperiment | None, roles: Sequence[RoleName], ask: Ask, saw: Ask
    ) -> None:
        self._loaded, self._experiment, self._roles, self._ask, self._saw = loaded, experiment, tuple(roles), ask, saw
        self._bench: Bench | None = None

    def findings(self, open_things: ExitStack) -> Iterator[Finding]:
        """Every finding; a fault is the last one."""
        yield from self._of_the_file()
        usable = []
        for role in self._roles:
            found = list(drivers_of(self._loaded, role))
            yield from found
            if not any(each.outcome in NOT_READY for each in found):
                usable.append(role)
        try:
            self._bench = bench = bench_of(self._loaded, self._experiment, tuple(usable), open_things)
        except BadInput as error:
            yield from list(file_problems(self._loaded, self._experiment)) or of_error("file", RIG, error)
            return
        for role in bench.roles:
            yield from _guarded(connect, "connection", bench, role)
        let_the_twin_follow(bench)
        for step in _READINGS:
            for role in tuple(bench.devices):
                yield from _guarded(step, step.__name__.replace("_", " "), bench, role)
        yield from experiment_on_it(bench)
        yield from untried_for_want_of_a_role(bench)
        wired, untrusted = True, set[RoleName]()
        for trial in trials(bench):
            if not wired:
                yield Finding(
                    trial.name,
                    trial.role,
                    "not tried",
                    trial.name,
                    "mend the wiring first: nothing moves and no cell is switched",
                )
                continue
            if bad := untrusted & set(trial.needs):
                why = f"mend {' and '.join(sorted(bad))} first"
                yield Finding(trial.name, trial.role, "not tried", trial.name, why)
                continue
            found = list(self._tried(trial, bench))
            yield from found
            if any(each.outcome == "fault" for each in found):
                return
            failed = any(each.outcome in NOT_READY for each in found)
            wired = wired and (trial.moves or not failed)
            if trial.moves and failed:
                untrusted.add(trial.role)  # whose way is not known must not move for another's trial

    def make_safe(self) -> str:
        """Make safe what a trial has moved or switched; says what that was."""
        if self._bench is None or not self._bench.touched:
            return "nothing was moved or switched"
        safe, not_safe = self._bench.make_safe()
        bad = "".join(f"; {each.role} {each.text}" for each in not_safe)
        return f"safe: {', '.join(safe)}{bad}"

    def _of_the_file(self) -> Iterator[Finding]:
        rig = self._loaded.rig
        source = data_source(self._loaded)
        text = f"{rig.title}: {source}; grounding {rig.wiring.grounding}, clock of {rig.clock.master}"
        yield Finding("file", RIG, "ok", text)
        if rig.verified:
            yield Finding("file", RIG, "ok", f"verified, says the file: {rig.verified}".replace(": True", ""))

    def _tried(self, trial: Trial, bench: Bench) -> Iterator[Finding]:
        """A trial's findings if the operator agrees; a fault in it makes safe whatever was touched."""
        try:
            if why := trial.needless(bench):
                yield Finding(trial.name, trial.role, "not tried", trial.name, why)
                return
            answer = self._ask(trial.question(bench))
            if not answer:
                why = "answered no" if answer is False else "check in a terminal, or with --yes"
                yield Finding(trial.name, trial.role, "not tried", trial.name, why)
                return
            found = list(trial.run(bench))
            yield from found
            if trial.sight is not None and all(each.outcome == "ok" for each in found):
                yield from self._seen(trial, trial.sight)
        except LimitCrossed as error:
            _, not_safe = bench.make_safe()  # before it is said: nobody may ask for more after a fault
            yield from [*of_error(trial.name, trial.role, error, "fault"), *not_safe]
        except OpsicmError as error:
            yield from of_error(trial.name, trial.role, error)

    def _seen(self, trial: Trial, sight: Sight) -> Iterator[Finding]:
        """What the operator saw of an instrument; of a twin there is nothing to be seen."""
        if not is_instrument(self._loaded, trial.role):
            return
        match self._saw(sight.question):
            case True:
                yield Finding(trial.name, trial.role, "ok", "somebody saw it go the right way")
            case False:
                yield Finding(trial.name, trial.role, "wrong", "it went the other way, says who saw it", sight.remedy)
            case None:
                remedy = "watch it, before anything is near: check in a terminal, without --yes"
                yield Finding(trial.name, trial.role, "remark", sight.unseen, remedy)


def _guarded(
    step: Callable[[Bench, RoleName], Iterator[Finding]], name: str, bench: Bench, role: RoleName
) -> Iterator[Finding]:
    """The findings of a step; a role that fails in it is missing something, and the others go on."""
    try:
        yield from step(bench, role)
    except OpsicmError as error:
        yield from of_error(name, role, error)
    except (OSError, ImportError) as error:
        text = f"{type(error).__name__}: {error}"
        yield Finding(name, role, "missing", text, "look at its address, its cable and its client package")


def check_rig(rig: str, experiment: Path | None, roles: Sequence[str], yes: bool, as_json: bool) -> int:
    """Check a rig, printing each finding as it is made, and at the end the table; returns the exit code."""
    chosen = _chosen(roles)
    loaded = load_named_rig(rig)
    given = None if experiment is None else read_experiment(experiment)
    found: list[Finding] = []
    with ExitStack() as open_things, _interruptible() as operator:
        walk = Walk(loaded, given, chosen, *((operator.always, _nobody) if yes else (operator.ask,) * 2))
        try:
            for finding in walk.findings(open_things):
                if not as_json:
                    _print(finding, found[-1].step if found else "")
                found.append(finding)
                operator.raise_if_interrupted()
        except KeyboardInterrupt:
            err.print(f"\ninterrupted; {walk.make_safe()}")
            return 130
    if as_json:
        print_json([finding.record() for finding in found])
    else:
        _print_table(found, chosen)
    return exit_code(found)


def _nobody(_question: str) -> None:
    """Saw nothing: --yes allows what is done, and looks at no instrument."""


def _chosen(roles: Sequence[str]) -> tuple[RoleName, ...]:
    for role in roles:
        if role not in ROLES:
            raise BadInput(Problem("--role", role, f"the roles are {', '.join(ROLES)}", "write one of these"))
    return tuple(role for role in ROLES if not roles or role in roles)


def _print(finding: Finding, last_step: str) -> None:
    if finding.step != last_step:
        out.print(finding.step)
    for line in lines_of(finding):
        out.print(line)


def _print_table(found: Sequence[Finding], chosen: Sequence[RoleName]) -> None:
    out.print("")
    for line in table_of(found, chosen):
        out.print(line)
    untried = len({each.step for each in found if each.outcome == "not tried"})
    code = exit_code(found)
    unsafe = any(each.step == "made safe" for each in found)
    fault = f"stopped by a fault: what was touched is {'NOT KNOWN TO BE SAFE' if unsafe else 'safe'}"
    verdict = {0: "ready", 2: "not ready", 3: fault}[code]
    if code == 0 and untried:
        verdict = "ready as far as it was tried"
    left = f"; {untried} trial{'s were' if untried > 1 else ' was'} not made" if untried else ""
    out.print(f"\n{verdict}{left}")


# -- The operator.


class _Operator:
    """Who answers questions, at the terminal, and may interrupt."""

    def __init__(self) -> None:
        self._waiting = self._interrupted = False

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Ends a question at once; between instruments' answers it waits for the one that is under way."""
        self._interrupted = True
        if self._waiting:
            raise KeyboardInterrupt

    def raise_if_interrupted(self) -> None:
        """`KeyboardInterrupt` where one came since."""
        if self._interrupted:
            raise KeyboardInterrupt

    def always(self, question: str) -> bool:
        """Yes, as --yes says."""
        err.print(f"{question}  yes (--yes)")
        return True

    def ask(self, question: str) -> bool | None:
        """The answer at the terminal; None where there is none."""
        if not sys.stdin.isatty():
            return None
        self.raise_if_interrupted()
        self._waiting = True
        try:
            err.print(f"{question}  [y/N] ", end="")
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        finally:
            self._waiting = False


@contextmanager
def _interruptible() -> Iterator[_Operator]:
    """An operator whose Ctrl-C, SIGTERM or closed terminal ends the check safely."""
    operator = _Operator()
    before = {number: signal.signal(number, operator.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield operator
    finally:
        for number, old in before.items():
            signal.signal(number, old)
