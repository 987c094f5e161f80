"""Rules of one cuff about what can be relied on: a reading that is not true, pressure that cannot be let out.

Each is one function with its hazard, its limit and where the limit comes from; it takes what has added up (`Run`, which
it may change) and what there is to see (`Moment`), and returns a `Finding` or nothing. Every comparison is written so
that NaN trips. `../SAFETY.md` has hazards, sources and what remains; [J] is this project's judgement. mmHg, seconds.
"""

from __future__ import annotations

from math import isnan
from typing import Final

from .limits import BOOT_ALARM_MMHG, EMPTY_MMHG, RELEASE_TIMEOUT_S, SENSORS_APART_MMHG, STALE_SAMPLE_S
from .model import (
    FAULT,
    RELEASING,
    STOPPING,
    TESTING,
    WORKING,
    Finding,
)
from .moment import HOSE_MMHG, Moment, Run

IMPLAUSIBLE_IN_A_ROW: Final = 3  # [J]
FROZEN_S: Final = 0.3  # [J]
STILL_S: Final = 0.3  # [J] air has come to rest this long after pump and valves
DISAGREE_STILL_S: Final = 0.3  # [J]
DISAGREE_FLOW_MMHG: Final = 60.0  # [J] a hose loses up to 15 mmHg per L/min, a pump gives up to 4 L/min
DISAGREE_FLOW_S: Final = 1.5  # [J]
BLOCKED_MMHG: Final = 40.0  # [J]
BLOCKED_SHARE: Final = 0.5  # [J]
BLOCKED_S: Final = 0.5  # [J]
BLOCKED_FALL: Final = 0.8  # [J] of where B was when it began
BLOCKED_WORKING_S: Final = 1.0  # [J] a contraction may hold a cuff up against an open vent for 0.8 s
NO_FALL_MMHG: Final = 20.0
NO_FALL_S: Final = 1.0
TAKE_OFF: Final = "take the cuff off"
_RELEASING: Final = frozenset({RELEASING, STOPPING, FAULT})


# --- a reading that is not true ----------------------------------------------------------------------------------


def implausible(run: Run, m: Moment) -> Finding | None:  # noqa: ARG001
    """H-04: three readings of A, or of B, in a row that cannot be true (`seeing.plausible`) [J]."""
    if m.sight.a_refused < IMPLAUSIBLE_IN_A_ROW and m.sight.b_refused < IMPLAUSIBLE_IN_A_ROW:
        return None
    count = max(m.sight.a_refused, m.sight.b_refused)
    name = "A" if m.sight.a_refused == count else "B"
    text = f"cuff {m.cuff + 1}: {count} readings of sensor {name} in a row that cannot be true"
    return Finding("implausible", m.cuff, count, IMPLAUSIBLE_IN_A_ROW, "readings", text, m.now_s)


def stale_sample(run: Run, m: Moment) -> Finding | None:  # noqa: ARG001
    """H-04: no fresh reading of A for 100 ms [J: ten conversions; a pump adds some 5 mmHg in that time]."""
    if m.seen.a_mmhg == m.seen.a_mmhg:
        return None
    age_s = m.now_s - m.sight.a_at_s
    text = f"cuff {m.cuff + 1}: no reading of sensor A for {STALE_SAMPLE_S * 1000:.0f} ms: check sensor and bus"
    return Finding("stale_sample", m.cuff, age_s, STALE_SAMPLE_S, "s", text, m.now_s)


def frozen_sample(run: Run, m: Moment) -> Finding | None:  # noqa: ARG001
    """H-04: identical counts of A above 20 mmHg while pump or vent should move them, for 300 ms [J]: 14 bits
    or more of a working sensor never stand still for that long. Only fresh samples count: one in two ticks takes
    600 ms."""
    if m.sight.unchanged_s < FROZEN_S:
        return None
    text = f"cuff {m.cuff + 1}: sensor A has said exactly the same for {m.sight.unchanged_s:.1f} s while air was moved"
    return Finding("frozen_sample", m.cuff, m.sight.unchanged_s, FROZEN_S, "s", text, m.now_s)


def sensors_disagree(run: Run, m: Moment) -> Finding | None:
    """H-04: A and B apart by 10 mmHg for 300 ms once pump and valves have been off for 300 ms, by 60 mmHg for 1.5 s
    while air flows [J]; B missing counts. B above A with a valve open and B falling is the hose: not counted, but what
    was counted before it stands, or each pulse of the vent would have the wrong sensor forgotten."""
    apart = abs(m.seen.a_mmhg - m.seen.b_mmhg)
    if apart < SENSORS_APART_MMHG:
        run.apart_still_s = run.apart_flow_s = 0.0
        return None
    if run.still_s >= STILL_S:
        run.apart_still_s += m.dt_s
    elif apart < DISAGREE_FLOW_MMHG:
        run.apart_flow_s = 0.0
    elif not _hose_explains(run, m):
        run.apart_flow_s += m.dt_s
    if run.apart_still_s < DISAGREE_STILL_S and run.apart_flow_s < DISAGREE_FLOW_S:
        return None
    limit = SENSORS_APART_MMHG if run.apart_still_s >= DISAGREE_STILL_S else DISAGREE_FLOW_MMHG
    text = (
        f"cuff {m.cuff + 1}: sensor A says {_say(m.seen.a_mmhg)}, sensor B {_say(m.seen.b_mmhg)},"
        f" must agree within {limit:.0f} mmHg"
    )
    return Finding("sensors_disagree", m.cuff, apart, limit, "mmHg", text, m.now_s)


def _hose_explains(run: Run, m: Moment) -> bool:
    return m.venting and m.seen.b_mmhg > m.seen.a_mmhg and run.unfallen_s < BLOCKED_S


