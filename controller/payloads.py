"""The core's values → payloads of `messages.py`.

Imports core and messages only. A number that is not known, not finite or out of its bounds becomes null.
"""

from __future__ import annotations

from typing import Final, Literal

from .core.limits import EMPTY_MMHG
from .core.model import Alarm, Happened, Scalar, Snapshot
from .messages import (
    Alarms,
    AlarmState,
    CuffPressure,
    CuffState,
    Datum,
    Event,
    HighestAlarm,
    Origin,
    Pressure,
    State,
    Status,
)


def mmhg(pressure: float) -> float | None:
    return round(pressure, 1) if -1000.0 <= pressure <= 1000.0 else None


def seconds(duration: float) -> float | None:
    return round(duration, 3) if -1e9 <= duration <= 1e9 else None


def number(some: float | None) -> float | None:
    return round(some, 3) if some is not None and -1e9 <= some <= 1e9 else None


def _cuff(cuff: int | None) -> int | None:
    return cuff + 1 if cuff is not None and cuff >= 0 else None


def _datum(key: str, datum: Scalar) -> Datum:
    if isinstance(datum, float):
        return mmhg(datum) if key.endswith("_mmhg") else number(datum)
    return datum[:400] if isinstance(datum, str) else datum


# --- payloads ----------------------------------------------------------------------------------------------------


def status(origin: Origin, state: Literal["init", "ready", "disconnected"], at_s: float) -> Status:
    return Status(**origin.envelope("status", at_s), state=state, at_is="now")


def will(origin: Origin, at_s: float) -> Status:
    """What the broker says in our place when we are gone. It has no number, and the time of its connection."""
    return Status(**origin.stamp(None, origin.wall_s(), at_s), state="lost", at_is="connection")


_LIMBS: Final[dict[str, Literal["leg", "arm"]]] = {"leg": "leg", "arm": "arm"}
_SIDES: Final[dict[str, Literal["left", "right"]]] = {"left": "left", "right": "right"}
OUTCOMES: Final[dict[str, Literal["completed", "stopped", "tripped"]]] = {
    "completed": "completed",
    "stopped": "stopped",
    "tripped": "tripped",
}


def state(origin: Origin, seen: Snapshot) -> State:
    cuffs = []
    for index, one in enumerate(seen.cuffs):
        a_mmhg, b_mmhg = mmhg(one.a_mmhg), mmhg(one.b_mmhg)
        cuffs.append(
            CuffState(
                cuff=index + 1,
                pressure_mmhg=None if a_mmhg is None or b_mmhg is None else max(a_mmhg, b_mmhg),
                a_mmhg=a_mmhg,
                b_mmhg=b_mmhg,
                target_mmhg=mmhg(one.target_mmhg),
                band_mmhg=mmhg(one.band_mmhg),
                restricted_s=seconds(one.restricted_s),
                restricted_cap_s=seconds(one.restricted_cap_s),
                limb=_LIMBS.get(one.limb),
                side=_SIDES.get(one.side),
            )
        )
    highest = seen.alarms[0] if seen.alarms else None
    return State(
        **origin.envelope("state", seen.at_s),
        phase=seen.phase,
        protocol=seen.protocol,
        code=seen.code,
        set=seen.set_index,
        sets=seen.sets,
        repetition=seen.repetition,
        repetitions=seen.repetitions,
        cue=seen.cue,
        waiting_for=seen.waiting_for,
        set_left_s=seconds(seen.set_left_s),
        rest_left_s=seconds(seen.rest_left_s),
        session_left_s=seconds(seen.session_left_s),
        outcome=OUTCOMES.get(seen.outcome, ""),
        highest_alarm=None if highest is None else HighestAlarm(condition=highest.condition, priority=highest.priority),
        cuffs=tuple(cuffs),
    )


def state_key(seen: Snapshot) -> tuple[object, ...]:
    """What makes `state` go out at once when it differs from the last: made for comparing, not for reading."""
    alarms = seen.alarms
    cuffs = seen.cuffs
    one = cuffs[0]
    key = (
        seen.phase,
        seen.set_index,
        seen.repetition,
        alarms[0].condition if alarms else "",
        one.target_mmhg if one.target_mmhg > 0.0 else 0.0,  # NaN is not equal to itself
        one.a_mmhg == one.a_mmhg,
        one.b_mmhg == one.b_mmhg,
    )
    if len(cuffs) == 1:
        return key
    one = cuffs[1]
    return (*key, one.target_mmhg if one.target_mmhg > 0.0 else 0.0, one.a_mmhg == one.a_mmhg, one.b_mmhg == one.b_mmhg)


def empty(seen: Snapshot) -> bool:
    """Whether every cuff is known to be below 15 mmHg by both sensors; what is not known is not empty."""
    for one in seen.cuffs:  # noqa: SIM110 -- a generator costs three times as much
        if not (one.a_mmhg < EMPTY_MMHG and one.b_mmhg < EMPTY_MMHG):
            return False
    return True


def pressure(origin: Origin, window: list[Snapshot]) -> Pressure:
    """Consecutive ticks as arrays. The window has at least one snapshot."""
    first, last = window[0], window[-1]
    cuffs = tuple(
        CuffPressure(
            cuff=index + 1,
            a_mmhg=tuple([mmhg(seen.cuffs[index].a_mmhg) for seen in window]),
            b_mmhg=tuple([mmhg(seen.cuffs[index].b_mmhg) for seen in window]),
            target_mmhg=mmhg(last.cuffs[index].target_mmhg),
        )
        for index in range(len(last.cuffs))
    )
    return Pressure(
        **origin.envelope("pressure", last.at_s),
        t0_s=round(first.at_s, 3),
        dt_s=round((last.at_s - first.at_s) / (len(window) - 1), 6) if len(window) > 1 else 0.0,
        cuffs=cuffs,
    )


def event(origin: Origin, journal_id: str, seq: int, wall_s: float, happened: Happened) -> Event:
    """The payload of a past fact. The journal gives the number and the time at which it took it."""
    return Event(
        **origin.stamp(seq, wall_s, happened.at_s),
        journal_id=journal_id,
        kind=happened.kind,
        phase=happened.phase,
        cuff=_cuff(happened.cuff),
        data={key: _datum(key, datum) for key, datum in happened.data.items()},
    )


def alarms(origin: Origin, standing: tuple[Alarm, ...], at_s: float) -> Alarms:
    return Alarms(
        **origin.envelope("alarms", at_s),
        alarms=tuple(
            AlarmState(
                condition=one.condition,
                priority=one.priority,
                latched=one.latched,
                acknowledged=one.acknowledged,
                audio_paused_until_s=number(one.audio_paused_until_s) or None,
                raised_at_s=number(one.raised_at_s) or 0.0,
                text=one.text[:400],
                value=number(one.value),
                unit=one.unit,
                limit=number(one.limit),
                cuff=_cuff(one.cuff),
            )
            for one in standing
        ),
    )
