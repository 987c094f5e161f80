"""The real bus: patience of 10 ms, one more try where there is time, and never an opening in the tick."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from threading import Event, current_thread, main_thread
from typing import Any

import pytest
import smbus2
from smbus2 import i2c_msg

from firmware_bridge.ports import SensorFault
from firmware_bridge.sensors import bus as bus_module
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.sensors.bus import LinuxBus


class Kernel:
    """What is behind `smbus2.SMBus` and `fcntl.ioctl` in these tests. `fails`: error numbers of the next transfers."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.takes_s = 0.0005
        self.fails: list[int] = []
        self.unopenable: list[int] = []
        self.transfers = 0
        self.opened: list[FakeSMBus] = []
        self.closed = 0
        self.knobs: list[tuple[int, int, int]] = []
        self.background: list[Callable[[], None]] = []

    def clock(self) -> float:
        return self.now_s

    def ioctl(self, fd: int, request: int, value: int) -> int:
        self.knobs.append((fd, request, value))
        return 0


class FakeSMBus:
    kernel: Kernel

    def __init__(self, number: int) -> None:
        if self.kernel.unopenable:
            code = self.kernel.unopenable.pop(0)
            raise OSError(code, "as scripted")
        self.number = number
        self.fd = 40 + len(self.kernel.opened)
        self.kernel.opened.append(self)

    def i2c_rdwr(self, *messages: Any) -> None:
        assert all(isinstance(message, i2c_msg) for message in messages)
        self.kernel.transfers += 1
        self.kernel.now_s += self.kernel.takes_s
        if self.kernel.fails:
            raise OSError(self.kernel.fails.pop(0), "as scripted")

    def close(self) -> None:
        self.kernel.closed += 1


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(FakeSMBus, "kernel", made, raising=False)
    monkeypatch.setattr(smbus2, "SMBus", FakeSMBus)
    monkeypatch.setattr(fcntl, "ioctl", made.ioctl)
    return made


def opened(kernel: Kernel) -> LinuxBus:
    return LinuxBus(1, kernel.clock, kernel.background.append)


MESSAGE = i2c_msg.write(0x28, (0xAA, 0, 0))


def transfer(bus: LinuxBus) -> int:
    """The error number that a transfer ends with, 0 for none."""
    try:
        bus.i2c_rdwr(MESSAGE)
    except OSError as error:
        return error.errno or -1
    return 0


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES])
def test_a_bus_that_cannot_be_opened_says_what_to_do(kernel: Kernel, code: int) -> None:
    kernel.unopenable = [code]
    with pytest.raises(OSError, match=r"^bus 1: /dev/i2c-1 cannot be opened .as scripted.: switch I2C on"):
        opened(kernel)


def test_a_bus_that_hung_is_not_tried_again_and_not_opened_in_the_tick(kernel: Kernel) -> None:
    bus = opened(kernel)
    kernel.fails = [errno.ETIMEDOUT]
    assert transfer(bus) == errno.ETIMEDOUT
    assert (kernel.transfers, len(kernel.opened), kernel.closed) == (1, 1, 0)
    for _ in range(5):
        assert transfer(bus) == errno.EAGAIN, "meanwhile it fails at once"
    assert (kernel.transfers, len(kernel.opened), kernel.closed) == (1, 1, 0)
    assert len(kernel.background) == 1


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EBADF, errno.ENODEV])
def test_it_is_opened_anew_in_the_background_until_that_works(
    kernel: Kernel, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "REOPEN_AFTER_S", 0.0)
    bus = opened(kernel)
    kernel.fails = [code]
    transfer(bus)
    kernel.unopenable = [errno.ENOENT, errno.ENOENT]
    kernel.background.pop()()
    assert (len(kernel.opened), kernel.closed) == (2, 1)
    assert transfer(bus) == 0
    assert kernel.knobs[-2:] == [(41, 0x0702, 1), (41, 0x0701, 0)], "with our patience again"


