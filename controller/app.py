"""The composition root: a bench's settings → hardware, core, journal, publisher, command socket, and the tick.

`run` is what `manchet run` calls: it serves one bench until it is told to end, and vents first. Everything that may
wait is beside the tick: one task group, in which a failure of any task asks the guard to trip and ends the process
non-zero. Wall time is made here and goes only into stamps.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import platform
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import nan
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Protocol

import msgspec

from firmware_bridge.firmware import wire

from . import __version__, calibration, hardware
from .bedside.lock import BenchLock, BenchTaken
from .bedside.notify import Notifier
from .bedside.panel import Panel, Pins
from .bedside.paths import FolderRefused, control_socket, make_private, make_state, runtime_folder, state_folder
from .bedside.server import CommandSocket
from .clock import real_loop
from .control import Control
from .core import alarms
from .core.commands import Bench
from .core.limb import LimbClock, LimbKey
from .core.limits import TICK_LATE_S
from .core.model import Command, EventKind, Finding, Happened, Limb, Notice, Phase, Scalar, Side, Snapshot, Verb
from .core.step import CoreSettings, CoreState, Stepped, initial
from .messages import Info, Origin, Payload, SensorInfo, Session, Versions
from .orders import Orders
from .publish.compose import Outbox
from .record.journal import Journal, JournalVersionError, Recalled
from .record.report import SessionReport
from .record.writer import JournalThread
from .settings import PanelSettings, Settings, load, read_certificates, read_password
from .simulation import Patient, SimulatedBench, plant_of, simulated_bench
from .tomlfile import BadInput
from .wires import WiredBench, real_lines, wired_bench

STOP_WITHIN_S: Final = 8.0  # how long the end of the process waits for empty
GONE_WITHIN_S: Final = 1.6  # of the publisher, once the cuff is empty
JOURNAL_WITHIN_S: Final = 0.3

_TEST_EVENTS: Final = (EventKind.SELFTEST_ROW, EventKind.SELFTEST_ENDED)

_log: Final = logging.getLogger("manchet")


@dataclass(slots=True)
class Place:
    """Where one run of a bench keeps its files."""

    socket: Path
    journal: Path
    state: Path | None = None  # where the calibration is kept; None: there is none


class Service:
    """One bench being served. Made inside a running loop; `live` returns the process's exit code.

    `watch` sees every tick. `speed` is the loop's against real time.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        config_sha256: str,
        watch: Callable[[Stepped, float], None] | None = None,
        protocols: Path | None = None,
    ) -> None:
        speed = float(getattr(loop, "speed", 1.0))
        self.speed = speed
        self.settings = settings
        self._loop = loop
        self._asked_to_end = asyncio.Event()
        self._notifier = Notifier()
        standing = calibration.standing(settings, place.state, datetime.now(UTC).date())
        origin = Origin(settings.bench_id, token_hex(4), time.time, clock_synced)
        journal = Journal(place.journal, origin)
        recalled = journal.recall()
        self.journal = JournalThread(journal, time.time, speed)
        self.publisher = _publisher(settings, origin, self.journal, speed)
        self.bench = _bench(settings, loop, place.socket.parent, standing)
        self.report = SessionReport(origin, __version__, self._deliver)
        self.panel = None if settings.panel is None else Panel(loop, lambda: _pins(settings), self._press)
        limits = settings.core_limits()
        known = Bench(limits, settings.require_panel, standing.uncalibrated, settings.selftest_required)
        core = CoreSettings(known, settings.core_regulator())
        self._calibration = calibration_notices(standing)
        self._calibrated_on = standing.calibrated_on
        self._broken = (Notice("boot_fault", detail=recalled.broken),) if recalled.broken else ()
        self.socket = CommandSocket(place.socket, self._submit, speed)
        moving = (Patient(self.bench.limbs).after,) if self.bench.limbs else ()
        told = (self.report.after, self._tell_test, log_trips)
        watchers = (*moving, *told, *((watch,) if watch is not None else ()))
        self.control = Control(
            loop,
            self.bench.hardware,
            boot_state(len(settings.cuffs), core, loop.time(), recalled),
            core,
            1.0 / settings.tick_hz,
            self.journal,
            (self.publisher.offer, self.socket.offer, *((self.panel.offer,) if self.panel is not None else ())),
            watchers,
            self._notices,
            self._pet if self._notifier.watchdog_s else None,
        )
        self.orders = Orders(self.control, limits, lambda: datetime.now(UTC), protocols)
        self.control.watch(self.orders.after)
        self._core, self._state, self._runtime = core, place.state, place.socket.parent
        if recalled.broken:
            self.control.watch(self._look_back)
        if settings.guard.kind != "simulated":
            self.control.watch(self._look_anew)
        for began in recalled.began:
            self.orders.recall(began.code, began.protocol, datetime.fromisoformat(began.at))
        if recalled.last_session is not None:
            self.publisher.keep_session(recalled.last_session)
        self.publisher.publish(self._info(origin, config_sha256))

    def _submit(self, verb: str, args: dict[str, Any]) -> asyncio.Future[Any]:
        return self.orders.submit(verb, args)

    def _press(self, verb: Verb) -> asyncio.Future[Any]:
        """The button says something."""
        return self.orders.submit(verb, {"by": "panel"}, source="panel")

    def _deliver(self, summary: Session) -> None:
        """A session is over and summed up."""
        self.journal.session(summary)
        self.publisher.publish(summary)
        self.socket.session(msgspec.to_builtins(summary))

    def _tell_test(self, stepped: Stepped, _now_s: float) -> None:
        """What a self-test found, to whoever watches."""
        if stepped.events:
            told = [one for one in stepped.events if one.kind in _TEST_EVENTS]
            if told:
                self.socket.selftest(told)

    def _look_back(self, stepped: Stepped, _now_s: float) -> None:
        """Until a person has reset what the journal could not tell, and every cuff has been empty for the time that
        clears any limb."""
        session = stepped.state.session
        if self._broken and session.phase is not Phase.FAULT and not session.past_unknown:
            self._broken = ()
            self.journal.past_known()

    def _look_anew(self, stepped: Stepped, _now_s: float) -> None:
        """After a reset the guard may be one that was started since, with other corrections or other lines: no READY
        until the file and its note have been read again, beside the tick."""
        if any(one.kind is EventKind.PHASE and one.data.get("event") == "reset" for one in stepped.events):
            self._settle("the calibration is being looked at")
            reading = self._loop.run_in_executor(None, self._uncalibrated)
            reading.add_done_callback(lambda read: None if read.cancelled() else self._settle(read.result()))

    def _uncalibrated(self) -> str:
        try:
            if refusal := real_lines(self.settings, self._runtime):
                return f"{refusal}, and restart the service"
            return calibration.standing(self.settings, self._state, datetime.now(UTC).date()).uncalibrated
        except Exception as error:  # whatever it is, the calibration is not known to do
            return f"{error}: restart the service"

    def _settle(self, uncalibrated: str) -> None:
        bench = dataclasses.replace(self._core.bench, uncalibrated=uncalibrated)
        self.control.settle(CoreSettings(bench, self._core.regulator))

    def _notices(self) -> tuple[Notice, ...]:
        panel = self.panel.notices() if self.panel is not None else ()
        return self.publisher.notices() + self._calibration + self._broken + panel

    def _pet(self, state: CoreState) -> None:
        if may_live_on(state, self.control.late_s):
            self._notifier.tell("WATCHDOG=1")

    def _info(self, origin: Origin, config_sha256: str) -> Info:
        sensors = []
        for one in calibration.fitted(self.settings):
            day = self._calibrated_on.get((one.cuff, one.channel))
            if one.channel == "A":
                driver = self.bench.hardware.sensors[one.cuff - 1]
                low_mmhg, high_mmhg = driver.low_mmhg, driver.high_mmhg
            else:
                low_mmhg, high_mmhg = hardware.scale_mmhg(one.settings)
            sensors.append(
                SensorInfo(
                    cuff=one.cuff,
                    channel=one.channel,
                    name=f"{one.settings.kind} on bus {one.settings.bus}",
                    low_mmhg=low_mmhg,
                    high_mmhg=high_mmhg,
                    calibrated_on=day.isoformat() if day is not None else None,
                )
            )
        return Info(
            **origin.envelope("info", self._loop.time()),
            versions=Versions(manchet=__version__, python=platform.python_version(), wire=wire.VERSION),
            cuffs=len(self.settings.cuffs),
            sensors=tuple(sensors),
            guard=self.settings.guard.kind,
            config_sha256=config_sha256,
        )

    # --- living --------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Ask for the end: vent, wait for empty, close. Safe to call twice and from a signal."""
        self._asked_to_end.set()
        self.control.say(Command(self.control.next_id(), Verb.STOP, "", "signal"))

    async def live(self, announced: str = "") -> int:
        """Serve until `end`, or until something fails. `announced` is printed once somebody can be answered."""
        code = 0
        fault = self.control.state.session.fault
        self.journal.event(
            Happened(
                EventKind.BOOT,
                self._loop.time(),
                self.control.state.session.phase,
                None,
                {"version": __version__, "fault": fault.text if fault is not None else None},
            )
        )
        try:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(self.publisher.run(), name="publisher")
                await self.socket.open()
                self.control.start()
                if self.panel is not None:
                    self.panel.start()
                self._notifier.tell("READY=1")
                _announce(announced)
                failing = group.create_task(self._failure(), name="control")
                await self._asked_to_end.wait()
                self._notifier.tell("STOPPING=1")
                code = await self._vent()
                failing.cancel()
                self._close_panel()
                await self._say_goodbye()
                publishing.cancel()
        except* Exception as failures:
            for failure in causes(failures):
                _log.error("%s: %s", type(failure).__name__, failure)
                self.control.fail(failure)
                self._record_failure(failure)
            code = 1
        finally:
            self.control.stop()
            self._close_panel()
            self._consume_failure()
            await self.socket.close()
            self.journal.close(JOURNAL_WITHIN_S)
            self._notifier.close()
        return code

    def _close_panel(self) -> None:
        if self.panel is not None:
            self.panel.close()

    def _record_failure(self, failure: BaseException) -> None:
        """A process that failed with somebody's limb in the cuff comes up in FAULT: a person has to look."""
        session = self.control.state.session
        if session.step_index < 0 and session.phase is not Phase.TESTING:
            return
        text = f"the control process failed: {type(failure).__name__}: {failure}"
        data: dict[str, Scalar] = {"rule": "control_failed", "value": None, "limit": None, "unit": "", "text": text}
        self.journal.event(Happened(EventKind.TRIP, self._loop.time(), Phase.FAULT, None, data))

    def _consume_failure(self) -> None:
        failed = self.control.failed
        if failed.done() and not failed.cancelled():
            failed.exception()

    async def _failure(self) -> None:
        await asyncio.shield(self.control.failed)

    async def _vent(self) -> int:
        """Wait for empty, at most so long; 0 when it was measured."""
        until_s = self._loop.time() + STOP_WITHIN_S
        while self._loop.time() < until_s:
            state = self.control.state
            idle = state.session.phase is Phase.IDLE or state.session.phase is Phase.FAULT
            if idle and all(one.empty for one in state.seen):
                return 0
            await asyncio.sleep(0.02)
        _log.error("the cuff was not measured empty within %g s: take the cuff off the limb", STOP_WITHIN_S)
        return 1

    async def _say_goodbye(self) -> None:
        self.control.stop()
        self.journal.flush(JOURNAL_WITHIN_S)
        await self.publisher.close(GONE_WITHIN_S)


