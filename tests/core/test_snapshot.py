"""What those who watch are shown: in each phase, with the seconds that are left and the word for the patient."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest

import session_bench as bench
from controller.core import session_state
from controller.core.limits import Limits
from controller.core.model import GuardState, Limb, Mode, Notice, Phase, Snapshot, Step, StepKind, Tempo, Verb
from controller.core.snapshot import cue, snapshot, waiting_for
from session_bench import Stand, hold, prescription, rest, timeline, work


def shot(stand: Any, limits: Limits | None = None) -> Snapshot:
    return snapshot(stand.state, limits or Limits(), stand.now_s)


def test_an_idle_bench() -> None:
    one = shot(Stand(cuffs=2).run(1.0))
    assert (one.phase, one.protocol, one.code, one.outcome) == (Phase.IDLE, "", "", "")
    assert (one.set_index, one.sets, one.repetition, one.repetitions) == (0, 0, 0, 0)
    assert (one.cue, one.waiting_for, one.alarms) == ("", "", ())
    assert isnan(one.set_left_s)
    assert isnan(one.rest_left_s)
    assert isnan(one.session_left_s)
    for cuff in one.cuffs:
        assert (cuff.a_mmhg, cuff.b_mmhg, cuff.pump_duty, cuff.vent_open, cuff.dump_open) == (0.0, 0.0, 0.0, True, True)
        assert (cuff.limb, cuff.side, cuff.restricted_s) == ("", "", 0.0)
        assert isnan(cuff.target_mmhg)
        assert isnan(cuff.band_mmhg)
        assert isnan(cuff.lop_mmhg)
        assert isnan(cuff.restricted_cap_s)


def test_a_ready_bench() -> None:
    one = shot(Stand().ready())
    assert (one.phase, one.protocol, one.code, one.waiting_for) == (Phase.READY, "short", "A1", "start")
    assert (one.set_index, one.sets, one.repetition, one.repetitions) == (0, 2, 0, 0)
    assert one.session_left_s == 50.0  # 12 + 30 + 8
    (cuff,) = one.cuffs
    assert (cuff.target_mmhg, cuff.band_mmhg, cuff.lop_mmhg) == (100.0, 10.0, 180.0)
    assert (cuff.limb, cuff.side, cuff.restricted_cap_s) == ("leg", "left", 1200.0)


@pytest.mark.parametrize(("limits", "cap_s"), [(Limits(limb_cap_arm_s=500.0), 500.0), (Limits(), 900.0)])
def test_the_cap_shown_is_the_one_that_counts(limits: Limits, cap_s: float) -> None:
    assert shot(Stand().ready(prescription(limb=Limb.ARM)), limits).cuffs[0].restricted_cap_s == cap_s


def test_what_is_untrusted_is_not_shown() -> None:
    stand = bench.at(Phase.WORKING)
    stand.channels[0].b = nan
    stand.run(0.125)
    (cuff,) = shot(stand).cuffs
    assert isnan(cuff.b_mmhg)
    assert cuff.a_mmhg == pytest.approx(100.0, rel=0.1)


def test_alarms_and_the_outcome_are_shown() -> None:
    stand = Stand(notices=(Notice("disk_low"),)).started().until(Phase.WORKING)
    stand.obeyed(Verb.STOP)
    one = shot(stand.until(Phase.IDLE))
    assert [alarm.condition for alarm in one.alarms] == ["disk_low"]
    assert one.outcome == "stopped"


# When, on an intermittent session of two sets: what is shown. See test_session.py for the times.
#        at    phase            set rep reps cue             set_left rest_left session_left waiting for
SHOWN = [
    (1.0, Phase.INFLATING, 1, 0, 3, "inflating", nan, nan, 50.0, ""),
    (3.0, Phase.HOLDING, 1, 0, 3, "ready in 3", nan, 2.25, 50.0, ""),
    (5.1875, Phase.HOLDING, 1, 0, 3, "ready in 1", nan, 0.0625, 50.0, ""),
    (6.25, Phase.WORKING, 1, 1, 3, "up", 11.0, nan, 49.0, ""),
    (8.25, Phase.WORKING, 1, 1, 3, "down", 9.0, nan, 47.0, ""),
    (9.25, Phase.WORKING, 1, 2, 3, "up", 8.0, nan, 46.0, ""),
    (17.0, Phase.WORKING, 1, 3, 3, "down", 0.25, nan, 38.25, ""),
    (17.5, Phase.RELEASING, 2, 0, 2, "releasing", nan, 29.75, 37.75, ""),
    (19.25, Phase.RESTING, 2, 0, 2, "rest", nan, 28.0, 36.0, "next or present"),
    (40.25, Phase.RESTING, 2, 0, 2, "wait", nan, 7.0, 15.0, "next or present"),
]


@pytest.mark.parametrize("row", SHOWN, ids=lambda row: f"{row[0]} s")
def test_a_session_as_it_is_shown(row: Any) -> None:
    at_s, phase, set_index, repetition, repetitions, word, *left, waiting = row
    one = shot(Stand().started().play({}, at_s))
    assert (one.phase, one.set_index, one.sets) == (phase, set_index, 2)
    assert (one.repetition, one.repetitions, one.cue) == (repetition, repetitions, word)
    assert [one.set_left_s, one.rest_left_s, one.session_left_s] == pytest.approx(left, abs=0.3, nan_ok=True)
    assert one.waiting_for == waiting


def test_the_cuff_is_announced_3_s_before_it_fills() -> None:
    stand = Stand().started().play({20.0: Verb.PRESENT}, 38.5)
    assert shot(stand).cue == "rest"
    assert shot(stand.play({}, 39.5)).cue == "cuff fills in 3"
    assert shot(stand.play({}, 41.5)).cue == "cuff fills in 1"
    assert shot(stand).waiting_for == ""


def test_a_set_with_the_cuff_empty_is_not_announced_as_a_filling() -> None:
    stand = Stand().started(prescription(bench.NO_CUFF)).play({}, 36.0)
    one = shot(stand)
    assert (one.phase, one.cue) == (Phase.RESTING, "ready in 2")
    assert one.rest_left_s == pytest.approx(2.0)


def test_a_set_in_mode_resting_is_announced_as_one() -> None:
    stand = Stand().started(prescription(bench.RESTING)).until(Phase.RELEASING).until(Phase.RESTING)
    one = shot(stand)
    assert one.cue.startswith("ready in")
    assert (one.set_index, one.repetitions, one.waiting_for) == (2, 2, "")
    assert one.rest_left_s == pytest.approx(2.1, abs=0.3)


def test_a_rest_of_mode_resting_that_waits_for_the_supervisor() -> None:
    line = timeline(Mode.RESTING, *bench.RESTING.steps, rest(30.0, inflated=True), work(1, index=3, inflated=False))
    stand = Stand().started(prescription(line)).until(Phase.RELEASING).until(Phase.MOVING).until(Phase.RESTING)
    stand.run(0.25)
    one = shot(stand)
    assert (one.cue, one.waiting_for) == ("wait", "next or present")
    stand.obeyed(Verb.PRESENT)
    assert shot(stand).cue.startswith("cuff fills in")


def test_moving_is_shown_as_working_is() -> None:
    stand = Stand().started(prescription(bench.NO_CUFF)).play({}, 5.0)
    one = shot(stand)
    assert (one.phase, one.set_index, one.repetition, one.cue) == (Phase.MOVING, 1, 2, "up")
    assert one.set_left_s == pytest.approx(3.0)
    assert one.session_left_s == pytest.approx(41.0)


def test_the_rest_of_continuous_is_held() -> None:
    stand = Stand().started(prescription(bench.CONTINUOUS)).play({}, 27.25)
    one = shot(stand)
    assert (one.phase, one.cue) == (Phase.HOLDING, "rest")
    assert one.rest_left_s == pytest.approx(20.0, abs=0.2)
    assert one.session_left_s == pytest.approx(28.0, abs=0.2)


def test_a_hold_and_its_off_time_are_counted_down() -> None:
    stand = Stand().started(prescription(bench.PASSIVE)).play({}, 22.25)
    one = shot(stand)
    assert (one.set_index, one.sets, one.repetitions) == (0, 0, 0)
    assert (one.rest_left_s, one.session_left_s) == (pytest.approx(40.0, abs=0.2), pytest.approx(140.0, abs=0.2))
    one = shot(stand.play({}, 83.125))
    assert one.phase is Phase.RESTING
    assert one.rest_left_s == pytest.approx(20.0, abs=0.3)


def test_a_hold_that_wants_a_sign_asks_for_it() -> None:
    stand = Stand().started(prescription(timeline(Mode.PASSIVE, hold(200.0)))).until(Phase.HOLDING).run(125.0)
    assert shot(stand).waiting_for == "present"


@pytest.mark.parametrize(
    ("phase", "word", "waiting"),
    [(Phase.PAUSED, "", "next or stop"), (Phase.STOPPING, "releasing", ""), (Phase.FAULT, "", "reset")],
)
def test_where_it_stands_still(phase: Phase, word: str, waiting: str) -> None:
    one = shot(bench.at(phase))
    assert (one.phase, one.cue, one.waiting_for) == (phase, word, waiting)
    assert isnan(one.set_left_s)
    assert one.rest_left_s == pytest.approx(300.0, abs=0.3) if phase is Phase.PAUSED else isnan(one.rest_left_s)


def test_a_pause_counts_down_to_where_it_ends_the_session() -> None:
    stand = bench.at(Phase.PAUSED).run(100.0)
    assert shot(stand).rest_left_s == pytest.approx(200.0, abs=0.3)


def test_a_pause_in_a_set_shows_what_is_left_of_it() -> None:
    one = shot(bench.at(Phase.PAUSED))
    assert (one.set_index, one.repetition, one.repetitions) == (1, 0, 3)
    assert one.session_left_s == pytest.approx(45.0, abs=0.2)  # 5 s of 50 were lived


@pytest.mark.parametrize(
    ("into_s", "word"),
    [(0.0, "up"), (0.9, "up"), (1.0, "hold"), (2.9, "hold"), (3.0, "down"), (5.9, "down"), (6.0, "up")],
)
def test_the_tempo_is_said_as_prescribed(into_s: float, word: str) -> None:
    s = session_state.initial(1, 0.0)
    s.timeline = timeline(Mode.NONE, Step(StepKind.SET, False, 60.0, 0, 1, 10, Tempo(1.0, 2.0, 3.0)))
    s.phase, s.step_index, s.step_from_s = Phase.MOVING, 0, 100.0
    assert cue(s, 100.0 + into_s) == word


def test_the_word_changes_with_the_repetition_whatever_the_sums_of_ticks_round_to() -> None:
    s = session_state.initial(1, 0.0)
    s.timeline = timeline(Mode.NONE, Step(StepKind.SET, False, 60.0, 0, 1, 30, Tempo(1.0, 0.0, 1.0)))
    s.phase, s.step_index = Phase.MOVING, 0
    for start in range(1000):
        now_s = s.step_from_s = start * 0.01
        for _ in range(400):
            now_s += 0.01
        assert cue(s, now_s) == "up", start


def test_a_set_by_seconds_says_go() -> None:
    line = timeline(Mode.INTERMITTENT, Step(StepKind.SET, True, 20.0, 0, 1))
    stand = Stand().started(prescription(line)).until(Phase.WORKING).run(5.0)
    one = shot(stand)
    assert (one.cue, one.repetition, one.repetitions) == ("go", 1, 0)
    assert one.set_left_s == pytest.approx(15.0)


@pytest.mark.parametrize("phase", list(Phase), ids=str)
def test_a_phase_without_a_step_is_shown_without_harm(phase: Phase) -> None:
    """What no session lives: a snapshot is made of it all the same."""
    stand = Stand().run(0.5)
    for line in (None, timeline(Mode.INTERMITTENT), timeline(Mode.INTERMITTENT, rest(30.0))):
        stand.s.phase, stand.s.timeline, stand.s.due_at_s = phase, line, stand.now_s + 5.0
        for index in (-1, 0):
            stand.s.step_index = index
            one = shot(stand)
            assert one.phase is phase
            assert waiting_for(stand.s) == one.waiting_for


@pytest.mark.parametrize(
    "line",
    [bench.INTERMITTENT, bench.CONTINUOUS, bench.RESTING, bench.PASSIVE, bench.NO_CUFF],
    ids=lambda one: one.mode,
)
def test_what_is_left_only_falls_within_a_phase(line: Any) -> None:
    """Every tick of a session of each mode: no countdown that runs backwards, none below zero, a word in each phase."""
    stand = Stand().started(prescription(line))
    last: Snapshot | None = None
    while stand.phase is not Phase.IDLE:
        stand.tick(*([stand.command(Verb.PRESENT)] if stand.phase in (Phase.RESTING, Phase.MOVING) else []))
        one = shot(stand)
        for name in ("set_left_s", "rest_left_s", "session_left_s"):
            left = getattr(one, name)
            assert isnan(left) or left >= 0.0
            if last is not None and last.phase is one.phase:
                assert isnan(left) or left <= getattr(last, name) + 1e-9, (name, one.phase, stand.at_s)
        assert one.cue or one.phase is Phase.IDLE
        last = one
    assert stand.s.outcome == "completed"


def test_an_unused_cuff_beside_one_in_use() -> None:
    one = shot(Stand(cuffs=2).started(prescription(cuff=1)).until(Phase.WORKING))
    assert (one.cuffs[0].limb, one.cuffs[1].limb) == ("", "leg")
    assert (one.cuffs[0].vent_open, one.cuffs[1].dump_open) == (True, False)
    assert one.cuffs[1].restricted_s > 3.0


def test_the_clock_of_a_limb_is_shown_after_the_session_too() -> None:
    stand = bench.at(Phase.WORKING)
    stand.guard = GuardState.TRIPPED
    stand.run(3.0)
    (cuff,) = shot(stand).cuffs
    assert cuff.restricted_s > 3.0
    assert isnan(cuff.restricted_cap_s)
