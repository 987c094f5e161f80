"""What a person says: each refusal, each phase, exactly one reply in the tick that took it."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Any

import pytest

import session_bench as bench
from controller.core import commands, session_state
from controller.core.commands import Bench, obey
from controller.core.limb import LimbClock
from controller.core.limits import Limits
from controller.core.model import (
    VENTED,
    Command,
    CuffPlan,
    EventKind,
    GuardOrder,
    GuardState,
    Limb,
    Mode,
    Phase,
    Reply,
    Seen,
    Side,
    Step,
    StepKind,
    Verb,
)
from session_bench import Stand, hold, off, prescription, rest, screening, timeline, work

UNDER_WAY = (
    Phase.INFLATING,
    Phase.WORKING,
    Phase.HOLDING,
    Phase.RELEASING,
    Phase.RESTING,
    Phase.MOVING,
    Phase.PAUSED,
    Phase.STOPPING,
)
EMPTY_CUFF = Seen(0.0, 0.0, 0.0, 0.0, 0.0, True, True)


def changed_by(stand: Any, verb: Verb, **said: Any) -> tuple[Reply, list[Any]]:
    """A refusal, and the operator's acts, prescriptions and screenings it left behind."""
    stand.events.clear()
    reply = stand.refused(verb, **said)
    kinds = (EventKind.OPERATOR, EventKind.PRESCRIBED, EventKind.SCREENED, EventKind.STARTED)
    return reply, [one for one in stand.events if one.kind in kinds]


# --- every verb, every phase ---------------------------------------------------------------------------------------

SCREENED = {"screening": screening()}
PRESCRIBED = {"prescription": prescription()}
NOT_UNDER_WAY = {Phase.IDLE, Phase.READY}
ALWAYS = set(Phase)
OK_IN = {  # by hand: where each verb is taken
    Verb.SCREEN: NOT_UNDER_WAY,
    Verb.PRESCRIBE: {Phase.READY},  # in IDLE nobody has been screened yet
    Verb.START: {Phase.READY},
    Verb.NEXT: ALWAYS - {Phase.PAUSED},  # there it was pressed within 10 s of empty
    Verb.PRESENT: ALWAYS,
    Verb.STOP: ALWAYS,
    Verb.PAUSE: {Phase.INFLATING, Phase.WORKING, Phase.HOLDING, Phase.RELEASING, Phase.RESTING, Phase.MOVING},
    Verb.LOWER: set(UNDER_WAY) - {Phase.STOPPING},
    Verb.ACKNOWLEDGE: {Phase.FAULT},  # an alarm stands
    Verb.SILENCE: ALWAYS,
    Verb.RESET: set(),  # the cuff is not empty yet
    Verb.STATUS: ALWAYS,
    Verb.SELFTEST: NOT_UNDER_WAY,
}


@pytest.mark.parametrize("phase", list(Phase), ids=str)
@pytest.mark.parametrize("verb", list(Verb), ids=str)
def test_every_verb_in_every_phase_gets_its_answer_in_that_tick(verb: Verb, phase: Phase) -> None:
    stand = bench.at(phase)
    said: dict[str, Any] = {}
    if verb is Verb.SCREEN:
        said = SCREENED
    elif verb is Verb.PRESCRIBE:
        said = PRESCRIBED
    before = len(stand.told(EventKind.OPERATOR))
    reply = stand.say(verb, **said)
    assert reply.ok is (phase in OK_IN[verb]), reply
    assert reply.text
    by_the_session = verb not in (Verb.STATUS, Verb.ACKNOWLEDGE)
    assert len(stand.told(EventKind.OPERATOR)) - before == (reply.ok and by_the_session)


def test_the_reply_carries_the_id_of_its_command() -> None:
    stand = bench.at(Phase.WORKING)
    said = (
        Command(41, Verb.STATUS),
        Command(-7, Verb.START),
        Command(41, Verb.SILENCE),
        Command(2**40, Verb.PRESENT),
    )
    assert [one.id for one in stand.tick(*said).replies] == [41, -7, 41, 2**40]
    assert stand.tick().replies == ()


def test_an_operators_act_is_told_with_who_and_where() -> None:
    stand = bench.at(Phase.WORKING)
    stand.obeyed(Verb.PRESENT, by="xy", source="panel")
    assert stand.told(EventKind.OPERATOR)[-1].data == {"verb": "present", "by": "xy", "source": "panel"}


# --- screen ------------------------------------------------------------------------------------------------------


def test_screening_needs_answers() -> None:
    reply, left = changed_by(Stand().run(1.0), Verb.SCREEN)
    assert "answers" in reply.text
    assert left == []


def test_a_screening_that_does_not_clear_is_recorded_and_says_why() -> None:
    stand = Stand().run(1.0)
    reply = stand.refused(Verb.SCREEN, screening=screening("A1", "thrombosis", "pregnancy"))
    assert reply.text == "A1 is not cleared: thrombosis; pregnancy"
    (told,) = stand.told(EventKind.SCREENED)
    assert told.data == {"code": "A1", "by": "ab", "cleared": False, "reasons": "thrombosis; pregnancy"}
    assert "not cleared: thrombosis" in stand.refused(Verb.PRESCRIBE, prescription=prescription()).text