def may_live_on(state: CoreState, late_s: float) -> bool:
    """Whether systemd's watchdog is told so: only after a tick that ran on time and either used fresh samples or has
    vented for a cause that is told, or that will be once what has not yet said its first word has had its time for it.
    A process that must raise the alarm is not killed for it."""
    vented = all(one.vent_open and one.dump_open and not one.pump_enabled for one in state.given)
    told = state.session.phase is Phase.FAULT or bool(alarms.standing(state.alarms)) or state.safety.unseen
    return late_s <= TICK_LATE_S and ((vented and told) or all(one.certain for one in state.seen))


def log_trips(stepped: Stepped, _now_s: float) -> None:
    """A trip is one line in the log, whoever watches; by then its outputs are on their way."""
    for happened in stepped.events:
        if happened.kind is EventKind.TRIP:
            _log.warning("tripped, vented: %s (%s)", happened.data.get("text"), happened.data.get("rule"))


# --- putting it together ---------------------------------------------------------------------------------------


class Unpublished:
    """The publisher of a bench that publishes nothing: events stay in the journal, unacknowledged."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def offer(self, seen: Snapshot) -> None:
        pass

    def publish(self, payload: Payload) -> None:
        pass

    def keep_session(self, message: bytes) -> None:
        pass

    def notices(self) -> tuple[Notice, ...]:
        return ()

    async def run(self) -> None:
        await self._ended.wait()

    async def close(self, deadline_s: float = 2.0) -> None:  # noqa: ARG002 (the face of both)
        self._ended.set()


class Publishing(Protocol):
    """What a publisher looks like from here."""

    @property
    def offer(self) -> Callable[[Snapshot], None]: ...

    def publish(self, payload: Payload) -> None: ...

    def keep_session(self, message: bytes) -> None: ...

    def notices(self) -> tuple[Notice, ...]: ...

    async def run(self) -> None: ...

    async def close(self, deadline_s: float = 2.0) -> None: ...


def _publisher(settings: Settings, origin: Origin, outbox: Outbox, speed: float) -> Publishing:
    mqtt = settings.mqtt
    if not mqtt.enabled:
        return Unpublished()
    from .publish.mqtt import Broker, Publisher

    broker = Broker(mqtt.host, mqtt.port, mqtt.username, read_password(mqtt), read_certificates(mqtt))
    return Publisher(broker, origin, outbox, speed)


def _bench(
    settings: Settings, loop: asyncio.AbstractEventLoop, runtime: Path, standing: calibration.Standing
) -> SimulatedBench | WiredBench:
    """What control drives: all of it in this process, or wires to a guard and to sensors."""
    if settings.guard.kind == "simulated":
        return _simulated(settings, loop)
    return wired_bench(settings, runtime, loop.time, standing.a)


def _simulated(settings: Settings, loop: asyncio.AbstractEventLoop) -> SimulatedBench:
    simulated = settings.simulated
    assert simulated is not None  # settings.load saw to it
    sensors = tuple(cuff.sensor for cuff in settings.cuffs)
    sensors_b = tuple(cuff.sensor_b for cuff in settings.cuffs)
    plant = plant_of(simulated.limb, simulated.plant)
    return simulated_bench(loop.time, plant, simulated.lop_mmhg, simulated.seed, sensors, sensors_b)


def _pins(settings: Settings) -> Pins:
    """The panel's lines: on a simulated bench gpiozero's own mock of them, else the Pi's. gpiozero is imported here."""
    from firmware_bridge.panel import PanelLines, PanelPins, mock_factory, pi_factory

    panel = settings.panel or PanelSettings()
    lines = PanelLines(panel.start_gpio, panel.lamp_gpios, panel.buzzer_gpio)
    return PanelPins(lines, pi_factory() if settings.simulated is None else mock_factory())


