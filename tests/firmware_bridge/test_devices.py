"""The simulated devices beside the ABP2: what they answer when something is broken, then what the datasheets say."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from smbus2 import i2c_msg

from firmware_bridge.simulated.bus import SensorDevice, SimulatedBus
from firmware_bridge.simulated.devices import Ads1115Device, HscDevice, MprDevice, Mpx5050Device, XgzpDevice

ADDRESS = 0x28


class Rig:
    """One bus, one device, a pressure to set."""

    def __init__(self, make: Callable[..., Any], noise_mmhg: float = 0.0, part: str | None = None) -> None:
        self.now_s = 0.0
        self.pressure_mmhg = 0.0
        self.bus = SimulatedBus(lambda: self.now_s)
        more = {} if part is None else {"part": part}
        self.device = make(lambda _now_s: self.pressure_mmhg, Random("0/a"), noise_mmhg, 0.0, **more)
        self.bus.devices[ADDRESS] = self.device

    def write(self, *data: int) -> None:
        self.bus.i2c_rdwr(i2c_msg.write(ADDRESS, data))

    def read(self, length: int, *first: int) -> bytes:
        message = i2c_msg.read(ADDRESS, length)
        self.bus.i2c_rdwr(*([i2c_msg.write(ADDRESS, first)] if first else []), message)
        return bytes(message)

    def wait(self, ms: float) -> None:
        self.now_s += ms / 1000.0


def mpr(rig: Rig) -> int:
    rig.write(0xAA, 0, 0)
    rig.wait(10)
    return int.from_bytes(rig.read(4)[1:], "big")


def hsc(rig: Rig) -> int:
    rig.wait(10)
    return int.from_bytes(rig.read(2), "big") & 0x3FFF


def xgzp(rig: Rig) -> int:
    rig.write(0x30, 0x0A)
    rig.wait(20)
    return int.from_bytes(rig.read(3, 0x06), "big", signed=True)


def mpx(rig: Rig) -> int:
    rig.write(1, 0x40, 0xE3)
    rig.wait(10)
    return int.from_bytes(rig.read(2, 0), "big", signed=True)


FAMILIES = [(MprDevice, mpr), (HscDevice, hsc), (XgzpDevice, xgzp), (Mpx5050Device, mpx)]


# --- broken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "convert"), FAMILIES)
@pytest.mark.parametrize(("fault", "number"), [("nack", 121), ("hang", 110), ("broken", 5)])
def test_faults_of_the_wires_are_linux_error_numbers(
    make: type[SensorDevice], convert: Callable[[Rig], int], fault: str, number: int
) -> None:
    rig = Rig(make)
    setattr(rig.device, fault, True)
    for transfer in (lambda: rig.write(0), lambda: rig.read(2)):
        with pytest.raises(OSError, match=rf"^\[Errno {number}\] "):
            transfer()
    setattr(rig.device, fault, False)
    rig.pressure_mmhg = 60.0
    assert convert(rig) > 100, "and it lives on"


@pytest.mark.parametrize(("make", "convert"), FAMILIES)
def test_faults_of_the_sensor_itself(make: type[SensorDevice], convert: Callable[[Rig], int]) -> None:
    rig = Rig(make, noise_mmhg=0.5)
    rig.pressure_mmhg = 100.0
    sound = convert(rig)
    rig.device.frozen = True
    rig.pressure_mmhg = 200.0
    assert {convert(rig), convert(rig)} == {sound}
    rig.device.frozen = False
    rig.device.stuck_mmhg = 100.0
    stuck = {convert(rig) for _ in range(5)}
    assert len(stuck) == 5, "its noise goes on"
    per_mmhg = (sound - convert(Rig(make))) / 100.0
    assert all(abs(one - sound) < 4.0 * per_mmhg for one in stuck)
    rig.device.offset_mmhg = 40.0
    assert convert(rig) == pytest.approx(sound + 40.0 * per_mmhg, abs=3.0 * per_mmhg)
    rig.device.all_ones = True
    assert rig.read(2) == b"\xff\xff"


def test_hsc_says_that_it_is_stale_or_sick() -> None:
    rig = Rig(HscDevice)
    rig.wait(10)
    assert [rig.read(1)[0] >> 6 for _ in range(2)] == [0b00, 0b10], "read a second time before it measured again"
    rig.wait(2)
    assert rig.read(1)[0] >> 6 == 0b00
    rig.device.memory_error = True
    assert rig.read(1)[0] >> 6 == 0b11
    rig.device.memory_error, rig.device.stuck_busy = False, True
    rig.wait(100)
    assert rig.read(1)[0] >> 6 == 0b10


def test_xgzp_that_never_ends_and_one_that_measured_nothing() -> None:
    rig = Rig(XgzpDevice)
    rig.device.stuck_busy = True
    rig.write(0x30, 0x0A)
    rig.wait(1000)
    assert rig.read(1, 0x30) == b"\x0a"
    rig.device.stuck_busy, rig.device.latched_up = False, True
    assert rig.read(1, 0x30) == b"\x02"
    assert rig.read(5, 0x06) == bytes(5)
    rig.device.latched_up, rig.device.saturated = False, True
    assert xgzp(rig) == 0x7FFFFF


def test_mpx_wires_and_a_converter_that_was_reset() -> None:
    rig = Rig(Mpx5050Device)
    rig.device.latched_up = True
    assert mpx(rig) == 0
    rig.device.latched_up, rig.device.saturated = False, True
    assert mpx(rig) == pytest.approx(5.0 / 187.5e-6, abs=1)
    rig.device.browned_out = True
    rig.write(1, 0x40, 0xE3)
    rig.wait(10)
    assert (rig.read(2, 1), rig.read(2, 0)) == (b"\x85\x83", b"\x00\x00"), "it keeps no configuration"


def test_mpx_ends_where_its_error_lets_it() -> None:
    rig = Rig(Mpx5050Device)
    for mmhg, volts in ((-100.0, 0.088), (600.0, 4.813)):
        rig.pressure_mmhg = mmhg
        assert mpx(rig) * 187.5e-6 == pytest.approx(volts, abs=0.0002)


# --- as the datasheets say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "part", "convert", "mmhg", "counts"),
    [
        (MprDevice, "0300YG", mpr, 0.0, 419430),
        (MprDevice, "0300YG", mpr, 60.0, 1090519),
        (MprDevice, "0300YG", mpr, 150.0, 2097152),
        (MprDevice, "0300YG", mpr, 300.0, 3774874),
        (MprDevice, "0025PA", mpr, 646.437, 0x800000),
        (HscDevice, "015PG", hsc, 60.008, 2652),
        (HscDevice, "015PG", hsc, 299.980, 6707),
        (HscDevice, "600MG", hsc, 150.001, 6007),
        (HscDevice, "600MG-B", hsc, 450.037, 15565),
        (HscDevice, "600MG-C", hsc, 450.037, 13926),
        (HscDevice, "600MG-F", hsc, 0.0, 655),
        (XgzpDevice, "100KPG", xgzp, 60.0, 511958),
        (XgzpDevice, "100KPG", xgzp, 300.0, 2559790),
        (XgzpDevice, "100KPG", xgzp, -5.0, -42663),
        (XgzpDevice, "200KPG", xgzp, 300.0, 1279895),
        (Mpx5050Device, "MPX5050GP", mpx, 0.005, 1067),
        (Mpx5050Device, "MPX5050GP", mpx, 59.995, 4906),
        (Mpx5050Device, "MPX5050GP", mpx, 150.002, 10666),
        (Mpx5050Device, "MPX5050GP", mpx, 375.005, 25065),
    ],
)
def test_transfer_functions(
    make: type[SensorDevice], part: str, convert: Callable[[Rig], int], mmhg: float, counts: int
) -> None:
    rig = Rig(make, part=part)
    rig.pressure_mmhg = mmhg
    assert convert(rig) == pytest.approx(counts, abs=13 if part == "0025PA" else 2)  # pressures of three decimals


def test_mpr_is_busy_for_five_milliseconds_and_has_no_temperature() -> None:
    rig = Rig(MprDevice)
    rig.write(0xAA, 0, 0)
    rig.wait(4.9)
    assert rig.read(1) == b"\x60"
    rig.wait(0.2)
    assert rig.read(1) == b"\x40"
    assert rig.read(6)[4:] == b"\xff\xff"


def test_temperatures() -> None:
    rig = Rig(HscDevice)
    rig.wait(10)
    assert rig.read(4)[2:] == b"\x60\x00"
    rig = Rig(XgzpDevice)
    xgzp(rig)
    assert rig.read(2, 0x09) == b"\x19\x00"


def test_xgzp_converts_once_and_a_command_meanwhile_is_lost() -> None:
    rig = Rig(XgzpDevice)
    rig.pressure_mmhg = 60.0
    rig.write(0x30, 0x0A)
    rig.wait(10)
    rig.pressure_mmhg = 150.0
    rig.write(0x30, 0x0A)
    assert rig.read(1, 0x30) == b"\x0a"
    rig.wait(9)
    assert rig.read(1, 0x30) == b"\x02"
    assert int.from_bytes(rig.read(3, 0x06), "big") == pytest.approx(511958, abs=2)


def converter(volts: float = 1.0) -> tuple[Rig, list[float]]:
    """An ADS1115 with 1 V on AIN0, to be changed, and 2 V on AIN1."""
    inputs = [volts, 2.0]
    return Rig(lambda *_args: Ads1115Device((lambda _now: inputs[0], lambda _now: inputs[1]))), inputs


def test_converter_powers_up_as_its_datasheet_says() -> None:
    rig, _ = converter()
    assert [rig.read(2, register).hex() for register in range(4)] == ["0000", "8583", "8000", "7fff"]
    rig.write(2, 0x12, 0x34)
    assert rig.read(2, 2) == b"\x12\x34"


def test_a_single_shot_takes_a_period_and_stands() -> None:
    rig, inputs = converter()
    rig.write(1, 0xC1, 0xE3)
    assert rig.read(2, 1) == b"\x41\xe3", "bit 15 reads 0 while it converts"
    rig.wait(1.2)
    assert rig.read(2, 1) == b"\xc1\xe3"
    assert int.from_bytes(rig.read(2, 0), "big") == 5333
    inputs[0] = 3.0
    rig.wait(100)
    assert int.from_bytes(rig.read(2, 0), "big") == 5333
    rig.write(1, 0x41, 0xE3)  # without bit 15 nothing begins
    rig.wait(100)
    assert int.from_bytes(rig.read(2, 0), "big") == 5333


def test_an_input_changed_while_it_runs_counts_from_the_conversion_after_next() -> None:
    rig, _ = converter()
    rig.write(1, 0x40, 0xE3)
    rig.wait(5)
    rig.write(1, 0x50, 0xE3)
    rig.wait(2.2)
    assert int.from_bytes(rig.read(2, 0), "big") == 5333, "still of AIN0"
    rig.wait(0.2)
    assert int.from_bytes(rig.read(2, 0), "big") == 10667


def test_converter_clips_and_takes_differences() -> None:
    rig, _ = converter()
    rig.write(1, 0x4A, 0xE3)  # AIN0, ± 0.512 V
    rig.wait(5)
    assert rig.read(2, 0) == b"\x7f\xff"
    rig.write(1, 0x00, 0xE3)  # AIN0 - AIN1, ± 6.144 V
    rig.wait(5)
    assert int.from_bytes(rig.read(2, 0), "big", signed=True) == -5333
