"""The stages of a self-test: each looks, judges its rows, and says what to ask of the cuff under test.

`step` is one tick. Formulas are in `selftest.py`. Imports the core only; mmHg, seconds added up tick by tick.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, isfinite, log, nan
from typing import Final

from .limits import EMPTY_MMHG, TARGET_MAX_MMHG
from .model import DEMAND_VENT, CuffDemand, Drive, GuardState
from .selftest import LEAK_MMHG, NEEDS_ARMED, UNDER_WAY, Look, SelfTest, Stage
from .selftest_rows import (
    ARM_S,
    KEEP_LOSS_MMHG,
    KEEP_RISE_MMHG,
    OTHERS_MMHG,
    OWN_LEAST_MMHG,
    RISE_MOST_S,
    SWITCH_RISE_MMHG,
)

LOOK_S: Final = 0.6  # [J] both sensors have said their word by then
REFUSAL_FROM_S: Final = 0.1  # [J] the count before the lease that must be refused
REFUSAL_BY_S: Final = 0.6  # [J] and after it: several STATUS frames
UNARMED_S: Final = 0.1  # [J] two STATUS frames and a bit
ALONE_MMHG: Final = 30.0
OWN_BEHIND_MMHG: Final = 12.0  # [J] A is at the pump: while that blows it is never so far below B
A_SLOW_MMHG: Final = 40.0  # [J] from here on the pump is throttled: a closed manifold fills in no time
A_MOST_MMHG: Final = 90.0  # [J] the 30 sought and the 60 that a hose may explain: B should have risen by now
FILL_S: Final = 35.0  # [J] 300 mL of slack take a 1.5 L/min pump 12 s; a pump may run for 39 s
KEEP_FROM_S: Final = 0.4  # [J] air has come to rest
KEEP_S: Final = 1.0
CONFIRM_S: Final = 60.0  # [J] for a person to say which cuff filled
RISE_FROM_MMHG: Final = 20.0
RISE_TO_MMHG: Final = 60.0
REPUMP_S: Final = 15.0  # [J] from 20 mmHg to where a stage wants it
SETTLE_S: Final = 1.0  # [J]
SWITCH_S: Final = 1.0
HELD_RISE_MMHG: Final = (
    12.0  # [J] a closed cuff on a limb that keeps still, its pump coasting; a second of one that runs
)
FALL_TO_MMHG: Final = 20.0
FALL_SHARE: Final = 0.9  # [J] 10 % lower within a second, or it does not fall
FALL_S: Final = 5.0
VENT_FROM_MMHG: Final = TARGET_MAX_MMHG
LEAK_SETTLE_S: Final = 5.0
LEAK_S: Final = 60.0
LEAK_SURE_MMHG: Final = 15.0  # [J] so much lost needs no minute
CREEP_SHARE: Final = 0.4  # [J] p1 as a share of p2
CREEP_S: Final = 20.0  # [J]
ATMOSPHERE_MMHG: Final = 760.0
GIVE_1_MMHG: Final = 0.0012  # [D] a cuff's capacity grows by this share a mmHg; 0.0007 to 0.0018 on simulated plants
SLOW_DUTY: Final = 0.35  # [J]
NEAR_DUTY: Final = 0.7  # [J] the last third of a rise whose end matters
_CLOSED: Final = CuffDemand(0.0, False, False)
_FULL: Final = CuffDemand(1.0, False, False)
_S: Final = Stage
_ARMED, _DISARMED = GuardState.ARMED, GuardState.VENTED


def step(t: SelfTest, look: Look) -> tuple[CuffDemand, ...]:
    """One tick: what to ask of each cuff. When `t.over`, all of it is vented."""
    t.prove = False
    t.age_s += look.dt_s
    cuff = t.cuff
    demand = DEMAND_VENT
    if t.stage in NEEDS_ARMED and not look.seen[cuff].certain:
        t.judge("sensors", nan, "A or B gave no reading under pressure")
    elif t.stage in NEEDS_ARMED and not _stays_armed(t, look):
        t.judge(UNDER_WAY[t.stage], nan, "the guard is no longer armed")
    elif t.stage in _HELD and _rises(t, look):
        t.judge(
            UNDER_WAY[t.stage], nan, "pressure rises with the pump off: it runs on, or the limb does not keep still"
        )
    else:
        demand = _LIVE[t.stage](t, look)
    if t.over:
        demand = DEMAND_VENT
    return tuple([demand if one == cuff else DEMAND_VENT for one in range(len(t.subjects))])


_HELD: Final = frozenset({_S.SETTLE, _S.PAUSE, _S.STILL, _S.CREEP, _S.LEAK})


def _rises(t: SelfTest, look: Look) -> bool:
    """Whether a closed cuff that nobody pumps rises, by either sensor: at once, not at the end of a minute."""
    here = look.seen[t.cuff].pressure_mmhg
    if t.age_s >= KEEP_FROM_S:
        t.low_mmhg = min(t.low_mmhg, here)
    return not here <= t.low_mmhg + HELD_RISE_MMHG


def _stays_armed(t: SelfTest, look: Look) -> bool:
    t.unarmed_s = 0.0 if look.guard is _ARMED else t.unarmed_s + look.dt_s
    return t.unarmed_s <= UNARMED_S


# --- the stages: each says what to ask of the cuff under test -----------------------------------------------------


def _look(t: SelfTest, look: Look) -> CuffDemand:
    """Vented: the E-stop loop, every sensor there, agreeing, and near zero. All are judged before the test ends."""
    if t.age_s < LOOK_S:
        return DEMAND_VENT
    t.judge("estop", float(look.estop_ok))
    for cuff, one in enumerate(look.seen):
        known = (one.a_mmhg == one.a_mmhg) + (one.b_mmhg == one.b_mmhg)
        if t.judge("sensors", float(known), cuff=cuff):
            t.judge("agree", abs(one.a_mmhg - one.b_mmhg), cuff=cuff)
            t.judge("zero", max(one.a_mmhg, one.b_mmhg, key=abs), cuff=cuff)
    if not t.over:
        t.next()
    return DEMAND_VENT


def _refuse(t: SelfTest, look: Look) -> CuffDemand:
    """One lease that is too long: counted as refused, once, and nothing moved."""
    if t.refused < 0:
        if t.age_s >= REFUSAL_FROM_S:
            t.refused, t.prove = look.refused, True
    elif not look.vented:
        t.judge("refusal", 0.0, "the guard has moved an output while it was to be vented")
    elif t.age_s >= REFUSAL_BY_S and t.judge("refusal", float((look.refused - t.refused) & 0xFFFF)):
        t.next()
    return DEMAND_VENT


def _arm(t: SelfTest, look: Look) -> CuffDemand:
    if look.guard is _ARMED:
        t.judge("arms", t.age_s)
        t.next()
    elif t.age_s > ARM_S:
        t.judge("arms", t.age_s)
    return DEMAND_VENT


def _disarm(t: SelfTest, look: Look) -> CuffDemand:
    if look.guard is _DISARMED:
        t.next()
    elif t.age_s > ARM_S:
        t.judge("arms", t.age_s, "the guard does not disarm")
    return DEMAND_VENT


def _fill(t: SelfTest, look: Look) -> CuffDemand:
    """To 30 mmHg by B, the pump throttled where A is far ahead, and every other cuff looked at in every tick."""
    if not t.base_mmhg:
        t.base_mmhg = tuple([(one.a_mmhg, one.b_mmhg) for one in look.seen])
    own = look.seen[t.cuff]
    moved = _others(t, look)
    a_mmhg, b_mmhg = own.a_mmhg - t.base_mmhg[t.cuff][0], own.b_mmhg - t.base_mmhg[t.cuff][1]
    lower = min(a_mmhg, b_mmhg)
    if not abs(moved) <= OTHERS_MMHG:
        t.judge("alone", moved)
    elif b_mmhg >= OWN_LEAST_MMHG and a_mmhg < b_mmhg - OWN_BEHIND_MMHG:
        t.judge("fills", lower, "B rises and A does not")
    elif b_mmhg >= ALONE_MMHG:
        t.judge("fills", lower)
        if len(t.subjects) > 1:
            t.judge("alone", moved)
        t.next()
    elif a_mmhg >= A_MOST_MMHG:
        t.judge("fills", lower, "A rises and B does not")
    elif t.age_s > FILL_S:
        t.judge("fills", lower, f"not at {ALONE_MMHG:g} mmHg after {FILL_S:g} s")
    else:
        return _FULL if a_mmhg < A_SLOW_MMHG else CuffDemand(SLOW_DUTY, False, False)
    return _CLOSED


def _others(t: SelfTest, look: Look) -> float:
    """By how much the readings of any other cuff have moved, at the most; 0 where there is none."""
    moves = [
        now - before
        for cuff, one in enumerate(look.seen)
        if cuff != t.cuff
        for now, before in zip((one.a_mmhg, one.b_mmhg), t.base_mmhg[cuff], strict=True)
    ]
    return max(moves, key=abs, default=0.0)


def _keep(t: SelfTest, look: Look) -> CuffDemand:
    """Both valves closed, the pump off: a valve that stays open shows, and a pump that runs on."""
    b_mmhg = look.seen[t.cuff].b_mmhg
    if t.age_s < KEEP_FROM_S or not isfinite(t.from_mmhg):
        t.from_mmhg = b_mmhg
    lost = t.from_mmhg - b_mmhg
    if t.age_s >= KEEP_FROM_S + KEEP_S or not -KEEP_RISE_MMHG <= lost <= KEEP_LOSS_MMHG:
        t.judge("closes", lost)
        t.next()
        return DEMAND_VENT
    return _CLOSED


def _empty(t: SelfTest, look: Look) -> CuffDemand:
    """Both valves open until every cuff is measured empty; `not_released` trips where one does not get there."""
    if all(one.empty for one in look.seen):
        t.next()
    return DEMAND_VENT


def _confirm(t: SelfTest, look: Look) -> CuffDemand:  # noqa: ARG001
    """Vented and disarmed until a person has said which cuff filled (`answer`)."""
    if t.age_s > CONFIRM_S:
        why = f"nobody said which cuff filled within {CONFIRM_S:g} s"
        t.judge("confirmed", nan, why, advice="begin anew, look at the cuffs and answer")
    return DEMAND_VENT


def _rise(t: SelfTest, look: Look) -> CuffDemand:
    """Full duty through 20 to 60 mmHg, by B, which the hose does not lift."""
    b_mmhg = look.seen[t.cuff].b_mmhg
    if isfinite(t.rising_s):
        t.rising_s += look.dt_s
    elif b_mmhg >= RISE_FROM_MMHG:
        t.rising_s = 0.0
    if b_mmhg >= RISE_TO_MMHG:
        if t.judge("rise", t.rising_s):
            t.next()
        return _CLOSED
    if t.rising_s > RISE_MOST_S or t.age_s > FILL_S:
        t.judge("rise", t.rising_s, f"at {b_mmhg:.0f} mmHg after {t.age_s:.0f} s of pumping")
    return _FULL


def _settle(t: SelfTest, look: Look) -> CuffDemand:  # noqa: ARG001
    if t.age_s >= SETTLE_S:
        t.next()
    return _CLOSED


_PWM_ALONE: Final = CuffDemand(1.0, False, False, Drive.PWM_ALONE)
_ENABLE_ALONE: Final = CuffDemand(1.0, False, False, Drive.ENABLE_ALONE)


def _pwm(t: SelfTest, look: Look) -> CuffDemand:
    return _switch(t, look, "pwm_alone", _PWM_ALONE)


def _enable(t: SelfTest, look: Look) -> CuffDemand:
    return _switch(t, look, "enable_alone", _ENABLE_ALONE)


def _switch(t: SelfTest, look: Look, row: str, demand: CuffDemand) -> CuffDemand:
    """One switch of the pump alone for a second, the cuff closed: the pressure must not rise, by either sensor."""
    here = look.seen[t.cuff].pressure_mmhg
    if not isfinite(t.from_mmhg):
        t.from_mmhg = here
    t.peak_mmhg = max(t.peak_mmhg, here - t.from_mmhg)
    if t.peak_mmhg > SWITCH_RISE_MMHG:
        t.judge(row, t.peak_mmhg)
    elif t.age_s >= SWITCH_S:
        t.judge(row, t.peak_mmhg)
        t.next()
    else:
        return demand
    return _CLOSED


def _dump(t: SelfTest, look: Look) -> CuffDemand:
    return _fall(t, look, "dump", CuffDemand(0.0, False, True))


def _vent(t: SelfTest, look: Look) -> CuffDemand:
    return _fall(t, look, "vent", CuffDemand(0.0, True, False))


def _fall(t: SelfTest, look: Look, row: str, demand: CuffDemand) -> CuffDemand:
    """One valve alone, down to 20 mmHg; the formula is the module's."""
    own = look.seen[t.cuff]
    b_mmhg = own.b_mmhg
    if not isfinite(t.from_mmhg):
        t.from_mmhg = b_mmhg
    if b_mmhg <= FALL_TO_MMHG:
        if t.judge(row, _tau_s(t) * log(VENT_FROM_MMHG / EMPTY_MMHG)):
            t.next()
        return _CLOSED
    if t.age_s > FALL_S or (t.age_s > 1.0 and b_mmhg > FALL_SHARE * t.from_mmhg):
        t.judge(row, nan, f"from {t.from_mmhg:.0f} to {b_mmhg:.0f} mmHg in {t.age_s:.1f} s with this valve open")
    elif b_mmhg <= FALL_SHARE * t.from_mmhg and own.b_at_s != t.heard_at_s:
        t.heard_at_s = own.b_at_s
        t.add(t.age_s, log(b_mmhg))
    return demand