def boot_state(cuffs: int, core: CoreSettings, now_s: float, recalled: Recalled) -> CoreState:
    """IDLE, or FAULT where the last trip was not reset or the journal does not tell all; with the limbs' clocks."""
    clocks: dict[LimbKey, LimbClock] = {
        (one.code, Limb(one.limb), Side(one.side)): LimbClock(one.restricted_s, exercise_s=one.restricted_s)
        for one in recalled.limbs
        if one.restricted_s > 0.0
    }
    fault: Finding | None = None
    if recalled.fault is not None:
        text = f"not reset since {recalled.fault.at or 'an unknown time'}: {recalled.fault.text}"
        fault = Finding("boot_fault", -1, nan, nan, "", text, now_s)
    elif recalled.broken:
        fault = Finding("boot_fault", -1, nan, nan, "", recalled.broken, now_s)
    return initial(cuffs, core, now_s, clocks, fault, past_unknown=bool(recalled.broken))


def calibration_notices(standing: calibration.Standing) -> tuple[Notice, ...]:
    """A sensor whose check is due."""
    return tuple(Notice("calibration_overdue", detail=one) for one in standing.overdue)


def causes(failure: BaseException) -> list[BaseException]:
    """What failed, out of the groups that tasks within tasks wrap around it."""
    if isinstance(failure, BaseExceptionGroup):
        return [cause for one in failure.exceptions for cause in causes(one)]
    return [failure]


