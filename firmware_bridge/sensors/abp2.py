"""Honeywell ABP2 pressure sensor on I2C, transfer function A (10-90 % of 2^24 counts).

A conversion is started by writing AA 00 00 and takes 5 ms; then seven bytes are read: status, three of pressure, three
of temperature. Only status 0x40 is a reading. The series is known to latch up: invalid status bytes, or zeroed
conversions with a good status. Both are faults here, as is every count outside the valid band: never a plausible
number. `smbus2` is imported when a sensor is made, so that this imports on a laptop. A bus operation blocks; this
driver never retries: a tick has no time for it, and a fault that lasts is for the safety rules.

Source: datasheet ABP2 32350268; Linux drivers/iio/pressure/abp2030pa.c.
"""

from __future__ import annotations

import errno
from ctypes import addressof, c_ubyte
from struct import Struct
from typing import Final

from ..ports import I2CBus, Reading, SensorFault

GOOD: Final = 0x40
BUSY: Final = 0x60
OUTPUT_MIN: Final = 1_677_722  # 10 % of 2^24
OUTPUT_MAX: Final = 15_099_494  # 90 %
OUTPUT_SPAN: Final = OUTPUT_MAX - OUTPUT_MIN
ALL_ONES: Final = 0xFFFFFF
CONVERSION_S: Final = 0.005
CELSIUS_PER_COUNT: Final = 200.0 / 16_777_215
LOWEST_MMHG: Final = -20.0  # a gauge that says less is broken, not in a vacuum [J]
START: Final = (0xAA, 0x00, 0x00)
FRAME: Final = Struct(">IBH")  # status and pressure in one word, then temperature
SPANS_MMHG: Final = {  # full scale of the order codes that cover a cuff; 5 psi (258.6) and 400MG (300.0) do not
    "600MG": 450.0369,
    "060KG": 450.0369,
    "001BG": 750.0616,
    "100KG": 750.0616,
    "015PG": 775.7225,
}
STATUS_MEANS: Final = {
    0x60: "still converting",
    0x44: "memory error, its calibration is lost",
    0x41: "math saturation, the pressure is off its scale",
    0x00: "not powered",
    0xFF: "nothing drives the bus",
    0x7F: "nothing drives the bus",
}
ERRNO_MEANS: Final = {
    errno.EREMOTEIO: "it does not answer; see to its wires, supply and address",
    errno.ENXIO: "it does not answer; see to its wires, supply and address",
    errno.ETIMEDOUT: "the bus hangs; see whether a device holds a line low",
    errno.EIO: "the transfer broke off",
}


class Abp2:
    """One sensor. `start` and `read` make one bus transfer each; the messages are made once."""

    def __init__(self, bus: I2CBus, address: int = 0x28, name: str = "pressure sensor", part: str = "600MG") -> None:
        """`part` is the pressure range in the order code.

        Raises:
            ValueError: a part that does not cover a cuff, or no 7-bit address.
        """
        from smbus2 import i2c_msg

        if part not in SPANS_MMHG:
            raise ValueError(f"part = {part}: must be one of {', '.join(SPANS_MMHG)} (others end at 300 mmHg or below)")
        if not 0x08 <= address <= 0x77:
            raise ValueError(f"address = {address:#04x}: must be 0x08 to 0x77")
        self.name = f"{name} at {address:#04x}"
        self.low_mmhg = LOWEST_MMHG
        self.high_mmhg = SPANS_MMHG[part]
        self._bus = bus
        self._scale = self.high_mmhg / OUTPUT_SPAN
        self._floor = OUTPUT_MIN + int(LOWEST_MMHG / self._scale)
        self._write = i2c_msg.write(address, START)
        self._read = i2c_msg.read(address, FRAME.size)
        self._frame = (c_ubyte * FRAME.size).from_address(addressof(self._read.buf.contents))
        self._started_at_s: float | None = None

    def start(self, now_s: float) -> None:
        """Begin a conversion. Raises SensorFault when the device does not take the command."""
        self._started_at_s = None  # a command that failed leaves nothing to read
        try:
            self._bus.i2c_rdwr(self._write)
        except OSError as error:
            raise self._bus_fault(error) from error
        self._started_at_s = now_s

    def read(self, now_s: float) -> Reading:  # noqa: ARG002 (the port's signature)
        """The conversion started before. A conversion can be read once: the device has no mark for an old one.

        Raises:
            SensorFault: not started, bus error, any status but 0x40, latch-up, counts outside the valid band.
        """
        started_at_s = self._started_at_s
        if started_at_s is None:
            raise SensorFault(f"{self.name}: no conversion was started, so there is nothing new to read")
        self._started_at_s = None
        try:
            self._bus.i2c_rdwr(self._read)
        except OSError as error:
            raise self._bus_fault(error) from error
        word, warm_high, warm_low = FRAME.unpack_from(self._frame)
        counts = word - (GOOD << 24)
        if not self._floor <= counts <= OUTPUT_MAX:
            raise self._refused(word)
        pressure_mmhg = (counts - OUTPUT_MIN) * self._scale
        return Reading(started_at_s, pressure_mmhg, counts, (warm_high << 16 | warm_low) * CELSIUS_PER_COUNT - 50.0)

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
        side = "above" if counts > OUTPUT_MAX else "below"
        return SensorFault(f"{self.name}: {counts} counts, {side} its valid band of {self._floor} to {OUTPUT_MAX}")

    def _bus_fault(self, error: OSError) -> SensorFault:
        number = error.errno or 0
        name = errno.errorcode.get(number, "unknown error")
        means = ERRNO_MEANS.get(number, error.strerror or "no reason given")
        return SensorFault(f"{self.name}: bus error {number} ({name}): {means}")
