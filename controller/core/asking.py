"""What the session asks of each cuff, and what it tells the safety rules. Reads the session, changes nothing."""

from __future__ import annotations

from math import nan

from . import testing
from .limits import EMPTY_MMHG, LIMB_CAP_S, SCREENING_VALID_S, UNATTENDED_S, Limits
from .model import (
    HOLDING,
    INFLATING,
    RELEASING,
    RESTING,
    STOPPING,
    TESTING,
    VENT,
    WORKING,
    Ask,
    AskKind,
    CuffWatch,
    GuardState,
    Mode,
    Notice,
    Seen,
    Watch,
)
from .selftest_rows import ZERO_MMHG
from .session_state import SessionState

_INFLATE, _HOLD, _WORK = AskKind.INFLATE, AskKind.HOLD, AskKind.WORK


def asks(s: SessionState, now_s: float) -> tuple[Ask, ...]:
    """What the session wants of each cuff now."""
    phase = s.phase
    if phase is INFLATING:
        if s.inflate_from_s != s.inflate_from_s:  # not armed yet
            return (VENT,) * len(s.prescriptions)
        kind = _INFLATE
    elif phase is HOLDING:
        kind = _HOLD
    elif phase is WORKING:
        kind = _WORK
    else:
        return (VENT,) * len(s.prescriptions)
    repetition, since_s, period_s = -1, 0.0, 0.0
    if kind is _WORK:
        step = s.step
        if step is not None and step.tempo is not None:
            repetition, period_s = s.repetition, step.tempo.period_s
            since_s = now_s - s.step_from_s - repetition * period_s
    return tuple(
        [
            VENT if prescription is None else Ask(kind, target, repetition, since_s, period_s)
            for prescription, target in zip(s.prescriptions, s.targets_mmhg, strict=True)
        ]
    )


def watch(s: SessionState, limits: Limits, now_s: float) -> Watch:
    """What the safety rules need to know of the session."""
    phase = s.phase
    if phase is TESTING:
        return testing.watch(s, limits)
    cuffs: list[CuffWatch | None] = []
    for cuff, prescription in enumerate(s.prescriptions):
        if prescription is None or prescription.timeline.mode is Mode.NONE:  # cues without a cuff: it stays vented
            cuffs.append(None)
            continue
        plan = prescription.plan
        clock = s.clock_of(cuff)
        limb_cap_s, limb_most_s = limits.limb_cap_s(plan.limb), LIMB_CAP_S[plan.limb]
        exercise_cap_s, exercise_most_s = limits.exercise_cap_s, prescription.timeline.exercise_cap_s
        cuffs.append(
            CuffWatch(
                plan.limb,
                plan.lop_mmhg,
                s.targets_mmhg[cuff],
                clock.restricted_s if clock is not None else nan,
                limb_cap_s if limb_cap_s < limb_most_s else limb_most_s,
                clock.exercise_s if clock is not None else nan,
                exercise_cap_s if exercise_cap_s < exercise_most_s else exercise_most_s,
            )
        )
    return Watch(
        phase,
        s.phase_since_s,
        tuple(cuffs),
        s.repetition if phase is WORKING else -1,
        s.last_cue_at_s,
        s.released_at_s if phase is RELEASING or phase is STOPPING else nan,
        s.inflate_from_s if phase is INFLATING else nan,
        phase is RESTING and now_s - s.waiting_since_s >= UNATTENDED_S,
    )


def unrecorded(notices: tuple[Notice, ...]) -> str:
    """Why nothing may begin: a trip or a limb's time that is not kept would be unknown after the next start."""
    for one in notices:
        if one.condition == "journal_failed":
            return f"nothing can be recorded now ({one.detail or 'the journal does not say why'}): see to the disk"
        if one.condition == "journal_events_lost":
            return "not all that happened could be recorded: see to the disk, then restart the service"
    return ""


def outdated(s: SessionState, now_s: float) -> str:
    """Why the screening counts no longer, as a sentence; "" while it does."""
    if now_s - s.screened_at_s < SCREENING_VALID_S:
        return ""
    return f"{s.code} was screened more than {SCREENING_VALID_S / 3600:g} h ago: screen again"


def unready(
    s: SessionState, seen: tuple[Seen, ...], guard: GuardState | None, estop_ok: bool, uncalibrated: str = ""
) -> str:
    """Why the bench is not READY, as a sentence; "" when it is: sensors present, zero within limits; guard vented;
    E-stop loop whole; cuff empty. `uncalibrated`: what the bench itself knows against its sensors. `testing.untested`
    says what its self-test has to do with it."""
    code = s.code
    if not code:
        return "no prescription: screen and prescribe first"
    if s.screening is None or s.screening.code != code:
        return f"{code} is not screened: screen first"
    if not s.screening.cleared:
        return f"{code} is not cleared: {'; '.join(s.screening.reasons)}"
    if guard is None:
        return "the guard has not answered yet"
    if guard is not GuardState.VENTED:
        return "the guard is not vented and disarmed"
    if not estop_ok:
        return "the emergency stop is pressed or its wire is broken: release it"
    if s.unrecorded or uncalibrated:
        return s.unrecorded or uncalibrated
    for cuff, one in enumerate(seen):
        if not one.certain:
            return f"cuff {cuff + 1}: a pressure sensor gives no reading"
        if one.pressure_mmhg < EMPTY_MMHG and not one.empty:
            return f"cuff {cuff + 1} is not measured empty yet: wait half a second"
        if not one.empty:
            return f"cuff {cuff + 1} is at {one.pressure_mmhg:.0f} mmHg, must be below {EMPTY_MMHG:g} mmHg: empty it"
        if not max(abs(one.a_mmhg), abs(one.b_mmhg)) <= ZERO_MMHG:
            return f"cuff {cuff + 1}: a sensor reads more than {ZERO_MMHG:g} mmHg from zero while vented: zero it"
    return ""