def _tau_s(t: SelfTest) -> float:
    """The time constant of the fall. One that is over in a few readings is taken by its two ends."""
    slope = t.slope()
    if t.fit[0] >= 5.0 and slope < 0.0:
        return -1.0 / slope
    return t.age_s / log(max(t.from_mmhg, exp(1.0) * FALL_TO_MMHG) / FALL_TO_MMHG)


def _again(t: SelfTest, look: Look) -> CuffDemand:
    return _pump_to(t, look, RISE_TO_MMHG)


def _creep_to(t: SelfTest, look: Look) -> CuffDemand:
    return _pump_to(t, look, CREEP_SHARE * t.subjects[t.cuff].leak_mmhg)


def _leak_to(t: SelfTest, look: Look) -> CuffDemand:
    return _pump_to(t, look, t.subjects[t.cuff].leak_mmhg)


def _pump_to(t: SelfTest, look: Look, to_mmhg: float) -> CuffDemand:
    b_mmhg = look.seen[t.cuff].b_mmhg
    if b_mmhg >= to_mmhg:
        t.next()
        return _CLOSED
    if t.age_s > REPUMP_S:
        t.judge(UNDER_WAY[t.stage], nan, f"at {b_mmhg:.0f} mmHg after {REPUMP_S:g} s, sought {to_mmhg:.0f} mmHg")
    return _FULL if b_mmhg < 0.7 * to_mmhg else CuffDemand(NEAR_DUTY, False, False)


