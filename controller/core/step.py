"""One tick: `step(state, inputs, now_s, bench)` → what the state becomes, what the outputs are, what happened.

Pure: the state handed in is not changed. The order is the design's: look, obey, live, regulate, and let `supervise`
have the last word; a trip or an end it finds vents in this very tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import Final

from . import alarms, asking, commands, regulator, safety, selftest, session, session_state, testing
from . import clocks as limb_clocks
from .commands import Bench
from .limb import LimbClock, LimbKey
from .limits import LIMB_CAP_S, armed_ceiling_mmhg
from .model import (
    DEMAND_VENT,
    FAULT,
    IDLE,
    INFLATING,
    MOVING,
    PAUSED,
    READY,
    RESTING,
    TESTING,
    VENTED,
    Arm,
    AskKind,
    Command,
    CuffDemand,
    CuffOutputs,
    Demand,
    EventKind,
    Finding,
    GuardOrder,
    GuardState,
    Happened,
    Inputs,
    Limb,
    Outputs,
    Phase,
    Reply,
    Seen,
    Verb,
    forker,
    value,
)
from .phases import Event
from .session_state import SessionState

ORDER_AGAIN_S: Final = 0.1  # an order is repeated until the guard's status shows it
ARM_AGAIN_S: Final = 0.4  # an ARM takes a handshake
RESTRICTED_GRACE_S: Final = 2.0  # [J] the guard's count runs this much longer, so that the orderly end comes first
GUARD_RESTRICTED_MAX_S: Final = LIMB_CAP_S[Limb.LEG]  # compiled into the guard; it refuses an ARM with more
_UNUSED_CEILING_MMHG: Final = 0.0
_NO_ORDER: Final = GuardOrder.NONE
_DISARMED, _ARMED, _TRIPPED = GuardState.VENTED, GuardState.ARMED, GuardState.TRIPPED
_VENT: Final = AskKind.VENT


@dataclass(slots=True)
class CoreState:
    """Everything the core remembers between two ticks."""

    session: SessionState
    safety: safety.SafetyState
    alarms: alarms.AlarmState
    regulators: tuple[regulator.RegulatorState, ...]
    given: tuple[CuffOutputs, ...]  # the last tick's outputs
    seen: tuple[Seen, ...]
    now_s: float
    guard: GuardState | None = None  # None: it has not spoken yet
    estop_ok: bool = False
    ordered_at_s: float = -1e9


_fork: Final = forker(CoreState)


@value
class CoreSettings:
    """What does not change while the bench runs."""

    bench: Bench
    regulator: regulator.RegulatorSettings


@value
class Stepped:
    state: CoreState
    outputs: Outputs
    events: tuple[Happened, ...]
    replies: tuple[Reply, ...]


_UNSEEN: Final = Seen(nan, nan, nan, nan, nan, False, False)


def initial(
    cuffs: int,
    settings: CoreSettings,
    now_s: float,
    clocks: dict[LimbKey, LimbClock] | None = None,
    fault: Finding | None = None,
    past_unknown: bool = False,
) -> CoreState:
    """The state at boot: vented; IDLE, or FAULT when the journal holds a trip that nobody reset."""
    return CoreState(
        session_state.initial(cuffs, now_s, clocks, fault, past_unknown),
        safety.initial(cuffs, now_s),
        alarms.initial(),
        (regulator.initial(settings.regulator),) * cuffs,
        (VENTED,) * cuffs,
        (_UNSEEN,) * cuffs,
        now_s,
    )


def step(state: CoreState, inputs: Inputs, now_s: float, settings: CoreSettings) -> Stepped:
    """One tick. Never raises on any reading, status or command."""
    new = _fork(state)
    s = new.session = state.session.fork()
    limits = settings.bench.limits
    dt_s = now_s - state.now_s
    new.now_s = now_s

    new.safety, seen = safety.observe(state.safety, inputs, state.given, limits, now_s)
    new.seen = seen
    if inputs.statuses:
        newest = inputs.statuses[-1]
        new.guard, new.estop_ok = newest.state, newest.estop_ok
        if new.safety.sight.rebooted:  # another board perhaps, or the same on other lines: nothing of it is proven
            s.test_passed_at_s = nan

    limb_clocks.run(s, seen, dt_s, now_s)
    if s.phase is IDLE or s.phase is READY:
        s.unrecorded = asking.unrecorded(inputs.notices) if inputs.notices else ""
        _ready(s, new, settings.bench, now_s)
    replies: tuple[Reply, ...] = ()
    if inputs.commands:
        replies = tuple([_obey(new, command, settings.bench, now_s) for command in inputs.commands])

    reached = s.phase is INFLATING and _reached(s, new.regulators)
    session.advance(s, seen, new.guard or _DISARMED, reached, now_s)

    demand = _regulate(new, now_s, settings)
    tested = s.test
    if s.phase is TESTING:
        demand = Demand(testing.live(s, _look(new, dt_s), now_s))
    verdict = safety.supervise(
        new.safety, demand, asking.watch(s, limits, now_s), seen, inputs, state.given, limits, now_s
    )
    new.safety = verdict.state
    given = verdict.outputs
    if verdict.trips:
        session.trip(s, verdict.trips[0], now_s)
        given = (VENTED,) * len(given)
    elif verdict.ends:
        first = verdict.ends[0]
        session.end(s, now_s, first.text, first)
        given = (VENTED,) * len(given)
    if tested is not None:
        testing.judged(s, tested, verdict.trips[0] if verdict.trips else None, now_s)
    new.given = given

    _alarm(new, verdict, inputs)
    order, arm = _order(new, RESTRICTED_GRACE_S)
    return Stepped(new, Outputs(given, order, arm, s.cuff_off), tuple(s.events), replies)


def _look(new: CoreState, dt_s: float) -> selftest.Look:
    """What a self-test sees of the bench."""
    status = new.safety.sight.status
    vented = status is not None and all(
        one.vent_open and one.dump_open and not one.pump_enabled and not one.pump_duty for one in status.channels
    )
    refused = 0 if status is None else status.refused
    return selftest.Look(max(0.0, dt_s), new.seen, new.guard, new.estop_ok, refused, vented)


def _ready(s: SessionState, new: CoreState, bench: Bench, now_s: float) -> None:
    s.not_ready = (
        asking.unready(s, new.seen, new.guard, new.estop_ok, bench.uncalibrated)
        or asking.outdated(s, now_s)
        or testing.untested(s, bench.selftest_required, now_s)
    )
    if s.phase is IDLE and not s.not_ready:
        s.go(Event.READIED, now_s)
    elif s.phase is READY and s.not_ready:
        s.go(Event.UNREADIED, now_s, s.not_ready)


def _obey(new: CoreState, command: Command, bench: Bench, now_s: float) -> Reply:
    """Alarms are answered here, everything else by the session."""
    s = new.session
    if command.verb is Verb.ACKNOWLEDGE:
        new.alarms, text = alarms.acknowledge(new.alarms, command.condition, now_s)
        if text is None:
            return Reply(command.id, False, f"no such alarm stands: {command.condition or 'none stands'}")
        s.tell(EventKind.ALARM_ACKNOWLEDGED, now_s, condition=command.condition or "all", by=command.by)
        return Reply(command.id, True, text)
    if command.verb is Verb.SILENCE:
        new.alarms = alarms.silence(new.alarms, now_s)
        s.tell(EventKind.OPERATOR, now_s, verb=str(command.verb), by=command.by, source=command.source)
        return Reply(command.id, True, "audio paused for 30 s; a new alarm sounds at once")
    return commands.obey(s, command, new.seen, bench, now_s)


def _reached(s: SessionState, regulators: tuple[regulator.RegulatorState, ...]) -> bool:
    """Every cuff in use has come to its target."""
    for prescription, one in zip(s.prescriptions, regulators, strict=True):
        if prescription is not None and not regulator.reached(one):
            return False
    return True


def _regulate(new: CoreState, now_s: float, settings: CoreSettings) -> Demand:
    states: list[regulator.RegulatorState] = []
    demands: list[CuffDemand] = []
    for ask, one, seen in zip(asking.asks(new.session, now_s), new.regulators, new.seen, strict=True):
        one, demand = regulator.regulate(one, ask, seen, now_s, settings.regulator)
        states.append(one)
        demands.append(DEMAND_VENT if ask.kind is _VENT else demand)
    new.regulators = tuple(states)
    return Demand(tuple(demands))


def _alarm(new: CoreState, verdict: safety.Verdict, inputs: Inputs) -> None:
    s = new.session
    findings = verdict.trips + verdict.alarms
    if s.fault is not None:
        findings += (s.fault,)
    if s.ended is not None:
        findings += (s.ended,)
    if s.warning is not None:
        findings += (s.warning,)
    if s.test_failed is not None:
        findings += (s.test_failed,)
    if isfinite(s.waiting_since_s):
        findings += (Finding("sign_needed", -1, nan, nan, "", "", new.now_s),)
    new.alarms, changes = alarms.update(new.alarms, findings, inputs.notices, new.now_s, s.phase is FAULT)
    for change in changes:
        s.events.append(_told(change, s.phase, new.now_s))


def _told(change: alarms.AlarmChange, phase: Phase, now_s: float) -> Happened:
    alarm = change.alarm
    kind = EventKind.ALARM_RAISED if change.raised else EventKind.ALARM_CLEARED
    return Happened(
        kind,
        now_s,
        phase,
        None if alarm.cuff < 0 else alarm.cuff,
        {
            "condition": alarm.condition,
            "priority": str(alarm.priority),
            "latched": alarm.latched,
            "text": alarm.text,
            "value": alarm.value,
            "limit": alarm.limit,
            "unit": alarm.unit,
        },
    )


def _order(new: CoreState, margin_s: float) -> tuple[GuardOrder, Arm | None]:
    """What the guard should be told, until its status shows that it was."""
    s, guard, now_s = new.session, new.guard, new.now_s
    if guard is None:
        return _NO_ORDER, None
    order, again_s = _NO_ORDER, ORDER_AGAIN_S
    if s.phase is INFLATING:
        if guard is _DISARMED and not isfinite(s.inflate_from_s):
            order, again_s = GuardOrder.ARM, ARM_AGAIN_S
    elif s.phase is FAULT:
        if isfinite(s.resetting_since_s):
            order = GuardOrder.RESET if guard is _TRIPPED else _NO_ORDER
        elif guard is not _TRIPPED:
            order = GuardOrder.TRIP
    elif s.phase is TESTING:
        order = testing.order(s, guard)
        again_s = ARM_AGAIN_S if order is GuardOrder.ARM else ORDER_AGAIN_S
    elif guard is _ARMED and s.phase in _EMPTY:
        order = GuardOrder.DISARM
    if order is _NO_ORDER or now_s - new.ordered_at_s < again_s - 1e-9:
        return _NO_ORDER, None
    new.ordered_at_s = now_s
    if order is not GuardOrder.ARM:
        return order, None
    return order, testing.arm(s) if s.phase is TESTING else _arm(s, margin_s)


_EMPTY: Final = frozenset({IDLE, READY, RESTING, MOVING, PAUSED})


def _arm(s: SessionState, margin_s: float) -> Arm:
    ceilings: list[float] = []
    left: list[float] = []
    for cuff, prescription in enumerate(s.prescriptions):
        clock = s.clock_of(cuff)
        if prescription is None or clock is None:
            ceilings.append(_UNUSED_CEILING_MMHG)
            left.append(0.0)
            continue
        cap_s = LIMB_CAP_S[prescription.plan.limb]
        ceilings.append(armed_ceiling_mmhg(prescription.plan.lop_mmhg))
        left.append(min(max(0.0, cap_s - clock.restricted_s) + margin_s, GUARD_RESTRICTED_MAX_S))
    return Arm(tuple(ceilings), tuple(left))