def test_the_opening_has_a_thread_of_its_own(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "REOPEN_AFTER_S", 0.0)
    bus = LinuxBus(1, kernel.clock)
    done, threads = Event(), []
    monkeypatch.setattr(FakeSMBus, "__init__", lambda _self, _number: (threads.append(current_thread()), done.set())[1])
    monkeypatch.setattr(FakeSMBus, "fd", 50, raising=False)
    kernel.fails = [errno.ETIMEDOUT]
    transfer(bus)
    assert done.wait(5.0)
    assert threads != [main_thread()]
    bus.close()


@pytest.mark.parametrize("code", [errno.EREMOTEIO, errno.EIO])
def test_a_broken_transfer_is_tried_once_more_where_there_is_time(kernel: Kernel, code: int) -> None:
    bus = opened(kernel)
    kernel.fails = [code]
    assert transfer(bus) == 0
    assert kernel.transfers == 2
    kernel.fails = [code, code]
    assert transfer(bus) == code
    assert kernel.transfers == 4
    kernel.fails, kernel.takes_s = [code], 0.002
    assert transfer(bus) == code
    assert kernel.transfers == 5, "2 ms are gone"
    assert not kernel.background


@pytest.mark.parametrize("code", [errno.ENXIO, errno.EOPNOTSUPP, errno.EINVAL, errno.EBUSY])
def test_nothing_else_is_tried_again(kernel: Kernel, code: int) -> None:
    bus = opened(kernel)
    kernel.fails = [code]
    assert transfer(bus) == code
    assert (kernel.transfers, kernel.background) == (1, [])


def test_a_second_try_that_hangs_is_the_last(kernel: Kernel) -> None:
    bus = opened(kernel)
    kernel.fails = [errno.EIO, errno.ETIMEDOUT]
    assert transfer(bus) == errno.ETIMEDOUT
    assert transfer(bus) == errno.EAGAIN
    assert (kernel.transfers, len(kernel.background)) == (2, 1)


def test_a_bus_whose_patience_cannot_be_set_is_not_used(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOTTY, "as scripted")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(OSError, match="cannot be opened"):
        opened(kernel)
    assert kernel.closed == 1


def test_closed_while_it_was_opened_anew_it_stays_closed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "REOPEN_AFTER_S", 0.0)
    bus = opened(kernel)
    kernel.fails = [errno.ETIMEDOUT]
    transfer(bus)
    sound = FakeSMBus.__init__

    def closed_meanwhile(self: FakeSMBus, number: int) -> None:
        sound(self, number)
        bus.close()

    monkeypatch.setattr(FakeSMBus, "__init__", closed_meanwhile)
    kernel.background.pop()()
    assert (len(kernel.opened), kernel.closed) == (2, 2)
    assert transfer(bus) == errno.EAGAIN


def test_a_driver_says_what_the_bus_said(kernel: Kernel) -> None:
    sensor = Abp2(opened(kernel))
    kernel.fails = [errno.ETIMEDOUT]
    with pytest.raises(SensorFault, match=r"110 \(ETIMEDOUT\): the bus hangs"):
        sensor.start(0.0)
    with pytest.raises(SensorFault, match=r"11 \(EAGAIN\): the bus hung and is being opened anew"):
        sensor.start(0.01)


# --- sound -------------------------------------------------------------------------------------------------------


def test_patience_is_10_ms_and_the_kernel_does_not_retry(kernel: Kernel) -> None:
    opened(kernel)
    assert kernel.knobs == [(40, 0x0702, 1), (40, 0x0701, 0)]


def test_a_transfer_is_one_transfer(kernel: Kernel) -> None:
    assert transfer(opened(kernel)) == 0
    assert kernel.transfers == 1


def test_close_closes(kernel: Kernel) -> None:
    bus = opened(kernel)
    bus.close()
    bus.close()
    assert kernel.closed == 1
