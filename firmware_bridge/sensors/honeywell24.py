"""What Honeywell's 24-bit pressure sensors, ABP2 and MPR, have in common: command, status, and what is no reading.

A conversion is started by writing AA 00 00 and takes 5 ms; then a status byte and three bytes of pressure are read.
Only status 0x40 is a reading. The parts are known to latch up: invalid status bytes, or zeroed conversions with a good
status. Both are faults here, as is every count outside the valid band: never a plausible number. `smbus2` is imported
when a sensor is made. A bus operation blocks; nothing is retried here: what may be, the bus does.

Sources: datasheets ABP2 32350268 and MPR; Linux drivers/iio/pressure/abp2030pa.c and mprls0025pa.c.
"""

from __future__ import annotations

from ctypes import addressof, c_ubyte
from dataclasses import dataclass
from math import nan
from struct import Struct
from typing import Final

from ..ports import I2CBus, Reading, SensorFault
from .bus import bus_fault

GOOD: Final = 0x40
BUSY: Final = 0x60
ALL_ONES: Final = 0xFFFFFF
CONVERSION_S: Final = 0.005
LOWEST_MMHG: Final = -20.0  # a gauge that says less is broken, not in a vacuum [J]
START: Final = (0xAA, 0x00, 0x00)
WORD: Final = Struct(">I")  # status and pressure
FRAME: Final = Struct(">IBH")  # and temperature, where there is one
CELSIUS_PER_COUNT: Final = 200.0 / 16_777_215
STATUS_MEANS: Final = {
    0x60: "still converting",
    0x44: "memory error, its calibration is lost",
    0x41: "math saturation, the pressure is off its scale",
    0x00: "not powered",
    0xFF: "nothing drives the bus",
    0x7F: "nothing drives the bus",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A transfer function: counts at zero and at full scale, which is in mmHg."""

    output_min: int
    output_max: int
    full_scale_mmhg: float

    @property
    def mmhg_per_count(self) -> float:
        return self.full_scale_mmhg / (self.output_max - self.output_min)

    def mmhg(self, counts: int) -> float:
        """Gauge pressure. Slightly below zero is normal and is not clipped."""
        return (counts - self.output_min) * self.mmhg_per_count

    def counts(self, mmhg: float) -> int:
        """The count that is nearest to a pressure, towards zero pressure."""
        return self.output_min + int(mmhg / self.mmhg_per_count)


class Honeywell24:
    """One sensor. `start` and `read` make one bus transfer each; the messages are made once."""

    def __init__(
        self, bus: I2CBus, address: int, name: str, span: Span, highest_mmhg: float, temperature: bool
    ) -> None:
        """`highest_mmhg`: above it a count is no reading. `temperature`: whether the part gives one.

        Raises:
            ValueError: no 7-bit address.
        """
        from smbus2 import i2c_msg

        if not 0x08 <= address <= 0x77:
            raise ValueError(f"address = {address:#04x}: must be 0x08 to 0x77")
        self.name = f"{name} at {address:#04x}"
        self.low_mmhg = LOWEST_MMHG
        self.high_mmhg = span.full_scale_mmhg
        self._bus = bus
        self._zero = span.output_min
        self._scale = span.mmhg_per_count
        self._floor = span.counts(LOWEST_MMHG)
        self._top = span.counts(highest_mmhg)
        self._write = i2c_msg.write(address, START)
        frame_bytes = FRAME.size if temperature else WORD.size
        self._temperature = temperature
        self._read = i2c_msg.read(address, frame_bytes)
        self._frame = (c_ubyte * frame_bytes).from_address(addressof(self._read.buf.contents))
        self._started_at_s: float | None = None

    def start(self, now_s: float) -> None:
        """Begin a conversion. Raises SensorFault when the device does not take the command."""
        started_at_s = self._started_at_s
        if started_at_s is not None and 0.0 <= now_s - started_at_s < CONVERSION_S:
            return  # the device would lose the command, and the reading would pass for a later one
        self._started_at_s = None  # a command that failed leaves nothing to read
        try:
            self._bus.i2c_rdwr(self._write)
        except OSError as error:
            raise bus_fault(self.name, error) from error
        self._started_at_s = now_s

    def read(self, now_s: float) -> Reading | None:
        """The conversion started before, None while it goes on: a tick on time may come close behind a late one. A
        conversion can be read once: the device has no mark for an old one.

        Raises:
            SensorFault: not started, bus error, any status but 0x40, latch-up, counts outside the valid band.
        """
        started_at_s = self._started_at_s
        if started_at_s is None:
            raise SensorFault(f"{self.name}: no conversion was started, so there is nothing new to read")
        if 0.0 <= now_s - started_at_s < CONVERSION_S:
            return None
        self._started_at_s = None
        try:
            self._bus.i2c_rdwr(self._read)
        except OSError as error:
            raise bus_fault(self.name, error) from error
        if self._temperature:
            word, warm_high, warm_low = FRAME.unpack_from(self._frame)
            celsius = (warm_high << 16 | warm_low) * CELSIUS_PER_COUNT - 50.0
        else:
            (word,) = WORD.unpack_from(self._frame)
            celsius = nan
        counts = word - (GOOD << 24)
        if not self._floor <= counts <= self._top:
            raise self._refused(word)
        return Reading(started_at_s, (counts - self._zero) * self._scale, counts, celsius)

    def _refused(self, word: int) -> SensorFault:
        """Why this status and these counts are no reading."""
        status, counts = word >> 24, word & ALL_ONES
        if status != GOOD:
            means = STATUS_MEANS.get(status, "no status of this series, perhaps latched up: cut its supply")
            return SensorFault(f"{self.name}: status {status:#04x}, must be {GOOD:#04x} ({means})")
        if counts == 0:
            return SensorFault(f"{self.name}: zero counts with a good status, it has latched up: cut its supply")
        if counts == ALL_ONES:
            return SensorFault(f"{self.name}: all ones with a good status, nothing drives the bus")
        side = "above" if counts > self._top else "below"
        mmhg = (counts - self._zero) * self._scale
        return SensorFault(
            f"{self.name}: {counts} counts, {side} its valid band of {self._floor} to {self._top} ({mmhg:.1f} mmHg)"
        )
