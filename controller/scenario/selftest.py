"""One self-test of a simulated bench, whole: the real app, a simulated person who looks which cuff fills, faults.

`run_selftest` lives it in virtual time and returns the table. It writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from .. import __version__
from ..clock import virtual_loop
from ..core.limits import EMPTY_MMHG
from ..core.model import FAULT, IDLE, READY, TESTING, Command, EventKind, Happened, Phase, Prescription, Verb
from ..core.step import Stepped
from .run import Lived, Scenario
from .supervisor import BY, Supervisor

SAW_MMHG: Final = 15.0  # a person who looks on sees a cuff fill
BEGIN_AT_S: Final = 1.0
GIVES_UP_S: Final = 900.0
COLUMNS: Final = ("row", "cuff", "figure", "value", "low", "high", "unit", "verdict", "text")


@dataclass
class Told:
    """The table as it is told, event by event; for whoever watches a bench."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    outcome: str = ""
    text: str = ""

    def take(self, happened: Happened) -> None:
        if happened.kind is EventKind.SELFTEST_ROW:
            row = {"cuff": None if happened.cuff is None else happened.cuff + 1, **happened.data}
            key = (row["row"], row["cuff"])
            told = {name: row[name] for name in COLUMNS}
            at = [number for number, one in enumerate(self.rows) if (one["row"], one["cuff"]) == key]
            if at:
                self.rows[at[0]] = told
            else:
                self.rows.append(told)
        elif happened.kind is EventKind.SELFTEST_ENDED:
            self.outcome, self.text = str(happened.data["outcome"]), str(happened.data["text"])


class Examiner(Supervisor):
    """Asks for the test, prescribed or not, and says which cuff filled. `away`: says nothing; `wrong`: another."""

    def __init__(self, lived: LivedTest, prescriptions: tuple[Prescription, ...]) -> None:
        super().__init__(lived.control, prescriptions, lived.scenario.seed)
        self.wrong = False
        self.asked = False
        self._lived = lived
        self._told = not prescriptions
        self._filled = 0
        self._answer_due_s: float | None = None

    def after(self, stepped: Stepped, now_s: float) -> None:
        phase = stepped.state.session.phase
        if phase is TESTING:
            self._look_on(stepped, now_s)
        elif not self.asked and now_s >= BEGIN_AT_S:
            self._ask(phase, now_s)

    def _ask(self, phase: Phase, now_s: float) -> None:
        if not self._told or (self._prescriptions and phase is not READY):
            self._prepare_only(phase, now_s)
        elif phase is READY or phase is IDLE:
            self.asked = True
            self.say(Verb.SELFTEST)

    def _prepare_only(self, phase: Phase, now_s: float) -> None:
        if phase is not READY:
            self._prepare(phase, now_s)

    def _look_on(self, stepped: Stepped, now_s: float) -> None:
        for cuff, plant in enumerate(self._lived.bench.cuffs):
            if plant.cuff_mmhg > SAW_MMHG:
                self._filled = cuff
        test = stepped.state.session.test
        if self.away or test is None or not test.waits:
            self._answer_due_s = None
        elif self._answer_due_s is None:
            self._answer_due_s = now_s + self._random.uniform(1.0, 4.0)
        elif now_s >= self._answer_due_s:
            self._answer_due_s = None
            words = "none" if self.wrong else test.subjects[self._filled].answer
            self._control.say(Command(self._control.next_id(), Verb.SELFTEST, BY, "panel", answer=words))


class LivedTest(Lived):
    """A self-test while it is lived."""

    def __init__(self, scenario: Scenario, loop: asyncio.AbstractEventLoop, prescribed: bool) -> None:
        self.prescribed = prescribed
        self.told = Told()
        self.highest_mmhg = [0.0] * scenario.cuffs
        super().__init__(scenario, loop)

    def _person(self, prescriptions: tuple[Prescription, ...]) -> Supervisor:
        return Examiner(self, prescriptions if self.prescribed else ())

    def _after(self, stepped: Stepped, now_s: float) -> None:
        for happened in stepped.events:
            self.told.take(happened)
        for cuff, plant in enumerate(self.bench.cuffs):
            if plant.cuff_mmhg > self.highest_mmhg[cuff]:
                self.highest_mmhg[cuff] = plant.cuff_mmhg
        if self.stalled:
            super()._after(stepped, now_s)
            return
        phase = stepped.state.session.phase
        if self._ended_s is None and (self.told.outcome or phase is FAULT or now_s > GIVES_UP_S):
            self._ended_s = now_s
        if self._ended_s is not None:
            empty = all(cuff.cuff_mmhg < EMPTY_MMHG for cuff in self.bench.cuffs)
            if (empty and phase in (IDLE, READY, FAULT)) or now_s - self._ended_s >= 30.0:
                self.finish()


def run_selftest(
    scenario: Scenario,
    prescribed: bool = False,
    look: Callable[[LivedTest], None] = lambda _lived: None,
) -> dict[str, Any]:
    """Live it in virtual time; the object that `simulate --selftest` prints."""
    loop = virtual_loop()
    with ExitStack() as stack:
        stack.callback(loop.close)
        return loop.run_until_complete(_live(scenario, loop, prescribed, look))


async def _live(
    scenario: Scenario, loop: asyncio.AbstractEventLoop, prescribed: bool, look: Callable[[LivedTest], None]
) -> dict[str, Any]:
    lived = LivedTest(scenario, loop, prescribed)
    look(lived)
    began_wall = time.perf_counter()
    publishing = asyncio.ensure_future(lived.publisher.run())
    lived.start()
    await lived.done
    await lived.publisher.close()
    publishing.cancel()
    if lived.control.failed.done():
        lived.control.failed.result()
    lived.journal.close()
    session = lived.control.state.session
    return {
        "outcome": lived.told.outcome or ("not over" if session.test is not None else "not begun"),
        "text": lived.told.text or (session.not_ready if session.test is None else ""),
        "rows": lived.told.rows,
        "trip": session.fault.rule if session.fault is not None else None,
        "phase": str(session.phase),
        "duration_s": round(loop.time() - BEGIN_AT_S, 2),
        "max_true_mmhg": [round(one, 2) for one in lived.highest_mmhg],
        "final_true_mmhg": [round(one.cuff_mmhg, 2) for one in lived.bench.cuffs],
        "restricted_s": [
            round(clock.restricted_s, 2) if (clock := session.clock_of(cuff)) is not None else None
            for cuff in range(scenario.cuffs)
        ],
        "faults_never_began": list(lived.schedule.never_began),
        "guard": scenario.guard,
        "seed": scenario.seed,
        "version": __version__,
        "wall_s": round(time.perf_counter() - began_wall, 3),
    }
