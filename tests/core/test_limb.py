"""The clock of a limb at each of its boundaries: 15 mmHg, unknown, 180 s, and time that nobody saw."""

from __future__ import annotations

from math import inf, nan

import pytest

from controller.core.limb import LimbClock

TICK_S = 1 / 16


def lived(clock: LimbClock, seconds: float, mmhg: float, *, certain: bool = True) -> LimbClock:
    for _ in range(round(seconds / TICK_S)):
        clock.run(mmhg, certain, TICK_S)
    return clock


@pytest.mark.parametrize(
    ("mmhg", "certain", "restricted"),
    [
        (nan, True, True),
        (nan, False, True),
        (inf, True, True),
        (150.0, True, True),
        (15.0, True, True),
        (14.999, True, False),
        (0.0, True, False),
        (-20.0, True, False),
        (0.0, False, True),  # the other sensor is silent: unknown
        (-inf, True, False),
    ],
)
def test_restricted_is_15_mmhg_or_more_or_unknown(mmhg: float, certain: bool, restricted: bool) -> None:
    clock = lived(LimbClock(), 10.0, mmhg, certain=certain)
    assert (clock.restricted_s, clock.free_s) == ((10.0, 0.0) if restricted else (0.0, 10.0))


def test_180_s_continuously_below_clear_it_and_not_a_tick_less() -> None:
    clock = lived(lived(LimbClock(), 300.0, 120.0), 180.0 - TICK_S, 0.0)
    assert clock.restricted_s == 300.0
    clock.run(0.0, True, TICK_S)
    assert clock.restricted_s == 0.0
    assert clock.free_s == 180.0


@pytest.mark.parametrize(("mmhg", "certain"), [(15.0, True), (nan, True), (0.0, False)])
def test_one_tick_of_pressure_or_doubt_begins_the_180_s_anew(mmhg: float, certain: bool) -> None:
    clock = lived(LimbClock(300.0), 179.0, 0.0)
    clock.run(mmhg, certain, TICK_S)
    lived(clock, 179.0, 0.0)
    assert clock.restricted_s == 300.0 + TICK_S
    lived(clock, 1.0, 0.0)
    assert clock.restricted_s == 0.0


def test_seconds_of_several_sets_add_up() -> None:
    clock = LimbClock()
    for _ in range(4):
        lived(lived(clock, 60.0, 120.0), 30.0, 0.0)
    assert clock.restricted_s == 240.0


def test_restricted_time_begins_anew_after_it_was_cleared() -> None:
    clock = lived(lived(LimbClock(300.0), 200.0, 0.0), 5.0, 120.0)
    assert (clock.restricted_s, clock.free_s) == (5.0, 0.0)


@pytest.mark.parametrize("gap_s", [0.11, 180.0, 1e6])
def test_a_gap_that_nobody_saw_is_restricted_whatever_is_seen_after_it(gap_s: float) -> None:
    """More than 100 ms between two ticks: what the pressure was in between is unknown."""
    clock = LimbClock(300.0, 100.0)
    clock.run(0.0, True, gap_s)
    assert clock.restricted_s == pytest.approx(300.0 + gap_s)
    assert clock.free_s == 0.0


@pytest.mark.parametrize("mmhg", [0.0, 120.0])
@pytest.mark.parametrize("gap_s", [-0.01, -500.0, nan])
def test_time_that_goes_back_takes_nothing_away(mmhg: float, gap_s: float) -> None:
    clock = LimbClock(300.0, 100.0)
    clock.run(mmhg, True, gap_s)
    assert (clock.restricted_s, clock.free_s) == (300.0, 0.0)


def test_a_fork_runs_on_its_own() -> None:
    old = LimbClock(10.0, 2.0)
    new = old.fork()
    new.run(120.0, True, 1.0)
    assert (old.restricted_s, old.free_s) == (10.0, 2.0)
    assert new.restricted_s == 11.0
