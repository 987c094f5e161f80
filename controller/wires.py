"""A bench of wires: what control drives and what the guard process reads, out of the settings.

Part of the composition root. With `[simulated]` the wires end in the bench's world (`manchet world`) instead of a Pi's
buses and lines; everything above them is the same. What only control needs is imported where control is made: the guard
process carries neither the tick nor asyncio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING

from firmware_bridge.link import HostLink
from firmware_bridge.pins import CuffLines, GuardLines
from firmware_bridge.ports import GuardLink, I2CBus, Sensor
from firmware_bridge.serial_transport import SerialTransport
from firmware_bridge.transports import SocketTransport

from . import hardware
from .bedside.paths import guard_lines, guard_socket, world_socket
from .calibration import corrected
from .calibration_file import Correction
from .settings import SensorSettings, Settings

if TYPE_CHECKING:
    from .control import Hardware
    from .simulation import Mover


@dataclass(slots=True)
class WiredBench:
    """What control drives, and the simulated people in the cuffs: none where the limbs are real."""

    hardware: Hardware
    limbs: tuple[Mover, ...]


def wired_bench(settings: Settings, runtime: Path, clock: Callable[[], float], a: tuple[Correction, ...]) -> WiredBench:
    """The host's side of a bench whose guard is another process or a board, each sensor A behind its correction.
    Raises OSError: a bus that is not there, or a real guard behind simulated physics."""
    from .control import Hardware

    if refusal := real_lines(settings, runtime):
        raise OSError(refusal)
    driven = Hardware(corrected(sensors_a(settings, runtime, clock), a), guard_link(settings, runtime))
    if settings.simulated is None:
        return WiredBench(driven, ())
    from firmware_bridge.simulated.world_client import WorldLimb

    world = world_socket(runtime, settings.bench_id)
    return WiredBench(driven, tuple([WorldLimb(world, cuff) for cuff in range(len(settings.cuffs))]))


def real_lines(settings: Settings, runtime: Path) -> str:
    """Why a bench of simulated physics must not be driven, as a sentence: the guard that answers here has real lines.
    "" where it has none."""
    lines = guard_lines(runtime, settings.bench_id)
    if settings.simulated is None or not lines.exists():
        return ""
    return (
        f"{lines}: the guard of bench {settings.bench_id} has real lines, and its file says [simulated], with which"
        " nothing would be calibrated or tested: remove that table"
    )


def guard_link(settings: Settings, runtime: Path) -> GuardLink:
    """The link to the guard that these settings name. Opens nothing: until the guard is there its fault says so."""
    return HostLink(guard_transport(settings, runtime), lambda: randbits(32), len(settings.cuffs))


def guard_transport(settings: Settings, runtime: Path) -> SocketTransport | SerialTransport:
    """Bytes to and from the guard that these settings name: a process's socket, or a board's port."""
    pico = settings.guard.pico
    if pico is not None:
        return SerialTransport(pico.port, pico.baud)
    return SocketTransport(guard_socket(runtime, settings.bench_id))


def sensors_a(settings: Settings, runtime: Path, clock: Callable[[], float]) -> tuple[Sensor, ...]:
    """What control reads, by cuff, before any correction. Raises OSError: a bus that is not there."""
    if settings.simulated is None:
        return hardware.sensors_a(settings, clock)
    return _in_world([(cuff.sensor, "A") for cuff in settings.cuffs], world_socket(runtime, settings.bench_id))


def sensors_b(settings: Settings, runtime: Path, clock: Callable[[], float]) -> tuple[Sensor, ...]:
    """What the guard process reads, by cuff, before any correction. Raises OSError: a bus that is not there."""
    if settings.simulated is None:
        return hardware.sensors_b(settings, clock)
    fitted = [(cuff.sensor_b, "B") for cuff in settings.cuffs if cuff.sensor_b is not None]
    return _in_world(fitted, world_socket(runtime, settings.bench_id))


def _in_world(fitted: list[tuple[SensorSettings, str]], world: Path) -> tuple[Sensor, ...]:
    """The real drivers, on buses that end in a world."""
    from firmware_bridge.simulated.world_client import WorldBus

    buses: dict[int, I2CBus] = {}
    made = []
    for number, (sensor, channel) in enumerate(fitted, start=1):
        bus = buses.setdefault(sensor.bus, WorldBus(world, sensor.bus))
        made.append(hardware.sensor(bus, sensor, f"sensor {channel} of cuff {number}"))
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
