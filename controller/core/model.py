"""The words of the core: every value that enters, crosses or leaves a tick.

Imports the standard library only. Pressures are gauge pressures in mmHg, times are seconds of one monotonic clock
(`..._at_s`, `now_s`), durations are seconds (`..._s`), a pump's duty is 0..1. NaN means "not known": a comparison is
written so that NaN takes the vented side. Cuffs are counted from 0 inside, from 1 towards people (`cuff + 1`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from math import nan
from typing import Any, Final, TypeVar, dataclass_transform

T = TypeVar("T")
Scalar = str | int | float | bool | None


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A small slotted dataclass that the type checker treats as frozen (a really frozen one costs eight times more)."""
    return dataclass(slots=True)(cls)


def forker(cls: type[T]) -> Callable[[T], T]:
    """A shallow copy of a slotted state, made once a tick: five times quicker than `copy.copy`, which reduces."""
    lines = "".join(f"    new.{name} = old.{name}\n" for name in cls.__slots__)  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"cls": cls, "make": object.__new__}
    exec(f"def fork(old):\n    new = make(cls)\n{lines}    return new\n", scope)
    fork: Callable[[T], T] = scope["fork"]
    return fork


class Phase(StrEnum):
    """Where the session is. `phases.py` holds every way from one to another."""

    IDLE = "idle"  # vented, nothing prescribed
    READY = "ready"  # screened, prescribed, self-test passed, cuff empty
    INFLATING = "inflating"  # on the way to the target
    WORKING = "working"  # at target, exercising
    HOLDING = "holding"  # at target, not exercising
    RELEASING = "releasing"  # valves open, not yet measured empty
    RESTING = "resting"  # measured empty, not exercising
    MOVING = "moving"  # exercising with the cuff empty
    PAUSED = "paused"  # empty, waiting for a person
    STOPPING = "stopping"  # releasing for good; no way back to inflation
    FAULT = "fault"  # vented and latched until a person resets it
    TESTING = "testing"  # the bench proves itself, cuff by cuff, before a patient


# By their own names, for what runs every tick: `Phase.WORKING` takes 80 ns in Python 3.11, forty times a tick.
IDLE, READY, INFLATING, WORKING, HOLDING, RELEASING, RESTING, MOVING, PAUSED, STOPPING, FAULT, TESTING = Phase
PRESSURISED: Final = frozenset(
    {Phase.INFLATING, Phase.WORKING, Phase.HOLDING, Phase.RELEASING, Phase.STOPPING, Phase.TESTING}
)  # phases in which there may be pressure on a limb
AT_TARGET: Final = frozenset({Phase.WORKING, Phase.HOLDING})


class Limb(StrEnum):
    LEG = "leg"
    ARM = "arm"


class Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Mode(StrEnum):
    INTERMITTENT = "intermittent"  # released at every rest (the default)
    CONTINUOUS = "continuous"  # held through the rests, released after the exercise
    RESTING = "resting"  # inflated only in the rests
    PASSIVE = "passive"  # on and off, no exercise
    NONE = "none"  # no cuff: cues only


class StepKind(StrEnum):
    SET = "set"  # repetitions or seconds of exercise
    REST = "rest"  # between two sets of an exercise; from the last repetition to the first of the next set
    HOLD = "hold"  # the on-time of a passive protocol
    OFF = "off"  # the off-time of a passive protocol; from empty to the start of inflation
    REPERFUSION = "reperfusion"  # between two exercises; from empty to the start of inflation


@value
class Tempo:
    """How one repetition is paced. Seconds; the period is their sum and is above zero."""

    concentric_s: float
    pause_s: float
    eccentric_s: float

    @property
    def period_s(self) -> float:
        return self.concentric_s + self.pause_s + self.eccentric_s


