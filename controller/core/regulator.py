"""From a pressure wanted to a pump and a valve: the law of one cuff, explained in `../REGULATOR.md`.

Pure: the state handed in is forked once and never changed. Pressures in mmHg, times in seconds, duty 0..1. What it
returns is a wish; `safety.supervise` has the last word. It never pumps and vents at once. It knows no plant: how fast
the pump raises this cuff it learns in the inflation, what a repetition does to it from the repetitions before. A
comparison is written so that NaN neither pumps nor vents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Final

from .limits import SENSORS_APART_MMHG
from .model import DEMAND_VENT, Ask, AskKind, CuffDemand, Seen, forker, value

DEMAND_CLOSED: Final = CuffDemand(0.0, False, False)
DEMAND_BLEED: Final = CuffDemand(0.0, True, False)
DEMAND_FULL: Final = CuffDemand(1.0, False, False)

_VENT, _INFLATE, _WORK = AskKind.VENT, AskKind.INFLATE, AskKind.WORK
REACHED_MMHG: Final = 2.0
FRESH_S: Final = 0.1  # an older reading of B is not used, a longer tick not integrated
GAP_S: Final = 0.2  # without a reading for this long nothing is done, and no slope is taken across it
SLOPE_S: Final = 0.03  # time constant of the slope
TRAIL: Final = 10  # ticks for which moved air is remembered, to meet a reading that is as old
TOPPED_UP_MMHG: Final = 0.3
EASE_SHARE: Final = 0.1  # the least share of the pump's rate in a top-up ...
EASE_SHARE_1_S: Final = 0.03  # ... and its growth, for a pump whose dead band is wider than the bench's settings say
RATE_LEAST_MMHG_S: Final = 2.0
RATE_GAIN_1_S: Final = 4.0  # how quickly the pump's rate is learned; slower than arterial pulses come
SPEED_WHOLE: Final = 0.9  # from here on the pump shows its rate
BIN_S: Final = 0.05  # what a repetition taught is kept in pieces of this length
BINS_AT_MOST: Final = 120


@value
class RegulatorSettings:
    """What a bench may set. Fractions are of the target; the defaults are tuned on the simulated leg [J]."""

    regulated: bool = True  # False: pump to the target, close, and leave it (what unregulated devices do)
    # the bench, as its self-test measures it
    pump_dead_band: float = 0.15  # duty below which the pump stands still
    pump_spin_s: float = 0.06  # time constant of its speed
    pump_rate_mmhg_s: float = 25.0  # of a cuff near its target at full duty; every inflation shows it anew
    vent_rate_1_s: float = 1.25  # share of the pressure that one valve takes in a second; a factor of 3 off will do
    act_s: float = 0.025  # from a wish to air: link and valve
    b_delay_s: float = 0.012  # age of B when its status is taken from the link
    settle_s: float = 0.06  # once pump and vent have been off for this long, the manifold shows the cuff
    # at rest
    hold_low: float = 0.012  # topping up begins this far below the target
    hold_high: float = 0.03  # bleeding begins this far above it ...
    hold_shut: float = 0.01  # ... and ends here
    fill_taper_s: float = 0.1  # an inflation's shortfall is made up over about this time
    hold_taper_s: float = 0.3  # and a hold's: slowly, so that a leak is pumped against without a pause, and found
    # in a repetition
    work_low: float = 0.02  # pump where it would fall lower than this below the target ...
    work_fill: float = 0.075  # ... but no higher than this above it
    work_high: float = 0.075  # bleed where it would rise higher than this above it ...
    work_shut: float = 0.06  # ... down to this
    work_never: float = 0.12  # above this, bleed whatever is expected
    work_taper_s: float = 0.08
    act_ahead_s: float = 0.15  # how far ahead pump and vent first make a difference
    near_s: float = 0.2  # how far ahead `work_fill` counts
    high_s: float = 0.5  # how far ahead a rise is looked for
    low_s: float = 1.5  # how far ahead a fall is looked for
    trust: float = 0.3  # share of the newest repetition in what is kept of them


@dataclass(slots=True)
class RegulatorState:
    """What the regulator of one cuff remembers. Forked once a tick, then changed in place by that tick only."""

    at_s: float = nan  # of the last tick under pressure; NaN while vented
    step_s: float = 0.0  # since the tick before
    still_s: float = 0.0  # how long pump and vent have both been off
    shut_s: float = 0.0  # how long the vent has been shut
    # the cuff as the limb alone would have it: the pressure measured, less what we moved since the inflation began
    limb_mmhg: float = nan
    limb_at_s: float = nan  # when that was measured
    limb_from_a: bool = False
    slope_mmhg_s: float = 0.0
    moved_mmhg: float = 0.0  # by pump and vent, as their models say
    trail: tuple[float, ...] = (0.0,) * TRAIL  # the same, tick by tick, newest first
    # what is being done
    duty: float = 0.0
    speed: float = 0.0  # the pump's, 0..1
    bleeding: bool = False
    filling: bool = False
    easing_s: float = 0.0  # how long this top-up has gone on below full duty
    target_mmhg: float = nan
    reached: bool = False
    # what was learned
    pump_rate_mmhg_s: float = nan
    period_s: float = 0.0  # of the tempo that the bins belong to
    bins: list[float] = field(default_factory=list)  # mmHg by which the limb moves the cuff in each
    taught: bool = False  # by at least one whole repetition
    # the repetition under way
    bin: int = -1
    bin_limb_mmhg: float = nan  # at its beginning
    near_mmhg: float = 0.0  # where the limb takes the pressure soon, from here
    lowest_mmhg: float = 0.0  # that lies ahead, from here, with the pump at full duty from now on
    highest_mmhg: float = 0.0  # that lies ahead, from here, with the vent open from now on


_fork: Final = forker(RegulatorState)


def initial(settings: RegulatorSettings) -> RegulatorState:
    """A cuff of which nothing is known."""
    return RegulatorState(pump_rate_mmhg_s=settings.pump_rate_mmhg_s)


def reached(state: RegulatorState) -> bool:
    """Whether this inflation has come within 2 mmHg of its target, or as far above it as a hold is left, by the cuff's
    pressure as best known."""
    return state.reached


def regulate(
    state: RegulatorState, ask: Ask, seen: Seen, now_s: float, settings: RegulatorSettings
) -> tuple[RegulatorState, CuffDemand]:
    """One tick of one cuff. Total: with neither reading known it neither pumps nor vents (safety does)."""
    kind = ask.kind
    if kind is _VENT:
        return (_released(state, settings) if state.at_s == state.at_s else state), DEMAND_VENT
    s = _fork(state)
    if s.target_mmhg != ask.target_mmhg:
        s.target_mmhg = ask.target_mmhg
        s.reached = False
    _account(s, now_s, settings)
    pressure_mmhg = _measure(s, seen, now_s, settings)
    if kind is _INFLATE and s.speed > SPEED_WHOLE:
        _rate_pump(s)
    # Above, as far as `_hold` leaves it: after a `lower` in the middle of an inflation nothing would bring it closer.
    over_mmhg = pressure_mmhg - s.target_mmhg
    if -REACHED_MMHG <= over_mmhg <= max(REACHED_MMHG, settings.hold_high * s.target_mmhg):
        s.reached = True
    if not now_s - s.limb_at_s < GAP_S:
        return _shut(s)
    if s.still_s >= settings.settle_s and abs(seen.a_mmhg - seen.b_mmhg) >= SENSORS_APART_MMHG:
        return _shut(s)  # keep still, so that the rule can see what pulses of air would hide
    if not settings.regulated and s.reached and not (s.filling or s.bleeding):
        return _shut(s)
    if kind is _WORK and settings.regulated:
        return _work(s, ask, now_s, settings)
    s.bin = -1
    return _hold(s, now_s, settings)


def _released(s: RegulatorState, settings: RegulatorSettings) -> RegulatorState:
    """The cuff is let go: what was learned stays, everything else begins anew."""
    fresh = initial(settings)
    fresh.pump_rate_mmhg_s = s.pump_rate_mmhg_s
    fresh.period_s, fresh.bins, fresh.taught = s.period_s, s.bins, s.taught
    return fresh


def _account(s: RegulatorState, now_s: float, settings: RegulatorSettings) -> None:
    """Add up what pump and vent have moved since the last tick, by what is known of them."""
    dt_s = now_s - s.at_s
    s.at_s = now_s
    if not 0.0 < dt_s <= FRESH_S:
        return
    band = settings.pump_dead_band
    wanted = (s.duty - band) / (1.0 - band) if s.duty > band else 0.0
    s.speed += (wanted - s.speed) * dt_s / (dt_s + settings.pump_spin_s)
    moved_mmhg = s.moved_mmhg + s.speed * s.pump_rate_mmhg_s * dt_s
    if s.bleeding:
        moved_mmhg -= settings.vent_rate_1_s * max(0.0, s.limb_mmhg + s.moved_mmhg) * dt_s
        s.still_s = s.shut_s = 0.0
    else:
        s.shut_s += dt_s
        s.still_s = s.still_s + dt_s if s.duty == 0.0 else 0.0
    s.moved_mmhg = moved_mmhg
    s.trail = (moved_mmhg, *s.trail[:-1])
    s.step_s = dt_s


def _measure(s: RegulatorState, seen: Seen, now_s: float, settings: RegulatorSettings) -> float:
    """The cuff's pressure by the sensor that can know it now, and with it the limb's part and its slope.

    A sits at the manifold: it shows the cuff while no air flows. B sits in the cuff, but its news is older. Without B,
    A is taken while the pump runs (it reads a little high, which errs low), and nothing while the vent is open.
    """
    a_mmhg, b_mmhg = seen.a_mmhg, seen.b_mmhg
    b_known = now_s - seen.b_at_s < FRESH_S and b_mmhg == b_mmhg
    if a_mmhg == a_mmhg and (s.still_s if b_known else s.shut_s) >= settings.settle_s:
        pressure_mmhg, at_s, from_a = a_mmhg, seen.a_at_s, True
    elif b_known:
        pressure_mmhg, at_s, from_a = b_mmhg, seen.b_at_s - settings.b_delay_s, False
    else:
        return nan
    age_s, gap_s = now_s - at_s, at_s - s.limb_at_s
    if not 0.0 <= age_s < GAP_S:
        return nan
    if gap_s == 0.0:
        return pressure_mmhg
    back = int((age_s + settings.act_s) / s.step_s + 0.5) if s.step_s > 0.0 else 0
    limb_mmhg = pressure_mmhg - s.trail[back if back < TRAIL else TRAIL - 1]
    if 0.0 < gap_s < GAP_S and from_a is s.limb_from_a:
        s.slope_mmhg_s += ((limb_mmhg - s.limb_mmhg) / gap_s - s.slope_mmhg_s) * (gap_s / (gap_s + SLOPE_S))
    s.limb_mmhg, s.limb_at_s, s.limb_from_a = limb_mmhg, at_s, from_a
    return pressure_mmhg


def _rate_pump(s: RegulatorState) -> None:
    """In an inflation the limb is still: what slope is left is the pump's, and its rate is off by that much."""
    s.pump_rate_mmhg_s = max(RATE_LEAST_MMHG_S, s.pump_rate_mmhg_s + RATE_GAIN_1_S * s.step_s * s.slope_mmhg_s)


