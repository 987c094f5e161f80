"""The ABP2 driver: never a plausible number from a sick device; then the vectors of the datasheet."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from firmware_bridge.ports import SensorFault
from firmware_bridge.sensors.abp2 import SPANS_MMHG, Abp2

TEMPERATURE_25_C = "60 00 00"


class ScriptedBus:
    """Answers every read with the bytes it is given, or fails with an error number."""

    def __init__(self, frame: str = "40 5D DC 6F" + TEMPERATURE_25_C) -> None:
        self.frame = bytes.fromhex(frame)
        self.error: int | None = None
        self.messages: list[Any] = []

    def i2c_rdwr(self, *messages: Any) -> None:
        if self.error is not None:
            raise OSError(self.error, "as scripted")
        (message,) = messages  # one message a transfer
        self.messages.append(message)
        if message.flags:
            for index, byte in enumerate(self.frame):
                message.buf[index] = byte


def after_start(bus: ScriptedBus, part: str = "600MG") -> Abp2:
    sensor = Abp2(bus, 0x28, "sensor A", part)
    sensor.start(1.0)
    return sensor


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("60 5D DC 6F", "0x60, must be 0x40 (still converting)"),
        ("44 5D DC 6F", "0x44, must be 0x40 (memory error"),
        ("41 5D DC 6F", "0x41, must be 0x40 (math saturation"),
        ("00 5D DC 6F", "0x00, must be 0x40 (not powered)"),
        ("FF FF FF FF", "0xff, must be 0x40 (nothing drives the bus)"),
        ("7F FF FF FF", "0x7f, must be 0x40 (nothing drives the bus)"),
        ("48 5D DC 6F", "0x48, must be 0x40 (no status of this series"),
        ("C0 5D DC 6F", "0xc0, must be 0x40"),
        ("40 00 00 00", "zero counts with a good status, it has latched up"),
        ("40 FF FF FF", "all ones with a good status"),
        ("40 E6 66 67", "15099495 counts, above its valid band"),
        ("40 10 00 00", "1048576 counts, below its valid band"),
    ],
)
def test_refuses_whatever_is_no_reading(frame: str, says: str) -> None:
    sensor = after_start(ScriptedBus(frame + TEMPERATURE_25_C))
    with pytest.raises(SensorFault) as told:
        sensor.read(1.01)
    assert str(told.value).startswith("sensor A at 0x28: ")
    assert says in str(told.value)


@pytest.mark.parametrize("status", [status for status in range(256) if status != 0x40])
def test_every_status_but_one_is_a_fault(status: int) -> None:
    sensor = after_start(ScriptedBus(f"{status:02x} 5D DC 6F 60 00 00"))
    with pytest.raises(SensorFault, match=f"status {status:#04x}"):
        sensor.read(1.01)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (121, r"121 \(EREMOTEIO\): it does not answer"),
        (6, r"6 \(ENXIO\): it does not answer"),
        (110, r"110 \(ETIMEDOUT\): the bus hangs"),
        (5, r"5 \(EIO\): the transfer broke off"),
        (16, r"16 \(EBUSY\): as scripted"),
    ],
)
@pytest.mark.parametrize("transfer", ["start", "read"])
def test_bus_errors_are_sensor_faults_that_name_their_number(number: int, says: str, transfer: str) -> None:
    bus = ScriptedBus()
    sensor = after_start(bus)
    bus.error = number
    with pytest.raises(SensorFault, match=says):
        getattr(sensor, transfer)(2.0)


def test_an_error_without_a_number_is_a_sensor_fault_too() -> None:
    bus = ScriptedBus()
    bus.i2c_rdwr = _gone  # type: ignore[method-assign]
    with pytest.raises(SensorFault, match=r"bus error 0 \(unknown error\): no reason given"):
        after_start(bus)


def _gone(*_messages: Any) -> None:
    raise OSError("gone")


def test_nothing_to_read_before_a_start() -> None:
    with pytest.raises(SensorFault, match="no conversion was started"):
        Abp2(ScriptedBus(), 0x28).read(0.0)


def test_a_conversion_is_read_once_never_an_old_number() -> None:
    sensor = after_start(ScriptedBus())
    sensor.read(1.01)
    with pytest.raises(SensorFault, match="no conversion was started"):
        sensor.read(1.02)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.0049])
def test_a_read_within_five_milliseconds_has_nothing_yet_and_asks_nobody(after_s: float) -> None:
    """A tick on time behind a late one: the device would say that it is busy, and lose another command."""
    bus = ScriptedBus()
    sensor = after_start(bus)
    bus.error = 110
    assert sensor.read(1.0 + after_s) is None
    sensor.start(1.0 + after_s)
    bus.error = None
    reading = sensor.read(1.01)
    assert reading is not None
    assert reading.at_s == 1.0, "of the conversion that was under way"


@pytest.mark.parametrize("at_s", [1.006, 0.5, float("nan")])
def test_a_device_that_is_busy_at_another_time_is_at_fault(at_s: float) -> None:
    """Longer than it may take; or by a clock that says nothing."""
    with pytest.raises(SensorFault, match="still converting"):
        after_start(ScriptedBus("60 5D DC 6F" + TEMPERATURE_25_C)).read(at_s)


@pytest.mark.parametrize("transfer", ["start", "read"])
def test_a_failed_transfer_leaves_nothing_to_read(transfer: str) -> None:
    bus = ScriptedBus()
    sensor = after_start(bus)
    bus.error = 110
    with pytest.raises(SensorFault):
        getattr(sensor, transfer)(2.0)
    bus.error = None
    with pytest.raises(SensorFault, match="no conversion was started"):
        sensor.read(2.01)


@pytest.mark.parametrize("part", ["005PG", "400MG", "600mg", ""])
def test_refuses_a_part_that_ends_where_a_cuff_goes_on(part: str) -> None:
    with pytest.raises(ValueError, match=rf"part = {part}: must be one of 600MG, "):
        Abp2(ScriptedBus(), 0x28, part=part)


@pytest.mark.parametrize("address", [0x00, 0x07, 0x78, 0x128])
def test_refuses_what_is_no_address(address: int) -> None:
    with pytest.raises(ValueError, match=f"address = {address:#04x}: must be 0x08 to 0x77"):
        Abp2(ScriptedBus(), address)


def test_imports_without_smbus2() -> None:
    code = "import sys, firmware_bridge.sensors.abp2; sys.exit('smbus2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "counts", "mmhg"),
    [
        ("40 19 99 9A", 1677722, 0.0),
        ("40 34 E7 89", 3467145, 60.0),
        ("40 5D DC 6F", 6151279, 150.0),
        ("40 A2 1F 43", 10624835, 300.0),
        ("40 E6 66 66", 15099494, 450.037),
        ("40 17 50 4A", 1527882, -5.024),
    ],
)
def test_vectors_of_the_600mg(frame: str, counts: int, mmhg: float) -> None:
    reading = after_start(ScriptedBus(frame + TEMPERATURE_25_C)).read(1.01)
    assert (reading.at_s, reading.counts) == (1.0, counts)
    assert reading.pressure_mmhg == pytest.approx(mmhg, abs=0.001)


@pytest.mark.parametrize(("frame", "celsius"), [("60 00 00", 25.0), ("6F 5C 29", 37.0), ("00 00 00", -50.0)])
def test_vectors_of_temperature(frame: str, celsius: float) -> None:
    reading = after_start(ScriptedBus("40 5D DC 6F" + frame)).read(1.01)
    assert reading.temperature_c == pytest.approx(celsius, abs=1e-4)


@pytest.mark.parametrize(("part", "full_scale"), SPANS_MMHG.items())
def test_full_scale_of_each_part(part: str, full_scale: float) -> None:
    sensor = after_start(ScriptedBus("40 E6 66 66 60 00 00"), part)
    assert sensor.read(1.01).pressure_mmhg == pytest.approx(full_scale)
    assert (sensor.low_mmhg, sensor.high_mmhg) == (-20.0, full_scale)
    assert full_scale > 330.0


def test_lowest_pressure_it_believes() -> None:
    floor = 1677722 - int(20.0 / 450.0369 * 13421772)
    assert after_start(ScriptedBus(f"40 {floor:06x} 600000")).read(1.01).pressure_mmhg == pytest.approx(-20.0, abs=1e-3)
    with pytest.raises(SensorFault, match="below its valid band"):
        after_start(ScriptedBus(f"40 {floor - 1:06x} 600000")).read(1.01)


def test_one_command_one_bare_read_of_messages_made_once() -> None:
    bus = ScriptedBus()
    sensor = after_start(bus)
    for tick in range(3):
        sensor.read(1.01 + tick)
        sensor.start(1.01 + tick)
    writes, reads = bus.messages[0::2], bus.messages[1::2]
    assert {(message.addr, message.flags, bytes(message)) for message in writes} == {(0x28, 0, b"\xaa\x00\x00")}
    assert {(message.addr, message.flags, message.len) for message in reads} == {(0x28, 1, 7)}
    assert len({id(message) for message in writes}) == len({id(message) for message in reads}) == 1