def clock_synced() -> bool:
    """Whether systemd-timesyncd says that the wall clock is set; False where nobody says so."""
    return Path("/run/systemd/timesync/synchronized").exists()


# --- manchet run -----------------------------------------------------------------------------------------------


def run(config: Path) -> int:
    """Serve the bench of this file until SIGTERM or Ctrl-C. Returns the exit code; complaints are one line."""
    try:
        settings = load(config)
        hardware.check(settings, config)
        check_plant(settings, config)
        runtime, state = make_private(runtime_folder()), state_folder()
        own = settings.journal
        journal = Path(own) if own is not None else make_state(state) / f"{settings.bench_id}.sqlite"
        place = Place(control_socket(runtime, settings.bench_id), journal, state)
        with BenchLock(runtime, settings.bench_id):
            digest = sha256(config.read_bytes()).hexdigest()
            with asyncio.Runner(loop_factory=real_loop) as runner:
                return runner.run(_serve(settings, place, digest))
    except BadInput as error:
        return _complain(str(error), 2)
    except (BenchTaken, FolderRefused, JournalVersionError, calibration.Misfit, OSError, sqlite3.Error) as error:
        return _complain(str(error), 1)


def check_plant(settings: Settings, source: Path) -> None:
    """The plant's keys are known only here. Raises BadInput."""
    simulated = settings.simulated
    if simulated is None:
        return
    for key, number in simulated.plant.items():
        try:
            plant_of(simulated.limb, {key: number})
        except ValueError as error:
            raise BadInput(source, f"simulated.plant.{key}", number, str(error).partition(": must be ")[2]) from None


async def _serve(settings: Settings, place: Place, config_sha256: str) -> int:
    loop = asyncio.get_running_loop()
    service = Service(settings, place, loop, config_sha256)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.end)
    gc.collect()
    gc.freeze()
    return await service.live(f"bench {settings.bench_id} is served at {place.socket}, journal {place.journal}")


def _announce(line: str) -> None:
    """On standard output, where somebody reads it; a bench is served all the same where nobody does."""
    if line:
        with contextlib.suppress(OSError, ValueError):
            print(line, flush=True)


def _complain(text: str, code: int) -> int:
    print(f"manchet: {' '.join(text.split())}", file=sys.stderr)
    return code
