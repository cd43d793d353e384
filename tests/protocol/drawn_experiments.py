"""Hypothesis strategies: any experiment that the vocabulary allows, built as Python objects."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from opsicm.protocol.cell_program import CellStep, ConstantCurrent, Hold, OpenCircuit, Rest, Sweep, Until
from opsicm.protocol.envelope import Envelope
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.pipette import Pipette
from opsicm.protocol.probe_program import Hop, Line, Park, ProbeStep
from opsicm.protocol.record_policy import Record
from opsicm.protocol.specimen import Electrolyte, Specimen
from opsicm.protocol.twin_settings import Terms, Twin

# No surrogates: they are no characters. No control characters but these: a title may hold them, in quotes.
TITLES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40) | st.sampled_from(
    [
        "off",
        "1e-3",
        "012",
        "0x1f",
        "null",
        "~",
        "cell[0]",
        "- a: b",
        "# no comment",
        "1:30",
        ".5",
        "+.inf",
        "12e03",
        " ",
    ]
)
POTENTIALS = st.floats(-1, 4, allow_nan=False)
SECONDS = st.floats(1e-3, 1e4)
AMPERES = st.floats(0.001, 10) | st.floats(-10, -0.001)
PERCENT = st.floats(0, 99)


def _sweeps() -> st.SearchStrategy[Sweep]:
    ends = st.tuples(POTENTIALS, POTENTIALS).filter(lambda pair: pair[0] != pair[1])
    return st.builds(
        lambda pair, rate, cycles, ir: Sweep(
            from_V=pair[0], to_V=pair[1], rate_mV_s=rate, cycles=cycles, ir_compensation_pct=ir
        ),
        ends,
        st.floats(1, 1000),
        st.integers(1, 5),
        PERCENT,
    )


def _constant_currents() -> st.SearchStrategy[ConstantCurrent]:
    untils = st.builds(
        Until,
        potential_V=st.none() | POTENTIALS,
        for_s=SECONDS,
        charge_mAh=st.none() | st.floats(1e-3, 10),
    )
    currents = st.tuples(st.sampled_from(["current_mA", "current_mA_cm2", "c_rate"]), AMPERES)
    return st.builds(lambda current, until: ConstantCurrent(until=until, **dict([current])), currents, untils)


CELL_PROGRAMS: st.SearchStrategy[list[CellStep]] = st.lists(
    st.one_of(
        _sweeps(),
        st.builds(Hold, potential_V=POTENTIALS, for_s=SECONDS, ir_compensation_pct=PERCENT),
        _constant_currents(),
        st.builds(OpenCircuit, for_s=SECONDS),
        st.builds(Rest, for_s=SECONDS),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def _probe_steps(draw: st.DrawFn, during: str | None) -> ProbeStep:
    bound: dict[str, Any] = {"for_s": draw(SECONDS)} if during is None else {"during": during}
    point = st.tuples(st.floats(-100, 0), st.floats(-100, 100))
    hopping: dict[str, Any] = {
        "amplitude_nm": draw(st.floats(1, 5000)),
        "fall_nm_per_ms": draw(st.floats(0.1, 1000)),
        "setpoint_pct": draw(st.floats(0.01, 50)),
    }
    match draw(st.sampled_from(["park", "hop", "line"])):
        case "park":
            return Park(height_um=draw(st.floats(0.1, 3000)), **bound)
        case "hop":
            counted = bound if during is not None else {"hops": draw(st.integers(1, 1000))}
            return Hop(at_um=draw(point), **hopping, **counted)
        case _:
            return Line(from_um=draw(point), to_um=(1.0, 1.0), pixels=draw(st.integers(2, 512)), **hopping, **bound)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """One valid experiment."""
    cell = draw(CELL_PROGRAMS)
    accompanied = sorted(draw(st.sets(st.integers(0, len(cell) - 1))))
    probe = [draw(_probe_steps(f"cell[{index}]")) for index in accompanied]
    probe += draw(st.lists(_probe_steps(None), max_size=2))
    policies = st.sampled_from(["full", "decimated", "off"])
    return Experiment(
        opsicm=1,
        title=draw(TITLES),
        rig=draw(st.sampled_from(["twin/graphite", "rigs/ours.yaml"])),
        pipette=Pipette(bias_V=draw(st.floats(-2, 2)), radius_nm=draw(st.floats(10, 500))),
        specimen=Specimen(loading_mg_cm2=draw(st.floats(0.1, 20))),
        electrolyte=Electrolyte(salt_M=draw(st.floats(0.01, 3))),
        cell=tuple(cell),
        probe=tuple(probe),
        envelope=Envelope(cell_V=(-1.5, 4.5), cell_mA=1000, run_h=10_000),
        record=Record(z=draw(policies), x=draw(policies)),
        twin=Twin(seed=draw(st.integers(0, 2**40)), terms=Terms(salt=draw(st.booleans()))),
    )
