"""The start button: a raw level, looked at every 20 ms → at most one press, and never one that nobody made.

Pure; seconds of the loop's clock. A press counts only where the button was seen let go before it and is itself let go
in time, so a button that is stuck, shorted or held at power-up starts nothing, however long it stays so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SETTLED_S: Final = 0.04  # [J] a level that has stood for this long is no bounce (contacts: 1 to 10 ms)
RELEASED_S: Final = 0.1  # [J] seen let go for this long before a press counts
PRESS_MIN_S: Final = 0.05  # [J] shorter is a disturbance
PRESS_MAX_S: Final = 2.0  # [J] longer is somebody leaning on it
HOLD_MIN_S: Final = 3.0  # [J] a hold, which resets, is longer than any press
HOLD_MAX_S: Final = 6.0  # [J]
STUCK_S: Final = 10.0  # [J]
UNSEEN_S: Final = 0.2  # [J] ten looks missed: what happened in between is not known, and nothing before it counts


class Press(StrEnum):
    NONE = "none"
    SHORT = "short"
    HELD = "held"


class Button:
    """`look` is called with every level seen. `down` is the settled level; before any was seen it counts as down."""

    def __init__(self) -> None:
        self.down = True
        self.stuck = False
        self._counts = False  # the press under way was begun from a button that had been seen let go
        self._raw = True
        self._raw_since_s = self._since_s = 0.0
        self._looked_at_s: float | None = None

    def look(self, down: bool, now_s: float) -> Press:
        """The press that has just ended, if it was one."""
        last_s, self._looked_at_s = self._looked_at_s, now_s
        if last_s is None or not 0.0 <= now_s - last_s <= UNSEEN_S:
            self._forget(now_s)
        if down is not self._raw:
            self._raw, self._raw_since_s = down, now_s
        press = Press.NONE
        if self._raw is not self.down and now_s - self._raw_since_s >= SETTLED_S - _ROUNDING_S:
            press = self._settle()
        self.stuck = self.down and now_s - self._since_s >= STUCK_S
        return press

    def _settle(self) -> Press:
        lasted_s = self._raw_since_s - self._since_s
        self.down, self._since_s = self._raw, self._raw_since_s
        if self.down:
            self._counts = lasted_s >= RELEASED_S - _ROUNDING_S
            return Press.NONE
        if self._counts and PRESS_MIN_S - _ROUNDING_S <= lasted_s <= PRESS_MAX_S + _ROUNDING_S:
            return Press.SHORT
        if self._counts and HOLD_MIN_S - _ROUNDING_S <= lasted_s <= HOLD_MAX_S + _ROUNDING_S:
            return Press.HELD
        return Press.NONE

    def _forget(self, now_s: float) -> None:
        """As at power-up: down until it has been seen let go. What was stuck stays so."""
        since_s = self._since_s if self.stuck else now_s
        self.down = self._raw = True
        self._counts = False
        self._raw_since_s, self._since_s = now_s, since_s


_ROUNDING_S: Final = 1e-6
