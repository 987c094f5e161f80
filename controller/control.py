"""The tick of the control process: read, step, lease, tell. The composition root (`app.py`) makes one of these.

A tick is a `call_at` callback at an absolute deadline, never a coroutine, and waits for nothing: a sensor's conversion
was started in the last tick, the guard's statuses have arrived or have not, whoever is told takes from plain deques. A
tick that raises asks the guard to trip and ends the process; what nobody could ask for, the lease does by lapsing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from firmware_bridge.ports import GuardLink, Sensor, SensorFault

from . import seam
from .core.model import (
    VENTED,
    Command,
    GuardOrder,
    Happened,
    Inputs,
    Notice,
    Outputs,
    Reply,
    Sample,
    Snapshot,
)
from .core.snapshot import snapshot
from .core.step import CoreSettings, CoreState, Stepped, step

SHOWN_EVERY_S: Final = 0.05  # a snapshot for those who watch; and at once when something happened
MISSED_STANDS_S: Final = 10.0  # how long a missed period stays in the alarm list


@dataclass(slots=True)
class Hardware:
    """What the tick drives: one sensor A by cuff, and the link to the guard."""

    sensors: tuple[Sensor, ...]
    link: GuardLink


class Record(Protocol):
    """Who keeps what happened. Never waits in these calls."""

    def event(self, happened: Happened) -> None: ...

    def trace(self, seen: Snapshot) -> None: ...

    def notices(self) -> tuple[Notice, ...]: ...


Audience = Callable[[Snapshot], None]  # who watches; never waits


class Control:
    """One bench's control loop. `failed` is set when a tick raised; `after` sees every tick (simulation, report)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hardware: Hardware,
        state: CoreState,
        settings: CoreSettings,
        tick_s: float,
        record: Record,
        audiences: tuple[Audience, ...] = (),
        after: tuple[Callable[[Stepped, float], None], ...] = (),
        notices: Callable[[], tuple[Notice, ...]] = tuple,
        on_tick: Callable[[CoreState], None] | None = None,
    ) -> None:
        self.state = state
        self.outputs = Outputs((VENTED,) * len(state.given))
        self.failed: asyncio.Future[None] = loop.create_future()
        self.ticks = 0
        self.missed = 0  # whole periods that no tick was in
        self.late_s = 0.0  # how long after its deadline the last tick began
        self.worst_late_s = 0.0
        self._loop = loop
        self._hardware = hardware
        self._settings = settings
        self._tick_s = tick_s
        self._record = record
        self._audiences = audiences
        self._after = after
        self._notices = notices
        self._on_tick = on_tick
        self._commands: deque[tuple[Command, asyncio.Future[Reply] | None]] = deque()
        self._last_id = 0
        self._due_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._started = [False] * len(hardware.sensors)
        self._show_every = max(1, round(SHOWN_EVERY_S / tick_s))
        self._missed_at_s = -1e9

    # --- what others call --------------------------------------------------------------------------------------

    def start(self) -> None:
        self._due_s = self._loop.time() + self._tick_s
        self._handle = self._loop.call_at(self._due_s, self._tick)

    def stop(self) -> None:
        """No tick after this one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def resume(self) -> None:
        """Go on where `stop` left off, as a process does that was held up: late."""
        self._handle = self._loop.call_at(self._due_s, self._tick)

    def watch(self, after: Callable[[Stepped, float], None]) -> None:
        """Let somebody see every tick from now on."""
        self._after += (after,)

    def settle(self, settings: CoreSettings) -> None:
        """What the core knows of this bench from the next tick on."""
        self._settings = settings

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        """The command is taken by the next tick, which answers it."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._commands.append((command, answer))
        return answer

    def say(self, command: Command) -> None:
        """A command whose answer nobody waits for."""
        self._commands.append((command, None))

    def snapshot(self) -> Snapshot:
        return snapshot(self.state, self._settings.bench.limits, self.state.now_s)

    # --- the tick ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_s = self._loop.time()
        late_s = self.late_s = now_s - self._due_s
        self._due_s += self._tick_s
        if late_s >= self._tick_s:
            whole = int(late_s / self._tick_s)
            self.missed += whole
            self._missed_at_s = now_s
            self._due_s += whole * self._tick_s
        if late_s > self.worst_late_s:
            self.worst_late_s = late_s
        self._handle = self._loop.call_at(self._due_s, self._tick)
        try:
            self._live(now_s)
        except Exception as error:
            self.fail(error)

    def _live(self, now_s: float) -> None:
        link = self._hardware.link
        samples = tuple([self._convert(cuff, sensor, now_s) for cuff, sensor in enumerate(self._hardware.sensors)])
        statuses = tuple([seam.guard_status(status, link.boot_id) for status in link.poll(now_s)])
        commands: tuple[Command, ...] = ()
        answers: dict[int, asyncio.Future[Reply] | None] = {}
        if self._commands:
            taken = list(self._commands)
            self._commands.clear()
            commands = tuple([command for command, _ in taken])
            answers = {command.id: answer for command, answer in taken}
        notices = self._record.notices() + self._notices()
        if now_s - self._missed_at_s < MISSED_STANDS_S:
            notices += (Notice("tick_missed", float(self.missed), 0.0, "ticks"),)

        stepped = step(self.state, Inputs(samples, statuses, commands, notices, link.fault), now_s, self._settings)
        self.state, self.outputs = stepped.state, stepped.outputs
        seam.send(link, stepped.outputs, now_s)

        for happened in stepped.events:
            self._record.event(happened)
        for reply in stepped.replies:
            answer = answers.get(reply.id)
            if answer is not None and not answer.done():
                answer.set_result(reply)
        for after in self._after:
            after(stepped, now_s)
        self.ticks += 1
        if stepped.events or self.ticks % self._show_every == 0:
            seen = snapshot(stepped.state, self._settings.bench.limits, now_s)
            for audience in self._audiences:
                audience(seen)
            if self.ticks % (2 * self._show_every) == 0:
                self._record.trace(seen)
        if self._on_tick is not None:
            self._on_tick(stepped.state)

    def _convert(self, cuff: int, sensor: Sensor, now_s: float) -> tuple[Sample, ...]:
        """The conversion of the last tick, and a new one under way."""
        taken: tuple[Sample, ...] = ()
        if self._started[cuff]:
            try:
                reading = sensor.read(now_s)
                if reading is not None:  # one slower than a tick has nothing new; `stale_sample` counts on
                    taken = (seam.sample(reading),)
            except SensorFault as fault:
                taken = (seam.no_sample(now_s, str(fault)),)
        try:
            sensor.start(now_s)
            self._started[cuff] = True
        except SensorFault as fault:
            self._started[cuff] = False
            taken += (seam.no_sample(now_s, str(fault)),)
        return taken

    def fail(self, error: BaseException) -> None:
        """Vent as far as it is still in our hands, stop ticking, and let the process end non-zero."""
        self.stop()
        link = self._hardware.link
        try:
            vented = (VENTED,) * len(self.outputs.cuffs)
            seam.send(link, Outputs(vented, GuardOrder.TRIP), self._loop.time())
        finally:
            if not self.failed.done():
                self.failed.set_exception(error)
