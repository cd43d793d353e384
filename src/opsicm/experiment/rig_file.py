"""The rig file: which device plays which role, the meaning of its channels, and its limits.

A role with the driver `twin` is played by the digital twin of that instrument, in the simulated `world`. A rig may mix
twin and instruments, for instance while one of them is being set up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from opsicm.core.calibration import USUAL
from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import to_si
from opsicm.experiment.key_refusals import flag_meant, unknown_key
from opsicm.experiment.refusal import UNUSABLE, KeyPath, Refusal
from opsicm.experiment.setup import PipetteShape
from opsicm.experiment.step_model import FileModel, Flag, Number, Text, Whole
from opsicm.experiment.validation import validated
from opsicm.experiment.yaml_file import Document, read_yaml, yaml_document

PRESETS: Final = Path(__file__).parent.parent / "presets"
TWIN: Final = "twin"
RoleName = Literal["amplifier", "potentiostat", "scanner", "coarse_stage", "hop_controller"]
ChannelName = Literal["pipette_current", "z", "z_command", "pipette_bias", "cell_potential", "cell_current", "x", "y"]
_FINITE = 1.7e308
_TERMINAL_LIMIT: Final = re.compile(r"a[io][0-9]+_V")


def _unchanged(value: Any) -> Any:
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | str) or (isinstance(value, int | float) and abs(value) <= _FINITE):
        return value
    context = {"limit": "must be a number, a text, true or false", "remedy": "write one plain value"}
    raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)


Setting = Annotated[
    float | str | bool,  # an int stays an int
    PlainValidator(_scalar, json_schema_input_type=float | str | bool),
    PlainSerializer(_unchanged),
]
PlainSettings = dict[str, Setting]


def _limit(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    plain = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    if plain and all(abs(number) <= _FINITE for number in numbers):
        if not isinstance(value, list | tuple):
            return float(value)
        if len(numbers) == 2 and numbers[0] < numbers[1]:
            return (float(numbers[0]), float(numbers[1]))
    context = {"limit": "must be a number, or the lowest and the highest in brackets", "remedy": "write it as [-1, 1]"}
    raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)


Limit = Annotated[
    float | tuple[float, float],
    PlainValidator(_limit, json_schema_input_type=float | tuple[float, float]),
    PlainSerializer(_unchanged),
]


def _verified(value: Any) -> Any:
    meant = flag_meant(value)
    if isinstance(value, bool) or (isinstance(value, str) and value != "" and meant is None):
        return value
    remedy = "say who verified it and when, or write false"
    if isinstance(value, str) and meant is not None:  # `no` would be the name of who verified it
        remedy = "write verified: false" if not meant else "write verified: true, or say who verified it and when"
    context = {"limit": "must be true, false or a text", "remedy": remedy}
    raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)


Verified = Annotated[
    bool | str, PlainValidator(_verified, json_schema_input_type=bool | str), PlainSerializer(_unchanged)
]


class Role(FileModel):
    """One device: its driver, where it answers, and the driver's own settings."""

    driver: Annotated[Text, Field(examples=["twin"])]
    address: Text | None = None
    settings: PlainSettings = Field(default_factory=dict)


class Roles(FileModel):
    """The instruments of a rig."""

    amplifier: Role
    potentiostat: Role
    scanner: Role
    hop_controller: Role
    coarse_stage: Role | None = None


class SampleClock(FileModel):
    """The role that provides the sample clock, and its rate."""

    display_name: ClassVar[str] = "clock"
    master: Annotated[Text, Field(examples=["amplifier"])]
    rate_kS_s: Annotated[Number, Field(ge=1, le=10_000, examples=[100])]

    @property
    def rate(self) -> float:
        """Samples per second [Hz]."""
        return to_si("rate_kS_s", self.rate_kS_s)


class RigChannel(FileModel):
    """One sampled quantity: SI value = sign · gain · reading + offset."""

    name: ChannelName
    role: RoleName
    input: Text | None = None
    gain: Number = 1.0
    offset: Number = 0.0
    sign: Annotated[Whole, Field(ge=-1, le=1)] = 1

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A sign is one of two, and a gain of zero measures nothing."""
        if given.get("sign") == 0:
            yield Refusal(("sign",), 0, "must be 1 or -1", "write 1, or -1 where the wire inverts")
        if given.get("gain") == 0:
            yield Refusal(("gain",), 0, "must not be zero", "give the SI value of one unit of the reading")


class Wiring(FileModel):
    """How the grounds are connected, the kind of the electrodes, and the amplifier's bias input (0: none).

    Pipette electrode and reference are of one kind: `lithium`, `silver_chloride` with its own chloride, or an `anion`
    electrode.
    """

    grounding: Annotated[Text, Field(examples=["common"])]
    electrodes: Literal["lithium", "silver_chloride", "anion"] = "lithium"
    external_bias_mV_per_V: Annotated[Number, Field(ge=0, le=100_000)] = 0.0
    open_cell_grounded: Flag = True

    @property
    def external_bias(self) -> float:
        """Bias per voltage at the amplifier's external input [1]."""
        return to_si("external_bias_mV_per_V", self.external_bias_mV_per_V)


