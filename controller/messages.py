"""The one schema of what goes out over MQTT and into the journal.

Imports core and msgspec only. `TOPICS` is the schema, the documents (`messages_doc.py`), what a dashboard subscribes
to and what the tests walk over; `payloads.py` makes these out of the core's values. Pressures are mmHg, rounded to 0.1;
times are seconds; `at_s` is the tick's clock, `at` the wall clock. Cuffs count from 1. A number that is not known, not
finite or out of its bounds goes out as null: never as an old one. No name, birth date or free text is in any of these;
a session carries a code.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypedDict

import msgspec

from .core.model import EventKind, Mode, Phase, Priority, value

SCHEMA: Final = 1
ROOT: Final = "manchet/v1"

Mmhg = Annotated[float, msgspec.Meta(ge=-1000.0, le=1000.0)]
Seconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Number = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Cuff = Annotated[int, msgspec.Meta(ge=1, le=2)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=400)]
Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Datum = Text | int | Number | bool | None


class Envelope(TypedDict):
    """What every payload begins with, as keyword arguments."""

    schema: int
    bench_id: str
    boot_id: str
    seq: int | None
    at: str
    at_s: float
    clock_synced: bool


class Payload(msgspec.Struct, kw_only=True):
    """The envelope. `seq` counts per topic and `boot_id` (events: per `journal_id`); the will has none."""

    schema: Annotated[int, msgspec.Meta(ge=1, le=1)]
    bench_id: Word
    boot_id: Word
    seq: Count | None
    at: Time
    at_s: Seconds
    clock_synced: bool


class Status(Payload, kw_only=True):
    """Whether this bench is there. `at_is` says what `at` is the time of: the will is written at its connection."""

    state: Literal["init", "ready", "disconnected", "lost"]
    at_is: Literal["now", "connection"]


class Versions(msgspec.Struct, kw_only=True):
    manchet: Word
    python: Word
    wire: Count


class SensorInfo(msgspec.Struct, kw_only=True):
    cuff: Cuff
    channel: Literal["A", "B"]
    name: Word
    low_mmhg: Mmhg
    high_mmhg: Mmhg
    calibrated_on: Word | None  # a date, null: never


class Info(Payload, kw_only=True):
    """What this bench is made of."""

    versions: Versions
    cuffs: Cuff
    sensors: tuple[SensorInfo, ...]
    guard: Word  # what kind of guard is behind the link, and its boot id
    config_sha256: Word


class CuffState(msgspec.Struct, kw_only=True):
    cuff: Cuff
    pressure_mmhg: Mmhg | None  # the higher of both sensors; null unless both are trusted, never an old number
    a_mmhg: Mmhg | None
    b_mmhg: Mmhg | None
    target_mmhg: Mmhg | None
    band_mmhg: Mmhg | None  # half width of the band around the target
    restricted_s: Seconds | None
    restricted_cap_s: Seconds | None
    limb: Literal["leg", "arm"] | None
    side: Literal["left", "right"] | None


class HighestAlarm(msgspec.Struct, kw_only=True):
    condition: Word
    priority: Priority


class State(Payload, kw_only=True):
    """Where the session is."""

    phase: Phase
    protocol: Word
    code: Word
    set: Count  # from 1; 0 outside
    sets: Count
    repetition: Count  # from 1; 0 outside
    repetitions: Count
    cue: Word
    waiting_for: Text  # what a person is asked to do; "" when nothing
    set_left_s: Seconds | None
    rest_left_s: Seconds | None  # in a pause: until it ends the session
    session_left_s: Seconds | None
    outcome: Literal["", "completed", "stopped", "tripped"]  # of the session that ended last
    highest_alarm: HighestAlarm | None
    cuffs: tuple[CuffState, ...]


class CuffPressure(msgspec.Struct, kw_only=True):
    cuff: Cuff
    a_mmhg: tuple[Mmhg | None, ...]
    b_mmhg: tuple[Mmhg | None, ...]
    target_mmhg: Mmhg | None


class Pressure(Payload, kw_only=True):
    """Both sensors, evenly sampled: value i was seen at `t0_s` + i x `dt_s`."""

    t0_s: Seconds
    dt_s: Seconds
    cuffs: tuple[CuffPressure, ...]


class Event(Payload, kw_only=True):
    """A past fact, as the journal stored it: these bytes are the journal's."""

    journal_id: Word
    kind: EventKind
    phase: Phase
    cuff: Cuff | None
    data: dict[Word, Datum]


class AlarmState(msgspec.Struct, kw_only=True):
    condition: Word
    priority: Priority
    latched: bool
    acknowledged: bool
    audio_paused_until_s: Seconds | None
    raised_at_s: Seconds
    text: Text
    value: Number | None
    unit: Word
    limit: Number | None
    cuff: Cuff | None  # null: the bench


