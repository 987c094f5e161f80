"""The timeline as it is lived, driven through `step` on an idealised cuff: what happens when, written as data."""

from __future__ import annotations

from itertools import pairwise
from math import nan
from typing import Any

import pytest

import session_bench as bench
from controller.core import session, session_state
from controller.core.limb import LimbClock
from controller.core.limits import Limits
from controller.core.model import (
    VENTED,
    EventKind,
    Finding,
    GuardOrder,
    GuardState,
    Limb,
    Mode,
    Phase,
    Priority,
    Seen,
    Side,
    Step,
    StepKind,
    Verb,
)
from controller.core.phases import Event
from session_bench import TICK_S, Stand, hold, off, prescription, rest, timeline, work

LEFT_LEG = ("A1", Limb.LEG, Side.LEFT)
NEAR_S = 0.3  # of an inflation or a release, whose length is the idealised cuff's

F, H, W, R, Z, M, P, S, IDLE = (
    Phase.INFLATING,
    Phase.HOLDING,
    Phase.WORKING,
    Phase.RELEASING,
    Phase.RESTING,
    Phase.MOVING,
    Phase.PAUSED,
    Phase.STOPPING,
    Phase.IDLE,
)
PRESENT, NEXT, STOP, PAUSE, LOWER = Verb.PRESENT, Verb.NEXT, Verb.STOP, Verb.PAUSE, Verb.LOWER

INTERMITTENT_60 = timeline(Mode.INTERMITTENT, work(3), rest(60.0), work(2, index=2))
BY_SECONDS = timeline(Mode.INTERMITTENT, Step(StepKind.SET, True, 20.0, 0, 1))
TWO_EXERCISES = timeline(
    Mode.INTERMITTENT, work(2), Step(StepKind.REPERFUSION, False, 40.0, 0), work(2, exercise=1, index=2)
)

# What is prescribed; what is said at which second; which phase begins at which second. The cuff takes 2.2 s to its
# target and 0.9 s to empty; 3 s at target come before a first repetition, a repetition takes 4 s.
SEQUENCES: dict[str, tuple[Any, dict[float, Verb], list[tuple[float, Phase]]]] = {
    "intermittent": (
        bench.INTERMITTENT,
        {20.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (42.0, F), (44.2, H), (47.2, W), (55.2, R), (56.1, IDLE)],
    ),
    "a sign 3 s before an inflation is still in time": (
        bench.INTERMITTENT,
        {39.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (42.0, F), (44.2, H), (47.2, W), (55.2, R), (56.1, IDLE)],
    ),
    "a late sign leaves 3 s for the cue": (
        bench.INTERMITTENT,
        {60.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (63.0, F), (65.2, H), (68.2, W), (76.2, R), (77.1, IDLE)],
    ),
    "next shortens a rest of 60 s to 30": (
        INTERMITTENT_60,
        {25.0: NEXT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (42.0, F), (44.2, H), (47.2, W), (55.2, R), (56.1, IDLE)],
    ),
    "next late in a rest of 60 s begins after the cue": (
        INTERMITTENT_60,
        {50.0: NEXT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (53.0, F), (55.2, H), (58.2, W), (66.2, R), (67.1, IDLE)],
    ),
    "next at target begins the first set": (
        bench.INTERMITTENT,
        {3.0: NEXT, 20.0: PRESENT},
        [(0, F), (2.2, H), (3.0, W), (15.0, R), (15.9, Z), (39.8, F), (42.0, H), (45.0, W), (53.0, R), (53.9, IDLE)],
    ),
    "without a sign it stays vented and ends after 60 s": (
        bench.INTERMITTENT,
        {},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (99.0, S), (99.1, IDLE)],
    ),
    "a sign before the release does not count": (
        bench.INTERMITTENT,
        {16.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.1, Z), (99.0, S), (99.1, IDLE)],
    ),
    "continuous": (
        bench.CONTINUOUS,
        {},
        [(0, F), (2.2, H), (5.2, W), (17.2, H), (47.2, W), (55.2, R), (56.1, IDLE)],
    ),
    "continuous: next in a rest is seen, the rest is held": (
        bench.CONTINUOUS,
        {30.0: NEXT},
        [(0, F), (2.2, H), (5.2, W), (17.2, H), (47.2, W), (55.2, R), (56.1, IDLE)],
    ),
    "resting": (
        bench.RESTING,
        {15.0: PRESENT},
        [(0, M), (12.0, F), (14.2, H), (39.0, R), (39.9, Z), (42.0, M), (50.0, R), (50.1, IDLE)],
    ),
    "passive": (
        bench.PASSIVE,
        {80.0: PRESENT},
        [(0, F), (2.2, H), (62.2, R), (63.1, Z), (103.1, F), (105.3, H), (165.3, R), (166.2, IDLE)],
    ),
    "passive: next does not shorten the off-time": (
        bench.PASSIVE,
        {80.0: NEXT},
        [(0, F), (2.2, H), (62.2, R), (63.1, Z), (103.1, F), (105.3, H), (165.3, R), (166.2, IDLE)],
    ),
    "without a cuff": (
        bench.NO_CUFF,
        {},
        [(0, M), (8.0, Z), (38.0, M), (46.0, R), (46.1, IDLE)],
    ),
    "without a cuff: next shortens no rest below 30 s": (
        timeline(Mode.NONE, work(2, inflated=False), rest(50.0), work(2, index=2, inflated=False)),
        {10.0: NEXT},
        [(0, M), (8.0, Z), (38.0, M), (46.0, R), (46.1, IDLE)],
    ),
    "without a cuff: two exercises with nothing between": (
        timeline(Mode.NONE, work(1, inflated=False), work(1, exercise=1, index=2, inflated=False)),
        {},
        [(0, M), (4.0, Z), (4.1, M), (8.1, R), (8.1, IDLE)],
    ),
    "a set by seconds": (BY_SECONDS, {}, [(0, F), (2.2, H), (5.2, W), (25.2, R), (26.1, IDLE)]),
    "two exercises, the time between counts from empty": (
        TWO_EXERCISES,
        {20.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (13.2, R), (14.1, Z), (54.1, F), (56.3, H), (59.3, W), (67.3, R), (68.2, IDLE)],
    ),
    "stopped in a set": (bench.INTERMITTENT, {10.0: STOP}, [(0, F), (2.2, H), (5.2, W), (10.0, S), (10.9, IDLE)]),
    "paused in a set, and on from the repetition it broke off in": (
        bench.INTERMITTENT,
        {11.0: PAUSE, 30.0: NEXT, 55.0: PRESENT},
        [
            (0, F),
            (2.2, H),
            (5.2, W),
            (11.0, R),  # 5.8 s into the set: in its second repetition
            (11.9, P),
            (30.0, F),
            (32.2, H),
            (35.2, W),  # 8 s are left of its 12
            (43.2, R),
            (44.1, Z),
            (68.0, F),
            (70.2, H),
            (73.2, W),
            (81.2, R),
            (82.1, IDLE),
        ],
    ),
    "paused at target, and the set begins anew": (
        bench.INTERMITTENT,
        {4.0: PAUSE, 30.0: NEXT, 31.0: STOP},
        [(0, F), (2.2, H), (4.0, R), (4.9, P), (30.0, F), (31.0, S), (31.6, IDLE)],
    ),
    "paused while inflating": (
        bench.INTERMITTENT,
        {1.0: PAUSE, 20.0: STOP},
        [(0, F), (1.0, R), (1.8, P), (20.0, S), (20.0, IDLE)],
    ),
    "paused in a rest, the rest is over": (
        bench.INTERMITTENT,
        {25.0: PAUSE, 50.0: NEXT},
        [
            (0, F),
            (2.2, H),
            (5.2, W),
            (17.2, R),
            (18.1, Z),
            (25.0, P),
            (50.0, F),
            (52.2, H),
            (55.2, W),
            (63.2, R),
            (64.1, IDLE),
        ],
    ),
    "paused while moving": (
        bench.RESTING,
        {5.0: PAUSE, 20.0: NEXT, 30.0: PRESENT},
        [(0, M), (5.0, P), (20.0, M), (28.0, F), (30.2, H), (55.0, R), (55.9, Z), (58.0, M), (66.0, R), (66.1, IDLE)],
    ),
    "a pause of 300 s ends the session": (
        bench.NO_CUFF,
        {5.0: PAUSE},
        [(0, M), (5.0, P), (305.0, S), (305.1, IDLE)],
    ),
    "paused in a hold, and the rest of it is held": (
        timeline(Mode.PASSIVE, hold(60.0)),
        {22.2: PAUSE, 40.0: NEXT},
        [(0, F), (2.2, H), (22.2, R), (23.1, P), (40.0, F), (42.2, H), (82.2, R), (83.1, IDLE)],
    ),
    "lowered": (
        bench.INTERMITTENT,
        {6.0: LOWER, 10.0: LOWER, 20.0: PRESENT},
        [(0, F), (2.2, H), (5.2, W), (17.2, R), (18.0, Z), (42.0, F), (44.0, H), (47.2, W), (55.2, R), (56.0, IDLE)],
    ),
    "lowered below 40 % of LOP it is released": (
        bench.INTERMITTENT,
        {6.0: LOWER, 10.0: LOWER, 14.0: LOWER},
        [(0, F), (2.2, H), (5.2, W), (14.0, S), (14.8, IDLE)],
    ),
}
COMPLETED = {
    name
    for name in SEQUENCES
    if not any(word in name for word in ("stopped", "below 40 %", "without a sign", "does not count", "300 s"))
    and name not in ("paused at target, and the set begins anew", "paused while inflating")
}


