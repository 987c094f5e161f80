"""Simulated pressure sensors beside the ABP2 (`bus.py`), each as its datasheet says; nothing here knows a driver.

What they have in common, faults of the wires included, is `SensorDevice`. A converter's input is in volts, everything
else in mmHg and seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, Final

from .bus import Abp2Device, SensorDevice

PASCAL_PER_MMHG: Final = 133.322387415


class MprDevice(Abp2Device):
    """A Honeywell MPR: command, status and timing as the ABP2, four bytes without temperature.

    Its parts end their order code in the transfer function. 0300YG is gauge with B (2.5 to 22.5 % of 2^24), 0025PA is
    absolute with A (10 to 90 %): for that one the pressure given is absolute.
    """

    PARTS: ClassVar[dict[str, tuple[int, int, float]]] = {
        "0300YG": (419_430, 3_774_874, 300.0),
        "0025PA": (1_677_722, 15_099_494, 25 * 51.714933),
    }

    def __init__(
        self,
        pressure_at: Callable[[float], float],
        random: Random,
        noise_mmhg: float = 0.0,
        lag_s: float = 0.0,
        part: str = "0300YG",
    ) -> None:
        super().__init__(pressure_at, random, noise_mmhg, lag_s, part)
        self._temperature = b""


class HscDevice(SensorDevice):
    """A Honeywell HSC, SSC or ABP, 14 bit. It measures every 2 ms by itself and cannot be commanded.

    A read gives up to four bytes: two bits of status, 14 of pressure, 11 of temperature, five that mean nothing. Status
    00 is a measurement that nobody has read yet, 10 one that somebody has, 11 a failure of its own check.
    """

    MEASURES_EVERY_S: Final = 0.002
    FULL_SCALES_MMHG: ClassVar[dict[str, float]] = {
        "600MG": 450.0369,
        "060KG": 450.0369,
        "001BG": 750.0616,
        "100KG": 750.0616,
        "015PG": 775.7225,
    }
    SHARES: ClassVar[dict[str, tuple[int, int]]] = {  # of 2^14, by transfer function: 10-90, 5-95, 5-85 and 4-94 %
        "": (1638, 14746),
        "A": (1638, 14746),
        "B": (819, 15565),
        "C": (819, 13926),
        "F": (655, 15401),
    }

    def __init__(
        self,
        pressure_at: Callable[[float], float],
        random: Random,
        noise_mmhg: float = 0.0,
        lag_s: float = 0.0,
        part: str = "600MG",
    ) -> None:
        super().__init__(pressure_at, random, noise_mmhg, lag_s)
        self.memory_error = False  # its own check fails: diagnostic
        self.stuck_busy = False  # it has stopped measuring: stale for ever
        pressure_range, _, letter = part.partition("-")
        self._at_zero, at_full_scale = self.SHARES[letter]
        self._per_mmhg = (at_full_scale - self._at_zero) / self.FULL_SCALES_MMHG[pressure_range]
        self._counts = 0
        self._measured = -1  # which of its measurements was read last
        self._temperature = (round((self.TEMPERATURE_C + 50.0) / 200.0 * 2047) << 5).to_bytes(2, "big")

    def written(self, data: bytes, now_s: float) -> None:  # noqa: ARG002 (the bus's face)
        """Acknowledged and without meaning."""
        if self.nack or self.hang or self.broken:
            raise self._line()

    def asked(self, length: int, now_s: float) -> bytes:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if self.all_ones:
            return b"\xff" * length
        measured = int(now_s / self.MEASURES_EVERY_S + 1e-6)
        status = 0b00 if measured != self._measured and not self.stuck_busy else 0b10
        if status == 0b00:
            self._measured = measured
            felt_mmhg = self._feel(now_s)
            if not self.frozen:
                counts = round(self._at_zero + self._convert(felt_mmhg) * self._per_mmhg)
                self._counts = 0 if counts < 0 else 0x3FFF if counts > 0x3FFF else counts
        if self.memory_error:
            status = 0b11
        counts = 0 if self.latched_up else 0x3FFF if self.saturated else self._counts
        frame = (status << 14 | counts).to_bytes(2, "big") + self._temperature
        return (frame + b"\xff" * length)[:length]


class XgzpDevice(SensorDevice):
    """A CFSensor XGZP6847D of the first generation: registers, a pointer that goes on by itself, one conversion at a
    time. 0x0A in register 0x30 starts one of pressure and temperature; bit 3 of it is clear once the result is in 0x06
    to 0x0A."""

    CONVERSION_S: Final = 0.018  # [J] of the 20 ms that the datasheet allows
    COMMAND: Final = 0x30
    COMBINED: Final = 0x0A
    CONVERTING: Final = 0x08
    RESULT: Final = 0x06
    COUNTS_PER_PASCAL: ClassVar[dict[str, int]] = {"100KPG": 64, "200KPG": 32}

    def __init__(
        self,
        pressure_at: Callable[[float], float],
        random: Random,
        noise_mmhg: float = 0.0,
        lag_s: float = 0.0,
        part: str = "100KPG",
    ) -> None:
        super().__init__(pressure_at, random, noise_mmhg, lag_s)
        self.stuck_busy = False
        self._per_mmhg = self.COUNTS_PER_PASCAL[part] * PASCAL_PER_MMHG
        self._registers = bytearray(256)
        self._pointer = 0
        self._ready_at_s: float | None = None
        self._counts = 0

    def written(self, data: bytes, now_s: float) -> None:
        if self.nack or self.hang or self.broken:
            raise self._line()
        self._pointer = data[0]
        for value in data[1:]:
            if self._pointer == self.COMMAND:
                self._command(value, now_s)
            else:
                self._registers[self._pointer] = value
            self._pointer = (self._pointer + 1) & 0xFF

    def asked(self, length: int, now_s: float) -> bytes:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if self.all_ones:
            return b"\xff" * length
        self._finish(now_s)
        given = bytes(self._registers[(self._pointer + index) & 0xFF] for index in range(length))
        self._pointer = (self._pointer + length) & 0xFF
        return given

    def _command(self, value: int, now_s: float) -> None:
        self._finish(now_s)
        if self._ready_at_s is not None or value != self.COMBINED:
            return
        self._registers[self.COMMAND] = value
        self._ready_at_s = now_s + self.CONVERSION_S
        felt_mmhg = self._feel(now_s)
        if not self.frozen:
            self._counts = max(-0x800000, min(0x7FFFFF, round(self._convert(felt_mmhg) * self._per_mmhg)))

    def _finish(self, now_s: float) -> None:
        """A conversion that is over puts its result where it can be read."""
        if self._ready_at_s is None or now_s < self._ready_at_s or self.stuck_busy:
            return
        self._ready_at_s = None
        self._registers[self.COMMAND] &= ~self.CONVERTING & 0xFF
        counts = 0x7FFFFF if self.saturated else self._counts
        result = counts.to_bytes(3, "big", signed=True) + round(self.TEMPERATURE_C * 256).to_bytes(2, "big")
        self._registers[self.RESULT : self.RESULT + 5] = bytes(5) if self.latched_up else result


class Ads1115Device:
    """A TI ADS1115: four inputs in volts, one converter, four registers of 16 bit.

    Continuous mode gives a new result every period of its rate; a configuration written meanwhile counts from the
    conversion after the one under way, and until then the old result stands. A single shot is asked for with bit 15,
    which reads as zero while it converts. There is no mark for a result that is new.
    """

    RESET: Final = 0x8583
    START: Final = 0x8000
    SINGLE: Final = 0x0100
    RANGES_V: Final = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)
    RATES_HZ: Final = (8, 16, 32, 64, 128, 250, 475, 860)
    PAIRS: Final = ((0, 1), (0, 3), (1, 3), (2, 3))  # of the multiplexer's differential settings

    def __init__(self, inputs: tuple[Callable[[float], float], ...]) -> None:
        """`inputs`: up to four, volts at an instant."""
        self._inputs = inputs
        self.reset()

    def reset(self) -> None:
        """Power-up, or a brown-out."""
        self._pointer = 0
        self._registers = [0, self.RESET, 0x8000, 0x7FFF]
        self._from_s = -1e9  # when the first result of this configuration is there
        self._taken = -1  # which of its results was looked at last

    def written(self, data: bytes, now_s: float) -> None:
        self._pointer = data[0] & 3
        if len(data) < 3:
            return
        value = data[1] << 8 | data[2]
        if self._pointer == 1:
            self._configure(value, now_s)
        elif self._pointer > 1:
            self._registers[self._pointer] = value

    def asked(self, length: int, now_s: float) -> bytes:
        self._convert(now_s)
        value = self._registers[self._pointer]
        if self._pointer == 1:
            single = bool(value & self.SINGLE)
            value = value & 0x7FFF | (self.START if single and now_s >= self._from_s else 0)
        return (value.to_bytes(2, "big") + b"\xff" * length)[:length]

    def _configure(self, value: int, now_s: float) -> None:
        self._convert(now_s)
        was_running = not self._registers[1] & self.SINGLE
        self._registers[1] = value
        self._taken = -1
        period_s = 1.0 / self.RATES_HZ[value >> 5 & 7]
        if not value & self.SINGLE:
            self._from_s = now_s + (2.0 if was_running else 1.0) * period_s
        elif value & self.START:
            self._from_s = now_s + period_s
        else:
            self._taken = 0  # waits to be told

    def _convert(self, now_s: float) -> None:
        """The newest result of this configuration, where there is one that was not looked at yet."""
        config = self._registers[1]
        if now_s < self._from_s or config == self.RESET:
            return
        newest = 0 if config & self.SINGLE else int((now_s - self._from_s) * self.RATES_HZ[config >> 5 & 7])
        if newest == self._taken:
            return
        self._taken = newest
        full_scale_v = self.RANGES_V[config >> 9 & 7]
        counts = round(self._volts(config >> 12 & 7, now_s) / full_scale_v * 32768)
        self._registers[0] = max(-32768, min(32767, counts)) & 0xFFFF

    def _volts(self, multiplexer: int, now_s: float) -> float:
        if multiplexer >= 4:
            return self._input(multiplexer - 4, now_s)
        plus, minus = self.PAIRS[multiplexer]
        return self._input(plus, now_s) - self._input(minus, now_s)

    def _input(self, index: int, now_s: float) -> float:
        return self._inputs[index](now_s) if index < len(self._inputs) else 0.0


class Mpx5050Device(SensorDevice):
    """A Freescale MPX5050 on AIN0 of an ADS1115 of its own, its supply on AIN1.

    V = Vs (0.018 P + 0.04), P in kPa, between 0.2 and 4.7 V at 5 V, a little beyond where its error lets it. With
    `divider` both inputs are 2/3 of it.
    """

    LEAST_SHARE: Final = 0.088 / 5.0
    MOST_SHARE: Final = 4.813 / 5.0

    def __init__(
        self,
        pressure_at: Callable[[float], float],
        random: Random,
        noise_mmhg: float = 0.0,
        lag_s: float = 0.0,
        part: str = "MPX5050GP",  # noqa: ARG002 (one transfer function for all of them)
        divider: bool = False,
    ) -> None:
        super().__init__(pressure_at, random, noise_mmhg, lag_s)
        self.browned_out = False  # the converter has lost its configuration and keeps none
        self.supply_v = 5.0
        self._share = 2.0 / 3.0 if divider else 1.0
        self._output_v = 0.2
        self.converter = Ads1115Device((self._sensor_v, lambda _now_s: self.supply_v * self._share))

    def written(self, data: bytes, now_s: float) -> None:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if self.browned_out:
            self.converter.reset()
            data = data[:1]
        self.converter.written(data, now_s)

    def asked(self, length: int, now_s: float) -> bytes:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if self.all_ones:
            return b"\xff" * length
        return self.converter.asked(length, now_s)

    def _sensor_v(self, now_s: float) -> float:
        felt_mmhg = self._feel(now_s)
        if self.latched_up:
            return 0.0
        if self.saturated:
            return self.supply_v * self._share
        if not self.frozen:
            share = self._convert(felt_mmhg) * PASCAL_PER_MMHG / 1000.0 * 0.018 + 0.04
            share = max(self.LEAST_SHARE, min(self.MOST_SHARE, share))
            self._output_v = self.supply_v * share * self._share
        return self._output_v
