"""What `manchet bench` measures, each part in a process of its own: the figures as plain numbers, and their floors.

A timing alone says little, because machines differ and are noisy: each comes with a floor that was taken in the same
run. Seconds unless a name says otherwise.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..clock import RealLoop, real_loop, virtual_loop
from ..control import Control, Hardware
from ..core.commands import Bench
from ..core.model import Happened, Notice, Snapshot
from ..core.regulator import RegulatorSettings
from ..core.step import CoreSettings, Stepped, initial
from ..prescription.library import named
from ..scenario.run import Lived, Scenario, clinicians_prescriptions, run_lived, run_scenario
from ..scenario.supervisor import Supervisor
from ..settings import CuffSettings, GuardSettings, MqttSettings, SensorSettings, Settings, SimulatedSettings

if TYPE_CHECKING:
    from firmware_bridge.ports import GuardLink, Reading, Sensor, Status, Wanted

PROTOCOL: Final = "bfr-30-15-15-15"
TICK_S: Final = 0.01
TWENTY_MINUTES_S: Final = 1200.0
WARM_UP_S: Final = 1.0  # the first second belongs to starting

Figures = dict[str, float]


def measure(part: str, seconds: float, url: str) -> Figures:
    """The figures of one part."""
    if part == "floor":
        return floor(seconds)
    if part == "serve":
        return serve(seconds, url)
    return tick() if part == "tick" else virtual()


# --- a tick in real time ------------------------------------------------------------------------------------------


def floor(seconds: float) -> Figures:
    """A plain thread that sleeps to absolute deadlines, at the rate of the ticks."""
    late_s = []
    due_s = time.monotonic() + TICK_S
    end_s = due_s + seconds
    while due_s < end_s:
        time.sleep(max(0.0, due_s - time.monotonic()))
        late_s.append(time.monotonic() - due_s)
        due_s += TICK_S
    return lateness(late_s)


def lateness(late_s: list[float]) -> Figures:
    """Median and 99th percentile in µs, and how much the middle moves in a minute, in ms."""
    ordered = sorted(late_s)
    edge = max(1, len(late_s) // 5)
    minutes = max(1e-9, (len(late_s) - edge) * TICK_S / 60.0)
    drift_s = statistics.median(late_s[-edge:]) - statistics.median(late_s[:edge])
    return {
        "worst_ms": ordered[-1] * 1e3,
        "missed": sum(late >= TICK_S for late in ordered),
        "p50_us": statistics.median(ordered) * 1e6,
        "p99_us": ordered[int(len(ordered) * 0.99)] * 1e6,
        "drift_ms_min": drift_s * 1e3 / minutes,
    }


class _Pauses:
    """The longest callback of the loop and the longest collection of garbage, in ms.

    `callback_ms` is by the wall, because a callback that waits holds up the loop as well as one that works;
    `callback_cpu_ms` is what that same callback worked, so that a core given to somebody else can be told from ours.
    """

    def __init__(self) -> None:
        self.callback_ms = self.callback_cpu_ms = self.gc_ms = self._gc_from_s = 0.0
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            run(handle)
            took_ms = (time.perf_counter() - began_s) * 1e3
            if took_ms > self.callback_ms:
                self.callback_ms, self.callback_cpu_ms = took_ms, (time.thread_time() - began_cpu_s) * 1e3

        setattr(asyncio.Handle, "_run", timed)  # noqa: B010 (typed otherwise); this process lives for this alone
        gc.callbacks.append(self._collected)

    def _collected(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_from_s = time.perf_counter()
        else:
            self.gc_ms = max(self.gc_ms, (time.perf_counter() - self._gc_from_s) * 1e3)

    def clear(self) -> None:
        self.callback_ms = self.callback_cpu_ms = self.gc_ms = 0.0


def serve(seconds: float, url: str) -> Figures:
    """The service of `run` with a session on a simulated bench in it, in real time."""
    from ..app import Place, Service

    async def live(folder: Path) -> Figures:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, RealLoop)
        service = Service(_settings(url), Place(folder / "b.sock", folder / "j.sqlite"), loop, "bench")
        control, late_s, pauses = service.control, list[float](), _Pauses()
        scenario = Scenario(named(PROTOCOL))
        control.watch(Supervisor(control, clinicians_prescriptions(scenario), scenario.seed).after)
        control.watch(lambda _stepped, _now_s: late_s.append(control.late_s))
        loop.call_later(WARM_UP_S + seconds, service.end)
        living = asyncio.ensure_future(service.live())
        gc.collect()
        gc.freeze()
        await asyncio.sleep(WARM_UP_S)
        late_s.clear()
        pauses.clear()
        missed, cpu_s, wall_s = control.missed, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds - 0.1)
        figures = lateness(late_s) | {
            "missed": control.missed - missed,
            "cpu_percent": 100.0 * (time.process_time() - cpu_s) / (time.monotonic() - wall_s),
            "callback_ms": pauses.callback_ms,
            "callback_cpu_ms": pauses.callback_cpu_ms,
            "gc_ms": pauses.gc_ms,
        }
        await living
        return figures

    with tempfile.TemporaryDirectory(prefix="mb") as name, asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(live(Path(name)))


def _settings(url: str) -> Settings:
    broker = urlsplit(url)
    return Settings(
        bench_id=f"timing-{os.getpid()}",
        cuffs=(CuffSettings(sensor=SensorSettings(bus=1)),),
        guard=GuardSettings(kind="simulated"),
        mqtt=MqttSettings(enabled=bool(url), host=broker.hostname or "127.0.0.1", port=broker.port or 1883),
        simulated=SimulatedSettings(),
    )


# --- the cost of a tick -------------------------------------------------------------------------------------------


class _Heard:
    """A sensor or a link as it was heard once: each call's outcome in order."""

    def __init__(self, part: Sensor) -> None:
        self.name, self.low_mmhg, self.high_mmhg = part.name, part.low_mmhg, part.high_mmhg
        self.outcomes: list[Reading | Exception | None] = []
        self._part = part

    def start(self, now_s: float) -> None:
        self._hear(lambda: self._part.start(now_s))

    def read(self, now_s: float) -> Reading:
        reading = self._hear(lambda: self._part.read(now_s))
        assert reading is not None
        return reading

    def _hear(self, call: Callable[[], Reading | None]) -> Reading | None:
        try:
            self.outcomes.append(call())
        except Exception as fault:
            self.outcomes.append(fault)
            raise
        heard = self.outcomes[-1]
        assert not isinstance(heard, Exception)
        return heard


