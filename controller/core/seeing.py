"""What the bench looks like: the plausibility gate over every reading, before any rule judges it.

`observe` in `safety.py` calls `look` once a tick. Every sample of A and every status of the guard since the last tick
passes here, oldest first; what is refused is counted and never shown. Imports the core only; mmHg and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from typing import Final

from .limits import (
    EMPTY_CONFIRM_S,
    EMPTY_MMHG,
    GUARD_SILENT_S,
    IMPLAUSIBLE_SLEW_MMHG_S,
    IMPLAUSIBLE_STEP_MMHG,
    STALE_SAMPLE_S,
    TICK_LATE_S,
    Limits,
)
from .model import CuffOutputs, GuardState, GuardStatus, Inputs, Sample, Seen

VALVE_S: Final = 0.2  # [J] a valve commanded open may still be open this long after
FROZEN_MMHG: Final = 20.0  # below it an empty cuff may well read the same twice
_NO_SAMPLES: Final = ()
_TRIPPED: Final = GuardState.TRIPPED
_OUTPUTS_UNKNOWN: Final = CuffOutputs(0.0, False, False, False)  # counts as neither driven nor vented


@dataclass(slots=True)
class CuffSight:
    """What is remembered of one cuff's two sensors. Built anew each tick, never changed."""

    a_mmhg: float = 0.0  # newest accepted reading of A; means nothing while `a_at_s` is -inf
    a_at_s: float = -inf
    a_counts: int = -1
    a_refused: int = 0  # in a row
    closed_s: float = 0.0  # since a valve was commanded open
    unchanged_s: float = 0.0  # identical counts while pump or vent should move them
    b_mmhg: float = 0.0
    b_at_s: float = -inf
    b_refused: int = 0
    b_known: bool = False  # the guard had a reading in its newest status
    pump_on: bool = False  # the guard's pins, by its newest status
    empty_s: float = 0.0  # A and B below 15 mmHg with the vent open
    highest_mmhg: float = -inf  # of the plausible readings since the last tick
    no_pump: bool = False  # a refused reading at or above the ceiling since the last tick


@dataclass(slots=True)
class Sight:
    """What is remembered of the bench. Built anew each tick, never changed."""

    cuffs: tuple[CuffSight, ...]
    last_now_s: float
    gap_s: float = 0.0  # between this tick and the one before, as it was
    dt_s: float = 0.0  # the same, within 0 and TICK_LATE_S: what durations are added up from
    silent_s: float = 0.0  # without a status
    status: GuardStatus | None = None  # the newest
    stopped: bool = False  # a status since the last one looked at said that the stop loop is open
    rebooted: bool = False  # ... came from a guard of another boot
    tripped: GuardStatus | None = None  # ... said that the guard has tripped: the first that said so
    whole: bool = False  # every sensor known, the guard answering, untripped, and the stop loop closed


def initial(cuffs: int, now_s: float) -> Sight:
    """Nothing seen yet."""
    return Sight((CuffSight(),) * cuffs, now_s)


def plausible(mmhg: float, elapsed_s: float, last_mmhg: float, limits: Limits, may_fall: bool = False) -> bool:
    """H-04: whether a reading can be true, `elapsed_s` after the last accepted one. NaN and infinity cannot.

    Limits: -20 mmHg or the sensor's scale; a step of 50 mmHg + 5 mmHg per ms [J: no pump or limb is quicker].
    `may_fall`: a valve is open and the reading may drop as far as it likes. A manifold behind a narrow hose is empty
    in a few ms.
    """
    step_mmhg = mmhg - last_mmhg
    most_mmhg = IMPLAUSIBLE_STEP_MMHG + IMPLAUSIBLE_SLEW_MMHG_S * elapsed_s
    return (
        limits.sensor_low_mmhg <= mmhg <= limits.sensor_high_mmhg
        and step_mmhg <= most_mmhg
        and (may_fall or -step_mmhg <= most_mmhg)
    )


def look(
    sight: Sight, inputs: Inputs, given: tuple[CuffOutputs, ...], limits: Limits, now_s: float
) -> tuple[Sight, tuple[Seen, ...]]:
    """Take in everything since the last tick. `given`: the outputs of the last tick. Total: any input, no exception."""
    gap_s = now_s - sight.last_now_s
    dt_s = gap_s if 0.0 <= gap_s <= TICK_LATE_S else TICK_LATE_S
    statuses = inputs.statuses
    silent_s = 0.0 if statuses else sight.silent_s + dt_s
    heard = silent_s < GUARD_SILENT_S
    cuffs: list[CuffSight] = []
    seen: list[Seen] = []
    known = True
    for index, old in enumerate(sight.cuffs):
        samples = inputs.samples[index] if index < len(inputs.samples) else _NO_SAMPLES
        outputs = given[index] if index < len(given) else _OUTPUTS_UNKNOWN
        one = _look_at_a(old, samples, outputs, limits, dt_s, now_s)
        if statuses:
            _look_at_b(one, statuses, index, limits, now_s)
        a_mmhg = one.a_mmhg if now_s - one.a_at_s < STALE_SAMPLE_S else nan
        b_mmhg = one.b_mmhg if one.b_known and heard else nan
        pressure_mmhg = b_mmhg if a_mmhg < b_mmhg or a_mmhg != a_mmhg else a_mmhg
        certain = a_mmhg == a_mmhg and b_mmhg == b_mmhg
        if certain and pressure_mmhg < EMPTY_MMHG and outputs.vent_open:
            one.empty_s = old.empty_s + dt_s
        known = known and certain
        cuffs.append(one)
        seen.append(
            Seen(a_mmhg, one.a_at_s, b_mmhg, one.b_at_s, pressure_mmhg, certain, one.empty_s >= EMPTY_CONFIRM_S)
        )
    new = Sight(tuple(cuffs), now_s, gap_s, dt_s, silent_s, sight.status, sight.stopped, sight.rebooted, sight.tripped)
    if statuses:
        _listen(new, statuses)
    new.whole = known and heard and not (inputs.link_fault or new.stopped or new.rebooted or new.tripped is not None)
    return new, tuple(seen)


