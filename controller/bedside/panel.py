"""The panel at the bench: start button, lamp and buzzer, beside the tick and never in its way.

It has a timer of its own, looks at the newest picture of the bench and says what a press means through the same door
as the console (`source="panel"`). The stop is not here: its loop is the guard's, and only shown. Whatever the panel's
hardware does is an alarm at most (`panel_failed`, `button_stuck`); control goes on without it.

Imports the core's words; the composition root hands in the pins and the door. Seconds of the loop's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ..core.model import FAULT, HOLDING, IDLE, PAUSED, READY, RESTING, Notice, Snapshot, Verb
from .button import STUCK_S, Button, Press
from .signals import REFUSED, TAKEN, Colour, Signals, fresh

LOOK_EVERY_S: Final = 0.02
LOOK_LEAST_S: Final = 0.001  # between two looks, whatever the patterns ask for
AGAIN_S: Final = 1.0  # [J] what failed is tried again this often; a button not seen for so long is as at power-up

_log: Final = logging.getLogger("manchet.panel")


class Pins(Protocol):
    """The panel's lines. Any call may raise whatever its driver raises."""

    def pressed(self) -> bool: ...

    def light(self, colour: Colour) -> None: ...

    def tone(self, hz: float) -> None: ...

    def close(self) -> None: ...


Say = Callable[[Verb], "asyncio.Future[Mapping[str, Any]]"]


def meaning(seen: Snapshot, press: Press = Press.SHORT) -> Verb | None:
    """What the button means while the bench looks so. A reset asks for a hold, so that no start becomes one."""
    phase = seen.phase
    if press is Press.HELD:
        return Verb.RESET if phase is FAULT else None
    if phase is READY or phase is IDLE:  # in IDLE the core says why not
        return Verb.START
    if phase is RESTING or phase is PAUSED:
        return Verb.NEXT
    if phase is HOLDING and seen.waiting_for:
        return Verb.PRESENT
    return None


class Panel:
    """`offer` is an audience of control, `notices` goes to it; `start` and `close` are the composition root's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, make_pins: Callable[[], Pins], say: Say) -> None:
        """`make_pins` is called once, here, before anything ticks: it imports the driver."""
        self.pins: Pins | None = None
        self._loop = loop
        self._say = say
        self._button = Button()
        self._signals = Signals()
        self._seen: Snapshot | None = None
        self._before: Snapshot | None = None  # how the bench looked when the button went down
        self._colour: Colour | None = None
        self._hz: float | None = None
        self._failed: dict[str, str] = {}
        self._again_at_s: dict[str, float] = {}
        self._stuck = False
        self._notices: tuple[Notice, ...] = ()
        self._due_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        try:
            self.pins = make_pins()
        except Exception as error:  # whatever a pin library raises: the bench is served without a panel
            self._fail("lines", error)

    # --- what others call --------------------------------------------------------------------------------------------

    def offer(self, seen: Snapshot) -> None:
        """The newest picture of the bench."""
        self._seen = seen

    def notices(self) -> tuple[Notice, ...]:
        """What stands now. The same tuple until something changes."""
        return self._notices

    def start(self) -> None:
        if self.pins is not None:
            self._due_s = self._loop.time()
            self._handle = self._loop.call_at(self._due_s, self._turn)

    def close(self) -> None:
        """Dark and silent. Safe to call twice."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        pins, self.pins = self.pins, None
        if pins is not None:
            try:
                pins.close()
            except Exception as error:
                _log.warning("the panel could not be closed: %s: %s", type(error).__name__, error)

    # --- a turn ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """One look at everything. Each part may fail alone: a lamp that is broken silences no buzzer."""
        pins = self.pins
        if pins is None:
            return
        now_s = self._loop.time()
        if self._due_s <= now_s:  # a turn that was missed is not made up for
            self._due_s += LOOK_EVERY_S * (int((now_s - self._due_s) / LOOK_EVERY_S) + 1)
        next_s = self._due_s
        try:
            self._part("button", lambda: self._press(pins.pressed(), now_s), now_s)
            shown = self._signals.look(self._seen, now_s)
            next_s = min(next_s, shown.next_s)
            if shown.colour != self._colour:
                done = self._part("lamp", lambda: pins.light(shown.colour), now_s)
                self._colour = shown.colour if done else None
            if shown.hz != self._hz:
                done = self._part("buzzer", lambda: pins.tone(shown.hz), now_s)
                self._hz = shown.hz if done else None
        except Exception as error:  # ours: the panel goes on as well as it can, and says so
            self._fail("program", error)
        if self._stuck is not self._button.stuck:
            self._stuck = self._button.stuck
            self._tell()
        self._handle = self._loop.call_at(max(next_s, now_s + LOOK_LEAST_S), self._turn)

    def _press(self, down: bool, now_s: float) -> None:
        """A press means what it meant when the button went down, and only where nothing has changed since."""
        button, seen = self._button, self._seen
        if not button.down:
            self._before = seen
        press = button.look(down, now_s)
        before = self._before
        if press is Press.NONE or seen is None or before is None or seen.phase is not before.phase:
            return
        verb = meaning(seen, press)
        if verb is None or verb is not meaning(before, press) or not fresh(seen, now_s):
            return
        self._say(verb).add_done_callback(lambda answer: self._answered(verb, answer))

    def _answered(self, verb: Verb, answer: asyncio.Future[Mapping[str, Any]]) -> None:
        if answer.cancelled():
            return
        said = answer.result()
        self._signals.pip(TAKEN if said["ok"] else REFUSED)
        _log.info("button: %s: %s", verb, said["text"])

    # --- what fails --------------------------------------------------------------------------------------------------

    def _part(self, what: str, do: Callable[[], None], now_s: float) -> bool:
        """Whether it was done. One that failed is tried again every second."""
        if now_s < self._again_at_s.get(what, 0.0):
            return False
        try:
            do()
        except Exception as error:
            self._again_at_s[what] = now_s + AGAIN_S
            self._fail(what, error)
            return False
        if what in self._failed:
            del self._failed[what], self._again_at_s[what]
            self._tell()
        return True

    def _fail(self, what: str, error: Exception) -> None:
        text = f"{what}: {type(error).__name__}: {error}"
        if self._failed.get(what) != text:
            self._failed[what] = text
            _log.error("the panel's %s", text)
            self._tell()

    def _tell(self) -> None:
        failed = (Notice("panel_failed", detail="; ".join(self._failed.values())),) if self._failed else ()
        stuck = (Notice("button_stuck", limit=STUCK_S, unit="s"),) if self._stuck else ()
        self._notices = failed + stuck
