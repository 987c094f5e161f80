"""The self-test as the session lives it: who may begin it, what it leaves, what stops it, and when a bench is READY."""

from __future__ import annotations

from math import isfinite, isnan, nan
from typing import Any

import pytest

import session_bench as bench
from controller.core import testing
from controller.core.limb import LimbClock
from controller.core.limits import SELFTEST_VALID_S, Limits
from controller.core.model import VENTED, Arm, EventKind, Finding, GuardOrder, GuardState, Limb, Phase, Side, Verb
from controller.core.selftest import Stage
from session_bench import Stand, prescription, screening

OURS = (EventKind.SELFTEST_ROW, EventKind.SELFTEST_ENDED)


def begun(stand: Any) -> Any:
    stand.run(1.0).obeyed(Verb.SELFTEST)
    assert stand.phase is Phase.TESTING
    return stand


def to(stand: Any, stage: Stage) -> Any:
    """Answering what is asked on the way."""
    for _ in range(16 * 300):
        test = stand.s.test
        assert test is not None, stand.events[-1]
        if test.stage is stage:
            return stand
        if test.waits:
            stand.obeyed(Verb.SELFTEST, answer=test.subjects[test.cuff].answer)
        else:
            stand.tick()
    raise AssertionError(stand.s.test.stage)


def to_its_end(stand: Any) -> Any:
    while stand.s.test is not None:
        if stand.s.test.waits:
            stand.say(Verb.SELFTEST, answer=stand.s.test.subjects[stand.s.test.cuff].answer)
        else:
            stand.tick()
    return stand


def through(stand: Any) -> Any:
    return to_its_end(stand).until(Phase.IDLE, Phase.READY, Phase.FAULT)


def outcomes(stand: Any) -> list[str]:
    return [one.data["outcome"] for one in stand.told(EventKind.SELFTEST_ENDED)]


# --- a whole one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuffs", [1, 2])
def test_a_sound_bench_passes_and_says_every_row_once_judged(cuffs: int) -> None:
    stand = through(begun(Stand(cuffs=cuffs)))
    assert outcomes(stand) == ["passed"]
    assert stand.told(EventKind.SELFTEST_ENDED)[0].data["text"] == "self-test passed"
    verdicts = {one.data["verdict"] for one in stand.told(EventKind.SELFTEST_ROW)}
    assert verdicts == {"passed"}
    assert [phase for _, phase in stand.phases] == [Phase.TESTING, Phase.STOPPING, Phase.IDLE]
    assert stand.guard is GuardState.ARMED or stand.run(1.0).guard is GuardState.VENTED
    assert stand.s.test_failed is None
    assert stand.told(EventKind.SESSION_ENDED) == []


def test_only_the_cuff_under_test_is_armed_and_as_its_limb_allows() -> None:
    arms: list[Arm] = []

    def look(_stand: Any, stepped: Any) -> None:
        if stepped.outputs.order is GuardOrder.ARM:
            arms.append(stepped.outputs.arm)

    stand = Stand(cuffs=2, watched=look)
    stand.ready(prescription(lop=120.0, target=60.0), prescription(cuff=1, side=Side.RIGHT, lop=240.0))
    stand.obeyed(Verb.SELFTEST)
    through(stand)
    assert arms == [
        Arm((140.0, 0.0), (300.0, 0.0)),
        Arm((0.0, 200.0), (0.0, 300.0)),
        Arm((140.0, 0.0), (300.0, 0.0)),
        Arm((0.0, 200.0), (0.0, 300.0)),
    ]
    assert stand.guard is GuardState.VENTED or stand.run(1.0).guard is GuardState.VENTED


def test_what_is_prescribed_stays_and_is_ready_again() -> None:
    stand = Stand(selftest_required=True).run(1.0)
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    stand.run(1.0)
    assert stand.phase is Phase.IDLE
    assert "no self-test has been passed since bench and guard were switched on" in stand.refused(Verb.START).text
    stand.obeyed(Verb.SELFTEST)
    through(stand)
    assert stand.run(1.0).phase is Phase.READY
    assert stand.s.prescriptions[0] is not None
    early = stand.refused(Verb.START)
    assert early.text.startswith("the self-test has just pressed on this limb: begin in 5")
    assert (early.limit, early.unit) == (60.0, "s")
    stand.run(60.0).obeyed(Verb.START)
    assert stand.phase is Phase.INFLATING
    assert stand.s.exercise_restricted_s[0] == 0.0


def test_a_limb_that_has_no_longer_enough_left_is_not_begun_with() -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    through(stand)
    stand.run(70.0).state.session.clocks["A1", Limb.LEG, Side.LEFT].restricted_s = 1190.0
    assert "leave the cuff empty for 180 s first" in stand.refused(Verb.START).text


