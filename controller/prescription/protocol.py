"""A protocol: what a clinic writes down once in TOML, checked when it loads, and turned into the core's `Timeline`.

Imports `core` and the TOML door only. Times are seconds, pressures percent of the limb occlusion pressure (LOP), loads
percent of the one-repetition maximum (1RM). Every complaint is a `BadInput`: one line that names file and key.
[F] read in the named source, [K] general knowledge, [D] derived, [J] this project's judgement.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from controller.core.limits import EXERCISE_CAP_MAX_S, EXERCISE_CAP_S, LIMB_CAP_S, REST_MAX_S, REST_MIN_S
from controller.core.model import Limb, Mode
from controller.tomlfile import MISSING, BadInput, load

from .timeline import planned_by_exercise, worst_on_limb

REPETITION_CAP: Final = 75  # 30-15-15-15 [F FitCuffs, Forge, Swain]; at most 60-75 an exercise [F occlusion article]
PERCENT_LOP_MIN: Final = 40.0  # 40-80 % [F Patterson 2019 as quoted in Rolnick 2024; VALD]; below it `lower` releases
PERCENT_LOP_MAX: Final = 80.0  # the same window
PERCENT_LOP_MAX_PASSIVE: Final = 90.0  # [J]; 70-100 % is called uncertain [K], full occlusion to be avoided [F VALD]
PERIOD_MIN_S: Final = 1.0  # [J] no cue can be followed faster; the sources give 2 s and more

Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z",
        extra={"must": "1 to 40 lower-case letters, digits and hyphens"},
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=400)]
PhaseSeconds = Annotated[float, Meta(ge=0.0, le=15.0)]
Percent = Annotated[float, Meta(ge=1.0, le=100.0)]


class TempoTable(Struct, frozen=True, forbid_unknown_fields=True):
    """How one repetition is paced."""

    concentric_s: Annotated[PhaseSeconds, Meta(description="lifting")]
    eccentric_s: Annotated[PhaseSeconds, Meta(description="lowering")]
    pause_s: Annotated[PhaseSeconds, Meta(description="held between the two")] = 0.0

    def period_s(self) -> float:
        """Length of one repetition."""
        return self.concentric_s + self.pause_s + self.eccentric_s


class Exercise(Struct, frozen=True, forbid_unknown_fields=True):
    """One exercise: its sets, by repetitions or by seconds, and the rests between them."""

    name: Annotated[str, Meta(min_length=1, max_length=60, description="what the patient does, as `leg press`")]
    repetitions: (
        Annotated[
            tuple[Annotated[int, Meta(ge=1, le=100)], ...],
            Meta(min_length=1, max_length=10, description="repetitions of each set; needs `tempo`"),
        ]
        | None
    ) = None
    durations_s: (
        Annotated[
            tuple[Annotated[float, Meta(ge=5.0, le=600.0)], ...],
            Meta(min_length=1, max_length=10, description="seconds of each set, in place of `repetitions`"),
        ]
        | None
    ) = None
    tempo: Annotated[TempoTable, Meta(description="how one repetition is paced")] | None = None
    rest_s: (
        Annotated[
            float,
            Meta(
                ge=1.0,
                le=600.0,
                description="between two sets, from the last repetition to the first of the next; 30 to 60 with a cuff",
            ),
        ]
        | None
    ) = None
    load_percent_1rm: (
        Annotated[float, Meta(ge=1.0, le=100.0, description="the load the clinician sets; for the record")] | None
    ) = None

    def sets_s(self) -> tuple[float, ...]:
        """Planned length of each set."""
        if self.durations_s is not None:
            return self.durations_s
        assert self.repetitions is not None
        assert self.tempo is not None
        return tuple(count * self.tempo.period_s() for count in self.repetitions)


class Passive(Struct, frozen=True, forbid_unknown_fields=True):
    """Bouts of pressure without exercise."""

    on_s: Annotated[float, Meta(ge=5.0, le=300.0, description="at target; each bout is an exercise of its own")]
    off_s: Annotated[float, Meta(ge=180.0, le=300.0, description="from empty to the start of the next inflation")]
    bouts: Annotated[int, Meta(ge=1, le=5, description="how often")]


class Frequency(Struct, frozen=True, forbid_unknown_fields=True):
    """How often a person may do this protocol. Checked against the sessions the journal knows of the same code, which
    is the person's. A session counts once its cuff was at its target; one that was over before does not."""

    weekly: Annotated[int, Meta(ge=1, le=14, description="sessions in seven days")]
    weekly_seasoned: (
        Annotated[int, Meta(ge=1, le=14, description="for seasoned people; from `weekly` up to it there is a warning")]
        | None
    ) = None
    daily: Annotated[int, Meta(ge=1, le=4, description="sessions in 24 hours")] | None = None
    between_hours: Annotated[float, Meta(ge=0.0, le=168.0, description="least time between two sessions")] = 0.0


