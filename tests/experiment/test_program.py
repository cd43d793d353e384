"""The walker of programs: every step with its place, in both forms of a step, repeats unrolled where they run."""

from __future__ import annotations

from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.program import executed_steps, top_level_steps, written_steps

TEXT = """\
opsicm: 1
title: rounds
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - rest: {for_s: 5}
  - repeat:
      times: 2
      steps:
        - rest: {for_s: 1}
        - repeat: {times: 3, steps: [{hold: {potential_V: 0.1, for_s: 2}}]}
probe:
  - repeat:
      times: 2
      steps:
        - park: {height_um: 10, for_s: 1}
        - repeat:
            times: 2
            steps: [{repeat: {times: 1, steps: [{zero: {for_s: 1}}, {exchange_tip: {note: new}}]}}]
  - park: {height_um: 20}
"""
EXPERIMENT = experiment_from_text(TEXT)
PATHS = ["probe[0].0", "probe[0].1.0.0", "probe[0].1.0.1", "probe[1]"]


def test_every_step_is_written_once_and_named_by_its_place() -> None:
    placed = list(written_steps("probe", EXPERIMENT.experiment.probe))
    assert [one.path for one in placed] == PATHS
    assert [one.number for one in placed] == [0, 0, 0, 1]
    assert [one.step.word for one in placed] == ["park", "zero", "exchange_tip", "park"]
    inner = ("probe", 0, "repeat", "steps", 1, "repeat", "steps", 0, "repeat", "steps", 0, "zero")
    assert placed[1].key_path == inner
    assert EXPERIMENT.document.line(inner) == 19


def test_the_form_of_the_file_is_walked_alike() -> None:
    for track, program in (("probe", EXPERIMENT.experiment.probe), ("cell", EXPERIMENT.experiment.cell)):
        steps = list(written_steps(track, program))  # type: ignore[call-overload]
        settings = list(written_steps(track, EXPERIMENT.document.data[track]))  # type: ignore[call-overload]
        assert [(one.number, one.path, one.key_path) for one in steps] == [
            (one.number, one.path, one.key_path) for one in settings
        ]
        assert [one.step.model_dump(exclude_unset=True) for one in steps] == [one.step for one in settings]


def test_steps_inside_repeats_are_executed_in_every_round() -> None:
    park, zero, tip, last = PATHS
    assert [one.path for one in executed_steps("probe", EXPERIMENT.experiment.probe)] == [
        *[park, zero, tip, zero, tip] * 2,
        last,
    ]
    assert [(one.number, one.path) for one in executed_steps("cell", EXPERIMENT.experiment.cell)] == [
        (0, "cell[0]"),
        *[(1, "cell[1].0"), *[(1, "cell[1].1.0")] * 3] * 2,
    ]


def test_what_is_no_step_is_passed_over_and_does_not_move_the_others() -> None:
    program = [None, {"park": None}, {"a": 1, "b": 2}, {"hop": {"hops": 3}}, {"repeat": {"steps": None}}]
    assert [(one.path, one.step) for one in written_steps("probe", program)] == [("probe[3]", {"hops": 3})]  # type: ignore[call-overload]
    assert [one.path for one in top_level_steps("probe", program)] == ["probe[3]", "probe[4]"]