def play(name: str, extra_s: float = 1.0) -> Any:
    line, script, expected = SEQUENCES[name]
    return Stand().started(prescription(line)).play(dict(script), expected[-1][0] + extra_s)


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_session_as_it_is_lived(name: str) -> None:
    stand = play(name)
    expected = SEQUENCES[name][2]
    assert [phase for _, phase in stand.phases] == [phase for _, phase in expected], stand.phases
    for (at_s, phase), (expected_s, _) in zip(stand.phases, expected, strict=True):
        assert at_s == pytest.approx(expected_s, abs=NEAR_S), (phase, stand.phases)
    assert stand.s.outcome == ("completed" if name in COMPLETED else "stopped")
    (ended,) = stand.told(EventKind.SESSION_ENDED)
    assert ended.data == {"outcome": stand.s.outcome, "code": "A1"}
    assert not stand.told(EventKind.TRIP)


# --- sets, repetitions, tempo ----------------------------------------------------------------------------------------


def test_every_repetition_is_told_when_it_is_done() -> None:
    stand = play("intermittent")
    sets = [(one.data["set_index"], one.data["repetitions"]) for one in stand.told(EventKind.SET_ENDED)]
    assert sets == [(1, 3), (2, 2)]
    begun = [one.at_s for one in stand.told(EventKind.SET_BEGAN)]
    done = [(one.data["set_index"], one.data["repetitions"], one.at_s) for one in stand.told(EventKind.REPETITION)]
    assert done == [(index, n, begun[index - 1] + 4.0 * n) for index, n in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]]


def test_a_set_that_was_paused_counts_the_repetitions_of_both_halves() -> None:
    stand = play("paused in a set, and on from the repetition it broke off in")
    done = [one.data["repetitions"] for one in stand.told(EventKind.REPETITION) if one.data["set_index"] == 1]
    assert done == [1, 2, 3]
    assert [one.data["repetitions"] for one in stand.told(EventKind.SET_ENDED)] == [3, 2]


def test_a_set_by_seconds_has_no_repetitions_and_no_cues() -> None:
    stand = play("a set by seconds")
    assert not stand.told(EventKind.REPETITION)
    assert stand.told(EventKind.SET_ENDED)[0].data["repetitions"] == 0
    assert stand.s.last_cue_at_s == -1e9


@pytest.mark.parametrize(
    ("lived_s", "done"), [(0.0, 0), (3.999, 0), (4.0, 1), (7.9, 1), (8.0, 2), (12.0, 3), (99.0, 3), (-1.0, -1)]
)
def test_whole_repetitions_are_counted_and_no_more_than_there_are(lived_s: float, done: int) -> None:
    assert session.done_repetitions(work(3), lived_s) == done


def test_a_set_to_failure_counts_on() -> None:
    step = Step(StepKind.SET, True, 60.0, 0, 1, 0, bench.FOUR_S)
    assert session.done_repetitions(step, 41.0) == 10


