"""A bench as the publisher sees it: a journal, something that ticks, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import nan
from pathlib import Path
from typing import Any

from controller.clock import real_loop
from controller.core.model import Alarm, CuffSnapshot, EventKind, Happened, Phase, Snapshot
from controller.messages import Info, Origin, Versions
from controller.publish.mqtt import Broker, Publisher
from controller.record.journal import Journal
from controller.record.writer import JournalThread
from lateness import Lateness
from scheduling import served_first


def real(main: Coroutine[Any, Any, Any]) -> Any:
    """On the loop that serves a bench: its `select` forgives no socket that was closed under it."""
    with served_first(), asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(main)


async def until(true: Callable[[], object], within_s: float, what: str) -> float:
    """Wait for a condition; how long it took, or a failure that says what did not come."""
    began_s = time.monotonic()
    while not true():
        assert time.monotonic() - began_s < within_s, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - began_s


def snapshot(
    at_s: float, a_mmhg: float = 150.0, phase: Phase = Phase.WORKING, alarms: tuple[Alarm, ...] = ()
) -> Snapshot:
    """In the middle of a set."""
    cuff = CuffSnapshot(a_mmhg, a_mmhg, 150.0, 15.0, 187.0, 12.0, 1200.0, 0.1, False, False, "leg", "left")
    return Snapshot(at_s, phase, "bfr-30-15-15-15", "c1", 1, 4, 1, 30, "up", 10.0, nan, 99.0, "", (cuff,), alarms, "")


def repetition(number: int) -> Happened:
    """An event like many."""
    return Happened(EventKind.REPETITION, float(number), Phase.WORKING, None, {"repetitions": number})


class Bench:
    """A journal, a publisher, and something that ticks."""

    def __init__(self, broker: Broker, origin: Origin, path: Path, speed: float = 1.0) -> None:
        self.journal = JournalThread(Journal(path, origin), origin.wall_s)
        self.publisher = Publisher(broker, origin, self.journal, speed)
        self.recorded = 0
        self.lateness = Lateness()
        self._info = Info(
            **origin.envelope("info", 0.0),
            versions=Versions(manchet="0", python="3", wire=1),
            cuffs=1,
            sensors=(),
            guard="none",
            config_sha256="",
        )

    def record(self, happened: Callable[[int], Happened], count: int = 1) -> None:
        for _ in range(count):
            self.recorded += 1
            self.journal.event(happened(self.recorded))

    async def tick(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            now_s = loop.time()
            due_s = self.lateness.tick(due_s, now_s) + 0.01
            self.publisher.offer(snapshot(now_s))
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        self.publisher.publish(self._info)
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(self.tick())
            publishing = group.create_task(self.publisher.run())
            try:
                yield publishing
            finally:
                ticking.cancel()
                publishing.cancel()
        self.journal.close(5.0)
