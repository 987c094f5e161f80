"""The last word on every output: `observe` looks, `supervise` judges, and it can only take away.

The gate over the readings is `seeing.py`, the rules of a cuff are `pressure_rules.py` and `trust_rules.py`, those of
the bench `bench_rules.py`; here are which of them judge in which phase, what a finding does (trip, end or alarm only),
the latch, and the way from `Demand` to `CuffOutputs`. Pure: the state handed in is never changed. Total: any reading,
any demand, any phase, no exception. Imports the core only; mmHg and seconds.

A bench is judged once it has been seen whole: every sensor known, the guard answering and not tripped, the stop loop
closed. Until then, while it is IDLE or READY and so vented, what is missing is no trip: for 5 s after power-up nothing
is said, afterwards it trips; after a reset (where a person may have confirmed that a cuff with a dead sensor is off) it
is an alarm for as long as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf, nan
from typing import Final

from . import bench_rules, moment, seeing
from .limits import STALE_SAMPLE_S, TICK_LATE_S, Limits, armed_ceiling_mmhg
from .model import (
    DEMAND_VENT,
    FAULT,
    HOLDING,
    IDLE,
    INFLATING,
    READY,
    TESTING,
    VENTED,
    WORKING,
    CuffDemand,
    CuffOutputs,
    Demand,
    Drive,
    Finding,
    Inputs,
    Phase,
    Seen,
    Watch,
    forker,
    value,
)
from .moment import Moment, Rule, Run
from .pressure_rules import (
    above_lop,
    above_target,
    inflate_timeout,
    leak,
    no_rise,
    off_target,
    over_pressure,
    pump_too_long,
    too_long,
    under_target,
)
from .seeing import Sight
from .trust_rules import (
    boot_pressurised,
    frozen_sample,
    implausible,
    no_fall,
    not_released,
    sensors_disagree,
    stale_sample,
    tube_blocked,
)

STARTUP_S: Final = 5.0  # [J] for sensors and guard to say their first word: a board that its port resets takes its time
_BOTH: Final = Drive.BOTH
CLOSED: Final = CuffOutputs(0.0, False, False, False)  # holds what is in the cuff
_Sorted = tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[Finding, ...]]
_NOTHING: Final[_Sorted] = ((), (), ())
_UNSEEN: Final = Seen(nan, nan, nan, nan, nan, False, False)


MAY_INFLATE: Final = frozenset({INFLATING, WORKING, HOLDING, TESTING})

# Which rules judge a cuff, the gravest first: of several that fire in one tick the first is the reason.
_READING: Final = (over_pressure, implausible, stale_sample, frozen_sample)
_VENTED: Final[tuple[Rule, ...]] = (
    *_READING,
    above_lop,
    tube_blocked,
    no_fall,
    not_released,
    sensors_disagree,
    pump_too_long,
    boot_pressurised,
)
UNUSED: Final[tuple[Rule, ...]] = _VENTED  # a cuff that is not in use is vented whatever the phase
IN_PHASE: Final[dict[Phase, tuple[Rule, ...]]] = dict.fromkeys(Phase, _VENTED) | {
    INFLATING: (
        *_READING,
        above_lop,
        above_target,
        tube_blocked,
        no_fall,
        sensors_disagree,
        no_rise,
        inflate_timeout,
        pump_too_long,
        too_long,
    ),
    WORKING: (
        *_READING,
        above_lop,
        above_target,
        tube_blocked,
        sensors_disagree,
        pump_too_long,
        under_target,
        off_target,
        too_long,
    ),
    HOLDING: (
        *_READING,
        above_lop,
        above_target,
        tube_blocked,
        no_fall,
        sensors_disagree,
        no_rise,
        leak,
        pump_too_long,
        under_target,
        off_target,
        too_long,
    ),
    TESTING: (  # what else these rules find there is what the test looks for: its rows judge it, and vent and end
        *_READING,
        above_lop,
        tube_blocked,
        not_released,
        sensors_disagree,
        pump_too_long,
        too_long,
    ),
}


class Reaction(Enum):
    TRIP = "trip"  # vented in the same tick, every cuff, latched
    END = "end"  # released, the session is over, nothing latched
    ALARM = "alarm"  # said, nothing else


REACTIONS: Final[Mapping[str, Reaction]] = {
    "stop_button": Reaction.TRIP,
    "tick_late": Reaction.TRIP,
    "guard_rebooted": Reaction.TRIP,
    "guard_tripped": Reaction.TRIP,
    "guard_lost": Reaction.TRIP,
    "over_pressure": Reaction.TRIP,
    "implausible": Reaction.TRIP,
    "stale_sample": Reaction.TRIP,
    "frozen_sample": Reaction.TRIP,
    "above_lop": Reaction.TRIP,
    "above_target": Reaction.TRIP,
    "tube_blocked": Reaction.TRIP,
    "no_fall": Reaction.TRIP,
    "not_released": Reaction.TRIP,
    "sensors_disagree": Reaction.TRIP,
    "no_rise": Reaction.TRIP,
    "inflate_timeout": Reaction.TRIP,
    "leak": Reaction.TRIP,
    "pump_too_long": Reaction.TRIP,
    "under_target": Reaction.END,
    "too_long": Reaction.END,
    "unattended": Reaction.END,
    "off_target": Reaction.ALARM,
    "boot_pressurised": Reaction.ALARM,
}


@dataclass(slots=True)
class SafetyState:
    """What the safety rules remember between two ticks."""

    sight: Sight
    runs: tuple[Run, ...]
    vented: tuple[CuffOutputs, ...]
    phase: Phase = IDLE  # of the last tick
    tripped: bool = False  # latched: vented until the session has been in FAULT and a person has reset it
    in_fault: bool = False  # the session has latched it too
    unseen: bool = True  # not yet seen whole since power-up or reset
    unseen_s: float = 0.0
    reset: bool = False  # a person has reset it since power-up: what is missing is known
    gap_s: float = 0.0  # the last one that was too long between two ticks
    since_gap_s: float = inf


_fork: Final = forker(SafetyState)


@value
class Verdict:
    """What `supervise` decided. `trips` and `ends` are new in this tick, the first of each is the reason; `alarms` are
    the conditions that stand now and do nothing more (in FAULT these are all that rules find)."""

    state: SafetyState
    outputs: tuple[CuffOutputs, ...]
    trips: tuple[Finding, ...]
    ends: tuple[Finding, ...]
    alarms: tuple[Finding, ...]


def initial(cuffs: int, now_s: float) -> SafetyState:
    """Nothing seen, nothing latched."""
    return SafetyState(seeing.initial(cuffs, now_s), (Run(),) * cuffs, (VENTED,) * cuffs)


def observe(
    state: SafetyState, inputs: Inputs, given: tuple[CuffOutputs, ...], limits: Limits, now_s: float
) -> tuple[SafetyState, tuple[Seen, ...]]:
    """The plausibility gate over every sample and status since the last tick. `given`: the last tick's outputs."""
    sight, seen = seeing.look(state.sight, inputs, given, limits, now_s)
    new = _fork(state)
    new.sight = sight
    return new, seen