def test_a_day_later_it_is_due_again() -> None:
    stand = through(begun(Stand(selftest_required=True)))
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    stand.until(Phase.READY)
    stand.state.session.test_passed_at_s = stand.now_s - SELFTEST_VALID_S + 1.0
    assert stand.run(0.5).phase is Phase.READY
    assert stand.run(1.0).phase is Phase.IDLE
    assert "more than 24 h ago" in stand.s.not_ready


def test_a_bench_that_asks_for_none_is_ready_without_and_not_after_one_that_failed() -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    to(stand, Stage.CONFIRM).refused(Verb.SELFTEST, answer="right arm")
    stand.until(Phase.IDLE).run(2.0)
    assert stand.phase is Phase.IDLE
    assert "a person saw right arm fill, expected left leg" in stand.s.not_ready
    assert "selftest_failed" in stand.conditions()
    stand.obeyed(Verb.SELFTEST)
    assert "selftest_failed" not in stand.conditions()
    assert through(stand).run(1.0).phase is Phase.READY


def test_a_guard_that_was_started_since_has_proven_nothing() -> None:
    stand = through(begun(Stand(selftest_required=True))).run(61.0)
    stand.boot_id = 8
    stand.tick()
    assert stand.s.fault.rule == "guard_rebooted"
    stand.expected_boot_id = 8  # by the reset
    stand.run(0.5).obeyed(Verb.RESET)
    stand.until(Phase.IDLE)
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert stand.run(2.0).phase is Phase.IDLE
    assert "no self-test has been passed since bench and guard were switched on" in stand.s.not_ready
    stand.obeyed(Verb.SELFTEST)
    assert through(stand).run(1.0).phase is Phase.READY


# --- the person ------------------------------------------------------------------------------------------------------


def test_a_person_says_which_cuff_filled() -> None:
    stand = to(begun(Stand()), Stage.CONFIRM)
    stand.run(1.0)
    assert testing.question(stand.s) == "which cuff filled: 1 or none"
    assert stand.outputs == (VENTED,)
    assert stand.guard is GuardState.VENTED
    assert stand.refused(Verb.SELFTEST).text == "a self-test is under way: which cuff filled: 1 or none"
    assert stand.obeyed(Verb.SELFTEST, answer="1").text == "right: that is the cuff"
    assert stand.told(EventKind.SELFTEST_ROW)[-1].data["row"] == "confirmed"
    assert stand.refused(Verb.SELFTEST).text.endswith("wait for its end, or stop")
    assert "no self-test is waiting" in stand.refused(Verb.SELFTEST, answer="1").text


def test_the_question_does_not_say_the_answer() -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    to(stand, Stage.CONFIRM)
    assert testing.question(stand.s) == "which cuff filled: left leg, right leg, left arm, right arm or none"
    assert stand.refused(Verb.SELFTEST, answer="left arm").text.endswith("has failed, vented")
    assert outcomes(stand) == ["failed"]
    assert stand.phase is Phase.STOPPING
    assert stand.outputs == (VENTED,)
    assert testing.question(stand.s) == ""


@pytest.mark.parametrize("words", ["xyz", "1", "left", "left leg leg", " "])
def test_what_is_none_of_the_answers_is_refused_and_it_goes_on_waiting(words: str) -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    reply = to(stand, Stage.CONFIRM).refused(Verb.SELFTEST, answer=words)
    offered = "which cuff filled: left leg, right leg, left arm, right arm or none"
    assert reply.text == f"{words.strip() or 'nothing'} is none of the answers, say again: {offered}"
    assert stand.run(1.0).phase is Phase.TESTING
    assert testing.question(stand.s) == offered
    assert stand.obeyed(Verb.SELFTEST, answer="leg LEFT").text == "right: that is the cuff"


def test_a_cuff_that_nobody_is_prescribed_for_is_answered_by_its_number() -> None:
    stand = to(begun(Stand(cuffs=2)), Stage.CONFIRM)
    assert stand.refused(Verb.SELFTEST, answer="left leg").text.endswith("say again: which cuff filled: 1, 2 or none")
    assert stand.refused(Verb.SELFTEST, answer="3").text.startswith("3 is none of the answers")
    assert stand.obeyed(Verb.SELFTEST, answer="cuff 1")


def test_the_status_says_what_is_asked() -> None:
    stand = begun(Stand())
    assert stand.obeyed(Verb.STATUS).text == "testing"
    told = to(stand, Stage.CONFIRM).obeyed(Verb.STATUS).text
    assert told == "testing; asked: which cuff filled: 1 or none (`manchet selftest --confirm WHICH`)"