def _creep(t: SelfTest, look: Look) -> CuffDemand:
    """The fall at the lower pressure, after it has settled."""
    if _measured(t, look) >= CREEP_S:
        t.creep = (max(0.0, -60.0 * t.slope()), t.fit[2] / t.fit[0])
        t.next()
    return _CLOSED


def _leak(t: SelfTest, look: Look) -> CuffDemand:
    """The fall at the higher pressure: what of it is a leak, as the module says."""
    measured_s = _measured(t, look)
    lost = t.from_mmhg - look.seen[t.cuff].a_mmhg
    enough = measured_s >= LEAK_S or (measured_s >= 2.0 and lost > LEAK_SURE_MMHG)
    if enough and t.judge("leak", _leak_mmhg_min(t)):
        t.next()
        return DEMAND_VENT
    return _CLOSED


def _measured(t: SelfTest, look: Look) -> float:
    """Add this tick to the fit of a closed cuff's fall, once it has settled; for how many seconds it has been so."""
    since_s = t.age_s - LEAK_SETTLE_S
    a_mmhg = look.seen[t.cuff].a_mmhg
    if since_s >= 0.0:
        if not isfinite(t.from_mmhg):
            t.from_mmhg = a_mmhg
        t.add(since_s, a_mmhg)
    return since_s


