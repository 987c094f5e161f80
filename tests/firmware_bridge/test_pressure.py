"""Sensor B on a board: everything that is not a sound reading is none; what is sound comes out in tenths of a mmHg."""

from __future__ import annotations

import pytest

from firmware_bridge.firmware.pressure import SPANS, Abp2, Mpx5050, corrected
from firmware_bridge.firmware.wire import NO_READING
from firmware_bridge.sensors.abp2 import SPANS_MMHG


class Bus:
    """A `machine.I2C` with one ABP2 behind it that answers what the test says."""

    def __init__(self, said: str) -> None:
        self.said = bytes.fromhex(said)
        self.broken = ""
        self.commands = 0

    def writeto(self, address: int, data: bytes) -> None:
        if self.broken == "write":
            raise OSError(5)
        assert (address, data) == (0x28, b"\xaa\x00\x00")
        self.commands += 1

    def readfrom_into(self, address: int, frame: bytearray) -> None:
        if self.broken == "read":
            raise OSError(110)
        assert (address, len(frame)) == (0x28, 7)
        frame[:] = self.said


def second(bus: Bus, part: str = "600MG", zero_dmmhg: int = 0, gain_e4: int = 10000) -> int:
    """What the second pass gives; the first has nothing to read yet."""
    sensor = Abp2(bus, 0x28, part, zero_dmmhg, gain_e4)
    assert sensor.convert() == NO_READING
    return sensor.convert()


@pytest.mark.parametrize(
    "said",
    [
        "60199999600000",  # busy
        "44199999600000",  # memory
        "41199999600000",  # saturation
        "00199999600000",  # no power
        "ffffffffffffff",
        "40000000600000",  # latched up: zero counts with a good status
        "40ffffff600000",
        "40e66667600000",  # one count above 90 %
        "40107000600000",  # below -20 mmHg
    ],
)
def test_what_an_abp2_says_when_it_is_broken_is_no_reading(said: str) -> None:
    assert second(Bus(said)) == NO_READING


@pytest.mark.parametrize("broken", ["read", "write"])
def test_a_bus_that_fails_is_no_reading_and_comes_back(broken: str) -> None:
    bus = Bus("4034e789600000")
    sensor = Abp2(bus, 0x28, "600MG")
    sensor.convert()
    bus.broken = broken
    sensor.convert()  # where only the command failed, the conversion before it is still good
    assert sensor.convert() == NO_READING
    bus.broken = ""
    sensor.convert()
    assert sensor.convert() == 600


def test_a_conversion_is_read_once() -> None:
    bus = Bus("4034e789600000")
    sensor = Abp2(bus, 0x28, "600MG")
    sensor.convert()
    bus.broken = "write"
    assert sensor.convert() == 600
    assert sensor.convert() == NO_READING
    assert bus.commands == 1


@pytest.mark.parametrize(
    ("said", "dmmhg"),
    [
        ("4019999a600000", 0),
        ("4034e789600000", 600),
        ("405ddc6f600000", 1500),
        ("40a21f43600000", 3000),
        ("40e66666600000", 4500),
        ("40175000600000", -50),
    ],
)
def test_vectors_of_the_600mg(said: str, dmmhg: int) -> None:
    assert second(Bus(said)) == dmmhg


def test_the_spans_are_those_of_the_driver_on_the_pi() -> None:
    assert pytest.approx(SPANS_MMHG) == {part: span / 1e4 for part, span in SPANS.items()}
    assert [second(Bus("40e66666600000"), part) for part in ("001BG", "015PG")] == [7501, 7757]


def test_the_zero_of_its_calibration_is_taken_off() -> None:
    assert second(Bus("4034e789600000"), zero_dmmhg=-23) == 623
    assert second(Bus("40000000600000"), zero_dmmhg=-23) == NO_READING


class Adc:
    def __init__(self, volts: float) -> None:
        self.volts = volts

    def read_u16(self) -> int:
        return min(65535, round(self.volts / 2 / 3.3 * 65535))  # behind the divider, of two equal resistors


def mpx(volts: float, supply: float = 5.0, zero_dmmhg: int = 0, gain_e4: int = 10000) -> int:
    return Mpx5050(Adc(volts), Adc(supply), zero_dmmhg, gain_e4).convert()


@pytest.mark.parametrize("volts", [0.0, 0.08, 4.83, 5.0])
def test_an_open_or_shorted_wire_is_no_reading(volts: float) -> None:
    assert mpx(volts) == NO_READING


@pytest.mark.parametrize("supply", [0.0, 3.3, 4.4, 5.5])
def test_a_supply_that_it_is_not_made_for_is_no_reading(supply: float) -> None:
    assert mpx(2.0, supply) == NO_READING


@pytest.mark.parametrize(
    ("volts", "mmhg"), [(0.200063, 0.005), (0.919875, 59.995), (1.999875, 150.002), (3.799688, 299.999)]
)
@pytest.mark.parametrize("supply", [4.75, 5.0, 5.25])
def test_vectors_of_the_mpx5050_at_any_supply(volts: float, mmhg: float, supply: float) -> None:
    assert mpx(volts * supply / 5.0, supply) / 10 == pytest.approx(mmhg, abs=0.3)


def test_the_zero_of_an_mpx5050() -> None:
    assert mpx(1.999875) - mpx(1.999875, zero_dmmhg=31) == 31


def test_a_gain_is_of_what_is_left_above_the_zero() -> None:
    assert corrected(623, 23, 10000) == 600
    assert corrected(623, 23, 10123) == 607
    assert corrected(-50, 0, 11000) == -55
    assert second(Bus("4034e789600000"), gain_e4=9000) == 540
    assert mpx(1.999875, gain_e4=11000) == mpx(1.999875) * 11 // 10
