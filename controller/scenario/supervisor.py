"""A simulated supervisor: screens, prescribes, starts, and gives a sign after each release.

Speaks to the core with the commands a person's verbs become; nothing it says skips a check. Its reaction time is its
own random stream. Faults of the operator (`faults.py`) set its attributes.
"""

from __future__ import annotations

from random import Random
from typing import Final

from ..control import Control
from ..core.model import (
    HOLDING,
    IDLE,
    READY,
    RESTING,
    Command,
    Phase,
    Prescription,
    Screening,
    Verb,
)
from ..core.step import Stepped

HESITATES_S: Final = (1.0, 4.0)  # between what is seen and what is said [J]
LOOKS_IN_S: Final = 100.0  # during a long hold [J]
BY: Final = "SIM"


class Supervisor:
    """Looks on after every tick."""

    def __init__(self, control: Control, prescriptions: tuple[Prescription, ...], seed: int) -> None:
        self.away = False  # gives no sign any more
        self.started = False
        self._control = control
        self._prescriptions = prescriptions
        self._random = Random(f"{seed}/supervisor")
        self._next_s = 0.0
        self._told = False
        self._phase = IDLE
        self._release_s = 0.0  # the release that was last answered with a sign
        self._sign_due_s: float | None = None

    def say(self, verb: Verb, **what: object) -> None:
        self._control.say(Command(self._control.next_id(), verb, BY, "panel", **what))  # type: ignore[arg-type]

    def after(self, stepped: Stepped, now_s: float) -> None:
        """One tick."""
        session = stepped.state.session
        phase = session.phase
        if not self.started:
            self._prepare(phase, now_s)
            return
        if self.away:
            return
        due_s = self._sign_due_s
        if due_s is not None:  # once seen it is said, whatever comes in between: an empty rest may be over in a second
            if now_s >= due_s:
                self._sign_due_s = None
                self.say(Verb.PRESENT)
        elif (phase is RESTING and session.released_at_s != self._release_s) or (
            phase is HOLDING and now_s - max(session.phase_since_s, session.sign_at_s) > LOOKS_IN_S
        ):
            self._release_s = session.released_at_s
            self._sign_due_s = now_s + self._random.uniform(*HESITATES_S)

    def _prepare(self, phase: Phase, now_s: float) -> None:
        if now_s < self._next_s:
            return
        self._next_s = now_s + 0.5
        if not self._told:
            self._told = True
            first = self._prescriptions[0]
            self.say(Verb.SCREEN, screening=Screening(first.code, BY, True, ()))
            for prescription in self._prescriptions:
                self.say(Verb.PRESCRIBE, prescription=prescription)
        elif phase is READY:
            self.started = True
            self.say(Verb.START)