@pytest.mark.parametrize("phase", [*UNDER_WAY, Phase.FAULT], ids=str)
def test_nobody_is_screened_or_prescribed_for_under_way(phase: Phase) -> None:
    stand = bench.at(phase)
    was = stand.s.screening
    reply, left = changed_by(stand, Verb.SCREEN, screening=screening("B2"))
    first = {Phase.FAULT: "reset first", Phase.STOPPING: "wait for it to be empty"}.get(phase, "stop first")
    assert reply.text == f"not while {phase}: {first}"
    assert left == []
    assert stand.s.screening is was
    stand = bench.at(phase)
    reply, left = changed_by(stand, Verb.PRESCRIBE, prescription=prescription(code="B2"))
    assert f"not while {phase}: {first}" in reply.text
    assert left == []


@pytest.mark.parametrize("again", [screening("A1", "thrombosis"), screening("B2")], ids=["not cleared", "another"])
def test_a_screening_that_does_not_hold_takes_ready_away_before_the_next_word(again: Any) -> None:
    stand = bench.at(Phase.READY)
    screen, start = stand.command(Verb.SCREEN, screening=again), stand.command(Verb.START)
    replies = stand.tick(screen, start).replies
    assert not replies[1].ok
    assert stand.phase is Phase.IDLE
    assert stand.run(1.0).phase is Phase.IDLE


def test_screening_the_same_session_again_keeps_it_ready() -> None:
    stand = bench.at(Phase.READY)
    stand.obeyed(Verb.SCREEN, screening=screening())
    assert stand.phase is Phase.READY


# --- prescribe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, "nothing to prescribe"),
        ({"prescription": prescription(cuff=1)}, "cuff = 2: this bench has 1"),
        ({"prescription": prescription(cuff=-1)}, "cuff = 0: this bench has 1"),
        (
            {"prescription": prescription(code="B2")},
            "B2 is not screened: screen first, a screening holds for one session",
        ),
    ],
)
def test_a_prescription_that_does_not_fit_is_refused_and_changes_nothing(said: dict[str, Any], text: str) -> None:
    stand = Stand().run(1.0)
    stand.obeyed(Verb.SCREEN, screening=screening())
    reply, left = changed_by(stand, Verb.PRESCRIBE, **said)
    assert reply.text == text
    assert left == []
    assert stand.s.prescriptions == (None,)
    assert stand.s.clocks == {}


def test_nobody_is_prescribed_for_before_screening() -> None:
    stand = Stand().run(1.0)
    assert stand.refused(Verb.PRESCRIBE, prescription=prescription()).text.startswith("A1 is not screened")


def test_a_prescription_is_told_whole() -> None:
    stand = Stand().ready()
    (told,) = stand.told(EventKind.PRESCRIBED)
    assert told.cuff == 0
    assert told.data == {
        "code": "A1",
        "by": "ab",
        "protocol": "short",
        "limb": "leg",
        "side": "left",
        "percent_lop": pytest.approx(55.56, abs=0.01),
        "target_mmhg": 100.0,
        "lop_mmhg": 180.0,
        "lop_method": "doppler",
    }


def test_the_warnings_of_a_prescription_are_said() -> None:
    stand = Stand().run(1.0)
    stand.obeyed(Verb.SCREEN, screening=screening())
    reply = stand.obeyed(Verb.PRESCRIBE, prescription=prescription(warnings=("lying LOP", "old LOP")))
    assert reply.text == "cuff 1, left leg, A1: short at 100 mmHg, 56 % of an LOP of 180. lying LOP. old LOP"


def test_a_second_cuff_lives_the_protocol_of_the_first() -> None:
    stand = Stand(cuffs=2).ready()
    other = timeline(Mode.INTERMITTENT, work(3), protocol="other")
    reply, left = changed_by(stand, Verb.PRESCRIBE, prescription=prescription(other, cuff=1, side=Side.RIGHT))
    assert "cuff 1 has short: both cuffs live one protocol" in reply.text
    assert left == []
    assert stand.s.timeline.protocol == "short"


def test_two_cuffs_are_not_on_one_limb() -> None:
    stand = Stand(cuffs=2).ready()
    reply, left = changed_by(stand, Verb.PRESCRIBE, prescription=prescription(cuff=1))
    assert "cuff 1 is on that limb already" in reply.text
    assert left == []


@pytest.mark.parametrize("other", [{"side": Side.RIGHT}, {"limb": Limb.ARM}])
def test_two_cuffs_may_be_on_two_limbs(other: dict[str, Any]) -> None:
    stand = Stand(cuffs=2).ready(prescription(), prescription(cuff=1, **other))
    assert None not in stand.s.prescriptions


