"""Sensor B on a board: `convert()` gives tenths of a mmHg, or NO_READING for everything that is not a sound reading.

Runs on CPython and MicroPython, on objects that look like `machine.I2C` and `machine.ADC`. Integers only: sums stay
exact where a Pico's floats have six digits.
"""

from .wire import NO_READING

# Honeywell ABP2, transfer function A. Source: datasheet 32350268; Linux drivers/iio/pressure/abp2030pa.c.
COMMAND = b"\xaa\x00\x00"
GOOD = 0x40
COUNTS_MIN = 1677722  # 10 % of 2**24
COUNTS_MAX = 15099494  # 90 %
COUNTS_SPAN = COUNTS_MAX - COUNTS_MIN
LOWEST_DMMHG = 200  # below zero: a gauge that says less is broken [J]
SPANS = {  # full scale in 1/10000 mmHg of the order codes that cover a cuff
    "600MG": 4500369,
    "060KG": 4500369,
    "001BG": 7500616,
    "100KG": 7500616,
    "015PG": 7757225,
}

# MPX5050: Vout = Vs * (0.018 * kPa + 0.04). Source: its data sheet.
# Its output and its supply come through equal dividers, two resistors of 22 kOhm each and 100 nF [J], to two inputs of
# the board's own converter: their ratio is what counts, and the converter's reference falls out of it. No ADS1115, and
# so no bus: the second sensor then shares nothing with an I2C sensor A but the air.
SUPPLY_MIN = 45000  # of 65535 at 3.3 V: 4.53 V, below the 4.75 V that it needs [J]
SUPPLY_MAX = 54000  # 5.44 V
RATIO_MIN = 17600  # millionths: 0.088 V of 5 V, the lowest it puts out at zero; below it a wire is open or shorted
RATIO_MAX = 962600  # 4.813 V
RATIO_AT_ZERO = 40000
DMMHG_PER_RATIO = 416701  # in 1 / 100,000,000: 75.00617 dmmHg a kPa / 18,000 millionths a kPa
SAMPLES = 4  # averaged: the board's converter is noisy


def corrected(b_dmmhg: int, zero_dmmhg: int, gain_e4: int) -> int:
    """A reading as the calibration has it. zero_dmmhg: what the sensor shows without pressure; gain_e4: ten
    thousandths."""
    return (b_dmmhg - zero_dmmhg) * gain_e4 // 10000


class Abp2:
    """Seven bytes of I2C a pass: the conversion started a pass ago is read, the next one is started."""

    def __init__(self, i2c, address: int, part: str, zero_dmmhg: int = 0, gain_e4: int = 10000) -> None:
        """zero_dmmhg, gain_e4: from its calibration, as `corrected` has them."""
        self._i2c = i2c
        self._address = address
        self._span = SPANS[part]
        self._floor = COUNTS_MIN - LOWEST_DMMHG * 1000 * COUNTS_SPAN // self._span
        self._zero_dmmhg = zero_dmmhg
        self._gain_e4 = gain_e4
        self._frame = bytearray(7)
        self._started = False

    def convert(self) -> int:
        b_dmmhg = NO_READING
        if self._started:
            try:
                self._i2c.readfrom_into(self._address, self._frame)
                b_dmmhg = self._dmmhg()
            except OSError:
                pass
        self._started = False
        try:
            self._i2c.writeto(self._address, COMMAND)
            self._started = True
        except OSError:
            pass
        return b_dmmhg

    def _dmmhg(self):
        frame = self._frame
        counts = frame[1] << 16 | frame[2] << 8 | frame[3]
        # Zero counts with a good status are a latch-up of this series; they are far below the floor.
        if frame[0] != GOOD or not self._floor <= counts <= COUNTS_MAX:
            return NO_READING
        b_dmmhg = ((counts - COUNTS_MIN) * self._span // (COUNTS_SPAN * 100) + 5) // 10
        return corrected(b_dmmhg, self._zero_dmmhg, self._gain_e4)


class Mpx5050:
    """Two inputs of the board's own converter a pass: the sensor's output and its supply."""

    def __init__(self, adc, supply_adc, zero_dmmhg: int = 0, gain_e4: int = 10000) -> None:
        """zero_dmmhg, gain_e4: from its calibration, as `corrected` has them."""
        self._adc = adc
        self._supply_adc = supply_adc
        self._zero_dmmhg = zero_dmmhg
        self._gain_e4 = gain_e4

    def convert(self) -> int:
        output = supply = 0
        for _ in range(SAMPLES):
            output += self._adc.read_u16()
            supply += self._supply_adc.read_u16()
        if not SUPPLY_MIN * SAMPLES <= supply <= SUPPLY_MAX * SAMPLES:
            return NO_READING
        ratio = output * 1000000 // supply
        if not RATIO_MIN <= ratio <= RATIO_MAX:
            return NO_READING
        b_dmmhg = (ratio - RATIO_AT_ZERO) * DMMHG_PER_RATIO // 100000000
        return corrected(b_dmmhg, self._zero_dmmhg, self._gain_e4)
