"""Rules of one cuff about its pressure: too much, for too long, or not what is prescribed.

Each is one function with its hazard, its limit and where the limit comes from; it takes what has added up (`Run`, which
it may change) and what there is to see (`Moment`), and returns a `Finding` or nothing. Every comparison is written so
that NaN trips. `../SAFETY.md` has hazards, sources and what remains; [J] is this project's judgement. mmHg, seconds.
"""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Final

from .limits import INFLATE_TIMEOUT_S, LEAK_TOPPING_S, PUMP_MAX_S, armed_ceiling_mmhg
from .model import (
    HOLDING,
    Finding,
)
from .moment import Moment, Run

ABOVE_LOP_S: Final = 1.0  # [J]
ABOVE_LOP_SUM_S: Final = 3.0  # [J] added up in a set, or in 60 s of a hold
ABOVE_LOP_HOLD_S: Final = 60.0  # [J]
ABOVE_TARGET_MMHG: Final = 20.0  # [J]
ABOVE_TARGET_SHARE: Final = 0.25  # [J]
ABOVE_TARGET_S: Final = 2.0  # [J]
MEAN_ABOVE_MMHG: Final = 10.0  # [J]
MEAN_ABOVE_SHARE: Final = 0.15  # [J]
LOWERED_S: Final = 4.0  # [J] the slowest vent, of 1.8 s, is through with 90 % of what it was to let out
MEAN_S: Final = 4.0  # [J] where there is no repetition to average over
UNDER_TARGET_SHARE: Final = 0.5  # [J]
UNDER_TARGET_S: Final = 10.0  # [J]
OFF_TARGET_SHARE: Final = 0.1  # surgical tourniquets: 15 mmHg after 1-1.5 s
OFF_TARGET_LEAST_MMHG: Final = 5.0
OFF_TARGET_MOST_MMHG: Final = 15.0
OFF_TARGET_S: Final = 1.5
OFF_TARGET_CUE_S: Final = 1.0
RISE_MMHG: Final = 3.0
NEAR_SHARE: Final = 0.03  # [J] a cuff this close to its target is not the one that is late,
NEAR_S: Final = 1.0  # [J] unless no other has been named by then
NO_RISE_MMHG: Final = 10.0
NO_RISE_S: Final = 5.0
NO_RISE_SLACK_S: Final = 20.0  # 300 mL of slack take a 1.5 L/min pump 12 s


# --- too much pressure -------------------------------------------------------------------------------------------


def over_pressure(run: Run, m: Moment) -> Finding | None:  # noqa: ARG001
    """H-01: one plausible reading of A or B at or above the ceiling, 250 mmHg, this project's [J]; see limits.py. And
    what the limb feels, by either sensor, at or above what the guard is armed with: the guard itself sees B alone."""
    limit = m.limits.ceiling_mmhg
    highest = m.sight.highest_mmhg
    if m.use is not None and m.limb_mmhg >= armed_ceiling_mmhg(m.use.lop_mmhg):
        limit = min(limit, armed_ceiling_mmhg(m.use.lop_mmhg))
    elif highest < limit and not m.seen.pressure_mmhg >= limit:  # an unknown pressure is stale_sample's
        return None
    highest = max(highest, m.seen.pressure_mmhg)
    a_mmhg, b_mmhg = m.seen.a_mmhg, m.seen.b_mmhg
    sensor = "B, in the cuff," if b_mmhg > a_mmhg or a_mmhg != a_mmhg else "A, at the manifold,"
    text = f"cuff {m.cuff + 1}: sensor {sensor} reached {highest:.0f} mmHg, the ceiling is {limit:.0f} mmHg"
    return Finding("over_pressure", m.cuff, highest, limit, "mmHg", text, m.now_s)


def above_lop(run: Run, m: Moment) -> Finding | None:
    """H-01: full occlusion. Above 100 % of LOP for 1 s, or 3 s added up in a set or in 60 s of a hold [J]."""
    watch = m.use
    if watch is None:
        return None
    if m.phase is HOLDING:
        run.lop_hold_s += m.dt_s
        if run.lop_hold_s >= ABOVE_LOP_HOLD_S:
            run.lop_hold_s = run.lop_sum_s = 0.0
    if m.limb_mmhg <= watch.lop_mmhg:
        run.lop_s = 0.0
        return None
    run.lop_s += m.dt_s
    run.lop_sum_s += m.dt_s
    if run.lop_s < ABOVE_LOP_S and run.lop_sum_s < ABOVE_LOP_SUM_S:
        return None
    text = (
        f"cuff {m.cuff + 1} at {m.limb_mmhg:.0f} mmHg, above the limb's occlusion pressure of {watch.lop_mmhg:.0f} mmHg"
        f" for {run.lop_s:.1f} s, {run.lop_sum_s:.1f} s in all"
    )
    return Finding("above_lop", m.cuff, m.limb_mmhg, watch.lop_mmhg, "mmHg", text, m.now_s)