class Programme(Struct, frozen=True, forbid_unknown_fields=True):
    """The plan over weeks that this protocol is the session of. The clinician confirms every session."""

    weeks: Annotated[int, Meta(ge=1, le=52, description="length of the programme")]
    sessions: Annotated[int, Meta(ge=1, le=364, description="sessions in it")]


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """Where each number comes from. One is asked for whatever the protocol states."""

    percent_lop: Annotated[Text, Meta(description="of the default and its window; asked for with a cuff")] | None = None
    sets: Annotated[Text, Meta(description="of repetitions or seconds; asked for with exercises")] | None = None
    tempo: Annotated[Text, Meta(description="asked for where an exercise has one")] | None = None
    rest_s: Annotated[Text, Meta(description="asked for where an exercise has rests")] | None = None
    load_percent_1rm: Annotated[Text, Meta(description="asked for where an exercise has one")] | None = None
    repetition_cap: Annotated[Text, Meta(description="asked for with `repetition_cap`")] | None = None
    reperfusion_s: Annotated[Text, Meta(description="asked for with `reperfusion_s`")] | None = None
    exercise_cap_s: Annotated[Text, Meta(description="asked for with a cap above 480 s")] | None = None
    passive: Annotated[Text, Meta(description="of the bouts; asked for in mode passive")] | None = None
    frequency: Annotated[Text, Meta(description="asked for with `frequency`")] | None = None
    programme: Annotated[Text, Meta(description="asked for with `programme`")] | None = None


class Protocol(Struct, frozen=True, forbid_unknown_fields=True):
    """One protocol file."""

    name: Annotated[Name, Meta(description="the file's name without `.toml`")]
    title: Annotated[Text, Meta(description="one line for people")]
    mode: Annotated[
        Mode,
        Meta(
            description="`intermittent`: released at every rest; `continuous`: held through rests; `resting`: inflated "
            "only in rests; `passive`: bouts without exercise; `none`: no cuff"
        ),
    ]
    sources: Annotated[Sources, Meta(description="where each number comes from")]
    limbs: Annotated[tuple[Limb, ...], Meta(min_length=1, max_length=2, description="limbs it may be used on")] = (
        Limb.LEG,
        Limb.ARM,
    )
    percent_lop: Annotated[Percent, Meta(description="target unless the clinician says otherwise")] | None = None
    percent_lop_min: Annotated[Percent, Meta(description="lowest the clinician may choose; 40 or more")] | None = None
    percent_lop_max: (
        Annotated[Percent, Meta(description="highest the clinician may choose; at most 80, passive 90")] | None
    ) = None
    exercises: Annotated[tuple[Exercise, ...], Meta(max_length=8, description="in order; not in mode passive")] = ()
    passive: Annotated[Passive, Meta(description="the bouts; in mode passive only")] | None = None
    reperfusion_s: (
        Annotated[
            float,
            Meta(
                ge=60.0,
                le=1800.0,
                description="cuff empty between two exercises, from empty to the start of inflation; from 180 s on it "
                "clears the limb's clock",
            ),
        ]
        | None
    ) = None
    repetition_cap: Annotated[int, Meta(ge=1, le=75, description="most repetitions of one exercise with a cuff")] = (
        REPETITION_CAP
    )
    exercise_cap_s: Annotated[
        float, Meta(ge=30.0, le=600.0, description="restricted time of one exercise; above 480 with its source")
    ] = EXERCISE_CAP_S
    frequency: Annotated[Frequency, Meta(description="how often")] | None = None
    programme: Annotated[Programme, Meta(description="the plan over weeks")] | None = None


