"""The declared list of optional terms: none is on with "none", one alone with its name, and all with "all"."""

from __future__ import annotations

from benchmarks.twin_terms import ALL, NONE, TERMS, switched
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set


def _on(name: str) -> set[str]:
    term = switched(name)
    world = {key for values in term.world.values() for key, value in values.items() if value}
    return world | {leaf for leaf, (value, _) in term.leaves.items() if value}


def test_each_term_is_switched_on_by_its_own_name_and_by_all() -> None:
    assert _on(NONE) == set()
    assert _on("flow") == {"zeta_mV"}
    assert _on("sizes") == {"particle_radius_spread"}
    own = [_on(name) for name in TERMS]
    assert all(own)
    assert _on(ALL) == set.union(*own)
    assert sum(len(each) for each in own) == len(_on(ALL))


def test_its_leaves_are_those_of_the_default_set() -> None:
    leaves = parameter_set(DEFAULT_SET).leaves
    for name, (value, unit) in switched(ALL).leaves.items():
        assert (leaves[name].value, leaves[name].unit) == (value, unit), name
