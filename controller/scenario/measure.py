"""What a simulated session came to, judged by the plant and never by the sensor.

Fed once a tick after the core's step; makes the object that `simulate` prints. "True" is the plant's pressure in the
cuff. Seconds count from the tick that accepted `start`; pressures are mmHg.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite, nan
from typing import Any, Final, Protocol

from ..core.limits import EMPTY_MMHG
from ..core.model import (
    FAULT,
    HOLDING,
    INFLATING,
    PRESSURISED,
    RELEASING,
    STOPPING,
    WORKING,
    EventKind,
    Happened,
    Phase,
    StepKind,
)
from ..core.step import Stepped

AT_TARGET_MMHG: Final = 2.0  # "at target" of `to_target_s`
SETTLE_S: Final = 2.0  # how long an overshoot is looked for where no repetition follows
TRACE_BATCH: Final = 4096
_PHASES: Final = {phase: index for index, phase in enumerate(Phase)}
_TICK: Final = struct.Struct("<ihBB")


class TruePlant(Protocol):
    """What the plant of one cuff lets see."""

    cuff_mmhg: float
    vent_is_open: bool
    dump_is_open: bool

    def least_inflation_s(self, target_mmhg: float) -> float: ...


class Pins(Protocol):
    """The guard's pins of one cuff, as they are."""

    pump_duty: float
    pump_enabled: bool
    vent_open: bool
    dump_open: bool


@dataclass(slots=True)
class _Span:
    """True pressure over a stretch of one cuff."""

    cuff: int
    index: int
    start_s: float
    ticks: int = 0
    in_10pct: int = 0
    in_5pct: int = 0
    sum_mmhg: float = 0.0
    max_mmhg: float = -1e9
    min_mmhg: float = 1e9

    def add(self, true_mmhg: float, target_mmhg: float) -> None:
        self.ticks += 1
        self.sum_mmhg += true_mmhg
        if true_mmhg > self.max_mmhg:
            self.max_mmhg = true_mmhg
        if true_mmhg < self.min_mmhg:
            self.min_mmhg = true_mmhg
        off = abs(true_mmhg - target_mmhg)
        if off <= 0.10 * target_mmhg:
            self.in_10pct += 1
            if off <= 0.05 * target_mmhg:
                self.in_5pct += 1


@dataclass(slots=True)
class _Rest:
    cuff: int
    start_s: float
    release_s: float = nan
    below_15_s: float = nan
    free_ticks: int = 0
    held: _Span | None = None


@dataclass(slots=True)
class _Inflation:
    cuff: int
    start_s: float
    target_mmhg: float
    limited_s: float
    to_target_s: float = nan
    max_mmhg: float = -1e9
    judged_until_s: float = nan


@dataclass(slots=True)
class _Trip:
    rule: str
    cuff: int | None
    at_s: float
    text: str  # the sentence that a person reads: what, value, limit
    commanded_s: float | None = None
    open_s: float | None = None
    below_15_s: float | None = None


