"""A bench as a set of gauges, for `manchet zero` and `manchet calibrate`: its sensors A as they are, its sensors B as
the guard says them, and whether the guard has everything vented.

Part of the composition root. To the guard it says HELLO and nothing else, ever: no ARM, no lease, no reset. It is used
under the bench's lock, so that no service is there meanwhile. A simulated bench is made here, in the time it is looked
at. The guard corrects B by what it was given; that is undone here, and where nobody knows what it was given, no B can
be calibrated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from secrets import randbits
from typing import Final

from firmware_bridge.firmware import wire
from firmware_bridge.link import HostLink
from firmware_bridge.ports import GuardLink, Sensor, SensorFault, Status

from . import wires
from .bedside.client import NoAnswer, NoService, connect
from .bedside.paths import guard_sockets, runtime_folder, runtime_folders
from .calibrating import GuardSilent, Look, NotDone
from .calibration import Fitted, fitted, how_to_hand_over, in_guard
from .calibration_file import Correction
from .settings import Settings
from .simulation import plant_of, simulated_bench

LOOKS_EVERY_S: Final = 0.02  # a STATUS comes as often
FRESH_S: Final = 0.25
GUARD_WITHIN_S: Final = 0.5


class BenchGauges:
    """`calibrating.Gauges` of what a bench is made of."""

    def __init__(
        self,
        sensors: tuple[Fitted, ...],
        a: Sequence[Sensor],
        link: GuardLink,
        given: Sequence[Correction],
        now: Callable[[], float],
        wait: Callable[[float], None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            sensors: what is looked at.
            a: the driver of sensor A of every cuff, without any correction.
            link: to the guard; it is polled, and told nothing.
            given: what the guard corrects its sensors B with, by cuff.
            now, wait: a monotonic clock in seconds, and what lets it go on.
            close: lets go of the guard.
        """
        self.sensors = sensors
        self._a = a
        self._link = link
        self._given = given
        self._now = now
        self._wait = wait
        self.close = close
        self._started = [False] * len(a)
        self._status: Status | None = None

    def look(self) -> Look:
        """Every sensor once, LOOKS_EVERY_S after the last time."""
        self._wait(LOOKS_EVERY_S)
        now_s = self._now()
        statuses = [one for one in self._link.poll(now_s) if now_s - one.at_s < FRESH_S]
        self._status = statuses[-1] if statuses else self._status
        status = self._status
        if status is not None and now_s - status.at_s >= FRESH_S:
            status = None
        readings: list[float] = []
        temperatures: list[float] = []
        faults: list[str] = []
        for sensor in self.sensors:
            if sensor.channel == "A":
                mmhg, temperature_c, fault = self._convert(sensor.cuff - 1, now_s)
            else:
                mmhg, temperature_c, fault = self._b(sensor, status, bool(statuses))
            readings.append(mmhg)
            temperatures.append(temperature_c)
            faults.append(fault)
        unvented = _unvented(status) if status is not None else self._link.fault or "the guard has not answered yet"
        return Look(now_s, tuple(readings), tuple(temperatures), tuple(faults), unvented)

    def _convert(self, index: int, now_s: float) -> tuple[float, float, str]:
        """The conversion of the last look, and a new one under way."""
        sensor = self._a[index]
        found = nan, nan, ""
        try:
            reading = sensor.read(now_s) if self._started[index] else None
            if reading is not None:
                found = reading.pressure_mmhg, reading.temperature_c, ""
        except SensorFault as fault:
            found = nan, nan, str(fault)
        try:
            sensor.start(now_s)
            self._started[index] = True
        except SensorFault as fault:
            self._started[index] = False
            found = nan, nan, str(fault)
        return found

    def _b(self, sensor: Fitted, status: Status | None, new: bool) -> tuple[float, float, str]:
        if status is None or not new:
            return nan, nan, ""  # silence is the guard's fault, and said as such
        b_mmhg = status.channels[sensor.cuff - 1].b_mmhg
        if b_mmhg != b_mmhg:
            return nan, nan, f"{sensor.name}: the guard has no reading of it"
        return self._given[sensor.cuff - 1].undone(b_mmhg), nan, ""


