"""The timeline as it is lived: sets, repetitions, tempo, rests, timed and confirmed release.

`advance` moves the session by the clock and by what is measured; `commands.py` moves it by what a person says. Both
work on a fork of the state that `step.py` made for this tick. Imports the core only; seconds and mmHg throughout.
"""

from __future__ import annotations

from math import floor, isfinite, nan
from typing import Final

from . import clocks
from .limits import (
    EMPTY_MMHG,
    FREE_FLOW_MIN_S,
    HOLD_ATTENDED_S,
    INFLATION_CUE_S,
    LEAD_IN_S,
    PAUSE_MAX_S,
    REST_MAX_S,
    REST_MIN_S,
)
from .model import (
    FAULT,
    HOLDING,
    INFLATING,
    MOVING,
    PAUSED,
    RELEASING,
    RESTING,
    STOPPING,
    WORKING,
    EventKind,
    Finding,
    GuardState,
    Seen,
    Step,
    StepKind,
)
from .phases import Event
from .session_state import SessionState

ARM_TIMEOUT_S: Final = 2.0  # [J] a guard that has not armed by then will not
HOLD_WARNING_S: Final = 30.0  # [J] the supervisor is called this long before a hold without a sign ends
UNARMED_S: Final = 0.1  # [J] two STATUS frames and a bit
_ARMED: Final = GuardState.ARMED


def advance(s: SessionState, seen: tuple[Seen, ...], guard: GuardState, reached: bool, now_s: float) -> None:
    """Move by the clock and by what is measured. `reached`: every cuff in use has come to its target."""
    phase = s.phase
    if phase is WORKING or phase is MOVING:
        _exercise(s, now_s)
    elif phase is INFLATING:
        _inflate(s, guard, reached, now_s)
    elif phase is HOLDING:
        _hold(s, now_s)
    elif phase is RELEASING or phase is STOPPING:
        _release(s, seen, now_s)
    elif phase is RESTING:
        _look_for_flow(s, seen, now_s)
        _rest(s, now_s)
    elif phase is PAUSED:
        _look_for_flow(s, seen, now_s)
        if now_s - s.phase_since_s >= PAUSE_MAX_S:
            end(s, now_s, f"paused for {PAUSE_MAX_S:g} s, the limit of a pause")
    elif phase is FAULT and isfinite(s.resetting_since_s):
        _reset(s, guard, now_s)
    phase = s.phase
    if phase is WORKING or phase is HOLDING or (phase is INFLATING and isfinite(s.inflate_from_s)):
        _stay_armed(s, guard, now_s)


def _stay_armed(s: SessionState, guard: GuardState, now_s: float) -> None:
    """A guard that is no longer armed has vented: the session must know, or it would count repetitions on an empty
    cuff. A trip of the guard's is a safety rule; this is the disarmed one."""
    if guard is _ARMED:
        s.unarmed_since_s = nan
    elif not isfinite(s.unarmed_since_s):
        s.unarmed_since_s = now_s
    elif now_s - s.unarmed_since_s > UNARMED_S:
        end(s, now_s, "the guard is no longer armed")


def _inflate(s: SessionState, guard: GuardState, reached: bool, now_s: float) -> None:
    if not isfinite(s.inflate_from_s):
        if guard is GuardState.ARMED:
            s.inflate_from_s = now_s
        elif now_s - s.arm_asked_at_s >= ARM_TIMEOUT_S:
            end(s, now_s, f"the guard did not arm within {ARM_TIMEOUT_S:g} s")
        return
    if not reached:
        return
    s.inflation_s = now_s - s.arm_asked_at_s  # what a rest must leave room for: the guard's handshake included
    s.tell(EventKind.INFLATION, now_s, to_target_s=round(now_s - s.inflate_from_s, 2))
    s.inflate_from_s = nan
    step = s.step
    s.go(Event.AT_TARGET, now_s)
    if step is not None and step.kind is StepKind.SET:
        s.due_at_s = now_s + LEAD_IN_S
        if s.progress_s == 0.0 and isfinite(s.last_repetition_at_s):
            rest = _step_before(s)
            if rest is not None and rest.kind is StepKind.REST:
                rest_s = min(rest.duration_s, REST_MIN_S) if s.shortened else rest.duration_s
                s.due_at_s = max(s.due_at_s, s.last_repetition_at_s + rest_s)
    elif step is not None and step.kind is StepKind.REST:  # resting mode: the release is part of the rest
        s.due_at_s = max(now_s, s.last_repetition_at_s + step.duration_s - s.release_s)
    elif step is not None:
        s.step_from_s = now_s - s.progress_s
        s.due_at_s = s.step_from_s + step.duration_s


