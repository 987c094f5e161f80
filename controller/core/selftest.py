"""The self-test of a bench before a patient: a pure sequence, stepped each tick with what is seen.

Here is what it remembers, its plan and its table; `selftest_stages.py` has the stages it goes through and
`selftest_rows.py` the rows. Cuff by cuff it asks for a raw drive (`CuffDemand`; `safety.supervise` keeps the last
word). Only the cuff under test is ever closed, and armed at the guard; the first row that fails vents everything and
ends the test. Imports the core only; mmHg, seconds added up tick by tick.

What is asked for, in order: look at everything vented; have the guard refuse an over-long lease; each cuff alone to
30 mmHg, vented, and a person says which one filled; then each cuff to 60 mmHg (time of the rise), each switch of the
pump alone, the dump valve alone, the vent alone, and the leak at 150 mmHg (or 80 % of LOP, where that is lower).

Valves. The fall through one open valve is fitted as p = p0 exp(-t / tau), by least squares on ln p of sensor B between
90 % of where it began and 20 mmHg: hose, valve and cuff as they are. From 220 to 15 mmHg it takes tau ln(220 / 15),
which is 2.69 tau; 5 s of that allow a tau of 1.86 s. A cuff gives a little more at 220 mmHg than at 60, so that the
true time is up to a tenth longer [D, simulated plants].

Leak. A limb that creeps lets the pressure fall as a leak does, and is no leak. A leak loses air in proportion to p; a
cuff that grows at a steady rate takes air in proportion to p + 760; a mmHg more takes air as 1 + 0.0012 p. With the
falls r1 and r2, measured at p1 (40 % of p2) and p2, and v = (p2 + 760) / (p1 + 760), the growth drops out:
leak at 150 mmHg = (r2 - v (1 + 0.0012 p1) / (1 + 0.0012 p2) r1) 150 / (p2 - v p1), never more than the whole fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, nan
from typing import Final

from .model import GuardState, Seen, forker, value
from .selftest_rows import LOOKED_AT, PROVEN, ROWS, SHOWN_ALONE, Outcome, Proof

LEAK_MMHG: Final = 150.0


class Stage(Enum):
    """One stretch of the sequence; each is a function in `selftest_stages.py`."""

    LOOK = "look"
    REFUSE = "refuse"
    ARM = "arm"
    FILL = "fill"
    KEEP = "keep"
    EMPTY = "empty"
    DISARM = "disarm"
    CONFIRM = "confirm"
    RISE = "rise"
    SETTLE = "settle"
    PWM = "pwm"
    PAUSE = "pause"
    ENABLE = "enable"
    DUMP = "dump"
    AGAIN = "again"
    STILL = "still"
    VENT = "vent"
    CREEP_TO = "creep_to"
    CREEP = "creep"
    LEAK_TO = "leak_to"
    LEAK = "leak"


_S: Final = Stage
_SHOWN_ALONE: Final = (_S.ARM, _S.FILL, _S.KEEP, _S.EMPTY, _S.DISARM, _S.CONFIRM)
_MEASURED: Final = (
    _S.ARM, _S.RISE, _S.SETTLE, _S.PWM, _S.PAUSE, _S.ENABLE, _S.DUMP, _S.AGAIN, _S.STILL, _S.VENT, _S.CREEP_TO,
    _S.CREEP, _S.LEAK_TO, _S.LEAK, _S.EMPTY, _S.DISARM,
)  # fmt: skip
UNDER_WAY: Final = {  # the row that a stage is about: what goes wrong in it is that row's finding
    _S.LOOK: "sensors", _S.REFUSE: "refusal", _S.ARM: "arms", _S.FILL: "fills", _S.KEEP: "closes", _S.EMPTY: "vent",
    _S.DISARM: "arms", _S.CONFIRM: "confirmed", _S.RISE: "rise", _S.SETTLE: "rise", _S.PWM: "pwm_alone",
    _S.PAUSE: "pwm_alone", _S.ENABLE: "enable_alone", _S.DUMP: "dump", _S.AGAIN: "rise", _S.STILL: "rise",
    _S.VENT: "vent", _S.CREEP_TO: "rise", _S.CREEP: "leak", _S.LEAK_TO: "leak", _S.LEAK: "leak",
}  # fmt: skip
_OF_THE_BENCH: Final = frozenset({"estop", "refusal"})
NEEDS_ARMED: Final = frozenset(_MEASURED + _SHOWN_ALONE) - {_S.ARM, _S.DISARM, _S.CONFIRM}
_TRIPS_ROW: Final = {  # a rule that tells which row it belongs to, whatever stage it fires in
    "stop_button": "estop", "stale_sample": "sensors", "implausible": "sensors", "frozen_sample": "sensors",
    "guard_lost": "arms", "guard_rebooted": "arms", "guard_tripped": "arms",
}  # fmt: skip


@value
class Subject:
    """One cuff as the test has it."""

    leak_mmhg: float  # p2
    answer: str  # what a person who saw this cuff fill says


@value
class Look:
    """What the sequence sees of the bench in one tick."""

    dt_s: float
    seen: tuple[Seen, ...]
    guard: GuardState | None
    estop_ok: bool
    refused: int  # counted by the guard, modulo 2**16
    vented: bool  # every pin, by the guard's newest status


@dataclass(slots=True)
class SelfTest:
    """Everything the sequence remembers. Forked once a tick of the test, then changed in place by that tick only."""

    subjects: tuple[Subject, ...]
    plan: tuple[tuple[Stage, int], ...]
    at: int = 0
    age_s: float = 0.0  # of this stage
    proofs: tuple[Proof, ...] = ()
    over: bool = False
    prove: bool = False  # in this tick the guard is to be sent the lease that it must refuse
    unarmed_s: float = 0.0
    base_mmhg: tuple[tuple[float, float], ...] = ()  # A and B of every cuff when a stage began
    from_mmhg: float = nan
    peak_mmhg: float = -inf
    low_mmhg: float = inf  # of a closed cuff, once the air in it has come to rest
    refused: int = -1
    rising_s: float = nan  # since 20 mmHg
    heard_at_s: float = nan  # the newest B that was taken into a fit
    fit: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # n, and sums of t, y, t*t, t*y
    creep: tuple[float, float] = (0.0, 0.0)  # mmHg/min, at mmHg

    @property
    def stage(self) -> Stage:
        return self.plan[self.at][0]

    @property
    def cuff(self) -> int:
        """The cuff under test, from 0; -1 while none is."""
        return self.plan[self.at][1]

    @property
    def passed(self) -> bool:
        return self.over and all(one.outcome is Outcome.PASSED for one in table(self))

    @property
    def wants_armed(self) -> bool:
        """Whether the guard should be armed, for this cuff alone; otherwise it should be vented and disarmed."""
        return self.stage is _S.ARM or self.stage in NEEDS_ARMED

    @property
    def waits(self) -> bool:
        """Whether a person is asked which cuff filled."""
        return self.stage is _S.CONFIRM and not self.over

    # --- what the stages use -------------------------------------------------------------------------------------

    def next(self) -> None:
        self.age_s, self.unarmed_s = 0.0, 0.0
        self.base_mmhg, self.from_mmhg, self.peak_mmhg, self.low_mmhg = (), nan, -inf, inf
        self.rising_s = self.heard_at_s = nan
        self.fit = (0.0, 0.0, 0.0, 0.0, 0.0)
        if self.at + 1 < len(self.plan):
            self.at += 1
        else:
            self.over = True

    def judge(self, row: str, measured: float, why: str = "", cuff: int | None = None, advice: str = "") -> bool:
        """Enter a row; the first that fails ends the test. NaN fails. `advice`: where the row's own would mislead."""
        kind, cuff = ROWS[row], self.cuff if cuff is None else cuff
        good = not why and kind.low <= measured <= kind.high
        advice = advice or kind.advice
        text = "" if good else f"{why}; {advice}" if why else advice
        outcome = Outcome.PASSED if good else Outcome.FAILED
        kept = [one for one in self.proofs if (one.row, one.cuff) != (row, cuff)]
        self.proofs = (*kept, Proof(row, cuff, measured, outcome, text))
        self.over = self.over or not good
        return good

    def add(self, t_s: float, y: float) -> None:
        n, t, total, tt, ty = self.fit
        self.fit = (n + 1.0, t + t_s, total + y, tt + t_s * t_s, ty + t_s * y)

    def slope(self) -> float:
        """Of the least-squares line through what was added; NaN where there is none."""
        n, t, y, tt, ty = self.fit
        spread = n * tt - t * t
        return (n * ty - t * y) / spread if spread > 0.0 else nan


