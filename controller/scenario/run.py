"""One simulated session, whole: the real app on a simulated bench, a simulated supervisor, faults, and what came of it.

`run_scenario` lives it in virtual time, or on any loop it is given. It writes nothing unless told.
"""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

from firmware_bridge.firmware import wire

from .. import __version__
from ..clock import virtual_loop
from ..control import Control
from ..core.commands import Bench
from ..core.limits import DEFAULT_LIMITS, EMPTY_MMHG, Limits
from ..core.model import (
    FAULT,
    IDLE,
    READY,
    Limb,
    Notice,
    Prescription,
    Side,
)
from ..core.regulator import RegulatorSettings
from ..core.step import CoreSettings, Stepped, initial
from ..messages import Origin
from ..prescription.prescribe import Lop, LopMethod, Posture, prescribe
from ..prescription.protocol import Protocol
from ..publish.recording import RecordingPublisher
from ..record.journal import MEMORY, Journal
from ..record.writer import InlineJournal
from ..settings import SensorKind, SensorSettings
from ..simulation import Patient, SimulatedBench, plant_of, simulated_bench
from .faults import Planned, Schedule
from .measure import Measure
from .supervisor import BY, Supervisor

READY_WITHIN_S: Final = 10.0  # a bench that is not ready by then will not be
AFTER_TRIP_S: Final = 30.0
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)  # the wall of virtual time: the same in every run
CUFF_WIDTH_CM: Final = {Limb.LEG: 13.5, Limb.ARM: 8.0}


@dataclass(slots=True)
class Scenario:
    """What is to be lived."""

    protocol: Protocol
    lop_mmhg: float = 187.0  # leg, supine, Hughes 2018
    percent_lop: float | None = None
    limb: Limb = Limb.LEG
    cuffs: int = 1
    seed: int = 1
    regulated: bool = True
    plant: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Planned, ...] = ()
    sensor: SensorKind = "abp2"  # A of each cuff
    sensor_b: SensorKind = "abp2"
    tick_hz: int = 100
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)
    trace: Path | None = None
    guard: str = "gpio"  # or "pico"


class Disk(Journal):
    """A journal whose disk can be full: SQLite's own limit of pages answers as a full disk does."""

    def fill(self, full: bool) -> None:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count = {pages if full else 1 << 30}")


class Broker(RecordingPublisher):
    """A broker that can be gone: nothing is taken from the outbox, and the alarm list says so."""

    gone = False

    def work(self) -> None:
        if not self.gone:
            super().work()

    def notices(self) -> tuple[Notice, ...]:
        return (Notice("broker_lost"),) if self.gone else ()


class Lived:
    """A scenario while it is lived. `bench`, `control` and `measure` are there for tests that look closer."""

    def __init__(self, scenario: Scenario, loop: asyncio.AbstractEventLoop) -> None:
        self.scenario = scenario
        self.tick_s = 1.0 / scenario.tick_hz
        prescriptions = clinicians_prescriptions(scenario)  # first, because it may refuse
        plant = plant_of(scenario.limb, scenario.plant)
        sensors = tuple(SensorSettings(bus=1 + index, kind=scenario.sensor) for index in range(scenario.cuffs))
        sensors_b = (SensorSettings(bus=0, kind=scenario.sensor_b),) * scenario.cuffs  # each on a bus of its own
        self.bench: SimulatedBench = simulated_bench(
            loop.time, plant, scenario.lop_mmhg, scenario.seed, sensors, sensors_b, scenario.guard
        )
        self.measure = Measure(self.bench.cuffs, self.bench.cuffs, self.tick_s)
        began = loop.time()

        def wall_s() -> float:
            return EPOCH.timestamp() + loop.time() - began

        origin = Origin("simulated", f"{scenario.seed:08x}", wall_s, lambda: True)
        self.disk = Disk(MEMORY, origin, lambda: f"simulated-{scenario.seed}")
        self.journal = InlineJournal(self.disk, wall_s)
        self.publisher = Broker(origin, self.journal)
        settings = CoreSettings(Bench(scenario.limits), RegulatorSettings(regulated=scenario.regulated))
        self.patient = Patient(self.bench.limbs)
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self.control = Control(
            loop,
            self.bench.hardware,
            initial(scenario.cuffs, settings, loop.time()),
            settings,
            self.tick_s,
            self.journal,
            (self.publisher.offer,),
            notices=self.publisher.notices,
        )
        self.supervisor = self._person(prescriptions)
        self.schedule = Schedule(scenario.faults, self)
        for after in (self.schedule.after, self.supervisor.after, self.patient.after, self.measure.after, self._after):
            self.control.watch(after)
        self.stalled = False  # a fault: the control process stands still
        self._ended_s: float | None = None
        self._stalled_at_s = 0.0

    def _person(self, prescriptions: tuple[Prescription, ...]) -> Supervisor:
        return Supervisor(self.control, prescriptions, self.scenario.seed)

    def start(self) -> None:
        self.schedule.boot(self._loop.time())
        self.control.start()

    def _stand_still(self) -> None:
        """The world goes on without the control process: the guard's passes, the physics, and who measures."""
        now_s = self._loop.time()
        self.bench.guard.advance(now_s)
        self.measure.unattended(now_s, self.bench.guard.guard.state == wire.TRIPPED)
        self.schedule.mend(now_s)
        if now_s - self._stalled_at_s >= AFTER_TRIP_S:
            self.finish()
        elif self.stalled:
            self._loop.call_later(self.tick_s, self._stand_still)
        else:
            self.control.resume()

    def _after(self, stepped: Stepped, now_s: float) -> None:
        """Whether it is over, or stands still."""
        if self.stalled:
            self.control.stop()
            self._stalled_at_s = now_s
            self._loop.call_later(self.tick_s, self._stand_still)
            return
        if self.control.failed.done():
            self.finish()
        phase = stepped.state.session.phase
        if phase is FAULT:
            if self._ended_s is None:
                self._ended_s = now_s
            empty = all(cuff.cuff_mmhg < EMPTY_MMHG for cuff in self.bench.cuffs)
            if (empty and now_s - self._ended_s >= 1.0) or now_s - self._ended_s >= AFTER_TRIP_S:
                self.finish()
        elif isfinite(self.measure.began_s):
            if phase is IDLE or phase is READY:
                self.finish()
        elif now_s > READY_WITHIN_S and phase is IDLE:
            self.finish()

    def finish(self) -> None:
        """No tick after this one."""
        self.control.stop()
        if not self.done.done():
            self.done.set_result(None)