@value
class Step:
    """One stretch of a timeline."""

    kind: StepKind
    inflated: bool  # whether the cuff is at target during it
    duration_s: float  # planned; for a set by repetitions it is repetitions x period
    exercise: int = 0  # from 0
    set_index: int = 0  # from 1 through the whole session; 0 where the step is not a set
    repetitions: int = 0  # 0: the set is by seconds
    tempo: Tempo | None = None


@value
class Timeline:
    """What a session will live through, in order. Checked by `prescription` before it gets here."""

    protocol: str
    mode: Mode
    steps: tuple[Step, ...]
    exercise_cap_s: float  # restricted time of one exercise, 8 min unless the protocol says up to 10 with its source


@value
class CuffPlan:
    """One cuff on one limb: what it is to be held at and what it must never pass."""

    limb: Limb
    side: Side
    lop_mmhg: float  # limb occlusion pressure, measured by a clinician
    percent_lop: float
    target_mmhg: float


@value
class Prescription:
    """A protocol joined to one limb. `code` is the person's in this clinic, never a name."""

    code: str
    by: str  # initials of the person who prescribed
    cuff: int
    plan: CuffPlan
    timeline: Timeline
    warnings: tuple[str, ...] = ()
    provenance: tuple[tuple[str, Scalar], ...] = ()  # of the LOP: method, posture, cuff width, when, by whom


@value
class Screening:
    """The outcome of the screening questions for one session code."""

    code: str
    by: str
    cleared: bool
    reasons: tuple[str, ...]  # why not, in words; empty when cleared


# --- into the tick ---------------------------------------------------------------------------------------------


@value
class Sample:
    """One conversion of sensor A, or the news that there was none (`fault` says why, the numbers are NaN and -1)."""

    at_s: float  # when the conversion was started
    pressure_mmhg: float
    counts: int  # what the device said, untouched; for finding a frozen one
    fault: str = ""


class GuardState(IntEnum):
    """The guard's own state, as its STATUS says it."""

    VENTED = 0  # disarmed
    ARMED = 1
    TRIPPED = 2  # vented and latched until reset


@value
class ChannelStatus:
    """What the guard says of one cuff: its own sensor B and the outputs as they really are."""

    b_mmhg: float  # NaN: no trustworthy reading
    pump_duty: float
    pump_enabled: bool
    vent_open: bool
    dump_open: bool


@value
class GuardStatus:
    """One STATUS frame, with the host time at which it was taken from the link."""

    at_s: float
    boot_id: int
    expected_boot_id: int  # the one of the last handshake
    guard_ms: int
    state: GuardState
    trip: str  # the guard's first trip reason, "" when none
    trip_cuff: int
    estop_ok: bool  # the loop is whole: neither pressed nor broken
    channels: tuple[ChannelStatus, ...]
    refused: int = 0  # what the guard has refused since its boot, modulo 2**16


class Verb(StrEnum):
    """What a person at the bench can say."""

    SCREEN = "screen"
    PRESCRIBE = "prescribe"
    START = "start"
    NEXT = "next"  # present, and begin now if the rest allows; goes on from a pause
    PRESENT = "present"
    STOP = "stop"
    PAUSE = "pause"
    LOWER = "lower"
    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"
    RESET = "reset"
    STATUS = "status"
    SELFTEST = "selftest"  # begin one; with an answer: which cuff filled


@value
class Command:
    """One thing a person at the bench said. Gets exactly one `Reply` in the tick that takes it."""

    id: int
    verb: Verb
    by: str = ""
    source: str = "socket"  # or "panel"
    prescription: Prescription | None = None
    screening: Screening | None = None
    condition: str = ""  # what to acknowledge; "" is everything
    cuff_off: bool = False  # with reset: the person confirms that the cuff is off the limb
    answer: str = ""  # with selftest: which cuff the person saw filling


@value
class Reply:
    """The answer to a command. `text` is a sentence; value, limit and unit are there where a limit refused it."""

    id: int
    ok: bool
    text: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""


