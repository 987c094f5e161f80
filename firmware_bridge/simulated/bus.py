"""A simulated I2C bus with the surface of `smbus2.SMBus`, and the ABP2 on it as its datasheet says.

Drivers put real `smbus2.i2c_msg` objects on it: addresses, flags, lengths and ctypes buffers are the kernel's. What
the bus answers with an error number is what Linux answers: 121 (EREMOTEIO) for a missing acknowledge, 110 (ETIMEDOUT)
for a bus that hangs, 5 (EIO) for a broken transfer, 95 (EOPNOTSUPP) for a read that is not the last message (as the
Pi's controller has it). Nothing here knows a driver. Time comes from the callable the bus is given. The other devices
are in `devices.py`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from ctypes import addressof, c_char
from math import exp
from os import strerror
from random import Random
from typing import Any, ClassVar, Final, Protocol

I2C_M_RD: Final = 0x0001
MESSAGES_AT_MOST: Final = 42  # of one I2C_RDWR
MESSAGES_KEPT: Final = 64
SMBUS_NUMBER: Final = -1  # there is no file behind it


class BusDevice(Protocol):
    """What answers at an address. Both raise OSError as the bus would."""

    def written(self, data: bytes, now_s: float) -> None: ...

    def asked(self, length: int, now_s: float) -> bytes: ...


class SimulatedBus:
    """Devices by 7-bit address. `error` set to an error number makes every transfer fail with it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.fd = SMBUS_NUMBER
        self.error: int | None = None
        self.devices: dict[int, BusDevice] = {}
        self._now = now
        self._known: dict[int, tuple[Any, int, bool, int, Any]] = {}

    def close(self) -> None:
        """As smbus2 has it; there is nothing to close."""

    def i2c_rdwr(self, *i2c_msgs: Any) -> None:
        """One combined transfer of `smbus2.i2c_msg` objects.

        Raises:
            OSError: with the error number Linux would give.
        """
        if self.error is not None:
            raise bus_error(self.error)
        if len(i2c_msgs) > MESSAGES_AT_MOST:
            raise bus_error(errno.EINVAL)
        now_s = self._now()
        for message in i2c_msgs:
            known = self._known.get(id(message))
            if known is None or known[0] is not message or known[3] != message.len:
                known = self._look_at(message)
            _, address, reads, length, buffer = known
            device = self.devices.get(address)
            if device is None:
                raise bus_error(errno.EREMOTEIO)
            if not reads:
                device.written(buffer.raw, now_s)
            elif message is i2c_msgs[-1]:
                buffer.raw = device.asked(length, now_s)
            else:
                raise bus_error(errno.EOPNOTSUPP)

    def _look_at(self, message: Any) -> tuple[Any, int, bool, int, Any]:
        """The message with its address, direction, length and own bytes. Drivers make their messages once, so the look
        through ctypes and the pointer is made once."""
        if len(self._known) >= MESSAGES_KEPT:
            self._known.clear()
        length = message.len
        buffer = (c_char * length).from_address(addressof(message.buf.contents))
        known = (message, message.addr, bool(message.flags & I2C_M_RD), length, buffer)
        self._known[id(message)] = known
        return known


def bus_error(number: int) -> OSError:
    """The error a transfer ends with."""
    return OSError(number, strerror(number))


