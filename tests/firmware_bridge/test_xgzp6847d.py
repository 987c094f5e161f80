"""The XGZP6847D driver: the other generation, a conversion that never ends, frames that are none; then the vectors."""

from __future__ import annotations

from typing import Any

import pytest

from firmware_bridge.ports import Reading, SensorFault
from firmware_bridge.sensors.xgzp6847d import Xgzp6847d

WARM = "19 80"
DONE, CONVERTING = 0x02, 0x0A


class Registers:
    """A bus with one device of registers on it, and perhaps one at 0x58. Every transfer is written down."""

    def __init__(self, frame: str = "13 87 97" + WARM) -> None:
        self.frame = bytes.fromhex(frame)
        self.command = DONE
        self.second_generation = False
        self.error: int | None = None
        self.probe_error = 121
        self.said: list[str] = []

    def i2c_rdwr(self, *messages: Any) -> None:
        first, last = messages[0], messages[-1]
        if first.addr == 0x58:
            self.said.append("probe")
            if not self.second_generation:
                raise OSError(self.probe_error, "as scripted")
            return
        assert first.addr == 0x6D
        if self.error is not None:
            raise OSError(self.error, "as scripted")
        self.said.append(bytes(first).hex())
        if last.flags:
            answer = bytes([self.command]) if bytes(first) == b"\x30" else self.frame
            assert last.len == len(answer)
            for index, byte in enumerate(answer):
                last.buf[index] = byte


def reading(bus: Registers, part: str = "100KPG") -> Reading:
    sensor = Xgzp6847d(bus, name="sensor A", part=part)
    sensor.start(1.0)
    taken = sensor.read(1.02)
    assert taken is not None
    return taken


# --- broken ------------------------------------------------------------------------------------------------------


def test_fails_closed_on_the_second_generation() -> None:
    bus = Registers()
    bus.second_generation = True
    sensor = Xgzp6847d(bus)
    for _ in range(2):
        with pytest.raises(SensorFault, match=r"answers at 0x58 on its bus.*second generation.*first generation"):
            sensor.start(1.0)
    assert bus.said == ["probe", "probe"], "nothing was commanded"
    with pytest.raises(SensorFault, match="no conversion was started"):
        sensor.read(1.02)


def test_a_probe_that_failed_otherwise_has_shown_nothing() -> None:
    bus = Registers()
    bus.probe_error = 110
    sensor = Xgzp6847d(bus)
    with pytest.raises(SensorFault, match="110"):
        sensor.start(1.0)
    bus.probe_error = 6  # ENXIO: how other adapters say that nobody acknowledged
    sensor.start(1.01)
    sensor.start(1.02)
    assert bus.said == ["probe", "probe", "300a"]


@pytest.mark.parametrize(
    ("address", "says"), [(0x58, "second generation, with other registers"), (0x6C, "must be 0x6d")]
)
def test_refuses_another_address(address: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Xgzp6847d(Registers(), address)


def test_refuses_another_part() -> None:
    with pytest.raises(ValueError, match="part = 040KPG: must be one of 100KPG, 200KPG"):
        Xgzp6847d(Registers(), part="040KPG")


def test_a_conversion_that_goes_on_is_none_and_one_that_never_ends_a_fault() -> None:
    bus = Registers()
    bus.command = CONVERTING
    sensor = Xgzp6847d(bus)
    sensor.start(1.0)
    for now_s in (1.01, 1.02, 1.03):
        assert sensor.read(now_s) is None
        sensor.start(now_s)
    with pytest.raises(SensorFault, match="still converting after 40 ms, must take at most 20 ms"):
        sensor.read(1.04)
    assert bus.said.count("300a") == 1, "one under way is not started anew"
    sensor.start(1.04)
    assert bus.said.count("300a") == 2


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("FF FF FF FF FF", "all ones, nothing drives the bus"),
        ("00 00 00 00 00", "all zeros, it has measured nothing"),
        ("7F FF FF" + WARM, "983.1 mmHg, must be -20 to 750 mmHg"),
        ("80 00 00" + WARM, "-983.1 mmHg, must be -20 to 750 mmHg"),
        ("FD 60 00" + WARM, "-20.2 mmHg, must be -20 to 750 mmHg"),
        ("61 A8 01" + WARM, "750.1 mmHg, must be -20 to 750 mmHg"),
        ("13 87 97 7F FF", "128 °C, must be -40 to 125 °C"),
        ("13 87 97 80 00", "-128 °C, must be -40 to 125 °C"),
    ],
)
def test_refuses_whatever_is_no_reading(frame: str, says: str) -> None:
    with pytest.raises(SensorFault) as told:
        reading(Registers(frame))
    assert str(told.value).startswith(f"sensor A at 0x6d: {says}")


@pytest.mark.parametrize("transfer", ["start", "read"])
def test_a_failed_transfer_is_a_fault_and_leaves_nothing_to_read(transfer: str) -> None:
    bus = Registers()
    sensor = Xgzp6847d(bus)
    if transfer == "read":
        sensor.start(1.0)
    bus.error = 5
    with pytest.raises(SensorFault, match=r"5 \(EIO\): the transfer broke off"):
        getattr(sensor, transfer)(1.02)
    bus.error = None
    with pytest.raises(SensorFault, match="no conversion was started"):
        sensor.read(1.03)


# --- sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "counts", "mmhg"),
    [
        ("00 00 00", 0, 0.0),
        ("07 CF D6", 511958, 60.0),
        ("13 87 97", 1279895, 150.0),
        ("27 0F 2E", 2559790, 300.0),
        ("FF 59 59", -42663, -5.0),
        ("FF FF FF", -1, -0.000117),
    ],
)
def test_vectors_of_pressure(frame: str, counts: int, mmhg: float) -> None:
    taken = reading(Registers(frame + WARM))
    assert (taken.at_s, taken.counts) == (1.0, counts)
    assert taken.pressure_mmhg == pytest.approx(mmhg, abs=1e-4)


@pytest.mark.parametrize(("warm", "celsius"), [("19 80", 25.5), ("FB 00", -5.0)])
def test_vectors_of_temperature(warm: str, celsius: float) -> None:
    assert reading(Registers("13 87 97" + warm)).temperature_c == celsius


def test_the_larger_part_counts_half_as_fine() -> None:
    assert reading(Registers("13 87 97" + WARM), "200KPG").pressure_mmhg == pytest.approx(300.0, abs=1e-4)


def test_status_before_result_and_the_other_generation_looked_for_once() -> None:
    bus = Registers()
    sensor = Xgzp6847d(bus)
    for tick in range(2):
        sensor.start(float(tick))
        sensor.read(tick + 0.02)
    assert bus.said == ["probe", *["300a", "30", "06"] * 2]
