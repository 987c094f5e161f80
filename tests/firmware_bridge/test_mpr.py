"""The MPR driver: the family's faults, an end of scale that is no number, then the vectors of the datasheet."""

from __future__ import annotations

import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.ports import SensorFault
from firmware_bridge.sensors.honeywell24 import Span
from firmware_bridge.sensors.mpr import OUTPUT_MAX, OUTPUT_MIN, Mpr

ROOT = Path(__file__).resolve().parents[2]
MMHG_PER_PSI = 51.714933
FUNCTION_A_25_PSI = Span(1_677_722, 15_099_494, 25.0)


class ScriptedBus:
    """Answers every read with the bytes it is given."""

    def __init__(self, frame: str = "40 20 00 00") -> None:
        self.frame = bytes.fromhex(frame)
        self.error: int | None = None
        self.messages: list[Any] = []

    def i2c_rdwr(self, *messages: Any) -> None:
        if self.error is not None:
            raise OSError(self.error, "as scripted")
        (message,) = messages  # a bare read: a register byte before it would be a command
        self.messages.append(message)
        if message.flags:
            for index, byte in enumerate(self.frame):
                message.buf[index] = byte


def after_start(bus: ScriptedBus) -> Mpr:
    sensor = Mpr(bus, name="sensor A")
    sensor.start(1.0)
    return sensor


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("60 20 00 00", "0x60, must be 0x40 (still converting)"),
        ("44 20 00 00", "0x44, must be 0x40 (memory error"),
        ("41 20 00 00", "0x41, must be 0x40 (math saturation"),
        ("00 20 00 00", "0x00, must be 0x40 (not powered)"),
        ("7F FF FF FF", "0x7f, must be 0x40 (nothing drives the bus)"),
        ("FF FF FF FF", "0xff, must be 0x40 (nothing drives the bus)"),
        ("40 00 00 00", "zero counts with a good status, it has latched up"),
        ("40 FF FF FF", "all ones with a good status"),
        ("40 39 99 9A", "above its valid band of 195734 to 3718949 (300.0 mmHg)"),
        ("40 38 BF 26", "3718950 counts, above its valid band"),
        ("40 02 00 00", "131072 counts, below its valid band"),
    ],
)
def test_refuses_whatever_is_no_reading(frame: str, says: str) -> None:
    sensor = after_start(ScriptedBus(frame))
    with pytest.raises(SensorFault) as told:
        sensor.read(1.01)
    assert str(told.value).startswith("sensor A at 0x18: ")
    assert says in str(told.value)


def test_every_status_but_one_is_a_fault() -> None:
    for status in range(256):
        if status != 0x40:
            with pytest.raises(SensorFault, match=f"status {status:#04x}"):
                after_start(ScriptedBus(f"{status:02x} 20 00 00")).read(1.01)


@pytest.mark.parametrize("transfer", ["start", "read"])
def test_a_failed_transfer_is_a_fault_and_leaves_nothing_to_read(transfer: str) -> None:
    bus = ScriptedBus()
    sensor = after_start(bus)
    bus.error = 121
    with pytest.raises(SensorFault, match=r"121 \(EREMOTEIO\): it does not answer"):
        getattr(sensor, transfer)(2.0)
    bus.error = None
    with pytest.raises(SensorFault, match="no conversion was started"):
        sensor.read(2.01)


@pytest.mark.parametrize("part", ["0025PA", "0300yg", "600MG", ""])
def test_refuses_another_part(part: str) -> None:
    with pytest.raises(ValueError, match=rf"part = {part}: must be 0300YG"):
        Mpr(ScriptedBus(), part=part)


def test_imports_without_smbus2() -> None:
    names = ("bus", "honeywell24", "abp2", "mpr", "hsc", "xgzp6847d", "mpx5050")
    imports = ", ".join(f"firmware_bridge.sensors.{name}" for name in names)
    code = f"import sys, {imports}; sys.exit('smbus2' in sys.modules or 'fcntl' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], check=False, cwd=ROOT).returncode == 0


# --- sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "counts", "mmhg"),
    [
        ("40 06 66 66", 419430, 0.0),
        ("40 10 A3 D7", 1090519, 60.0),
        ("40 20 00 00", 2097152, 150.0),
        ("40 38 BF 25", 3718949, 295.0),
        ("40 06 51 00", 413952, -0.490),
    ],
)
def test_vectors_of_the_0300yg(frame: str, counts: int, mmhg: float) -> None:
    reading = after_start(ScriptedBus(frame)).read(1.01)
    assert reading is not None
    assert (reading.at_s, reading.counts) == (1.0, counts)
    assert reading.pressure_mmhg == pytest.approx(mmhg, abs=0.001)
    assert isnan(reading.temperature_c)


def test_the_vector_at_full_scale_is_what_the_transfer_function_gives() -> None:
    assert Span(OUTPUT_MIN, OUTPUT_MAX, 300.0).mmhg(0x39999A) == pytest.approx(300.0, abs=1e-9)


@pytest.mark.parametrize(("counts", "psi"), [(0x800000, 12.5), (0xD9999A, 23.4375)])
def test_vectors_of_the_0025pa(counts: int, psi: float) -> None:
    assert FUNCTION_A_25_PSI.mmhg(counts) == pytest.approx(psi, abs=1e-5)
    assert FUNCTION_A_25_PSI.mmhg(0x800000) * MMHG_PER_PSI == pytest.approx(646.437, abs=0.001)


def test_one_command_one_bare_read_of_messages_made_once() -> None:
    bus = ScriptedBus()
    sensor = after_start(bus)
    for tick in range(3):
        sensor.read(1.01 + tick)
        sensor.start(1.01 + tick)
    writes, reads = bus.messages[0::2], bus.messages[1::2]
    assert {(message.addr, message.flags, bytes(message)) for message in writes} == {(0x18, 0, b"\xaa\x00\x00")}
    assert {(message.addr, message.flags, message.len) for message in reads} == {(0x18, 1, 4)}
    assert len({id(message) for message in bus.messages}) == 2
