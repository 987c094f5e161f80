"""Drivers that this project did not write read the right pressure from its simulated devices.

Adafruit's, through an adapter that is their `busio.I2C` on one side and real `smbus2` messages on the other.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from adafruit_ads1x15.ads1x15 import Mode
from adafruit_ads1x15.ads1115 import ADS1115
from adafruit_ads1x15.analog_in import AnalogIn
from adafruit_mprls import MPRLS
from smbus2 import i2c_msg

from firmware_bridge.simulated.bus import SimulatedBus
from firmware_bridge.simulated.devices import MprDevice, Mpx5050Device

HPA_PER_MMHG = 1.33322387415
PRESSURES = (0.0, 60.0, 150.0, 300.0)


class Busio:
    """The surface of `busio.I2C` over a simulated bus. A microsecond passes with every look at the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.bus = SimulatedBus(self._clock)

    def _clock(self) -> float:
        self.now_s += 1e-6
        return self.now_s

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        """Nobody else is on this bus."""

    def writeto(self, address: int, buffer: Any, *, start: int = 0, end: int | None = None) -> None:
        data = bytes(buffer)[start:end]
        if not data:
            raise OSError("as some systems do not write nothing")
        self.bus.i2c_rdwr(i2c_msg.write(address, data))

    def readfrom_into(self, address: int, buffer: Any, *, start: int = 0, end: int | None = None) -> None:
        message = i2c_msg.read(address, len(buffer[start:end]))
        self.bus.i2c_rdwr(message)
        buffer[start:end] = bytes(message)

    def writeto_then_readfrom(
        self, address: int, out_buffer: Any, in_buffer: Any, *, out_start: int = 0, out_end: int | None = None,
        in_start: int = 0, in_end: int | None = None,
    ) -> None:  # fmt: skip
        message = i2c_msg.read(address, len(in_buffer[in_start:in_end]))
        self.bus.i2c_rdwr(i2c_msg.write(address, bytes(out_buffer)[out_start:out_end]), message)
        in_buffer[in_start:in_end] = bytes(message)


class Pressure:
    """A pressure to set."""

    mmhg = 0.0

    def __call__(self, _now_s: float) -> float:
        return self.mmhg


# --- MPR -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "says"), [("saturated", "math saturation"), ("memory_error", "Integrity failure")])
def test_their_mpr_driver_understands_a_sick_device(fault: str, says: str) -> None:
    i2c = Busio()
    device = MprDevice(Pressure(), Random(0), part="0025PA")
    i2c.bus.devices[0x18] = device
    setattr(device, fault, True)
    with pytest.raises(RuntimeError, match=says):
        _ = MPRLS(i2c).pressure


def test_their_mpr_driver_finds_nobody_where_nobody_is() -> None:
    with pytest.raises(ValueError, match="No I2C device at address: 0x18"):
        MPRLS(Busio())


@pytest.mark.parametrize("mmhg", PRESSURES)
def test_their_mpr_driver_reads_the_pressure(mmhg: float) -> None:
    i2c, true = Busio(), Pressure()
    true.mmhg = 760.0 + mmhg  # the part that it is written for is absolute
    i2c.bus.devices[0x18] = MprDevice(true, Random(0), part="0025PA")
    assert MPRLS(i2c, psi_min=0, psi_max=25).pressure / HPA_PER_MMHG == pytest.approx(760.0 + mmhg, abs=0.01)
    assert i2c.now_s > 0.005, "it waited for the conversion"


# --- ADS1115 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmhg", PRESSURES)
def test_their_converter_driver_reads_supply_and_sensor(mmhg: float) -> None:
    i2c, true = Busio(), Pressure()
    true.mmhg = mmhg
    i2c.bus.devices[0x48] = Mpx5050Device(true, Random(0))
    converter = ADS1115(i2c, gain=2 / 3, data_rate=860)
    supply_v, sensor_v = AnalogIn(converter, 1).voltage, AnalogIn(converter, 0).voltage
    assert supply_v == pytest.approx(5.0, abs=0.0002)
    assert (sensor_v / supply_v - 0.04) / 0.018 * 10.0 / HPA_PER_MMHG == pytest.approx(mmhg, abs=0.02)


def test_their_converter_driver_reads_on_where_it_runs_continuously() -> None:
    i2c, true = Busio(), Pressure()
    i2c.bus.devices[0x48] = Mpx5050Device(true, Random(0))
    converter = ADS1115(i2c, gain=2 / 3, data_rate=860)
    sensor = AnalogIn(converter, 0)
    assert sensor.voltage == pytest.approx(0.2, abs=0.0002)
    converter.mode = Mode.CONTINUOUS
    converter.get_last_result()  # its fast reads go on from where the pointer is, and that is on the configuration
    for mmhg in PRESSURES:
        true.mmhg = mmhg
        i2c.now_s += 0.01
        assert (sensor.voltage / 5.0 - 0.04) / 0.018 * 10.0 / HPA_PER_MMHG == pytest.approx(mmhg, abs=0.02)


def test_their_converter_driver_reads_two_inputs_against_each_other() -> None:
    i2c, true = Busio(), Pressure()
    i2c.bus.devices[0x48] = Mpx5050Device(true, Random(0))
    converter = ADS1115(i2c, gain=2 / 3, data_rate=860)
    assert AnalogIn(converter, 0, 1).voltage == pytest.approx(0.2 - 5.0, abs=0.0004)
