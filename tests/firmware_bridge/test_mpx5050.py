"""The MPX5050 driver: a converter that was reset, a wire that is off, a supply that is none; then the vectors."""

from __future__ import annotations

from itertools import pairwise
from math import isnan
from typing import Any

import pytest

from firmware_bridge.ports import Reading, SensorFault
from firmware_bridge.sensors.mpx5050 import Mpx5050, mmhg_at

FIVE_VOLTS = 26667  # counts of 187.5 µV
SENSOR, SUPPLY = 0x40E3, 0x50E3


class Converter:
    """A bus with the registers of an ADS1115 on it. Every transfer is written down."""

    def __init__(self, word: str = "29 AA") -> None:
        self.sensor = int.from_bytes(bytes.fromhex(word), "big", signed=True)
        self.supply = FIVE_VOLTS
        self.config = 0x8583
        self.keeps = True  # what is written to it
        self.error: int | None = None
        self.said: list[str] = []

    def i2c_rdwr(self, *messages: Any) -> None:
        if self.error is not None:
            raise OSError(self.error, "as scripted")
        written, last = bytes(messages[0]), messages[-1]
        assert messages[0].addr == 0x48
        self.said.append(written.hex())
        if not last.flags:
            if self.keeps:
                self.config = int.from_bytes(written[1:], "big")
            return
        supply = self.config >> 12 & 7 == 5
        value = self.config if written == b"\x01" else self.supply if supply else self.sensor
        for index, byte in enumerate((value & 0xFFFF).to_bytes(2, "big")):
            last.buf[index] = byte


def reading(bus: Converter, **more: Any) -> Reading:
    """With a supply that is known: the first read is of the sensor."""
    sensor = Mpx5050(bus, name="sensor A", **{"supply_v": 5.0} | more)
    sensor.start(1.0)
    taken = sensor.read(1.01)
    assert taken is not None
    return taken


def measuring(bus: Converter) -> Mpx5050:
    """One that measures its supply, after it has done so."""
    sensor = Mpx5050(bus, name="sensor A")
    sensor.start(1.0)
    assert sensor.read(1.01) is None
    sensor.start(1.01)
    return sensor


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("00 00", "0.000 V, must be 0.088 to 4.813 V: a wire of the sensor is broken or shorted"),
        ("01 D5", "0.088 V, must be 0.088 to 4.813 V"),
        ("FF FF", "-0.000 V, must be 0.088 to 4.813 V"),
        ("64 46", "4.813 V, must be 0.088 to 4.813 V"),
        ("68 2B", "5.000 V, must be 0.088 to 4.813 V"),
        ("7F FF", "32767 counts, the converter is at an end of its scale"),
        ("80 00", "-32768 counts, the converter is at an end of its scale"),
    ],
)
def test_refuses_whatever_is_no_reading(word: str, says: str) -> None:
    with pytest.raises(SensorFault) as told:
        reading(Converter(word))
    assert str(told.value).startswith(f"sensor A at 0x48: {says}")


def test_a_converter_that_keeps_no_configuration_gives_no_number() -> None:
    bus = Converter()
    bus.keeps = False
    sensor = Mpx5050(bus, supply_v=5.0)
    with pytest.raises(SensorFault, match=r"configuration 0x8583, must be 0x40e3 .it was reset, by a brown-out"):
        sensor.start(1.0)
    with pytest.raises(SensorFault, match="not configured"):
        sensor.read(1.01)


@pytest.mark.parametrize(("found", "why"), [(0x8583, "it was reset"), (0x42E3, "something else writes to it")])
def test_a_configuration_that_changed_is_found_within_a_second_and_put_right_after_the_fault(
    found: int, why: str
) -> None:
    bus = Converter()
    sensor = Mpx5050(bus, supply_v=5.0)
    sensor.start(0.0)
    bus.config = found
    now_s = 0.0
    with pytest.raises(SensorFault, match=f"configuration {found:#06x}, must be 0x40e3 .{why}"):  # noqa: PT012
        while now_s < 1.01:
            now_s += 0.01
            sensor.read(now_s)
            sensor.start(now_s)
    assert now_s == pytest.approx(1.0)
    with pytest.raises(SensorFault, match="not configured"):
        sensor.read(now_s)
    sensor.start(now_s)
    assert bus.config == SENSOR
    assert sensor.read(now_s + 0.01) is not None