def test_a_cuff_may_be_prescribed_anew_before_the_start() -> None:
    other = timeline(Mode.INTERMITTENT, work(2), protocol="other")
    stand = Stand().ready()
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription(other, target=90.0))
    assert stand.s.timeline.protocol == "other"
    assert stand.s.targets_mmhg == (90.0,)


def test_another_session_drops_what_was_prescribed_for_the_one_before() -> None:
    stand = Stand(cuffs=2).ready(prescription(), prescription(cuff=1, side=Side.RIGHT))
    stand.obeyed(Verb.SCREEN, screening=screening("B2"))
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription(cuff=1, code="B2"))
    first, second = stand.s.prescriptions
    assert first is None
    assert second.code == "B2"
    assert stand.s.code == "B2"


@pytest.mark.parametrize(
    ("before_s", "ok"),
    [(1120.0, True), (1120.1, False), (nan, False)],
)
def test_the_clock_and_the_plan_must_fit_under_the_cap_together(before_s: float, ok: bool) -> None:
    """3 + 2 repetitions of 4 s and two inflations of 30 s plan 80 s."""
    stand = Stand().ready()
    stand.s.clocks["A1", Limb.LEG, Side.LEFT].restricted_s = before_s
    reply = stand.say(Verb.PRESCRIBE, prescription=prescription())
    assert reply.ok is ok, reply
    if not ok:
        assert (reply.limit, reply.unit) == (1200.0, "s")
        assert "leave the cuff empty for 180 s first" in reply.text


def test_a_bench_that_tightens_the_cap_is_asked_too() -> None:
    stand = Stand(limits=Limits(limb_cap_leg_s=79.0)).run(1.0)
    stand.obeyed(Verb.SCREEN, screening=screening())
    reply = stand.refused(Verb.PRESCRIBE, prescription=prescription())
    assert (reply.value, reply.limit) == (80.0, 79.0)


@pytest.mark.parametrize(
    ("line", "planned_s"),
    [
        (bench.INTERMITTENT, 12 + 8 + 60),
        (bench.CONTINUOUS, 12 + 30 + 8 + 30),
        (bench.RESTING, 30 + 30),
        (bench.NO_CUFF, 0),
        (timeline(Mode.PASSIVE, hold(60.0), off(179.0), hold(60.0, 1)), 180),
        (timeline(Mode.PASSIVE, hold(60.0), off(180.0), hold(60.0, 1)), 90),
        (timeline(Mode.INTERMITTENT, work(5), Step(StepKind.REPERFUSION, False, 180.0), work(5, exercise=1)), 50),
        (timeline(Mode.INTERMITTENT, work(5), rest(200.0), work(5)), 100),  # a rest is not counted on
    ],
)
def test_the_plan_of_restricted_time_by_hand(line: Any, planned_s: float) -> None:
    assert commands.planned_restricted_s(prescription(line)) == planned_s


def test_ready_warns_when_this_bench_cannot_keep_the_rest() -> None:
    """Measured: 20 s to inflate and 0.9 to release; with 10 s of free flow and 3 s of lead-in 34 s, above 30."""
    stand = Stand(rise_mmhg_s=5.0).started().until(Phase.RESTING)
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE)
    stand.obeyed(Verb.SCREEN, screening=screening())
    reply = stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert "this cuff needs 34 s between sets, the protocol says 30 s" in reply.text
    longer = timeline(Mode.INTERMITTENT, work(3), rest(60.0), work(2, index=2), rest(30.0, inflated=True))
    assert "between sets" not in stand.obeyed(Verb.PRESCRIBE, prescription=prescription(longer)).text


@pytest.mark.parametrize("how", ["completed", "stopped", "tripped"])
def test_a_screening_holds_for_one_session_however_it_ends(how: str) -> None:
    stand = Stand().started(prescription(timeline(Mode.INTERMITTENT, work(2)))).until(Phase.WORKING)
    assert stand.s.screening is not None
    if how == "stopped":
        stand.obeyed(Verb.STOP)
    elif how == "tripped":
        stand.estop_ok = False
    stand.until(Phase.FAULT if how == "tripped" else Phase.IDLE, 200.0)
    assert stand.s.outcome == how
    if how == "tripped":
        stand.estop_ok = True
        stand.run(1.0).obeyed(Verb.RESET)
        stand.until(Phase.IDLE)
    text = stand.refused(Verb.PRESCRIBE, prescription=prescription()).text
    assert text == "A1 is not screened: screen first, a screening holds for one session"
    stand.obeyed(Verb.SCREEN, screening=screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())


def test_what_the_limb_carries_over_is_said_whoevers_code_it_was() -> None:
    stand = Stand().started().until(Phase.WORKING).run(2.0)
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE)
    used_s = int(stand.s.clock_of(0).restricted_s)
    stand.obeyed(Verb.SCREEN, screening=screening("B2"))
    text = stand.obeyed(Verb.PRESCRIBE, prescription=prescription(code="B2")).text
    assert f"carried over: 0:{used_s:02d} of 20:00, a cuff was under pressure on the " in text
    assert "180 s empty clear it" in text


# --- start -------------------------------------------------------------------------------------------------------