def _look_at_a(
    old: CuffSight, samples: tuple[Sample, ...], outputs: CuffOutputs, limits: Limits, dt_s: float, now_s: float
) -> CuffSight:
    """Pass every sample of A through the gate. A sample that says it is none is missing, which is not implausible."""
    mmhg, at_s, counts, refused = old.a_mmhg, old.a_at_s, old.a_counts, old.a_refused
    fresh = moved = no_pump = False
    closed_s = 0.0 if outputs.vent_open or outputs.dump_open else old.closed_s + dt_s
    may_fall = closed_s < VALVE_S
    highest_mmhg = -inf
    for sample in samples:
        if sample.fault:
            continue
        value = sample.pressure_mmhg
        if not at_s < sample.at_s <= now_s:  # an old one again, or one from the future: missing
            no_pump = no_pump or not value < limits.ceiling_mmhg
        elif plausible(value, sample.at_s - at_s, mmhg, limits, may_fall):
            if sample.counts != counts:
                moved = True
            mmhg, at_s, counts, refused, fresh = value, sample.at_s, sample.counts, 0, True
            if value > highest_mmhg:
                highest_mmhg = value
        else:
            refused += 1
            no_pump = no_pump or not value < limits.ceiling_mmhg
    unchanged_s = old.unchanged_s
    if moved:
        unchanged_s = 0.0
    elif fresh and mmhg > FROZEN_MMHG and _moves(outputs) and _filled(old):
        unchanged_s += dt_s
    return CuffSight(
        mmhg,
        at_s,
        counts,
        refused,
        closed_s,
        unchanged_s,
        old.b_mmhg,
        old.b_at_s,
        old.b_refused,
        old.b_known,
        old.pump_on,
        0.0,
        highest_mmhg,
        no_pump,
    )


def _moves(outputs: CuffOutputs) -> bool:
    """Pump or vent should change what A reads; one switch of the pump alone (in a self-test) should not."""
    return outputs.vent_open or (outputs.pump_enabled and outputs.pump_duty > 0.0)


def _filled(old: CuffSight) -> bool:
    """While slack is filled the manifold may well stand still: so B must say that the cuff is filled, or nothing."""
    return not (old.b_known and old.b_mmhg <= FROZEN_MMHG)


def _look_at_b(one: CuffSight, statuses: tuple[GuardStatus, ...], index: int, limits: Limits, now_s: float) -> None:
    """Pass every B through the same gate. `one` is this tick's own. NaN is the guard's word for no reading: B is held
    as long as A would be, or one reading that came too soon would undo minutes of free flow."""
    for status in statuses:
        if index >= len(status.channels):
            one.b_known = one.pump_on = False
            continue
        channel = status.channels[index]
        one.pump_on = channel.pump_enabled or channel.pump_duty > 0.0
        value = channel.b_mmhg
        if value != value:
            if not now_s - one.b_at_s < STALE_SAMPLE_S:  # by our clock: a guard whose own stands still holds nothing
                one.b_known = False
        elif one.b_at_s <= status.at_s <= now_s and plausible(value, status.at_s - one.b_at_s, one.b_mmhg, limits):
            one.b_mmhg, one.b_at_s, one.b_refused, one.b_known = value, status.at_s, 0, True
            if value > one.highest_mmhg:
                one.highest_mmhg = value
        else:
            one.b_refused += 1
            one.no_pump = one.no_pump or not value < limits.ceiling_mmhg


def _listen(new: Sight, statuses: tuple[GuardStatus, ...]) -> None:
    """What the guard says of itself, in every status since the last tick: nothing it said is passed over."""
    new.stopped = new.rebooted = False
    new.tripped = None
    for status in statuses:
        before = new.status
        if not status.estop_ok:
            new.stopped = True
        if status.boot_id != status.expected_boot_id or (before is not None and status.boot_id != before.boot_id):
            new.rebooted = True
        if status.state == _TRIPPED and new.tripped is None:
            new.tripped = status
        new.status = status