@value
class Notice:
    """A condition found outside the core (journal, disk, broker, calibration), for the alarm list. See alarms.py."""

    condition: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    detail: str = ""


@value
class Inputs:
    """Everything one tick may look at besides its own state."""

    samples: tuple[tuple[Sample, ...], ...]  # by cuff: every sample of A since the last tick, oldest first
    statuses: tuple[GuardStatus, ...]  # every STATUS since the last tick, oldest first
    commands: tuple[Command, ...] = ()
    notices: tuple[Notice, ...] = ()  # the conditions that stand now; one that is no longer listed has cleared
    link_fault: str = ""  # why the link to the guard is down; "" while it stands


# --- through the tick ------------------------------------------------------------------------------------------


@value
class Seen:
    """One cuff as this tick sees it, after the plausibility gate."""

    a_mmhg: float  # the newest accepted reading of A, NaN when there is no fresh one (older than stale_sample)
    a_at_s: float  # when it was taken
    b_mmhg: float  # the newest reading of B, NaN when the guard has none or is silent
    b_at_s: float
    pressure_mmhg: float  # the higher of the two; NaN only when both are unknown
    certain: bool  # both are known
    empty: bool  # A and B below 15 mmHg for 0.5 s with the vent open: measured, never assumed


class AskKind(StrEnum):
    VENT = "vent"
    INFLATE = "inflate"
    HOLD = "hold"
    WORK = "work"


@value
class Ask:
    """What the session wants of one cuff this tick; the regulator turns it into a `CuffDemand`."""

    kind: AskKind
    target_mmhg: float = nan
    repetition: int = -1  # from 0 within the set while working; -1 otherwise
    repetition_s: float = 0.0  # seconds since this repetition began
    period_s: float = 0.0  # length of one repetition; 0 when the set has no tempo


VENT: Final = Ask(AskKind.VENT)


class Drive(StrEnum):
    """Which of the pump's two switches a demand is for. Each alone only in a self-test."""

    BOTH = "both"
    PWM_ALONE = "pwm_alone"
    ENABLE_ALONE = "enable_alone"


@value
class CuffDemand:
    """What the regulator would like of one cuff. Not an output: only `safety.supervise` makes those."""

    pump_duty: float
    vent_open: bool
    dump_open: bool
    drive: Drive = Drive.BOTH


@value
class Demand:
    cuffs: tuple[CuffDemand, ...]


DEMAND_VENT: Final = CuffDemand(0.0, True, True)


@value
class CuffWatch:
    """What the session tells the safety rules about one cuff in use."""

    limb: Limb
    lop_mmhg: float
    target_mmhg: float
    restricted_s: float  # the limb's clock
    limb_cap_s: float
    exercise_restricted_s: float  # since this exercise began
    exercise_cap_s: float


@value
class Watch:
    """What the session tells the safety rules in this tick."""

    phase: Phase
    phase_since_s: float  # when this phase began
    cuffs: tuple[CuffWatch | None, ...]  # None: this cuff is not in use (and must be vented)
    repetition: int = -1  # from 0 within the set while working; -1 otherwise
    last_cue_at_s: float = -1e9  # when the last repetition cue sounded
    release_due_at_s: float = nan  # since when the cuff should be emptying; NaN while it should not
    inflate_from_s: float = nan  # when this inflation began; NaN while not inflating
    unattended: bool = False  # the session waited its limit for a sign of the supervisor: end


@value
class CuffOutputs:
    """One cuff's outputs. A valve is closed only while it is energised: `vent_open` is what no power means."""

    pump_duty: float
    pump_enabled: bool
    vent_open: bool
    dump_open: bool


VENTED: Final = CuffOutputs(0.0, False, True, True)


class GuardOrder(StrEnum):
    """What to tell the guard besides the lease."""

    NONE = "none"
    ARM = "arm"
    DISARM = "disarm"
    TRIP = "trip"
    RESET = "reset"
    PROVE_REFUSAL = "prove_refusal"  # a lease that it must refuse


