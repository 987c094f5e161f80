"""Alarm conditions in the sense of IEC 60601-1-8: what may be wrong, how urgent, whether it latches, what is done.

A condition is raised when a rule finds it or a notice names it, and cleared when that is over; one that latches stays
from a trip until its reset. Acknowledging says that a person has seen it, the audio pause silences it for 30 s; both
are shown with the alarm, and a new alarm breaks the pause. Imports the core only; seconds of the tick's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from .limits import AUDIO_PAUSE_S
from .model import Alarm, Finding, Notice, Priority, forker, value


@value
class Condition:
    """One row of the table. `text` is for a notice that brings no words of its own."""

    priority: Priority
    latching: bool  # once tripped it stays until a person resets, even when its cause is over
    text: str


_HIGH, _MEDIUM, _LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW

CONDITIONS: Final[Mapping[str, Condition]] = {
    # trips
    "stop_button": Condition(_HIGH, True, "the emergency stop is pressed, or its wire is broken"),
    "tick_late": Condition(_HIGH, True, "the controller was late"),
    "guard_rebooted": Condition(_HIGH, True, "the guard has started anew"),
    "guard_tripped": Condition(_HIGH, True, "the guard has vented"),
    "guard_lost": Condition(_HIGH, True, "no word from the guard"),
    "over_pressure": Condition(_HIGH, True, "pressure at or above the ceiling"),
    "implausible": Condition(_HIGH, True, "readings of a sensor cannot be true"),
    "stale_sample": Condition(_HIGH, True, "no reading of sensor A"),
    "frozen_sample": Condition(_HIGH, True, "sensor A stands still"),
    "above_lop": Condition(_HIGH, True, "pressure above the limb's occlusion pressure"),
    "above_target": Condition(_HIGH, True, "pressure above its target"),
    "tube_blocked": Condition(_HIGH, True, "tube blocked: take the cuff off"),
    "no_fall": Condition(_HIGH, True, "cuff does not empty: take the cuff off"),
    "not_released": Condition(_HIGH, True, "cuff not measured empty: take the cuff off"),
    "sensors_disagree": Condition(_HIGH, True, "the two sensors disagree"),
    "no_rise": Condition(_HIGH, True, "the cuff does not fill"),
    "inflate_timeout": Condition(_HIGH, True, "target not reached in time"),
    "leak": Condition(_HIGH, True, "the cuff leaks"),
    "pump_too_long": Condition(_HIGH, True, "the pump has run for too long"),
    "boot_fault": Condition(_HIGH, True, "a fault of the last run has not been reset"),
    # ends; the session lists them until the next start
    "too_long": Condition(_MEDIUM, False, "restricted time used up: released"),
    "under_target": Condition(_MEDIUM, False, "pressure below half of the target: released"),
    "unattended": Condition(_MEDIUM, False, "no sign of the supervisor: released"),
    "session_ended": Condition(_LOW, False, "the session has ended early"),
    # alarm only
    "boot_pressurised": Condition(_HIGH, False, "cuff found inflated at power-up: take the cuff off"),
    "off_target": Condition(_MEDIUM, False, "pressure outside its band"),
    # told by the session or by what is around the core
    "selftest_failed": Condition(_MEDIUM, False, "the self-test has failed"),
    "sign_needed": Condition(_MEDIUM, False, "a sign of the supervisor is needed: say next or present"),
    "rest_stretched": Condition(_LOW, False, "rest stretched"),
    "tick_missed": Condition(_LOW, False, "a tick came late"),
    "journal_failed": Condition(_MEDIUM, False, "the journal cannot be written: nothing is being recorded"),
    "journal_events_lost": Condition(_MEDIUM, False, "events could not be recorded and are lost"),
    "disk_low": Condition(_LOW, False, "little disk space is left"),
    "broker_lost": Condition(_LOW, False, "no connection to the MQTT broker: remote displays stand still"),
    "panel_failed": Condition(_MEDIUM, False, "the panel is not whole: look at the console"),
    "button_stuck": Condition(_LOW, False, "the start button is stuck or held: it starts nothing until it is let go"),
    "calibration_overdue": Condition(_LOW, False, "the pressure sensors are due for calibration"),
}
_UNNAMED: Final = Condition(_MEDIUM, False, "a condition without a name in this version")
_RANK: Final = {_HIGH: 0, _MEDIUM: 1, _LOW: 2}


@value
class AlarmChange:
    """An alarm that was raised (True) or has cleared (False) in this tick."""

    alarm: Alarm
    raised: bool


@dataclass(slots=True)
class AlarmState:
    alarms: tuple[Alarm, ...] = ()  # highest priority first, then oldest
    told: tuple[Notice, ...] = ()  # of the last tick
    paused_until_s: float = 0.0  # the audio; 0: not paused
    quiet: bool = True  # the last tick had no findings
    held: bool = False  # in the last tick a trip waited for its reset


_fork: Final = forker(AlarmState)
_fork_alarm: Final = forker(Alarm)


def initial() -> AlarmState:
    return AlarmState()


def standing(state: AlarmState) -> tuple[Alarm, ...]:
    """What stands, the highest priority first; the same object until something changes."""
    return state.alarms


def update(
    state: AlarmState, findings: tuple[Finding, ...], notices: tuple[Notice, ...], now_s: float, held: bool
) -> tuple[AlarmState, tuple[AlarmChange, ...]]:
    """Take in what stands now: every finding and notice. What is no longer listed has cleared, unless it latches and
    `held`, which says that a trip waits for its reset. What still stands at the reset is from there on an alarm like
    another, and news if it trips again."""
    over = state.paused_until_s and not now_s < state.paused_until_s
    if not findings and state.quiet and not over and notices == state.told and held is state.held:
        return state, ()
    listed: dict[tuple[str, int], Finding] = {}
    for finding in findings:
        listed.setdefault((finding.rule, finding.cuff), finding)
    told = {(one.condition, -1): one for one in notices if (one.condition, -1) not in listed}
    kept: list[Alarm] = []
    changes: list[AlarmChange] = []
    for alarm in state.alarms:
        key = (alarm.condition, alarm.cuff)
        stands = key in listed or key in told
        latches = held and _row(alarm.condition).latching
        if not (stands or (latches and alarm.latched)) or (stands and latches and not alarm.latched):
            changes.append(AlarmChange(alarm, raised=False))
            continue
        listed.pop(key, None)
        kept.append(_as_now(alarm, told.pop(key, None), latches))
    raised = [_from_finding(one, now_s, held) for one in listed.values()]
    raised += [_from_notice(one, now_s, held) for one in told.values()]
    new = _fork(state)
    new.told, new.quiet, new.held = notices, not findings, held
    changes += [AlarmChange(alarm, raised=True) for alarm in raised]
    if raised or over:
        new.paused_until_s = 0.0
        kept = [_with_pause(alarm, 0.0) for alarm in kept]
    now = tuple(sorted(kept + raised, key=_order))
    if now != state.alarms:  # the same object until something changes
        new.alarms = now
    return new, tuple(changes)


def acknowledge(state: AlarmState, condition: str, now_s: float) -> tuple[AlarmState, str | None]:  # noqa: ARG001
    """Mark one condition ("" for all) as seen. Returns a sentence, None where no such alarm stands."""
    meant = [alarm.condition for alarm in state.alarms if condition in ("", alarm.condition)]
    if not meant:
        return state, None
    new = _fork(state)
    new.alarms = tuple([_acknowledged(alarm) if alarm.condition in meant else alarm for alarm in state.alarms])
    return new, f"acknowledged: {', '.join(dict.fromkeys(meant))}"


def silence(state: AlarmState, now_s: float) -> AlarmState:
    """Pause the sound of what stands now for 30 s (Delfi, Zimmer). What comes after it sounds at once."""
    new = _fork(state)
    if state.alarms:
        new.paused_until_s = now_s + AUDIO_PAUSE_S
        new.alarms = tuple([_with_pause(alarm, new.paused_until_s) for alarm in state.alarms])
    return new


def _row(condition: str) -> Condition:
    return CONDITIONS.get(condition, _UNNAMED)


def _order(alarm: Alarm) -> tuple[int, float]:
    return _RANK[alarm.priority], alarm.raised_at_s


def _from_finding(one: Finding, now_s: float, held: bool) -> Alarm:
    row = _row(one.rule)
    return Alarm(
        one.rule,
        row.priority,
        row.latching and held,
        False,
        0.0,
        now_s,
        one.text or row.text,
        one.value if isfinite(one.value) else None,
        one.limit if isfinite(one.limit) else None,
        one.unit,
        one.cuff,
    )


def _from_notice(one: Notice, now_s: float, held: bool) -> Alarm:
    row = _row(one.condition)
    text = f"{row.text}: {one.detail}" if one.detail else row.text
    latched = row.latching and held
    return Alarm(one.condition, row.priority, latched, False, 0.0, now_s, text, one.value, one.limit, one.unit, -1)


def _as_now(alarm: Alarm, notice: Notice | None, latched: bool) -> Alarm:
    """One that stays, as it is now. A finding's words are those of when it was raised; a notice's go with what they
    tell of: which part of the panel, how little space."""
    told = alarm if notice is None else _from_notice(notice, alarm.raised_at_s, latched)
    if latched is alarm.latched and (told.text, told.value) == (alarm.text, alarm.value):
        return alarm
    new = _fork_alarm(alarm)
    new.latched, new.text, new.value = latched, told.text, told.value  # type: ignore[misc]
    return new


def _with_pause(alarm: Alarm, until_s: float) -> Alarm:
    new = _fork_alarm(alarm)
    new.audio_paused_until_s = until_s  # type: ignore[misc]
    return new


def _acknowledged(alarm: Alarm) -> Alarm:
    new = _fork_alarm(alarm)
    new.acknowledged = True  # type: ignore[misc]
    return new
