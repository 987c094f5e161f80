"""A pressure sensor with the correction of its calibration: `gain * (reading - offset)`.

Counts and temperature go through untouched: a frozen sensor is found by what the device said. The correction is bounded
here as well as where it is kept, so that no file can turn one sensor into another one.
"""

from __future__ import annotations

from typing import Final

from ..ports import Reading, Sensor

GAIN_LOW: Final = 0.9  # [J] a sensor that needs more is broken, or another one than the settings say
GAIN_HIGH: Final = 1.1
OFFSET_MOST_MMHG: Final = 10.0  # [J] as far from zero as a vented sensor may be


class Calibrated:
    """A `ports.Sensor` around another one. Its scale is the corrected one."""

    def __init__(self, sensor: Sensor, gain: float, offset_mmhg: float) -> None:
        """`offset_mmhg`: what the sensor reads without pressure.

        Raises:
            ValueError: gain or offset out of bounds, or NaN.
        """
        if not GAIN_LOW <= gain <= GAIN_HIGH:
            raise ValueError(f"{sensor.name}: gain = {gain:g}: must be from {GAIN_LOW:g} to {GAIN_HIGH:g}")
        if not -OFFSET_MOST_MMHG <= offset_mmhg <= OFFSET_MOST_MMHG:
            most = OFFSET_MOST_MMHG
            raise ValueError(f"{sensor.name}: offset = {offset_mmhg:g}: must be from {-most:g} to {most:g} mmHg")
        self.name = sensor.name
        self.low_mmhg = gain * (sensor.low_mmhg - offset_mmhg)
        self.high_mmhg = gain * (sensor.high_mmhg - offset_mmhg)
        self._sensor = sensor
        self._gain = gain
        self._offset_mmhg = offset_mmhg

    def start(self, now_s: float) -> None:
        self._sensor.start(now_s)

    def read(self, now_s: float) -> Reading | None:
        """The sensor's own conversion, corrected. Raises what the sensor raises."""
        reading = self._sensor.read(now_s)
        if reading is None:
            return None
        corrected_mmhg = self._gain * (reading.pressure_mmhg - self._offset_mmhg)
        return Reading(reading.at_s, corrected_mmhg, reading.counts, reading.temperature_c)
