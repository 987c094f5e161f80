"""What the session asks of each cuff, what it tells the safety rules, and why a bench is not READY."""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Any

import pytest

import session_bench as bench
from controller.core import asking
from controller.core.limits import Limits
from controller.core.model import VENT, Ask, AskKind, GuardState, Limb, Mode, Notice, Phase, Seen, Side, Verb
from session_bench import Stand, prescription, timeline


def asked(stand: Any) -> tuple[Ask, ...]:
    return asking.asks(stand.s, stand.now_s)


def watched(stand: Any, limits: Limits | None = None) -> Any:
    return asking.watch(stand.s, limits or Limits(), stand.now_s)


# --- asks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notice", "says"),
    [
        (
            Notice("journal_failed", detail="disk is full"),
            "nothing can be recorded now (disk is full): see to the disk",
        ),
        (Notice("journal_failed"), "nothing can be recorded now (the journal does not say why): see to the disk"),
        (Notice("journal_events_lost", 7.0), "not all that happened could be recorded: see to the disk, then restart"),
    ],
)
def test_nothing_begins_that_would_not_be_recorded(notice: Notice, says: str) -> None:
    """And what has begun goes on: a full disk is no reason to let a limb wait."""
    stand = Stand().ready()
    stand.notices = (Notice("broker_lost"), notice)
    stand.run(0.25)
    assert stand.phase is Phase.IDLE
    assert says in stand.refused(Verb.START).text
    assert says in stand.refused(Verb.SELFTEST).text
    stand.notices = (Notice("broker_lost"),)
    stand.run(0.25).obeyed(Verb.START)
    stand.notices = (notice,)
    assert stand.until(Phase.WORKING).run(3.0).phase is Phase.WORKING


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in bench.MAY_PRESS], ids=str)
def test_a_phase_without_pressure_asks_for_a_vent(phase: Phase) -> None:
    assert asked(bench.at(phase, cuffs=2)) == (VENT, VENT)


def test_an_inflation_asks_for_a_vent_until_the_guard_is_armed() -> None:
    stand = Stand().started()
    assert stand.phase is Phase.INFLATING
    assert asked(stand) == (VENT,)
    stand.run(0.25)
    assert asked(stand) == (Ask(AskKind.INFLATE, 100.0),)


@pytest.mark.parametrize(
    ("phase", "kind"),
    [(Phase.INFLATING, AskKind.INFLATE), (Phase.HOLDING, AskKind.HOLD), (Phase.WORKING, AskKind.WORK)],
)
@pytest.mark.parametrize("used", [0, 1])
def test_only_the_cuff_in_use_is_asked_for(phase: Phase, kind: AskKind, used: int) -> None:
    stand = Stand(cuffs=2).started(prescription(cuff=used)).until(phase).run(0.25)
    asks = asked(stand)
    assert (asks[used].kind, asks[used].target_mmhg) == (kind, 100.0)
    assert asks[1 - used] == VENT


def test_the_repetition_and_how_far_into_it() -> None:
    stand = Stand().started().until(Phase.WORKING)
    assert asked(stand) == (Ask(AskKind.WORK, 100.0, 0, 0.0, 4.0),)
    stand.run(3.5)
    assert asked(stand) == (Ask(AskKind.WORK, 100.0, 0, 3.5, 4.0),)
    stand.run(2.0)
    assert asked(stand) == (Ask(AskKind.WORK, 100.0, 1, 1.5, 4.0),)


def test_a_set_by_seconds_has_no_repetition() -> None:
    line = timeline(Mode.INTERMITTENT, bench.Step(bench.StepKind.SET, True, 20.0, 0, 1))
    stand = Stand().started(prescription(line)).until(Phase.WORKING).run(5.0)
    assert asked(stand) == (Ask(AskKind.WORK, 100.0, -1, 0.0, 0.0),)


def test_a_hold_asks_for_the_target_as_lowered() -> None:
    stand = Stand().started().until(Phase.HOLDING)
    stand.obeyed(Verb.LOWER)
    assert asked(stand) == (Ask(AskKind.HOLD, 90.0),)


# --- watch -----------------------------------------------------------------------------------------------------------