def _say(mmhg: float) -> str:
    return "nothing" if isnan(mmhg) else f"{mmhg:.0f} mmHg"


# --- pressure that cannot be let out -----------------------------------------------------------------------------


def tube_blocked(run: Run, m: Moment) -> Finding | None:
    """H-03: a tube closed between manifold and cuff, for 0.5 s [J] (1 s during exercise, where a contraction can hold
    a cuff up): a valve open and B, above 40 mmHg, not falling by 20 % in that time, with A below half of it; or pumping
    and A above B by 60 mmHg. A missing sensor is the others' matter. No valve of ours can empty the cuff then.

    20 %: the slowest vent, of 1.8 s, falls 24 % in half a second; what a limb that relaxes gives is less, as a rule.
    """
    a_mmhg, b_mmhg = m.seen.a_mmhg, m.seen.b_mmhg
    if not m.seen.certain or not (m.pumping or m.venting):
        return None
    if m.venting:
        blocked = b_mmhg > BLOCKED_MMHG and a_mmhg < BLOCKED_SHARE * b_mmhg
        if m.phase is WORKING:
            blocked = blocked and run.unfallen_s > 0.0
        elif run.blocked_s > 0.0 and b_mmhg < BLOCKED_FALL * run.blocked_from_mmhg:
            run.blocked_s = 0.0  # it empties: looked at from here
        if run.blocked_s == 0.0:
            run.blocked_from_mmhg = b_mmhg
    else:
        blocked = a_mmhg > b_mmhg + HOSE_MMHG
    if not blocked:
        run.blocked_s = 0.0
        return None
    run.blocked_s += m.dt_s
    if run.blocked_s < (BLOCKED_WORKING_S if m.phase is WORKING else BLOCKED_S):
        return None
    text = (
        f"cuff {m.cuff + 1}: tube blocked, {b_mmhg:.0f} mmHg in the cuff, {a_mmhg:.0f} mmHg at the valves: {TAKE_OFF}"
    )
    return Finding("tube_blocked", m.cuff, b_mmhg, BLOCKED_MMHG, "mmHg", text, m.now_s)


def no_fall(run: Run, m: Moment) -> Finding | None:
    """H-03: a valve is open, the cuff above 20 mmHg, and for 1 s it has not fallen by 10 % [J]. Not judged during
    exercise, where a contraction can hold a cuff up; `above_target`, `above_lop` and the ceiling stand there."""
    if run.unfallen_s < NO_FALL_S or m.seen.pressure_mmhg <= NO_FALL_MMHG:
        return None
    text = f"cuff {m.cuff + 1} does not empty, {_say(m.seen.pressure_mmhg)} with the valves open: {TAKE_OFF}"
    return Finding("no_fall", m.cuff, m.seen.pressure_mmhg, NO_FALL_MMHG, "mmHg", text, m.now_s)


def not_released(run: Run, m: Moment) -> Finding | None:
    """H-03: a release has begun and 5 s of it have been at or above 15 mmHg, or not known to be below (NIBP practice:
    260 to 15 mmHg within 10 s). Nor may a cuff that was empty fill again behind open valves, as a pump does that runs
    by itself: 5 s at or above 15 mmHg."""
    if m.seen.empty:
        run.unreleased_s = 0.0
        return None
    if isnan(m.watch.release_due_at_s) and m.phase not in _RELEASING:
        return _filled_again(run, m)
    if not (m.seen.certain and m.seen.pressure_mmhg < EMPTY_MMHG):
        run.unreleased_s += m.dt_s
    if run.unreleased_s < RELEASE_TIMEOUT_S:
        return None
    text = f"cuff {m.cuff + 1} not measured empty {run.unreleased_s:.0f} s after its release began: {TAKE_OFF}"
    return Finding("not_released", m.cuff, run.unreleased_s, RELEASE_TIMEOUT_S, "s", text, m.now_s)


def _filled_again(run: Run, m: Moment) -> Finding | None:
    mmhg = m.seen.pressure_mmhg
    if not (m.venting and run.settled) or m.phase is TESTING or (m.seen.certain and mmhg < EMPTY_MMHG):
        run.unreleased_s = 0.0
        return None
    if mmhg >= EMPTY_MMHG:  # one sensor is enough; what neither knows begins nothing anew
        run.unreleased_s += m.dt_s
    if run.unreleased_s < RELEASE_TIMEOUT_S:
        return None
    text = (
        f"cuff {m.cuff + 1} does not stay empty, {EMPTY_MMHG:.0f} mmHg or more for {run.unreleased_s:.0f} s"
        f" with the valves open: {TAKE_OFF}"
    )
    return Finding("not_released", m.cuff, run.unreleased_s, RELEASE_TIMEOUT_S, "s", text, m.now_s)


def boot_pressurised(run: Run, m: Moment) -> Finding | None:
    """H-02: a cuff found inflated at power-up, for nobody knows how long. Vents and waits whatever is found; at
    50 mmHg (Zimmer 750 detects that) it also alarms, until empty."""
    if run.settled:
        return None
    if m.seen.empty:
        run.settled = True
        return None
    if m.seen.pressure_mmhg >= BOOT_ALARM_MMHG:  # unknown is not found: stale_sample and guard_lost say that
        run.boot_high = True
    if not run.boot_high:
        return None
    text = f"cuff {m.cuff + 1} was found inflated at power-up, {_say(m.seen.pressure_mmhg)}: {TAKE_OFF}"
    return Finding("boot_pressurised", m.cuff, m.seen.pressure_mmhg, BOOT_ALARM_MMHG, "mmHg", text, m.now_s)