fork: Final = forker(SelfTest)


def begin(subjects: tuple[Subject, ...]) -> SelfTest:
    """A test of every cuff of the bench."""
    plan = [(_S.LOOK, -1), (_S.REFUSE, -1)]
    for stages in (_SHOWN_ALONE, _MEASURED):
        for cuff in range(len(subjects)):
            plan += [(stage, cuff) for stage in stages]
    return SelfTest(subjects, tuple(plan))


def leak_mmhg(lop_mmhg: float, ceiling_mmhg: float) -> float:
    """At what pressure a leak is looked for: 150 mmHg, 80 % of the limb's LOP or 75 % of the bench's ceiling [J]."""
    return min(LEAK_MMHG, 0.8 * lop_mmhg, 0.75 * ceiling_mmhg)


def table(t: SelfTest) -> tuple[Proof, ...]:
    """Every row in its order, also those that were not come to."""
    done = {(one.row, one.cuff): one for one in t.proofs}
    cuffs = range(len(t.subjects))
    alone = [row for row in SHOWN_ALONE if row != "alone" or len(t.subjects) > 1]
    keys = [("estop", -1), *[(row, cuff) for cuff in cuffs for row in LOOKED_AT], ("refusal", -1)]
    for rows in (alone, PROVEN):
        keys += [(row, cuff) for cuff in cuffs for row in rows]
    return tuple([done.get(key) or Proof(*key, nan, Outcome.NOT_DONE) for key in keys])


def tripped(t: SelfTest, rule: str, cuff: int, why: str) -> None:
    """A safety rule has vented the bench: its finding is the row's. The rule's figure is another than the row's."""
    row = _TRIPS_ROW.get(rule, UNDER_WAY[t.stage])
    where = -1 if row in _OF_THE_BENCH else max(0, cuff if cuff >= 0 else t.cuff)
    t.judge(row, nan, why, where, "" if rule in _TRIPS_ROW or cuff >= 0 else "then begin the self-test anew")


def offered(words: str, answers: tuple[str, ...]) -> bool:
    """Whether what a person says is one of these, in whatever order its words come."""
    return _plain(words) in [_plain(one) for one in answers]


def answer(t: SelfTest, words: str) -> bool:
    """What a person says to the question which cuff filled. Whether it was this one, where it should be."""
    right = _plain(words) == _plain(t.subjects[t.cuff].answer)
    why = "" if right else f"a person saw {words.strip()[:20] or 'none'} fill, expected {t.subjects[t.cuff].answer}"
    t.judge("confirmed", 1.0 if right else 0.0, why)
    if right:
        t.next()
    return right


def _plain(words: str) -> list[str]:
    return sorted(words.lower().replace("cuff", " ").split())