class CalibrationSettings(FileModel):
    """How well the instruments are calibrated, standard uncertainties; the defaults are what makers usually state."""

    display_name: ClassVar[str] = "calibration"
    z_pct: Annotated[Number, Field(ge=0, le=50)] = 100.0 * USUAL.z
    xy_pct: Annotated[Number, Field(ge=0, le=50)] = 100.0 * USUAL.xy
    current_pct: Annotated[Number, Field(ge=0, le=50)] = 100.0 * USUAL.current
    cell_current_pct: Annotated[Number, Field(ge=0, le=50)] = 100.0 * USUAL.cell_current
    potential_mV: Annotated[Number, Field(ge=0, le=1000)] = 1e3 * USUAL.potential


class WorldSettings(FileModel):
    """The simulated world of a twin: a parameter set, the specimen's surface, the noise, the pipette's tip, a seed."""

    display_name: ClassVar[str] = "world"
    parameters: Annotated[Text, Field(examples=["graphite-li-ec-dec"])]
    surface: Annotated[PlainSettings, Field(examples=[{"kind": "flat"}])]
    noise: PlainSettings = Field(default_factory=dict)
    tip: PlainSettings = Field(default_factory=dict)
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 1

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A surface has a kind."""
        surface = given.get("surface")
        if isinstance(surface, dict) and not isinstance(surface.get("kind"), str):
            yield Refusal(("surface", "kind"), "", "is missing and surface needs it", "add kind: flat")


class Emulation(FileModel):
    """What stands behind the wires of an emulated rig: a twin's rig, by preset or file, and an experiment's specimen.

    The drivers are the real ones and talk to their instruments' protocols; only `opsicm emulate` reads these keys, and
    a run's provenance says that its instruments were emulated.
    """

    display_name: ClassVar[str] = "emulation"
    rig: Annotated[Text, Field(examples=["twin/graphite"])]
    experiment: Text | None = None


class RigLimits(FileModel):
    """What the instruments of a rig may not exceed.

    A terminal of a data acquisition card is a key too, `ao0_V: [-5, 5]`; one number is that of either side.
    """

    model_config = ConfigDict(extra="allow", frozen=True, validate_default=True)
    __pydantic_extra__: dict[str, Limit] = Field(init=False)
    display_name: ClassVar[str] = "limits"
    pipette_overload_nA: Annotated[Number, Field(gt=0, le=1e6, examples=[9.5])] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Any other key is a slip of the pen, and would leave an instrument without the limit that was meant."""
        for key, value in given.items():
            if key in cls.model_fields or value is None:
                continue
            if not _TERMINAL_LIMIT.fullmatch(key):
                refusal = unknown_key(cls, (key,), value)
                lists_all = refusal.remedy.startswith("its keys")
                yield replace(refusal, remedy=f"{refusal.remedy}, and terminals as ao0_V") if lists_all else refusal
            elif value == 0:
                yield Refusal((key,), value, "leaves no voltage to the terminal", f"write both ends, as {key}: [-5, 5]")

    @property
    def overload(self) -> float:
        """Magnitude of the pipette current [A] that ends a hop as an overload; infinite where none is stated."""
        stated = self.pipette_overload_nA
        return math.inf if stated is None else to_si("pipette_overload_nA", stated)

    @property
    def terminals(self) -> dict[str, tuple[float, float]]:
        """(lowest, highest) [V] of each terminal with a limit, by its short name, `ao0`."""
        limits = {key.removesuffix("_V"): limit for key, limit in (self.__pydantic_extra__ or {}).items()}
        return {
            name: limit if isinstance(limit, tuple) else (-abs(limit), abs(limit)) for name, limit in limits.items()
        }


class RigFile(FileModel):
    """A rig: its instruments, their wiring and limits."""

    display_name: ClassVar[str] = "rig"
    opsicm_rig: Annotated[Whole, Field(ge=1, le=1, examples=[1])]
    title: Annotated[Text, Field(examples=["the glovebox rig"])]
    pipette: PipetteShape | None = None
    roles: Roles
    clock: SampleClock
    channels: tuple[RigChannel, ...] = ()
    wiring: Wiring
    limits: RigLimits = RigLimits()
    calibration: CalibrationSettings = CalibrationSettings()
    latency_us: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    verified: Verified = False
    world: WorldSettings | None = None
    emulation: Emulation | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A rig has a world if and only if a twin plays one of its roles; no channel or output is given twice, and a
        limited terminal is one that the file names.
        """
        roles = _mapping(given.get("roles"))
        master = _mapping(given.get("clock")).get("master")
        if isinstance(master, str) and master not in get_args(RoleName):
            limit = f"is no role; the roles are {', '.join(get_args(RoleName))}"
            yield Refusal(("clock", "master"), master, limit, "write that of the sample clock, usually hop_controller")
        yield from _outputs_given_twice(roles)
        yield from _limits_of_nothing(given)
        drivers = {name: driver for name, role in roles.items() if (driver := _mapping(role).get("driver"))}
        twins = [name for name, driver in drivers.items() if driver == TWIN]
        if twins and "world" not in given:
            yield Refusal(("world",), "", f"is missing and the twin of {twins[0]} needs it", "add world: {…}")
        if drivers and not twins and "world" in given:
            yield Refusal(("world",), "", "is that of a twin, and no role is played by one", "delete it")
        seen: set[str] = set()
        for index, channel in enumerate(given.get("channels") or ()):
            repeated = _mapping(channel).get("name")
            if repeated in seen:
                yield Refusal(
                    ("channels", index, "name"), repeated, "stands in the list already", "delete one of the two"
                )
            seen |= {repeated} if repeated else set()

    @property
    def latency(self) -> float:
        """Time from a sample to the controller's reaction to it [s]."""
        return to_si("latency_us", self.latency_us)