def _hold(s: RegulatorState, now_s: float, settings: RegulatorSettings) -> tuple[RegulatorState, CuffDemand]:
    """At rest: up to the target when it has sunk by `hold_low`, down to it when it has risen by `hold_high`."""
    target_mmhg = s.target_mmhg
    soon_mmhg = s.limb_mmhg + s.moved_mmhg + s.slope_mmhg_s * (now_s - s.limb_at_s + settings.act_s)
    if soon_mmhg > target_mmhg * (1.0 + (settings.hold_shut if s.bleeding else settings.hold_high)):
        return _bleed(s)
    s.bleeding = False
    short_mmhg = target_mmhg - soon_mmhg - s.speed * s.pump_rate_mmhg_s * settings.pump_spin_s
    if not short_mmhg > (TOPPED_UP_MMHG if s.filling else target_mmhg * settings.hold_low):
        return _shut(s)
    s.filling = True
    if s.duty < 1.0:
        s.easing_s += s.step_s
    ease = EASE_SHARE + EASE_SHARE_1_S * s.easing_s
    taper_s = settings.hold_taper_s if s.reached else settings.fill_taper_s
    return _pump(s, max(ease, short_mmhg / (s.pump_rate_mmhg_s * taper_s)), settings)


def _work(s: RegulatorState, ask: Ask, now_s: float, settings: RegulatorSettings) -> tuple[RegulatorState, CuffDemand]:
    """In a repetition: what the ones before taught says what lies ahead; pump and bleed while they still can help."""
    _learn(s, ask, settings)
    target_mmhg = s.target_mmhg
    here_mmhg = s.limb_mmhg + s.moved_mmhg
    if s.taught:
        low_mmhg, high_mmhg = here_mmhg + s.lowest_mmhg, here_mmhg + s.highest_mmhg
    else:
        low_mmhg = high_mmhg = here_mmhg + s.slope_mmhg_s * (now_s - s.limb_at_s + settings.act_s)
    fill_mmhg = target_mmhg * (1.0 + settings.work_fill)
    top_mmhg = target_mmhg * (1.0 + (settings.work_shut if s.bleeding else settings.work_high))
    if (high_mmhg > top_mmhg and here_mmhg > 2.0 * target_mmhg - fill_mmhg) or (
        here_mmhg > target_mmhg * (1.0 + settings.work_never)
    ):
        return _bleed(s)
    s.bleeding = False
    soon_mmhg = here_mmhg + s.near_mmhg + s.speed * s.pump_rate_mmhg_s * settings.pump_spin_s
    short_mmhg = min(target_mmhg * (1.0 - settings.work_low) - low_mmhg, fill_mmhg - soon_mmhg)
    if not short_mmhg > 0.0:
        return _shut(s)
    return _pump(s, short_mmhg / (s.pump_rate_mmhg_s * settings.work_taper_s), settings)