# --- rests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [bench.INTERMITTENT, bench.CONTINUOUS, bench.RESTING, bench.NO_CUFF])
@pytest.mark.parametrize("rise_mmhg_s", [8.0, 20.0, 50.0])
def test_a_rest_lasts_from_the_last_repetition_to_the_first(line: Any, rise_mmhg_s: float) -> None:
    """Inflation begins early by the time that this cuff was measured to take, however slow it is."""
    stand = Stand(rise_mmhg_s=rise_mmhg_s).started(prescription(line))
    stand.until(R, Z, H, F, at_most_s=60.0)
    stand.watched = lambda one, _: one.tick(one.command(PRESENT)) if one.phase is Z and not _signed(one) else None
    stand.until(IDLE, at_most_s=200.0)
    (over,), (begun,) = stand.told(EventKind.SET_ENDED)[:1], stand.told(EventKind.SET_BEGAN)[1:]
    assert begun.at_s - over.at_s == pytest.approx(30.0, abs=3 * TICK_S)
    assert not stand.told(EventKind.REST_STRETCHED)


def _signed(stand: Any) -> bool:
    return bool(stand.s.sign_at_s > stand.s.released_at_s)


def test_a_rest_is_stretched_to_keep_10_s_of_free_flow_and_says_so() -> None:
    stand = Stand(rise_mmhg_s=5.0).started()  # 20 s to the target: 1 + 10 + 20 + 3 s do not fit into 30
    stand.until(Z).run(1.0)
    (stretched,) = stand.told(EventKind.REST_STRETCHED)
    assert stretched.data["prescribed_s"] == 30.0
    assert stretched.data["rest_s"] == pytest.approx(34.0, abs=1.0)
    (alarm,) = [one for one in stand.state.alarms.alarms if one.condition == "rest_stretched"]
    assert alarm.priority is Priority.LOW
    assert "30 s stretched to 34 s" in alarm.text
    stand.obeyed(PRESENT)
    stand.until(F)
    times = {phase: at_s for at_s, phase in stand.phases}
    assert times[F] - times[Z] == pytest.approx(10.0, abs=TICK_S)
    assert "rest_stretched" not in stand.conditions()
    stand.until(W)
    begun = stand.told(EventKind.SET_BEGAN)[1]
    over = stand.told(EventKind.SET_ENDED)[0]
    assert begun.at_s - over.at_s == pytest.approx(stretched.data["rest_s"], abs=0.5)


def test_a_rest_that_fits_to_the_second_is_not_stretched() -> None:
    stand = Stand(rise_mmhg_s=50.0).started(prescription(timeline(Mode.INTERMITTENT, work(1), rest(16.4), work(1))))
    stand.until(Z).run(0.1)
    assert not stand.told(EventKind.REST_STRETCHED)


def test_the_word_of_a_stretched_rest_ends_with_a_pause_too() -> None:
    stand = Stand(rise_mmhg_s=5.0).started()
    stand.until(Z).run(12.0).obeyed(PAUSE)
    stand.run(1.0).obeyed(NEXT)
    assert stand.phase is F
    assert "rest_stretched" not in stand.conditions()


def test_a_rest_that_would_pass_60_s_ends_the_session() -> None:
    """No inflation is let last 30 s, so it takes a bench that measured one so: what it remembers decides."""
    stand = Stand().started()
    stand.until(W).s.inflation_s = 50.0
    stand.until(S, IDLE)
    assert stand.s.ended is not None
    assert "above 60 s" in stand.s.ended.text
    assert "session_ended" in stand.conditions()
    assert stand.until(IDLE).s.outcome == "stopped"


def test_a_rest_prescribed_above_60_s_is_no_reason_to_end() -> None:
    line = timeline(Mode.INTERMITTENT, work(1), rest(90.0), work(1, index=2))
    stand = Stand().started(prescription(line))
    stand.until(Z).run(5.0)
    assert stand.phase is Z
    assert not stand.told(EventKind.REST_STRETCHED)


def test_the_free_flow_of_a_shortened_rest_is_10_s_at_least() -> None:
    """Measured inflation 20 s: 30 s of rest would leave 4 s of free flow after a release of 3 s."""
    stand = Stand(rise_mmhg_s=5.0, fall_1_s=0.7).started(prescription(INTERMITTENT_60))
    stand.until(Z).obeyed(NEXT)
    stand.until(F)
    times = {phase: at_s for at_s, phase in stand.phases}
    assert times[F] - times[Z] == pytest.approx(10.0, abs=2 * TICK_S)


def test_an_inflation_quicker_than_the_last_makes_no_rest_shorter_and_next_shortens_its_own_only() -> None:
    steps = work(1), rest(60.0), work(1, index=2), rest(60.0), work(1, index=3)
    stand = Stand(rise_mmhg_s=8.0).started(prescription(timeline(Mode.INTERMITTENT, *steps))).until(Z)
    stand.obeyed(NEXT)
    stand.until(W).until(Z).obeyed(PRESENT)
    stand.rise_mmhg_s = 50.0
    stand.until(W)
    begun, over = stand.told(EventKind.SET_BEGAN), stand.told(EventKind.SET_ENDED)
    rests_s = [after.at_s - before.at_s for after, before in zip(begun[1:], over, strict=True)]
    assert rests_s == pytest.approx([30.0, 60.0], abs=3 * TICK_S)


def test_next_while_resting_in_mode_resting_leaves_3_s_for_the_cue() -> None:
    """The supervisor's sign was missing; it comes late, as `next`: the cuff does not fill at once."""
    line = timeline(Mode.RESTING, *bench.RESTING.steps, rest(30.0, inflated=True), work(1, index=3, inflated=False))
    stand = Stand().started(prescription(line)).until(F).until(Z).until(M).until(Z)  # the second rest: no sign yet
    stand.run(40.0)
    assert stand.phase is Z
    assert "sign_needed" in stand.conditions()
    said_at_s = stand.at_s
    reply = stand.obeyed(NEXT)
    assert reply.text == "seen; begins in 3 s"
    stand.until(F)
    assert stand.at_s - said_at_s == pytest.approx(3.0, abs=2 * TICK_S)


@pytest.mark.parametrize("release_1_s", [0.8, 4.0])
def test_no_rest_of_mode_resting_is_shorter_than_prescribed(release_1_s: float) -> None:
    """The release is part of the rest; where it was quicker than foreseen, the first repetition waits."""
    stand = Stand(fall_1_s=release_1_s).started(prescription(bench.RESTING)).until(F)
    stand.until(M)
    begun, over = stand.told(EventKind.SET_BEGAN)[1], stand.told(EventKind.SET_ENDED)[0]
    assert begun.at_s - over.at_s >= 30.0
    assert stand.told(EventKind.RELEASED)[0].at_s <= begun.at_s  # and it waits for empty


# --- the supervisor --------------------------------------------------------------------------------------------------