def _hold(s: SessionState, now_s: float) -> None:
    step = s.step
    if step is not None and step.kind is StepKind.HOLD:  # one that is paused goes on with what is left of it
        s.progress_s = now_s - s.step_from_s
    if now_s >= s.due_at_s:
        if step is not None and step.kind is StepKind.SET:
            begin_set(s, Event.WORK_BEGAN, now_s)
        else:
            _step_over(s, now_s)
        return
    unsigned_s = now_s - max(s.phase_since_s, s.sign_at_s)
    if unsigned_s >= HOLD_ATTENDED_S:
        end(s, now_s, f"no sign of the supervisor for {HOLD_ATTENDED_S:g} s of a hold")
    elif unsigned_s >= HOLD_ATTENDED_S - HOLD_WARNING_S:
        if not isfinite(s.waiting_since_s):
            s.waiting_since_s = now_s
    else:
        s.waiting_since_s = nan


def begin_set(s: SessionState, event: Event, now_s: float) -> None:
    step = s.step
    if step is None:
        return
    if step.tempo is not None:  # a set that was paused goes on at the repetition it broke off in
        s.progress_s = floor(s.progress_s / step.tempo.period_s + 1e-9) * step.tempo.period_s
    s.go(event, now_s)
    s.step_from_s = now_s - s.progress_s
    s.due_at_s = s.step_from_s + step.duration_s
    s.repetition = floor(s.progress_s / step.tempo.period_s + 1e-9) if step.tempo is not None else -1
    s.last_cue_at_s = now_s if step.tempo is not None else s.last_cue_at_s
    s.tell(EventKind.SET_BEGAN, now_s, set_index=step.set_index, exercise=step.exercise, repetitions=step.repetitions)


def _exercise(s: SessionState, now_s: float) -> None:
    step = s.step
    if step is None:
        return
    lived_s = now_s - s.step_from_s
    s.progress_s = lived_s
    if step.tempo is not None:
        s.last_cue_at_s = now_s
        repetition = floor(lived_s / step.tempo.period_s + 1e-9)
        if repetition != s.repetition:
            s.tell(EventKind.REPETITION, now_s, set_index=step.set_index, repetitions=repetition)
            s.repetition = repetition
    if now_s >= s.due_at_s - 1e-9:
        s.last_repetition_at_s = now_s
        s.tell(EventKind.SET_ENDED, now_s, set_index=step.set_index, repetitions=done_repetitions(step, lived_s))
        _step_over(s, now_s)


def done_repetitions(step: Step, lived_s: float) -> int:
    """Whole repetitions done after so many seconds of a set."""
    if step.tempo is None:
        return 0
    done = floor(lived_s / step.tempo.period_s + 1e-9)
    return min(step.repetitions, done) if step.repetitions else done


def _step_over(s: SessionState, now_s: float) -> None:
    """A set or a hold has been lived: go where the next step is."""
    timeline, was = s.timeline, s.step
    if timeline is None or was is None:
        return
    s.step_index += 1
    s.progress_s, s.repetition, s.step_from_s = 0.0, -1, now_s
    following = s.step
    if following is not None and following.exercise != was.exercise:
        s.new_exercise()
    if following is None:
        s.final = True
        if not s.go(Event.SET_OVER, now_s) and not s.go(Event.HOLD_OVER, now_s):
            s.go(Event.MOVES_DONE, now_s)
    elif s.phase is MOVING:
        if following.inflated and signed(s):
            _inflate_now(s, Event.MOVE_OVER_INFLATE, now_s)
        else:  # a rest with the cuff empty, or one under pressure that waits for the supervisor
            s.go(Event.MOVE_OVER, now_s)
            s.empty_at_s = now_s
            _plan_rest(s, now_s)
    elif following.inflated:
        if following.kind is StepKind.SET:  # from a rest under pressure straight into a set
            begin_set(s, Event.WORK_BEGAN, now_s)
        else:
            s.go(Event.SET_OVER_HELD, now_s)
            s.due_at_s = now_s + following.duration_s
    elif not s.go(Event.SET_OVER, now_s):
        s.go(Event.HOLD_OVER, now_s)


