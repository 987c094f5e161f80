"""The tick, in virtual time, with hardware by hand: what breaks first, then who is told what and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from math import isnan
from typing import Any

import pytest

from controller.clock import virtual_loop
from controller.control import Control, Hardware
from controller.core.commands import Bench
from controller.core.limits import DEFAULT_LIMITS
from controller.core.model import Command, EventKind, Happened, Notice, Phase, Sample, Snapshot, Verb
from controller.core.regulator import RegulatorSettings
from controller.core.step import CoreSettings, Stepped, initial
from firmware_bridge.ports import Channel, Reading, SensorFault, Status, Wanted

TICK_S = 0.01
SETTINGS = CoreSettings(Bench(DEFAULT_LIMITS), RegulatorSettings())
BOOT_ID = 7


class Sensor:
    """Sensor A by hand: `started` and `read` are the times of the calls."""

    name, low_mmhg, high_mmhg = "A", -20.0, 450.0

    def __init__(self) -> None:
        self.mmhg = 0.5
        self.starts: list[float] = []
        self.reads: list[float] = []
        self.fails: set[str] = set()
        self.bug: Exception | None = None
        self.converts_for = 0  # more ticks

    def start(self, now_s: float) -> None:
        if "start" in self.fails:
            raise SensorFault("A: does not acknowledge")
        self.starts.append(now_s)

    def read(self, now_s: float) -> Reading | None:
        if self.bug is not None:
            raise self.bug
        if self.converts_for:
            self.converts_for -= 1
            return None
        if "read" in self.fails:
            raise SensorFault("A: busy")
        self.reads.append(now_s)
        return Reading(self.starts[-1], self.mmhg, 1000 + len(self.reads), 20.0)


class Link:
    """The guard's link by hand: remembers what it was asked."""

    def __init__(self) -> None:
        self.boot_id = BOOT_ID
        self.fault = ""
        self.said: list[str] = []
        self.leases: list[tuple[Wanted, ...]] = []
        self.dead = False

    def poll(self, now_s: float) -> list[Status]:
        channel = Channel(0.5, 0.0, False, True, True)
        return [Status(now_s, BOOT_ID, int(now_s * 1000), 0, "", 0, True, (channel,))]

    def lease(self, wanted: tuple[Wanted, ...], _now_s: float) -> None:
        if self.dead:
            raise OSError("the line is gone")
        self.said.append("lease")
        self.leases.append(wanted)

    def arm(self, *_args: object) -> None:
        self.said.append("arm")

    def disarm(self) -> None:
        self.said.append("disarm")

    def trip(self) -> None:
        if self.dead:
            raise OSError("the line is gone")
        self.said.append("trip")

    def reset(self, cuff_off: bool = False) -> None:  # noqa: ARG002 (the face of the link)
        self.said.append("reset")


class Record:
    def __init__(self) -> None:
        self.events: list[Happened] = []
        self.rows: list[Snapshot] = []
        self.noticed: tuple[Notice, ...] = ()

    def event(self, happened: Happened) -> None:
        self.events.append(happened)

    def trace(self, seen: Snapshot) -> None:
        self.rows.append(seen)

    def notices(self) -> tuple[Notice, ...]:
        return self.noticed


