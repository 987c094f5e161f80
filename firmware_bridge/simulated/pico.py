"""A Pico in simulation: the real `firmware/board.py`, its pass and its sensors, on simulated pins, bus and watchdog.

Everything around it, the line, the monostable, the stop loop and the faults, is that of `SimulatedGuard`; only the pass
is the board's own. Times are seconds of one virtual clock.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Final

from ..firmware import wire
from ..firmware.board import WATCHDOG_MS, Board, Lines
from ..firmware.guard import Guard
from ..firmware.pressure import Abp2
from ..ports import Sensor
from .bus import SimulatedBus, bus_error
from .guard import LATENCY_S, PassClock, Pins, SimulatedGuard

B_ADDRESS: Final = 0x28


class Pin:
    """A `machine.Pin` or, by its duty, a `machine.PWM`."""

    def __init__(self) -> None:
        self.level = 0

    def value(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
        return self.level

    duty_u16 = value


class I2C:
    """A `machine.I2C` on a simulated bus."""

    def __init__(self, bus: SimulatedBus, clock: PassClock) -> None:
        self._bus = bus
        self._clock = clock

    def writeto(self, address: int, data: bytes) -> None:
        self._device(address).written(data, self._clock.now_s)

    def readfrom_into(self, address: int, frame: bytearray) -> None:
        frame[:] = self._device(address).asked(len(frame), self._clock.now_s)

    def _device(self, address: int) -> Any:
        if self._bus.error is not None:
            raise bus_error(self._bus.error)
        device = self._bus.devices.get(address)
        if device is None:
            raise bus_error(errno.EIO)
        return device


class SimulatedPico(SimulatedGuard):
    """The board. It has the faults of `SimulatedGuard`; one that is `hung` while its watchdog runs is reset by it, and
    is another boot when it goes on."""

    def __init__(
        self,
        cuffs: Sequence[Pins],
        sensors: Sequence[Sensor],
        buses: Sequence[SimulatedBus],
        clock: PassClock,
        seed: int | str = 0,
        *,
        start_s: float = 0.0,
        start_ms: int = 0,
        latency_s: float = LATENCY_S,
    ) -> None:
        """As `SimulatedGuard`; `buses` by cuff, with an ABP2 on each. The board reads them with its own firmware."""
        self._pins = [[Pin(), Pin(), Pin(), Pin()] for _ in cuffs]
        self._estop = Pin()
        self._own = [Abp2(I2C(bus, clock), B_ADDRESS, "600MG") for bus in buses]
        self._watched = False  # by the watchdog
        super().__init__(cuffs, sensors, clock, seed, start_s=start_s, start_ms=start_ms, latency_s=latency_s)

    def advance(self, now_s: float) -> None:
        starves_s = self._last_pass_s + WATCHDOG_MS / 1000.0
        if self.hung and self._watched and now_s >= starves_s:
            self._watched = False
            self.reboot(starves_s)
        super().advance(now_s)

    def _boot(self) -> Guard:
        guard = super()._boot()
        self._watched = False
        lines = [Lines(pump, enable, vent, dump) for pump, enable, vent, dump in self._pins]
        sensors = [_Cut(self, channel, own) for channel, own in enumerate(self._own)]
        self._board = Board(guard, _Serial(self), lines, sensors, self._estop, Pin(), self._start_watchdog)
        return guard

    def _start_watchdog(self) -> SimulatedPico:
        self._watched = True
        return self

    def feed(self) -> None:
        """By every whole pass; when that was is `_last_pass_s`."""

    def _pass(self, at_s: float) -> None:
        self.passes += 1
        self._clock.now_s = at_s
        self._ms += (at_s - self._last_pass_s) * 1000.0 * self.clock_drift
        self._estop.level = 1 if self.estop_open else 0
        if not self._board.one_pass(int(self._ms + 0.5)):
            self.hung = True  # in its console
        self._last_pass_s = at_s
        if self.estop_open:
            self._drive(at_s, 0, 0, 0, 0)
            return
        driven = [0, 0, 0, 0]
        for channel, (pump, enable, vent, dump) in enumerate(self._pins):
            driven[2 * channel] = round(pump.level * 1000 / 65535)
            driven[2 * channel + 1] = enable.level | vent.level << 1 | dump.level << 2
        self._drive(at_s, *driven)


class _Serial:
    """The board's end of the line."""

    def __init__(self, pico: SimulatedPico) -> None:
        self._pico = pico

    def read(self) -> bytes:
        return self._pico.to_guard.take(self._pico._clock.now_s)

    def ready(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        if not self._pico.unplugged:
            self._pico.to_host.put(data, self._pico._clock.now_s)


class _Cut:
    """A sensor of the board whose wire a fault may cut."""

    def __init__(self, pico: SimulatedPico, channel: int, own: Abp2) -> None:
        self._pico = pico
        self._channel = channel
        self._own = own

    def convert(self) -> int:
        b_dmmhg = self._own.convert()
        return wire.NO_READING if self._pico.b_missing[self._channel] else b_dmmhg
