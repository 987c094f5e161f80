"""What a person at the bench says, and the one answer each gets in the tick that took it.

Works on the fork of the session that `step.py` made. A refusal changes nothing and says what, value, limit and what to
do. Acknowledging and silencing alarms is in `step.py`, which holds the alarms.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor, isfinite, nan
from typing import Final

from . import selftest, testing
from .limb import LimbClock, LimbKey
from .limits import (
    EMPTY_MMHG,
    FREE_FLOW_MIN_S,
    INFLATION_CUE_S,
    INFLATION_PLANNED_S,
    INTER_EXERCISE_S,
    LEAD_IN_S,
    PAUSE_MAX_S,
    REPERFUSION_S,
    REST_MIN_S,
    Limits,
)
from .model import Command, EventKind, Mode, Phase, Prescription, Reply, Seen, Step, StepKind, Timeline, Verb, value
from .phases import Event
from .session import begin_set, coming, end, finish, signed, step_after
from .session_state import SessionState

LOWER_BY_MMHG: Final = (
    10.0  # clinical practice: in steps of 10 until tingling or dizziness is gone [F SmartCuffs manual]
)
LOWER_TO_PERCENT: Final = 40.0  # the least pressure that is prescribed [F Patterson]; below it the cuff is released


@value
class Bench:
    """What the core knows of this bench besides its state."""

    limits: Limits
    require_panel: bool = False
    uncalibrated: str = ""  # why a sensor's calibration does not do for a session, as a sentence; "" where it does
    selftest_required: bool = False  # READY wants one passed since power-up, within the last day


@value
class Answer:
    """A reply without its command's id."""

    ok: bool
    text: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""


def obey(s: SessionState, command: Command, seen: tuple[Seen, ...], bench: Bench, now_s: float) -> Reply:
    """Do as told, or say why not."""
    verb = command.verb
    if bench.require_panel and command.source != "panel" and verb in _PANEL_ONLY:
        return Reply(command.id, False, f"{verb} is for the button on the bench only: press it there")
    answer = _OBEY[verb](s, command, seen, bench, now_s)
    if answer.ok and verb is not Verb.STATUS:
        s.tell(EventKind.OPERATOR, now_s, verb=str(verb), by=command.by, source=command.source)
    return Reply(command.id, answer.ok, answer.text, answer.value, answer.limit, answer.unit)


_PANEL_ONLY: Final = frozenset(
    {Verb.START, Verb.NEXT, Verb.PRESENT, Verb.RESET}
)  # what lets a cuff inflate, later or now; a self-test that is asked for waits for the button by itself
BUTTON_WITHIN_S: Final = 30.0  # [J] after a self-test was asked for elsewhere