class _Said:
    """A sensor that says again what was heard."""

    def __init__(self, heard: _Heard) -> None:
        self.name, self.low_mmhg, self.high_mmhg = heard.name, heard.low_mmhg, heard.high_mmhg
        self._next = iter(heard.outcomes).__next__

    def start(self, _now_s: float) -> None:
        self.read(0.0)

    def read(self, _now_s: float) -> Any:
        outcome = self._next()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class _HeardLink:
    """The link as it was heard: statuses, boot id and fault of each poll."""

    def __init__(self, link: GuardLink) -> None:
        self.polls: list[tuple[list[Status], int, str]] = []
        self.link = link
        self.boot_id, self.fault = link.boot_id, link.fault
        self.lease, self.arm, self.disarm = link.lease, link.arm, link.disarm
        self.trip, self.reset = link.trip, link.reset

    def poll(self, now_s: float) -> list[Status]:
        statuses = self.link.poll(now_s)
        self.boot_id, self.fault = self.link.boot_id, self.link.fault
        self.polls.append((statuses, self.boot_id, self.fault))
        return statuses


class _SaidLink:
    """A link that says again what was heard, and takes everything."""

    def __init__(self, heard: _HeardLink) -> None:
        self.boot_id, self.fault = 0, ""
        self._next = iter(heard.polls).__next__

    def poll(self, _now_s: float) -> list[Status]:
        statuses, self.boot_id, self.fault = self._next()
        return statuses

    def lease(self, wanted: tuple[Wanted, ...], now_s: float) -> None: ...

    def arm(self, *_what: object) -> None: ...

    def disarm(self) -> None: ...

    def trip(self) -> None: ...

    def reset(self, *_what: object) -> None: ...