def test_two_starts() -> None:
    stand = bench.at(Phase.READY)
    first, second = stand.command(Verb.START), stand.command(Verb.START)
    replies = stand.tick(first, second).replies
    assert [one.ok for one in replies] == [True, False]
    assert replies[1].text == "not while inflating: a session is under way"
    assert len(stand.told(EventKind.STARTED)) == 1


@pytest.mark.parametrize("phase", UNDER_WAY, ids=str)
def test_no_start_under_way(phase: Phase) -> None:
    reply, left = changed_by(bench.at(phase), Verb.START)
    assert reply.text == f"not while {phase}: a session is under way"
    assert left == []


def test_no_start_with_nothing_prescribed() -> None:
    assert Stand().run(1.0).refused(Verb.START).text == "not ready: no prescription: screen and prescribe first"


@pytest.mark.parametrize(("a", "b"), [(40.0, None), (None, 40.0), (15.0, 15.0)])
def test_no_start_with_the_cuff_inflated(a: float | None, b: float | None) -> None:
    stand = bench.at(Phase.READY)
    stand.channels[0].a, stand.channels[0].b = a, b
    reply = stand.refused(Verb.START)
    assert "must be below 15 mmHg: empty it" in reply.text
    assert stand.phase is Phase.IDLE
    assert stand.orders == []


def test_no_start_with_the_other_cuff_inflated_even_when_it_is_not_in_use() -> None:
    stand = bench.at(Phase.READY, cuffs=2)
    stand.channels[1].a = stand.channels[1].b = 40.0
    assert "cuff 2 is at 40 mmHg" in stand.refused(Verb.START).text


def test_a_start_looks_at_the_cuff_itself() -> None:
    """READY is looked at before the commands of a tick; a start does not lean on that alone."""
    stand = bench.at(Phase.READY)
    s = stand.s.fork()
    inflated = Seen(40.0, 0.0, 38.0, 0.0, 40.0, True, False)
    reply = obey(s, Command(1, Verb.START), (inflated,), Bench(Limits()), 5.0)
    assert not reply.ok
    assert (reply.value, reply.limit, reply.unit) == (40.0, 15.0, "mmHg")
    assert s.phase is Phase.READY


@pytest.mark.parametrize("line", [None, timeline(Mode.INTERMITTENT)])
def test_a_start_of_nothing_is_refused(line: Any) -> None:
    s = session_state.initial(1, 0.0)
    s.phase, s.timeline = Phase.READY, line
    reply = obey(s, Command(1, Verb.START), (EMPTY_CUFF,), Bench(Limits()), 5.0)
    assert (reply.ok, reply.text) == (False, "nothing to start: prescribe first")


def test_no_start_after_a_trip_without_a_reset() -> None:
    stand = bench.at(Phase.FAULT).run(5.0)
    reply, left = changed_by(stand, Verb.START)
    assert reply.text == "not after a trip (guard_tripped): reset first"
    assert left == []
    stand.obeyed(Verb.RESET)
    stand.until(Phase.IDLE)
    assert stand.refused(Verb.START).text.startswith("not ready: no prescription")


def test_after_a_trip_and_a_reset_a_session_is_prescribed_anew() -> None:
    stand = bench.at(Phase.FAULT).run(2.0)
    stand.obeyed(Verb.RESET)
    stand.until(Phase.IDLE)
    stand.zero_s = stand.now_s
    stand.ready()
    stand.obeyed(Verb.START)
    stand.until(Phase.WORKING, at_most_s=10.0)


def test_a_start_begins_with_the_first_step() -> None:
    stand = bench.at(Phase.READY)
    assert stand.obeyed(Verb.START).text == "short begins"
    (told,) = stand.told(EventKind.STARTED)
    assert told.data == {"protocol": "short", "code": "A1"}
    assert stand.s.step is stand.s.timeline.steps[0]


# --- require_panel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.START, Verb.NEXT, Verb.RESET], ids=str)
def test_with_require_panel_the_button_alone_starts_goes_on_and_resets(verb: Verb) -> None:
    reply = Stand(require_panel=True).run(1.0).refused(verb)
    assert reply.text == f"{verb} is for the button on the bench only: press it there"


def test_with_require_panel_a_session_goes_by_the_button() -> None:
    stand = Stand(require_panel=True).ready()
    stand.refused(Verb.START)
    stand.obeyed(Verb.START, source="panel")
    stand.until(Phase.WORKING)
    stand.refused(Verb.NEXT)
    stand.refused(Verb.PRESENT)  # a sign of the supervisor lets the next inflation begin
    stand.obeyed(Verb.NEXT, source="panel")
    stand.guard = GuardState.TRIPPED
    stand.run(3.0).refused(Verb.RESET)
    stand.obeyed(Verb.RESET, source="panel")


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.PAUSE, Verb.LOWER, Verb.STATUS], ids=str)
def test_with_require_panel_everything_that_takes_away_is_for_everyone(verb: Verb) -> None:
    stand = Stand(require_panel=True).ready()
    stand.obeyed(Verb.START, source="panel")
    stand.obeyed(verb)