def _screen(s: SessionState, command: Command, _seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    screening = command.screening
    if screening is None:
        return Answer(False, "nothing to screen: give the answers")
    if s.phase is not Phase.IDLE and s.phase is not Phase.READY:
        return Answer(False, not_now(s.phase))
    s.screening, s.screened_at_s = screening, now_s
    s.tell(
        EventKind.SCREENED,
        now_s,
        code=screening.code,
        by=screening.by,
        cleared=screening.cleared,
        reasons="; ".join(screening.reasons),
    )
    if s.phase is Phase.READY and (not screening.cleared or screening.code != s.code):
        s.go(Event.UNREADIED, now_s, "screened anew")  # at once: a start may be the next word of this very tick
    if not screening.cleared:
        return Answer(False, f"{screening.code} is not cleared: {'; '.join(screening.reasons)}")
    return Answer(True, f"{screening.code} is cleared, for one session")


def not_now(phase: Phase) -> str:
    """Why nobody is screened or prescribed for now, with the one thing that changes it."""
    first = {Phase.FAULT: "reset first", Phase.STOPPING: "wait for it to be empty"}.get(phase, "stop first")
    return f"not while {phase}: {first}"


def _prescribe(s: SessionState, command: Command, _seen: tuple[Seen, ...], bench: Bench, now_s: float) -> Answer:
    new = command.prescription
    if new is None:
        return Answer(False, "nothing to prescribe")
    if s.phase is not Phase.IDLE and s.phase is not Phase.READY:
        return Answer(False, not_now(s.phase))
    if not 0 <= new.cuff < len(s.prescriptions):
        return Answer(False, f"cuff = {new.cuff + 1}: this bench has {len(s.prescriptions)}")
    if s.screening is None or s.screening.code != new.code:
        return Answer(False, f"{new.code} is not screened: screen first, a screening holds for one session")
    if not s.screening.cleared:
        return Answer(False, f"{new.code} is not cleared: {'; '.join(s.screening.reasons)}")
    kept = tuple(one if one is not None and one.code == new.code else None for one in s.prescriptions)
    for cuff, other in enumerate(kept):
        if other is None or cuff == new.cuff:
            continue
        if other.timeline != new.timeline:
            return Answer(
                False,
                f"cuff {cuff + 1} has {other.timeline.protocol}: both cuffs live one protocol; stop to clear it",
            )
        if (other.plan.limb, other.plan.side) == (new.plan.limb, new.plan.side):
            return Answer(False, f"cuff {cuff + 1} is on that limb already: one cuff on a limb")
    key = (new.code, new.plan.limb, new.plan.side)
    clock = _clock_of(s, key, bench.limits)
    refusal = _too_long(new, clock, bench.limits)
    if refusal is not None:
        return refusal
    s.clocks = {**s.clocks, key: clock}
    s.prescriptions = tuple(new if cuff == new.cuff else one for cuff, one in enumerate(kept))
    s.timeline = new.timeline
    others = [None if limb == key else limb for limb in s.limbs]  # a limb is on one cuff: two would both run its clock
    s.limbs = (*others[: new.cuff], key, *others[new.cuff + 1 :])
    s.targets_mmhg = tuple(nan if one is None else one.plan.target_mmhg for one in s.prescriptions)
    s.tell(
        EventKind.PRESCRIBED,
        now_s,
        new.cuff,
        code=new.code,
        by=new.by,
        protocol=new.timeline.protocol,
        limb=str(new.plan.limb),
        side=str(new.plan.side),
        percent_lop=new.plan.percent_lop,
        target_mmhg=new.plan.target_mmhg,
        **{"lop_mmhg": new.plan.lop_mmhg, **dict(new.provenance)},
    )
    warnings = [*new.warnings, *_carried_over(clock, new, bench.limits), *_cannot_keep(s)]
    return Answer(True, ". ".join([told(new), *warnings]))


def told(prescription: Prescription) -> str:
    """A prescription for the person who said it: what is on which limb, of whom."""
    plan, timeline = prescription.plan, prescription.timeline
    what = f"cuff {prescription.cuff + 1}, {plan.side} {plan.limb}, {prescription.code}: {timeline.protocol}"
    if timeline.mode is Mode.NONE:
        return f"{what} without pressure"
    return f"{what} at {plan.target_mmhg:.0f} mmHg, {plan.percent_lop:.0f} % of an LOP of {plan.lop_mmhg:.0f}"


def _clock_of(s: SessionState, key: LimbKey, limits: Limits) -> LimbClock:
    """The limb's own clock while it runs, or a fuller one: its cap where the past is unknown, what a self-test that may
    have pressed on this very limb has left, and whatever stands for the same limb and side under another code, because
    a new code does not make a new leg, nor does an old one."""
    own = s.clocks.get(key, LimbClock())
    same = [clock for one, clock in s.clocks.items() if one[1:] == key[1:]]
    restricted_s = max([s.nobodys_s, *[clock.restricted_s for clock in same]])
    if s.past_unknown:
        restricted_s = max(restricted_s, limits.limb_cap_s(key[1]))
    if not own.restricted_s < restricted_s:  # NaN is its own
        if key in s.limbs:
            return own
        restricted_s = own.restricted_s  # it has stood still since its cuff was put on another: so has its free flow
    exercise_s = restricted_s if s.past_unknown else max((clock.exercise_s for clock in same), default=0.0)
    return LimbClock(restricted_s, s.bench_free_s, exercise_s)


def planned_restricted_s(prescription: Prescription) -> float:
    """The longest stretch of restricted time that 180 s below 15 mmHg do not surely clear, each inflation as 30 s."""
    steps: list[Step] = []
    for step in prescription.timeline.steps:
        if step.kind in (StepKind.OFF, StepKind.REPERFUSION) and step.duration_s >= 180.0:
            break  # cleared by then; the later stretches are checked one by one when the protocol loads
        steps.append(step)
    return _planned_s(steps)


def _planned_s(steps: list[Step]) -> float:
    """Restricted time of some steps in a row, each inflation as 30 s."""
    total_s, inflated = 0.0, False
    for step in steps:
        if step.inflated:
            total_s += step.duration_s + (0.0 if inflated else INFLATION_PLANNED_S)
        inflated = step.inflated
    return total_s


def _too_long(new: Prescription, clock: LimbClock, limits: Limits) -> Answer | None:
    cap_s = limits.limb_cap_s(new.plan.limb)
    planned_s = planned_restricted_s(new)
    if clock.restricted_s + planned_s <= cap_s:
        return None
    return Answer(
        False,
        f"this limb has been restricted for {clock.restricted_s:.0f} s and the protocol plans {planned_s:.0f} s more, "
        f"above {cap_s:.0f} s: leave the cuff empty for 180 s first",
        round(clock.restricted_s + planned_s, 1),
        cap_s,
        "s",
    )


def _carried_over(clock: LimbClock, new: Prescription, limits: Limits) -> list[str]:
    """What this limb's clock begins with, whoever's code it ran under: else the session ends early out of the blue."""
    if clock.restricted_s < 1.0:
        return []
    used, cap = (f"{s // 60:.0f}:{s % 60:02.0f}" for s in (floor(clock.restricted_s), limits.limb_cap_s(new.plan.limb)))
    where = f"the {new.plan.side} {new.plan.limb}"
    return [f"carried over: {used} of {cap}, a cuff was under pressure on {where}; 180 s empty clear it"]


def _cannot_keep(s: SessionState) -> list[str]:
    """A warning when this bench, as measured last, cannot keep the prescribed rest."""
    timeline = s.timeline
    if timeline is None or not isfinite(s.inflation_s):
        return []
    least_s = s.release_s + FREE_FLOW_MIN_S + s.inflation_s + LEAD_IN_S
    for step in timeline.steps:
        if step.kind is StepKind.REST and not step.inflated and step.duration_s < least_s:
            return [f"this cuff needs {least_s:.0f} s between sets, the protocol says {step.duration_s:g} s"]
    return []


def _selftest(s: SessionState, command: Command, seen: tuple[Seen, ...], bench: Bench, now_s: float) -> Answer:
    """Begin one, or say which cuff filled."""
    if command.answer:
        return _confirm(s, command, now_s)
    if s.phase is Phase.TESTING:
        return Answer(False, "a self-test is under way: " + (testing.question(s) or "wait for its end, or stop"))
    if s.phase is not Phase.IDLE and s.phase is not Phase.READY:
        return Answer(False, not_now(s.phase))
    refusal = s.unrecorded or bench.uncalibrated or testing.why_not(s, bench.limits)
    if refusal:
        return Answer(False, refusal)
    for cuff, one in enumerate(seen):
        if not one.empty and one.certain:  # a sensor without a reading is the test's to find
            text = _not_long_enough(cuff, one) or (
                f"cuff {cuff + 1} is not measured empty, {one.pressure_mmhg:.0f} mmHg: empty it first"
            )
            return Answer(False, text, one.pressure_mmhg, EMPTY_MMHG, "mmHg")
    if bench.require_panel and command.source != "panel":
        if s.phase is Phase.READY:
            return Answer(False, "the start button would begin the session now: stop first, then ask again")
        s.test_asked_at_s = now_s
        return Answer(True, f"press the start button at the bench within {BUTTON_WITHIN_S:g} s: the self-test begins")
    testing.begin(s, bench.limits, now_s)
    return Answer(True, "the self-test begins: cuff by cuff, up to 150 mmHg")


def _confirm(s: SessionState, command: Command, now_s: float) -> Answer:
    if s.test is None or not s.test.waits:
        return Answer(False, "no self-test is waiting for an answer")
    if not selftest.offered(command.answer, testing.answers(s)):
        said = command.answer.strip()[:20] or "nothing"
        return Answer(False, f"{said} is none of the answers, say again: {testing.question(s)}")
    if testing.answer(s, command.answer, now_s):
        return Answer(True, "right: that is the cuff")
    return Answer(False, "that is not the cuff that was filled: the self-test has failed, vented")


def _not_long_enough(cuff: int, one: Seen) -> str:
    """Where a cuff is empty and only the time is missing in which it is measured so; "" where it is not empty."""
    if not (one.certain and one.pressure_mmhg < EMPTY_MMHG):
        return ""
    return f"cuff {cuff + 1} is not measured empty for half a second yet: try again"


def _start(s: SessionState, command: Command, seen: tuple[Seen, ...], bench: Bench, now_s: float) -> Answer:
    if now_s - s.test_asked_at_s <= BUTTON_WITHIN_S:
        s.test_asked_at_s = -1e9
        if s.phase is not Phase.READY:
            return _selftest(s, command, seen, bench, now_s)
        # Whoever presses may mean the one or the other, and both fill a cuff.
        return Answer(False, "a self-test was asked for and a session is ready since: press again to begin the session")
    if s.phase is Phase.FAULT:
        return Answer(False, f"not after a trip ({s.fault.rule if s.fault else 'fault'}): reset first")
    if s.phase is not Phase.READY:
        if s.phase is Phase.IDLE:
            return Answer(False, f"not ready: {s.not_ready}")
        return Answer(False, f"not while {s.phase}: a session is under way")
    timeline = s.timeline
    if timeline is None or not timeline.steps:
        return Answer(False, "nothing to start: prescribe first")
    for cuff, one in enumerate(seen):
        if not one.empty:
            return Answer(
                False,
                _not_long_enough(cuff, one) or f"cuff {cuff + 1} is at {one.pressure_mmhg:.0f} mmHg: empty it first",
                one.pressure_mmhg,
                EMPTY_MMHG,
                "mmHg",
            )
    refusal = _after_test(s, bench.limits, now_s) or _goes_on(s, timeline, bench.limits)
    if refusal is not None:
        return refusal
    s.step_index, s.progress_s, s.final, s.pausing = 0, 0.0, False, False
    _carry_over(s)
    s.started_at_s = s.sign_at_s = now_s
    s.last_repetition_at_s = nan
    s.outcome, s.ended = "", None
    s.tell(EventKind.STARTED, now_s, protocol=timeline.protocol, code=s.code)
    if timeline.steps[0].inflated:
        s.go(Event.START, now_s)
    else:
        begin_set(s, Event.START_MOVING, now_s)
    return Answer(True, f"{timeline.protocol} begins")


def _after_test(s: SessionState, limits: Limits, now_s: float) -> Answer | None:
    """A self-test restricts the limb it presses on: a session begins as a second exercise would, after a minute of free
    flow, and with what the limb has left now, which is less than when it was prescribed."""
    free_s = now_s - s.test_passed_at_s
    if free_s < INTER_EXERCISE_S:
        text = f"the self-test has just pressed on this limb: begin in {INTER_EXERCISE_S - free_s:.0f} s"
        return Answer(False, text, round(free_s, 1), INTER_EXERCISE_S, "s")
    for cuff, prescription in enumerate(s.prescriptions):
        clock = s.clock_of(cuff)
        refusal = None if prescription is None or clock is None else _too_long(prescription, clock, limits)
        if refusal is not None:
            return refusal
    return None


def _goes_on(s: SessionState, timeline: Timeline, limits: Limits) -> Answer | None:
    """A limb that had no minute of free flow goes on with the exercise it had: refused where that cannot be lived to
    its end, because it would be broken off in the middle."""
    cap_s = min(limits.exercise_cap_s, timeline.exercise_cap_s)
    planned_s = _planned_s([step for step in timeline.steps if step.exercise == timeline.steps[0].exercise])
    for cuff, prescription in enumerate(s.prescriptions):
        clock = s.clock_of(cuff)
        if prescription is None or clock is None or clock.free_s >= INTER_EXERCISE_S:
            continue
        carried_s = min(clock.restricted_s, clock.exercise_s)
        if carried_s >= 1.0 and planned_s > 0.0 and carried_s + planned_s > cap_s:
            text = (
                f"this limb had {carried_s:.0f} s of an exercise a moment ago and {planned_s:.0f} s are planned, above "
                f"{cap_s:.0f} s: begin in {INTER_EXERCISE_S - clock.free_s:.0f} s, with the cuff empty"
            )
            return Answer(False, text, round(carried_s + planned_s, 1), cap_s, "s")
    return None


def _carry_over(s: SessionState) -> None:
    """Stop and start again does not make a new exercise, nor does another cuff: that takes a minute of free flow."""
    for cuff in range(len(s.limbs)):
        clock = s.clock_of(cuff)
        if clock is not None:
            goes_on = clock.free_s < INTER_EXERCISE_S
            clock.exercise_s = min(clock.restricted_s, clock.exercise_s) if goes_on else 0.0


def _present(s: SessionState, _command: Command, _seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    s.sign_at_s = now_s
    s.waiting_since_s = nan
    return Answer(True, "seen")


def _next(s: SessionState, command: Command, seen: tuple[Seen, ...], bench: Bench, now_s: float) -> Answer:
    _present(s, command, seen, bench, now_s)
    step = s.step
    if s.phase is Phase.PAUSED:
        return _resume(s, seen, now_s)
    if s.phase is Phase.HOLDING and step is not None and step.kind is StepKind.SET:
        if s.progress_s == 0.0 and now_s - s.last_repetition_at_s < REST_MIN_S:
            return Answer(
                True, f"seen; the rest is not {REST_MIN_S:g} s yet, the set begins in {s.due_at_s - now_s:.0f} s"
            )
        s.due_at_s = now_s
        return Answer(True, "the set begins")
    if s.phase is Phase.RESTING and step is not None:
        return _next_in_rest(s, now_s)
    return Answer(True, f"seen; nothing to begin while {s.phase}")


def _next_in_rest(s: SessionState, now_s: float) -> Answer:
    step, following = s.step, step_after(s)
    if step is None or step.kind is StepKind.SET or following is None:
        return Answer(True, "seen")
    earliest_s = s.due_at_s
    if step.kind is StepKind.REST:
        before_s = (s.inflation_s + LEAD_IN_S) if following.inflated and isfinite(s.inflation_s) else 0.0
        earliest_s = s.last_repetition_at_s + REST_MIN_S - before_s
        s.shortened = True
        if following.inflated:
            earliest_s = max(earliest_s, s.empty_at_s + FREE_FLOW_MIN_S)
    cue_s = INFLATION_CUE_S if step.inflated or following.inflated else 0.0
    s.due_at_s = min(max(s.due_at_s, now_s + cue_s), max(earliest_s, now_s + cue_s))
    return Answer(True, f"seen; begins in {s.due_at_s - now_s:.0f} s")


def _resume(s: SessionState, seen: tuple[Seen, ...], now_s: float) -> Answer:
    for cuff, one in enumerate(seen):
        if not one.empty:
            text = f"cuff {cuff + 1} is not empty: {one.pressure_mmhg:.0f} mmHg, must be below 15 mmHg"
            return Answer(False, _not_long_enough(cuff, one) or text)
    step = s.step
    if step is None:
        return Answer(False, "nothing to go on with: stop")
    skipped = step.kind in (StepKind.REST, StepKind.OFF, StepKind.REPERFUSION)
    target = step_after(s) if skipped else step
    if target is None:
        return Answer(False, "nothing to go on with: stop")
    if target.inflated:  # a pause shortens no reperfusion
        free_s, least_s = now_s - s.empty_at_s, FREE_FLOW_MIN_S
        if step.kind is StepKind.OFF:
            least_s = step.duration_s
        elif step.kind is StepKind.REPERFUSION:  # half an hour of it would outlast any pause
            least_s = min(step.duration_s, REPERFUSION_S)
        if free_s < least_s:
            text = f"the cuff must stay empty for {least_s - free_s:.0f} s more"
            return Answer(False, text, round(free_s, 1), least_s, "s")
    if skipped:
        s.step_index, s.progress_s = s.step_index + 1, 0.0
        if target.exercise != step.exercise:
            s.new_exercise()
    step = target
    s.warning = None
    s.last_repetition_at_s = nan  # a pause is no rest: nothing is counted from before it
    if step.inflated:
        s.go(Event.RESUME, now_s)
    else:
        begin_set(s, Event.RESUME_MOVING, now_s)
    return Answer(True, "going on")


def _stop(s: SessionState, command: Command, _seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    """Never bad input: vents again in every phase and says what was true already."""
    was = s.phase
    s.test_asked_at_s = -1e9
    if was is Phase.IDLE:
        finish(s, Event.STOP, "stopped", now_s)
        return Answer(True, "already idle and vented; vented again")
    s.go(Event.STOP, now_s, f"stopped by {command.by or command.source}")
    if was is Phase.FAULT:
        return Answer(
            True,
            f"already tripped ({s.fault.rule if s.fault else 'fault'}) and vented; vented again, reset is still due",
        )
    if was is Phase.STOPPING:
        return Answer(True, "already stopping; vented again")
    return Answer(True, "stopping: vented")


def _pause(s: SessionState, _command: Command, _seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    was = s.phase
    if s.final or not s.go(Event.PAUSE, now_s):
        return Answer(False, f"nothing to pause while {was}")
    s.pausing = s.phase is Phase.RELEASING
    s.waiting_since_s = s.inflate_from_s = nan
    s.sign_at_s = -1e9  # going on is a person's act of its own
    return Answer(True, "pausing: released; `next` goes on, within 5 min")


def _lower(s: SessionState, _command: Command, _seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    if s.timeline is None or s.step_index < 0 or s.phase is Phase.STOPPING or s.phase is Phase.FAULT:
        return Answer(False, f"nothing to lower while {s.phase}")
    lowered: list[float] = []
    if s.timeline.mode is Mode.NONE:
        return Answer(False, "nothing to lower: this protocol has no pressure")
    for prescription, target in zip(s.prescriptions, s.targets_mmhg, strict=True):
        new = target - LOWER_BY_MMHG
        if prescription is not None and not new >= prescription.plan.lop_mmhg * LOWER_TO_PERCENT / 100.0:
            end(s, now_s, f"lowered below {LOWER_TO_PERCENT:g} % of LOP: released")
            return Answer(
                True, f"below {LOWER_TO_PERCENT:g} % of LOP there is nothing lower: released, the session ends"
            )
        lowered.append(new)
    s.targets_mmhg = tuple(lowered)
    told = ", ".join(f"{target:.0f}" for target in lowered if isfinite(target))
    return Answer(True, f"target lowered to {told} mmHg")


def _reset(s: SessionState, command: Command, seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    if s.phase is not Phase.FAULT:
        return Answer(False, f"nothing to reset while {s.phase}")
    for cuff, one in enumerate(seen):
        if one.empty:
            continue
        short = _not_long_enough(cuff, one)
        if short:
            return Answer(False, short)
        if one.certain or not command.cuff_off:
            what = f"at {one.pressure_mmhg:.0f} mmHg" if one.certain else "without a trustworthy reading"
            return Answer(
                False,
                f"cuff {cuff + 1} is {what}, must be measured below 15 mmHg: empty it"
                + ("" if one.certain else ", or take it off and say so: `manchet reset --cuff-off`"),
            )
    s.resetting_since_s, s.cuff_off = now_s, command.cuff_off
    return Answer(True, "reset: idle as soon as the guard has cleared its latch")


def _status(s: SessionState, _command: Command, seen: tuple[Seen, ...], _bench: Bench, now_s: float) -> Answer:
    if s.phase is Phase.FAULT and s.fault is not None:
        return Answer(True, f"fault: {s.fault.text}; vented until `manchet reset`")
    if s.phase is Phase.IDLE:
        failed = "" if s.test_failed is None or s.test_failed.text in s.not_ready else f"; {s.test_failed.text}"
        return Answer(True, f"idle: {s.not_ready}{failed}")
    asked = testing.question(s)
    if asked:
        return Answer(True, f"{_where(s, seen, now_s)}; asked: {asked} (`manchet selftest --confirm WHICH`)")
    what = coming(s)
    if s.phase is Phase.RESTING and not signed(s) and what is not None and what.inflated:
        return Answer(True, f"{_where(s, seen, now_s)}; waiting for a sign of the supervisor: `present`, or `next`")
    return Answer(True, _where(s, seen, now_s))


def _where(s: SessionState, seen: tuple[Seen, ...], now_s: float) -> str:
    """Phase, set, repetition, how long a rest or a pause still lasts, and what is in each cuff in use."""
    words, step = [str(s.phase)], s.step
    if s.phase is Phase.PAUSED:
        words.append(f"{max(0.0, s.phase_since_s + PAUSE_MAX_S - now_s):.0f} s until it ends the session")
    elif s.phase is Phase.RESTING and isfinite(s.due_at_s):
        what = coming(s)
        ahead = "until it inflates" if what is not None and what.inflated else "left"
        words.append(f"{max(0.0, s.due_at_s - now_s):.0f} s {ahead}")
    if s.timeline is not None and step is not None and step.kind is StepKind.SET:
        words.append(f"set {step.set_index} of {sum(one.kind is StepKind.SET for one in s.timeline.steps)}")
        if s.repetition >= 0 and step.repetitions:
            words.append(f"repetition {min(s.repetition + 1, step.repetitions)} of {step.repetitions}")
    for cuff, target in enumerate(s.targets_mmhg):
        if isfinite(target):
            mmhg = seen[cuff].pressure_mmhg
            known = f"at {mmhg:.0f} mmHg" if isfinite(mmhg) else "without a trustworthy reading"
            words.append(f"cuff {cuff + 1} {known}, target {target:.0f}")
    return ", ".join(words)


def _elsewhere(s: SessionState, _command: Command, _seen: tuple[Seen, ...], _bench: Bench, _now_s: float) -> Answer:
    return Answer(False, f"not a command of the session while {s.phase}")


_OBEY: Final[dict[Verb, Callable[[SessionState, Command, tuple[Seen, ...], Bench, float], Answer]]] = {
    Verb.SCREEN: _screen,
    Verb.PRESCRIBE: _prescribe,
    Verb.START: _start,
    Verb.NEXT: _next,
    Verb.PRESENT: _present,
    Verb.STOP: _stop,
    Verb.PAUSE: _pause,
    Verb.LOWER: _lower,
    Verb.RESET: _reset,
    Verb.STATUS: _status,
    Verb.SELFTEST: _selftest,
    Verb.ACKNOWLEDGE: _elsewhere,
    Verb.SILENCE: _elsewhere,
}