def test_a_cuff_that_is_not_in_use_is_not_watched_as_one() -> None:
    watch = watched(Stand(cuffs=2).started(prescription(cuff=1)))
    assert watch.cuffs[0] is None
    assert watch.cuffs[1].lop_mmhg == 180.0


def test_what_a_cuff_must_never_pass() -> None:
    stand = Stand().started(prescription(cuff=0, limb=Limb.ARM, lop=190.0, target=90.0)).until(Phase.WORKING).run(5.0)
    cuff = watched(stand).cuffs[0]
    clock = stand.s.clocks["A1", Limb.ARM, Side.LEFT]
    assert (cuff.limb, cuff.lop_mmhg, cuff.target_mmhg) == (Limb.ARM, 190.0, 90.0)
    assert (cuff.restricted_s, cuff.limb_cap_s) == (clock.restricted_s, 900.0)
    assert (cuff.exercise_restricted_s, cuff.exercise_cap_s) == (stand.s.exercise_restricted_s[0], 480.0)


@pytest.mark.parametrize(
    ("limits", "limb_cap_s", "exercise_cap_s"),
    [
        (Limits(), 1200.0, 480.0),
        (Limits(limb_cap_leg_s=600.0, exercise_cap_s=300.0), 600.0, 300.0),
        (Limits(limb_cap_leg_s=9999.0, exercise_cap_s=9999.0), 1200.0, 480.0),  # nothing widens what is compiled in
    ],
)
def test_a_bench_may_only_tighten(limits: Limits, limb_cap_s: float, exercise_cap_s: float) -> None:
    cuff = watched(Stand().ready(), limits).cuffs[0]
    assert (cuff.limb_cap_s, cuff.exercise_cap_s) == (limb_cap_s, exercise_cap_s)


def test_a_limb_without_a_clock_counts_as_unknown() -> None:
    stand = Stand().ready()
    stand.s.clocks = {}
    assert isnan(watched(stand).cuffs[0].restricted_s)


@pytest.mark.parametrize("phase", list(Phase), ids=str)
def test_the_times_that_a_phase_stands_for(phase: Phase) -> None:
    stand = bench.at(phase)
    watch = watched(stand)
    assert (watch.phase, watch.phase_since_s) == (phase, stand.s.phase_since_s)
    assert isnan(watch.release_due_at_s) is (phase not in (Phase.RELEASING, Phase.STOPPING))
    assert isnan(watch.inflate_from_s) is (phase is not Phase.INFLATING)
    assert (watch.repetition == 0) is (phase is Phase.WORKING)
    assert not watch.unattended


def test_the_time_of_the_last_cue() -> None:
    stand = Stand().started()
    assert watched(stand).last_cue_at_s == -1e9
    stand.until(Phase.WORKING).run(2.0)
    assert watched(stand).last_cue_at_s == stand.now_s
    stand.until(Phase.RESTING)
    assert watched(stand).last_cue_at_s == stand.phases[3][0] + stand.zero_s  # the set's end


@pytest.mark.parametrize(("waited_s", "unattended"), [(59.99, False), (60.0, True), (nan, False), (inf, True)])
@pytest.mark.parametrize("phase", [Phase.RESTING, Phase.HOLDING])
def test_unattended_is_60_s_of_waiting_in_a_rest(waited_s: float, unattended: bool, phase: Phase) -> None:
    stand = bench.at(phase)
    stand.s.waiting_since_s = stand.now_s - waited_s
    assert watched(stand).unattended is (unattended and phase is Phase.RESTING)


# --- READY -----------------------------------------------------------------------------------------------------------

EMPTY = Seen(0.5, 0.0, -0.5, 0.0, 0.5, True, True)


def why(seen: tuple[Seen, ...] = (EMPTY,), guard: GuardState | None = GuardState.VENTED, estop_ok: bool = True) -> str:
    return asking.unready(Stand().ready().s, seen, guard, estop_ok)


def test_nothing_stands_in_the_way() -> None:
    assert why() == ""
    assert why((EMPTY, EMPTY)) == ""