def load_protocol(path: Path) -> Protocol:
    """A protocol file, checked. Raises BadInput."""
    protocol = load(path, Protocol)
    if protocol.name != path.stem:
        raise BadInput(path, "name", protocol.name, f'"{path.stem}", as the file is called')
    check(protocol, path)
    return protocol


def check(protocol: Protocol, source: str | Path) -> None:
    """Everything about a protocol that no single value can show. Raises BadInput."""
    _check_parts(protocol, source)
    for number, exercise in enumerate(protocol.exercises, start=1):
        _check_exercise(exercise, protocol, f"exercises[{number}]", source)
    _check_window(protocol, source)
    _check_sources(protocol, source)
    _check_restricted_time(protocol, source)


def _check_parts(protocol: Protocol, source: str | Path) -> None:
    mode = protocol.mode
    if mode is Mode.PASSIVE:
        if protocol.passive is None:
            raise BadInput(source, "passive", MISSING, 'given in mode "passive": a table of on_s, off_s and bouts')
        if protocol.exercises:
            raise BadInput(source, "exercises", _names(protocol), 'left out in mode "passive"')
    else:
        if protocol.passive is not None:
            raise BadInput(source, "passive", {"": ""}, f'left out in mode "{mode}"')
        if not protocol.exercises:
            raise BadInput(source, "exercises", MISSING, f'given in mode "{mode}": at least one [[exercises]]')
    if len(protocol.exercises) > 1 and protocol.reperfusion_s is None and mode is not Mode.NONE:
        raise BadInput(source, "reperfusion_s", MISSING, "given between two exercises: a number from 60 to 1800 s")
    if len(set(protocol.limbs)) != len(protocol.limbs):
        raise BadInput(source, "limbs", [str(limb) for limb in protocol.limbs], "a list without repeats")
    often = protocol.frequency
    if often is not None and often.weekly_seasoned is not None and often.weekly_seasoned < often.weekly:
        must = f"at least frequency.weekly ({often.weekly})"
        raise BadInput(source, "frequency.weekly_seasoned", often.weekly_seasoned, must)


def _names(protocol: Protocol) -> list[str]:
    return [exercise.name for exercise in protocol.exercises]


def _check_exercise(exercise: Exercise, protocol: Protocol, key: str, source: str | Path) -> None:
    cuff = protocol.mode is not Mode.NONE
    if (exercise.repetitions is None) == (exercise.durations_s is None):
        both = "one of the two" if exercise.repetitions is not None else "given: repetitions or durations_s of the sets"
        raise BadInput(source, f"{key}.repetitions", exercise.repetitions or MISSING, both)
    if exercise.repetitions is not None and exercise.tempo is None:
        raise BadInput(source, f"{key}.tempo", MISSING, "given where sets are counted in repetitions")
    if exercise.tempo is not None and exercise.tempo.period_s() < PERIOD_MIN_S:
        must = f"at least {PERIOD_MIN_S:g} s for concentric, pause and eccentric together"
        raise BadInput(source, f"{key}.tempo", f"{exercise.tempo.period_s():g} s", must)
    total = sum(exercise.repetitions or ())
    if cuff and total > protocol.repetition_cap:
        must = f"at most {protocol.repetition_cap} repetitions an exercise together, and they are {total}"
        raise BadInput(source, f"{key}.repetitions", exercise.repetitions, must)
    sets = len(exercise.repetitions or exercise.durations_s or ())
    if sets > 1 and exercise.rest_s is None:
        raise BadInput(source, f"{key}.rest_s", MISSING, "given between two sets: a number of seconds")
    if cuff and exercise.rest_s is not None and not REST_MIN_S <= exercise.rest_s <= REST_MAX_S:
        must = f"a number from {REST_MIN_S:g} to {REST_MAX_S:g} s between two sets with a cuff"
        raise BadInput(source, f"{key}.rest_s", exercise.rest_s, must)
    if protocol.mode is Mode.RESTING and sets < 2:
        key, value = (f"{key}.repetitions", exercise.repetitions or exercise.durations_s)
        raise BadInput(source, key, value, 'at least two sets in mode "resting", which inflates between them')