def test_nobody_is_asked_for_an_answer_outside() -> None:
    stand = Stand().run(1.0)
    assert "no self-test is waiting" in stand.refused(Verb.SELFTEST, answer="1").text


# --- who may begin ---------------------------------------------------------------------------------------------------


def test_not_with_pressure_in_a_cuff() -> None:
    stand = Stand(cuffs=2).run(1.0)
    stand.channels[1].mmhg = 18.0
    stand.fall_1_s = 0.0
    reply = stand.refused(Verb.SELFTEST)
    assert reply.text.startswith("cuff 2 is not measured empty, 18 mmHg")
    assert (reply.limit, reply.unit) == (15.0, "mmHg")


@pytest.mark.parametrize(("used_s", "refused"), [(599.0, False), (602.0, True)])
def test_not_on_a_limb_that_has_too_little_left(used_s: float, refused: bool) -> None:
    stand = Stand().ready(prescription(limb=Limb.ARM))
    stand.state.session.clocks = {("A1", Limb.ARM, Side.LEFT): LimbClock(used_s)}
    reply = stand.say(Verb.SELFTEST)
    assert reply.ok is not refused
    assert ("leave the cuff empty for 180 s first" in reply.text) is refused


def test_not_after_a_boot_with_a_limb_at_its_cap_whichever_cuff_it_was_in() -> None:
    stand = Stand(clocks={("A1", Limb.ARM, Side.LEFT): LimbClock(700.0)}).run(1.0)
    assert "restricted for 700 s" in stand.refused(Verb.SELFTEST).text


def test_not_while_the_past_is_unknown() -> None:
    stand = Stand(past_unknown=True).run(1.0)
    assert "not known" in stand.refused(Verb.SELFTEST).text
    assert stand.run(180.0).obeyed(Verb.SELFTEST)


def test_from_elsewhere_the_button_at_the_bench_begins_it() -> None:
    stand = Stand(require_panel=True).run(1.0)
    assert "press the start button" in stand.obeyed(Verb.SELFTEST).text
    assert stand.phase is Phase.IDLE
    stand.run(29.0)
    stand.refused(Verb.START)
    assert stand.phase is Phase.IDLE
    stand.obeyed(Verb.START, source="panel")
    assert stand.phase is Phase.TESTING


def test_where_the_button_would_begin_a_session_it_begins_no_test() -> None:
    stand = Stand(require_panel=True).run(1.0)
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.SELFTEST)
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    stand.until(Phase.READY)
    assert "stop first" in stand.refused(Verb.SELFTEST).text
    twofold = stand.refused(Verb.START, source="panel").text  # the one who presses may have the first answer in mind
    assert twofold == "a self-test was asked for and a session is ready since: press again to begin the session"
    assert stand.run(1.0).phase is Phase.READY
    stand.obeyed(Verb.START, source="panel")
    assert stand.phase is Phase.INFLATING


def test_the_button_begins_none_that_was_asked_for_too_long_ago_or_twice() -> None:
    stand = Stand(require_panel=True).run(1.0)
    stand.obeyed(Verb.SELFTEST)
    stand.run(31.0)
    stand.refused(Verb.START, source="panel")
    assert stand.phase is Phase.IDLE
    stand.obeyed(Verb.SELFTEST)
    stand.obeyed(Verb.START, source="panel")
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE)
    stand.refused(Verb.START, source="panel")


def test_a_stop_or_a_trip_forgets_what_was_asked_for() -> None:
    stand = Stand(require_panel=True).run(1.0)
    stand.obeyed(Verb.SELFTEST)
    stand.obeyed(Verb.STOP)
    assert "not ready" in stand.refused(Verb.START, source="panel").text
    stand.obeyed(Verb.SELFTEST)
    stand.estop_ok = False
    stand.tick()
    stand.estop_ok = True
    stand.run(1.0).obeyed(Verb.RESET, source="panel")
    stand.until(Phase.IDLE).run(1.0)
    assert "not ready" in stand.refused(Verb.START, source="panel").text
    assert stand.phase is Phase.IDLE


def test_at_the_panel_it_begins_at_once() -> None:
    stand = Stand(require_panel=True).run(1.0)
    stand.obeyed(Verb.SELFTEST, source="panel")
    assert stand.phase is Phase.TESTING


def test_not_on_a_bench_whose_sensors_were_never_held_against_a_reference() -> None:
    """Both may be of another range than the file says, and agree: 150 mmHg would be 250."""
    stand = Stand(uncalibrated="calibrate it first").run(1.0)
    assert stand.refused(Verb.SELFTEST).text == "calibrate it first"
    assert stand.phase is Phase.IDLE


