"""The summary of a session: what happened, told tick by tick, against figures worked out by hand."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from controller.core.model import (
    VENTED,
    CuffOutputs,
    CuffPlan,
    EventKind,
    Happened,
    Limb,
    Mode,
    Phase,
    Prescription,
    Scalar,
    Seen,
    Side,
    Step,
    StepKind,
    Tempo,
    Timeline,
)
from controller.messages import Origin, Session, encode
from controller.record.report import SessionReport

PUMPING = CuffOutputs(0.5, True, False, False)
CLOSED = CuffOutputs(0.0, False, False, False)
TARGET = 150.0
SET = Step(StepKind.SET, True, 4.0, 0, 1, 2, Tempo(1.0, 0.0, 1.0))
REST = Step(StepKind.REST, False, 30.0)
BOUT = Step(StepKind.HOLD, True, 300.0)
TICK_S = 0.01


class Ticks:
    """A core that says what it is told to: the report looks at its state and events only."""

    def __init__(self, origin: Origin, cuffs: int = 1, mode: Mode = Mode.INTERMITTENT) -> None:
        self.delivered: list[Session] = []
        self.report = SessionReport(origin, "0.1.0", self.delivered.append)
        self.now_s = 100.0
        self.phase = Phase.READY
        self.step: Step | None = SET
        self.given = VENTED
        plan = CuffPlan(Limb.LEG, Side.LEFT, 187.0, 80.0, TARGET)
        timeline = Timeline("bfr-30-15-15-15", mode, (SET, REST), 480.0)
        self.prescriptions: tuple[Prescription | None, ...] = tuple(
            Prescription("c1", "ab", cuff, plan, timeline) for cuff in range(cuffs)
        )
        self.timeline = timeline
        self._events: list[Happened] = []

    def tell(self, kind: EventKind, cuff: int | None = None, **data: Scalar) -> None:
        """Happens in the next tick."""
        self._events.append(Happened(kind, self.now_s + TICK_S, self.phase, cuff, data))

    def go(self, phase: Phase) -> None:
        self.phase = phase
        self.tell(EventKind.PHASE)

    def live(self, for_s: float, *pressures: float, a_mmhg: float | None = None) -> None:
        """So many seconds at these true pressures, by cuff."""
        pressures = pressures or (0.0,) * len(self.prescriptions)
        for _ in range(round(for_s / TICK_S)):
            self.now_s = round(self.now_s + TICK_S, 6)
            session: Any = SimpleNamespace(
                phase=self.phase,
                step=self.step,
                timeline=self.timeline,
                code="c1",
                prescriptions=self.prescriptions,
                targets_mmhg=(TARGET,) * len(self.prescriptions),
            )
            seen = tuple(
                Seen(p if a_mmhg is None else a_mmhg, self.now_s, p, self.now_s, p, p == p, p < 15.0) for p in pressures
            )
            state: Any = SimpleNamespace(session=session, seen=seen, given=(self.given,) * len(pressures))
            stepped: Any = SimpleNamespace(state=state, events=tuple(self._events), outputs=None, replies=())
            self._events = []
            self.report.after(stepped, self.now_s)

    def start(self) -> None:
        self.tell(EventKind.STARTED)
        self.go(Phase.INFLATING)
        self.live(TICK_S)

    def inflate(self) -> None:
        self.given = PUMPING
        for pressure in range(0, 150, 10):
            self.live(0.1, float(pressure))
        self.given = CLOSED
        self.live(0.5, TARGET)
        self.go(Phase.HOLDING)

    def end(self, outcome: str, phase: Phase = Phase.IDLE) -> None:
        self.tell(EventKind.LIMB_CLOCK, 0, restricted_s=42.5)
        self.go(phase)
        self.tell(EventKind.SESSION_ENDED, outcome=outcome, code="c1")
        self.prescriptions = (None,) * len(self.prescriptions)  # as the core does in that tick


@pytest.fixture
def ticks(origin: Origin) -> Ticks:
    return Ticks(origin)


def one_set(ticks: Ticks) -> None:
    ticks.start()
    ticks.inflate()
    ticks.live(1.0, 153.0)  # the lead-in: 3 mmHg over
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=1)
    ticks.live(2.0, TARGET)
    ticks.tell(EventKind.REPETITION, repetitions=1)
    ticks.live(1.0, 160.0)  # within 10 %, not within 5 %
    ticks.live(1.0, 170.0)  # outside both
    ticks.tell(EventKind.SET_ENDED, repetitions=2)
    ticks.step = REST
    ticks.given = VENTED
    ticks.go(Phase.RELEASING)


def test_nothing_before_start(ticks: Ticks) -> None:
    ticks.tell(EventKind.ALARM_RAISED, condition="leak", priority="medium")
    ticks.live(10.0, 80.0)
    assert ticks.delivered == []


def test_trip_waits_for_empty_cuffs(ticks: Ticks) -> None:
    ticks.start()
    ticks.inflate()
    ticks.tell(EventKind.TRIP, 0, rule="over_pressure")
    ticks.given = VENTED
    ticks.end("tripped", Phase.FAULT)
    ticks.live(2.0, 100.0)
    assert ticks.delivered == []
    ticks.live(0.1, 10.0)
    (session,) = ticks.delivered
    (trip,) = session.trips
    assert session.outcome == "tripped"
    assert (trip.rule, trip.cuff, trip.vent_commanded_after_s) == ("over_pressure", 1, 0.0)
    assert trip.below_15_after_s == pytest.approx(2.0)


@pytest.mark.parametrize("pressure", [100.0, nan], ids=["held", "unknown"])
def test_trip_that_never_empties_is_told_after_30_s(ticks: Ticks, pressure: float) -> None:
    ticks.start()
    ticks.inflate()
    ticks.tell(EventKind.TRIP, None, rule="tube_blocked")
    ticks.end("tripped", Phase.FAULT)
    ticks.live(29.9, pressure)
    assert ticks.delivered == []
    ticks.live(0.2, pressure)
    (trip,) = ticks.delivered[0].trips
    assert (trip.cuff, trip.below_15_after_s) == (None, None)
    assert trip.vent_commanded_after_s is None, "the outputs still had the cuff closed"


def test_empty_needs_both_sensors(ticks: Ticks) -> None:
    ticks.start()
    ticks.inflate()
    ticks.tell(EventKind.TRIP, 0, rule="tube_blocked")
    ticks.end("tripped", Phase.FAULT)
    ticks.live(1.0, 3.0, a_mmhg=90.0)
    assert ticks.delivered == []


def test_set_that_was_stopped_has_its_whole_repetitions(ticks: Ticks) -> None:
    ticks.start()
    ticks.inflate()
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=1)
    ticks.live(2.0, TARGET)
    ticks.tell(EventKind.REPETITION, repetitions=1)
    ticks.live(1.0, TARGET)
    ticks.go(Phase.STOPPING)
    ticks.live(1.0, 60.0)
    ticks.end("stopped")
    ticks.live(TICK_S)
    (session,) = ticks.delivered
    (one,) = session.sets
    assert (session.outcome, one.reps) == ("stopped", 1)
    assert one.end_s - one.start_s == pytest.approx(3.0, abs=0.03)
    assert one.min_mmhg == TARGET, "the release is not part of the set"


def test_set_and_rest_by_hand(ticks: Ticks) -> None:
    one_set(ticks)
    ticks.live(1.5, 60.0)
    ticks.live(20.0, 3.0)
    ticks.go(Phase.RESTING)
    ticks.go(Phase.INFLATING)
    ticks.step = SET
    ticks.inflate()
    ticks.live(1.0, TARGET)
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=2)
    ticks.live(4.0, TARGET)
    ticks.tell(EventKind.SET_ENDED, repetitions=2)
    ticks.go(Phase.RELEASING)
    ticks.live(1.0, 60.0)
    ticks.end("completed")
    ticks.live(TICK_S, 3.0)
    (session,) = ticks.delivered
    first, second = session.sets
    assert (first.index, first.reps, second.index) == (1, 2, 2)
    assert (first.max_mmhg, first.min_mmhg) == (170.0, 150.0)
    assert first.mean_mmhg == pytest.approx((2 * 150 + 160 + 170) / 4, abs=0.2)
    assert first.time_in_10pct == pytest.approx(0.75, abs=0.01)
    assert first.time_in_5pct == pytest.approx(0.5, abs=0.01)
    (rest,) = session.rests
    assert rest.start_s == first.end_s
    assert rest.end_s == second.start_s
    assert rest.released_below_15_after_s == pytest.approx(1.5, abs=0.02)
    assert rest.free_flow_s == pytest.approx(20.0 + 0.2, abs=0.05), "the first 0.2 s of inflating are below 15 too"
    assert rest.time_in_5pct is None
    inflation = session.inflations[0]
    assert inflation.to_target_s == pytest.approx(1.5, abs=0.02)
    assert inflation.overshoot_mmhg == 3.0, "until the first repetition"
    assert (session.lop_mmhg, session.target_mmhg, session.restricted_s) == ((187.0,), (150.0,), (42.5,))
    assert (session.max_mmhg, session.final_mmhg, session.seconds_above_lop) == (170.0, 3.0, 0.0)
    msgspec.json.decode(encode(session), type=Session)


def test_rest_that_is_held(origin: Origin) -> None:
    ticks = Ticks(origin, mode=Mode.CONTINUOUS)
    one_set(ticks)
    ticks._events.pop()  # not released, held
    ticks.go(Phase.HOLDING)
    ticks.live(3.0, TARGET)
    ticks.live(1.0, 160.0)
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=2)
    ticks.live(1.0, TARGET)
    ticks.end("stopped")
    ticks.live(TICK_S)
    (rest,) = ticks.delivered[0].rests
    assert (rest.mode, rest.released_below_15_after_s, rest.free_flow_s) == (Mode.CONTINUOUS, None, 0.0)
    assert rest.time_in_5pct == pytest.approx(0.75, abs=0.01)


def test_passive_bouts_are_the_sets(origin: Origin) -> None:
    ticks = Ticks(origin, mode=Mode.PASSIVE)
    ticks.step = BOUT
    ticks.start()
    for _ in range(2):
        ticks.inflate()
        ticks.live(5.0, TARGET)
        ticks.go(Phase.RELEASING)
        ticks.live(1.0, 3.0)
        ticks.go(Phase.RESTING)
        ticks.live(9.0, 3.0)
        ticks.go(Phase.INFLATING)
    ticks.end("stopped")
    ticks.live(TICK_S, 3.0)
    (session,) = ticks.delivered
    assert [(one.index, one.reps, one.time_in_5pct) for one in session.sets] == [(1, 0, 1.0), (2, 0, 1.0)]
    assert [one.free_flow_s for one in session.rests] == [pytest.approx(10.2, abs=0.1)]


def test_set_goes_on_after_a_pause(ticks: Ticks) -> None:
    ticks.start()
    ticks.inflate()
    for repetitions in (1, 2):
        ticks.go(Phase.WORKING)
        ticks.tell(EventKind.SET_BEGAN, set_index=1)
        ticks.live(2.0, TARGET)
        ticks.tell(EventKind.REPETITION, repetitions=repetitions)
        ticks.live(TICK_S, TARGET)
        if repetitions == 1:
            ticks.go(Phase.RELEASING)
            ticks.live(1.0, 3.0)
            ticks.go(Phase.PAUSED)
            ticks.live(5.0, 3.0)
            ticks.go(Phase.INFLATING)
            ticks.inflate()
    ticks.tell(EventKind.SET_ENDED, repetitions=2)
    ticks.go(Phase.RELEASING)
    ticks.live(1.0, 3.0)
    ticks.end("completed")
    ticks.live(TICK_S)
    (one,) = ticks.delivered[0].sets
    assert (one.index, one.reps, one.time_in_5pct) == (1, 2, 1.0)


def test_alarms_of_the_session(ticks: Ticks) -> None:
    ticks.start()
    ticks.live(1.0, 3.0)
    ticks.tell(EventKind.ALARM_RAISED, condition="leak", priority="medium")
    ticks.live(1.0, 3.0)
    ticks.tell(EventKind.ALARM_CLEARED, condition="leak", priority="medium")
    ticks.tell(EventKind.ALARM_RAISED, condition="off_target", priority="low")
    ticks.live(TICK_S, 3.0)
    ticks.end("stopped")
    ticks.live(TICK_S)
    told = [(one.condition, one.raised_at_s, one.cleared_at_s) for one in ticks.delivered[0].alarms]
    assert told == [("leak", pytest.approx(1.01), pytest.approx(2.01)), ("off_target", pytest.approx(2.01), None)]


def test_two_cuffs_have_a_row_each(origin: Origin) -> None:
    ticks = Ticks(origin, cuffs=2)
    ticks.start()
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=1)
    ticks.live(1.0, 150.0, 130.0)
    ticks.end("stopped")
    ticks.live(TICK_S, 3.0, 3.0)
    (session,) = ticks.delivered
    assert [(one.cuff, one.mean_mmhg) for one in session.sets] == [(1, 150.0), (2, 130.0)]
    assert session.restricted_s == (42.5, 0.0)


def test_second_session_starts_from_nothing(ticks: Ticks) -> None:
    prescriptions = ticks.prescriptions
    for _ in range(2):
        ticks.prescriptions, ticks.step = prescriptions, SET
        one_set(ticks)
        ticks.live(1.0, 3.0)
        ticks.end("stopped")
        ticks.live(1.0, 3.0)
    first, second = ticks.delivered
    assert (len(second.sets), len(second.inflations)) == (1, 1)
    assert second.sets[0].start_s == first.sets[0].start_s
    assert (first.seq, second.seq) == (1, 2)


def test_unknown_pressure_is_in_no_mean(ticks: Ticks) -> None:
    ticks.start()
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=1)
    ticks.live(1.0, nan)
    ticks.end("stopped")
    ticks.live(TICK_S, nan)
    (one,) = ticks.delivered[0].sets
    assert (one.mean_mmhg, one.max_mmhg, one.time_in_10pct) == (None, None, None)


def test_sensor_b_is_what_counts(ticks: Ticks) -> None:
    """A sits at the manifold and reads high while the pump runs."""
    ticks.start()
    ticks.go(Phase.WORKING)
    ticks.tell(EventKind.SET_BEGAN, set_index=1)
    ticks.live(1.0, 150.0, a_mmhg=190.0)
    ticks.end("stopped")
    ticks.live(TICK_S, 3.0)
    assert ticks.delivered[0].max_mmhg == 150.0
    assert ticks.delivered[0].seconds_above_lop == 0.0