def _leak_mmhg_min(t: SelfTest) -> float:
    """What of the two falls is a leak, as the module says."""
    fall, at = -60.0 * t.slope(), t.fit[2] / t.fit[0]
    creep, low = t.creep
    dearer = (at + ATMOSPHERE_MMHG) / (low + ATMOSPHERE_MMHG)
    whole = fall * LEAK_MMHG / at
    if not at > dearer * low:
        return whole
    give = dearer * (1.0 + GIVE_1_MMHG * low) / (1.0 + GIVE_1_MMHG * at)
    return min(whole, (fall - give * creep) * LEAK_MMHG / (at - dearer * low))


_LIVE: Final[dict[Stage, Callable[[SelfTest, Look], CuffDemand]]] = {
    _S.LOOK: _look,
    _S.REFUSE: _refuse,
    _S.ARM: _arm,
    _S.FILL: _fill,
    _S.KEEP: _keep,
    _S.EMPTY: _empty,
    _S.DISARM: _disarm,
    _S.CONFIRM: _confirm,
    _S.RISE: _rise,
    _S.SETTLE: _settle,
    _S.PWM: _pwm,
    _S.PAUSE: _settle,
    _S.ENABLE: _enable,
    _S.DUMP: _dump,
    _S.AGAIN: _again,
    _S.STILL: _settle,
    _S.VENT: _vent,
    _S.CREEP_TO: _creep_to,
    _S.CREEP: _creep,
    _S.LEAK_TO: _leak_to,
    _S.LEAK: _leak,
}