@value
class Arm:
    """What an ARM carries, by cuff; both stand until disarmed."""

    ceilings_mmhg: tuple[float, ...]  # 0 for a cuff that is not in use
    restricted_left_s: tuple[float, ...]


@value
class Outputs:
    """The last word of a tick."""

    cuffs: tuple[CuffOutputs, ...]
    order: GuardOrder = GuardOrder.NONE
    arm: Arm | None = None  # with order ARM
    cuff_off: bool = False  # with order RESET: a person vouches that the cuff is off the limb


@value
class Finding:
    """One rule that fired: a trip, an end or an alarm only. The text is for a person."""

    rule: str
    cuff: int  # from 0; -1 for the bench
    value: float
    limit: float
    unit: str
    text: str
    at_s: float


class Priority(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@value
class Alarm:
    """One standing alarm condition in the sense of IEC 60601-1-8."""

    condition: str
    priority: Priority
    latched: bool
    acknowledged: bool
    audio_paused_until_s: float  # 0: not paused
    raised_at_s: float
    text: str
    value: float | None
    limit: float | None
    unit: str
    cuff: int  # from 0; -1 for the bench


# --- out of the tick -------------------------------------------------------------------------------------------


class EventKind(StrEnum):
    """What can happen; the journal and MQTT use these words."""

    BOOT = "boot"
    PHASE = "phase"
    SCREENED = "screened"
    PRESCRIBED = "prescribed"
    STARTED = "started"
    SET_BEGAN = "set_began"
    REPETITION = "repetition"
    SET_ENDED = "set_ended"
    REST_STRETCHED = "rest_stretched"
    INFLATION = "inflation"
    RELEASED = "released"
    OPERATOR = "operator"
    TRIP = "trip"
    END = "end"
    ALARM_RAISED = "alarm_raised"
    ALARM_CLEARED = "alarm_cleared"
    ALARM_ACKNOWLEDGED = "alarm_acknowledged"
    LIMB_CLOCK = "limb_clock"
    SELFTEST_ROW = "selftest_row"
    SELFTEST_ENDED = "selftest_ended"
    SESSION_ENDED = "session_ended"


# After one of these a session counts towards its protocol's weekly limit: a cuff came to its target, or (where there is
# none) a set began. One that a trip or a stop ended before that has restricted nobody as prescribed.
COUNTS: Final = (EventKind.INFLATION, EventKind.SET_BEGAN)


@value
class Happened:
    """A past fact, for the journal and for MQTT. `data` is flat: names carry units."""

    kind: EventKind
    at_s: float
    phase: Phase
    cuff: int | None  # from 0; None for the bench
    data: dict[str, Scalar]


@value
class CuffSnapshot:
    a_mmhg: float  # NaN where untrusted
    b_mmhg: float
    target_mmhg: float  # NaN where there is none
    band_mmhg: float  # half width of the +-10 % band; NaN where there is no target
    lop_mmhg: float  # NaN where nothing is prescribed
    restricted_s: float
    restricted_cap_s: float
    pump_duty: float
    vent_open: bool
    dump_open: bool
    limb: str  # "" where nothing is prescribed
    side: str


@value
class Snapshot:
    """What the bench looks like after a tick: for MQTT, the console and the trace."""

    at_s: float
    phase: Phase
    protocol: str
    code: str
    set_index: int  # from 1; 0 outside
    sets: int
    repetition: int  # from 1; 0 outside
    repetitions: int
    cue: str  # what the patient should do now: "up", "hold", "down", "rest", "inflating", "ready in 3", ...
    set_left_s: float  # NaN where it does not apply
    rest_left_s: float
    session_left_s: float
    waiting_for: str  # what a person is asked to do, "" when nothing
    cuffs: tuple[CuffSnapshot, ...]
    alarms: tuple[Alarm, ...]
    outcome: str  # "", then "completed", "stopped" or "tripped" of the session that ended last