def above_target(run: Run, m: Moment) -> Finding | None:
    """H-01: above target by more than 20 mmHg and 25 % for 2 s, or by more than 10 mmHg and 15 % on the mean of a
    repetition (of 4 s without one) [J]."""
    watch = m.use
    if watch is None:
        return None
    target = watch.target_mmhg
    over = m.limb_mmhg - target
    if over <= ABOVE_TARGET_MMHG or over <= ABOVE_TARGET_SHARE * target:
        run.above_s = 0.0
    else:
        run.above_s += m.dt_s
    mean = _mean_mmhg(run, m)
    if run.above_s >= ABOVE_TARGET_S:
        high = target + max(ABOVE_TARGET_MMHG, ABOVE_TARGET_SHARE * target)
        text = f"cuff {m.cuff + 1} at {m.limb_mmhg:.0f} mmHg, {run.above_s:.1f} s above {high:.0f} mmHg"
        return Finding("above_target", m.cuff, m.limb_mmhg, high, "mmHg", text, m.now_s)
    if mean is None:
        return None
    high = target + max(MEAN_ABOVE_MMHG, MEAN_ABOVE_SHARE * target)
    if mean <= high:
        return None
    text = f"cuff {m.cuff + 1} at {mean:.0f} mmHg on average, must stay below {high:.0f} mmHg"
    return Finding("above_target", m.cuff, mean, high, "mmHg", text, m.now_s)


def _mean_mmhg(run: Run, m: Moment) -> float | None:
    """The mean of the repetition that has just ended, or of the last 4 s without one; None in between, and of one that
    began less than 4 s after a `lower`, which the slowest vent needs."""
    mean = None
    target = m.use.target_mmhg if m.use is not None else nan
    repetition = m.watch.repetition
    if target != run.mean_target_mmhg:
        if run.mean_target_mmhg > target:
            run.lowered_s, run.mean_judged = 0.0, False
        run.mean_target_mmhg = target
    if repetition != run.mean_repetition:
        if run.mean_repetition >= 0:
            mean = target + run.mean_sum_mmhg_s / run.mean_s if run.mean_s > 0.0 else None
    elif repetition < 0 and run.mean_s >= MEAN_S:
        mean = target + run.mean_sum_mmhg_s / run.mean_s
    if repetition != run.mean_repetition or mean is not None:
        if not run.mean_judged:
            mean = None
        run.mean_judged = not run.lowered_s < LOWERED_S
        run.mean_sum_mmhg_s = run.mean_s = 0.0
        run.mean_repetition = repetition
    run.mean_sum_mmhg_s += (m.limb_mmhg - target) * m.dt_s
    run.mean_s += m.dt_s
    run.lowered_s += m.dt_s
    return mean


# --- not the pressure prescribed ---------------------------------------------------------------------------------


def under_target(run: Run, m: Moment) -> Finding | None:
    """H-07: below half of the target for 10 s [J]: there is no treatment, and something has come off."""
    watch = m.use
    if watch is None:
        return None
    low = UNDER_TARGET_SHARE * watch.target_mmhg
    if m.limb_mmhg >= low:
        run.under_s = 0.0
        return None
    run.under_s += m.dt_s
    if run.under_s < UNDER_TARGET_S:
        return None
    text = (
        f"cuff {m.cuff + 1} at {m.limb_mmhg:.0f} mmHg, {run.under_s:.0f} s below half of its target: check tube, cuff"
    )
    return Finding("under_target", m.cuff, m.limb_mmhg, low, "mmHg", text, m.now_s)


def off_target(run: Run, m: Moment) -> Finding | None:
    """H-07: at rest under pressure, outside the band for 1.5 s. 10 %, at least 5 and at most 15 mmHg: surgical
    tourniquets alarm at 15 mmHg after 1-1.5 s (Delfi, Zimmer)."""
    watch = m.use
    if watch is None:
        return None
    if m.now_s - m.watch.last_cue_at_s < OFF_TARGET_CUE_S:
        run.off_target_s = 0.0
        return None
    target = watch.target_mmhg
    band = min(OFF_TARGET_MOST_MMHG, max(OFF_TARGET_LEAST_MMHG, OFF_TARGET_SHARE * target))
    if abs(m.limb_mmhg - target) <= band:
        run.off_target_s = 0.0
        return None
    run.off_target_s += m.dt_s
    if run.off_target_s < OFF_TARGET_S:
        return None
    text = f"cuff {m.cuff + 1} at {m.limb_mmhg:.0f} mmHg, must be within {band:.0f} mmHg of {target:.0f} mmHg"
    return Finding("off_target", m.cuff, m.limb_mmhg, band, "mmHg", text, m.now_s)