# --- stop --------------------------------------------------------------------------------------------------------

STOP_SAYS = dict.fromkeys(Phase, "stopping: vented") | {
    Phase.IDLE: "already idle and vented; vented again",
    Phase.STOPPING: "already stopping; vented again",
    Phase.FAULT: "already tripped (guard_tripped) and vented; vented again, reset is still due",
}


@pytest.mark.parametrize("phase", list(Phase), ids=str)
def test_stop_is_never_refused_and_vents_in_its_tick(phase: Phase) -> None:
    stand = bench.at(phase)
    reply = stand.obeyed(Verb.STOP)
    assert reply.text == STOP_SAYS[phase]
    assert stand.outputs == (VENTED,)
    stand.orders.clear()
    stand.run(5.0)
    assert stand.phase is (Phase.FAULT if phase is Phase.FAULT else Phase.IDLE)
    assert stand.channels[0].mmhg < 1.0
    assert GuardOrder.ARM not in [order for _, order in stand.orders]
    assert stand.s.prescriptions == (None,)


def test_stop_in_idle_clears_what_was_prescribed() -> None:
    stand = Stand().ready()
    stand.channels[0].b = nan
    stand.run(0.125)
    assert stand.phase is Phase.IDLE
    assert stand.s.code == "A1"
    stand.obeyed(Verb.STOP)
    assert stand.s.code == ""
    assert stand.told(EventKind.SESSION_ENDED) == []  # none was under way


def test_a_stop_says_who_said_it() -> None:
    stand = bench.at(Phase.WORKING)
    stand.obeyed(Verb.STOP, by="xy")
    assert stand.events[-2].data["why"] == "stopped by xy"
    stand = bench.at(Phase.WORKING)
    stand.obeyed(Verb.STOP, by="", source="panel")
    assert stand.events[-2].data["why"] == "stopped by panel"


def test_a_stop_in_a_fault_from_nowhere_is_answered_too() -> None:
    s = session_state.initial(1, 0.0)
    s.phase = Phase.FAULT
    assert "already tripped (fault)" in obey(s, Command(1, Verb.STOP), (EMPTY_CUFF,), Bench(Limits()), 1.0).text
    assert "(fault)" in obey(s, Command(1, Verb.START), (EMPTY_CUFF,), Bench(Limits()), 1.0).text


# --- next --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.READY, Phase.INFLATING, Phase.WORKING, Phase.RELEASING], ids=str)
def test_next_where_there_is_nothing_to_begin_is_a_sign_all_the_same(phase: Phase) -> None:
    stand = bench.at(phase)
    reply = stand.obeyed(Verb.NEXT)
    assert reply.text == f"seen; nothing to begin while {phase}"
    assert stand.s.sign_at_s == stand.now_s


def test_next_does_not_begin_a_set_before_30_s_of_rest() -> None:
    line = timeline(Mode.CONTINUOUS, work(1), rest(20.0, inflated=True), work(1, index=2))
    stand = Stand().started(prescription(line)).until(Phase.WORKING).until(Phase.HOLDING).run(10.0)
    stand.s.step_index += 1  # at target for the next set, as an inflation quicker than foreseen leaves it
    reply = stand.obeyed(Verb.NEXT)
    assert "the rest is not 30 s yet" in reply.text
    assert stand.phase is Phase.HOLDING


def test_next_at_target_begins_the_set() -> None:
    stand = bench.at(Phase.HOLDING)
    assert stand.obeyed(Verb.NEXT).text == "the set begins"
    assert stand.phase is Phase.WORKING


def test_next_in_a_set_that_was_paused_begins_at_once() -> None:
    stand = bench.at(Phase.PAUSED).run(10.0)
    stand.obeyed(Verb.NEXT)
    stand.until(Phase.HOLDING).obeyed(Verb.NEXT)
    assert stand.phase is Phase.WORKING


def test_next_in_a_hold_is_a_sign_only() -> None:
    stand = Stand().started(prescription(bench.PASSIVE)).until(Phase.HOLDING)
    assert stand.obeyed(Verb.NEXT).text == "seen; nothing to begin while holding"
    assert stand.phase is Phase.HOLDING


def test_next_between_the_release_and_the_set_of_mode_resting_is_a_sign_only() -> None:
    stand = Stand().started(prescription(bench.RESTING)).until(Phase.RELEASING).until(Phase.RESTING)
    assert stand.obeyed(Verb.NEXT).text == "seen"


@pytest.mark.parametrize("line", [timeline(Mode.INTERMITTENT), timeline(Mode.INTERMITTENT, rest(30.0))])
def test_next_in_a_rest_that_nothing_follows_is_a_sign_only(line: Any) -> None:
    s = session_state.initial(1, 0.0)
    s.phase, s.timeline, s.step_index = Phase.RESTING, line, 0
    reply = obey(s, Command(1, Verb.NEXT), (EMPTY_CUFF,), Bench(Limits()), 5.0)
    assert reply.ok
    assert s.phase is Phase.RESTING