def _unvented(status: Status) -> str:
    """Why this is not a bench with its pumps off and its valves open."""
    if status.state == wire.ARMED:
        return "the guard is armed: stop what armed it"
    if all(one.vent_open and one.dump_open and not one.pump_enabled for one in status.channels):
        return ""
    return "the guard does not say that its pumps are off and its valves open"


def open_gauges(settings: Settings, state: Path, sensors: tuple[Fitted, ...]) -> BenchGauges:
    """These sensors of a bench. Raises NotDone, or OSError with a sentence, where they cannot be looked at."""
    if settings.guard.kind == "simulated":
        return _simulated(settings, sensors)
    runtime = _runtime_of_guard(settings)
    given = in_guard(settings, state)
    known = given is not None and len(given) == len(settings.cuffs)
    if not known and any(sensor.channel == "B" for sensor in sensors):
        raise NotDone(
            "nobody knows what the guard corrects its sensor B with, so what it says is no reading to calibrate:"
            f" {how_to_hand_over(settings)} and try again"
        )
    looks_at_a = any(sensor.channel == "A" for sensor in sensors)
    a = wires.sensors_a(settings, runtime, time.monotonic) if looks_at_a else ()
    transport = wires.guard_transport(settings, runtime)
    link = HostLink(transport, lambda: randbits(32), len(settings.cuffs))
    return BenchGauges(sensors, a, link, given or (), time.monotonic, time.sleep, transport.close)


def _runtime_of_guard(settings: Settings) -> Path:
    """The folder that this bench's guard process has its socket in, whoever started it. Raises GuardSilent."""
    if settings.guard.kind == "pico":
        return runtime_folder()
    name = f"{settings.bench_id}.guard.sock"
    path = next((one for one in guard_sockets(runtime_folders()) if one.name == name), None)
    if path is None or not _listens(path):
        raise GuardSilent(
            f"no guard of bench {settings.bench_id} answers here: start it (`manchet guard`, or its service)"
        )
    return path.parent


def _listens(path: Path) -> bool:
    """Whether a process is behind a guard's socket: one that was killed leaves it. It is told nothing."""
    try:
        connect(path, GUARD_WITHIN_S).close()
    except NoService:
        return False
    except (NoAnswer, OSError):
        pass  # it is there; what it says is for the look at it
    return True


def _simulated(settings: Settings, sensors: tuple[Fitted, ...]) -> BenchGauges:
    """The simulated bench, in a time that goes on when it is waited for."""
    simulated = settings.simulated
    assert simulated is not None  # settings.load saw to it
    clock = _Clock()
    bench = simulated_bench(
        clock.now,
        plant_of(simulated.limb, simulated.plant),
        simulated.lop_mmhg,
        simulated.seed,
        tuple(cuff.sensor for cuff in settings.cuffs),
        tuple(cuff.sensor_b for cuff in settings.cuffs),
    )
    given = (Correction(),) * len(settings.cuffs)
    return BenchGauges(sensors, bench.hardware.sensors, bench.link, given, clock.now, clock.wait)


class _Clock:
    def __init__(self) -> None:
        self._now_s = 0.0

    def now(self) -> float:
        return self._now_s

    def wait(self, seconds: float) -> None:
        self._now_s += seconds


def chosen(settings: Settings, cuff: int | None, channel: str | None) -> tuple[Fitted, ...]:
    """The sensors meant; all of a bench where nothing is said. Raises NotDone where there is no such sensor."""
    found = tuple(
        one for one in fitted(settings) if (cuff is None or one.cuff == cuff) and channel in (None, one.channel)
    )
    if not found:
        raise NotDone(
            f"bench {settings.bench_id} has no sensor {channel or 'A'} of cuff {cuff or 1} in its file: name another"
        )
    return found
