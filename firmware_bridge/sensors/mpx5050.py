"""Freescale MPX5050 pressure sensor, 0-50 kPa with an analogue output, behind an ADS1115 converter on I2C.

The sensor's output is a share of its supply Vs: V = Vs (0.018 P + 0.04), P in kPa. So Vs is measured once a second on
the converter's second input, or taken from the bench's file where it is known. Input AIN0 is the sensor, AIN1 its
supply; with `divider` both come through dividers of 2/3, because the converter runs on 3.3 V.

The converter runs continuously at 860 a second and has no mark for a new result: one that has lost its configuration
(a brown-out leaves 0x8583) repeats its last. So the configuration is read back when it is written, and every second.
A broken or shorted wire shows as a voltage that the sensor cannot give. All of these are faults, never numbers.

Sources: datasheets MPX5050 and ADS1115; Linux drivers/iio/adc/ti-ads1015.c.
"""

from __future__ import annotations

from math import inf, nan
from struct import Struct
from typing import Any, Final

from ..ports import I2CBus, Reading, SensorFault
from .bus import bus_fault

ADDRESSES: Final = (0x48, 0x49, 0x4A, 0x4B)  # by what its ADDR pin is tied to
CONVERSION: Final = 0
CONFIGURATION: Final = 1
RESET_VALUE: Final = 0x8583
CONVERTING: Final = 0x8000  # of the configuration, read: changes by itself
AIN0: Final = 0x4000
AIN1: Final = 0x5000
FAST: Final = 0x00E3  # continuous, 860 a second, no comparator
WIDE: Final = 0x0000  # ± 6.144 V
NARROW: Final = 0x0200  # ± 4.096 V
VOLTS_PER_COUNT: Final = 0.0001875  # at the sensor, either way: 6.144 V / 32768, or 4.096 V / 32768 times 3/2
WORD: Final = Struct(">h")
LARGEST: Final = 32767
SMALLEST: Final = -32768
CONVERSION_S: Final = 0.0013  # 1/860 s, and 10 % for its clock
SETTLED_S: Final = 0.004  # [J] after the input was changed: the conversion under way, one more, and some
EVERY_S: Final = 1.0  # [J] configuration and supply are looked at this often
SUPPLY_V: Final = (4.75, 5.25)
KPA_PER_SHARE: Final = 1.0 / 0.018
SHARE_AT_ZERO: Final = 0.04
SHORT_SHARE: Final = 0.088 / 5.0  # below the least offset: a wire is broken or shorted
OPEN_SHARE: Final = 4.813 / 5.0  # above full scale with all its error
MMHG_PER_KPA: Final = 1000.0 / 133.322387415
FULL_SCALE_MMHG: Final = 50.0 * MMHG_PER_KPA
SPANS_MMHG: Final = {"MPX5050GP": FULL_SCALE_MMHG, "MPXV5050GP": FULL_SCALE_MMHG, "MPX5050D": FULL_SCALE_MMHG}


def mmhg_at(volts: float, supply_v: float) -> float:
    """Gauge pressure of the sensor's transfer function."""
    return (volts / supply_v - SHARE_AT_ZERO) * KPA_PER_SHARE * MMHG_PER_KPA