def supervise(
    state: SafetyState,
    demand: Demand,
    watch: Watch,
    seen: tuple[Seen, ...],
    inputs: Inputs,
    given: tuple[CuffOutputs, ...],
    limits: Limits,
    now_s: float,
) -> Verdict:
    """Last word on every output: judge, then let through what may pass. To be called after `observe`, same `now_s`."""
    new = _fork(state)
    phase = watch.phase
    sight = new.sight
    excused = (new.unseen or new.in_fault or phase is FAULT) and _enter(new, phase)
    found = (
        [] if sight.whole and 0.0 <= sight.gap_s <= TICK_LATE_S else bench_rules.judge(sight, inputs.link_fault, now_s)
    )
    if not 0.0 <= sight.gap_s <= TICK_LATE_S:
        new.gap_s, new.since_gap_s = sight.gap_s, 0.0
    elif new.since_gap_s < STALE_SAMPLE_S:
        new.since_gap_s += sight.dt_s
    if watch.unattended:
        found.append(bench_rules.unattended(now_s))
    in_phase = IN_PHASE[phase]
    runs: list[Run] = []
    outputs: list[CuffOutputs] = []
    for cuff, old in enumerate(new.runs):
        run = moment.fork(old)
        m = _moment(cuff, sight, seen, watch, given, limits, now_s)
        if phase is not state.phase:
            moment.new_phase(run, state.phase)
        moment.run_clocks(run, m)
        for rule in UNUSED if m.use is None else in_phase:
            finding = rule(run, m)
            if finding is not None:
                found.append(finding)
        runs.append(run)
        outputs.append(_permit(demand.cuffs[cuff] if cuff < len(demand.cuffs) else DEMAND_VENT, run, m))
    new.runs = tuple(runs)
    new.phase = phase
    if found and (new.since_gap_s < STALE_SAMPLE_S or sight.stopped):
        found = [one for one in found if not _explained(one, new)]
    trips, ends, alarms = _sort(new, found, excused) if found else _NOTHING
    if trips:
        new.tripped = True
    if new.tripped or ends or phase not in MAY_INFLATE:
        return Verdict(new, new.vented, trips, ends, alarms)
    return Verdict(new, tuple(outputs), trips, ends, alarms)