class Stand:
    """One control loop on hardware by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float = TICK_S, **more: Any) -> None:
        self.loop = loop
        self.sensor, self.link, self.record = Sensor(), Link(), Record()
        self.shown: list[Snapshot] = []
        self.stepped: list[tuple[float, Stepped]] = []
        self.petted = 0
        self.control = Control(
            loop,
            Hardware((self.sensor,), self.link),
            initial(1, SETTINGS, loop.time()),
            SETTINGS,
            tick_s,
            self.record,
            (self.shown.append,),
            (lambda stepped, now_s: self.stepped.append((now_s, stepped)),),
            on_tick=self._pet,
            **more,
        )

    def _pet(self, _state: object) -> None:
        self.petted += 1

    async def run(self, for_s: float) -> None:
        await asyncio.sleep(for_s + 1e-6)

    def conditions(self) -> set[str]:
        return {alarm.condition for alarm in self.control.snapshot().alarms}


Live = Callable[[Callable[[Stand], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def live() -> Live:
    """Run a test in virtual time, with a stand that has been started."""

    def run(test: Callable[[Stand], Coroutine[Any, Any, None]]) -> None:
        async def body() -> None:
            stand = Stand(asyncio.get_running_loop())
            stand.control.start()
            await test(stand)

        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(body())

    return run


# --- what breaks ------------------------------------------------------------------------------------------------------


def test_a_bug_in_the_tick_trips_the_guard_and_stops(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(0.05)
        stand.sensor.bug = ZeroDivisionError("a bug")
        await stand.run(0.5)
        assert isinstance(stand.control.failed.exception(), ZeroDivisionError)
        assert stand.link.said[-2:] == ["trip", "lease"], "an order comes before the lease"
        (asked,) = stand.link.leases[-1]
        assert (asked.pump_duty, asked.pump_enabled, asked.vent_open, asked.dump_open) == (0.0, False, True, True)
        ticks = stand.control.ticks
        assert ticks == stand.petted == 5, "no watchdog is petted by a tick that did not end"
        await stand.run(0.5)
        assert stand.control.ticks == ticks, "no tick after it"
        assert stand.link.said.count("trip") == 1

    live(test)


def test_a_bug_with_the_link_dead_still_ends(live: Live) -> None:
    """The guard cannot even be asked: its lease lapses, and this process must not go on as if nothing were."""

    async def test(stand: Stand) -> None:
        await stand.run(0.05)
        stand.link.dead = True
        errors: list[dict[str, Any]] = []
        stand.loop.set_exception_handler(lambda _loop, context: errors.append(context))
        await stand.run(0.5)
        assert isinstance(stand.control.failed.exception(), OSError)
        assert stand.control.ticks == 5

    live(test)


def test_a_conversion_slower_than_a_tick_is_no_fault_and_one_that_never_ends_a_stale_sample(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(0.2)
        for _ in range(20):
            stand.sensor.converts_for = 1
            await stand.run(0.02)
        assert stand.control.state.session.phase is Phase.IDLE
        assert "stale_sample" not in stand.conditions()
        assert not isnan(stand.control.state.seen[0].a_mmhg)
        stand.sensor.converts_for = 100
        await stand.run(0.07)
        assert "stale_sample" not in stand.conditions()
        await stand.run(0.03)
        assert isnan(stand.control.state.seen[0].a_mmhg), "never an old number"
        assert "stale_sample" in stand.conditions()

    live(test)


def test_whoever_is_told_may_not_break_the_tick_unnoticed(live: Live) -> None:
    async def test(stand: Stand) -> None:
        def broken(_stepped: Stepped, _now_s: float) -> None:
            raise LookupError("a bug of the report's")

        stand.control.watch(broken)
        await stand.run(0.05)
        assert isinstance(stand.control.failed.exception(), LookupError)
        assert "trip" in stand.link.said

    live(test)


def test_a_second_failure_keeps_the_first(live: Live) -> None:
    async def test(stand: Stand) -> None:
        stand.control.fail(LookupError("first"))
        stand.control.fail(ZeroDivisionError("second"))
        assert isinstance(stand.control.failed.exception(), LookupError)

    live(test)


@pytest.mark.parametrize("where", ["start", "read"])
def test_a_sensor_that_fails_gives_no_number(where: str, live: Live) -> None:
    async def test(stand: Stand) -> None:
        seen: list[tuple[Sample, ...]] = []
        convert = stand.control._convert

        def look(*args: Any) -> tuple[Sample, ...]:
            seen.append(convert(*args))
            return seen[-1]

        stand.control._convert = look  # type: ignore[method-assign]
        await stand.run(0.05)
        assert [len(one) for one in seen] == [0, 1, 1, 1, 1], "the first tick has nothing to read yet"
        stand.sensor.fails = {where}
        await stand.run(0.05)
        assert isnan(seen[-1][-1].pressure_mmhg)
        assert seen[-1][-1].counts == -1
        assert seen[-1][-1].fault in ("A: does not acknowledge", "A: busy")
        reads = len(stand.sensor.reads)
        await stand.run(0.05)
        assert len(stand.sensor.reads) == reads, "what was not started is not read"
        stand.sensor.fails = set()
        await stand.run(0.03)
        assert seen[-1][-1].pressure_mmhg == 0.5
        assert len(seen[-1]) == 1
        assert not stand.control.failed.done(), "a sensor that fails is for the rules, not the end of the process"

    live(test)


def test_late_ticks_stay_on_the_grid_and_are_said(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(0.5)
        assert stand.control.missed == 0
        ticks = stand.control.ticks
        stand.control.stop()
        stand.loop.call_later(0.035, stand.control.resume)  # a process that was held up
        await stand.run(0.1)
        assert stand.control.missed == 2, "two whole periods had no tick"
        assert stand.control.worst_late_s == pytest.approx(0.025, abs=1e-5)
        assert stand.control.ticks == ticks + 10 - 2
        late, *after = [now_s for now_s, _ in stand.stepped[ticks:]]
        assert late == pytest.approx(0.535, abs=1e-5)
        assert after[0] == pytest.approx(0.54)
        assert [round(now_s * 100, 6) % 1 for now_s in after] == [0.0] * len(after), "absolute deadlines: no drift"
        assert "tick_missed" in stand.conditions()
        await stand.run(10.0)
        assert "tick_missed" not in stand.conditions()
        assert not stand.control.failed.done()

    live(test)


def test_held_up_for_more_than_100_ms_is_a_trip(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(0.5)
        stand.control.stop()
        stand.loop.call_later(0.2, stand.control.resume)
        await stand.run(0.3)
        assert stand.control.state.session.phase is Phase.FAULT
        assert any(one.kind is EventKind.TRIP for one in stand.record.events)
        assert "trip" in stand.link.said

    live(test)


# --- commands ---------------------------------------------------------------------------------------------------------


def test_each_command_gets_its_own_answer_in_the_next_tick(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(0.055)
        control = stand.control
        asked = [
            control.submit(Command(control.next_id(), verb, "AB"))
            for verb in (Verb.START, Verb.STATUS, Verb.STOP, Verb.PAUSE)
        ]
        assert not any(one.done() for one in asked)
        before = stand.loop.time()
        replies = await asyncio.gather(*asked)
        assert stand.loop.time() - before <= TICK_S
        assert [reply.ok for reply in replies] == [False, True, True, False]
        assert len({reply.id for reply in replies}) == 4
        assert replies[0].text.startswith("not ready")

    live(test)


def test_an_answer_that_nobody_waits_for_any_more(live: Live) -> None:
    async def test(stand: Stand) -> None:
        control = stand.control
        control.submit(Command(control.next_id(), Verb.STATUS)).cancel()
        control.say(Command(control.next_id(), Verb.STOP))
        await stand.run(0.05)
        assert not control.failed.done()
        assert sum(one.kind is EventKind.OPERATOR for one in stand.record.events) == 1

    live(test)


# --- who is told ------------------------------------------------------------------------------------------------------


def test_snapshots_every_50_ms_and_at_once_when_something_happened(live: Live) -> None:
    async def test(stand: Stand) -> None:
        await stand.run(1.0)
        quiet = len(stand.shown)
        events = len({now_s for now_s, stepped in stand.stepped if stepped.events})
        assert 20 <= quiet <= 20 + events
        assert len(stand.record.rows) == 10, "the trace at 10 Hz"
        times = [row.at_s for row in stand.record.rows]
        assert [later - one for one, later in pairwise(times)] == pytest.approx([0.1] * 9)
        stand.control.say(Command(stand.control.next_id(), Verb.STOP))
        await stand.run(TICK_S)
        assert len(stand.shown) == quiet + 1
        assert stand.shown[-1].at_s == stand.stepped[-1][0]

    live(test)


def test_notices_of_everybody_reach_the_alarms() -> None:
    async def body() -> None:
        stand = Stand(asyncio.get_running_loop(), notices=lambda: (Notice("broker_lost"),))
        stand.record.noticed = (Notice("disk_low", 100.0, 200.0, "MB"),)
        stand.control.start()
        await stand.run(0.1)
        assert {"broker_lost", "disk_low"} <= stand.conditions()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(body())


def test_at_50_hz_it_is_as_many_rows_and_pictures() -> None:
    async def body() -> None:
        stand = Stand(asyncio.get_running_loop(), tick_s=0.02)
        stand.control.start()
        await stand.run(2.0)
        assert stand.control.ticks == 100
        rows = [row.at_s for row in stand.record.rows]
        assert all(0.05 <= later - one <= 0.1 + 1e-9 for one, later in pairwise(rows))
        assert stand.control.state.session.phase is not Phase.FAULT

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(body())
