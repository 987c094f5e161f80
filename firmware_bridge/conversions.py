"""Sensors B as a guard reads them: each pass takes the conversion of the last one and starts the next.

What the guard process and the simulated board have in common, in tenths of a mmHg. Times are seconds of the caller's
clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from .firmware import wire
from .ports import Sensor, SensorFault

HELD_S: Final = 0.05  # [J] how old a reading may get while the next is converted


class Conversions:
    """What sensors B said last, by channel: `dmmhg` is what a guard's `tick` takes."""

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self.dmmhg = [wire.NO_READING] * 2
        self._sensors = tuple(sensors)
        self._at_s = [-inf] * 2

    def convert(self, channel: int, now_s: float) -> None:
        """The conversion started a pass ago; the next is started. While a slow one goes on the last one stands, for
        HELD_S at most."""
        sensor = self._sensors[channel]
        try:
            reading = sensor.read(now_s)
            if reading is not None:
                self.dmmhg[channel] = round(reading.pressure_mmhg * 10.0)
                self._at_s[channel] = reading.at_s
            elif not now_s - self._at_s[channel] < HELD_S:
                self.dmmhg[channel] = wire.NO_READING
        except SensorFault:
            self.dmmhg[channel] = wire.NO_READING
        try:  # noqa: SIM105 (`suppress` costs a pass more than the call it is round)
            sensor.start(now_s)
        except SensorFault:
            pass  # the read of the next pass will say so