@dataclass(slots=True)
class Measure:
    """The accumulator. `plants` and `pins` are by cuff, in the same order."""

    plants: tuple[TruePlant, ...]
    pins: tuple[Pins, ...]
    tick_s: float
    began_s: float = nan
    ended_s: float = nan
    sets: list[dict[str, Any]] = field(default_factory=list)
    rests: list[dict[str, Any]] = field(default_factory=list)
    inflations: list[dict[str, Any]] = field(default_factory=list)
    trips: list[_Trip] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    max_true_mmhg: float = -1e9
    seconds_above_lop: float = 0.0
    restricted_s: list[float] = field(default_factory=list)
    outcome: str = ""
    _before: Any = None  # the session a tick ago: at its end the prescriptions are gone
    _open_sets: list[_Span] = field(default_factory=list)
    _open_rests: list[_Rest] = field(default_factory=list)
    _open_inflations: list[_Inflation] = field(default_factory=list)
    _repetitions: int = 0
    _unattended_from_s: float = nan
    _hash: Any = field(default_factory=sha256)
    _batch: bytearray = field(default_factory=bytearray)

    def after(self, stepped: Stepped, now_s: float) -> None:
        """One tick."""
        session = stepped.state.session
        phase = session.phase
        for happened in stepped.events:
            self._happened(happened, session, now_s)
        self._before = session
        batch, phase_index = self._batch, _PHASES[phase]
        targets = session.targets_mmhg
        working, holding = phase is WORKING, phase is HOLDING
        for cuff, plant in enumerate(self.plants):
            true = plant.cuff_mmhg
            if true > self.max_true_mmhg:
                self.max_true_mmhg = true
            prescription = session.prescriptions[cuff]
            if prescription is not None:
                if true > prescription.plan.lop_mmhg:
                    self.seconds_above_lop += self.tick_s
                if self._open_sets and working:
                    self._open_sets[cuff].add(true, targets[cuff])
            pins = self.pins[cuff]
            batch += _TICK.pack(
                round(true * 100.0),
                round(pins.pump_duty * 1000.0) if pins.pump_enabled else 0,
                pins.vent_open | pins.dump_open << 1,
                phase_index,
            )
        if len(batch) > TRACE_BATCH:
            self._hash.update(batch)
            batch.clear()
        if self._open_rests:
            self._rest_tick(holding, targets, now_s)
        if phase is INFLATING or self._open_inflations:
            self._inflation_tick(stepped, now_s)
        if self.trips:
            self._trip_tick(stepped, now_s)

    def unattended(self, now_s: float, tripped: bool) -> None:
        """One tick's time in which the control process stood still: the guard alone acts. `tripped`: and has vented,
        which took as long as it has stood still."""
        if not isfinite(self._unattended_from_s):
            self._unattended_from_s = now_s
        for plant in self.plants:
            self.max_true_mmhg = max(self.max_true_mmhg, plant.cuff_mmhg)
        lops = [one.plan.lop_mmhg for one in self._before.prescriptions if one is not None] if self._before else []
        if lops and max(plant.cuff_mmhg for plant in self.plants) > min(lops):
            self.seconds_above_lop += self.tick_s
        if tripped and not self.trips and self._before is not None and self._before.phase in PRESSURISED:
            since_s = self._unattended_from_s
            self.trips.append(_Trip("lease_expired", None, since_s, "the guard has vented: lease_expired"))
        self._trip_tick(None, now_s)

    # --- events --------------------------------------------------------------------------------------------------

    def _happened(self, happened: Happened, session: Any, now_s: float) -> None:
        kind, data = happened.kind, happened.data
        if kind is EventKind.STARTED:
            self.began_s = now_s
        elif kind is EventKind.SET_BEGAN:
            self._close_rests(now_s)
            self._repetitions = 0
            index = int(data["set_index"] or 0)
            self._open_sets = [_Span(cuff, index, now_s) for cuff in range(len(self.plants))]
        elif kind is EventKind.REPETITION:
            self._repetitions = int(data["repetitions"] or 0)
        elif kind is EventKind.SET_ENDED:
            self._repetitions = int(data["repetitions"] or 0)
            self._close_sets(now_s)
            if session.step is not None:
                self._open_rest(session, now_s)
        elif kind is EventKind.PHASE:
            self._changed(happened, session, now_s)
        elif kind is EventKind.TRIP:
            self.trips.append(_Trip(str(data["rule"]), happened.cuff, now_s, str(data.get("text", ""))))
        elif kind is EventKind.ALARM_RAISED:
            self.alarms.append(
                {
                    "condition": data["condition"],
                    "priority": data["priority"],
                    "raised_at_s": now_s,
                    "cleared_at_s": None,
                }
            )
        elif kind is EventKind.ALARM_CLEARED:
            for alarm in self.alarms:
                if alarm["condition"] == data["condition"] and alarm["cleared_at_s"] is None:
                    alarm["cleared_at_s"] = now_s
        elif kind is EventKind.SESSION_ENDED:
            self.outcome = str(data["outcome"])
            self._close_sets(now_s)
            before = self._before
            self.restricted_s = [
                clock.restricted_s if (clock := before.clock_of(cuff)) is not None else 0.0
                for cuff in range(len(self.plants))
            ]
            self._close_rests(now_s)

    def _changed(self, happened: Happened, session: Any, now_s: float) -> None:
        to = happened.phase
        if to in (RELEASING, STOPPING, FAULT):
            self._close_sets(now_s)
            if any(rest.held is not None for rest in self._open_rests):
                self._close_rests(now_s)
            if to is RELEASING and not self._open_rests and session.step is not None and not session.final:
                self._open_rest(session, now_s)  # after a hold, or a pause
            for rest in self._open_rests:
                if not isfinite(rest.release_s):
                    rest.release_s = now_s
        elif to is HOLDING and session.step is not None and session.step.kind is StepKind.HOLD:
            self._close_rests(now_s)
            self._open_rest(session, now_s)
        elif to is INFLATING and session.step is not None and session.step.kind is StepKind.HOLD:
            self._close_rests(now_s)

    def _open_rest(self, session: Any, now_s: float) -> None:
        held = session.step is not None and session.step.inflated
        self._open_rests = [
            _Rest(cuff, now_s, held=_Span(cuff, 0, now_s) if held else None)
            for cuff in range(len(self.plants))
            if session.prescriptions[cuff] is not None
        ]

    def _close_sets(self, now_s: float) -> None:
        for span in self._open_sets:
            if self._before is None or self._before.prescriptions[span.cuff] is None:
                continue
            ticks = span.ticks
            self.sets.append(
                {
                    "cuff": span.cuff + 1,
                    "index": span.index,
                    "reps": self._repetitions,
                    "start_s": span.start_s,
                    "end_s": now_s,
                    "mean_mmhg": span.sum_mmhg / ticks if ticks else None,
                    "max_mmhg": span.max_mmhg if ticks else None,
                    "min_mmhg": span.min_mmhg if ticks else None,
                    "time_in_10pct": span.in_10pct / ticks if ticks else None,
                    "time_in_5pct": span.in_5pct / ticks if ticks else None,
                }
            )
        self._open_sets = []

    def _close_rests(self, now_s: float) -> None:
        for rest in self._open_rests:
            held = rest.held
            self.rests.append(
                {
                    "cuff": rest.cuff + 1,
                    "start_s": rest.start_s,
                    "end_s": now_s,
                    "mode": "held" if held is not None else "released",
                    "released_below_15_after_s": (
                        rest.below_15_s - rest.release_s if isfinite(rest.below_15_s - rest.release_s) else None
                    ),
                    "free_flow_s": rest.free_ticks * self.tick_s,
                    "time_in_5pct": held.in_5pct / held.ticks if held is not None and held.ticks else None,
                }
            )
        self._open_rests = []

    # --- every tick ----------------------------------------------------------------------------------------------

    def _rest_tick(self, holding: bool, targets: tuple[float, ...], now_s: float) -> None:
        for rest in self._open_rests:
            true = self.plants[rest.cuff].cuff_mmhg
            if true < EMPTY_MMHG:
                rest.free_ticks += 1
                if not isfinite(rest.below_15_s) and isfinite(rest.release_s):
                    rest.below_15_s = now_s
            if rest.held is not None and holding:
                rest.held.add(true, targets[rest.cuff])

    def _inflation_tick(self, stepped: Stepped, now_s: float) -> None:
        session = stepped.state.session
        on = session.phase is INFLATING and isfinite(session.inflate_from_s)
        if on and session.inflate_from_s == now_s:
            self._close_inflations()
            self._open_inflations = [
                _Inflation(
                    cuff, now_s, target := session.targets_mmhg[cuff], self.plants[cuff].least_inflation_s(target)
                )
                for cuff in range(len(self.plants))
                if session.prescriptions[cuff] is not None
            ]
        first_repetition = session.phase is WORKING
        for one in self._open_inflations:
            true = self.plants[one.cuff].cuff_mmhg
            if not isfinite(one.to_target_s) and true >= one.target_mmhg - AT_TARGET_MMHG:
                one.to_target_s = now_s - one.start_s
            if true > one.max_mmhg:
                one.max_mmhg = true
        if self._open_inflations and (first_repetition or not (on or session.phase is HOLDING)):
            self._close_inflations()
        elif self._open_inflations and session.step is not None and session.step.kind is not StepKind.SET:
            held_s = now_s - session.phase_since_s if session.phase is HOLDING else 0.0
            if held_s >= SETTLE_S:
                self._close_inflations()

    def _close_inflations(self) -> None:
        for one in self._open_inflations:
            self.inflations.append(
                {
                    "cuff": one.cuff + 1,
                    "start_s": one.start_s,
                    "to_target_s": one.to_target_s if isfinite(one.to_target_s) else None,
                    "pump_limited_s": one.limited_s if isfinite(one.limited_s) else None,
                    "overshoot_mmhg": max(0.0, one.max_mmhg - one.target_mmhg),
                }
            )
        self._open_inflations = []

    def _trip_tick(self, stepped: Stepped | None, now_s: float) -> None:
        for trip in self.trips:
            if trip.commanded_s is None:
                asked = stepped is not None and all(
                    not out.pump_enabled and out.vent_open and out.dump_open for out in stepped.outputs.cuffs
                )
                done = all(not pin.pump_enabled and pin.vent_open and pin.dump_open for pin in self.pins)
                if asked or done:
                    trip.commanded_s = now_s - trip.at_s
            if trip.open_s is None and all(plant.vent_is_open for plant in self.plants):
                trip.open_s = now_s - trip.at_s
            if trip.below_15_s is None and all(plant.cuff_mmhg < EMPTY_MMHG for plant in self.plants):
                trip.below_15_s = now_s - trip.at_s

    # --- the result ----------------------------------------------------------------------------------------------

    def result(self, now_s: float) -> dict[str, Any]:
        """The measured part of the object; seconds from the start of the session."""
        self._close_inflations()
        self._close_rests(now_s)
        zero_s = self.began_s if isfinite(self.began_s) else 0.0
        self._hash.update(self._batch)
        self._batch.clear()
        return {
            "outcome": self.outcome or ("tripped" if self.trips else "stopped"),
            "duration_s": round(now_s - zero_s, 3),
            "sets": [_told(one, zero_s) for one in self.sets],
            "rests": [_told(one, zero_s) for one in self.rests],
            "inflations": [_told(one, zero_s) for one in self.inflations],
            "max_true_mmhg": round(self.max_true_mmhg, 2),
            "final_true_mmhg": round(max(plant.cuff_mmhg for plant in self.plants), 2),
            "seconds_above_lop": round(self.seconds_above_lop, 3),
            "restricted_s": [round(one, 2) for one in self.restricted_s] or [0.0] * len(self.plants),
            "trips": [
                {
                    "rule": one.rule,
                    "cuff": None if one.cuff is None else one.cuff + 1,
                    "at_s": round(one.at_s - zero_s, 3),
                    "text": one.text,
                    "vent_commanded_after_s": _s(one.commanded_s),
                    "vent_open_after_s": _s(one.open_s),
                    "below_15_after_s": _s(one.below_15_s),
                }
                for one in self.trips
            ],
            "alarms": [_told(one, zero_s) for one in self.alarms],
            "trace_sha256": self._hash.hexdigest(),
        }


_INSTANTS: Final = ("start_s", "end_s", "raised_at_s", "cleared_at_s")


def _told(one: dict[str, Any], zero_s: float) -> dict[str, Any]:
    """Instants from the session's start, figures rounded to what they are good for."""
    told: dict[str, Any] = {}
    for key, figure in one.items():
        if key in _INSTANTS and figure is not None:
            figure = figure - zero_s
        told[key] = round(figure, 4) if isinstance(figure, float) else figure
    return told


def _s(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