def at_mmhg(a: float, b: float, *, empty: bool = False) -> Seen:
    return Seen(a, 0.0, b, 0.0, max(a, b), a == a and b == b, empty)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Seen(nan, 0.0, 0.0, 0.0, 0.0, False, False), "cuff 1: a pressure sensor gives no reading"),
        (at_mmhg(0.0, nan), "cuff 1: a pressure sensor gives no reading"),
        (at_mmhg(14.9, 0.0), "cuff 1 is not measured empty yet: wait half a second"),
        (at_mmhg(0.0, 15.0), "cuff 1 is at 15 mmHg, must be below 15 mmHg: empty it"),
        (at_mmhg(120.0, 118.0), "cuff 1 is at 120 mmHg, must be below 15 mmHg: empty it"),
        (at_mmhg(10.1, 0.0, empty=True), "cuff 1: a sensor reads more than 10 mmHg from zero while vented: zero it"),
        (at_mmhg(0.0, -10.1, empty=True), "cuff 1: a sensor reads more than 10 mmHg from zero while vented: zero it"),
        (at_mmhg(10.0, -10.0, empty=True), ""),
    ],
)
def test_the_self_test_says_what_is_wrong_with_a_cuff(seen: Seen, text: str) -> None:
    assert why((seen,)) == text
    assert why((EMPTY, seen)) == text.replace("cuff 1", "cuff 2")


@pytest.mark.parametrize(
    ("guard", "estop_ok", "text"),
    [
        (None, True, "the guard has not answered yet"),
        (GuardState.ARMED, True, "the guard is not vented and disarmed"),
        (GuardState.TRIPPED, True, "the guard is not vented and disarmed"),
        (GuardState.VENTED, False, "the emergency stop is pressed or its wire is broken: release it"),
    ],
)
def test_the_self_test_says_what_is_wrong_with_the_guard(guard: GuardState | None, estop_ok: bool, text: str) -> None:
    assert why(guard=guard, estop_ok=estop_ok) == text


@pytest.mark.parametrize(
    ("screened", "text"),
    [
        (None, "A1 is not screened: screen first"),
        (bench.screening("B2"), "A1 is not screened: screen first"),
        (bench.screening("A1", "thrombosis", "fever"), "A1 is not cleared: thrombosis; fever"),
    ],
)
def test_nobody_is_ready_who_is_not_screened(screened: Any, text: str) -> None:
    s = Stand().ready().s
    s.screening = screened
    assert asking.unready(s, (EMPTY,), GuardState.VENTED, True) == text


def test_nothing_is_ready_without_a_prescription() -> None:
    text = asking.unready(Stand().run(1.0).s, (EMPTY,), GuardState.VENTED, True)
    assert text == "no prescription: screen and prescribe first"


def test_a_bench_whose_sensors_are_not_calibrated_says_so_before_it_looks_at_what_they_read() -> None:
    text = "sensor B of cuff 1 has never been calibrated: calibrate it"
    s = Stand().ready().s
    assert asking.unready(s, (EMPTY,), GuardState.VENTED, True, text) == text
    assert asking.unready(s, (at_mmhg(120.0, 118.0),), GuardState.VENTED, True, text) == text
    assert asking.unready(s, (EMPTY,), None, True, text) == "the guard has not answered yet"


def test_no_uncalibrated_bench_gets_ready_or_starts() -> None:
    stand = Stand(uncalibrated="calibrate it first").run(1.0)
    stand.obeyed(Verb.SCREEN, screening=bench.screening())
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    stand.run(5.0)
    assert stand.phase is Phase.IDLE
    reply = stand.say(Verb.START)
    assert not reply.ok
    assert "calibrate it first" in reply.text
    assert stand.run(5.0).phase is Phase.IDLE


def test_a_screening_is_of_today() -> None:
    stand = Stand().ready()
    stand.state.session.screened_at_s = stand.now_s - 43_199.0
    assert stand.run(0.5).phase is Phase.READY
    stand.run(1.0)
    assert stand.phase is Phase.IDLE
    assert "A1 was screened more than 12 h ago: screen again" in stand.refused(Verb.START).text
    stand.obeyed(Verb.SCREEN, screening=bench.screening())
    assert stand.until(Phase.READY, at_most_s=2.0).s.prescriptions[0] is not None