def _release(s: SessionState, seen: tuple[Seen, ...], now_s: float) -> None:
    """The end of a release is the cuff measured empty, never assumed."""
    for one in seen:
        if not one.empty:
            return
    if not s.final and s.phase is RELEASING:
        s.release_s = now_s - s.released_at_s
        s.empty_at_s = now_s
    s.tell(EventKind.RELEASED, now_s, release_s=round(now_s - s.released_at_s, 2))
    if s.keeps:
        s.go(Event.EMPTY_DONE, now_s)
    elif s.phase is STOPPING:
        finish(s, Event.EMPTY_DONE, "completed" if s.final else "stopped", now_s)
    elif s.final:
        finish(s, Event.EMPTY_DONE, "completed", now_s)
    elif s.pausing:
        s.pausing = False
        s.go(Event.EMPTY_PAUSED, now_s)
    else:
        s.go(Event.EMPTY, now_s)
        _plan_rest(s, now_s)


def _plan_rest(s: SessionState, now_s: float) -> None:
    """When the waiting ends, counted as clinicians count a rest: last repetition to first repetition."""
    step = s.step
    if step is None:
        return
    following = step_after(s)
    s.shortened = False
    if step.kind is not StepKind.REST or step.inflated:
        if step.inflated:  # resting mode: waits for a sign, for no time
            s.due_at_s = now_s
        elif step.kind is StepKind.SET:  # resting mode: waits for empty, and for what is left of the rest
            rest = _step_before(s)
            rest_s = rest.duration_s if rest is not None and rest.kind is StepKind.REST else 0.0
            s.due_at_s = max(now_s, s.last_repetition_at_s + rest_s)
        else:  # off-time and reperfusion count from empty to the start of inflation
            s.due_at_s = now_s + step.duration_s
        return
    rest_s = step.duration_s
    s.due_at_s = s.last_repetition_at_s + rest_s
    if following is None or not following.inflated:
        return
    before_s = (s.inflation_s if isfinite(s.inflation_s) else 0.0) + LEAD_IN_S
    s.due_at_s -= before_s
    if s.due_at_s < now_s + FREE_FLOW_MIN_S:
        _stretch(s, rest_s, before_s, now_s, "the cuff inflates too slowly")


def _stretch(s: SessionState, rest_s: float, before_s: float, now_s: float, why: str) -> None:
    """A rest that leaves too little free flow lasts longer, and says so; past 60 s it ends the session."""
    s.due_at_s = s.empty_at_s + FREE_FLOW_MIN_S
    stretched_s = s.due_at_s + before_s - s.last_repetition_at_s
    if stretched_s > REST_MAX_S and stretched_s > rest_s:
        end(s, now_s, f"the rest would be {stretched_s:.0f} s, above {REST_MAX_S:g} s: {why}")
        return
    s.tell(EventKind.REST_STRETCHED, now_s, rest_s=round(stretched_s, 1), prescribed_s=rest_s)
    s.warning = Finding(
        "rest_stretched",
        -1,
        round(stretched_s, 1),
        rest_s,
        "s",
        f"rest of {rest_s:g} s stretched to {stretched_s:.0f} s, to keep {FREE_FLOW_MIN_S:g} s of free flow",
        now_s,
    )


def _look_for_flow(s: SessionState, seen: tuple[Seen, ...], now_s: float) -> None:
    """A cuff that fills again while it should be empty: free flow counts from where it has ended anew."""
    for cuff, one in enumerate(seen):
        if s.prescriptions[cuff] is not None and one.pressure_mmhg >= EMPTY_MMHG:  # one sensor is enough
            s.empty_at_s = now_s


def _flow_is_short(s: SessionState, step: Step, now_s: float) -> bool:
    """Whether an inflation that is due would come after less free flow than its rest promises: then it waits."""
    if step.kind is StepKind.REST:
        least_s = 0.0 if step.inflated else FREE_FLOW_MIN_S
    else:
        least_s = step.duration_s if step.kind in (StepKind.OFF, StepKind.REPERFUSION) else 0.0
    if least_s <= 0.0 or now_s - s.empty_at_s >= least_s - 1e-6:  # written so that NaN waits
        return False
    if step.kind is StepKind.REST:
        before_s = (s.inflation_s if isfinite(s.inflation_s) else 0.0) + LEAD_IN_S
        _stretch(s, step.duration_s, before_s, now_s, "the cuff filled again in it")
    else:
        s.due_at_s = s.empty_at_s + least_s
    return True