def test_not_after_a_trip_nor_while_a_cuff_empties() -> None:
    stand = Stand().ready()
    stand.estop_ok = False
    stand.until(Phase.FAULT)
    assert stand.refused(Verb.SELFTEST).text == "not while fault: reset first"
    stand = bench.at(Phase.STOPPING)
    assert stand.refused(Verb.SELFTEST).text == "not while stopping: wait for it to be empty"


# --- what ends it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [Stage.LOOK, Stage.FILL, Stage.CONFIRM, Stage.LEAK], ids=str)
def test_a_stop_vents_in_that_tick_and_is_neither_passed_nor_failed(stage: Stage) -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    to(stand, stage).obeyed(Verb.STOP)
    assert stand.phase is (Phase.STOPPING if stage is Stage.LEAK else Phase.IDLE)  # the others were empty
    assert stand.outputs == (VENTED,)
    assert outcomes(stand) == ["stopped"]
    assert stand.s.test is None
    assert stand.s.test_failed is None
    assert isnan(stand.s.test_passed_at_s)
    stand.until(Phase.IDLE)
    assert stand.s.prescriptions == (None,)  # as after any stop
    rows = stand.told(EventKind.SELFTEST_ROW)
    assert rows[-1].data["verdict"] == "not done"


@pytest.mark.parametrize(
    ("break_it", "rule", "row"),
    [
        (lambda stand: setattr(stand, "estop_ok", False), "stop_button", "estop"),
        (lambda stand: setattr(stand, "guard", GuardState.TRIPPED), "guard_tripped", "arms"),
        (lambda stand: setattr(stand.channels[0], "mmhg", 201.0), "over_pressure", "leak"),
    ],
)
def test_a_trip_is_latched_and_is_the_finding_of_a_row(break_it: Any, rule: str, row: str) -> None:
    stand = to(begun(Stand()), Stage.LEAK)
    break_it(stand)
    stand.tick()
    assert stand.phase is Phase.FAULT
    assert stand.outputs == (VENTED,)
    assert stand.s.fault.rule == rule
    assert outcomes(stand) == ["failed"]
    assert stand.s.test_failed.rule == "selftest_failed"
    failed = [one for one in stand.told(EventKind.SELFTEST_ROW) if one.data["verdict"] == "failed"]
    assert [one.data["row"] for one in failed] == [row]
    assert stand.s.fault.text in failed[0].data["text"]


def _passes_late(stand: Any) -> None:
    stand.guard, stand.guard_trip, stand.channels[0].b = GuardState.TRIPPED, "pass_late", nan


def _gap(stand: Any) -> None:
    stand.now_s += 0.2
    stand.channels[0].sampled = False


@pytest.mark.parametrize(
    ("break_it", "rule", "row"),
    [
        (_passes_late, "guard_tripped", "arms"),
        (lambda stand: setattr(stand, "answering", False), "guard_lost", "arms"),
        (_gap, "tick_late", "leak"),
    ],
)
def test_a_trip_comes_before_what_the_test_makes_of_the_same_tick(break_it: Any, rule: str, row: str) -> None:
    """A late pass of the guard, a silent guard and a gap between two ticks all leave the test without a reading."""
    stand = to(begun(Stand()), Stage.LEAK)
    break_it(stand)
    stand.until(Phase.FAULT)
    failed = [one for one in stand.told(EventKind.SELFTEST_ROW) if one.data["verdict"] == "failed"]
    assert [one.data["row"] for one in failed] == [row]
    assert "sensors" not in failed[0].data["text"]
    assert stand.s.test_failed.text == f"self-test failed: {stand.s.fault.text} ({rule})"
    assert stand.told(EventKind.SELFTEST_ENDED)[0].data["text"] == stand.s.test_failed.text


def test_a_limb_at_its_cap_ends_it() -> None:
    stand = to(begun(Stand(limits=Limits(limb_cap_arm_s=600.0))), Stage.LEAK)
    stand.state.session.nobodys_s = 600.0
    stand.tick()
    assert stand.phase is Phase.STOPPING
    assert stand.s.ended.rule == "too_long"
    assert outcomes(stand) == ["stopped"]


def test_a_trip_while_it_is_vented_at_its_end_keeps_nothing_for_the_session_after() -> None:
    stand = begun(Stand())
    to(stand, Stage.CONFIRM).refused(Verb.SELFTEST, answer="none")
    assert stand.s.keeps
    stand.guard = GuardState.TRIPPED
    stand.tick()
    assert stand.phase is Phase.FAULT
    assert not stand.s.keeps


