"""A bench for the session's tests: the real `step`, an idealised cuff, and a stand-in for the guard that does as told.

Not a simulator: a cuff here rises by so many mmHg a second and falls by so large a share, and the guard arms, disarms,
trips and resets one tick after its order unless a test says otherwise. One tick is 1/16 s, exact in binary.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from controller.core import step as core
from controller.core.commands import Bench
from controller.core.limb import LimbClock, LimbKey
from controller.core.limits import Limits
from controller.core.model import (
    VENTED,
    ChannelStatus,
    Command,
    CuffOutputs,
    CuffPlan,
    EventKind,
    Finding,
    GuardOrder,
    GuardState,
    GuardStatus,
    Happened,
    Inputs,
    Limb,
    Mode,
    Notice,
    Phase,
    Prescription,
    Reply,
    Sample,
    Screening,
    Side,
    Step,
    StepKind,
    Tempo,
    Timeline,
    Verb,
)
from controller.core.regulator import RegulatorSettings

TICK_S = 1 / 16
MAY_PRESS = frozenset(
    {Phase.INFLATING, Phase.WORKING, Phase.HOLDING, Phase.TESTING}
)  # the only phases that may close a valve
FOUR_S = Tempo(2.0, 0.0, 2.0)

# --- timelines ---------------------------------------------------------------------------------------------------


def work(repetitions: int = 3, *, exercise: int = 0, index: int = 1, inflated: bool = True) -> Step:
    """A set by repetitions of 4 s."""
    return Step(StepKind.SET, inflated, repetitions * 4.0, exercise, index, repetitions, FOUR_S)


def rest(seconds: float = 30.0, *, exercise: int = 0, inflated: bool = False) -> Step:
    return Step(StepKind.REST, inflated, seconds, exercise)


def hold(seconds: float, bout: int = 0) -> Step:
    return Step(StepKind.HOLD, True, seconds, bout)


def off(seconds: float, bout: int = 0) -> Step:
    return Step(StepKind.OFF, False, seconds, bout)


def timeline(mode: Mode, *steps: Step, protocol: str = "short", cap_s: float = 480.0) -> Timeline:
    return Timeline(protocol, mode, steps, cap_s)


INTERMITTENT = timeline(Mode.INTERMITTENT, work(3), rest(30.0), work(2, index=2))
CONTINUOUS = timeline(Mode.CONTINUOUS, work(3), rest(30.0, inflated=True), work(2, index=2))
RESTING = timeline(Mode.RESTING, work(3, inflated=False), rest(30.0, inflated=True), work(2, index=2, inflated=False))
PASSIVE = timeline(Mode.PASSIVE, hold(60.0), off(40.0), hold(60.0, 1))
NO_CUFF = timeline(Mode.NONE, work(2, inflated=False), rest(30.0), work(2, index=2, inflated=False))


def prescription(
    line: Timeline = INTERMITTENT,
    *,
    cuff: int = 0,
    code: str = "A1",
    limb: Limb = Limb.LEG,
    side: Side = Side.LEFT,
    lop: float = 180.0,
    target: float = 100.0,
    warnings: tuple[str, ...] = (),
) -> Prescription:
    plan = CuffPlan(limb, side, lop, target / lop * 100.0, target)
    return Prescription(code, "ab", cuff, plan, line, warnings, (("lop_method", "doppler"),))


def screening(code: str = "A1", *reasons: str) -> Screening:
    return Screening(code, "ab", not reasons, reasons)


# --- the stand ---------------------------------------------------------------------------------------------------


@dataclass
class Channel:
    """One idealised cuff. Set `a`, `b` to say a reading that is not true; None: as it is."""

    mmhg: float = 0.0
    a: float | None = None
    b: float | None = None
    sampled: bool = True
    rise_mmhg_s: float | None = None  # None: as the stand's


@dataclass
class Stand:
    """Drives `step` tick by tick, follows its outputs and writes down what happens. Times are since `zero_s`."""

    cuffs: int = 1
    rise_mmhg_s: float = 50.0
    fall_1_s: float = 4.0  # share of the pressure that goes in a second
    limits: Limits = field(default_factory=Limits)
    require_panel: bool = False
    uncalibrated: str = ""
    selftest_required: bool = False
    clocks: dict[LimbKey, LimbClock] | None = None
    fault: Finding | None = None
    past_unknown: bool = False
    now_s: float = 1000.0
    zero_s: float = 1000.0
    guard: GuardState = GuardState.VENTED
    guard_trip: str = ""
    estop_ok: bool = True
    boot_id: int = 7
    expected_boot_id: int = 7
    answering: bool = True  # the guard sends its STATUS
    deaf: frozenset[GuardOrder] = frozenset()  # orders that the guard does not follow
    notices: tuple[Notice, ...] = ()
    watched: Callable[[Stand, core.Stepped], None] | None = None  # called after each tick

    def __post_init__(self) -> None:
        known = Bench(self.limits, self.require_panel, self.uncalibrated, self.selftest_required)
        self.settings = core.CoreSettings(known, RegulatorSettings())
        self.state = core.initial(self.cuffs, self.settings, self.now_s, self.clocks, self.fault, self.past_unknown)
        self.channels = [Channel() for _ in range(self.cuffs)]
        self.events: list[Happened] = []
        self.orders: list[tuple[float, GuardOrder]] = []
        self.phases: list[tuple[float, Phase]] = []
        self.stepped = core.Stepped(self.state, core.Outputs((VENTED,) * self.cuffs), (), ())
        self._due: GuardOrder = GuardOrder.NONE
        self._counts = 0
        self._ids = 0
        self.leases_refused = 0  # by the guard; leases, by the guard

    # --- what there is to see

    @property
    def phase(self) -> Phase:
        return self.state.session.phase

    @property
    def s(self) -> Any:
        return self.state.session

    @property
    def at_s(self) -> float:
        return self.now_s - self.zero_s

    @property
    def outputs(self) -> tuple[CuffOutputs, ...]:
        return self.stepped.outputs.cuffs

    def told(self, kind: EventKind) -> list[Happened]:
        return [one for one in self.events if one.kind is kind]

    def conditions(self) -> set[str]:
        return {alarm.condition for alarm in self.state.alarms.alarms}

    # --- one tick

    def inputs(self, commands: tuple[Command, ...]) -> Inputs:
        self._counts += 1
        at = self.now_s
        samples = tuple(
            [
                (Sample(at, one.mmhg if one.a is None else one.a, self._counts),) if one.sampled else ()
                for one in self.channels
            ]
        )
        if not self.answering:
            return Inputs(samples, (), commands, self.notices)
        pins = tuple(
            [
                ChannelStatus(one.mmhg if one.b is None else one.b, out.pump_duty, out.pump_enabled, *_valves(out))
                for one, out in zip(self.channels, self._driven(), strict=True)
            ]
        )
        status = GuardStatus(
            at, self.boot_id, self.expected_boot_id, self._counts, self.guard, self.guard_trip, 0, self.estop_ok, pins,
            self.leases_refused,
        )  # fmt: skip
        return Inputs(samples, (status,), commands, self.notices)

    def _driven(self) -> tuple[CuffOutputs, ...]:
        return self.outputs if self.guard is GuardState.ARMED else (VENTED,) * self.cuffs

    def _obey_orders(self) -> None:
        """The guard does what it was told a tick ago."""
        order, self._due = self._due, GuardOrder.NONE
        if order in self.deaf:
            return
        if order is GuardOrder.ARM and self.guard is GuardState.VENTED:
            self.guard = GuardState.ARMED
        elif order is GuardOrder.DISARM and self.guard is GuardState.ARMED:
            self.guard = GuardState.VENTED
        elif order is GuardOrder.PROVE_REFUSAL:
            self.leases_refused += 1
        elif order is GuardOrder.TRIP:
            self.guard = GuardState.TRIPPED
        elif order is GuardOrder.RESET and self.guard is GuardState.TRIPPED:
            self.guard, self.guard_trip = GuardState.VENTED, ""

    def _move_air(self, dt_s: float) -> None:
        for one, out in zip(self.channels, self._driven(), strict=True):
            if out.vent_open or out.dump_open:
                one.mmhg -= one.mmhg * min(1.0, self.fall_1_s * dt_s)
            elif out.pump_enabled and out.pump_duty > 0.0:
                rise_mmhg_s = self.rise_mmhg_s if one.rise_mmhg_s is None else one.rise_mmhg_s
                one.mmhg += rise_mmhg_s * out.pump_duty * dt_s

    def tick(self, *commands: Command, dt_s: float = TICK_S) -> core.Stepped:
        self._obey_orders()
        self._move_air(min(max(dt_s, 0.0), 1.0))
        self.now_s += dt_s
        was = self.phase
        self.stepped = core.step(self.state, self.inputs(commands), self.now_s, self.settings)
        self.state = self.stepped.state
        self.events += self.stepped.events
        for happened in self.stepped.events:
            if happened.kind is EventKind.PHASE:
                self.phases.append((self.at_s, happened.phase))
        order = self.stepped.outputs.order
        if order is not GuardOrder.NONE:
            self.orders.append((self.at_s, order))
            self._due = order
        assert [one.id for one in self.stepped.replies] == [one.id for one in commands], "one reply for each command"
        if was not in MAY_PRESS and self.phase not in MAY_PRESS:
            assert self.outputs == (VENTED,) * self.cuffs, (was, self.phase, self.outputs)
        if self.watched is not None:
            self.watched(self, self.stepped)
        return self.stepped

    # --- many

    def run(self, seconds: float) -> Stand:
        for _ in range(round(seconds / TICK_S)):
            self.tick()
        return self

    def until(self, *phases: Phase, at_most_s: float = 120.0) -> Stand:
        """Tick until the session is in one of these."""
        for _ in range(round(at_most_s / TICK_S)):
            if self.phase in phases:
                return self
            self.tick()
        raise AssertionError(f"{self.phase} after {at_most_s} s, not {phases}: {self.phases}")

    def command(self, verb: Verb, **said: Any) -> Command:
        self._ids += 1
        return Command(self._ids, verb, said.pop("by", "ab"), **said)

    def say(self, verb: Verb, **said: Any) -> Reply:
        """One command, one tick, its reply."""
        return self.tick(self.command(verb, **said)).replies[0]

    def obeyed(self, verb: Verb, **said: Any) -> Reply:
        reply = self.say(verb, **said)
        assert reply.ok, reply
        return reply

    def refused(self, verb: Verb, **said: Any) -> Reply:
        reply = self.say(verb, **said)
        assert not reply.ok, reply
        assert reply.text
        return reply

    def ready(self, *prescriptions: Prescription) -> Stand:
        """Screened, prescribed, measured empty."""
        mine = prescriptions or (prescription(),)
        self.run(1.0)
        self.obeyed(Verb.SCREEN, screening=screening(mine[0].code))
        for one in mine:
            self.obeyed(Verb.PRESCRIBE, prescription=one)
        return self.until(Phase.READY, at_most_s=2.0)

    def started(self, *prescriptions: Prescription) -> Stand:
        """As `ready`, and begun in the tick that is time zero."""
        self.ready(*prescriptions)
        self.phases.clear()
        self.orders.clear()
        self.obeyed(Verb.START)
        self.zero_s = self.now_s
        self.phases = [(0.0, phase) for _, phase in self.phases]
        return self

    def play(self, script: dict[float, Verb | Callable[[Stand], None]], seconds: float) -> Stand:
        """Say or do these at these times since zero (the tick in which the time has come), for so long in all."""
        todo = sorted(script.items(), key=lambda item: item[0])
        while self.at_s < seconds - 1e-9:
            commands = []
            while todo and todo[0][0] <= self.at_s + TICK_S + 1e-9:
                what = todo.pop(0)[1]
                if isinstance(what, Verb):
                    commands.append(self.command(what))
                else:
                    what(self)
            self.tick(*commands)
        assert not todo, todo
        return self


def _valves(out: CuffOutputs) -> tuple[bool, bool]:
    return out.vent_open, out.dump_open


# --- every phase, reached by its own way -----------------------------------------------------------------------------


_AT: dict[tuple[Phase, int], Stand] = {}


def at(phase: Phase, *, cuffs: int = 1) -> Stand:
    """A stand that has come to this phase as a session does, a few ticks into it. Lived once, then copied."""
    key = phase, cuffs
    if key not in _AT:
        _AT[key] = _lived(phase, Stand(cuffs=cuffs))
    return deepcopy(_AT[key])


def _lived(phase: Phase, one: Stand) -> Stand:
    resting = prescription(RESTING)
    if phase is Phase.IDLE:
        return one.run(1.0)
    if phase is Phase.READY:
        return one.ready().run(0.25)
    if phase is Phase.MOVING:
        return one.started(resting).run(1.0)
    if phase is Phase.TESTING:
        one.ready().obeyed(Verb.SELFTEST)
        while one.channels[0].mmhg < 16.0:
            one.tick()
        return one
    one.started()
    if phase is Phase.PAUSED:
        one.until(Phase.WORKING).run(5.0).obeyed(Verb.PAUSE)
    elif phase is Phase.STOPPING:
        one.until(Phase.WORKING).obeyed(Verb.STOP)
    elif phase is Phase.FAULT:
        one.until(Phase.WORKING).guard = GuardState.TRIPPED
    elif phase is Phase.RELEASING:
        return one.until(Phase.RELEASING)
    one.until(phase)
    return one.run(0.25 if phase is not Phase.STOPPING else 0.0)
