"""What the panel shows and sounds: alarm signals after IEC 60601-1-8 by priority, cues for whoever exercises.

Pure: `Signals.look(snapshot, now_s)` says which colours are lit and which tone sounds at that instant. Imports the
core's words only. Seconds of the tick's clock; colours are (red, green, blue); a tone is in Hz, 0 is silence.

The patterns are tables. Beside each number stands the standard's range: [K] is general knowledge of IEC 60601-1-8, to
be checked against the standard itself; [F] is read in the named source; [J] is this project's choice. Alarms sound
within 150 to 1000 Hz; cues are single short pips above that, so that none is taken for an alarm, and are withheld
while a burst is being heard.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from math import inf, isnan, nan
from typing import Final

from ..core.model import IDLE, READY, Alarm, Phase, Priority, Snapshot, value

Colour = tuple[bool, bool, bool]

DARK: Final[Colour] = (False, False, False)
RED: Final[Colour] = (True, False, False)
YELLOW: Final[Colour] = (True, True, False)
GREEN: Final[Colour] = (False, True, False)
CYAN: Final[Colour] = (False, True, True)
BLUE: Final[Colour] = (False, False, True)

PICTURE_STALE_S: Final = 0.5  # [J] ten pictures: a panel that shows an old one would say that all is well
TEST_STEP_S: Final = 0.5  # [J] of each colour, at power-up
_CLOSE_S: Final = 1e-6  # an edge this near has come: what a timer's instant loses in a sum


@value
class Flash:
    """One look of the lamp: lit for `on_s` of every `period_s`; constant where these are equal."""

    colour: Colour
    period_s: float
    on_s: float

    def into(self, since_s: float) -> float:
        """Seconds into the period."""
        return (since_s + _CLOSE_S) % self.period_s

    def lit(self, since_s: float) -> bool:
        return self.on_s >= self.period_s or self.into(since_s) < self.on_s


@value
class Burst:
    """One auditory alarm signal: tone on, off, on … at `edges_s`, again after `every_s` (inf: it sounds once)."""

    hz: float
    edges_s: tuple[float, ...]
    every_s: float

    @property
    def length_s(self) -> float:
        return self.edges_s[-1]

    def at(self, since_s: float) -> tuple[bool, bool, float]:
        """Whether it sounds, whether the burst is not over yet, and when either changes next."""
        within_s = (since_s + _CLOSE_S) % self.every_s
        passed = bisect_right(self.edges_s, within_s)
        next_s = self.edges_s[passed] if passed < len(self.edges_s) else self.every_s
        return passed % 2 == 1, passed < len(self.edges_s), since_s + _CLOSE_S - within_s + next_s


@value
class Pip:
    """A cue: one short tone."""

    hz: float
    length_s: float


def burst(hz: float, pulse_s: float, gaps_s: tuple[float, ...], pause_s: float) -> Burst:
    """Equal pulses with these gaps between them, and `pause_s` from the last to the next burst."""
    edges_s = [0.0, pulse_s]
    for gap_s in gaps_s:
        edges_s += [edges_s[-1] + gap_s, edges_s[-1] + gap_s + pulse_s]
    return Burst(hz, tuple(edges_s), edges_s[-1] + pause_s)


# --- the tables ------------------------------------------------------------------------------------------------------

LAMPS: Final[Mapping[Priority, Flash]] = {
    Priority.HIGH: Flash(RED, 0.5, 0.2),  # red, 2 Hz (1.4 to 2.8) for 40 % (20 to 60) [F]
    Priority.MEDIUM: Flash(YELLOW, 2.0, 1.0),  # yellow, 0.5 Hz (0.4 to 0.8) for 50 % (20 to 60) [F]
    Priority.LOW: Flash(CYAN, 1.0, 1.0),  # cyan or yellow, constant [F]; cyan: not to be taken for the one above
}

_X_S: Final = 0.125  # between pulses of a high burst: 50 to 125 ms [K], sound generators 125 to 250 [F]
_PULSE_S: Final = 0.15  # high: 75 to 200 ms [K]; a real device has 120 [F N-560]
_LONG_S: Final = 2 * _X_S + _PULSE_S  # after the third pulse of five: as if one were left out [K]
_MIDDLE_S: Final = 0.5  # between the two halves: 0.35 to 1.3 s [K]
_Y_S: Final = 0.2  # between pulses of a medium or low burst: 125 to 250 ms [K, F]; and a pulse: 125 to 250 ms [K]

BURSTS: Final[Mapping[Priority, Burst]] = {
    # 10 pulses, again after 2.5 to 15 s; 150 to 1000 Hz [F]: four harmonics below 4000 Hz bound it to 800 here
    Priority.HIGH: burst(660.0, _PULSE_S, (_X_S, _X_S, _LONG_S, _X_S, _MIDDLE_S, _X_S, _X_S, _LONG_S, _X_S), 4.0),
    Priority.MEDIUM: burst(520.0, _Y_S, (_Y_S, _Y_S), 6.0),  # 3 pulses, again after 2.5 to 30 s [F]
    Priority.LOW: burst(400.0, _Y_S, (_Y_S,), inf),  # 1 or 2 pulses, more than 15 s apart or never again [F]
}

# Cues are this project's own [J].
TEMPO: Final[Mapping[str, Pip]] = {
    "up": Pip(1600.0, 0.06),
    "go": Pip(1600.0, 0.06),
    "hold": Pip(1350.0, 0.06),
    "down": Pip(1150.0, 0.06),
}
COUNT: Final = Pip(1350.0, 0.1)  # 3, 2, 1 before an inflation or a first repetition
FILLS: Final = Pip(1600.0, 0.3)  # the inflation begins
OVER: Final = Pip(1150.0, 0.3)  # the set is over
TAKEN: Final = Pip(1600.0, 0.04)  # the button was heard
REFUSED: Final = Pip(1150.0, 0.15)  # it was heard, and there is a reason against it
COUNT_FROM: Final = 3

_READY: Final = Flash(GREEN, 1.0, 1.0)
_UNDER_WAY: Final = Flash(BLUE, 1.0, 1.0)
_ASKS: Final = Flash(BLUE, 1.0, 0.5)  # [J] a person is asked for something
_WINK_S: Final = 0.1  # [J] a blue wink in the dark of a flash: the sound is paused
_TESTED: Final = (RED, GREEN, BLUE)


@value
class Shown:
    """The panel at one instant. `next_s` is when the tone changes by itself; look again then at the latest."""

    colour: Colour
    hz: float
    next_s: float


def fresh(seen: Snapshot, now_s: float) -> bool:
    """Whether this is how the bench looks now. Written so that NaN is old."""
    return now_s - seen.at_s < PICTURE_STALE_S


class Signals:
    """Remembers since when what is shown is shown. Nothing here can refuse or fail on any snapshot."""

    def __init__(self) -> None:
        self._flash: Flash | None = None
        self._flash_from_s = 0.0
        self._sounding: tuple[Priority, float] | None = None  # and when the newest low alarm was raised
        self._burst_from_s = 0.0
        self._pip: Pip | None = None
        self._pip_until_s = nan
        self._cue: tuple[str, int, int] = ("", 0, 0)
        self._first_s: float | None = None

    def pip(self, pip: Pip) -> None:
        """Let this be heard from the next look on, unless an alarm is."""
        self._pip, self._pip_until_s = pip, nan

    def look(self, seen: Snapshot | None, now_s: float) -> Shown:
        """What to show now. `seen` is the newest picture of the bench, None before the first."""
        if self._first_s is None:
            self._first_s = now_s
            self.pip(TAKEN)
        known = now_s - self._first_s < PICTURE_STALE_S if seen is None else fresh(seen, now_s)
        alarms = seen.alarms if seen is not None else ()
        priority = (alarms[0].priority if alarms else None) if known else Priority.HIGH
        paused = known and any(now_s < alarm.audio_paused_until_s for alarm in alarms)
        if seen is not None:
            self._hear(seen)
        colour = self._colour(seen, priority, paused, now_s)
        hz, next_s = self._tone(priority, _newest_low_s(alarms), paused, now_s)
        return Shown(colour, hz, next_s)

    # --- lamp ------------------------------------------------------------------------------------------------------

    def _colour(self, seen: Snapshot | None, priority: Priority | None, paused: bool, now_s: float) -> Colour:
        flash = LAMPS[priority] if priority is not None else _calm(seen)
        if flash is not self._flash:
            self._flash, self._flash_from_s = flash, now_s
        tested = int((now_s - (self._first_s or 0.0) + _CLOSE_S) / TEST_STEP_S)
        if priority is None and 0 <= tested < len(_TESTED):
            return _TESTED[tested]
        if flash is None:
            return DARK
        since_s = now_s - self._flash_from_s
        if flash.lit(since_s):
            return flash.colour
        middle_s = (flash.on_s + flash.period_s) / 2.0
        return BLUE if paused and abs(flash.into(since_s) - middle_s) <= _WINK_S / 2.0 else DARK

    # --- sound -----------------------------------------------------------------------------------------------------

    def _tone(self, priority: Priority | None, newest_low_s: float, paused: bool, now_s: float) -> tuple[float, float]:
        sounding = self._sounding
        wanted: tuple[Priority, float] | None = None
        if priority is not None and not paused:
            wanted = (priority, 0.0)
            if priority is Priority.LOW:  # it sounds once: again only for one that is newer
                newest_low_s = max(newest_low_s, sounding[1] if sounding is not None else newest_low_s)
                wanted = (priority, newest_low_s)
        if wanted != sounding and (paused or not self._must_end(wanted, now_s)):
            sounding = self._sounding = wanted
            self._burst_from_s = now_s
        if sounding is not None:
            one = BURSTS[sounding[0]]
            on, under_way, next_s = one.at(now_s - self._burst_from_s)
            if under_way:
                self._pip = None
                return (one.hz if on else 0.0), self._burst_from_s + next_s
        else:
            next_s = inf
        if self._pip is not None:
            if isnan(self._pip_until_s):
                self._pip_until_s = now_s + self._pip.length_s
            if now_s < self._pip_until_s - _CLOSE_S:
                return self._pip.hz, min(self._pip_until_s, self._burst_from_s + next_s)
            self._pip = None
        return 0.0, self._burst_from_s + next_s

    def _must_end(self, wanted: tuple[Priority, float] | None, now_s: float) -> bool:
        """A burst that has begun is heard to its end [K], unless what comes is more urgent."""
        if self._sounding is None:
            return False
        urgent = wanted is not None and _RANK[wanted[0]] <= _RANK[self._sounding[0]]
        return not urgent and BURSTS[self._sounding[0]].at(now_s - self._burst_from_s)[1]

    def _hear(self, seen: Snapshot) -> None:
        """A pip where the cue has changed."""
        before, self._cue = self._cue, (seen.cue, seen.set_index, seen.repetition)
        if self._cue == before:
            return
        pip = TEMPO.get(seen.cue)
        if pip is None and seen.cue != before[0]:
            if seen.cue == "inflating":
                pip = FILLS
            elif before[0] in TEMPO and seen.cue in ("rest", "releasing", "wait"):
                pip = OVER
            elif _counts(seen.cue):
                pip = COUNT
        if pip is not None:
            self.pip(pip)


_RANK: Final = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


def _counts(cue: str) -> bool:
    """`cuff fills in 3`, `ready in 1`."""
    number = cue.rpartition(" ")[2]
    return number.isdigit() and 1 <= int(number) <= COUNT_FROM


def _newest_low_s(alarms: tuple[Alarm, ...]) -> float:
    return max((alarm.raised_at_s for alarm in alarms if alarm.priority is Priority.LOW), default=0.0)


def _calm(seen: Snapshot | None) -> Flash | None:
    """The lamp while no alarm stands."""
    phase: Phase = IDLE if seen is None else seen.phase
    if seen is None or phase is IDLE:
        return None
    if phase is READY:
        return _READY
    return _ASKS if seen.waiting_for else _UNDER_WAY