def no_rise(run: Run, m: Moment) -> Finding | None:
    """H-07: the pump blows and the cuff does not fill: 3 mmHg more in 5 s, in 20 s while slack is filled (below
    10 mmHg). Judged on B, which the hose does not lift. Within 3 mmHg of the target nothing more is asked."""
    watch = m.use
    if watch is None or not m.pumping:
        run.rise_from_mmhg, run.unrisen_s = inf, 0.0
        return None
    b_mmhg = m.seen.b_mmhg
    here = b_mmhg if b_mmhg == b_mmhg else m.seen.a_mmhg
    if run.rise_from_mmhg == inf or here >= run.rise_from_mmhg + RISE_MMHG or here >= watch.target_mmhg - RISE_MMHG:
        run.rise_from_mmhg, run.unrisen_s = here, 0.0
        return None
    run.unrisen_s += m.dt_s
    limit_s = NO_RISE_SLACK_S if here < NO_RISE_MMHG else NO_RISE_S
    if run.unrisen_s < limit_s:
        return None
    text = f"cuff {m.cuff + 1} stays at {here:.0f} mmHg after {run.unrisen_s:.0f} s of pumping: check tube, cuff, pump"
    return Finding("no_rise", m.cuff, run.unrisen_s, limit_s, "s", text, m.now_s)


def inflate_timeout(run: Run, m: Moment) -> Finding | None:
    """H-07: the target is not reached within 30 s (Zimmer precedent). Waiting for the guard to arm does not count. A
    cuff that is at its target waits for the other one: it is the other that is named."""
    if m.pumping or not isnan(m.watch.inflate_from_s):
        run.inflating_s += m.dt_s
    target = nan if m.use is None else m.use.target_mmhg
    near = abs(m.limb_mmhg - target) <= max(RISE_MMHG, NEAR_SHARE * target)
    if run.inflating_s < INFLATE_TIMEOUT_S + (NEAR_S if near else 0.0):
        return None
    text = f"cuff {m.cuff + 1} not at its target after {run.inflating_s:.0f} s: check cuff, tube, pump"
    return Finding("inflate_timeout", m.cuff, run.inflating_s, INFLATE_TIMEOUT_S, "s", text, m.now_s)


def leak(run: Run, m: Moment) -> Finding | None:
    """H-07: topping up without pause for 7 s while holding (Delfi, Zimmer: 7-9 s)."""
    if run.topping_s < LEAK_TOPPING_S:
        return None
    text = f"cuff {m.cuff + 1} has been topped up for {run.topping_s:.0f} s without pause: find the leak"
    return Finding("leak", m.cuff, run.topping_s, LEAK_TOPPING_S, "s", text, m.now_s)


def pump_too_long(run: Run, m: Moment) -> Finding | None:
    """H-08: a pump that overheats: 40 s without a pause of 0.5 s [J], as commanded or as the guard's pins say."""
    if run.pump_on_s < PUMP_MAX_S:
        return None
    text = f"pump {m.cuff + 1} on for {run.pump_on_s:.0f} s without a pause, the limit is {PUMP_MAX_S:.0f} s"
    return Finding("pump_too_long", m.cuff, run.pump_on_s, PUMP_MAX_S, "s", text, m.now_s)


# --- pressure for too long ---------------------------------------------------------------------------------------


def too_long(run: Run, m: Moment) -> Finding | None:  # noqa: ARG001
    """H-02: restricted time of the limb: 15 min an arm, 20 a leg (VALD 665, SmartCuffs); 8 min an exercise, up to 10
    where the protocol gives its source (Forge, Patterson)."""
    watch = m.use
    if watch is None:
        return None
    limb_s, exercise_s = watch.limb_cap_s, watch.exercise_cap_s
    if watch.restricted_s < limb_s and watch.exercise_restricted_s < exercise_s:
        return None
    limb = not watch.restricted_s < limb_s
    value, limit = (watch.restricted_s, limb_s) if limb else (watch.exercise_restricted_s, exercise_s)
    text = f"cuff {m.cuff + 1}: {value / 60:.1f} min without free flow, the most is {limit / 60:g} min"
    return Finding("too_long", m.cuff, value, limit, "s", f"{text} for {'a limb' if limb else 'an exercise'}", m.now_s)