@pytest.mark.parametrize("line", [timeline(Mode.INTERMITTENT), timeline(Mode.INTERMITTENT, rest(30.0))])
def test_there_is_no_going_on_to_nothing(line: Any) -> None:
    s = session_state.initial(1, 0.0)
    s.phase, s.timeline, s.step_index = Phase.PAUSED, line, 0
    reply = obey(s, Command(1, Verb.NEXT), (EMPTY_CUFF,), Bench(Limits()), 5.0)
    assert (reply.ok, reply.text) == (False, "nothing to go on with: stop")
    assert s.phase is Phase.PAUSED


def test_there_is_no_going_on_with_the_cuff_inflated() -> None:
    stand = bench.at(Phase.PAUSED).run(15.0)
    stand.channels[0].b = 16.0
    reply = stand.refused(Verb.NEXT)
    assert "cuff 1 is not empty: 16 mmHg" in reply.text
    assert stand.phase is Phase.PAUSED


# --- pause, lower ------------------------------------------------------------------------------------------------


def test_the_last_release_is_not_paused() -> None:
    stand = Stand().started(prescription(timeline(Mode.INTERMITTENT, work(1)))).until(Phase.RELEASING)
    assert stand.refused(Verb.PAUSE).text == "nothing to pause while releasing"
    stand.until(Phase.IDLE)


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.READY, Phase.STOPPING, Phase.FAULT], ids=str)
def test_there_is_nothing_to_lower_outside_a_session(phase: Phase) -> None:
    reply, left = changed_by(bench.at(phase), Verb.LOWER)
    assert reply.text == f"nothing to lower while {phase}"
    assert left == []


# --- reset -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.FAULT], ids=str)
def test_there_is_nothing_to_reset_without_a_fault(phase: Phase) -> None:
    assert bench.at(phase).refused(Verb.RESET).text == f"nothing to reset while {phase}"


def faulted() -> Any:
    return bench.at(Phase.FAULT).run(3.0)


@pytest.mark.parametrize("cuff_off", [False, True])
@pytest.mark.parametrize("mmhg", [15.0, 80.0])
def test_no_reset_while_the_cuff_is_measured_inflated(mmhg: float, cuff_off: bool) -> None:
    stand = faulted()
    stand.channels[0].a = stand.channels[0].b = mmhg
    stand.run(0.5)
    reply = stand.refused(Verb.RESET, cuff_off=cuff_off)
    assert reply.text == f"cuff 1 is at {mmhg:.0f} mmHg, must be measured below 15 mmHg: empty it"
    assert stand.run(3.0).phase is Phase.FAULT


@pytest.mark.parametrize("sensor", ["a", "b"])
def test_where_a_sensor_is_dead_a_person_vouches_that_the_cuff_is_off(sensor: str) -> None:
    stand = faulted()
    if sensor == "a":
        stand.channels[0].sampled = False
    else:
        stand.channels[0].b = nan
    stand.run(0.5)
    reply = stand.refused(Verb.RESET)
    assert "without a trustworthy reading" in reply.text
    assert "take it off and say so: `manchet reset --cuff-off`" in reply.text
    assert stand.run(1.0).phase is Phase.FAULT
    stand.obeyed(Verb.RESET, cuff_off=True)
    assert stand.stepped.outputs.cuff_off
    assert stand.until(Phase.IDLE, at_most_s=1.0).guard is GuardState.VENTED


def test_a_cuff_that_is_empty_but_not_for_long_enough_is_no_cuff_to_be_emptied() -> None:
    too_short = "cuff 1 is not measured empty for half a second yet: try again"
    stand = faulted()
    stand.channels[0].a = stand.channels[0].b = 20.0
    stand.run(0.5)
    stand.channels[0].a = stand.channels[0].b = None
    stand.run(0.25)
    for cuff_off in (False, True):
        assert stand.refused(Verb.RESET, cuff_off=cuff_off).text == too_short
    assert stand.run(0.5).obeyed(Verb.RESET)
    stand = bench.Stand()
    assert stand.run(0.25).refused(Verb.SELFTEST).text == too_short


def test_every_cuff_is_looked_at() -> None:
    stand = bench.at(Phase.FAULT, cuffs=2).run(3.0)
    stand.channels[1].b = 40.0
    stand.run(0.25)
    assert "cuff 2 is at 40 mmHg" in stand.refused(Verb.RESET).text


def test_a_reset_says_cuff_off_only_when_it_was_said() -> None:
    stand = faulted()
    stand.obeyed(Verb.RESET, cuff_off=False)
    assert not stand.stepped.outputs.cuff_off


# --- status ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (Phase.IDLE, "idle: no prescription: screen and prescribe first"),
        (Phase.READY, "ready, cuff 1 at 0 mmHg, target 100"),
        (Phase.WORKING, "working, set 1 of 2, repetition 1 of 3, cuff 1 at 99 mmHg, target 100"),
        (
            Phase.RESTING,
            "resting, 24 s until it inflates, cuff 1 at 0 mmHg, target 100; "
            "waiting for a sign of the supervisor: `present`, or `next`",
        ),
        (Phase.FAULT, "fault: the guard has vented: it gave no reason; vented until `manchet reset`"),
    ],
)
def test_status_says_where_it_is(phase: Phase, text: str) -> None:
    assert bench.at(phase).obeyed(Verb.STATUS).text == text