def signed(s: SessionState) -> bool:
    """Whether a person gave a sign since the last release."""
    return s.sign_at_s > s.released_at_s


def _rest(s: SessionState, now_s: float) -> None:
    step, target = s.step, coming(s)
    if step is None or target is None:
        return
    if target.inflated and not signed(s):
        if not isfinite(s.waiting_since_s) and now_s >= s.due_at_s - INFLATION_CUE_S:
            s.waiting_since_s = now_s
        if isfinite(s.waiting_since_s):  # a cue of 3 s is still ahead when the sign comes
            s.due_at_s = max(s.due_at_s, now_s + INFLATION_CUE_S)
        return
    s.waiting_since_s = nan
    if now_s < s.due_at_s:
        return
    if target.inflated and _flow_is_short(s, step, now_s):
        return
    if target is not step:
        s.step_index += 1
        if target.exercise != step.exercise or target.kind is StepKind.HOLD:
            s.new_exercise()
    if target.inflated:
        _inflate_now(s, Event.REST_OVER, now_s)
    else:
        begin_set(s, Event.MOVE_BEGAN, now_s)


def _inflate_now(s: SessionState, event: Event, now_s: float) -> None:
    s.warning = None
    s.go(event, now_s)


def _reset(s: SessionState, guard: GuardState, now_s: float) -> None:
    if guard is not GuardState.TRIPPED and now_s > s.resetting_since_s:  # a tick later: the supervisor has seen FAULT
        s.resetting_since_s, s.fault = nan, None
        s.go(Event.RESET, now_s)
    elif now_s - s.resetting_since_s > ARM_TIMEOUT_S:
        s.resetting_since_s = nan  # the guard keeps its latch: the person has to ask again


# --- ends ------------------------------------------------------------------------------------------------------


def end(s: SessionState, now_s: float, why: str, finding: Finding | None = None) -> None:
    """An orderly end: release, nothing latched."""
    if s.go(Event.END, now_s, why):
        s.ended = finding or Finding("session_ended", -1, nan, nan, "", f"session ended: {why}", now_s)
        s.tell(EventKind.END, now_s, rule=s.ended.rule, why=why)


def trip(s: SessionState, finding: Finding, now_s: float) -> None:
    """Latch. The first reason is kept."""
    if s.phase is FAULT:
        return
    s.fault, s.test_asked_at_s = finding, -1e9
    if s.phase is STOPPING and s.step_index < 0:  # the release of a self-test: it has not let go, or was not let
        s.test_passed_at_s = nan
    s.tell(
        EventKind.TRIP,
        now_s,
        None if finding.cuff < 0 else finding.cuff,
        rule=finding.rule,
        value=finding.value if isfinite(finding.value) else None,
        limit=finding.limit,
        unit=finding.unit,
        text=finding.text,
    )
    if s.step_index >= 0:
        finish(s, Event.TRIP, "tripped", now_s)
    else:
        s.go(Event.TRIP, now_s, finding.rule)


def finish(s: SessionState, event: Event, outcome: str, now_s: float) -> None:
    """The session is over; its prescription goes with it, so that a new one needs a person who prescribes."""
    lived = s.step_index >= 0
    if lived:
        clocks.tell(s, now_s)
        s.outcome = outcome
    s.go(event, now_s)
    if lived:
        s.screening = None  # it holds for one session: what it asks about may have changed since
        s.tell(EventKind.SESSION_ENDED, now_s, outcome=outcome, code=s.code)
    s.prescriptions, s.timeline = (None,) * len(s.prescriptions), None
    s.targets_mmhg = (nan,) * len(s.prescriptions)
    s.step_index, s.progress_s, s.repetition, s.final, s.pausing = -1, 0.0, -1, False, False
    s.last_repetition_at_s = s.started_at_s = s.due_at_s = s.waiting_since_s = s.inflate_from_s = nan
    s.warning = None


def coming(s: SessionState) -> Step | None:
    """What a rest leads to: the step after it, or this one where it has not begun yet (mode resting)."""
    step = s.step
    return step if step is None or step.kind is StepKind.SET or step.inflated else step_after(s)


def _step_before(s: SessionState) -> Step | None:
    timeline = s.timeline
    return timeline.steps[s.step_index - 1] if timeline is not None and s.step_index >= 1 else None


def step_after(s: SessionState) -> Step | None:
    timeline = s.timeline
    if timeline is None or s.step_index + 1 >= len(timeline.steps):
        return None
    return timeline.steps[s.step_index + 1]
