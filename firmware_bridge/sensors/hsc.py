"""Honeywell HSC, SSC and ABP pressure sensors on I2C, 14 bit, read-only: the device measures by itself.

A read gives two bits of status, 14 of pressure and 11 of temperature. Status 00 is a reading. 10 is stale: nothing has
been measured since the last read, which is no reading and, for a tick or two, no fault. 01 (command mode) and 11
(diagnostic: its own check failed) are faults, as is every count outside the valid band. ABP variants that sleep between
measurements (order codes S and D) are not driven: they stay stale and say so. A part without supply clamps the bus.

Sources: datasheets HSC, SSC, ABP; technical note 008201; Linux drivers/iio/pressure/hsc030pa.c.
"""

from __future__ import annotations

from ctypes import addressof, c_ubyte
from struct import Struct
from typing import Final

from ..ports import I2CBus, Reading, SensorFault
from .bus import bus_fault

FRAME: Final = Struct(">HH")  # status and pressure, temperature in the upper 11 bits
STALE: Final = 0b10
STATUS_MEANS: Final = {0b01: "command mode, it is not measuring", 0b11: "diagnostic, its own check has failed"}
COUNTS: Final = 0x3FFF
STALE_AT_MOST: Final = 2  # [J] in a row; it measures every 2 ms, a tick is 10 or 20
RESPONSE_S: Final = 0.002
CELSIUS_PER_COUNT: Final = 200.0 / 2047
LOWEST_MMHG: Final = -20.0  # [J]
OUTPUTS: Final = {  # counts at zero and at full scale, by the letter of the transfer function in the order code
    "A": (1638, 14746),
    "B": (819, 15565),
    "C": (819, 13926),
    "F": (655, 15401),
}
SPANS_MMHG: Final = {  # full scale of the ranges that cover a cuff
    "600MG": 450.0369,
    "060KG": 450.0369,
    "001BG": 750.0616,
    "100KG": 750.0616,
    "015PG": 775.7225,
}
PARTS: Final = tuple(f"{part}{tail}" for part in SPANS_MMHG for tail in ("", *(f"-{letter}" for letter in OUTPUTS)))


class Hsc:
    """One sensor. `read` makes one bus transfer, `start` none; the message is made once."""

    def __init__(self, bus: I2CBus, address: int = 0x28, name: str = "pressure sensor", part: str = "600MG") -> None:
        """`part` is the pressure range in the order code, as `600MG`; `600MG-B` where its transfer function is not A.

        Raises:
            ValueError: a part that does not cover a cuff, or no 7-bit address.
        """
        from smbus2 import i2c_msg

        if part not in PARTS:
            raise ValueError(
                f"part = {part}: must be one of {', '.join(SPANS_MMHG)}, with -B, -C or -F where its transfer function"
                " is not A"
            )
        if not 0x08 <= address <= 0x77:
            raise ValueError(f"address = {address:#04x}: must be 0x08 to 0x77")
        pressure_range, _, letter = part.partition("-")
        self.name = f"{name} at {address:#04x}"
        self.low_mmhg = LOWEST_MMHG
        self.high_mmhg = SPANS_MMHG[pressure_range]
        self._zero, self._top = OUTPUTS[letter or "A"]
        self._scale = self.high_mmhg / (self._top - self._zero)
        self._floor = self._zero + int(LOWEST_MMHG / self._scale)
        self._bus = bus
        self._read = i2c_msg.read(address, FRAME.size)
        self._frame = (c_ubyte * FRAME.size).from_address(addressof(self._read.buf.contents))
        self._stale = 0

    def start(self, now_s: float) -> None:
        """Nothing to do: it measures by itself."""

    def read(self, now_s: float) -> Reading | None:
        """What it has measured since the last read; None where that is nothing yet.

        Raises:
            SensorFault: bus error, command mode, diagnostic, a run of stale, counts outside the valid band.
        """
        try:
            self._bus.i2c_rdwr(self._read)
        except OSError as error:
            raise bus_fault(self.name, error) from error
        word, warmth = FRAME.unpack_from(self._frame)
        status = word >> 14
        if status == STALE:
            self._stale += 1
            if self._stale > STALE_AT_MOST:
                raise SensorFault(
                    f"{self.name}: stale {self._stale} times in a row, it has stopped measuring (a part that sleeps"
                    " between measurements cannot be used)"
                )
            return None
        self._stale = 0
        counts = word & COUNTS
        if status or not self._floor <= counts <= self._top:
            raise self._refused(status, counts)
        return Reading(
            now_s - RESPONSE_S, (counts - self._zero) * self._scale, counts, (warmth >> 5) * CELSIUS_PER_COUNT - 50.0
        )

    def _refused(self, status: int, counts: int) -> SensorFault:
        """Why this status and these counts are no reading."""
        if status == 0b11 and counts == COUNTS:
            return SensorFault(f"{self.name}: all ones, nothing drives the bus")
        if status:
            return SensorFault(f"{self.name}: status {status:02b}, must be 00 ({STATUS_MEANS[status]})")
        side = "above" if counts > self._top else "below"
        mmhg = (counts - self._zero) * self._scale
        return SensorFault(
            f"{self.name}: {counts} counts, {side} its valid band of {self._floor} to {self._top} ({mmhg:.1f} mmHg)"
        )