def test_status_after_the_sign_asks_for_nothing() -> None:
    stand = bench.at(Phase.RESTING)
    stand.obeyed(Verb.PRESENT)
    assert stand.obeyed(Verb.STATUS).text == "resting, 24 s until it inflates, cuff 1 at 0 mmHg, target 100"


def test_status_of_a_set_by_seconds_and_of_a_cuff_without_a_reading() -> None:
    line = timeline(Mode.INTERMITTENT, Step(StepKind.SET, True, 20.0, 0, 1))
    stand = Stand(cuffs=2).started(prescription(line, cuff=1)).until(Phase.WORKING)
    s, unknown = stand.s, replace(EMPTY_CUFF, pressure_mmhg=nan)
    text = obey(s, Command(1, Verb.STATUS), (unknown, unknown), Bench(Limits()), 1.0).text
    assert text == "working, set 1 of 1, cuff 2 without a trustworthy reading, target 100"


def test_status_of_a_fault_without_a_finding() -> None:
    s = session_state.initial(1, 0.0)
    s.phase = Phase.FAULT
    assert obey(s, Command(1, Verb.STATUS), (EMPTY_CUFF,), Bench(Limits()), 1.0).text == "fault"


@pytest.mark.parametrize("verb", [Verb.ACKNOWLEDGE, Verb.SILENCE], ids=str)
def test_alarms_are_not_answered_by_the_session(verb: Verb) -> None:
    s = session_state.initial(1, 0.0)
    assert not obey(s, Command(1, verb), (EMPTY_CUFF,), Bench(Limits()), 1.0).ok


# --- what a refusal leaves behind --------------------------------------------------------------------------------

REFUSED = [
    (Phase.IDLE, Verb.START, {}),
    (Phase.IDLE, Verb.PRESCRIBE, PRESCRIBED),
    (Phase.IDLE, Verb.PAUSE, {}),
    (Phase.IDLE, Verb.LOWER, {}),
    (Phase.IDLE, Verb.RESET, {}),
    (Phase.IDLE, Verb.ACKNOWLEDGE, {}),
    (Phase.READY, Verb.PAUSE, {}),
    (Phase.READY, Verb.PRESCRIBE, {"prescription": prescription(code="B2")}),
    (Phase.WORKING, Verb.START, {}),
    (Phase.WORKING, Verb.SCREEN, {"screening": screening("A1", "thrombosis")}),
    (Phase.WORKING, Verb.PRESCRIBE, PRESCRIBED),
    (Phase.WORKING, Verb.RESET, {}),
    (Phase.PAUSED, Verb.PAUSE, {}),
    (Phase.PAUSED, Verb.START, {}),
    (Phase.FAULT, Verb.START, {}),
    (Phase.FAULT, Verb.RESET, {}),
    (Phase.FAULT, Verb.LOWER, {}),
]


@pytest.mark.parametrize(("phase", "verb", "said"), REFUSED)
def test_a_refusal_leaves_the_session_as_a_tick_without_it(phase: Phase, verb: Verb, said: dict[str, Any]) -> None:
    with_it, without = bench.at(phase), bench.at(phase)
    with_it.refused(verb, **said)
    without.tick()
    assert repr(with_it.state) == repr(without.state)


def test_a_prescription_of_a_value_stays_as_it_was() -> None:
    mine = prescription()
    kept = replace(mine)
    stand = Stand().started(mine).until(Phase.WORKING)
    stand.obeyed(Verb.LOWER)
    assert mine == kept


# --- one limb, whatever its code -----------------------------------------------------------------------------------


def test_a_new_code_does_not_make_a_new_leg() -> None:
    """A limb that has been restricted keeps its clock under another code, until 180 s below 15 mmHg were seen."""
    stand = Stand().ready()
    stand.obeyed(Verb.START)
    stand.until(Phase.WORKING)
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE)
    lived_s = max(clock.restricted_s for clock in stand.state.session.clocks.values())
    assert lived_s > 0.0
    stand.obeyed(Verb.SCREEN, screening=bench.screening("A2"))
    stand.obeyed(Verb.PRESCRIBE, prescription=bench.prescription(code="A2"))
    clock = stand.state.session.clock_of(0)
    assert clock is not None
    assert clock.restricted_s >= lived_s