def test_the_missing_sign_is_a_medium_alarm_3_s_before_the_inflation_was_due() -> None:
    stand = Stand().started().until(Z)
    stand.run(20.5)
    assert "sign_needed" not in stand.conditions()
    stand.run(1.0)  # 39.5
    (alarm,) = stand.state.alarms.alarms
    assert (alarm.condition, alarm.priority) == ("sign_needed", Priority.MEDIUM)
    assert stand.outputs == (VENTED,)
    stand.obeyed(PRESENT)
    assert "sign_needed" not in stand.conditions()


def test_the_session_ends_60_s_after_the_call_and_says_why_until_the_next_start() -> None:
    stand = play("without a sign it stays vented and ends after 60 s", extra_s=5.0)
    (end,) = stand.told(EventKind.END)
    assert end.data["rule"] == "unattended"
    assert end.at_s - stand.zero_s == pytest.approx(99.0, abs=NEAR_S)
    assert "unattended" in stand.conditions()
    stand.ready().obeyed(Verb.START)
    assert "unattended" not in stand.conditions()


def test_the_first_inflation_needs_no_sign_besides_the_start() -> None:
    assert Stand().started().run(1.0).phase is F


def test_every_later_inflation_needs_one_of_its_own() -> None:
    line = timeline(Mode.INTERMITTENT, work(1), rest(30.0), work(1, index=2), rest(30.0), work(1, index=3))
    stand = Stand().started(prescription(line)).until(Z)
    stand.obeyed(PRESENT)
    stand.until(F).until(Z).run(50.0)
    assert stand.phase is Z
    assert "sign_needed" in stand.conditions()


@pytest.mark.parametrize(
    ("signs", "ends_s"),
    [((), 152.2), ((100.0,), 250.0), ((100.0, 200.0), 293.1), ((121.0,), 271.0)],
)
def test_a_hold_needs_a_sign_every_150_s(signs: tuple[float, ...], ends_s: float) -> None:
    stand = Stand().started(prescription(timeline(Mode.PASSIVE, hold(290.0))))
    stand.play(dict.fromkeys(signs, PRESENT), 296.0)
    left = [at_s for at_s, phase in stand.phases if phase in (S, R)]
    assert left[0] == pytest.approx(ends_s, abs=1.0)
    assert stand.s.outcome == ("completed" if len(signs) == 2 else "stopped")
    if len(signs) < 2:
        assert "no sign of the supervisor for 150 s" in stand.s.ended.text


def test_the_supervisor_is_called_30_s_before_a_hold_ends_for_want_of_a_sign() -> None:
    stand = Stand().started(prescription(timeline(Mode.PASSIVE, hold(290.0)))).until(H)
    stand.run(119.0)
    assert "sign_needed" not in stand.conditions()
    stand.run(2.0)
    assert "sign_needed" in stand.conditions()
    stand.obeyed(PRESENT)
    assert "sign_needed" not in stand.conditions()
    assert stand.run(60.0).phase is H


def test_a_call_that_a_hold_left_open_does_not_end_the_off_time_after_it() -> None:
    """The call ends with its hold; the off-time waits for a sign of its own, and for 60 s of its own."""
    line = timeline(Mode.PASSIVE, hold(140.0), off(70.0), hold(20.0, 1))
    stand = Stand().started(prescription(line)).until(H).run(130.0)
    assert "sign_needed" in stand.conditions()
    stand.until(R)
    assert "sign_needed" not in stand.conditions()
    stand.until(Z).run(65.0)
    assert stand.phase is Z
    assert "sign_needed" not in stand.conditions()
    stand.obeyed(PRESENT)
    stand.until(F, at_most_s=10.0)


def test_a_stop_ends_the_call_for_a_sign() -> None:
    stand = Stand(fall_1_s=0.5).started(prescription(timeline(Mode.PASSIVE, hold(140.0)))).until(H).run(130.0)
    stand.obeyed(STOP)
    assert stand.phase is S
    assert "unattended" not in stand.conditions()


# --- release ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.INFLATING, Phase.HOLDING, Phase.WORKING])
@pytest.mark.parametrize("verb", [STOP, PAUSE])
def test_a_release_begins_in_the_tick_it_is_said(phase: Phase, verb: Verb) -> None:
    stand = bench.at(phase)
    stand.obeyed(verb)
    assert stand.outputs == (VENTED,)
    assert stand.s.released_at_s == stand.now_s


def test_a_release_begins_in_the_tick_its_time_is_up() -> None:
    stand = Stand().started().until(R)
    assert stand.outputs == (VENTED,)
    (over,) = stand.told(EventKind.SET_ENDED)
    assert over.at_s == stand.now_s == stand.s.released_at_s
    assert over.at_s - stand.told(EventKind.SET_BEGAN)[0].at_s == 12.0


def test_a_release_ends_when_it_is_measured_empty_and_not_before() -> None:
    stand = Stand(fall_1_s=0.8).started().until(R)
    mmhg = []
    while stand.phase is R:
        mmhg.append(stand.channels[0].mmhg)
        stand.tick()
    assert stand.phase is Z
    assert sum(one < 15.0 for one in mmhg) == pytest.approx(0.5 / TICK_S, abs=2)  # below 15 mmHg for half a second
    (told,) = stand.told(EventKind.RELEASED)
    assert told.data["release_s"] == pytest.approx(stand.at_s - stand.phases[-2][0], abs=0.01)
    assert stand.s.release_s == pytest.approx(told.data["release_s"], abs=0.01)


@pytest.mark.parametrize(("a", "b"), [(None, 16.0), (16.0, None), (None, nan)])
def test_a_release_does_not_end_while_one_sensor_says_otherwise_or_nothing(a: float | None, b: float | None) -> None:
    stand = Stand().started().until(R)
    stand.run(0.5)
    stand.channels[0].a, stand.channels[0].b = a, b
    stand.run(1.0 if b != b else 3.0)  # a B that is missing for longer trips
    assert stand.phase is R
    assert stand.outputs == (VENTED,)
    stand.channels[0].a = stand.channels[0].b = None
    assert stand.run(0.75).phase is Z


