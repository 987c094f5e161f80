"""What the session remembers, and what the rest of the core asks of it. `session.py` moves it by the clock and by what
is measured, `commands.py` by what a person says. Imports the core only; seconds and mmHg.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import Final

from .limb import LimbClock, LimbKey
from .model import (
    FAULT,
    IDLE,
    INFLATING,
    RELEASING,
    STOPPING,
    EventKind,
    Finding,
    Happened,
    Phase,
    Prescription,
    Scalar,
    Screening,
    Step,
    Timeline,
    forker,
)
from .phases import Event, next_phase
from .selftest import SelfTest

RELEASE_FIRST_GUESS_S: Final = 3.0  # [J] until this bench has released once


@dataclass(slots=True)
class SessionState:
    """Everything the session remembers. Forked once a tick, then changed in place by that tick only."""

    phase: Phase
    phase_since_s: float
    screening: Screening | None
    prescriptions: tuple[Prescription | None, ...]
    targets_mmhg: tuple[float, ...]  # as prescribed, or as lowered since
    clocks: dict[LimbKey, LimbClock]
    limbs: tuple[LimbKey | None, ...]  # whose limb each cuff was put on last; stays when the session is over
    screened_at_s: float = nan
    timeline: Timeline | None = None  # of the prescriptions: one for all cuffs in use
    step_index: int = -1
    progress_s: float = 0.0  # of this step, lived before a pause
    step_from_s: float = nan  # since when this step counts
    repetition: int = -1
    last_cue_at_s: float = -1e9
    started_at_s: float = nan
    last_repetition_at_s: float = nan  # end of the last set: a rest is counted from here
    due_at_s: float = nan  # when the phase's waiting is over: inflation, first repetition or release
    sign_at_s: float = -1e9  # last sign of the supervisor
    released_at_s: float = -1e9  # start of the last release
    empty_at_s: float = nan
    inflate_from_s: float = nan  # armed, and on the way to the target
    arm_asked_at_s: float = nan
    unarmed_since_s: float = nan
    shortened: bool = False  # the rest under way, by a person's `next`: to the 30 s that any rest lasts
    waiting_since_s: float = nan  # for a sign of the supervisor
    inflation_s: float = nan  # this bench's own last measured time to target
    release_s: float = RELEASE_FIRST_GUESS_S  # and to empty
    final: bool = False  # the timeline is lived; the release under way is the last
    pausing: bool = False
    resetting_since_s: float = nan
    cuff_off: bool = False  # said with the reset
    limb_clock_told_s: float = 0.0
    bench_free_s: float = 0.0  # every cuff below 15 mmHg for so long
    past_unknown: bool = False  # the journal could not be read: a limb counts as at its cap until 180 s below 15
    fault: Finding | None = None
    ended: Finding | None = None  # why the last session ended early; stands until the next start
    warning: Finding | None = None  # something to tell that neither trips nor ends
    not_ready: str = "no prescription"
    unrecorded: str = ""  # why what happens now is not kept, as a sentence; "" where it is
    test: SelfTest | None = None  # the self-test under way
    test_stage_at_s: float = nan  # since when its stage lasts
    test_asked_at_s: float = -1e9  # when one was asked for that the button at the bench has to begin
    test_passed_at_s: float = nan  # since this boot
    test_failed: Finding | None = None  # the first row of the last one that failed; until another begins
    keeps: bool = False  # the release under way ends a self-test: what is prescribed stays
    nobodys_s: float = 0.0  # restricted by a self-test with nobody's limb named, until 180 s below 15 mmHg
    outcome: str = ""
    events: list[Happened] = field(default_factory=list)

    def fork(self) -> SessionState:
        new = _fork(self)
        new.events = []
        if self.clocks:
            new.clocks = {key: clock.fork() for key, clock in self.clocks.items()}
        return new

    # --- what the rest of the core asks --------------------------------------------------------------------------

    @property
    def code(self) -> str:
        for prescription in self.prescriptions:
            if prescription is not None:
                return prescription.code
        return ""

    @property
    def step(self) -> Step | None:
        timeline = self.timeline
        if timeline is None or not 0 <= self.step_index < len(timeline.steps):
            return None
        return timeline.steps[self.step_index]

    def clock_of(self, cuff: int) -> LimbClock | None:
        """The clock of the limb this cuff was put on last. It runs on after the session: pressure may be there yet."""
        limb = self.limbs[cuff]
        return None if limb is None else self.clocks.get(limb)

    @property
    def exercise_restricted_s(self) -> tuple[float, ...]:
        """By cuff, of the limb it was put on last. It belongs to the limb: another cuff makes no new exercise."""
        clocks = [self.clock_of(cuff) for cuff in range(len(self.limbs))]
        return tuple([0.0 if clock is None else clock.exercise_s for clock in clocks])

    def new_exercise(self) -> None:
        """What has been restricted so far belongs to the exercise before."""
        for cuff in range(len(self.limbs)):
            clock = self.clock_of(cuff)
            if clock is not None:
                clock.exercise_s = 0.0

    def tell(self, kind: EventKind, now_s: float, cuff: int | None = None, **data: Scalar) -> None:
        self.events.append(Happened(kind, now_s, self.phase, cuff, data))

    def go(self, event: Event, now_s: float, why: str = "") -> bool:
        """Take the table's way for this event; False where there is none."""
        to = next_phase(self.phase, event)
        if to is None:
            return False
        was, self.phase = self.phase, to
        self.phase_since_s = now_s
        self.keeps = event is Event.TEST_OVER
        self.unarmed_since_s = self.waiting_since_s = nan  # a call for a sign ends with the phase that called
        if to is INFLATING:
            self.arm_asked_at_s, self.inflate_from_s = now_s, nan
        elif to in _RELEASING and was not in _RELEASING:
            self.released_at_s = now_s
        data: dict[str, Scalar] = {"from": str(was), "event": str(event)}
        if why:
            data["why"] = why
        self.events.append(Happened(EventKind.PHASE, now_s, to, None, data))
        return True


_fork: Final = forker(SessionState)
_RELEASING: Final = frozenset({RELEASING, STOPPING})


def initial(
    cuffs: int,
    now_s: float,
    clocks: dict[LimbKey, LimbClock] | None = None,
    fault: Finding | None = None,
    past_unknown: bool = False,
) -> SessionState:
    """Boot: vented and IDLE, or FAULT when the journal holds one that nobody reset."""
    return SessionState(
        phase=IDLE if fault is None else FAULT,
        phase_since_s=now_s,
        screening=None,
        prescriptions=(None,) * cuffs,
        targets_mmhg=(nan,) * cuffs,
        clocks=dict(clocks or {}),
        limbs=(None,) * cuffs,
        fault=fault,
        past_unknown=past_unknown,
    )