class Alarms(Payload, kw_only=True):
    """Every alarm condition that stands, highest first."""

    alarms: tuple[AlarmState, ...]


class SetSummary(msgspec.Struct, kw_only=True):
    cuff: Cuff
    index: Count
    reps: Count
    start_s: Seconds
    end_s: Seconds
    mean_mmhg: Mmhg | None
    max_mmhg: Mmhg | None
    min_mmhg: Mmhg | None
    time_in_10pct: Fraction | None
    time_in_5pct: Fraction | None


class RestSummary(msgspec.Struct, kw_only=True):
    cuff: Cuff
    start_s: Seconds
    end_s: Seconds
    mode: Mode
    released_below_15_after_s: Seconds | None
    free_flow_s: Seconds
    time_in_5pct: Fraction | None  # where the pressure was held


class InflationSummary(msgspec.Struct, kw_only=True):
    cuff: Cuff
    start_s: Seconds
    to_target_s: Seconds | None
    overshoot_mmhg: Mmhg | None


class TripSummary(msgspec.Struct, kw_only=True):
    rule: Word
    cuff: Cuff | None
    at_s: Seconds
    vent_commanded_after_s: Seconds | None
    below_15_after_s: Seconds | None


class AlarmSummary(msgspec.Struct, kw_only=True):
    condition: Word
    priority: Priority
    raised_at_s: Seconds
    cleared_at_s: Seconds | None


class Session(Payload, kw_only=True):
    """A session as it was measured. Seconds count from the tick that accepted `start`; pressures are the sensors'."""

    outcome: Literal["completed", "stopped", "tripped"]
    duration_s: Seconds
    protocol: Word
    code: Word
    lop_mmhg: tuple[Mmhg | None, ...]  # by cuff, as prescribed
    target_mmhg: tuple[Mmhg | None, ...]
    version: Word
    sets: tuple[SetSummary, ...]
    rests: tuple[RestSummary, ...]
    inflations: tuple[InflationSummary, ...]
    trips: tuple[TripSummary, ...]
    alarms: tuple[AlarmSummary, ...]
    max_mmhg: Mmhg | None
    final_mmhg: Mmhg | None
    seconds_above_lop: Seconds
    restricted_s: tuple[Seconds, ...]  # by cuff


@value
class Topic:
    """One topic below `manchet/v1/<bench_id>/`."""

    name: str
    payload: type[Payload]
    qos: Literal[0, 1]
    retain: bool
    when: str


TOPICS: Final = (
    Topic("status", Status, 1, True, "on each connection, last; at the orderly end; the last will is `lost`"),
    Topic("info", Info, 1, True, "on each connection"),
    Topic(
        "state",
        State,
        1,
        True,
        "on a change of phase, set, repetition, target, trust in a reading or highest alarm; and once a second",
    ),
    Topic("pressure", Pressure, 0, False, "every 200 ms while a cuff is not empty, or not known to be"),
    Topic("event", Event, 1, False, "as it happens, once it is in the journal, one at a time"),
    Topic("alarms", Alarms, 1, True, "on a change"),
    Topic("session", Session, 1, True, "at the end of a session"),
)
TOPIC: Final = {topic.name: topic for topic in TOPICS}
TOPIC_OF: Final = {topic.payload: topic for topic in TOPICS}

_encoder: Final = msgspec.json.Encoder()
encode: Final[Callable[[Payload], bytes]] = _encoder.encode


def address(bench_id: str, name: str) -> str:
    """The whole MQTT topic of one of `TOPICS`."""
    return f"{ROOT}/{bench_id}/{name}"


def rfc3339(wall_s: float) -> str:
    """Unix time in seconds → RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class Origin:
    """Who speaks: makes envelopes and counts them per topic.

    Args:
        wall_s: Unix time in seconds; the only wall clock in what goes out.
        clock_synced: whether the system says that its wall clock is set.
    """

    def __init__(
        self, bench_id: str, boot_id: str, wall_s: Callable[[], float], clock_synced: Callable[[], bool]
    ) -> None:
        self.bench_id = bench_id
        self.boot_id = boot_id
        self.wall_s = wall_s
        self.clock_synced = clock_synced
        self._seq = dict.fromkeys(TOPIC, 0)

    def stamp(self, seq: int | None, wall_s: float, at_s: float) -> Envelope:
        """An envelope with a number and a time of the caller's."""
        return {
            "schema": SCHEMA,
            "bench_id": self.bench_id,
            "boot_id": self.boot_id,
            "seq": seq,
            "at": rfc3339(wall_s),
            "at_s": round(at_s, 3),
            "clock_synced": self.clock_synced(),
        }

    def envelope(self, topic: str, at_s: float) -> Envelope:
        """The next envelope of a topic."""
        self._seq[topic] += 1
        return self.stamp(self._seq[topic], self.wall_s(), at_s)