def _bleed(s: RegulatorState) -> tuple[RegulatorState, CuffDemand]:
    """Pump off, vent open."""
    _shut(s)
    s.bleeding = True
    return s, DEMAND_BLEED


def _shut(s: RegulatorState) -> tuple[RegulatorState, CuffDemand]:
    """Pump off, valves closed."""
    s.bleeding = s.filling = False
    s.easing_s = s.duty = 0.0
    return s, DEMAND_CLOSED


def _pump(s: RegulatorState, share: float, settings: RegulatorSettings) -> tuple[RegulatorState, CuffDemand]:
    """Pump at this share of the full rate (above 1: at full duty)."""
    if share >= 1.0:
        s.duty = 1.0
        return s, DEMAND_FULL
    s.duty = settings.pump_dead_band + (1.0 - settings.pump_dead_band) * share
    return s, CuffDemand(s.duty, False, False)


def _learn(s: RegulatorState, ask: Ask, settings: RegulatorSettings) -> None:
    """At the end of each piece of a repetition: keep what the limb did in it, and look at what lies ahead."""
    period_s = ask.period_s
    if not (0.0 < period_s < inf and -period_s < ask.repetition_s < inf and ask.repetition >= 0):
        s.bin, s.taught = -1, False
        return
    if period_s != s.period_s:
        s.period_s, s.bin, s.taught = period_s, -1, False
        s.bins = [0.0] * max(1, min(BINS_AT_MOST, round(period_s / BIN_S)))
    count = len(s.bins)
    here = max(0, int(min(ask.repetition_s / period_s, 1.0 - 1e-9) * count))
    was = s.bin
    if here == was:
        return
    if was >= 0:
        trust = settings.trust if s.taught else 1.0
        moved_mmhg = s.limb_mmhg - s.bin_limb_mmhg
        if moved_mmhg == moved_mmhg:
            s.bins = s.bins.copy()  # the list handed in belongs to the state before
            s.bins[was] += trust * (moved_mmhg - s.bins[was])
        s.taught = s.taught or here < was
    s.bin, s.bin_limb_mmhg = here, s.limb_mmhg
    if s.taught:
        _look_ahead(s, settings)


