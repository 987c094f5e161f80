"""The clocks of the limbs, run once a tick: how long each has been restricted, and who is told.

A clock belongs to a limb, not to a cuff or a session; one that no cuff is on waits for the bench to have been empty.
Imports the core only; seconds and mmHg.
"""

from __future__ import annotations

from math import nan

from .limb import LimbKey
from .limits import EMPTY_MMHG, REPERFUSION_S, TICK_LATE_S
from .model import TESTING, EventKind, Seen
from .session_state import SessionState


def run(s: SessionState, seen: tuple[Seen, ...], dt_s: float, now_s: float) -> None:
    """The limb clocks of every cuff that was put on a limb."""
    _run_bench_clock(s, seen, dt_s, now_s)
    if not s.clocks:
        return
    grew = cleared = False
    for cuff, one in enumerate(seen):
        clock = s.clock_of(cuff)
        if clock is None:
            continue
        before_s = clock.restricted_s
        clock.run(one.pressure_mmhg, one.certain, dt_s)
        if clock.restricted_s > before_s:
            grew = True
        elif clock.restricted_s < before_s:
            cleared = True
    if cleared or (grew and now_s - s.limb_clock_told_s >= 1.0):
        tell(s, now_s)


def _run_bench_clock(s: SessionState, seen: tuple[Seen, ...], dt_s: float, now_s: float) -> None:
    """A limb that no cuff is on is free once the whole bench has been below 15 mmHg for the time of a reperfusion."""
    for one in seen:
        if not (one.certain and one.pressure_mmhg < EMPTY_MMHG and 0.0 <= dt_s <= TICK_LATE_S):
            s.bench_free_s = 0.0
            if s.phase is TESTING or (s.nobodys_s > 0.0 and s.step_index < 0):  # also what a test left under pressure
                s.nobodys_s += max(0.0, dt_s)
            if s.clocks and not any(s.limbs):
                _run_all(s, dt_s, now_s)
            return
    s.bench_free_s += dt_s
    if s.bench_free_s < REPERFUSION_S:
        return
    s.nobodys_s = 0.0
    if s.past_unknown or s.clocks:
        s.past_unknown = False
        for key, clock in s.clocks.items():
            if key not in s.limbs and clock.restricted_s > 0.0:
                _tell_clock(s, now_s, None, key, 0.0)
        s.clocks = {key: clock for key, clock in s.clocks.items() if key in s.limbs}


def _run_all(s: SessionState, dt_s: float, now_s: float) -> None:
    """After a boot nobody knows whose limb is under what is measured: every limb that the journal names."""
    for clock in s.clocks.values():
        clock.run(nan, False, dt_s)
    if now_s - s.limb_clock_told_s >= 1.0:
        s.limb_clock_told_s = now_s
        for limb, clock in s.clocks.items():
            _tell_clock(s, now_s, None, limb, round(clock.restricted_s, 2))


def tell(s: SessionState, now_s: float) -> None:
    """What each limb on a cuff has been restricted for, as events."""
    s.limb_clock_told_s = now_s
    for cuff, limb in enumerate(s.limbs):
        clock = s.clock_of(cuff)
        if limb is not None and clock is not None:
            _tell_clock(s, now_s, cuff, limb, round(clock.restricted_s, 2))


def _tell_clock(s: SessionState, now_s: float, cuff: int | None, limb: LimbKey, restricted_s: float) -> None:
    code, which, side = limb
    s.tell(EventKind.LIMB_CLOCK, now_s, cuff, code=code, limb=str(which), side=str(side), restricted_s=restricted_s)
