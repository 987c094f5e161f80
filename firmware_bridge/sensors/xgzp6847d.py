"""CFSensor XGZP6847D pressure sensor on I2C, first generation (address 0x6D, datasheet V2.6).

Writing 0x0A to register 0x30 starts a combined conversion, which takes up to 20 ms: longer than a tick, so `read` says
None until bit 3 of that register is clear. Then five bytes from register 0x06: pressure (24 bit), temperature (16 bit),
both signed. There is no status and no checksum: frames of all ones or all zeros, either end of the scale and
temperatures that cannot be are all there is to go by. For a bench or a demo; not the first choice for a limb.

**Parts of the second generation (datasheet V3) have the same name, address 0x58 and other registers.** The first start
looks for one there, and while one answers nothing is read: whoever mixed them up would read a wrong pressure.

Source: datasheet XGZP6847D V2.6; XGZP6897D README on the generations.
"""

from __future__ import annotations

import errno
from ctypes import addressof, c_ubyte
from struct import Struct
from typing import Any, Final

from ..ports import I2CBus, Reading, SensorFault
from .bus import bus_fault

ADDRESS: Final = 0x6D
SECOND_GENERATION: Final = 0x58
COMMAND: Final = 0x30
COMBINED: Final = 0x0A  # pressure and temperature, once
CONVERTING: Final = 0x08
PRESSURE: Final = 0x06
FRAME: Final = Struct(">bHh")  # the pressure's top byte has its sign
SLOWEST_S: Final = 0.04  # [J] twice what the datasheet allows a conversion
NACK: Final = frozenset({errno.EREMOTEIO, errno.ENXIO})
PASCAL_PER_MMHG: Final = 133.322387415
CELSIUS_PER_COUNT: Final = 1.0 / 256.0
LOWEST_MMHG: Final = -20.0  # [J]
COLDEST_C: Final = -40.0
HOTTEST_C: Final = 125.0
COUNTS_PER_PASCAL: Final = {"100KPG": 64, "200KPG": 32}  # by the highest pressure: up to 131 kPa, up to 260 kPa
SPANS_MMHG: Final = {"100KPG": 100_000 / PASCAL_PER_MMHG, "200KPG": 200_000 / PASCAL_PER_MMHG}


class Xgzp6847d:
    """One sensor. `start` makes one bus transfer, `read` one or two; the messages are made once."""

    def __init__(
        self, bus: I2CBus, address: int = ADDRESS, name: str = "pressure sensor", part: str = "100KPG"
    ) -> None:
        """`part` is the pressure range in the order code.

        Raises:
            ValueError: a part that does not cover a cuff, or another address than the first generation's.
        """
        from smbus2 import i2c_msg

        if part not in SPANS_MMHG:
            raise ValueError(f"part = {part}: must be one of {', '.join(SPANS_MMHG)}")
        if address != ADDRESS:
            why = " (0x58 is the second generation, with other registers)" if address == SECOND_GENERATION else ""
            raise ValueError(f"address = {address:#04x}: must be {ADDRESS:#04x}, the first generation{why}")
        self.name = f"{name} at {address:#04x}"
        self.low_mmhg = LOWEST_MMHG
        self.high_mmhg = SPANS_MMHG[part]
        self._bus = bus
        self._scale = 1.0 / (COUNTS_PER_PASCAL[part] * PASCAL_PER_MMHG)
        self._start = i2c_msg.write(address, (COMMAND, COMBINED))
        self._at_command, self._command = i2c_msg.write(address, (COMMAND,)), i2c_msg.read(address, 1)
        self._at_pressure, self._pressure = i2c_msg.write(address, (PRESSURE,)), i2c_msg.read(address, FRAME.size)
        self._frame = (c_ubyte * FRAME.size).from_address(addressof(self._pressure.buf.contents))
        self._probe = i2c_msg.read(SECOND_GENERATION, 1)
        self._alone = False  # no second generation answers on this bus
        self._started_at_s: float | None = None

    def start(self, now_s: float) -> None:
        """Begin a conversion, unless one is under way. Raises SensorFault when the device does not take the command."""
        if self._started_at_s is not None:
            return
        if not self._alone:
            self._look_for_the_other()
        self._transfer(self._start)
        self._started_at_s = now_s

    def read(self, now_s: float) -> Reading | None:
        """The conversion started before, None while it goes on.

        Raises:
            SensorFault: not started, does not end, bus error, a frame that is no reading.
        """
        started_at_s = self._started_at_s
        if started_at_s is None:
            raise SensorFault(f"{self.name}: no conversion was started, so there is nothing new to read")
        self._started_at_s = None  # whatever fails from here on leaves nothing to read
        self._transfer(self._at_command, self._command)
        if self._command.buf[0][0] & CONVERTING:
            if not now_s - started_at_s < SLOWEST_S:
                took_ms = (now_s - started_at_s) * 1000.0
                raise SensorFault(f"{self.name}: still converting after {took_ms:.0f} ms, must take at most 20 ms")
            self._started_at_s = started_at_s
            return None
        self._transfer(self._at_pressure, self._pressure)
        high, low, warmth = FRAME.unpack_from(self._frame)
        counts = high * 65536 + low
        mmhg = counts * self._scale
        celsius = warmth * CELSIUS_PER_COUNT
        if not LOWEST_MMHG <= mmhg <= self.high_mmhg or not COLDEST_C <= celsius <= HOTTEST_C or counts in (0, -1):
            self._judge(counts, mmhg, warmth, celsius)
        return Reading(started_at_s, mmhg, counts, celsius)

    def _judge(self, counts: int, mmhg: float, warmth: int, celsius: float) -> None:
        """Raises SensorFault for whatever is no reading; zero pressure at some temperature is one."""
        if counts == -1 and warmth == -1:
            raise SensorFault(f"{self.name}: all ones, nothing drives the bus")
        if counts == 0 and warmth == 0:
            raise SensorFault(f"{self.name}: all zeros, it has measured nothing: cut its supply")
        if not LOWEST_MMHG <= mmhg <= self.high_mmhg:
            raise SensorFault(f"{self.name}: {mmhg:.1f} mmHg, must be {LOWEST_MMHG:g} to {self.high_mmhg:.0f} mmHg")
        if not COLDEST_C <= celsius <= HOTTEST_C:
            raise SensorFault(f"{self.name}: {celsius:.0f} °C, must be {COLDEST_C:g} to {HOTTEST_C:g} °C")

    def _look_for_the_other(self) -> None:
        """Raises SensorFault while a device answers where the second generation does."""
        try:
            self._bus.i2c_rdwr(self._probe)
        except OSError as error:
            if error.errno not in NACK:
                raise bus_fault(self.name, error) from error
            self._alone = True
            return
        raise SensorFault(
            f"{self.name}: a device answers at {SECOND_GENERATION:#04x} on its bus, where an XGZP6847D of the second"
            " generation sits, which has other registers: use one of the first generation, alone on this bus"
        )

    def _transfer(self, *messages: Any) -> None:
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            raise bus_fault(self.name, error) from error