def _look_ahead(s: RegulatorState, settings: RegulatorSettings) -> None:
    """From this piece on: where the limb alone takes the pressure, and how far pump or vent could keep it."""
    width_s = s.period_s / len(s.bins)
    acts = round(settings.act_ahead_s / width_s)
    near, high, low = [round(time_s / width_s) for time_s in (settings.near_s, settings.high_s, settings.low_s)]
    ahead = s.bins[s.bin :] + s.bins[: s.bin]
    while len(ahead) < low:
        ahead += ahead
    pump_mmhg = s.pump_rate_mmhg_s * width_s
    vent_mmhg = settings.vent_rate_1_s * s.target_mmhg * width_s
    pumped_mmhg = vented_mmhg = sum(ahead[:acts])
    lowest_mmhg, highest_mmhg = inf, -inf
    for moves_mmhg in ahead[acts:low]:
        pumped_mmhg += moves_mmhg
        if pumped_mmhg < lowest_mmhg:
            lowest_mmhg = pumped_mmhg
        pumped_mmhg += pump_mmhg
    for moves_mmhg in ahead[acts:high]:
        vented_mmhg += moves_mmhg
        if vented_mmhg > highest_mmhg:
            highest_mmhg = vented_mmhg
        vented_mmhg -= vent_mmhg
    s.near_mmhg, s.lowest_mmhg, s.highest_mmhg = sum(ahead[:near]), lowest_mmhg, highest_mmhg
