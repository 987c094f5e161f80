"""A limb in a cuff: contractions that swing its volume with the tempo, arterial pulses, a person's imprecision.

Volumes are what the limb takes from the bladder, mL; positive squeezes. The swing is centred on the volume at which
the cuff was closed: the first contraction starts from the middle, the last one returns to it. A contraction builds up
fast (`rise_fraction` of a repetition), stands through the concentric part and the pause, and falls in the eccentric
part. No person keeps a tempo exactly: every repetition has its own start, length and strength, from the limb's own
random stream. Times are seconds of the caller's clock and must not go back.
"""

from __future__ import annotations

from math import cos, pi, sin
from random import Random
from typing import Final

from .plant import PlantSettings

PULSE_HZ: Final = 1.1
PULSE_ML: Final = 0.5  # half of peak to peak where it is largest [J: some 1 mmHg of a leg cuff]
PULSE_GONE_AT: Final = 1.15  # share of LOP above which nothing passes
BELL: Final = 4.0 / PULSE_GONE_AT**2  # makes its top 1
PULSE_1_S: Final = 2.0 * pi * PULSE_HZ
FALL_TO_RISE: Final = 1.5  # a load let down slowly is let go slower than it was taken up [J]
REACTION_S: Final = 0.12  # behind the cue, mean of a person who follows a metronome [J]
REACTION_SD_S: Final = 0.06
REACTION_MAX_S: Final = 0.30
LENGTH_SD: Final = 0.08  # of the rise and of the fall, relative
STRENGTH_SD: Final = 0.07  # of the swing, relative
VARIES_AT_MOST: Final = 2.0  # standard deviations
SETTLE_S: Final = 1.0  # back to the middle after a set


class SimulatedLimb:
    """The limb of one cuff. `lop_mmhg` only shapes the arterial pulses."""

    def __init__(self, settings: PlantSettings, seed: int | str = 0, lop_mmhg: float = 187.0) -> None:
        self.lop_mmhg = lop_mmhg
        self._settings = settings
        self._random = Random(f"{seed}/limb")
        self._pulse_phase = self._random.uniform(0.0, 2.0 * pi)
        self._repetition = -1  # of the set under way; -1 outside
        self._count = 0
        self._begin_s = self._concentric_s = self._pause_s = self._eccentric_s = self._period_s = 0.0
        # the movement under way: from one volume to another between two instants
        self._from_ml = self._to_ml = 0.0
        self._from_s = self._until_s = -1e9
        self._fall: tuple[float, float, float] | None = None  # begin, length, volume: the movement after this one
        self._next_s = 1e18  # when something changes besides the movement

    def begin_set(self, at_s: float, concentric_s: float, pause_s: float, eccentric_s: float, count: int) -> None:
        """`count` repetitions from `at_s` on, paced at this tempo."""
        self._begin_s, self._count = at_s, count
        self._concentric_s, self._pause_s, self._eccentric_s = concentric_s, pause_s, eccentric_s
        self._period_s = concentric_s + pause_s + eccentric_s
        self._repetition = 0
        self._fall = None
        self._next_s = at_s
        self._plan()

    def end_set(self, at_s: float) -> None:
        """The limb relaxes, whatever was left of the set."""
        self._repetition = -1
        self._fall = None
        self._next_s = 1e18
        self._move(at_s, SETTLE_S, 0.0)

    def clench(self, at_s: float, volume_ml: float, over_s: float = 0.3) -> None:
        """A spasm: the limb swells by so much and stays so until `end_set`."""
        self._repetition = -1
        self._fall = None
        self._next_s = 1e18
        self._move(at_s, over_s, volume_ml)

    def volume_ml(self, at_s: float, pressure_mmhg: float) -> float:
        """What the limb takes from the bladder at this instant, pulses included."""
        if at_s >= self._next_s:
            self._turn(at_s)
        swing = self._to_ml if at_s >= self._until_s else self._swing_ml(at_s)
        share = pressure_mmhg / self.lop_mmhg
        if 0.0 < share < PULSE_GONE_AT:
            bell = share * (PULSE_GONE_AT - share) * BELL
            swing += PULSE_ML * bell * sin(PULSE_1_S * at_s + self._pulse_phase)
        return swing

    def _swing_ml(self, at_s: float) -> float:
        if at_s <= self._from_s:
            return self._from_ml
        if at_s >= self._until_s:
            return self._to_ml
        share = (at_s - self._from_s) / (self._until_s - self._from_s)
        return self._from_ml + (self._to_ml - self._from_ml) * 0.5 * (1.0 - cos(pi * share))

    def _move(self, at_s: float, length_s: float, to_ml: float) -> None:
        self._from_ml = self._swing_ml(at_s)
        self._to_ml, self._from_s, self._until_s = to_ml, at_s, at_s + length_s

    def _turn(self, at_s: float) -> None:
        """Begin the fall of this repetition, or the rise of the next, or relax for good."""
        while at_s >= self._next_s:
            began_s = self._next_s
            if self._fall is not None:
                begin_s, length_s, to_ml = self._fall
                self._move(begin_s, length_s, to_ml)
                self._fall = None
                self._repetition += 1
                if self._repetition >= self._count:
                    self._repetition = -1
                    self._next_s = 1e18
                else:
                    self._plan()
            else:
                self._move(began_s, self._rise_s, self._rise_ml)
                self._fall = (self._fall_at_s, self._fall_s, self._fall_to_ml)
                self._next_s = self._fall_at_s

    def _plan(self) -> None:
        """Draw this repetition: when it starts, how fast it rises and falls, how far it swings."""
        gauss = self._random.gauss
        cue_s = self._begin_s + self._repetition * self._period_s
        late_s = min(REACTION_MAX_S, max(0.0, gauss(REACTION_S, REACTION_SD_S)))
        late_down_s = min(REACTION_MAX_S, max(0.0, gauss(REACTION_S, REACTION_SD_S)))
        nominal_s = self._settings.rise_fraction * self._period_s
        rise_s = nominal_s * _varied(gauss(0.0, 1.0), LENGTH_SD)
        fall_s = FALL_TO_RISE * nominal_s * _varied(gauss(0.0, 1.0), LENGTH_SD)
        half_ml = 0.5 * self._settings.swing_ml * _varied(gauss(0.0, 1.0), STRENGTH_SD)
        self._rise_s, self._rise_ml = rise_s, half_ml
        begin_s = max(self._until_s, cue_s + late_s)
        up_until_s = begin_s + rise_s
        self._fall_at_s = max(up_until_s, cue_s + self._concentric_s + self._pause_s + late_down_s)
        self._fall_s = fall_s
        last = self._repetition == self._count - 1
        self._fall_to_ml = 0.0 if last else -half_ml
        self._next_s = begin_s


def _varied(standard: float, deviation: float) -> float:
    """A factor round 1."""
    return 1.0 + deviation * min(VARIES_AT_MOST, max(-VARIES_AT_MOST, standard))
