"""The restricted-time clock of a limb: how long it has been without free flow.

A limb is (session code, limb, side). Restricted is every second that the pressure is at or above 15 mmHg or unknown;
180 s continuously below 15 mmHg clears it (3 min of reperfusion, VALD 665). Durations are added up tick by tick.
"""

from __future__ import annotations

from dataclasses import dataclass

from .limits import EMPTY_MMHG, REPERFUSION_S, TICK_LATE_S
from .model import Limb, Side

LimbKey = tuple[str, Limb, Side]


@dataclass(slots=True)
class LimbClock:
    restricted_s: float = 0.0
    free_s: float = 0.0  # continuously below 15 mmHg
    exercise_s: float = 0.0  # restricted since the exercise under way, or the last one, began: the session says when

    def fork(self) -> LimbClock:
        return LimbClock(self.restricted_s, self.free_s, self.exercise_s)

    def run(self, pressure_mmhg: float, certain: bool, dt_s: float) -> None:
        """Add one tick. `pressure_mmhg` is the higher of A and B; NaN or an uncertain reading counts as restricted, and
        so does a gap too long for a tick: nobody saw what was in between."""
        if certain and pressure_mmhg < EMPTY_MMHG and 0.0 <= dt_s <= TICK_LATE_S:  # written so that NaN counts
            self.free_s += dt_s
            if self.free_s >= REPERFUSION_S:
                self.restricted_s = 0.0
        else:
            self.free_s = 0.0
            self.restricted_s += max(0.0, dt_s)
            self.exercise_s += max(0.0, dt_s)