class Mpx5050:
    """One sensor and its converter. One bus transfer a `read`; `start` makes some once a second. Messages made once."""

    def __init__(
        self,
        bus: I2CBus,
        address: int = 0x48,
        name: str = "pressure sensor",
        part: str = "MPX5050GP",
        supply_v: float | None = None,
        divider: bool = False,
    ) -> None:
        """`supply_v`: None has it measured on AIN1. `divider`: both inputs come through dividers of 2/3.

        Raises:
            ValueError: an unknown part, an address no ADS1115 can have, a supply outside 4.75 to 5.25 V.
        """
        from smbus2 import i2c_msg

        if part not in SPANS_MMHG:
            raise ValueError(f"part = {part}: must be one of {', '.join(SPANS_MMHG)}")
        if address not in ADDRESSES:
            raise ValueError(f"address = {address:#04x}: must be 0x48 to 0x4b, the addresses of an ADS1115")
        if supply_v is not None and not SUPPLY_V[0] <= supply_v <= SUPPLY_V[1]:
            raise ValueError(f"supply_v = {supply_v:g}: must be {SUPPLY_V[0]} to {SUPPLY_V[1]} V")
        self.name = f"{name} at {address:#04x}"
        self.low_mmhg = mmhg_at(SHORT_SHARE, 1.0)
        self.high_mmhg = FULL_SCALE_MMHG
        self._bus = bus
        base = FAST | (NARROW if divider else WIDE)
        self._sensor_input, self._supply_input = AIN0 | base, AIN1 | base
        self._select = {
            config: i2c_msg.write(address, (CONFIGURATION, config >> 8, config & 0xFF))
            for config in (self._sensor_input, self._supply_input)
        }
        self._at_conversion = i2c_msg.write(address, (CONVERSION,))
        self._at_configuration = i2c_msg.write(address, (CONFIGURATION,))
        self._word = i2c_msg.read(address, WORD.size)
        self._measures_supply = supply_v is None
        self._supply_v = nan if supply_v is None else supply_v
        self._supply_due_s = -inf
        self._selected = 0  # the configuration as it was written and read back; 0: not known
        self._selected_at_s = -inf
        self._check_due_s = -inf

    def start(self, now_s: float) -> None:
        """See that the converter is on the right input, and still configured. Raises SensorFault when it is not."""
        wanted = self._supply_input if self._measures_supply and now_s >= self._supply_due_s else self._sensor_input
        if wanted != self._selected:
            self._selected = 0
            self._transfer(self._select[wanted])
            self._check(wanted, now_s)
            self._selected, self._selected_at_s = wanted, now_s
        elif now_s >= self._check_due_s:
            self._selected = 0  # whatever is found wrong, it is configured anew
            self._check(wanted, now_s)
            self._selected = wanted

    def read(self, now_s: float) -> Reading | None:
        """The newest conversion; None once a second, when the supply is measured.

        Raises:
            SensorFault: not configured, bus error, supply or output outside what they can be.
        """
        if not self._selected:
            raise SensorFault(f"{self.name}: its converter is not configured, so there is nothing new to read")
        if now_s - self._selected_at_s < SETTLED_S:
            return None  # a tick that follows a late one closely: the input has not settled
        self._transfer(self._at_conversion, self._word)
        counts = self._value()
        volts = counts * VOLTS_PER_COUNT
        if self._selected == self._supply_input:
            self._take_supply(volts, now_s)
            return None
        supply_v = self._supply_v
        if not SMALLEST < counts < LARGEST:
            raise SensorFault(f"{self.name}: {counts} counts, the converter is at an end of its scale")
        share = volts / supply_v
        if not SHORT_SHARE <= share <= OPEN_SHARE:  # written so that a supply not known is a fault
            low_v, high_v = SHORT_SHARE * supply_v, OPEN_SHARE * supply_v
            raise SensorFault(
                f"{self.name}: {volts:.3f} V, must be {low_v:.3f} to {high_v:.3f} V: a wire of the sensor is broken or"
                " shorted, or the pressure is off its scale"
            )
        return Reading(now_s - CONVERSION_S, mmhg_at(volts, supply_v), counts, nan)

    def _take_supply(self, volts: float, now_s: float) -> None:
        if not SUPPLY_V[0] <= volts <= SUPPLY_V[1]:
            self._supply_v = nan
            raise SensorFault(
                f"{self.name}: supply of {volts:.2f} V, must be {SUPPLY_V[0]} to {SUPPLY_V[1]} V (on AIN1)"
            )
        self._supply_v = volts
        self._supply_due_s = now_s + EVERY_S

    def _check(self, wanted: int, now_s: float) -> None:
        """Read the configuration back. Raises SensorFault when it is another."""
        self._transfer(self._at_configuration, self._word)
        found = self._value() & 0xFFFF
        if found & ~CONVERTING != wanted:
            why = "it was reset, by a brown-out perhaps" if found == RESET_VALUE else "something else writes to it"
            raise SensorFault(f"{self.name}: configuration {found:#06x}, must be {wanted:#06x} ({why})")
        self._check_due_s = now_s + EVERY_S

    def _value(self) -> int:
        value: int = WORD.unpack(bytes(self._word))[0]
        return value

    def _transfer(self, *messages: Any) -> None:
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            raise bus_fault(self.name, error) from error