def clinicians_prescriptions(scenario: Scenario) -> tuple[Prescription, ...]:
    """The simulated clinician's: one cuff on the right, a second on the left."""
    made = []
    for cuff, side in zip(range(scenario.cuffs), (Side.RIGHT, Side.LEFT), strict=False):
        width_cm = CUFF_WIDTH_CM[scenario.limb]
        lop = Lop(
            scenario.lop_mmhg, scenario.lop_mmhg, LopMethod.DOPPLER, scenario.limb, side, Posture.SUPINE, width_cm,
            EPOCH, BY,
        )  # fmt: skip
        made.append(
            prescribe(
                scenario.protocol,
                code="SIM-1",
                limb=scenario.limb,
                side=side,
                posture=Posture.SUPINE,
                cuff_width_cm=width_cm,
                lop=lop,
                by=BY,
                now_utc=EPOCH,
                percent_lop=scenario.percent_lop,
                cuff=cuff,
                limits=scenario.limits,
            )
        )
    return tuple(made)


def run_scenario(scenario: Scenario, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Live it in virtual time; the object that `simulate` prints. Raises prescription.Refused for what no clinician
    may prescribe, and whatever made the control loop fail."""
    return run_lived(scenario, lambda _lived: None, progress)


def run_lived(
    scenario: Scenario, look: Callable[[Lived], None], progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """The same, for somebody who looks closer: `look` is called before the first tick."""
    with asyncio.Runner(loop_factory=virtual_loop) as runner, ExitStack() as stack:
        return runner.run(_live(scenario, runner.get_loop(), look, progress, stack))


async def _live(
    scenario: Scenario,
    loop: asyncio.AbstractEventLoop,
    look: Callable[[Lived], None],
    progress: Callable[[float], None] | None,
    stack: ExitStack,
) -> dict[str, Any]:
    lived = Lived(scenario, loop)
    stack.callback(lived.journal.close)
    look(lived)
    if scenario.trace is not None:
        _write_trace(lived, scenario.trace, stack)
    began_wall = time.perf_counter()
    publishing = asyncio.ensure_future(lived.publisher.run())
    lived.start()
    while not lived.done.done():
        await asyncio.wait((lived.done,), timeout=10.0)
        if progress is not None:
            progress(loop.time())
    await lived.publisher.close()
    publishing.cancel()
    wall_s = time.perf_counter() - began_wall
    if lived.control.failed.done():
        lived.control.failed.result()
    prescription = clinicians_prescriptions(scenario)[0]
    told = lived.measure.result(loop.time())
    wall_of = {"wall_s": round(wall_s, 3), "x_real_time": round(loop.time() / wall_s, 1)}
    return {
        "outcome": told.pop("outcome"),
        "duration_s": told.pop("duration_s"),
        "protocol": scenario.protocol.name,
        "guard": scenario.guard,
        "seed": scenario.seed,
        "lop_mmhg": scenario.lop_mmhg,
        "target_mmhg": _number(prescription.plan.target_mmhg),
        "version": __version__,
        **told,
        "faults_never_began": list(lived.schedule.never_began),
        **wall_of,
    }


def _number(value: float) -> float | None:
    """None where there is none: a protocol without a cuff has no target."""
    return round(value, 2) if isfinite(value) else None


TRACE_COLUMNS: Final = (
    "at_s", "phase", "cuff", "true_mmhg", "a_mmhg", "b_mmhg", "target_mmhg", "pump_duty", "vent_open", "dump_open",
)  # fmt: skip


def _write_trace(lived: Lived, path: Path, stack: ExitStack) -> None:
    """Every tick as a row, for whoever plots."""
    out = csv.writer(stack.enter_context(path.open("w", newline="")))
    out.writerow(TRACE_COLUMNS)

    def row(stepped: Stepped, now_s: float) -> None:
        session = stepped.state.session
        for cuff, plant in enumerate(lived.bench.cuffs):
            seen, given = stepped.state.seen[cuff], stepped.outputs.cuffs[cuff]
            out.writerow(
                (
                    f"{now_s:.3f}", session.phase, cuff + 1, f"{plant.cuff_mmhg:.2f}", f"{seen.a_mmhg:.2f}",
                    f"{seen.b_mmhg:.2f}", f"{session.targets_mmhg[cuff]:.1f}", f"{given.pump_duty:.3f}",
                    int(given.vent_open), int(given.dump_open),
                )
            )  # fmt: skip

    lived.control.watch(row)