class _NoRecord:
    def event(self, happened: Happened) -> None: ...

    def trace(self, seen: Snapshot) -> None: ...

    def notices(self) -> tuple[Notice, ...]:
        return ()


def tick(protocol: str = PROTOCOL) -> Figures:
    """A whole session lived again without bus, wire, guard and physics: what is left is the control loop."""
    scenario = Scenario(named(protocol))
    heard: list[Any] = []

    def listen(lived: Lived) -> None:
        hardware = lived.bench.hardware
        heard.extend([_Heard(sensor) for sensor in hardware.sensors])
        heard.append(_HeardLink(hardware.link))
        hardware.sensors, hardware.link = tuple(heard[:-1]), heard[-1]

    ticks = len(heard_ticks(scenario, listen))
    stamps_s: list[float] = []
    loop = virtual_loop()
    settings = CoreSettings(Bench(scenario.limits), RegulatorSettings())
    link: Any = _SaidLink(heard[-1])
    control = Control(
        loop,
        Hardware(tuple(_Said(sensor) for sensor in heard[:-1]), link),
        initial(1, settings, 0.0),
        settings,
        TICK_S,
        _NoRecord(),
    )
    control.watch(Supervisor(control, clinicians_prescriptions(scenario), scenario.seed).after)

    def stamp(_stepped: Stepped, _now_s: float) -> None:
        stamps_s.append(time.thread_time())
        if len(stamps_s) >= ticks:
            control.stop()
            loop.stop()

    control.watch(stamp)
    gc.collect()
    gc.freeze()
    control.start()
    loop.run_forever()
    if control.failed.done():
        control.failed.result()
    loop.close()
    costs_us = sorted((after - before) * 1e6 for before, after in pairwise(stamps_s))
    return {
        "ticks": len(stamps_s),
        "median_us": statistics.median(costs_us),
        "p99_us": costs_us[int(len(costs_us) * 0.99)],
    }


def heard_ticks(scenario: Scenario, listen: Callable[[Lived], None]) -> list[float]:
    """Live it once while `listen` hears; the time of every tick."""
    seen: list[float] = []

    def look(lived: Lived) -> None:
        listen(lived)
        lived.control.watch(lambda _stepped, now_s: seen.append(now_s))

    run_lived(scenario, look)
    return seen


# --- virtual time -------------------------------------------------------------------------------------------------


def virtual(protocol: str = PROTOCOL) -> Figures:
    """Whole sessions in virtual time, as twenty minutes of one and of two cuffs, and a plain loop of as many steps.

    In seconds of this process: virtual time waits for nothing, and what others take from the machine is not ours.
    """
    figures = {"floor_s": min(plain_loop() for _ in range(3))}
    for cuffs in (1, 2):
        began_s = time.process_time()
        told = run_scenario(Scenario(named(protocol), cuffs=cuffs))
        figures[f"cuffs_{cuffs}_s"] = TWENTY_MINUTES_S * (time.process_time() - began_s) / told["duration_s"]
    return figures


def plain_loop() -> float:
    """Seconds of this process for twenty minutes of a textbook PID on a first-order plant at 100 Hz."""
    began_s = time.process_time()
    pressure, integral, before = 0.0, 0.0, 0.0
    for k in range(round(TWENTY_MINUTES_S / TICK_S)):
        error = 150.0 + 10.0 * math.sin(k * 0.0157) - pressure
        integral += error * TICK_S
        duty = min(1.0, max(0.0, 0.02 * error + 0.01 * integral + 0.001 * (error - before) / TICK_S))
        before = error
        pressure += (duty * 60.0 - pressure * 0.2) * TICK_S
    return time.process_time() - began_s