def test_a_cuff_that_does_not_empty_in_it_is_not_left_alone() -> None:
    stand = to(begun(Stand()), Stage.EMPTY)
    stand.fall_1_s = 0.0
    stand.run(6.0)
    assert stand.phase is Phase.FAULT
    assert stand.s.fault.rule in ("not_released", "no_fall")


# --- whose limb ------------------------------------------------------------------------------------------------------


def test_the_limb_that_is_prescribed_has_its_clock_run() -> None:
    stand = Stand().ready()
    stand.obeyed(Verb.SELFTEST)
    through(stand)
    restricted_s = stand.s.clock_of(0).restricted_s
    assert 80.0 < restricted_s < 130.0
    assert stand.s.nobodys_s == pytest.approx(restricted_s, abs=3.0)


def test_what_nobody_was_named_for_is_put_on_the_next_limb_until_180_s_below_15() -> None:
    stand = through(begun(Stand()))
    used_s = stand.s.nobodys_s
    assert 80.0 < used_s < 130.0
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert stand.s.clock_of(0).restricted_s == pytest.approx(used_s, abs=0.2)
    stand.run(181.0)
    assert stand.s.nobodys_s == 0.0
    assert stand.s.clock_of(0).restricted_s == 0.0


def test_what_stays_under_pressure_after_a_test_that_tripped_is_counted_on() -> None:
    stand = to(begun(Stand()), Stage.LEAK)
    stand.fall_1_s, stand.estop_ok = 0.0, False  # as with a tube that is closed at the cuff
    stand.tick()
    assert stand.phase is Phase.FAULT
    used_s = stand.s.nobodys_s
    stand.run(300.0)
    assert stand.s.nobodys_s == pytest.approx(used_s + 300.0, abs=0.1)
    stand.fall_1_s, stand.estop_ok = 4.0, True
    stand.run(5.0).obeyed(Verb.RESET)
    stand.until(Phase.IDLE)
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert stand.s.clock_of(0).restricted_s > 330.0


def test_a_cuff_keeps_the_limb_it_was_on_last() -> None:
    stand = bench.at(Phase.STOPPING)
    stand.until(Phase.IDLE)
    assert stand.s.limbs[0] is not None
    assert stand.s.prescriptions == (None,)
    stand.run(1.0).obeyed(Verb.SELFTEST)
    (watch,) = testing.watch(stand.s, Limits()).cuffs
    assert watch is None  # while nothing is under test
    to(stand, Stage.FILL)
    (watch,) = testing.watch(stand.s, Limits()).cuffs
    assert watch is not None
    assert watch.limb is Limb.LEG
    assert watch.lop_mmhg == 180.0
    assert watch.restricted_s == stand.s.clock_of(0).restricted_s


def test_what_is_asked_of_a_test_that_has_just_ended() -> None:
    stand = begun(Stand())
    s = stand.s.fork()
    s.test = None
    assert testing.order(s, GuardState.ARMED) is GuardOrder.NONE
    assert testing.arm(s) == Arm((0.0,), (0.0,))
    assert testing.watch(s, Limits()).cuffs == (None,)


def test_a_row_of_the_bench_that_failed_is_named_without_a_cuff() -> None:
    stand = begun(Stand(deaf=frozenset({GuardOrder.PROVE_REFUSAL})))
    through(stand)
    assert stand.s.test_failed == Finding(
        "selftest_failed", -1, 0.0, 1.0, "", stand.s.test_failed.text, stand.s.test_failed.at_s
    )
    assert stand.s.test_failed.text.startswith("self-test failed: over-long leases refused")


@pytest.mark.parametrize("said", [None, Verb.STOP], ids=["nothing said", "stop said"])
def test_a_release_that_trips_takes_back_what_the_test_has_passed(said: Verb | None) -> None:
    """Also where a person sees that it does not empty, and says stop."""
    stand = Stand(selftest_required=True).run(1.0)
    stand.obeyed(Verb.SELFTEST)
    to_its_end(stand)
    assert stand.phase is Phase.STOPPING
    assert isfinite(stand.s.test_passed_at_s)
    stand.channels[0].a = stand.channels[0].b = 40.0  # it fills again, or was never empty
    if said is not None:
        stand.obeyed(said)
    stand.until(Phase.FAULT, at_most_s=10.0)
    stand.channels[0].a = stand.channels[0].b = None
    stand.run(2.0).obeyed(Verb.RESET)
    stand.until(Phase.IDLE, at_most_s=5.0)
    assert isnan(stand.s.test_passed_at_s)