class SensorDevice:
    """What every simulated pressure sensor is made of: a true pressure, its own lag, noise and offset, and its faults.

    A fault is a plain attribute that a schedule sets. Those of the wires are here and every device has them; those of
    its insides only a family that has such a fault: `memory_error`, `stuck_busy`, `browned_out`.
    """

    TEMPERATURE_C: Final = 25.0

    def __init__(
        self,
        pressure_at: Callable[[float], float],
        random: Random,
        noise_mmhg: float = 0.0,
        lag_s: float = 0.0,
    ) -> None:
        """`pressure_at(now_s)` is the true pressure in mmHg where the sensor sits; `random` is this device's own."""
        self.nack = False  # no acknowledge: unplugged, unpowered, wrong address
        self.hang = False  # holds a line low: the transfer times out
        self.broken = False  # the transfer breaks off
        self.all_ones = False  # nothing drives the bus
        self.latched_up = False  # its output is zero, and it says that all is well
        self.saturated = False  # its output is at the end of its scale
        self.frozen = False  # the same counts for ever
        self.stuck_mmhg: float | None = None  # one pressure for ever, with its noise
        self.offset_mmhg = 0.0
        self._pressure_at = pressure_at
        self._noise_mmhg = noise_mmhg
        self._lag_s = lag_s
        self._gauss = random.gauss
        self._felt_mmhg = 0.0
        self._felt_at_s = -1e9

    def exchange(self, other: SensorDevice) -> None:
        """A fault: each of the two is put where the other one was."""
        self._pressure_at, other._pressure_at = other._pressure_at, self._pressure_at

    def _line(self) -> OSError:
        """What a fault of the wires ends a transfer with."""
        return bus_error(errno.EREMOTEIO if self.nack else errno.ETIMEDOUT if self.hang else errno.EIO)

    def _feel(self, now_s: float) -> float:
        """The pressure through the sensor's own lag."""
        true_mmhg = self._pressure_at(now_s)
        elapsed_s = now_s - self._felt_at_s
        if self._lag_s <= 0.0 or elapsed_s > 20.0 * self._lag_s:
            self._felt_mmhg = true_mmhg
        else:
            self._felt_mmhg += (true_mmhg - self._felt_mmhg) * (1.0 - exp(-elapsed_s / self._lag_s))
        self._felt_at_s = now_s
        return self._felt_mmhg

    def _convert(self, felt_mmhg: float) -> float:
        """One conversion: what it feels, or sticks at, with its noise and its offset."""
        if self.stuck_mmhg is not None:
            felt_mmhg = self.stuck_mmhg
        if self._noise_mmhg > 0.0:
            felt_mmhg += self._gauss(0.0, self._noise_mmhg)
        return felt_mmhg + self.offset_mmhg


class Abp2Device(SensorDevice):
    """A Honeywell ABP2, transfer function A, written from its datasheet.

    AA 00 00 starts a conversion: for 5 ms the status is 0x60, then 0x40 with 24 bits of pressure and 24 of temperature.
    A read gives as many of the seven bytes as are asked for, then ones. The pressure is that of the instant of the
    command, through the sensor's own lag and noise. The result stands until the next command: there is no mark of age.
    """

    COUNTS_AT_ZERO: Final = 1_677_722
    COUNTS_PER_MMHG: Final = 13_421_772 / 450.0369  # of the 600MG, 600 mbar
    CONVERSION_S: Final = 0.005
    COMMAND: Final = b"\xaa\x00\x00"
    IDLE: Final = 0x40
    BUSY: Final = 0x60
    PARTS: ClassVar[dict[str, tuple[int, int, float]]] = {  # counts at zero and at full scale, full scale in mmHg
        "600MG": (1_677_722, 15_099_494, 450.0369),
        "060KG": (1_677_722, 15_099_494, 450.0369),
        "001BG": (1_677_722, 15_099_494, 750.0616),
        "100KG": (1_677_722, 15_099_494, 750.0616),
        "015PG": (1_677_722, 15_099_494, 775.7225),
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
        self.memory_error = False
        self.stuck_busy = False
        self._ready_at_s = -1e9
        self._counts = 0
        self._at_zero, at_full_scale, full_scale_mmhg = self.PARTS[part]
        self._per_mmhg = (at_full_scale - self._at_zero) / full_scale_mmhg
        self._temperature = round((self.TEMPERATURE_C + 50.0) / 200.0 * 16_777_215).to_bytes(3, "big")

    def written(self, data: bytes, now_s: float) -> None:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if data != self.COMMAND:
            raise bus_error(errno.EREMOTEIO)
        felt_mmhg = self._feel(now_s)
        if now_s < self._ready_at_s:
            return  # still converting: the command is lost
        self._ready_at_s = now_s + self.CONVERSION_S - 1e-9
        if self.frozen:
            return
        counts = round(self._at_zero + self._convert(felt_mmhg) * self._per_mmhg)
        self._counts = 0 if counts < 0 else 0xFFFFFF if counts > 0xFFFFFF else counts

    def asked(self, length: int, now_s: float) -> bytes:
        if self.nack or self.hang or self.broken:
            raise self._line()
        if self.all_ones:
            return b"\xff" * length
        status = self.IDLE
        if self.stuck_busy or now_s < self._ready_at_s:
            status = self.BUSY
        elif self.memory_error:
            status = 0x44
        elif self.saturated:
            status = 0x41
        counts = 0 if self.latched_up else self._counts
        frame = (status << 24 | counts).to_bytes(4, "big") + self._temperature
        return frame if length == len(frame) else (frame + b"\xff" * length)[:length]
