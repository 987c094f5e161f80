"""A real I2C bus, `/dev/i2c-N`, that never holds up a tick for longer than one transfer may take.

The drivers put `smbus2.i2c_msg` objects on it and see the surface of `smbus2.SMBus`. The kernel's patience with a
transfer is 10 ms instead of a second, and it does not retry by itself. A missing acknowledge or a broken transfer is
tried once more, if there is time; a bus that hung is not tried again in the tick: a thread closes and opens it, and
until that is done every transfer raises at once. The clock is passed in; `smbus2` and `fcntl` are imported when a bus
is opened, so that this imports on a laptop.

Sources: Linux include/uapi/linux/i2c-dev.h; drivers/i2c/busses/i2c-bcm2835.c for the error numbers.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any, Final

from ..ports import SensorFault

I2C_RETRIES: Final = 0x0701
I2C_TIMEOUT: Final = 0x0702  # in units of 10 ms
TIMEOUT_UNITS: Final = 1
TRY_AGAIN: Final = frozenset({errno.EREMOTEIO, errno.EIO})
TRY_AGAIN_WITHIN_S: Final = 0.002  # a first attempt that took longer leaves no time for a second in a tick
HUNG_OR_GONE: Final = frozenset({errno.ETIMEDOUT, errno.EBADF, errno.ENODEV})
REOPEN_AFTER_S: Final = 0.5  # [J] a bus that hangs costs one tick 10 ms this often, not every tick
ERRNO_MEANS: Final = {
    errno.EREMOTEIO: "it does not answer; see to its wires, supply and address",
    errno.ENXIO: "it does not answer; see to its wires, supply and address",
    errno.ETIMEDOUT: "the bus hangs; see whether a device holds a line low",
    errno.EIO: "the transfer broke off",
}


def bus_fault(name: str, error: OSError) -> SensorFault:
    """What a transfer ended with, as the fault of the sensor of this name."""
    number = error.errno or 0
    code = errno.errorcode.get(number, "unknown error")
    means = ERRNO_MEANS.get(number, error.strerror or "no reason given")
    return SensorFault(f"{name}: bus error {number} ({code}): {means}")


class LinuxBus:
    """One bus, opened when it is made. For one thread, as a tick is; only the opening anew has a thread of its own."""

    def __init__(
        self,
        number: int,
        clock: Callable[[], float],
        background: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`clock`: monotonic seconds. `background` runs what it is given on another thread.

        Raises:
            OSError: with a sentence: there is no such bus, or this user may not open it.
        """
        self.number = number
        self._clock = clock
        self._background = self._thread if background is None else background
        self._closed = Event()
        self._lock = Lock()  # between `close` and the thread that opens anew
        try:
            self._bus: Any = self._open()
        except OSError as error:
            raise OSError(
                f"bus {number}: /dev/i2c-{number} cannot be opened ({error.strerror or error}): switch I2C on, name a"
                " bus that `ls /dev/i2c-*` shows, and see that this user is in the group i2c"
            ) from error

    def i2c_rdwr(self, *i2c_msgs: object) -> None:
        """One combined transfer.

        Raises:
            OSError: with the kernel's error number, or EAGAIN at once while the bus is being opened anew.
        """
        bus = self._bus
        if bus is None:
            raise OSError(errno.EAGAIN, "the bus hung and is being opened anew")
        began_s = self._clock()
        try:
            bus.i2c_rdwr(*i2c_msgs)
        except OSError as error:
            if error.errno not in TRY_AGAIN or not self._clock() - began_s < TRY_AGAIN_WITHIN_S:
                self._let_go_of(bus, error)
                raise
        else:
            return
        try:
            bus.i2c_rdwr(*i2c_msgs)
        except OSError as error:
            self._let_go_of(bus, error)
            raise

    def close(self) -> None:
        """No transfer after this one."""
        self._closed.set()
        with self._lock:
            bus, self._bus = self._bus, None
        if bus is not None:
            with suppress(OSError):
                bus.close()

    def _open(self) -> Any:
        """The bus with our patience set. Raises OSError."""
        from fcntl import ioctl

        from smbus2 import SMBus

        bus: Any = SMBus(self.number)
        try:
            ioctl(bus.fd, I2C_TIMEOUT, TIMEOUT_UNITS)
            ioctl(bus.fd, I2C_RETRIES, 0)
        except OSError:
            bus.close()
            raise
        return bus

    def _let_go_of(self, bus: Any, error: OSError) -> None:
        """Where it hung or is gone, nobody uses it any more; it is closed and opened on another thread."""
        if error.errno in HUNG_OR_GONE:
            self._bus = None
            self._background(lambda: self._open_anew(bus))

    def _open_anew(self, old: Any) -> None:
        """Runs in the background until there is a bus again, or none is wanted."""
        with suppress(OSError):
            old.close()
        while not self._closed.wait(REOPEN_AFTER_S):
            try:
                made = self._open()
            except OSError:
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._bus = made
                    return
            made.close()

    def _thread(self, work: Callable[[], None]) -> None:
        Thread(target=work, name=f"i2c-{self.number}", daemon=True).start()
