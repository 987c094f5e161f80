"""The HSC driver: what is stale, failed or off its scale is no number; then the vectors of the datasheet."""

from __future__ import annotations

from typing import Any

import pytest

from firmware_bridge.ports import Reading, SensorFault
from firmware_bridge.sensors.hsc import PARTS, Hsc

WARMTH = "60 00"


class ScriptedBus:
    """Answers every read with the bytes it is given."""

    def __init__(self, frame: str = "17 77") -> None:
        self.frame = frame
        self.error: int | None = None
        self.messages: list[Any] = []

    def i2c_rdwr(self, *messages: Any) -> None:
        if self.error is not None:
            raise OSError(self.error, "as scripted")
        (message,) = messages
        self.messages.append(message)
        for index, byte in enumerate(bytes.fromhex(self.frame + WARMTH)):
            message.buf[index] = byte


def reading(bus: ScriptedBus, part: str = "600MG") -> Reading:
    sensor = Hsc(bus, name="sensor A", part=part)
    sensor.start(1.0)
    taken = sensor.read(1.01)
    assert taken is not None
    return taken


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("46 66", "status 01, must be 00 (command mode, it is not measuring)"),
        ("C6 66", "status 11, must be 00 (diagnostic, its own check has failed)"),
        ("FF FF", "all ones, nothing drives the bus"),
        ("00 00", "0 counts, below its valid band of 1056 to 14746"),
        ("04 1F", "1055 counts, below its valid band"),
        ("39 9B", "14747 counts, above its valid band"),
        ("3F FF", "16383 counts, above its valid band"),
    ],
)
def test_refuses_whatever_is_no_reading(frame: str, says: str) -> None:
    with pytest.raises(SensorFault) as told:
        reading(ScriptedBus(frame))
    assert str(told.value).startswith("sensor A at 0x28: ")
    assert says in str(told.value)


def test_stale_is_no_new_sample_and_a_run_of_it_is_a_fault() -> None:
    bus = ScriptedBus("86 66")
    sensor = Hsc(bus)
    assert [sensor.read(0.01), sensor.read(0.02)] == [None, None]
    for tick in range(3, 6):
        with pytest.raises(SensorFault, match=f"stale {tick} times in a row, it has stopped measuring"):
            sensor.read(tick * 0.01)
    bus.frame = "17 77"
    assert sensor.read(0.06) is not None
    bus.frame = "86 66"
    assert sensor.read(0.07) is None, "a run ends with a reading"


def test_a_bus_error_is_a_fault() -> None:
    bus = ScriptedBus()
    bus.error = 110
    with pytest.raises(SensorFault, match=r"110 \(ETIMEDOUT\): the bus hangs"):
        reading(bus)


@pytest.mark.parametrize("part", ["005PG", "600MG-D", "600MG-", "600MGA", ""])
def test_refuses_a_part_it_cannot_be(part: str) -> None:
    with pytest.raises(ValueError, match=rf"part = {part}: must be one of 600MG, "):
        Hsc(ScriptedBus(), part=part)


def test_refuses_what_is_no_address() -> None:
    with pytest.raises(ValueError, match="address = 0x78: must be 0x08 to 0x77"):
        Hsc(ScriptedBus(), 0x78)


# --- sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "frame", "counts", "mmhg"),
    [
        ("015PG", "06 66", 1638, 0.0),
        ("015PG", "0A 5C", 2652, 60.008),
        ("015PG", "10 4D", 4173, 150.020),
        ("015PG", "1A 33", 6707, 299.980),
        ("600MG", "06 66", 1638, 0.0),
        ("600MG", "0D 3A", 3386, 60.014),
        ("600MG", "17 77", 6007, 150.001),
        ("600MG", "28 88", 10376, 300.002),
    ],
)
def test_vectors_of_transfer_function_a(part: str, frame: str, counts: int, mmhg: float) -> None:
    taken = reading(ScriptedBus(frame), part)
    assert taken.counts == counts
    assert taken.pressure_mmhg == pytest.approx(mmhg, abs=0.001)
    assert taken.temperature_c == pytest.approx(25.037, abs=0.001)
    assert 1.0 < taken.at_s < 1.01, "measured within the response time before it was read"


@pytest.mark.parametrize(
    ("letter", "low", "high"), [("A", 1638, 14746), ("B", 819, 15565), ("C", 819, 13926), ("F", 655, 15401)]
)
def test_each_transfer_function_ends_where_the_technical_note_says(letter: str, low: int, high: int) -> None:
    for counts, mmhg in ((low, 0.0), (high, 450.0369)):
        assert reading(ScriptedBus(f"{counts:04x}"), f"600MG-{letter}").pressure_mmhg == pytest.approx(mmhg)
    with pytest.raises(SensorFault, match="above its valid band"):
        reading(ScriptedBus(f"{high + 1:04x}"), f"600MG-{letter}")


def test_every_part_sees_past_the_guards_own_ceiling() -> None:
    assert all(Hsc(ScriptedBus(), part=part).high_mmhg > 345.0 for part in PARTS)


def test_one_bare_read_and_no_command() -> None:
    bus = ScriptedBus()
    sensor = Hsc(bus)
    for tick in range(3):
        sensor.start(float(tick))
        sensor.read(tick + 0.01)
    assert {(message.addr, message.flags, message.len) for message in bus.messages} == {(0x28, 1, 4)}
    assert len({id(message) for message in bus.messages}) == 1
