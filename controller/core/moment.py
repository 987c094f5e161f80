"""What the rules of a cuff work with: what there is to see now (`Moment`), and what has added up (`Run`).

A rule keeps no old time: seconds are added up tick by tick. Imports the core only; mmHg and seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Final

from .limits import PUMP_PAUSE_S, Limits
from .model import CuffWatch, Finding, Phase, Seen, Watch, forker
from .seeing import CuffSight

HOSE_MMHG: Final = 60.0  # [J] so much of A the hose explains while the pump blows: 15 mmHg per L/min, 4 L/min
FALL_SHARE: Final = 0.9  # [J] 10 % lower; the slowest vent (time constant 1.8 s) falls 43 % in a second
PUMP_REST_AT_S: Final = 39.0  # [J] the pause is taken this early, before the trip
PUMP_REST_S: Final = 0.6  # [J] PUMP_PAUSE_S as the guard counts it, whatever its passes


@dataclass(slots=True)
class Run:
    """What has added up on one cuff: seconds for which each thing has been true. Forked once a tick."""

    pump_on_s: float = 0.0  # of pumping, since the last pause of 0.5 s
    pump_off_s: float = PUMP_PAUSE_S
    rest_s: float = 0.0  # of the pump's forced pause, still to come
    topping_s: float = 0.0  # of pumping without any pause
    still_s: float = 0.0  # pump and valves off
    fall_from_mmhg: float = nan  # where the pressure was when it last had fallen (or risen) by 10 % with a valve open
    unfallen_s: float = 0.0  # since then
    rise_from_mmhg: float = inf  # where the pressure was when it last had risen by 3 mmHg while pumping
    unrisen_s: float = 0.0  # since then
    inflating_s: float = 0.0
    lop_s: float = 0.0
    lop_sum_s: float = 0.0
    lop_hold_s: float = 0.0
    above_s: float = 0.0
    mean_sum_mmhg_s: float = 0.0
    mean_s: float = 0.0
    mean_repetition: int = -1
    mean_target_mmhg: float = -inf
    mean_judged: bool = True  # it began long enough after a `lower`
    lowered_s: float = inf  # since the last one
    under_s: float = 0.0
    off_target_s: float = 0.0
    apart_still_s: float = 0.0
    apart_flow_s: float = 0.0
    blocked_s: float = 0.0
    blocked_from_mmhg: float = 0.0  # B when that began
    unreleased_s: float = 0.0
    settled: bool = False  # measured empty once since power-up or reset
    boot_high: bool = False  # found at or above 50 mmHg before that


fork: Final = forker(Run)


@dataclass(slots=True)
class Moment:
    """One cuff in this tick, as every rule of it looks at it."""

    cuff: int
    phase: Phase
    now_s: float
    dt_s: float
    limits: Limits
    sight: CuffSight
    seen: Seen
    use: CuffWatch | None  # None: not in use
    watch: Watch
    pumping: bool  # as commanded in the last tick
    venting: bool
    limb_mmhg: float  # the pressure on the limb, as far as the two sensors allow


def on_limb_mmhg(seen: Seen, pumping: bool) -> float:
    """The higher of A and B; while the pump blows, B, as long as the hose explains how much higher A is. NaN: unknown.

    A sits at the manifold and reads the hose's loss too. Ceilings are judged on the higher of both, whatever flows.
    """
    if pumping and seen.a_mmhg - seen.b_mmhg <= HOSE_MMHG:
        return seen.b_mmhg
    return seen.pressure_mmhg


def run_clocks(run: Run, m: Moment) -> None:
    """What several rules share: how long the pump, the valves and the pressure have been doing the same."""
    dt_s = m.dt_s
    if run.rest_s > 0.0:
        run.rest_s -= dt_s
    elif run.pump_on_s >= PUMP_REST_AT_S:
        run.rest_s = PUMP_REST_S
    if m.pumping or m.sight.pump_on:
        run.pump_on_s += dt_s
        run.pump_off_s = 0.0
    else:
        run.pump_off_s += dt_s
        if run.pump_off_s >= PUMP_PAUSE_S:
            run.pump_on_s = 0.0
    if m.pumping:
        run.topping_s += dt_s
        run.still_s = 0.0
    else:
        run.topping_s = 0.0
        run.still_s += dt_s
    if not m.venting:
        run.fall_from_mmhg, run.unfallen_s = nan, 0.0
        return
    run.still_s = 0.0
    here, there = m.seen.pressure_mmhg, run.fall_from_mmhg
    if here == here and not FALL_SHARE * there < here < there / FALL_SHARE:
        run.fall_from_mmhg, run.unfallen_s = here, 0.0
    else:
        run.unfallen_s += dt_s


def new_phase(run: Run, was: Phase) -> None:
    """A phase begins: what is added up within one starts anew."""
    if was is not Phase.INFLATING:  # an inflation belongs to the set or hold after it
        run.lop_sum_s = 0.0
    run.lop_hold_s = run.inflating_s = run.above_s = run.under_s = run.off_target_s = 0.0
    run.topping_s = run.mean_sum_mmhg_s = run.mean_s = 0.0
    run.mean_repetition = -1
    run.rise_from_mmhg, run.unrisen_s = inf, 0.0
    run.fall_from_mmhg, run.unfallen_s = nan, 0.0  # what a contraction held up in the set says nothing of the release


Rule = Callable[[Run, Moment], Finding | None]