@pytest.mark.parametrize(("counts", "volts"), [(0, "0.00"), (25000, "4.69"), (28100, "5.27"), (32767, "6.14")])
def test_a_supply_that_is_none_is_a_fault_until_it_is_one(counts: int, volts: str) -> None:
    bus = Converter()
    bus.supply = counts
    sensor = Mpx5050(bus)
    for tick in range(3):
        sensor.start(tick * 0.01)
        with pytest.raises(SensorFault, match=rf"supply of {volts} V, must be 4.75 to 5.25 V"):
            sensor.read(tick * 0.01 + 0.01)
    bus.supply = FIVE_VOLTS
    assert sensor.read(0.04) is None
    sensor.start(0.04)
    assert sensor.read(0.05) is not None


def test_a_tick_close_behind_another_gets_nothing_before_the_input_has_settled() -> None:
    sensor = measuring(Converter())
    assert sensor.read(1.013) is None
    assert sensor.read(1.015) is not None


@pytest.mark.parametrize("transfer", ["start", "read"])
def test_a_bus_error_is_a_fault(transfer: str) -> None:
    bus = Converter()
    sensor = Mpx5050(bus, supply_v=5.0)
    if transfer == "read":
        sensor.start(1.0)
    bus.error = 121
    with pytest.raises(SensorFault, match=r"121 \(EREMOTEIO\)"):
        getattr(sensor, transfer)(1.01)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"part": "MPX5100"}, "part = MPX5100: must be one of MPX5050GP, "),
        ({"address": 0x47}, "address = 0x47: must be 0x48 to 0x4b"),
        ({"supply_v": 3.3}, "supply_v = 3.3: must be 4.75 to 5.25 V"),
    ],
)
def test_refuses_what_it_cannot_be(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Mpx5050(Converter(), **more)


# --- sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "counts", "mmhg"),
    [
        ("04 2B", 1067, 0.005),
        ("13 2A", 4906, 59.995),
        ("29 AA", 10666, 150.002),
        ("4F 29", 20265, 299.999),
        ("61 E9", 25065, 375.005),
    ],
)
@pytest.mark.parametrize(("divider", "config"), [(False, 0x40E3), (True, 0x42E3)])
def test_vectors_directly_and_through_dividers(word: str, counts: int, mmhg: float, divider: bool, config: int) -> None:
    bus = Converter(word)
    taken = reading(bus, divider=divider)
    assert taken.counts == counts
    assert taken.pressure_mmhg == pytest.approx(mmhg, abs=0.0015)
    assert isnan(taken.temperature_c)
    assert 1.0 < taken.at_s < 1.01
    assert bus.config == config


def test_pressure_is_a_share_of_the_supply_measured() -> None:
    bus = Converter()
    bus.supply, bus.sensor = round(4.8 / 187.5e-6), round(4.8 * 0.4 / 187.5e-6)
    taken = measuring(bus).read(1.02)
    assert taken is not None
    assert taken.pressure_mmhg == pytest.approx(mmhg_at(0.4, 1.0), abs=0.02)
    assert taken.pressure_mmhg == pytest.approx(150.012, abs=0.02)


def test_supply_and_configuration_once_a_second_and_one_tick_without_a_sample() -> None:
    bus = Converter()
    sensor = Mpx5050(bus)
    taken, now_s = [], 0.0
    for tick in range(300):
        now_s = tick * 0.01
        if tick:
            taken.append(sensor.read(now_s))
        sensor.start(now_s)
    assert taken.count(None) == 3
    assert bus.said.count("0150e3") == 3
    assert bus.said.count("0140e3") == 3
    assert bus.said.count("01") == 6, "read back whenever it is written"
    times = [one.at_s for one in taken if one is not None]
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.021


def test_with_a_supply_that_is_known_every_tick_has_a_sample_and_the_configuration_is_looked_at() -> None:
    bus = Converter()
    sensor = Mpx5050(bus, supply_v=5.0)
    sensor.start(0.0)
    for tick in range(1, 300):
        assert sensor.read(tick * 0.01) is not None
        sensor.start(tick * 0.01)
    assert (bus.said.count("0140e3"), bus.said.count("01")) == (1, 3)