def _enter(new: SafetyState, phase: Phase) -> bool:
    """Follow the session into FAULT and out of it; whether what is missing is excused in this tick."""
    if phase is FAULT:
        new.in_fault = new.tripped = True
    elif new.in_fault:  # a person has reset it
        new.in_fault = new.tripped = False
        new.runs = (Run(),) * len(new.runs)
        new.reset = new.unseen = True
        new.unseen_s = 0.0
    if not new.unseen:
        return False
    if phase not in _OUT_OF_USE:
        new.unseen = False
        return False
    new.unseen_s += new.sight.dt_s
    if new.sight.whole or (new.unseen_s >= STARTUP_S and not new.reset):
        new.unseen = False  # judged from the next tick on
    return True


_NEEDS_A_RESET: Final = frozenset({"guard_tripped", "guard_rebooted"})  # no other way takes such a guard over
_OUT_OF_USE: Final = frozenset({IDLE, READY, FAULT})


def _moment(
    cuff: int,
    sight: Sight,
    seen: tuple[Seen, ...],
    watch: Watch,
    given: tuple[CuffOutputs, ...],
    limits: Limits,
    now_s: float,
) -> Moment:
    one = seen[cuff] if cuff < len(seen) else _UNSEEN
    outputs = given[cuff] if cuff < len(given) else CLOSED
    pumping = outputs.pump_enabled and outputs.pump_duty > 0.0
    return Moment(
        cuff,
        watch.phase,
        now_s,
        sight.dt_s,
        limits,
        sight.cuffs[cuff],
        one,
        watch.cuffs[cuff] if cuff < len(watch.cuffs) else None,
        watch,
        pumping,
        outputs.vent_open or outputs.dump_open,
        moment.on_limb_mmhg(one, pumping),
    )


def _sort(new: SafetyState, found: list[Finding], excused: bool) -> _Sorted:
    """Trips, ends and alarms, by what each rule does and by what is latched already."""
    if excused:
        loud = new.unseen and new.reset and new.unseen_s >= STARTUP_S
        if loud and (late := tuple([one for one in found if one.rule in _NEEDS_A_RESET])):
            return late, (), ()
        return (), (), tuple([one for one in found if loud or one.rule == "boot_pressurised"])
    if new.tripped:  # the first reason stands; the guard's own trip is no news then
        return (), (), tuple([one for one in found if one.rule not in _OLD_NEWS])
    trips = tuple([one for one in found if REACTIONS[one.rule] is Reaction.TRIP])
    ends = tuple([one for one in found if REACTIONS[one.rule] is Reaction.END])
    return trips, ends, tuple([one for one in found if REACTIONS[one.rule] is Reaction.ALARM])


def _explained(one: Finding, new: SafetyState) -> bool:
    """Whether a finding only says again what another has said: that a gap between two ticks left a sensor unread that
    was fresh before it, and let the lease lapse; that the guard too has seen the stop button. Another sentence would
    send a person to a cable that is sound. What is really gone is said once the ticks after the gap have shown it: they
    have as long for a fresh reading as any others."""
    late = new.since_gap_s < STALE_SAMPLE_S
    if one.rule == "stale_sample":
        return late and one.value - new.gap_s < STALE_SAMPLE_S
    if one.rule != "guard_tripped" or new.sight.tripped is None:
        return False
    why = new.sight.tripped.trip
    return (new.sight.stopped and why == "estop") or (late and why == "lease_expired")


_OLD_NEWS: Final = frozenset({"guard_tripped", *(rule for rule, does in REACTIONS.items() if does is Reaction.END)})


def _permit(demand: CuffDemand, run: Run, m: Moment) -> CuffOutputs:
    """What of a demand may pass. Never more pump than asked, never a valve closed that was to be open."""
    duty = demand.pump_duty
    if m.use is None or duty != duty:
        return VENTED
    if demand.vent_open or demand.dump_open:  # the pump has no business against an open valve
        return CuffOutputs(0.0, False, demand.vent_open, demand.dump_open)
    if (
        duty > 0.0
        and m.seen.pressure_mmhg < m.limits.ceiling_mmhg
        and m.limb_mmhg <= m.use.lop_mmhg
        and m.seen.pressure_mmhg < armed_ceiling_mmhg(m.use.lop_mmhg)
        and not m.sight.no_pump
        and not run.rest_s > 0.0
    ):
        if demand.drive is not _BOTH:
            return _one_switch(demand, m)
        return CuffOutputs(duty if duty < 1.0 else 1.0, True, False, False)
    return CLOSED


def _one_switch(demand: CuffDemand, m: Moment) -> CuffOutputs:
    """One of the pump's two switches alone, which a self-test proves to move no air. Never in another phase."""
    if m.phase is not TESTING:
        return CLOSED
    if demand.drive is Drive.ENABLE_ALONE:
        return CuffOutputs(0.0, True, False, False)
    return CuffOutputs(min(demand.pump_duty, 1.0), False, False, False)
