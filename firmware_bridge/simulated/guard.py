"""A guard board in simulation: the real `firmware/guard.py` on simulated pins, sensors, serial line and monostable.

Only what a board is made of is simulated here; every decision is the guard's own. The board has no timer: `advance`
runs every pass of its loop that was due (100 Hz of its own clock), so that a host that is dead in virtual time still
lets its lease lapse. Each pass takes bytes, reads B of the conversion it started a pass ago, lets the guard decide,
integrates the plant up to the pass and only then sets the pins.

Coils and pump are supplied through a retriggerable monostable that each pass toggles: a loop that stops lets go of
them MONOSTABLE_S after its last pass. The E-stop loop cuts the same supply, and the guard senses it.

Times are seconds of one virtual clock; `PassClock` is that clock as the board's own bus sees it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from os import strerror
from random import Random
from typing import Final, Protocol

from ..conversions import Conversions
from ..firmware import wire
from ..firmware.guard import Guard
from ..ports import Sensor

PASS_S: Final = 0.01
FIRST_PASS_S: Final = 0.005  # the board's loop runs between two ticks of a host that starts at the same instant
LATENCY_S: Final = 0.0015  # [J] USB serial, one way
MONOSTABLE_S: Final = 0.2
BOOT_S: Final = 0.3  # [J] reset to first pass
BUFFER_BYTES: Final = 16384  # what a line holds when nobody reads; more is lost


class Pins(Protocol):
    """The part of a simulated cuff that the board drives."""

    pump_duty: float
    pump_enabled: bool
    vent_open: bool
    dump_open: bool

    def advance(self, to_s: float) -> None: ...


class PassClock:
    """The time of the pass under way: give it to the bus of the B sensors, and to the board."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Line:
    """One direction of a serial line: what is put in comes out later, in order, unless a fault has it otherwise.

    `corrupt`, `drop` and `duplicate` are probabilities for each write; `held` keeps everything back until it is
    released as one backlog; `silent` loses everything; `delay_s` is added to the latency.
    """

    def __init__(self, random: Random, latency_s: float = LATENCY_S) -> None:
        self.latency_s = latency_s
        self.delay_s = 0.0
        self.corrupt = 0.0
        self.drop = 0.0
        self.duplicate = 0.0
        self.held = False
        self.silent = False
        self._random = random
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._last_due_s = -1e9

    def put(self, data: bytes, now_s: float) -> None:
        if self.silent or (self.drop and self._random.random() < self.drop):
            return
        if self.corrupt and self._random.random() < self.corrupt:
            damaged = bytearray(data)
            damaged[self._random.randrange(len(damaged))] ^= 1 << self._random.randrange(8)
            data = bytes(damaged)
        if self.duplicate and self._random.random() < self.duplicate:
            data += data
        if self._bytes + len(data) > BUFFER_BYTES:
            return
        due_s = now_s + self.latency_s + self.delay_s
        if due_s < self._last_due_s:
            due_s = self._last_due_s  # a serial line never reorders
        self._last_due_s = due_s
        self._bytes += len(data)
        self._chunks.append((due_s, data))

    def take(self, now_s: float) -> bytes:
        """What has arrived by now."""
        chunks = self._chunks
        if not chunks or self.held or chunks[0][0] > now_s:
            return b""
        data = chunks.popleft()[1]
        while chunks and chunks[0][0] <= now_s:
            data += chunks.popleft()[1]
        self._bytes -= len(data)
        return data

    def clear(self) -> None:
        self._chunks.clear()
        self._bytes = 0