def test_a_cuff_that_does_not_empty_trips_and_its_clock_runs_on() -> None:
    stand = Stand().started().until(W)
    stand.fall_1_s = 0.0
    stand.obeyed(STOP)
    stand.until(Phase.FAULT, at_most_s=6.0)
    before_s = stand.s.clocks[LEFT_LEG].restricted_s
    stand.run(10.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s == pytest.approx(before_s + 10.0)
    assert len([one for one in stand.told(EventKind.LIMB_CLOCK) if one.at_s > stand.now_s - 5.0]) == 5


def test_a_stop_during_the_last_release_leaves_the_session_completed() -> None:
    stand = play("a set by seconds", extra_s=-0.7)
    assert stand.phase is R
    stand.obeyed(STOP)
    assert stand.phase is S
    assert stand.until(IDLE).s.outcome == "completed"


def test_a_stop_in_a_release_does_not_make_it_look_younger() -> None:
    stand = Stand(fall_1_s=0.8).started().until(R)
    since_s = stand.now_s
    stand.run(1.0).obeyed(STOP)
    assert stand.s.released_at_s == since_s
    stand.obeyed(STOP)
    assert stand.s.released_at_s == since_s
    assert stand.phase is S


def test_a_pause_in_a_release_ends_paused() -> None:
    stand = Stand().started().until(R)
    since_s = stand.now_s
    stand.obeyed(PAUSE)
    stand.obeyed(PAUSE)
    assert stand.phase is R
    assert stand.s.released_at_s == since_s
    assert stand.until(P, at_most_s=2.0).s.step.kind is StepKind.REST


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_a_sign_given_before_a_pause_does_not_go_on_after_it() -> None:
    stand = Stand().started().until(Z)
    stand.obeyed(PRESENT)
    stand.obeyed(PAUSE)
    assert stand.run(60.0).phase is P
    stand.obeyed(PRESENT)
    assert stand.run(60.0).phase is P


def test_the_off_time_of_a_passive_protocol_is_kept_whatever_is_paused() -> None:
    stand = Stand().started(prescription(bench.PASSIVE)).until(Z).run(10.0)
    stand.obeyed(PAUSE)
    stand.run(10.0)
    reply = stand.refused(NEXT)
    assert stand.phase is P
    assert (reply.limit, reply.unit) == (40.0, "s")
    assert reply.value == pytest.approx(20.0, abs=0.5)
    stand.run(20.0)
    stand.obeyed(NEXT)
    assert stand.phase is F
    stand.until(H)
    assert stand.s.exercise_restricted_s[0] < 5.0  # a bout is an exercise of its own
    assert stand.until(IDLE).s.outcome == "completed"


def test_nor_is_the_longest_off_time_shortened_by_a_pause() -> None:
    line = timeline(Mode.PASSIVE, hold(20.0), off(300.0), hold(20.0, 1))
    stand = Stand().started(prescription(line)).until(H).until(Z).run(20.0)
    stand.obeyed(PAUSE)
    stand.run(270.0)
    assert stand.refused(NEXT).limit == 300.0
    stand.run(10.0)
    stand.obeyed(NEXT)
    assert stand.phase is F


def test_a_reperfusion_of_half_an_hour_cannot_outlast_a_pause() -> None:
    line = timeline(
        Mode.INTERMITTENT, work(1), Step(StepKind.REPERFUSION, False, 1800.0, 0), work(1, exercise=1, index=2)
    )
    stand = Stand().started(prescription(line)).until(Z)
    stand.obeyed(PAUSE)
    stand.run(175.0).refused(NEXT)
    stand.run(5.0).obeyed(NEXT)
    assert stand.phase is F
    assert stand.s.exercise_restricted_s == (0.0,)


def test_a_pause_keeps_10_s_of_free_flow() -> None:
    stand = bench.at(P)
    reply = stand.refused(NEXT)
    assert reply.limit == 10.0
    assert "empty" in reply.text
    assert stand.phase is P
    assert stand.run(10.0).obeyed(NEXT).text == "going on"
    assert stand.phase is F


# --- a cuff that fills again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [IDLE, Phase.READY, Z, M, P])
def test_a_cuff_that_fills_again_is_not_left_so(phase: Phase) -> None:
    """A pump that conducts by itself holds an open cuff at some 16 mmHg, which stops what it should let flow."""
    stand = bench.at(phase).run(2.0)
    assert stand.phase is phase
    stand.channels[0].a = stand.channels[0].b = 16.0
    stand.run(4.9)
    assert stand.phase is (IDLE if phase is Phase.READY else phase)  # ready is measured empty
    stand.run(0.3)
    assert stand.phase is Phase.FAULT
    assert stand.s.fault.rule == "not_released"
    assert "take the cuff off" in stand.s.fault.text


@pytest.mark.parametrize(
    ("waits", "least_s"),
    [(rest(30.0), 10.0), (Step(StepKind.REPERFUSION, False, 60.0, 0), 60.0), (off(40.0), 40.0)],
    ids=["rest", "reperfusion", "off"],
)
def test_free_flow_counts_anew_from_where_the_cuff_was_full_again(waits: Step, least_s: float) -> None:
    passive = waits.kind is StepKind.OFF
    steps = (hold(20.0), waits, hold(20.0, 1)) if passive else (work(2), waits, work(2, exercise=1, index=2))
    line = timeline(Mode.PASSIVE if passive else Mode.INTERMITTENT, *steps)
    stand = Stand().started(prescription(line)).until(Z).run(1.0)
    stand.obeyed(PRESENT)
    stand.run(stand.s.due_at_s - stand.now_s - 5.0)
    stand.channels[0].a = stand.channels[0].b = 16.0
    stand.run(4.0)
    stand.channels[0].a = stand.channels[0].b = None
    full_s = stand.at_s
    stand.until(F)
    assert stand.at_s - full_s == pytest.approx(least_s, abs=2 * TICK_S)
    assert len(stand.told(EventKind.REST_STRETCHED)) == (1 if waits.kind is StepKind.REST else 0)
    assert stand.s.exercise_restricted_s == (
        (0.0,) if waits.kind is not StepKind.REST else stand.s.exercise_restricted_s
    )


def test_a_cuff_that_fills_again_and_again_ends_the_session() -> None:
    stand = Stand().started().until(Z).run(1.0)
    stand.obeyed(PRESENT)
    for _ in range(20):
        if stand.phase is not Z:
            break
        for mmhg, seconds in ((16.0, 4.0), (None, 4.0)):
            stand.channels[0].a = stand.channels[0].b = mmhg
            stand.run(seconds)
    assert stand.until(S, IDLE).s.ended is not None
    assert stand.s.ended.text.endswith("above 60 s: the cuff filled again in it")


def test_a_pause_counts_free_flow_from_where_the_cuff_was_full_again() -> None:
    stand = bench.at(P).run(10.0)
    stand.channels[0].a = stand.channels[0].b = 16.0
    stand.run(3.0)
    stand.channels[0].a = stand.channels[0].b = None
    assert "8 s more" in stand.run(2.0).refused(NEXT).text
    stand.run(8.0).obeyed(NEXT)
    assert stand.phase is F


def test_a_pause_before_anything_was_inflated_goes_on_at_once() -> None:
    stand = bench.at(M)
    stand.obeyed(PAUSE)
    stand.obeyed(NEXT)
    assert stand.phase is M


def test_what_is_left_of_a_hold_is_counted_down() -> None:
    stand = Stand().started(prescription(timeline(Mode.PASSIVE, hold(60.0)))).until(H).run(20.0)
    assert stand.s.progress_s == pytest.approx(20.0)


# --- lowering --------------------------------------------------------------------------------------------------------


def test_lower_takes_10_mmhg_and_the_cuff_follows() -> None:
    stand = Stand().started().until(W)
    assert stand.obeyed(LOWER).text == "target lowered to 90 mmHg"
    stand.run(3.0)
    assert stand.channels[0].mmhg == pytest.approx(90.0, rel=0.1)
    assert stand.s.targets_mmhg == (90.0,)


def test_lower_holds_for_the_sets_after_it() -> None:
    stand = play("lowered", extra_s=-7.0)
    assert stand.phase is W
    assert stand.s.targets_mmhg == (80.0,)
    assert stand.channels[0].mmhg == pytest.approx(80.0, rel=0.1)


def test_40_percent_of_lop_is_not_below_40_percent() -> None:
    stand = Stand().started(prescription(lop=200.0, target=100.0)).until(W)
    assert stand.obeyed(LOWER).text == "target lowered to 90 mmHg"
    assert stand.obeyed(LOWER).text == "target lowered to 80 mmHg"  # 40 %
    assert stand.obeyed(LOWER).text.startswith("below 40 % of LOP")
    assert stand.phase is S
    assert stand.outputs == (VENTED,)


# --- two cuffs -------------------------------------------------------------------------------------------------------


def two() -> Any:
    return Stand(cuffs=2)


BOTH = (prescription(cuff=0), prescription(cuff=1, side=Side.RIGHT, target=80.0))


def test_two_cuffs_live_one_session() -> None:
    stand = two().started(*BOTH)
    stand.play({20.0: PRESENT}, 60.0)
    assert [phase for _, phase in stand.phases] == [F, H, W, R, Z, F, H, W, R, IDLE]
    assert stand.s.outcome == "completed"


def test_a_set_waits_for_the_slower_cuff() -> None:
    stand = two()
    stand.channels[1].rise_mmhg_s = 10.0
    stand.started(*BOTH).until(H)
    assert stand.at_s == pytest.approx(8.0, abs=0.5)
    assert stand.channels[0].mmhg == pytest.approx(100.0, abs=4.0)
    assert stand.channels[1].mmhg == pytest.approx(80.0, abs=4.0)


@pytest.mark.parametrize("held", [0, 1])
def test_a_release_waits_for_both(held: int) -> None:
    stand = two().started(*BOTH).until(R)
    stand.channels[held].b = 16.0
    stand.run(3.0)
    assert stand.phase is R
    stand.channels[held].b = None
    assert stand.run(1.0).phase is Z


@pytest.mark.parametrize("used", [0, 1])
def test_a_cuff_that_is_not_in_use_stays_vented(used: int) -> None:
    stand = two().started(prescription(cuff=used)).until(W)
    assert stand.outputs[1 - used] == VENTED
    assert not stand.outputs[used].dump_open
    assert stand.s.clock_of(1 - used) is None


def test_lowering_ends_when_one_of_two_has_no_further_to_go() -> None:
    stand = two().started(prescription(cuff=0), prescription(cuff=1, side=Side.RIGHT, target=75.0)).until(W)
    assert stand.obeyed(LOWER).text.startswith("below 40 %")
    assert stand.phase is S


def test_lowering_names_both_targets() -> None:
    assert two().started(BOTH[0], prescription(cuff=1, side=Side.RIGHT, target=90.0)).obeyed(LOWER).text == (
        "target lowered to 90, 80 mmHg"
    )


# --- the clock of a limb ---------------------------------------------------------------------------------------------


def test_the_clock_runs_from_15_mmhg_on_and_is_told_every_second() -> None:
    stand = Stand().started().until(W).run(10.0)
    pressed_s = 10.0 + 3.0 + 1.9  # of the set, of the lead-in, of the inflation above 15 mmHg
    assert stand.s.clocks[LEFT_LEG].restricted_s == pytest.approx(pressed_s, abs=0.3)
    told = [(one.at_s, one.cuff, one.data) for one in stand.told(EventKind.LIMB_CLOCK)]
    assert len(told) == pytest.approx(pressed_s, abs=1.1)
    gaps = [after[0] - before[0] for before, after in pairwise(told)]
    assert set(gaps) == {1.0}
    assert told[-1][1] == 0
    assert told[-1][2]["code"] == "A1"
    assert (told[-1][2]["limb"], told[-1][2]["side"]) == ("leg", "left")
    assert told[-1][2]["restricted_s"] == pytest.approx(stand.s.clocks[LEFT_LEG].restricted_s, abs=1.0)


def test_the_clock_counts_what_is_unknown() -> None:
    stand = Stand().ready()
    stand.channels[0].b = nan
    stand.run(5.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s == pytest.approx(5.0, abs=0.2)


def test_the_clock_is_cleared_after_180_s_below_15_and_the_journal_is_told() -> None:
    stand = play("stopped in a set")
    ended_s = stand.s.clocks[LEFT_LEG].restricted_s
    assert ended_s > 7.0
    stand.run(178.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s == ended_s
    stand.events.clear()
    stand.run(3.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s == 0.0
    (told,) = stand.told(EventKind.LIMB_CLOCK)
    assert told.data == {"code": "A1", "limb": "leg", "side": "left", "restricted_s": 0.0}


def test_another_limb_has_a_clock_of_its_own() -> None:
    stand = play("stopped in a set")
    stand.ready(prescription(side=Side.RIGHT))
    assert stand.s.clocks["A1", Limb.LEG, Side.RIGHT].restricted_s == 0.0
    assert stand.s.clocks[LEFT_LEG].restricted_s > 7.0


def test_a_limb_that_moves_to_the_other_cuff_keeps_its_clock_and_its_pace() -> None:
    """One second a second, for the pressure of the cuff it is on: two cuffs may not both count it free."""
    stand = two().started(prescription(cuff=0)).until(W).run(5.0)
    stand.obeyed(STOP)
    stand.until(IDLE)
    restricted_s = stand.s.clocks[LEFT_LEG].restricted_s
    stand.ready(prescription(cuff=1))
    free_s = stand.s.clocks[LEFT_LEG].free_s
    stand.run(10.0)
    assert stand.s.clocks[LEFT_LEG].free_s == pytest.approx(free_s + 10.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s == restricted_s
    assert stand.s.limbs == (None, LEFT_LEG)


def test_the_exercise_clock_begins_anew_with_each_exercise() -> None:
    stand = Stand().started(prescription(TWO_EXERCISES)).until(W).run(5.0)
    assert stand.s.exercise_restricted_s[0] == pytest.approx(10.0, abs=0.5)
    stand.until(Z).obeyed(PRESENT)
    stand.until(H)
    assert stand.s.exercise_restricted_s[0] < 3.0
    assert stand.s.clocks[LEFT_LEG].restricted_s > 14.0


def test_a_cuff_that_is_on_nobody_has_no_exercise() -> None:
    stand = Stand(cuffs=2).started(prescription(TWO_EXERCISES, cuff=1)).until(W).run(5.0)
    stand.until(Z).obeyed(PRESENT)
    stand.until(H)
    assert stand.s.exercise_restricted_s[0] == 0.0
    assert 0.0 < stand.s.exercise_restricted_s[1] < 3.0


def test_the_exercise_cap_is_an_orderly_end() -> None:
    stand = Stand().started(prescription(timeline(Mode.INTERMITTENT, work(10), cap_s=10.0)))
    stand.until(S)
    assert stand.outputs == (VENTED,)
    assert stand.s.ended.rule == "too_long"
    assert stand.s.ended.limit == 10.0
    assert stand.at_s == pytest.approx(10.3, abs=0.4)
    assert stand.until(IDLE).s.outcome == "stopped"
    assert not stand.told(EventKind.TRIP)


def test_the_cap_of_the_limb_holds_whatever_the_exercise_says() -> None:
    stand = Stand().started().until(W)
    stand.s.clocks[LEFT_LEG].restricted_s = 1199.0
    stand.until(S, at_most_s=2.0)
    assert (stand.s.ended.rule, stand.s.ended.limit) == ("too_long", 1200.0)


# --- after a restart -------------------------------------------------------------------------------------------------


def test_a_journalled_clock_stands_until_180_s_below_15_have_been_seen() -> None:
    stand = Stand(clocks={LEFT_LEG: LimbClock(1150.0)}).run(1.0)
    stand.obeyed(Verb.SCREEN, screening=bench.screening())
    reply = stand.refused(Verb.PRESCRIBE, prescription=prescription())
    assert (reply.value, reply.limit, reply.unit) == (1150.0 + 80.0, 1200.0, "s")  # 12 + 8 s of sets, 2 x 30 inflating
    assert "1150 s" in reply.text
    stand.run(170.0).refused(Verb.PRESCRIBE, prescription=prescription())
    stand.events.clear()
    stand.run(10.0)
    (told,) = stand.told(EventKind.LIMB_CLOCK)
    assert told.data["restricted_s"] == 0.0
    stand.obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert stand.s.clocks[LEFT_LEG].restricted_s == 0.0


def test_a_journalled_clock_that_leaves_room_is_counted_on() -> None:
    stand = Stand(clocks={LEFT_LEG: LimbClock(500.0)}).started().until(W)
    assert stand.s.clocks[LEFT_LEG].restricted_s == pytest.approx(504.9, abs=0.4)


def test_pressure_on_the_bench_keeps_every_journalled_clock() -> None:
    stand = Stand(cuffs=2, clocks={LEFT_LEG: LimbClock(1150.0)}).run(100.0)
    stand.channels[1].b = 16.0
    stand.run(0.25)
    stand.channels[1].b = None
    stand.run(170.0)
    assert 1150.0 < stand.s.clocks[LEFT_LEG].restricted_s < 1152.0, "and counts what was seen since the boot"
    stand.run(11.0)
    assert stand.s.clocks == {}


def test_the_clocks_of_the_caller_are_not_touched() -> None:
    mine = {LEFT_LEG: LimbClock(500.0)}
    Stand(clocks=mine).started().until(W)
    assert mine == {LEFT_LEG: LimbClock(500.0)}


def test_an_unreadable_past_counts_as_the_whole_cap() -> None:
    stand = Stand(past_unknown=True).run(1.0)
    stand.obeyed(Verb.SCREEN, screening=bench.screening())
    reply = stand.refused(Verb.PRESCRIBE, prescription=prescription())
    assert reply.value == 1280.0
    reply = stand.refused(Verb.PRESCRIBE, prescription=prescription(limb=Limb.ARM))
    assert reply.value == 980.0
    assert stand.s.clocks == {}
    stand.run(180.0).obeyed(Verb.PRESCRIBE, prescription=prescription())
    assert not stand.s.past_unknown


def test_an_unreadable_past_lets_a_protocol_without_pressure_begin() -> None:
    stand = Stand(past_unknown=True).started(prescription(bench.NO_CUFF))
    assert stand.phase is M
    assert stand.s.clocks[LEFT_LEG].restricted_s == 1200.0


def test_a_gap_between_ticks_is_not_free_flow_of_the_bench() -> None:
    stand = Stand(clocks={LEFT_LEG: LimbClock(1150.0)}, past_unknown=True).run(100.0)
    stand.tick(dt_s=200.0)
    stand.run(170.0)
    assert stand.s.past_unknown
    assert stand.s.clocks[LEFT_LEG].restricted_s >= 1350.0, "nobody saw it empty"


def test_pressure_found_after_a_boot_counts_for_every_limb_the_journal_names() -> None:
    stand = Stand(clocks={LEFT_LEG: LimbClock(600.0)}).run(1.0)
    stand.channels[0].a = stand.channels[0].b = 100.0
    stand.run(30.0)
    assert stand.s.clocks[LEFT_LEG].restricted_s >= 629.0


def test_a_fault_of_the_last_run_is_still_latched() -> None:
    fault = Finding("boot_fault", -1, nan, nan, "", "not reset since yesterday", 0.0)
    stand = Stand(fault=fault).run(1.0)
    assert stand.phase is Phase.FAULT
    assert "boot_fault" in stand.conditions()
    assert stand.guard is GuardState.TRIPPED  # the guard is told
    stand.obeyed(Verb.RESET)
    assert stand.until(IDLE, at_most_s=1.0).conditions() == set()


# --- a guard that does not do as it is told --------------------------------------------------------------------------


def test_a_guard_that_does_not_arm_ends_the_session_after_2_s() -> None:
    stand = Stand(deaf=frozenset({GuardOrder.ARM})).started()
    stand.watched = lambda one, _: pytest.fail("moved") if one.outputs != (VENTED,) else None
    stand.until(S, IDLE)
    assert stand.at_s == pytest.approx(2.0, abs=TICK_S)
    assert "did not arm within 2 s" in stand.s.ended.text
    assert stand.until(IDLE).s.outcome == "stopped"


def test_nothing_moves_before_the_guard_has_armed() -> None:
    stand = Stand(deaf=frozenset({GuardOrder.ARM})).started()
    stand.run(1.0)
    assert stand.outputs == (VENTED,)
    stand.deaf = frozenset()
    stand.until(H)
    assert stand.told(EventKind.INFLATION)[0].data["to_target_s"] == pytest.approx(2.2, abs=0.3)
    assert stand.s.inflation_s == pytest.approx(3.4, abs=0.5)  # what a rest must leave room for


@pytest.mark.parametrize("phase", [Phase.INFLATING, Phase.HOLDING, Phase.WORKING])
def test_a_guard_that_disarms_by_itself_ends_the_session(phase: Phase) -> None:
    stand = bench.at(phase)
    stand.orders.clear()
    stand.guard = GuardState.VENTED
    stand.tick()
    assert stand.phase is phase  # one status may be older than the order
    stand.run(0.25)
    assert stand.phase in (S, IDLE)
    assert stand.outputs == (VENTED,)
    assert "no longer armed" in stand.s.ended.text
    assert stand.orders == []  # nor is it armed anew


@pytest.mark.parametrize("phase", [Phase.INFLATING, Phase.HOLDING, Phase.WORKING])
def test_a_status_that_shows_it_armed_again_at_once_is_let_pass(phase: Phase) -> None:
    stand = bench.at(phase)
    stand.guard = GuardState.VENTED
    stand.tick()
    stand.guard = GuardState.ARMED
    stand.tick()
    stand.guard = GuardState.VENTED
    stand.tick()
    assert stand.phase is phase
    assert stand.s.ended is None


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.FAULT])
def test_a_guard_that_trips_is_latched_in_every_phase(phase: Phase) -> None:
    stand = bench.at(phase)
    stand.guard, stand.guard_trip = GuardState.TRIPPED, "lease_expired"
    stand.tick()
    assert stand.phase is Phase.FAULT
    assert stand.outputs == (VENTED,)
    assert stand.s.fault.rule == "guard_tripped"
    assert "lease_expired" in stand.s.fault.text
    (told,) = stand.told(EventKind.TRIP)
    assert told.data["rule"] == "guard_tripped"
    under_way = phase not in (IDLE, Phase.READY, Phase.TESTING)
    assert [one.data["outcome"] for one in stand.told(EventKind.SESSION_ENDED)] == ["tripped"] * under_way


# --- what never comes from a checked protocol, and must do no harm ---------------------------------------------------


def _fresh(phase: Phase, *steps: Step, index: int = 0) -> session_state.SessionState:
    s = session_state.initial(1, 0.0)
    s.phase = phase
    s.prescriptions = (prescription(timeline(Mode.INTERMITTENT, *steps)),)
    s.timeline, s.step_index = s.prescriptions[0].timeline, index
    return s


EMPTY_CUFF = (Seen(0.0, 0.0, 0.0, 0.0, 0.0, True, True),)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("armed", [GuardState.ARMED, GuardState.VENTED])
@pytest.mark.parametrize("reached", [True, False])
def test_a_session_without_a_timeline_stays_harmless_in_every_phase(
    phase: Phase, armed: GuardState, reached: bool
) -> None:
    for now_s in (1.0, 400.0):
        s = session_state.initial(1, 0.0)
        s.phase, s.due_at_s, s.inflate_from_s = phase, 0.0, 0.5
        session.advance(s, EMPTY_CUFF, armed, reached, now_s)
        assert s.phase is phase or s.phase not in (F, W) or (phase, s.phase) == (F, H)


def test_a_set_that_does_not_exist_does_not_begin() -> None:
    s = _fresh(Z, index=3)
    session.begin_set(s, Event.MOVE_BEGAN, 1.0)
    assert s.phase is Z
    assert s.events == []


def test_a_rest_that_nothing_follows_waits_for_a_person() -> None:
    s = _fresh(Z, rest(30.0))
    s.last_repetition_at_s = 0.0
    s.due_at_s = 1.0
    session.advance(s, EMPTY_CUFF, GuardState.VENTED, False, 50.0)
    assert s.phase is Z


def test_a_release_into_a_rest_that_nothing_follows_is_planned_without_an_inflation() -> None:
    s = _fresh(R, rest(30.0))
    s.last_repetition_at_s = s.released_at_s = 1.0
    session.advance(s, EMPTY_CUFF, GuardState.VENTED, False, 2.0)
    assert s.phase is Z
    assert s.due_at_s == 31.0


def test_a_release_after_nothing_is_planned_for_nothing() -> None:
    s = _fresh(R, index=5)
    session.advance(s, EMPTY_CUFF, GuardState.VENTED, False, 2.0)
    assert s.phase is Z
    assert s.step is None


def test_an_inflation_into_nothing_holds_for_nothing() -> None:
    s = _fresh(F, index=5)
    s.inflate_from_s = s.arm_asked_at_s = 0.0
    session.advance(s, EMPTY_CUFF, GuardState.ARMED, True, 2.0)
    assert s.phase is H


def test_an_end_where_nothing_can_end_changes_nothing() -> None:
    s = session_state.initial(1, 0.0)
    session.end(s, 1.0, "no reason")
    assert (s.phase, s.ended, s.events) == (IDLE, None, [])


def test_the_first_trip_is_kept() -> None:
    s = session_state.initial(1, 0.0)
    first = Finding("stale_sample", 0, nan, 0.1, "s", "first", 1.0)
    session.trip(s, first, 1.0)
    told = len(s.events)
    session.trip(s, Finding("leak", 0, 1.0, 1.0, "", "second", 2.0), 2.0)
    assert s.fault is first
    assert len(s.events) == told
    assert s.events[0].data["value"] is None  # not a number
    assert s.events[0].cuff == 0


def test_limits_of_the_bench_are_those_of_the_session() -> None:
    stand = Stand(limits=Limits(exercise_cap_s=10.0)).started(prescription(timeline(Mode.INTERMITTENT, work(10))))
    stand.until(S)
    assert stand.s.ended.limit == 10.0