def _check_window(protocol: Protocol, source: str | Path) -> None:
    """The target and what the clinician may make of it: 40-80 % [F Patterson, VALD], passive up to 90 % [J]."""
    values = {
        "percent_lop": protocol.percent_lop,
        "percent_lop_min": protocol.percent_lop_min,
        "percent_lop_max": protocol.percent_lop_max,
    }
    if protocol.mode is Mode.NONE:
        for key, value in values.items():
            if value is not None:
                raise BadInput(source, key, value, 'left out in mode "none", which has no cuff')
        return
    highest = PERCENT_LOP_MAX_PASSIVE if protocol.mode is Mode.PASSIVE else PERCENT_LOP_MAX
    for key, value in values.items():
        must = f'a number from {PERCENT_LOP_MIN:g} to {highest:g} % of LOP in mode "{protocol.mode}"'
        if value is None:
            raise BadInput(source, key, MISSING, f"given: {must}")
        if not PERCENT_LOP_MIN <= value <= highest:
            raise BadInput(source, key, value, must)
    default, low, high = (value for value in values.values() if value is not None)
    if low > high:
        raise BadInput(source, "percent_lop_min", low, f"at most percent_lop_max ({high:g} %)")
    if not low <= default <= high:
        raise BadInput(source, "percent_lop", default, f"within its window, {low:g} to {high:g} % of LOP")


def _check_sources(protocol: Protocol, source: str | Path) -> None:
    exercises = protocol.exercises
    asked = {
        "percent_lop": protocol.percent_lop is not None,
        "sets": bool(exercises),
        "tempo": any(exercise.tempo is not None for exercise in exercises),
        "rest_s": any(exercise.rest_s is not None for exercise in exercises),
        "load_percent_1rm": any(exercise.load_percent_1rm is not None for exercise in exercises),
        "repetition_cap": protocol.repetition_cap != REPETITION_CAP,
        "reperfusion_s": protocol.reperfusion_s is not None,
        "exercise_cap_s": protocol.exercise_cap_s > EXERCISE_CAP_S,
        "passive": protocol.passive is not None,
        "frequency": protocol.frequency is not None,
        "programme": protocol.programme is not None,
    }
    for key, wanted in asked.items():
        text = getattr(protocol.sources, key)
        if wanted and (text is None or not text.strip()):
            why = "where exercise_cap_s is above 480 s" if key == "exercise_cap_s" else "for a number that is used here"
            raise BadInput(source, f"sources.{key}", MISSING if text is None else text, f"given {why}: its source")


def _check_restricted_time(protocol: Protocol, source: str | Path) -> None:
    """The planned restricted time of each exercise and of the limb, an inflation taken as 30 s, with the sum shown."""
    cap_s = min(protocol.exercise_cap_s, EXERCISE_CAP_MAX_S)
    planned = planned_by_exercise(protocol)
    what = "passive" if protocol.passive is not None else "exercises[{}]"
    for number, plan in enumerate(planned, start=1):
        if plan.total_s > cap_s:
            must = f"at most {cap_s:g} s of restricted time an exercise ({plan})"
            raise BadInput(source, f"{what.format(number)}.restricted_s", plan.total_s, must)
    for limb in protocol.limbs:
        worst_s, sum_text = worst_on_limb(protocol)
        if worst_s > LIMB_CAP_S[limb]:
            must = (
                f"at most {LIMB_CAP_S[limb]:g} s on a limb ({limb}) without 180 s of reperfusion ({sum_text}); "
                "lengthen reperfusion_s, shorten the exercises, or name other limbs"
            )
            raise BadInput(source, "restricted_s", worst_s, must)