class SimulatedGuard:
    """The board. Faults are plain attributes, set by a schedule:

    `hung` (its loop stands still), `reboot(now_s)`, `b_missing[channel]`, `clock_drift` (1.0 is true, 1.05 runs fast),
    `estop_open`, `unplugged` (the host's end raises OSError, nothing crosses), and those of `to_guard` and `to_host`.
    """

    def __init__(
        self,
        cuffs: Sequence[Pins],
        sensors: Sequence[Sensor],
        clock: PassClock,
        seed: int | str = 0,
        *,
        start_s: float = 0.0,
        start_ms: int = 0,
        latency_s: float = LATENCY_S,
    ) -> None:
        """One B sensor a cuff, on a bus that runs on `clock`; `start_ms` is what the guard's own clock starts at."""
        if len(cuffs) != len(sensors) or not 1 <= len(cuffs) <= 2:
            raise ValueError(f"{len(cuffs)} cuffs with {len(sensors)} sensors: must be one B sensor for each of 1 or 2")
        self.hung = False
        self.clock_drift = 1.0
        self.estop_open = False
        self.unplugged = False
        self.b_missing = [False] * len(cuffs)
        self.to_guard = Line(Random(f"{seed}/guard/to_guard"), latency_s)
        self.to_host = Line(Random(f"{seed}/guard/to_host"), latency_s)
        self.passes = 0
        self._random = Random(f"{seed}/guard/boot")
        self._cuffs = tuple(cuffs)
        self._conversions = Conversions(sensors)
        self._channels = range(len(sensors))
        self._clock = clock
        self._start_ms = start_ms
        self._ms = float(start_ms)
        self._driven: tuple[int, int, int, int] | None = None  # what the pins were last set to
        self._last_pass_s = start_s
        self._next_pass_s = start_s + FIRST_PASS_S
        self.guard = self._boot()

    def advance(self, now_s: float) -> None:
        """Run every pass that was due up to now; let the monostable drop when passes have stopped."""
        if self.hung:
            while self._next_pass_s <= now_s:
                self._next_pass_s += PASS_S
            self._drop_supply(now_s)
            return
        while self._next_pass_s <= now_s:
            at_s = self._next_pass_s
            self._drop_supply(at_s)
            self._pass(at_s)
            self._next_pass_s = at_s + PASS_S / self.clock_drift

    def before(self, pressure_at: Callable[[float], float]) -> Callable[[float], float]:
        """The same reading of the plant, with every pass due before it run first: for the host's own sensors, so that
        the plant is never integrated past a pin that should have moved."""

        def after_passes(now_s: float) -> float:
            if now_s >= self._next_pass_s or self.hung:
                self.advance(now_s)
            return pressure_at(now_s)

        return after_passes

    def reboot(self, now_s: float) -> None:
        """Reset: lines low at once, everything forgotten, a new boot id once it runs again."""
        self.advance(now_s)
        self.guard = self._boot()
        self.to_guard.clear()
        self._ms = float(self._start_ms)
        self._last_pass_s = now_s
        self._next_pass_s = now_s + BOOT_S
        self._drive(now_s, 0, 0, 0, 0)

    def transport(self, now: Callable[[], float]) -> SimulatedTransport:
        """The host's end of the line, on the host's clock."""
        return SimulatedTransport(self, now)

    def _boot(self) -> Guard:
        return Guard(self._random.randrange(1, 1 << 32), len(self._cuffs), self._start_ms)

    def _pass(self, at_s: float) -> None:
        guard = self.guard
        self.passes += 1
        self._clock.now_s = at_s
        self._ms += (at_s - self._last_pass_s) * 1000.0 * self.clock_drift
        now_ms = int(self._ms + 0.5)
        data = self.to_guard.take(at_s)
        if data:
            guard.on_bytes(data, now_ms)
        conversions = self._conversions
        b = conversions.dmmhg
        for channel in self._channels:
            conversions.convert(channel, at_s)
            if self.b_missing[channel]:
                b[channel] = wire.NO_READING
        guard.tick(now_ms, b, not self.estop_open)
        self._last_pass_s = at_s
        if self.estop_open:
            self._drive(at_s, 0, 0, 0, 0)
        else:
            first, second = guard.outputs
            self._drive(at_s, first.duty, first.flags, second.duty, second.flags)
        data = guard.take_bytes()
        if data and not self.unplugged:
            self.to_host.put(data, at_s)

    def _drop_supply(self, now_s: float) -> None:
        """What happens without the guard's doing: the monostable lapses, the E-stop loop opens."""
        lapses_s = self._last_pass_s + MONOSTABLE_S
        if now_s >= lapses_s:
            self._drive(lapses_s, 0, 0, 0, 0)
        elif self.estop_open:
            self._drive(now_s, 0, 0, 0, 0)

    def _drive(self, at_s: float, duty0: int, flags0: int, duty1: int, flags1: int) -> None:
        wanted = (duty0, flags0, duty1, flags1)
        if wanted == self._driven:
            return
        self._driven = wanted
        _set(self._cuffs[0], at_s, duty0, flags0)
        if len(self._cuffs) == 2:
            _set(self._cuffs[1], at_s, duty1, flags1)


class SimulatedTransport:
    """A `ports.Transport`. Reading it lets the board catch up first."""

    def __init__(self, board: SimulatedGuard, now: Callable[[], float]) -> None:
        self._board = board
        self._now = now

    def write(self, data: bytes) -> None:
        if self._board.unplugged:
            raise OSError(errno.EIO, strerror(errno.EIO))
        self._board.to_guard.put(data, self._now())

    def read(self) -> bytes:
        board = self._board
        now_s = self._now()
        board.advance(now_s)
        if board.unplugged:
            raise OSError(errno.EIO, strerror(errno.EIO))
        return board.to_host.take(now_s)


def _set(cuff: Pins, at_s: float, duty: int, flags: int) -> None:
    cuff.advance(at_s)  # the past with the pins of the past
    cuff.pump_duty = duty * 0.001
    cuff.pump_enabled = bool(flags & wire.PUMP_ENABLE)
    cuff.vent_open = not flags & wire.VENT_CLOSED
    cuff.dump_open = not flags & wire.DUMP_CLOSED