def test_an_old_code_does_not_make_a_new_leg_either() -> None:
    """One that was prescribed for before, and has a clock of its own, takes on what the leg has had under another."""
    line = timeline(Mode.CONTINUOUS, work(110))  # 440 s, planned as 470
    stand = Stand().ready(prescription(line, code="P1"))
    stand.obeyed(Verb.STOP)
    restricted_s = 0.0
    for code in ("P10", "P1"):
        stand.run(61.0).started(prescription(line, code=code))
        stand.until(Phase.WORKING)
        stand.until(Phase.IDLE, at_most_s=600.0)
        clock = stand.s.clocks[code, Limb.LEG, Side.LEFT]
        assert clock.restricted_s > restricted_s + 440.0
        restricted_s = clock.restricted_s
    stand.obeyed(Verb.SCREEN, screening=screening("P10"))
    refused = stand.refused(Verb.PRESCRIBE, prescription=prescription(line, code="P10"))
    assert "leave the cuff empty for 180 s first" in refused.text
    assert refused.limit == 1200.0


def test_another_cuff_does_not_make_a_new_exercise() -> None:
    line = timeline(Mode.CONTINUOUS, work(110), cap_s=480.0)
    stand = Stand(cuffs=2).started(prescription(line, cuff=0)).until(Phase.WORKING).run(400.0)
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE)
    stand.ready(prescription(line, cuff=1))
    refused = stand.refused(Verb.START)  # it would be broken off after a minute
    assert refused.text.startswith("this limb had 405 s of an exercise a moment ago and 470 s are planned, above 480 s")
    assert refused.limit == 480.0
    short = timeline(Mode.CONTINUOUS, work(10), cap_s=480.0)
    stand.started(prescription(short, cuff=1))  # its 10 repetitions fit, if only just
    assert stand.s.exercise_restricted_s[1] > 400.0


def test_a_minute_of_free_flow_does() -> None:
    stand = Stand(cuffs=2).started().until(Phase.WORKING).run(5.0)
    stand.obeyed(Verb.STOP)
    stand.until(Phase.IDLE).run(61.0).started(prescription(cuff=1))
    assert stand.s.exercise_restricted_s[1] < 1.0
    assert stand.s.clocks["A1", Limb.LEG, Side.LEFT].restricted_s > 5.0


@pytest.mark.parametrize("cuffs", [1, 2])
def test_a_protocol_without_a_cuff_is_lived_with_every_cuff_vented(cuffs: int) -> None:
    """It has no LOP, so no rule of a cuff in use can judge it: NaN would trip."""
    plan = CuffPlan(Limb.LEG, Side.LEFT, nan, nan, nan)
    stand = Stand(cuffs=cuffs)
    stand.run(1.0).obeyed(Verb.SCREEN, screening=screening())
    said = stand.obeyed(Verb.PRESCRIBE, prescription=replace(prescription(bench.NO_CUFF), plan=plan))
    assert said.text == "cuff 1, left leg, A1: short without pressure"
    stand.run(3.0).obeyed(Verb.START)
    assert stand.until(Phase.IDLE, at_most_s=120.0).s.outcome == "completed"
    assert not stand.told(EventKind.TRIP)


def test_a_clock_that_stood_still_has_seen_no_free_flow_meanwhile() -> None:
    """Its cuff was put on somebody else; the same leg may have been under pressure since, by another code."""
    stand = Stand(clocks={("A1", Limb.LEG, Side.LEFT): LimbClock(320.0, 170.0, 320.0)}).run(12.0)
    stand.ready()
    clock = stand.s.clocks["A1", Limb.LEG, Side.LEFT]
    assert clock.restricted_s == 320.0
    assert clock.free_s < 15.0


@pytest.mark.parametrize(("empty_s", "begins"), [(5.0, False), (61.0, True)])
def test_after_a_restart_an_exercise_is_not_begun_that_would_be_broken_off(empty_s: float, begins: bool) -> None:
    line = timeline(Mode.CONTINUOUS, work(60))  # 240 s, planned as 270
    stand = Stand(clocks={("A1", Limb.LEG, Side.LEFT): LimbClock(300.0, exercise_s=300.0)}).run(empty_s)
    stand.ready(prescription(line))
    reply = stand.say(Verb.START)
    assert reply.ok is begins
    if begins:
        assert stand.until(Phase.IDLE, at_most_s=400.0).s.outcome == "completed"
    else:
        assert reply.text.startswith(
            "this limb had 300 s of an exercise a moment ago and 270 s are planned, above 480 s"
        )
        assert stand.phase is Phase.READY
        stand.run(60.0).obeyed(Verb.START)


def test_there_is_nothing_to_lower_without_a_cuff() -> None:
    plan = CuffPlan(Limb.LEG, Side.LEFT, nan, nan, nan)
    stand = Stand().started(replace(prescription(bench.NO_CUFF), plan=plan)).run(2.0)
    assert stand.refused(Verb.LOWER).text == "nothing to lower: this protocol has no pressure"
    assert stand.phase is Phase.MOVING


def test_status_counts_a_rest_and_a_pause_down() -> None:
    stand = bench.at(Phase.PAUSED).run(100.0)
    assert stand.obeyed(Verb.STATUS).text.startswith("paused, 200 s until it ends the session")
    stand = Stand().started(prescription(bench.NO_CUFF)).until(Phase.RESTING)
    assert stand.run(10.0).obeyed(Verb.STATUS).text.startswith("resting, 20 s left")
