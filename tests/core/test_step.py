"""One tick as a whole: the guard's orders, trips, alarms, and whatever comes in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import session_bench as bench
from controller.core import step as core
from controller.core.limb import LimbClock
from controller.core.limits import Limits
from controller.core.model import (
    VENTED,
    Arm,
    ChannelStatus,
    Command,
    CuffOutputs,
    EventKind,
    GuardOrder,
    GuardState,
    GuardStatus,
    Inputs,
    Limb,
    Mode,
    Notice,
    Phase,
    Priority,
    Sample,
    Side,
    Verb,
)
from session_bench import MAY_PRESS, TICK_S, Stand, prescription, screening, timeline, work

EMPTY_PHASES = (Phase.IDLE, Phase.READY, Phase.RESTING, Phase.MOVING, Phase.PAUSED)


def orders(stand: Any, seconds: float) -> list[tuple[float, GuardOrder]]:
    stand.orders.clear()
    since_s = stand.at_s
    stand.run(seconds)
    return [(at_s - since_s, order) for at_s, order in stand.orders]


# --- READY ---------------------------------------------------------------------------------------------------------


def test_power_up_is_vented_and_idle() -> None:
    stand = Stand(cuffs=2)
    assert stand.phase is Phase.IDLE
    assert stand.state.given == (VENTED, VENTED)
    assert stand.tick().outputs.cuffs == (VENTED, VENTED)


def test_ready_goes_when_what_it_stands_on_goes_and_comes_back() -> None:
    stand = bench.at(Phase.READY)
    stand.channels[0].b = nan
    stand.tick()
    assert stand.phase is Phase.READY, "one reading that is missing is no sensor that is"
    stand.run(0.125)
    assert stand.phase is Phase.IDLE
    assert stand.events[-1].data["why"] == "cuff 1: a pressure sensor gives no reading"
    stand.channels[0].b = None
    assert stand.until(Phase.READY, at_most_s=1.0).phase is Phase.READY


# --- orders to the guard -------------------------------------------------------------------------------------------


def test_a_guard_that_has_not_spoken_is_told_nothing() -> None:
    stand = Stand(answering=False, fault=core.Finding("boot_fault", -1, nan, nan, "", "x", 0.0))
    stand.run(0.2)
    assert stand.orders == []
    assert stand.state.guard is None


def test_arm_carries_the_ceiling_and_the_seconds_left_of_each_cuff() -> None:
    clocks = {("A1", Limb.LEG, Side.LEFT): LimbClock(100.0)}
    stand = Stand(cuffs=2, clocks=clocks).ready(prescription(lop=180.0), prescription(cuff=1, limb=Limb.ARM, lop=250.0))
    stand.obeyed(Verb.START)
    assert stand.stepped.outputs.order is GuardOrder.ARM
    assert stand.stepped.outputs.arm == Arm((200.0, 260.0), (1102.0, 902.0))  # 2 s of grace: the orderly end is first


def test_arm_carries_nothing_for_a_cuff_that_is_not_in_use_and_no_more_than_the_guard_takes() -> None:
    stand = Stand(cuffs=2).ready(prescription(cuff=1))
    stand.obeyed(Verb.START)
    assert stand.stepped.outputs.arm == Arm((0.0, 200.0), (0.0, 1200.0))


def test_arm_never_carries_less_than_nothing() -> None:
    stand = Stand().ready(prescription(bench.NO_CUFF))
    stand.s.clocks["A1", Limb.LEG, Side.LEFT].restricted_s = 5000.0
    assert core._arm(stand.s, 2.0).restricted_left_s == (2.0,)


def test_arm_is_repeated_every_04_s_until_the_status_shows_it() -> None:
    stand = Stand(deaf=frozenset({GuardOrder.ARM})).ready()
    stand.orders.clear()
    stand.obeyed(Verb.START)
    zero_s = stand.at_s
    stand.run(1.5)
    told = [(at_s - zero_s, order) for at_s, order in stand.orders]
    assert [order for _, order in told] == [GuardOrder.ARM] * 4
    assert [at_s for at_s, _ in told] == pytest.approx([0.0, 0.4375, 0.875, 1.3125])  # 0.4 s in whole ticks
    stand.deaf = frozenset()
    stand.until(Phase.HOLDING)
    assert orders(stand, 2.0) == []


def test_no_arm_is_sent_to_a_guard_that_is_armed_or_tripped() -> None:
    for state in (GuardState.ARMED, GuardState.TRIPPED):
        stand = Stand().ready()
        stand.guard = state
        assert "the guard is not vented and disarmed" in stand.refused(Verb.START).text
        stand.run(0.5)
        assert GuardOrder.ARM not in [order for _, order in stand.orders]


@pytest.mark.parametrize("phase", EMPTY_PHASES, ids=str)
def test_disarm_is_repeated_until_the_status_shows_it(phase: Phase) -> None:
    stand = bench.at(phase)
    stand.run(1.0)
    stand.guard, stand.deaf = GuardState.ARMED, frozenset({GuardOrder.DISARM})
    told = orders(stand, 0.5)
    assert {order for _, order in told} == {GuardOrder.DISARM}
    assert [at_s for at_s, _ in told] == pytest.approx([0.0625, 0.1875, 0.3125, 0.4375])  # every 0.1 s in whole ticks
    stand.deaf = frozenset()
    stand.run(0.25)
    assert stand.guard is GuardState.VENTED
    assert orders(stand, 1.0) == []


@pytest.mark.parametrize("phase", [Phase.RELEASING, Phase.STOPPING, Phase.HOLDING, Phase.WORKING], ids=str)
def test_no_order_while_under_pressure(phase: Phase) -> None:
    assert orders(bench.at(phase), 0.25) == []


def test_a_rest_is_lived_disarmed_and_each_inflation_armed_anew() -> None:
    stand = Stand().started()
    stand.play({20.0: Verb.PRESENT}, 60.0)
    assert [order for _, order in stand.orders] == [
        GuardOrder.ARM,
        GuardOrder.DISARM,
        GuardOrder.ARM,
        GuardOrder.DISARM,
    ]
    assert stand.guard is GuardState.VENTED


def test_trip_is_sent_in_fault_until_the_guard_has_latched_too() -> None:
    stand = bench.at(Phase.WORKING)
    stand.estop_ok = True
    stand.channels[0].sampled = False
    stand.deaf = frozenset({GuardOrder.TRIP})
    stand.until(Phase.FAULT, at_most_s=0.5)
    assert stand.stepped.outputs.order is GuardOrder.TRIP
    assert {order for _, order in orders(stand, 0.5)} == {GuardOrder.TRIP}
    stand.deaf = frozenset()
    stand.run(0.25)
    assert stand.guard is GuardState.TRIPPED
    assert orders(stand, 1.0) == []


def test_reset_is_sent_until_the_guard_has_let_go() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    stand.deaf = frozenset({GuardOrder.RESET})
    stand.orders.clear()
    stand.obeyed(Verb.RESET)
    stand.run(0.5)
    assert stand.phase is Phase.FAULT
    assert {order for _, order in stand.orders} == {GuardOrder.RESET}
    stand.deaf = frozenset()
    assert stand.until(Phase.IDLE, at_most_s=0.5).s.fault is None
    assert stand.guard is GuardState.VENTED


def test_a_guard_that_keeps_its_latch_keeps_the_fault_and_the_person_asks_again() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    stand.deaf = frozenset({GuardOrder.RESET})
    stand.obeyed(Verb.RESET)
    stand.run(3.0)
    assert stand.phase is Phase.FAULT
    assert orders(stand, 1.0) == []
    assert "guard_tripped" in stand.conditions()
    stand.deaf = frozenset()
    assert stand.run(1.0).phase is Phase.FAULT  # nothing resets by itself
    stand.obeyed(Verb.RESET)
    stand.until(Phase.IDLE, at_most_s=0.5)


def test_a_reset_in_the_tick_after_a_trip_leaves_nothing_latched_behind_it() -> None:
    """The supervisor has to see the session in FAULT, or it would keep its own latch for ever."""
    stand = bench.at(Phase.READY)
    stand.deaf = frozenset({GuardOrder.TRIP})
    stand.tick(dt_s=0.3)  # a tick that came late
    assert stand.phase is Phase.FAULT
    stand.obeyed(Verb.RESET)
    stand.run(0.25)
    assert stand.phase in (Phase.IDLE, Phase.READY)
    assert not stand.state.safety.tripped
    stand.until(Phase.READY, at_most_s=3.0).obeyed(Verb.START)
    stand.until(Phase.WORKING, at_most_s=10.0)


# --- trips and ends ------------------------------------------------------------------------------------------------


def _no_sample(stand: Any) -> None:
    stand.channels[0].sampled = False


def _stop_button(stand: Any) -> None:
    stand.estop_ok = False


def _guard_silent(stand: Any) -> None:
    stand.answering = False


def _late(stand: Any) -> None:
    stand.tick(dt_s=0.2)


def _over(stand: Any) -> None:
    stand.channels[0].b = 255.0


TRIPS: dict[str, Callable[[Any], None]] = {
    "stale_sample": _no_sample,
    "stop_button": _stop_button,
    "guard_lost": _guard_silent,
    "tick_late": _late,
    "over_pressure": _over,
}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.FAULT], ids=str)
@pytest.mark.parametrize("rule", TRIPS)
def test_a_trip_vents_both_cuffs_and_latches_in_its_tick(rule: str, phase: Phase) -> None:
    stand = bench.at(phase, cuffs=2)
    TRIPS[rule](stand)
    for _ in range(8):
        if stand.phase is Phase.FAULT:
            break
        stand.tick()
    assert stand.phase is Phase.FAULT
    assert stand.outputs == (VENTED, VENTED)
    assert stand.s.fault.rule == rule
    assert stand.s.fault.at_s == stand.now_s
    (told,) = stand.told(EventKind.TRIP)
    assert told.at_s == stand.now_s
    assert (told.data["rule"], told.data["text"]) == (rule, stand.s.fault.text)
    alarm = stand.state.alarms.alarms[0]
    assert (alarm.condition, alarm.priority, alarm.latched) == (rule, Priority.HIGH, True)


def test_the_first_reason_stands_while_more_goes_wrong() -> None:
    stand = bench.at(Phase.WORKING)
    _stop_button(stand)
    stand.tick()
    _no_sample(stand)
    stand.run(1.0)
    assert stand.s.fault.rule == "stop_button"
    assert len(stand.told(EventKind.TRIP)) == 1
    assert "stale_sample" in stand.conditions()


def test_a_fault_is_left_by_a_reset_alone() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    for verb in (Verb.NEXT, Verb.PRESENT, Verb.PAUSE, Verb.LOWER, Verb.STOP, Verb.START, Verb.ACKNOWLEDGE):
        stand.say(verb)
    stand.guard = GuardState.VENTED  # the guard's own latch may go by a power cycle: the session's does not
    stand.run(1.0)
    assert stand.phase is Phase.FAULT


def test_a_reset_lets_the_alarms_go_that_latched() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    assert stand.conditions() == {"guard_tripped"}
    stand.obeyed(Verb.RESET)
    stand.until(Phase.IDLE, at_most_s=1.0)
    assert stand.run(0.1).conditions() == set()
    assert stand.told(EventKind.ALARM_CLEARED)[-1].data["condition"] == "guard_tripped"


def test_a_trip_after_a_reset_is_a_new_one() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    stand.obeyed(Verb.RESET)
    stand.until(Phase.IDLE, at_most_s=1.0).run(1.0)
    _stop_button(stand)
    stand.tick()
    assert stand.s.fault.rule == "stop_button"
    assert len(stand.told(EventKind.TRIP)) == 2


def test_an_end_vents_in_its_tick_and_latches_nothing() -> None:
    stand = Stand().started(prescription(timeline(Mode.INTERMITTENT, work(10), cap_s=8.0)))
    while stand.phase is not Phase.STOPPING:
        stand.tick()
    assert stand.outputs == (VENTED,)
    (told,) = stand.told(EventKind.END)
    assert told.at_s == stand.now_s
    assert told.data["rule"] == "too_long"
    stand.until(Phase.IDLE)
    assert stand.s.outcome == "stopped"
    assert stand.ready().phase is Phase.READY


# --- alarms --------------------------------------------------------------------------------------------------------


def test_notices_from_outside_are_alarms_and_go_with_their_cause() -> None:
    stand = Stand(notices=(Notice("disk_low", 150.0, 200.0, "MB"),)).run(0.5)
    (raised,) = stand.told(EventKind.ALARM_RAISED)
    assert raised.cuff is None
    assert raised.data == {
        "condition": "disk_low",
        "priority": "low",
        "latched": False,
        "text": "little disk space is left",
        "value": 150.0,
        "limit": 200.0,
        "unit": "MB",
    }
    stand.notices = ()
    stand.tick()
    assert stand.told(EventKind.ALARM_CLEARED)[0].data["condition"] == "disk_low"


def test_an_alarm_of_a_cuff_names_it() -> None:
    stand = bench.at(Phase.WORKING)
    _no_sample(stand)
    stand.until(Phase.FAULT, at_most_s=0.5)
    raised = {one.data["condition"]: one.cuff for one in stand.told(EventKind.ALARM_RAISED)}
    assert raised["stale_sample"] == 0


def test_acknowledging_is_told_with_what_and_who() -> None:
    stand = Stand(notices=(Notice("disk_low"), Notice("broker_lost"))).run(0.5)
    assert stand.obeyed(Verb.ACKNOWLEDGE, condition="disk_low", by="xy").text == "acknowledged: disk_low"
    assert stand.told(EventKind.ALARM_ACKNOWLEDGED)[0].data == {"condition": "disk_low", "by": "xy"}
    assert {one.condition: one.acknowledged for one in stand.state.alarms.alarms} == {
        "disk_low": True,
        "broker_lost": False,
    }
    stand.obeyed(Verb.ACKNOWLEDGE)
    assert stand.told(EventKind.ALARM_ACKNOWLEDGED)[1].data["condition"] == "all"
    assert all(one.acknowledged for one in stand.state.alarms.alarms)


def test_acknowledging_what_does_not_stand_is_refused_and_not_told() -> None:
    stand = Stand().run(0.5)
    assert stand.refused(Verb.ACKNOWLEDGE).text == "no such alarm stands: none stands"
    assert stand.refused(Verb.ACKNOWLEDGE, condition="leak").text == "no such alarm stands: leak"
    assert stand.told(EventKind.ALARM_ACKNOWLEDGED) == []


def test_silence_pauses_the_sound_for_30_s() -> None:
    stand = Stand(notices=(Notice("disk_low"),)).run(0.5)
    stand.obeyed(Verb.SILENCE)
    assert stand.state.alarms.alarms[0].audio_paused_until_s == stand.now_s + 30.0
    assert stand.told(EventKind.OPERATOR)[-1].data["verb"] == "silence"


# --- pure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [bench.INTERMITTENT, bench.CONTINUOUS, bench.RESTING, bench.PASSIVE])
def test_the_state_handed_in_is_never_changed(line: Any) -> None:
    """The whole state, written out, before and after each tick of a session with a pause and a lowering in it."""
    stand = Stand(cuffs=2)
    before: list[tuple[Any, str]] = [(stand.state, repr(stand.state))]

    def compare(one: Any, _: Any) -> None:
        state, written = before.pop()
        assert repr(state) == written
        before.append((one.state, repr(one.state)))

    stand.watched = compare
    stand.ready(prescription(line), prescription(line, cuff=1, side=Side.RIGHT))
    stand.obeyed(Verb.START)
    stand.run(6.0).say(Verb.LOWER)
    stand.run(1.0).obeyed(Verb.PAUSE)
    stand.run(12.0).obeyed(Verb.NEXT)
    stand.run(5.0).obeyed(Verb.STOP)
    stand.run(1.0)


def test_the_same_inputs_give_the_same_tick() -> None:
    stand = bench.at(Phase.WORKING)
    state, now_s = stand.state, stand.now_s + TICK_S
    inputs = stand.inputs((stand.command(Verb.PAUSE),))
    first = core.step(state, inputs, now_s, stand.settings)
    second = core.step(state, inputs, now_s, stand.settings)
    assert repr(first) == repr(second)


# --- whatever comes, in any order ------------------------------------------------------------------------------------

# One state of each phase, made once: `step` never changes the state it is handed, so that they stay as they are.
STANDS = {f"{phase}, {cuffs} cuffs": bench.at(phase, cuffs=cuffs) for phase in Phase for cuffs in (1, 2)}


@dataclass
class Course:
    """Ticks of anything from some state on, and what must hold after each of them."""

    state: core.CoreState
    settings: core.CoreSettings
    now_s: float
    guard: GuardState
    mmhg: list[float]
    counts: int = 10_000
    barred: bool = False  # after a stop or a trip, until a start that was obeyed
    refused: int = 0  # leases, by the guard

    def __post_init__(self) -> None:
        self.barred = self.state.session.phase in (Phase.STOPPING, Phase.FAULT)

    def tick(self, dt_s: float, commands: tuple[Command, ...], statuses: Any, readings: Any, pure: bool = True) -> None:
        self.now_s += dt_s
        self.counts += 1
        now_s = self.now_s
        given = self.state.given
        for cuff, out in enumerate(given):  # air, as far as it is told nothing else
            if out.vent_open or out.dump_open or self.guard is not GuardState.ARMED:
                self.mmhg[cuff] *= 0.7
            elif out.pump_enabled and out.pump_duty > 0.0:
                self.mmhg[cuff] += 3.0 * out.pump_duty
        samples = tuple(
            [
                tuple([Sample(now_s + shift_s, self._read(cuff, a), self.counts, why) for shift_s, a, why in each])
                for cuff, each in enumerate(readings[: len(given)])
            ]
        )
        told = tuple([self._status(*one) for one in statuses])
        before = repr(self.state) if pure else ""
        stepped = core.step(self.state, Inputs(samples, told, commands), now_s, self.settings)
        assert not pure or repr(self.state) == before, "the state handed in was changed"
        self._judge(stepped, commands)
        self._follow(stepped.outputs.order)
        self.state = stepped.state

    def _read(self, cuff: int, said: float | None) -> float:
        return said if said is not None else self.mmhg[cuff] if cuff < len(self.mmhg) else nan

    def _status(self, guard: GuardState | None, estop_ok: bool, boot_id: int, b: tuple[float | None, ...]) -> Any:
        if guard is not None:
            self.guard = guard
        pins = tuple([ChannelStatus(self._read(cuff, one), 0.0, False, True, True) for cuff, one in enumerate(b[:2])])
        return GuardStatus(self.now_s, boot_id, 7, 0, self.guard, "", 0, estop_ok, pins, self.refused)

    def _follow(self, order: GuardOrder) -> None:
        ways = {
            (GuardOrder.ARM, GuardState.VENTED): GuardState.ARMED,
            (GuardOrder.DISARM, GuardState.ARMED): GuardState.VENTED,
            (GuardOrder.RESET, GuardState.TRIPPED): GuardState.VENTED,
        }
        self.refused += order is GuardOrder.PROVE_REFUSAL
        self.guard = GuardState.TRIPPED if order is GuardOrder.TRIP else ways.get((order, self.guard), self.guard)

    def _judge(self, stepped: core.Stepped, commands: tuple[Command, ...]) -> None:
        s = stepped.state.session
        replies = {one.id: one for one in stepped.replies}
        assert [one.id for one in stepped.replies] == [one.id for one in commands], "one reply for each"
        for command in commands:
            if command.verb is Verb.STOP:
                assert replies[command.id].ok
                self.barred = True
            elif command.verb in (Verb.START, Verb.SELFTEST) and not command.answer and replies[command.id].ok:
                self.barred = False
        tripped = any(one.kind is EventKind.TRIP for one in stepped.events)
        if tripped or s.phase in (Phase.FAULT, Phase.STOPPING):
            self.barred = True
        outputs = stepped.outputs
        if tripped or self.barred or s.phase not in MAY_PRESS:
            assert outputs.cuffs == (VENTED,) * len(outputs.cuffs)
            assert outputs.order is not GuardOrder.ARM
        if self.barred:
            assert s.phase not in MAY_PRESS | {Phase.MOVING, Phase.RESTING, Phase.RELEASING, Phase.PAUSED}
        for cuff, out in enumerate(outputs.cuffs):
            self._judge_cuff(s, cuff, out, stepped)

    def _judge_cuff(self, s: Any, cuff: int, out: CuffOutputs, stepped: core.Stepped) -> None:
        seen = stepped.state.seen[cuff]
        assert 0.0 <= out.pump_duty <= 1.0  # and so never NaN
        assert out.pump_enabled == (out.pump_duty > 0.0) or s.phase is Phase.TESTING  # where each is proven alone
        if (s.test is not None and s.test.cuff != cuff) or (s.test is None and s.prescriptions[cuff] is None):
            assert out == VENTED
        if out.pump_enabled:
            assert not out.vent_open
            assert not out.dump_open
            assert s.phase in MAY_PRESS
            assert seen.pressure_mmhg < self.settings.bench.limits.ceiling_mmhg
        clock = s.clock_of(cuff)
        assert clock is None or clock.restricted_s >= 0.0


anything = st.floats(allow_nan=True, allow_infinity=True)
no_reading = st.none()  # as it is
mmhg = st.one_of(
    no_reading, no_reading, no_reading, st.sampled_from([0.0, 14.9, 15.0, 100.0, 251.0, nan, inf]), anything
)
sample = st.tuples(st.sampled_from([0.0, 0.0, 0.0, -0.005, 0.5, -1.0]), mmhg, st.sampled_from(["", "", "", "", "bus"]))
a_good_sample = st.just((0.0, None, ""))
readings_of_a_cuff = st.one_of(st.tuples(a_good_sample), st.tuples(a_good_sample), st.lists(sample, max_size=3))
a_good_status = st.just((None, True, 7, (None, None)))
any_status = st.tuples(
    st.one_of(st.none(), st.none(), st.sampled_from(GuardState)),
    st.sampled_from([True, True, True, True, False]),
    st.sampled_from([7, 7, 7, 7, 8]),
    st.lists(mmhg, min_size=1, max_size=3).map(tuple),
)
any_statuses = st.one_of(st.tuples(a_good_status), st.tuples(a_good_status), st.lists(any_status, max_size=2))
steps_s = st.one_of(
    st.sampled_from([0.0625, 0.0625, 0.0625, 0.1, 0.01]), st.sampled_from([0.0, 0.25, 200.0, -0.01, -5.0])
)
LINES = [bench.INTERMITTENT, bench.CONTINUOUS, bench.RESTING, bench.PASSIVE, bench.NO_CUFF]
commands = st.builds(
    Command,
    st.integers(0, 2**31),
    st.sampled_from([*Verb, Verb.NEXT, Verb.PRESENT, Verb.START, Verb.RESET, Verb.PAUSE]),
    source=st.sampled_from(["socket", "panel"]),
    prescription=st.one_of(
        st.none(),
        st.builds(
            prescription,
            st.sampled_from(LINES),
            cuff=st.integers(-1, 2),
            code=st.sampled_from(["A1", "B2"]),
            side=st.sampled_from(Side),
        ),
    ),
    screening=st.one_of(st.none(), st.just(screening()), st.just(screening("B2")), st.just(screening("A1", "no"))),
    condition=st.sampled_from(["", "leak"]),
    cuff_off=st.booleans(),
    answer=st.sampled_from(["", "", "", "none", "left leg"]),
)
some_commands = st.one_of(
    st.just(()), st.just(()), st.lists(commands, max_size=3, unique_by=lambda one: one.id).map(tuple)
)
ticks = st.tuples(
    st.one_of(st.just(0.0625), st.just(0.0625), steps_s),
    some_commands,
    any_statuses,
    st.tuples(readings_of_a_cuff, readings_of_a_cuff),
    st.integers(1, 24),  # how often, with the commands in the first only
)


@settings(max_examples=120)
@given(st.sampled_from(sorted(STANDS)), st.lists(ticks, min_size=1, max_size=14), st.booleans())
def test_whatever_comes_in_whatever_order(start: str, course: list[Any], panel: bool) -> None:
    stand = STANDS[start]
    given_settings = core.CoreSettings(core.Bench(Limits(), panel), stand.settings.regulator)
    one = Course(stand.state, given_settings, stand.now_s, stand.guard, [channel.mmhg for channel in stand.channels])
    for dt_s, said, statuses, readings, times in course:
        one.tick(dt_s, said, statuses, readings)
        for _ in range(times - 1):
            one.tick(dt_s if 0.0 < dt_s <= 0.1 else 0.0625, (), statuses, readings, pure=False)


@settings(max_examples=60)
@given(st.sampled_from(sorted(STANDS)), st.lists(some_commands, min_size=1, max_size=40))
def test_whatever_is_said_in_whatever_order_on_a_bench_that_works(start: str, course: list[Any]) -> None:
    """Nothing else goes wrong here, so that sessions get far: no trip may come of words alone."""
    stand = STANDS[start]
    one = Course(stand.state, stand.settings, stand.now_s, stand.guard, [channel.mmhg for channel in stand.channels])
    was_fault = stand.phase is Phase.FAULT
    quiet_s = 0.0
    for said in course:
        # two within one repetition may trip `above_target`, whose mean is over the whole of it: not judged here
        said = tuple([one for one in said if one.verb is not Verb.LOWER or quiet_s >= 8.0])
        if sum(one.verb is Verb.LOWER for one in said) > 1:
            said = ()
        quiet_s = 0.0 if any(one.verb is Verb.LOWER for one in said) else quiet_s + 0.75
        for times in range(12):
            one.tick(0.0625, () if times else said, [(None, True, 7, (None, None))], [[(0.0, None, "")]] * 2, not times)
        fault = one.state.session.fault
        assert was_fault or fault is None, fault
