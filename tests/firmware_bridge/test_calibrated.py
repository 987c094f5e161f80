"""A sensor behind its calibration: faults go through, bounds hold, counts stay the device's."""

from __future__ import annotations

from math import inf, nan

import pytest

from firmware_bridge.ports import Reading, SensorFault
from firmware_bridge.sensors.calibrated import Calibrated


class Said:
    """A sensor that says what it is told to."""

    name = "sensor A of cuff 1"
    low_mmhg = -20.0
    high_mmhg = 450.0

    def __init__(self, *says: Reading | SensorFault | None) -> None:
        self._says = list(says)
        self.started_at_s: list[float] = []

    def start(self, now_s: float) -> None:
        self.started_at_s.append(now_s)

    def read(self, now_s: float) -> Reading | None:  # noqa: ARG002 (the port's signature)
        said = self._says.pop(0)
        if isinstance(said, SensorFault):
            raise said
        return said


@pytest.mark.parametrize("gain", [nan, inf, -1.0, 0.0, 0.8999, 1.1001])
def test_a_gain_that_no_sensor_has_is_refused(gain: float) -> None:
    with pytest.raises(ValueError, match=r"^sensor A of cuff 1: gain = .*: must be from 0\.9 to 1\.1$"):
        Calibrated(Said(), gain, 0.0)


@pytest.mark.parametrize("offset_mmhg", [nan, inf, -10.001, 10.001])
def test_an_offset_that_no_sensor_has_is_refused(offset_mmhg: float) -> None:
    with pytest.raises(ValueError, match=r"^sensor A of cuff 1: offset = .*: must be from -10 to 10 mmHg$"):
        Calibrated(Said(), 1.0, offset_mmhg)


def test_a_fault_is_no_number() -> None:
    with pytest.raises(SensorFault, match="latched up"):
        Calibrated(Said(SensorFault("latched up")), 1.0, 2.0).read(0.0)


def test_nothing_new_stays_nothing_new() -> None:
    assert Calibrated(Said(None), 1.0, 2.0).read(0.0) is None


@pytest.mark.parametrize(
    ("gain", "offset_mmhg", "said_mmhg", "is_mmhg"),
    [(1.0, 0.0, 123.4, 123.4), (1.0, 2.0, 2.0, 0.0), (1.05, -3.0, 197.0, 210.0), (0.9, 10.0, 210.0, 180.0)],
)
def test_gain_and_offset_by_hand(gain: float, offset_mmhg: float, said_mmhg: float, is_mmhg: float) -> None:
    said = Reading(1.5, said_mmhg, 8_388_608, 31.0)
    sensor = Said(said, said)
    corrected = Calibrated(sensor, gain, offset_mmhg)
    corrected.start(1.5)
    assert sensor.started_at_s == [1.5]
    for _ in range(2):  # the device's own reading stays what it was
        got = corrected.read(1.51)
        assert got is not None
        assert got.pressure_mmhg == pytest.approx(is_mmhg)
        assert (got.at_s, got.counts, got.temperature_c) == (1.5, 8_388_608, 31.0)


def test_the_scale_is_the_corrected_one() -> None:
    corrected = Calibrated(Said(), 1.1, 10.0)
    assert (corrected.low_mmhg, corrected.high_mmhg) == (pytest.approx(-33.0), pytest.approx(484.0))
    assert corrected.name == "sensor A of cuff 1"
