"""Sensors, buses and the guard's link of a bench of wires, out of its settings. Part of the composition root.

With `[simulated]` the wires end in the bench's world (`manchet world`) instead of a Pi's buses and lines; everything
above them is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import randbits
from typing import cast

from firmware_bridge.link import HostLink
from firmware_bridge.pins import CuffLines, GuardLines
from firmware_bridge.ports import GuardLink, I2CBus, Sensor
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.transports import SocketTransport

from .bedside.paths import guard_socket, world_socket
from .control import Hardware
from .settings import SensorSettings, Settings
from .simulation import Mover


@dataclass(slots=True)
class WiredBench:
    """What control drives, and the simulated people in the cuffs: none where the limbs are real."""

    hardware: Hardware
    limbs: tuple[Mover, ...]


def wired_bench(settings: Settings, runtime: Path) -> WiredBench:
    """The host's side of a bench whose guard is another process or a board. Opens nothing that would wait."""
    bus_of = buses(settings, runtime)
    sensors = tuple(
        [
            sensor_of(cuff.sensor, bus_of, f"sensor A of cuff {number}")
            for number, cuff in enumerate(settings.cuffs, start=1)
        ]
    )
    limbs: tuple[Mover, ...] = ()
    if settings.simulated is not None:
        from firmware_bridge.simulated.world_client import WorldLimb

        world = world_socket(runtime, settings.bench_id)
        limbs = tuple([WorldLimb(world, index) for index in range(len(settings.cuffs))])
    return WiredBench(Hardware(sensors, guard_link(settings, runtime)), limbs)


def guard_link(settings: Settings, runtime: Path) -> GuardLink:
    """The link to the guard that these settings name."""
    transport = SocketTransport(guard_socket(runtime, settings.bench_id))
    return HostLink(transport, lambda: randbits(32), len(settings.cuffs))


def sensors_b(settings: Settings, runtime: Path) -> tuple[Sensor, ...]:
    """What the guard process reads, by cuff."""
    bus_of = buses(settings, runtime)
    made = []
    for number, cuff in enumerate(settings.cuffs, start=1):
        assert cuff.sensor_b is not None  # settings.load saw to it
        made.append(sensor_of(cuff.sensor_b, bus_of, f"sensor B of cuff {number}"))
    return tuple(made)


def guard_lines_of(settings: Settings) -> GuardLines:
    """The lines of a guard process; only with `guard.kind = "gpio"`."""
    gpio = settings.guard.gpio
    assert gpio is not None
    cuffs = []
    for cuff in settings.cuffs:
        lines = cuff.lines
        assert lines is not None
        cuffs.append(CuffLines(lines.pump_gpio, lines.pump_enable_gpio, lines.vent_gpio, lines.dump_gpio))
    return GuardLines(tuple(cuffs), gpio.estop_gpio, gpio.heartbeat_gpio, gpio.status_led_gpio, gpio.pwm_hz)


def buses(settings: Settings, runtime: Path) -> Callable[[int], I2CBus]:
    """Buses by number, each opened once."""

    @cache
    def bus_of(number: int) -> I2CBus:
        if settings.simulated is not None:
            from firmware_bridge.simulated.world_client import WorldBus

            return WorldBus(world_socket(runtime, settings.bench_id), number)
        from smbus2 import SMBus

        bus: I2CBus = cast(I2CBus, SMBus(number))
        return bus

    return bus_of


def sensor_of(sensor: SensorSettings, bus_of: Callable[[int], I2CBus], name: str) -> Sensor:
    """The driver of one sensor."""
    number, address = sensor.place
    return Abp2(bus_of(number), address, name, sensor.part or "600MG")
