"""The summary of a session, added up tick by tick from what was measured.

Imports messages and core. Looks at each `Stepped` after its tick and changes nothing. Pressures are sensor B's, which
reads the cuff itself, or A's where B is not known; what neither knew is left out of means and shares. Seconds count
from the tick that accepted `start`. A set is a stretch of exercise; of a passive protocol, a bout. A rest is from the
end of one to the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, nan
from typing import Final, Literal

from ..core.limits import EMPTY_MMHG
from ..core.model import EventKind, Happened, Mode, Phase, Priority, StepKind
from ..core.step import CoreState, Stepped
from ..messages import (
    AlarmSummary,
    InflationSummary,
    Origin,
    RestSummary,
    Session,
    SetSummary,
    TripSummary,
)
from ..payloads import OUTCOMES, mmhg

AT_TARGET_MMHG: Final = 2.0
OVERSHOOT_S: Final = 2.0  # how long overshoot is looked for where no repetition follows
AFTER_TRIP_S: Final = 30.0


@dataclass(slots=True)
class _Stretch:
    """Pressure against target over a stretch of time."""

    start_s: float
    end_s: float
    index: int = 0
    reps: int = 0
    known_s: float = 0.0
    area: float = 0.0  # mmHg x s
    highest: float = -inf
    lowest: float = inf
    in_10_s: float = 0.0
    in_5_s: float = 0.0
    held_s: float = 0.0
    held_in_5_s: float = 0.0
    empty_s: float = 0.0
    release_due_s: float = nan
    empty_after_s: float = nan

    def add(self, pressure: float, target: float, dt_s: float, now_s: float) -> None:
        self.end_s = now_s
        self.known_s += dt_s
        self.area += pressure * dt_s
        if pressure > self.highest:
            self.highest = pressure
        if pressure < self.lowest:
            self.lowest = pressure
        off = abs(pressure - target)
        if off <= 0.1 * target:
            self.in_10_s += dt_s
            if off <= 0.05 * target:
                self.in_5_s += dt_s

    def rest(self, pressure: float, target: float, dt_s: float, held: bool, now_s: float) -> None:
        if pressure < EMPTY_MMHG:
            self.empty_s += dt_s
            if self.empty_after_s != self.empty_after_s and self.release_due_s == self.release_due_s:
                self.empty_after_s = now_s - self.release_due_s
        elif held:
            self.held_s += dt_s
            if abs(pressure - target) <= 0.05 * target:
                self.held_in_5_s += dt_s


@dataclass(slots=True)
class _Inflation:
    start_s: float
    reached_s: float = nan
    overshoot: float = -inf


@dataclass(slots=True)
class _Book:
    """What is added up for one cuff."""

    cuff: int
    lop_mmhg: float
    target_mmhg: float
    set: _Stretch | None = None
    rest: _Stretch | None = None
    inflation: _Inflation | None = None
    sets: list[SetSummary] = field(default_factory=list)
    rests: list[RestSummary] = field(default_factory=list)
    inflations: list[InflationSummary] = field(default_factory=list)
    highest: float = -inf
    newest: float = nan
    above_lop_s: float = 0.0
    restricted_s: float = 0.0


@dataclass(slots=True)
class _Trip:
    rule: str
    cuff: int | None
    at_s: float
    vented_after_s: float | None = None
    empty_after_s: float | None = None


class SessionReport:
    """Feed it every tick with `after`.

    Args:
        version: of this program.
        deliver: takes the summary of each session once, when it is over.
    """

    def __init__(self, origin: Origin, version: str, deliver: Callable[[Session], None]) -> None:
        self._origin = origin
        self._version = version
        self._deliver = deliver
        self._books: list[_Book] = []
        self._going = False
        self._outcome: Literal["completed", "stopped", "tripped"] | None = None
        self._started_s = self._last_s = 0.0
        self._protocol = self._code = ""
        self._mode = Mode.NONE
        self._bout = False
        self._trips: list[_Trip] = []
        self._alarms: list[AlarmSummary] = []

    def after(self, stepped: Stepped, now_s: float) -> None:
        """Look at one tick."""
        if stepped.events:
            for happened in stepped.events:
                self._take(happened, stepped.state)
        if self._going:
            self._add(stepped.state, now_s)

    # --- every tick of a session -----------------------------------------------------------------------------------

    def _add(self, state: CoreState, now_s: float) -> None:
        phase = state.session.phase
        dt_s = now_s - self._last_s
        self._last_s = now_s
        for book in self._books:
            seen = state.seen[book.cuff]
            pressure = seen.b_mmhg
            if pressure != pressure:
                pressure = seen.a_mmhg
            book.newest = pressure
            if pressure != pressure:
                continue
            if pressure > book.highest:
                book.highest = pressure
            if pressure > book.lop_mmhg:
                book.above_lop_s += dt_s
            if book.set is not None:
                if phase is Phase.WORKING or phase is Phase.MOVING or phase is Phase.HOLDING:
                    book.set.add(pressure, book.target_mmhg, dt_s, now_s)
            elif book.rest is not None:
                held = phase is Phase.HOLDING and not _before_a_set(state)  # waiting at target for a set is no rest
                book.rest.rest(pressure, book.target_mmhg, dt_s, held, now_s)
            if book.inflation is not None or phase is Phase.INFLATING:
                self._inflate(book, state, pressure, now_s)
        if self._outcome is not None:
            self._wind_up(state, now_s)

    def _inflate(self, book: _Book, state: CoreState, pressure: float, now_s: float) -> None:
        one = book.inflation
        if one is None:
            if state.given[book.cuff].pump_duty > 0.0:
                book.inflation = _Inflation(now_s)
            return
        over = pressure - book.target_mmhg
        one.overshoot = max(one.overshoot, over)
        if one.reached_s != one.reached_s and over >= -AT_TARGET_MMHG:
            one.reached_s = now_s
        phase = state.session.phase
        if phase is Phase.INFLATING or (phase is Phase.HOLDING and _before_a_set(state)):
            return
        if phase is not Phase.HOLDING or not now_s - one.reached_s < OVERSHOOT_S:
            self._close_inflation(book)

    def _close_inflation(self, book: _Book) -> None:
        one, book.inflation = book.inflation, None
        if one is None:
            return
        reached = one.reached_s == one.reached_s
        book.inflations.append(
            InflationSummary(
                cuff=book.cuff + 1,
                start_s=self._since_start(one.start_s),
                to_target_s=round(one.reached_s - one.start_s, 2) if reached else None,
                overshoot_mmhg=mmhg(max(0.0, one.overshoot)) if reached else None,
            )
        )

    # --- what happened ---------------------------------------------------------------------------------------------

    def _take(self, happened: Happened, state: CoreState) -> None:
        kind, now_s, data = happened.kind, happened.at_s, happened.data
        if kind is EventKind.STARTED:
            self._begin(state, now_s)
        elif not self._going:
            return
        elif kind is EventKind.PHASE:
            self._change_phase(happened.phase, state, now_s)
        elif kind is EventKind.SET_BEGAN:
            self._begin_stretch(_int(data.get("set_index")), now_s)
        elif kind is EventKind.REPETITION or kind is EventKind.SET_ENDED:
            for book in self._books:
                if book.set is not None:
                    book.set.reps = _int(data.get("repetitions"))
            if kind is EventKind.SET_ENDED:
                self._end_stretch(now_s)
        elif kind is EventKind.LIMB_CLOCK:
            for book in self._books:
                if book.cuff == happened.cuff:
                    book.restricted_s = float(data.get("restricted_s") or 0.0)
        elif kind is EventKind.TRIP:
            self._trips.append(_Trip(str(data.get("rule", "")), happened.cuff, now_s))
        elif kind is EventKind.ALARM_RAISED:
            self._alarms.append(
                AlarmSummary(
                    condition=str(data.get("condition", "")),
                    priority=Priority(str(data.get("priority", "low"))),
                    raised_at_s=self._since_start(now_s),
                    cleared_at_s=None,
                )
            )
        elif kind is EventKind.ALARM_CLEARED:
            for alarm in self._alarms:
                if alarm.condition == data.get("condition") and alarm.cleared_at_s is None:
                    alarm.cleared_at_s = self._since_start(now_s)
        elif kind is EventKind.SESSION_ENDED:
            self._outcome = OUTCOMES.get(str(data.get("outcome")), "stopped")

    def _begin(self, state: CoreState, now_s: float) -> None:
        session = state.session
        timeline = session.timeline
        self._books = [
            _Book(cuff, one.plan.lop_mmhg, session.targets_mmhg[cuff])
            for cuff, one in enumerate(session.prescriptions)
            if one is not None
        ]
        self._going = True
        self._outcome = None
        self._started_s = self._last_s = now_s
        self._protocol = "" if timeline is None else timeline.protocol
        self._mode = Mode.NONE if timeline is None else timeline.mode
        self._code = session.code
        self._trips, self._alarms = [], []
        self._bout = False

    def _change_phase(self, phase: Phase, state: CoreState, now_s: float) -> None:
        session = state.session
        for book in self._books:
            if session.targets_mmhg[book.cuff] > 0.0:  # a person may have lowered it
                book.target_mmhg = session.targets_mmhg[book.cuff]
        step = session.step
        if phase is Phase.HOLDING and step is not None and step.kind is StepKind.HOLD:
            self._bout = True
            self._begin_stretch(sum(1 for one in self._books[:1] for _ in one.sets) + 1, now_s)
        elif self._bout and phase is not Phase.HOLDING:
            self._bout = False
            self._end_stretch(now_s)
        if phase is Phase.RELEASING:
            for book in self._books:
                if book.rest is not None:
                    book.rest.release_due_s = now_s

    def _begin_stretch(self, index: int, now_s: float) -> None:
        for book in self._books:
            self._close_inflation(book)
            if book.set is not None and book.set.index == index:
                continue  # a set goes on after a pause
            self._close_rest(book, now_s)
            book.set = _Stretch(now_s, now_s, index)

    def _end_stretch(self, now_s: float) -> None:
        for book in self._books:
            self._close_set(book, now_s)
            book.rest = _Stretch(now_s, now_s)

    def _close_set(self, book: _Book, now_s: float) -> None:
        one, book.set = book.set, None
        if one is None:
            return
        known = one.known_s > 0.0
        book.sets.append(
            SetSummary(
                cuff=book.cuff + 1,
                index=one.index,
                reps=one.reps,
                start_s=self._since_start(one.start_s),
                end_s=self._since_start(now_s),
                mean_mmhg=mmhg(one.area / one.known_s) if known else None,
                max_mmhg=mmhg(one.highest),
                min_mmhg=mmhg(one.lowest),
                time_in_10pct=_share(one.in_10_s, one.known_s),
                time_in_5pct=_share(one.in_5_s, one.known_s),
            )
        )

    def _close_rest(self, book: _Book, now_s: float) -> None:
        one, book.rest = book.rest, None
        if one is None:
            return
        book.rests.append(
            RestSummary(
                cuff=book.cuff + 1,
                start_s=self._since_start(one.start_s),
                end_s=self._since_start(now_s),
                mode=self._mode,
                released_below_15_after_s=(
                    round(one.empty_after_s, 2) if one.empty_after_s == one.empty_after_s else None
                ),
                free_flow_s=round(one.empty_s, 2),
                time_in_5pct=_share(one.held_in_5_s, one.held_s),
            )
        )

    # --- the end ---------------------------------------------------------------------------------------------------

    def _wind_up(self, state: CoreState, now_s: float) -> None:
        """A session that was tripped is over once its cuffs are measured empty, or 30 s later."""
        if self._outcome == "tripped":
            vented = all(one.vent_open and one.dump_open and not one.pump_duty > 0.0 for one in state.given)
            empty = True
            for book in self._books:
                seen = state.seen[book.cuff]
                empty = empty and seen.a_mmhg < EMPTY_MMHG and seen.b_mmhg < EMPTY_MMHG
            for trip in self._trips:
                if trip.vented_after_s is None and vented:
                    trip.vented_after_s = round(now_s - trip.at_s, 3)
                if trip.empty_after_s is None and empty:
                    trip.empty_after_s = round(now_s - trip.at_s, 3)
            if not empty and self._trips and now_s - self._trips[0].at_s < AFTER_TRIP_S:
                return
        self._going = False
        for book in self._books:
            self._close_inflation(book)
            self._close_set(book, book.set.end_s if book.set is not None else now_s)
        self._deliver(self._summary(now_s))

    def _summary(self, now_s: float) -> Session:
        books = self._books
        return Session(
            **self._origin.envelope("session", now_s),
            outcome=self._outcome or "stopped",
            duration_s=self._since_start(now_s),
            protocol=self._protocol,
            code=self._code,
            lop_mmhg=tuple(mmhg(book.lop_mmhg) for book in books),
            target_mmhg=tuple(mmhg(book.target_mmhg) for book in books),
            version=self._version,
            sets=tuple(one for book in books for one in book.sets),
            rests=tuple(one for book in books for one in book.rests),
            inflations=tuple(one for book in books for one in book.inflations),
            trips=tuple(
                TripSummary(
                    rule=one.rule,
                    cuff=None if one.cuff is None else one.cuff + 1,
                    at_s=self._since_start(one.at_s),
                    vent_commanded_after_s=one.vented_after_s,
                    below_15_after_s=one.empty_after_s,
                )
                for one in self._trips
            ),
            alarms=tuple(self._alarms),
            max_mmhg=mmhg(max((book.highest for book in books), default=nan)),
            final_mmhg=mmhg(max((book.newest for book in books), default=nan)),
            seconds_above_lop=round(sum(book.above_lop_s for book in books), 2),
            restricted_s=tuple(round(book.restricted_s, 2) for book in books),
        )

    def _since_start(self, at_s: float) -> float:
        return round(at_s - self._started_s, 2)


def _before_a_set(state: CoreState) -> bool:
    step = state.session.step
    return step is not None and step.kind is StepKind.SET


def _int(some: object) -> int:
    return some if isinstance(some, int) else 0


def _share(part_s: float, whole_s: float) -> float | None:
    return round(min(1.0, part_s / whole_s), 4) if whole_s > 0.0 else None
