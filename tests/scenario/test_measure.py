"""What a session is said to have come to, on pressures made by hand whose figures anybody can work out."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest

from controller.core.limb import LimbClock
from controller.core.model import (
    VENTED,
    CuffOutputs,
    CuffPlan,
    EventKind,
    Happened,
    Limb,
    Mode,
    Outputs,
    Phase,
    Prescription,
    Side,
    Step,
    StepKind,
    Tempo,
    Timeline,
)
from controller.core.session_state import SessionState, initial
from controller.core.step import Stepped
from controller.scenario.measure import Measure

TICK_S = 0.01
TARGET_MMHG = 100.0
LOP_MMHG = 150.0
HELD = CuffOutputs(0.0, False, False, False)
REST = Step(StepKind.REST, False, 30.0)
HELD_REST = Step(StepKind.REST, True, 30.0)
SET = Step(StepKind.SET, True, 4.0, 0, 1, 2, Tempo(1.0, 0.0, 1.0))
HOLD = Step(StepKind.HOLD, True, 300.0)


@dataclass
class Plant:
    """Plant and pins of one cuff, set by hand."""

    cuff_mmhg: float = 0.0
    vent_is_open: bool = True
    dump_is_open: bool = True
    pump_duty: float = 0.0
    pump_enabled: bool = False
    vent_open: bool = True
    dump_open: bool = True
    limited_s: float = 2.0

    def least_inflation_s(self, _target_mmhg: float) -> float:
        return self.limited_s


class Lived:
    """A session made by hand, tick by tick."""

    def __init__(self, cuffs: int = 1, target_mmhg: float = TARGET_MMHG) -> None:
        self.plants = tuple(Plant() for _ in range(cuffs))
        self.measure = Measure(self.plants, self.plants, TICK_S)
        self.now_s = 100.0  # a session never starts at 0 s of its loop
        self.outputs = (VENTED,) * cuffs
        timeline = Timeline("by hand", Mode.INTERMITTENT, (SET, REST, SET), 480.0)
        plan = CuffPlan(Limb.LEG, Side.RIGHT, LOP_MMHG, 60.0, target_mmhg)
        self.session: SessionState = initial(cuffs, self.now_s)
        self.session.prescriptions = tuple(Prescription("S-1", "AB", cuff, plan, timeline) for cuff in range(cuffs))
        self.session.targets_mmhg = (target_mmhg,) * cuffs
        self.session.timeline = timeline
        self.session.step_index = 0
        self._happened: list[Happened] = []

    def tell(self, kind: EventKind, cuff: int | None = None, **data: Any) -> None:
        """Something that the next tick says has happened."""
        self._happened.append(Happened(kind, self.now_s, self.session.phase, cuff, data))

    def go(self, phase: Phase, step: Step | None = None) -> None:
        if step is not None:
            timeline = Timeline("by hand", Mode.INTERMITTENT, (step,), 480.0)
            self.session.timeline, self.session.step_index = timeline, 0
        self.session.phase, self.session.phase_since_s = phase, self.now_s
        self.tell(EventKind.PHASE)

    def tick(self, *pressures_mmhg: float) -> None:
        """One tick with this true pressure in each cuff, or in all of them."""
        for plant, true in zip(self.plants, pressures_mmhg * len(self.plants), strict=False):
            plant.cuff_mmhg = true
        state: Any = SimpleNamespace(session=self.session)
        self.measure.after(Stepped(state, Outputs(self.outputs), tuple(self._happened), ()), self.now_s)
        self._happened = []
        self.session = self.session.fork()
        self.now_s += TICK_S

    def ticks(self, count: int, *pressures_mmhg: float) -> None:
        for _ in range(count):
            self.tick(*pressures_mmhg)

    def start(self) -> None:
        self.tell(EventKind.STARTED)
        self.tick(0.0)

    def begin_set(self, index: int = 1) -> None:
        self.go(Phase.WORKING, SET)
        self.tell(EventKind.SET_BEGAN, set_index=index)

    def end_set(self, phase: Phase, step: Step, repetitions: int = 2) -> None:
        """In one tick, as the core does it: the set ends, and the phase after it begins."""
        self.tell(EventKind.SET_ENDED, repetitions=repetitions)
        self.go(phase, step)

    def result(self) -> dict[str, Any]:
        return self.measure.result(self.now_s)


@pytest.fixture
def lived() -> Lived:
    one = Lived()
    one.start()
    return one


# --- sets -------------------------------------------------------------------------------------------------------------


def test_the_band_is_counted_in_ticks_of_working(lived: Lived) -> None:
    """50 ticks at target, 20 at the edges of 5 and of 10 %, 30 outside: 100 ticks, so the fractions are hundredths."""
    lived.begin_set()
    lived.ticks(50, 100.0)
    lived.ticks(5, 105.0)
    lived.ticks(5, 95.0)
    lived.ticks(5, 110.0)
    lived.ticks(5, 90.0)
    lived.ticks(15, 110.01)
    lived.ticks(15, 89.99)
    lived.end_set(Phase.RELEASING, REST)
    lived.tick(100.0)
    (one,) = lived.result()["sets"]
    assert one["time_in_10pct"] == 0.70
    assert one["time_in_5pct"] == 0.60
    assert one["max_mmhg"] == 110.01
    assert one["min_mmhg"] == 89.99
    assert one["mean_mmhg"] == pytest.approx(100.0)
    assert (one["cuff"], one["index"], one["reps"]) == (1, 1, 2)
    assert one["start_s"] == pytest.approx(TICK_S), "from the tick that accepted start"
    assert one["end_s"] - one["start_s"] == pytest.approx(1.0)


def test_the_band_is_around_the_target_as_it_stands(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 80.0)
    lived.session.targets_mmhg = (80.0,)  # `lower`
    lived.ticks(10, 80.0)
    lived.end_set(Phase.RELEASING, REST)
    lived.tick(80.0)
    (one,) = lived.result()["sets"]
    assert one["time_in_10pct"] == 0.5


def test_a_set_that_was_broken_off(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 100.0)
    lived.tell(EventKind.REPETITION, repetitions=1)
    lived.ticks(10, 100.0)
    lived.go(Phase.STOPPING)
    lived.ticks(10, 50.0)
    (one,) = lived.result()["sets"]
    assert one["reps"] == 1
    assert one["min_mmhg"] == 100.0, "what came after the stop is no part of it"


def test_a_set_with_the_cuff_empty_has_no_pressures(lived: Lived) -> None:
    lived.go(Phase.MOVING, Step(StepKind.SET, False, 4.0, 0, 1, 2, Tempo(1.0, 0.0, 1.0)))
    lived.tell(EventKind.SET_BEGAN, set_index=1)
    lived.ticks(10, 0.0)
    lived.end_set(Phase.RESTING, HELD_REST)
    lived.tick(0.0)
    (one,) = lived.result()["sets"]
    for key in ("mean_mmhg", "max_mmhg", "min_mmhg", "time_in_10pct", "time_in_5pct"):
        assert one[key] is None
    assert one["reps"] == 2


def test_two_cuffs_are_told_apart() -> None:
    both = Lived(2)
    both.start()
    both.begin_set()
    both.ticks(10, 100.0, 120.0)
    both.end_set(Phase.RELEASING, REST)
    both.tick(100.0, 120.0)
    result = both.result()
    assert [(one["cuff"], one["time_in_10pct"], one["max_mmhg"]) for one in result["sets"]] == [
        (1, 1.0, 100.0),
        (2, 0.0, 120.0),
    ]
    assert result["max_true_mmhg"] == result["final_true_mmhg"] == 120.0


def test_a_cuff_without_a_prescription_has_no_rows() -> None:
    both = Lived(2)
    both.session.prescriptions = (both.session.prescriptions[0], None)
    both.start()
    both.begin_set()
    both.ticks(10, 100.0, 0.0)
    both.end_set(Phase.RELEASING, REST)
    both.ticks(5, 50.0, 0.0)
    result = both.result()
    assert [one["cuff"] for one in result["sets"]] == [1]
    assert [one["cuff"] for one in result["rests"]] == [1]


# --- releases and rests -----------------------------------------------------------------------------------------------


def test_a_release_and_its_free_flow(lived: Lived) -> None:
    """Below 15 mmHg 0.25 s after the release began, for 3 s; then the next inflation."""
    lived.begin_set()
    lived.ticks(100, 100.0)
    lived.end_set(Phase.RELEASING, REST)
    lived.ticks(20, 60.0)
    lived.ticks(5, 15.0)  # at 15 is not below
    lived.ticks(100, 14.99)
    lived.go(Phase.RESTING)
    lived.ticks(200, 1.0)
    lived.go(Phase.INFLATING, SET)
    lived.ticks(50, 50.0)
    lived.begin_set(2)
    lived.tick(100.0)
    (rest,) = lived.result()["rests"]
    assert rest["mode"] == "released"
    assert rest["released_below_15_after_s"] == pytest.approx(0.25)
    assert rest["free_flow_s"] == pytest.approx(3.0)
    assert rest["time_in_5pct"] is None
    assert rest["end_s"] - rest["start_s"] == pytest.approx(3.75), "from the last repetition to the first"


def test_a_release_that_never_empties_has_no_time(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 100.0)
    lived.end_set(Phase.RELEASING, REST)
    lived.ticks(500, 40.0)
    (rest,) = lived.result()["rests"]
    assert rest["released_below_15_after_s"] is None
    assert rest["free_flow_s"] == 0.0


def test_a_rest_under_pressure(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 100.0)
    lived.end_set(Phase.HOLDING, HELD_REST)
    lived.ticks(99, 104.0)
    lived.ticks(1, 106.0)
    lived.begin_set(2)
    lived.tick(100.0)
    (rest,) = lived.result()["rests"]
    assert rest["mode"] == "held"
    assert rest["time_in_5pct"] == 0.99
    assert rest["released_below_15_after_s"] is None
    assert rest["free_flow_s"] == 0.0


def test_the_holds_of_a_passive_protocol(lived: Lived) -> None:
    lived.go(Phase.HOLDING, HOLD)
    lived.ticks(100, 100.0)
    lived.go(Phase.RELEASING, Step(StepKind.OFF, False, 180.0))
    lived.ticks(10, 30.0)
    lived.ticks(100, 2.0)
    lived.go(Phase.INFLATING, HOLD)
    lived.tick(2.0)
    held, off = lived.result()["rests"]
    assert (held["mode"], off["mode"]) == ("held", "released")
    assert held["end_s"] == off["start_s"]
    assert held["time_in_5pct"] == 1.0
    assert off["released_below_15_after_s"] == pytest.approx(0.1)
    assert off["free_flow_s"] == pytest.approx(1.0)


# --- inflations -------------------------------------------------------------------------------------------------------


def inflate(lived: Lived, step: Step, *pressures_mmhg: float) -> None:
    """The guard arms one tick after it was asked to; from there one pressure a tick."""
    lived.go(Phase.INFLATING, step)
    lived.session.inflate_from_s = nan
    lived.tick(0.0)
    lived.session.inflate_from_s = lived.now_s
    for true in pressures_mmhg:
        lived.tick(true)
    lived.session.inflate_from_s = nan


def test_an_inflation_into_a_set(lived: Lived) -> None:
    """`to_target_s` ends at 2 mmHg below the target; the overshoot is looked for up to the first repetition."""
    inflate(lived, SET, 20.0, 60.0, 97.99, 98.0, 99.0)
    lived.go(Phase.HOLDING)
    lived.ticks(300, 101.0)
    lived.ticks(1, 102.5)
    lived.ticks(99, 100.0)
    lived.begin_set()
    lived.tick(100.0)
    lived.ticks(50, 130.0)  # a contraction
    (one,) = lived.result()["inflations"]
    assert one["to_target_s"] == pytest.approx(3 * TICK_S)
    assert one["overshoot_mmhg"] == pytest.approx(2.5)
    assert one["pump_limited_s"] == 2.0
    assert one["start_s"] == pytest.approx(2 * TICK_S), "when the pump could begin, not when the guard was asked"


def test_an_inflation_into_a_hold_is_judged_for_two_seconds(lived: Lived) -> None:
    inflate(lived, HOLD, 50.0, 99.0)
    lived.go(Phase.HOLDING)
    lived.ticks(150, 101.0)
    lived.ticks(53, 103.0)
    lived.ticks(100, 109.0)  # later than that
    (one,) = lived.result()["inflations"]
    assert one["overshoot_mmhg"] == pytest.approx(3.0)


def test_no_overshoot_is_zero_and_never_reached_is_null(lived: Lived) -> None:
    lived.plants[0].limited_s = inf
    inflate(lived, SET, 20.0, 60.0, 90.0)
    lived.go(Phase.STOPPING)
    lived.ticks(10, 50.0)
    (one,) = lived.result()["inflations"]
    assert one["to_target_s"] is None
    assert one["pump_limited_s"] is None
    assert one["overshoot_mmhg"] == 0.0


# --- trips, alarms and sums -------------------------------------------------------------------------------------------


def test_a_trip_on_its_way_to_empty(lived: Lived) -> None:
    plant = lived.plants[0]
    lived.begin_set()
    lived.outputs = (HELD,)
    plant.vent_open = plant.dump_open = plant.vent_is_open = plant.dump_is_open = False
    lived.ticks(10, 100.0)
    lived.tell(EventKind.TRIP, 0, rule="over_pressure", text="cuff 1 at 260 mmHg")
    lived.tell(EventKind.ALARM_RAISED, 0, condition="over_pressure", priority="high")
    lived.go(Phase.FAULT)
    lived.outputs = (VENTED,)
    tripped_at_s = lived.now_s
    lived.tick(100.0)
    plant.vent_open = plant.dump_open = True
    lived.tick(100.0)
    plant.vent_is_open = plant.dump_is_open = True
    lived.ticks(100, 60.0)
    lived.ticks(10, 10.0)
    result = lived.result()
    assert result["outcome"] == "tripped"
    assert result["trips"] == [
        {
            "rule": "over_pressure",
            "cuff": 1,
            "at_s": pytest.approx(tripped_at_s - 100.0),
            "text": "cuff 1 at 260 mmHg",
            "vent_commanded_after_s": 0.0,
            "vent_open_after_s": 0.02,
            "below_15_after_s": 1.02,
        }
    ]
    (alarm,) = result["alarms"]
    assert (alarm["condition"], alarm["priority"], alarm["cleared_at_s"]) == ("over_pressure", "high", None)


def test_a_trip_that_nobody_answers(lived: Lived) -> None:
    """The pump runs on and no valve opens: null means never."""
    plant = lived.plants[0]
    lived.begin_set()
    lived.outputs = (CuffOutputs(1.0, True, False, False),)
    plant.pump_enabled, plant.vent_open, plant.dump_open, plant.vent_is_open = True, False, False, False
    lived.tell(EventKind.TRIP, None, rule="guard_lost")
    lived.ticks(500, 200.0)
    (trip,) = lived.result()["trips"]
    assert trip["cuff"] is None
    assert trip["vent_commanded_after_s"] is None
    assert trip["vent_open_after_s"] is None
    assert trip["below_15_after_s"] is None


def test_one_trip_vents_both_cuffs() -> None:
    """Commanded and open only once every cuff is."""
    both = Lived(2)
    both.start()
    both.outputs = (VENTED, HELD)
    both.plants[1].vent_open = both.plants[1].vent_is_open = False
    both.tell(EventKind.TRIP, 1, rule="leak")
    both.ticks(10, 5.0, 100.0)
    both.outputs = (VENTED, VENTED)
    both.plants[1].vent_is_open = True
    both.ticks(10, 5.0, 100.0)
    both.ticks(10, 5.0, 5.0)
    (trip,) = both.result()["trips"]
    assert trip["cuff"] == 2
    assert (trip["vent_commanded_after_s"], trip["vent_open_after_s"], trip["below_15_after_s"]) == (0.1, 0.1, 0.2)


def test_a_process_that_stands_still_trips_by_its_lease(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 100.0)
    plant = lived.plants[0]
    plant.pump_enabled, plant.vent_open, plant.vent_is_open = True, False, False
    for tick in range(50):
        if tick == 25:
            plant.pump_enabled, plant.vent_open, plant.vent_is_open = False, True, True
        lived.measure.unattended(lived.now_s, tripped=tick >= 25)
        lived.now_s += TICK_S
    (trip,) = lived.result()["trips"]
    assert trip["rule"] == "lease_expired"
    assert trip["vent_commanded_after_s"] == 0.25
    assert trip["below_15_after_s"] is None


def test_a_process_that_comes_back_before_its_lease_has_lapsed_has_not_tripped(lived: Lived) -> None:
    lived.begin_set()
    lived.ticks(10, 100.0)
    for _ in range(8):
        lived.measure.unattended(lived.now_s, tripped=False)
        lived.now_s += TICK_S
    assert lived.result()["trips"] == []


def test_seconds_above_lop_are_added_up_over_cuffs() -> None:
    both = Lived(2)
    both.start()
    both.begin_set()
    both.ticks(30, 150.01, 150.0)  # at LOP is not above
    both.ticks(20, 151.0, 160.0)
    assert both.result()["seconds_above_lop"] == pytest.approx(0.7)


def test_restricted_seconds_are_those_of_each_limb() -> None:
    both = Lived(2)
    keys = [("S-1", Limb.LEG, Side.RIGHT), ("S-1", Limb.LEG, Side.LEFT)]
    both.session.limbs = tuple(keys)
    both.session.clocks = {keys[0]: LimbClock(12.5), keys[1]: LimbClock(8.25)}
    both.start()
    both.tick(0.0)
    both.tell(EventKind.SESSION_ENDED, outcome="completed")
    both.session.prescriptions = (None, None)
    both.tick(0.0)
    result = both.result()
    assert result["outcome"] == "completed"
    assert result["restricted_s"] == [12.5, 8.25]


def test_an_alarm_that_comes_twice_has_two_rows(lived: Lived) -> None:
    for _ in range(2):
        lived.tell(EventKind.ALARM_RAISED, None, condition="off_target", priority="medium")
        lived.ticks(10, 80.0)
        lived.tell(EventKind.ALARM_CLEARED, None, condition="off_target", priority="medium")
        lived.ticks(10, 100.0)
    rows = lived.result()["alarms"]
    assert [row["cleared_at_s"] - row["raised_at_s"] for row in rows] == pytest.approx([0.1, 0.1])
    assert rows[0]["cleared_at_s"] < rows[1]["raised_at_s"]


def test_the_trace_is_hashed_over_every_tick() -> None:
    def trace(*pressures_mmhg: float, duty: float = 0.5, ticks: int = 3000) -> str:
        one = Lived()
        one.plants[0].pump_duty, one.plants[0].pump_enabled = duty, True
        one.start()
        for index in range(ticks):
            one.tick(pressures_mmhg[index % len(pressures_mmhg)])
        return str(one.result()["trace_sha256"])

    whole = trace(100.0, 100.5)
    assert trace(100.0, 100.5) == whole
    assert trace(100.004, 100.5) == whole, "to 0.01 mmHg"
    assert trace(100.01, 100.5) != whole
    assert trace(100.0, 100.5, duty=0.501) != whole
    assert trace(100.0, 100.5, ticks=3001) != whole
    assert trace(100.5, 100.0) != whole
