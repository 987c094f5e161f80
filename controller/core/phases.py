"""The transition table, nothing else. What is not in it is refused.

Imports model only. The diagram in `PHASES.md` is drawn from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from .model import Phase


class Event(StrEnum):
    """A past fact of the session, or what a person said."""

    READIED = "readied"  # screened, prescribed, self-test passed, cuff empty
    UNREADIED = "unreadied"  # one of those no longer holds
    START = "start"  # by a person, first step under pressure
    START_MOVING = "start_moving"  # by a person, first step with the cuff empty
    AT_TARGET = "at_target"
    WORK_BEGAN = "work_began"
    SET_OVER_HELD = "set_over_held"  # and the cuff stays at target
    SET_OVER = "set_over"  # and the cuff is released
    HOLD_OVER = "hold_over"  # and the cuff is released
    EMPTY = "empty"  # measured, never assumed
    EMPTY_PAUSED = "empty_paused"
    EMPTY_DONE = "empty_done"  # and nothing is left to do
    REST_OVER = "rest_over"
    MOVE_BEGAN = "move_began"
    MOVE_OVER = "move_over"  # and a rest with the cuff empty follows
    MOVE_OVER_INFLATE = "move_over_inflate"  # and a rest under pressure follows
    MOVES_DONE = "moves_done"  # and nothing is left to do
    PAUSE = "pause"
    RESUME = "resume"  # by a person, into a step under pressure
    RESUME_MOVING = "resume_moving"  # by a person, into a step with the cuff empty
    STOP = "stop"  # by a person
    END = "end"  # a limit that ends the session in order
    TRIP = "trip"
    RESET = "reset"  # by a person, cuff empty
    TEST = "test"  # by a person, the bench empty: the self-test
    TEST_OVER = "test_over"  # passed or failed


def _table() -> dict[tuple[Phase, Event], Phase]:
    p, e = Phase, Event
    table = {
        (p.IDLE, e.READIED): p.READY,
        (p.READY, e.UNREADIED): p.IDLE,
        (p.READY, e.START): p.INFLATING,
        (p.READY, e.START_MOVING): p.MOVING,
        (p.INFLATING, e.AT_TARGET): p.HOLDING,
        (p.HOLDING, e.WORK_BEGAN): p.WORKING,
        (p.HOLDING, e.HOLD_OVER): p.RELEASING,
        (p.WORKING, e.SET_OVER_HELD): p.HOLDING,
        (p.WORKING, e.SET_OVER): p.RELEASING,
        (p.RELEASING, e.EMPTY): p.RESTING,
        (p.RELEASING, e.EMPTY_PAUSED): p.PAUSED,
        (p.RELEASING, e.EMPTY_DONE): p.IDLE,
        (p.RESTING, e.REST_OVER): p.INFLATING,
        (p.RESTING, e.MOVE_BEGAN): p.MOVING,
        (p.MOVING, e.MOVE_OVER): p.RESTING,
        (p.MOVING, e.MOVE_OVER_INFLATE): p.INFLATING,
        (p.MOVING, e.MOVES_DONE): p.RELEASING,
        (p.INFLATING, e.PAUSE): p.RELEASING,
        (p.WORKING, e.PAUSE): p.RELEASING,
        (p.HOLDING, e.PAUSE): p.RELEASING,
        (p.RELEASING, e.PAUSE): p.RELEASING,
        (p.RESTING, e.PAUSE): p.PAUSED,
        (p.MOVING, e.PAUSE): p.PAUSED,
        (p.PAUSED, e.RESUME): p.INFLATING,
        (p.PAUSED, e.RESUME_MOVING): p.MOVING,
        (p.STOPPING, e.EMPTY_DONE): p.IDLE,  # no way from STOPPING back to INFLATING
        (p.FAULT, e.RESET): p.IDLE,
        (p.IDLE, e.STOP): p.IDLE,
        (p.FAULT, e.STOP): p.FAULT,
        (p.STOPPING, e.STOP): p.STOPPING,
        (p.IDLE, e.TEST): p.TESTING,
        (p.READY, e.TEST): p.TESTING,
        (p.TESTING, e.TEST_OVER): p.STOPPING,  # whatever came of it, a self-test ends as a session does: measured empty
    }
    for phase in (p.READY, p.INFLATING, p.WORKING, p.HOLDING, p.RELEASING, p.RESTING, p.MOVING, p.PAUSED, p.TESTING):
        table[phase, e.STOP] = p.STOPPING
        table[phase, e.END] = p.STOPPING
    for phase in p:
        table[phase, e.TRIP] = p.FAULT
    return table


TRANSITIONS: Final[Mapping[tuple[Phase, Event], Phase]] = _table()


def next_phase(phase: Phase, event: Event) -> Phase | None:
    """Where this event leads from this phase; None: it leads nowhere and is refused."""
    return TRANSITIONS.get((phase, event))
