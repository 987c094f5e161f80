"""The simulated I2C bus and the ABP2 on it: what they answer when something is broken, then what the datasheet says."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from smbus2 import i2c_msg

from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus

ADDRESS = 0x28
COMMAND = (0xAA, 0x00, 0x00)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """One bus, one device, a pressure to set."""

    def __init__(self, noise_mmhg: float = 0.0, lag_s: float = 0.0) -> None:
        self.clock = Clock()
        self.bus = SimulatedBus(self.clock)
        self.pressure_mmhg = 0.0
        self.device = Abp2Device(lambda _now_s: self.pressure_mmhg, Random("0/a"), noise_mmhg, lag_s)
        self.bus.devices[ADDRESS] = self.device

    def command(self, data: tuple[int, ...] = COMMAND) -> None:
        self.bus.i2c_rdwr(i2c_msg.write(ADDRESS, data))

    def read(self, length: int = 7) -> bytes:
        message = i2c_msg.read(ADDRESS, length)
        self.bus.i2c_rdwr(message)
        return bytes(message)

    def convert(self, pressure_mmhg: float, after_s: float = 0.01) -> bytes:
        self.pressure_mmhg = pressure_mmhg
        self.command()
        self.clock.now_s += after_s
        return self.read()


@contextmanager
def fails_with(number: int) -> Iterator[None]:
    """The transfer inside ends with this error number of Linux."""
    with pytest.raises(OSError, match=rf"^\[Errno {number}\] ") as told:
        yield
    assert told.value.errno == number


def counts(frame: bytes) -> int:
    return int.from_bytes(frame[1:4], "big")


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [i2c_msg.write(0x18, COMMAND), i2c_msg.read(0x18, 7)])
def test_no_device_at_an_address_does_not_acknowledge(message: i2c_msg) -> None:
    with fails_with(121):
        Rig().bus.i2c_rdwr(message)


@pytest.mark.parametrize(("fault", "number"), [("nack", 121), ("hang", 110), ("broken", 5)])
@pytest.mark.parametrize("transfer", ["command", "read"])
def test_faults_of_the_wires_are_linux_error_numbers(fault: str, number: int, transfer: str) -> None:
    rig = Rig()
    setattr(rig.device, fault, True)
    with fails_with(number):
        getattr(rig, transfer)()
    setattr(rig.device, fault, False)
    assert rig.convert(60.0)[0] == 0x40


@pytest.mark.parametrize("number", [110, 5])
def test_a_bus_that_fails_fails_for_every_device(number: int) -> None:
    rig = Rig()
    rig.bus.error = number
    with fails_with(number):
        rig.command()


def test_a_read_must_be_the_last_message() -> None:
    rig = Rig()
    with fails_with(errno.EOPNOTSUPP):
        rig.bus.i2c_rdwr(i2c_msg.read(ADDRESS, 7), i2c_msg.write(ADDRESS, COMMAND))


def test_a_transfer_has_at_most_42_messages() -> None:
    rig = Rig()
    rig.bus.i2c_rdwr(*[i2c_msg.write(ADDRESS, COMMAND) for _ in range(42)])
    with fails_with(errno.EINVAL):
        rig.bus.i2c_rdwr(*[i2c_msg.write(ADDRESS, COMMAND) for _ in range(43)])


@pytest.mark.parametrize(
    ("fault", "first"),
    [("memory_error", b"\x44"), ("saturated", b"\x41"), ("stuck_busy", b"\x60"), ("latched_up", b"\x40\x00\x00\x00")],
)
def test_a_sick_device_says_so_in_its_frame(fault: str, first: bytes) -> None:
    rig = Rig()
    setattr(rig.device, fault, True)
    assert rig.convert(60.0).startswith(first)


def test_nothing_drives_the_bus() -> None:
    rig = Rig()
    rig.device.all_ones = True
    assert rig.convert(60.0) == b"\xff" * 7


def test_frozen_device_repeats_its_counts() -> None:
    rig = Rig(noise_mmhg=0.5)
    frame = rig.convert(60.0)
    rig.device.frozen = True
    assert [rig.convert(mmhg) for mmhg in (80.0, 100.0, 120.0)] == [frame] * 3


def test_stuck_device_shows_one_pressure_with_its_noise() -> None:
    rig = Rig(noise_mmhg=0.5)
    rig.device.stuck_mmhg = 60.0
    seen = {counts(rig.convert(mmhg)) for mmhg in (80.0, 100.0, 120.0)}
    assert len(seen) == 3
    assert all(abs(raw - 3467145) < 3.0 * Abp2Device.COUNTS_PER_MMHG for raw in seen)


def test_offset_is_added() -> None:
    rig = Rig()
    rig.device.offset_mmhg = 90.0
    assert counts(rig.convert(60.0)) == pytest.approx(6151279, abs=2)


def test_counts_end_where_24_bits_end() -> None:
    assert [counts(Rig().convert(mmhg)) for mmhg in (-500.0, 5000.0)] == [0, 0xFFFFFF]


# --- as the datasheet says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mmhg", "frame"), [(0.0, "40 19 99 9A"), (60.0, "40 34 E7 89"), (150.0, "40 5D DC 6F"), (300.0, "40 A2 1F 43")]
)
def test_transfer_function_a_of_the_600mg(mmhg: float, frame: str) -> None:
    said, expected = Rig().convert(mmhg), bytes.fromhex(frame)
    assert said[0] == expected[0]
    assert counts(said) == pytest.approx(counts(expected), abs=2)  # the vectors' pressures are rounded to 0.001


def test_converts_for_five_milliseconds() -> None:
    rig = Rig()
    assert [rig.convert(60.0, after_s=0.0049)[0], rig.convert(60.0, after_s=0.0051)[0]] == [0x60, 0x40]


def test_command_while_converting_is_lost() -> None:
    rig = Rig()
    rig.pressure_mmhg = 60.0
    rig.command()
    rig.clock.now_s = 0.003
    rig.pressure_mmhg = 150.0
    rig.command()
    rig.clock.now_s = 0.006
    assert counts(rig.read()) == pytest.approx(3467145, abs=2)


def test_a_command_it_does_not_know_is_not_acknowledged() -> None:
    with fails_with(errno.EREMOTEIO):
        Rig().command((0xAC, 0x00, 0x00))


def test_gives_as_many_bytes_as_are_asked_for() -> None:
    rig = Rig()
    whole = rig.convert(60.0)
    assert rig.read(4) == whole[:4]
    assert rig.read(9) == whole + b"\xff\xff"
    assert int.from_bytes(whole[4:], "big") * 200.0 / 16_777_215 - 50.0 == pytest.approx(25.0, abs=1e-4)


def test_result_stands_until_the_next_command() -> None:
    rig = Rig()
    frame = rig.convert(60.0)
    rig.pressure_mmhg = 150.0
    rig.clock.now_s += 1.0
    assert rig.read() == frame


def test_write_and_read_in_one_transfer_meet_a_busy_device() -> None:
    rig = Rig()
    message = i2c_msg.read(ADDRESS, 7)
    rig.bus.i2c_rdwr(i2c_msg.write(ADDRESS, COMMAND), message)
    assert bytes(message)[0] == 0x60


def test_lag_is_first_order() -> None:
    rig = Rig(lag_s=0.02)
    rig.convert(0.0, after_s=0.02)
    assert counts(rig.convert(100.0)) == pytest.approx(
        Abp2Device.COUNTS_AT_ZERO + 63.2 * Abp2Device.COUNTS_PER_MMHG, rel=0.001
    )


def test_noise_is_the_devices_own_and_repeats_with_its_seed() -> None:
    one, other = Rig(noise_mmhg=0.2), Rig(noise_mmhg=0.2)
    first = [counts(one.convert(100.0)) for _ in range(200)]
    assert first == [counts(other.convert(100.0)) for _ in range(200)]
    spread = (max(first) - min(first)) / Abp2Device.COUNTS_PER_MMHG
    assert 0.6 < spread < 1.8


def test_messages_may_be_made_anew_for_every_transfer() -> None:
    """The bus remembers buffers of messages made once; it must never answer into an old one."""
    rig = Rig()
    for step in range(300):
        assert counts(rig.convert(float(step))) == pytest.approx(
            Abp2Device.COUNTS_AT_ZERO + step * Abp2Device.COUNTS_PER_MMHG, abs=1
        )
    rig.bus.close()
    assert rig.bus.fd == -1
