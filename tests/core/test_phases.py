"""Every (phase, event) pair against a matrix written by hand, and what no way through the table may do."""

from __future__ import annotations

import pytest

from controller.core.model import EventKind, Phase
from controller.core.phases import TRANSITIONS, Event, next_phase
from controller.core.session_state import initial

# Written from the design, not from the code: what each event does in each phase. What is not here is refused.
EXPECTED = {
    "idle": {"readied": "ready", "test": "testing", "stop": "idle", "trip": "fault"},
    "ready": {
        "unreadied": "idle",
        "test": "testing",
        "start": "inflating",
        "start_moving": "moving",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "inflating": {
        "at_target": "holding",
        "pause": "releasing",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "working": {
        "set_over_held": "holding",
        "set_over": "releasing",
        "pause": "releasing",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "holding": {
        "work_began": "working",
        "hold_over": "releasing",
        "pause": "releasing",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "releasing": {
        "empty": "resting",
        "empty_paused": "paused",
        "empty_done": "idle",
        "pause": "releasing",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "resting": {
        "rest_over": "inflating",
        "move_began": "moving",
        "pause": "paused",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "moving": {
        "move_over": "resting",
        "move_over_inflate": "inflating",
        "moves_done": "releasing",
        "pause": "paused",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "paused": {
        "resume": "inflating",
        "resume_moving": "moving",
        "stop": "stopping",
        "end": "stopping",
        "trip": "fault",
    },
    "stopping": {"empty_done": "idle", "stop": "stopping", "trip": "fault"},
    "fault": {"reset": "idle", "stop": "fault", "trip": "fault"},
    "testing": {"test_over": "stopping", "stop": "stopping", "end": "stopping", "trip": "fault"},
}
BY_A_PERSON = {Event.START, Event.START_MOVING, Event.RESUME, Event.RESUME_MOVING, Event.RESET, Event.TEST}
PAIRS = [(phase, event) for phase in Phase for event in Event]


def test_the_matrix_names_every_phase_and_no_event_of_its_own() -> None:
    assert set(EXPECTED) == {str(phase) for phase in Phase}
    assert {event for row in EXPECTED.values() for event in row} == {str(event) for event in Event}


@pytest.mark.parametrize(("phase", "event"), PAIRS, ids=lambda one: str(one))
def test_every_pair_is_decided_as_written(phase: Phase, event: Event) -> None:
    expected = EXPECTED[str(phase)].get(str(event))
    assert next_phase(phase, event) == (None if expected is None else Phase(expected))


@pytest.mark.parametrize(("phase", "event"), PAIRS, ids=lambda one: str(one))
def test_the_session_goes_where_the_table_says_and_nowhere_when_refused(phase: Phase, event: Event) -> None:
    s = initial(1, 5.0)
    s.phase = phase
    expected = EXPECTED[str(phase)].get(str(event))
    before = repr(s)
    went = s.go(event, 7.0, "why not")
    assert went is (expected is not None)
    if expected is None:
        assert repr(s) == before
        return
    assert s.phase == Phase(expected)
    assert s.phase_since_s == 7.0
    (told,) = s.events
    assert (told.kind, told.phase, told.data) == (
        EventKind.PHASE,
        s.phase,
        {"from": str(phase), "event": str(event), "why": "why not"},
    )


def _reach(start: Phase, *, without: set[Event]) -> set[Phase]:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for event in Event:
            there = TRANSITIONS.get((here, event))
            if event not in without and there is not None and there not in found:
                found.add(there)
                todo.append(there)
    return found


def test_every_phase_can_be_reached_from_power_up() -> None:
    assert _reach(Phase.IDLE, without=set()) == set(Phase)


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.READY, Phase.STOPPING, Phase.FAULT, Phase.PAUSED])
def test_nothing_inflates_from_here_without_a_person(phase: Phase) -> None:
    pressed = {Phase.INFLATING, Phase.WORKING, Phase.HOLDING, Phase.TESTING}
    assert not _reach(phase, without=BY_A_PERSON) & pressed


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.FAULT])
def test_the_only_way_on_from_a_stop_or_a_trip_leads_through_idle_and_start(phase: Phase) -> None:
    assert _reach(phase, without={Event.START, Event.START_MOVING, Event.TEST}) <= {
        Phase.STOPPING,
        Phase.FAULT,
        Phase.IDLE,
        Phase.READY,
    }


@pytest.mark.parametrize("phase", list(Phase))
def test_a_trip_is_latched_from_everywhere_and_left_by_a_reset_alone(phase: Phase) -> None:
    assert TRANSITIONS[phase, Event.TRIP] is Phase.FAULT
    assert _reach(Phase.FAULT, without={Event.RESET}) == {Phase.FAULT}


def test_every_phase_with_pressure_can_be_stopped_ended_and_tripped() -> None:
    for phase in (Phase.INFLATING, Phase.WORKING, Phase.HOLDING, Phase.RELEASING, Phase.TESTING):
        assert next_phase(phase, Event.STOP) is Phase.STOPPING
        assert next_phase(phase, Event.END) is Phase.STOPPING