def _outputs_given_twice(roles: Mapping[str, Any]) -> Iterator[Refusal]:
    """Two quantities on one output of one card: each would move the other, as the bias the piezo."""
    seen: dict[tuple[str, str], str] = {}
    for name, role in roles.items():
        address = str(_mapping(role).get("address"))
        for key, value in _mapping(_mapping(role).get("settings")).items():
            if not (isinstance(value, str) and key.endswith(("_output", "_line"))):
                continue
            # `Dev1/ao0` and `ao0` are one terminal of the card at that address.
            terminal = (address, value.removeprefix(f"{address.rpartition('/')[2]}/"))
            if terminal in seen:
                limit = f"is that of {seen[terminal]} already: writing the one would move the other"
                yield Refusal(("roles", name, "settings", key), value, limit, "name the terminal that is wired to it")
            seen.setdefault(terminal, f"roles.{name}.settings.{key}")


def _limits_of_nothing(given: Mapping[str, Any]) -> Iterator[Refusal]:
    """Limits of terminals that no role and no channel names: the terminal that was meant would have none."""
    settings = [_mapping(_mapping(role).get("settings")) for role in _mapping(given.get("roles")).values()]
    texts = [value for each in settings for value in each.values() if isinstance(value, str)]
    texts += [str(_mapping(channel).get("input")) for channel in given.get("channels") or ()]
    named = {text.rpartition("/")[2] for text in texts}
    known = ", ".join(sorted(name for name in named if _TERMINAL_LIMIT.fullmatch(f"{name}_V")))
    for key, value in _mapping(given.get("limits")).items():
        if _TERMINAL_LIMIT.fullmatch(key) and value is not None and key.removesuffix("_V") not in named:
            limit = f"no role and no channel of this file names {key.removesuffix('_V')}"
            remedy = f"write one of {known}, or delete it" if known else "delete it"
            yield Refusal(("limits", key), value, limit, remedy)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class LoadedRig:
    """A rig and the file that it was read from."""

    rig: RigFile
    path: Path
    document: Document = field(repr=False)

    @property
    def text(self) -> str:
        """The file as it was written."""
        return self.document.text

    def role(self, name: RoleName) -> Role:
        """The entry of a role; a rig with a world may omit the coarse stage, which is then a twin."""
        role: Role | None = getattr(self.rig.roles, name)
        if role is not None:
            return role
        if self.rig.world is None:
            raise BadInput(self.problem(("roles", name), "", "is missing", f"add {name}: {{driver: …}}"))
        return Role(driver=TWIN)

    def problem(self, path: KeyPath, value: object, limit: str, remedy: str) -> Problem:
        """A problem with the key at `path`, with its line."""
        return self.document.problem(path, value, limit, remedy)


def read_rig(path: Path | str) -> LoadedRig:
    """Read a rig file; raises `BadInput` with every problem in it."""
    return _loaded(read_yaml(path))


def rig_from_text(text: str, name: str = "<text>") -> LoadedRig:
    """Read a rig from a text, as that in a run file."""
    return _loaded(yaml_document(text, name))


def _loaded(document: Document) -> LoadedRig:
    return LoadedRig(validated(document, RigFile), Path(document.name), document)


def rig_path(name_or_path: str, relative_to: Path | str = ".") -> Path:
    """The file of a rig: a preset by its name (`twin/graphite`), or a path seen from the folder `relative_to`."""
    return named_file(name_or_path, Path(relative_to), PRESETS, "rig")


def named_file(name_or_path: str, relative_to: Path, presets: Path, thing: str) -> Path:
    """A preset of the folder `presets` by its name, or a YAML file by its path."""
    if name_or_path.endswith((".yaml", ".yml")):
        return relative_to / Path(name_or_path).expanduser()
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    if name_or_path.replace("/", "-") in known:
        return presets / f"{name_or_path.replace('/', '-')}.yaml"
    names = ", ".join(name.replace("twin-", "twin/", 1) for name in known) or "none"
    limit = f"is no preset; presets are {names}"
    raise BadInput(Problem(thing, repr(name_or_path), limit, "write one of these, or the path of a .yaml file"))
