"""What the bench looks like after a tick, for those who watch. Reads the state, changes nothing.

Not made every tick: the shell asks for one when somebody is due to look.
"""

from __future__ import annotations

from math import ceil, floor, isfinite, nan

from . import alarms
from .limits import INFLATION_CUE_S, LIMB_CAP_S, PAUSE_MAX_S, Limits
from .model import (
    AT_TARGET,
    FAULT,
    HOLDING,
    INFLATING,
    MOVING,
    PAUSED,
    READY,
    RELEASING,
    RESTING,
    STOPPING,
    TESTING,
    WORKING,
    CuffSnapshot,
    Snapshot,
    Step,
    StepKind,
    Timeline,
)
from .session import coming, done_repetitions, signed, step_after
from .session_state import SessionState
from .step import CoreState
from .testing import question

BAND = 0.10  # half width of the band a set is judged on, as a fraction of the target [F Swain 2025]


def snapshot(state: CoreState, limits: Limits, now_s: float) -> Snapshot:
    s = state.session
    timeline, step = s.timeline, s.step
    shown = _shown_set(s)
    return Snapshot(
        at_s=now_s,
        phase=s.phase,
        protocol=timeline.protocol if timeline is not None else "",
        code=s.code,
        set_index=shown.set_index if shown is not None else 0,
        sets=sum(1 for one in timeline.steps if one.kind is StepKind.SET) if timeline is not None else 0,
        repetition=_repetition(s, step, now_s),
        repetitions=shown.repetitions if shown is not None else 0,
        cue=cue(s, now_s),
        set_left_s=_set_left_s(s, step, now_s),
        rest_left_s=_rest_left_s(s, now_s),
        session_left_s=_session_left_s(s, timeline, now_s),
        waiting_for=waiting_for(s),
        cuffs=tuple([_cuff(state, cuff, limits) for cuff in range(len(state.given))]),
        alarms=alarms.standing(state.alarms),
        outcome=s.outcome,
    )


def _cuff(state: CoreState, cuff: int, limits: Limits) -> CuffSnapshot:
    s, seen, given = state.session, state.seen[cuff], state.given[cuff]
    prescription, clock = s.prescriptions[cuff], s.clock_of(cuff)
    target = s.targets_mmhg[cuff]
    return CuffSnapshot(
        a_mmhg=seen.a_mmhg,
        b_mmhg=seen.b_mmhg,
        target_mmhg=target,
        band_mmhg=target * BAND,
        lop_mmhg=prescription.plan.lop_mmhg if prescription is not None else nan,
        restricted_s=clock.restricted_s if clock is not None else 0.0,
        restricted_cap_s=(
            min(limits.limb_cap_s(prescription.plan.limb), LIMB_CAP_S[prescription.plan.limb])
            if prescription is not None
            else nan
        ),
        pump_duty=given.pump_duty,
        vent_open=given.vent_open,
        dump_open=given.dump_open,
        limb=str(prescription.plan.limb) if prescription is not None else "",
        side=str(prescription.plan.side) if prescription is not None else "",
    )


def _shown_set(s: SessionState) -> Step | None:
    """The set under way, or the one a rest leads to."""
    step = s.step
    if step is None or step.kind is StepKind.SET:
        return step
    following = step_after(s)
    return following if following is not None and following.kind is StepKind.SET else None


def _repetition(s: SessionState, step: Step | None, now_s: float) -> int:
    if step is None or s.phase not in (WORKING, MOVING):
        return 0
    return min(done_repetitions(step, now_s - s.step_from_s) + 1, max(1, step.repetitions))


def cue(s: SessionState, now_s: float) -> str:
    """What the patient should do now, in a word or three."""
    phase, step = s.phase, s.step
    if phase is WORKING or phase is MOVING:
        if step is None or step.tempo is None:
            return "go"
        tempo = step.tempo
        into_s = (now_s - s.step_from_s + 1e-9) % tempo.period_s  # rounded as the repetition is, which begins with it
        if into_s < tempo.concentric_s:
            return "up"
        return "hold" if into_s < tempo.concentric_s + tempo.pause_s else "down"
    if phase is HOLDING:
        if step is not None and step.kind is StepKind.SET:
            return f"ready in {max(0, ceil(s.due_at_s - now_s))}"
        return "rest"
    if phase is RESTING:
        if isfinite(s.waiting_since_s):
            return "wait"
        if s.due_at_s - now_s > INFLATION_CUE_S:
            return "rest"
        what = coming(s)
        words = "cuff fills in" if what is not None and what.inflated else "ready in"
        return f"{words} {max(0, ceil(s.due_at_s - now_s))}"
    return {INFLATING: "inflating", RELEASING: "releasing", STOPPING: "releasing", TESTING: "self-test"}.get(phase, "")


def waiting_for(s: SessionState) -> str:
    """What a person is asked for."""
    if s.phase is FAULT:
        return "reset"
    if s.phase is READY:
        return "start"
    if s.phase is PAUSED:
        return "next or stop"
    if s.phase is TESTING:
        return question(s)
    what = coming(s)
    if s.phase is RESTING and not signed(s) and what is not None and what.inflated:
        return "next or present"
    if s.phase is HOLDING and isfinite(s.waiting_since_s):
        return "present"
    return ""


def _set_left_s(s: SessionState, step: Step | None, now_s: float) -> float:
    if step is None or s.phase not in (WORKING, MOVING):
        return nan
    return max(0.0, s.due_at_s - now_s)


def _rest_left_s(s: SessionState, now_s: float) -> float:
    """Until the first repetition, as far as it is planned; in a pause, until it ends the session."""
    step = s.step
    if s.phase is PAUSED:
        return max(0.0, s.phase_since_s + PAUSE_MAX_S - now_s)
    if step is None or s.phase not in (RELEASING, RESTING, HOLDING, INFLATING):
        return nan
    if step.kind is StepKind.REST:
        return max(0.0, s.last_repetition_at_s + step.duration_s - now_s)
    if s.phase in AT_TARGET or s.phase is RESTING:
        return max(0.0, s.due_at_s - now_s)
    return nan


def _session_left_s(s: SessionState, timeline: Timeline | None, now_s: float) -> float:
    """What is planned and not yet lived, in whole seconds."""
    step = s.step
    if timeline is None:
        return nan
    if step is None:
        return float(floor(sum(one.duration_s for one in timeline.steps)))
    ahead_s = sum(one.duration_s for one in timeline.steps[s.step_index + 1 :])
    if s.phase in (WORKING, MOVING):
        return ahead_s + max(0.0, s.due_at_s - now_s)
    if step.kind is StepKind.REST:
        return ahead_s + max(0.0, s.last_repetition_at_s + step.duration_s - now_s)
    return ahead_s + max(0.0, step.duration_s - s.progress_s)
