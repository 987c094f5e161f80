"""The publisher against a real mosquitto that is killed, stopped and started again, in real time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.clock import scaled_loop
from controller.core.model import Happened, Phase
from controller.messages import TOPIC, Origin
from controller.publish.mqtt import Broker
from controller.record.journal import Journal
from controller.record.writer import JournalThread
from publishing_bench import Bench, real, until

pytestmark = [pytest.mark.broker, pytest.mark.process, pytest.mark.usefixtures("soon_lost")]


BACK_WITHIN_S = 2.0


@pytest.fixture
def bench(broker: Any, origin: Origin, tmp_path: Path) -> Bench:
    return Bench(Broker("127.0.0.1", broker.port), origin, tmp_path / "journal.db")


def test_killed_bench_is_lost(listen: Any, bench: Bench) -> None:
    """A process that dies says nothing; the broker says it instead, and keeps saying it."""

    async def run() -> None:
        listener = listen()
        async with bench.running():
            await until(lambda: listener.of("status"), 5.0, "status")
        await until(lambda: listener.of("status")[-1]["state"] == "lost", 10.0, "the last will")
        will = listener.of("status")[-1]
        assert will["seq"] is None
        assert will["at_is"] == "connection"

    real(run())


def test_connection_writes_retained_topics_with_status_last(listen: Any, bench: Bench) -> None:
    async def run() -> None:
        async with bench.running():
            listener = listen()
            await until(lambda: [s for s in listener.of("status") if s["state"] == "ready"], 5.0, "ready")
            first = [name for name, _, _ in listener.heard]
            assert {"info", "state", "alarms", "status"} <= set(first)
            await bench.publisher.close(2.0)
            await until(lambda: listener.of("status")[-1]["state"] == "disconnected", 2.0, "disconnected")

    real(run())


def test_the_last_sessions_summary_is_written_anew_until_there_is_a_newer_one(listen: Any, bench: Bench) -> None:
    """As it was, by a program that was started since; the broker may have lost it, or have an older one."""
    earlier = b'{"type":"session","of":"an earlier version"}'

    async def run() -> None:
        bench.publisher.keep_session(earlier)
        async with bench.running():
            listener = listen()
            await until(lambda: listener.of("session"), 5.0, "the summary")
            late = listen()
            await until(lambda: late.of("session"), 5.0, "the summary, from the broker")
            assert [heard[1:] for heard in late.heard if heard[0] == "session"] == [(earlier, True)]

    real(run())
    assert bench.publisher._composer.retained["session"][1] == earlier
    bench.publisher._composer.keep(TOPIC["session"], b"later")
    assert bench.publisher._composer.retained["session"][1] == earlier, "what is there is newer"


def test_after_a_restart_everything_is_there_again(
    broker: Any, listen: Any, bench: Bench, happened: Callable[[int], Happened]
) -> None:
    """A broker killed in the middle: no tick lost, back within 2 s, every event there, in order."""

    async def run() -> None:
        listener = listen()
        async with bench.running():
            bench.record(happened, 50)
            await until(lambda: len(listener.events()) == 50, 10.0, "50 events")
            with bench.lateness.apart():
                broker.kill()
            heard = len(listener.heard)
            bench.record(happened, 300)
            await until(lambda: bench.publisher.notices(), 8.0, "the broker_lost notice")
            with bench.lateness.apart():
                broker.start()
            took_s = await until(
                lambda: [name for name, _, kept in listener.heard[heard:] if name == "status"], 5.0, "status again"
            )
            assert took_s < BACK_WITHIN_S
            await until(lambda: len(listener.events()) == 350, 10.0, "all 350 events")
            await until(lambda: not bench.publisher.notices(), 2.0, "the notice to clear")
            assert listener.events() == list(range(1, 351))
        assert bench.lateness.at_most_s < 0.1

    real(run())


def test_restarted_while_events_flow(
    broker: Any, listen: Any, bench: Bench, happened: Callable[[int], Happened]
) -> None:
    """Ended three times with events on their way: some may come twice, none is missing, none overtakes.

    With SIGTERM, so that mosquitto saves what it acknowledged: killed, it forgets some of that, which would be its loss
    and not ours. `test_breaks.py` has a broker that does not forget.
    """

    async def run() -> None:
        listener = listen()
        async with bench.running():
            for number in range(1, 4):
                bench.record(happened, 200)
                await until(lambda count=number: len(listener.events()) >= 200 * count - 150, 10.0, "some events")
                broker.end()
                broker.start()
            await until(lambda: len(listener.events()) == 600, 15.0, "all 600 events")
            assert listener.events() == list(range(1, 601))

    real(run())


def test_stopped_broker_holds_up_nobody(
    broker: Any, listen: Any, bench: Bench, happened: Callable[[int], Happened]
) -> None:
    """SIGSTOP: the machine answers, the broker does not. It goes on where it was, and nothing is missing."""

    async def run() -> None:
        listener = listen()
        async with bench.running():
            await until(lambda: listener.of("status"), 5.0, "status")
            broker.signal(signal.SIGSTOP)
            try:
                bench.record(happened, 100)
                await until(lambda: bench.publisher.notices(), 8.0, "the broker_lost notice")
                assert not listener.events()
            finally:
                broker.signal(signal.SIGCONT)
            took_s = await until(lambda: listener.events(), 5.0, "an event")
            assert took_s < BACK_WITHIN_S
            await until(lambda: len(listener.events()) == 100, 5.0, "all 100 events")
            assert listener.events() == list(range(1, 101))
            await until(lambda: listener.of("status")[-1]["state"] == "ready", 5.0, "ready as the last word")
        assert bench.lateness.at_most_s < 0.1

    real(run())


def test_cursor_survives_the_process(
    broker: Any,
    listen: Any,
    bench: Bench,
    origin: Origin,
    tmp_path: Path,
    happened: Callable[[int], Happened],
) -> None:
    """What was recorded while no broker was there is published by the next process, once."""

    async def run() -> None:
        listener = listen()
        bench.record(happened, 20)
        async with bench.running():
            await until(lambda: len(listener.events()) == 20, 5.0, "20 events")
            await bench.publisher.close(2.0)  # in order: a kill may come before the acknowledgement of what was heard
        journal = JournalThread(Journal(tmp_path / "journal.db", origin), origin.wall_s)
        assert journal.next_event() is None
        journal.event(happened(21))
        assert journal.flush(5.0)
        assert journal.close(5.0)
        second = Bench(Broker("127.0.0.1", broker.port), origin, tmp_path / "journal.db")
        async with second.running():
            await until(lambda: len(listener.events()) == 21, 5.0, "the 21st event")
        assert [event["seq"] for event in listener.of("event")] == list(range(1, 22))

    real(run())


def test_pressure_comes_five_times_a_second(listen: Any, bench: Bench) -> None:
    async def run() -> None:
        listener = listen()
        async with bench.running():
            await until(lambda: len(listener.of("pressure")) >= 6, 5.0, "six messages")
        first, *_, last = listener.of("pressure")
        count = int(str(last["seq"])) - int(str(first["seq"]))
        assert float(str(last["t0_s"])) - float(str(first["t0_s"])) == pytest.approx(0.2 * count, rel=0.3)
        assert listener.of("state")[-1]["phase"] == Phase.WORKING

    real(run())


def test_at_twenty_times_real_time(broker: Any, listen: Any, origin: Origin, tmp_path: Path, happened: Any) -> None:
    """The loop's seconds are short, the network's are not: nothing times out early, and it is back as soon."""
    speed = 20.0
    bench = Bench(Broker("127.0.0.1", broker.port), origin, tmp_path / "journal.db", speed)

    async def run() -> None:
        listener = listen()
        async with bench.running():
            bench.record(happened, 50)
            await until(lambda: len(listener.events()) == 50, 5.0, "50 events")
            broker.signal(signal.SIGSTOP)  # 1.5 s: 30 s of the loop, longer than any timeout that was not multiplied
            began_s = time.monotonic()
            await until(lambda: time.monotonic() - began_s > 1.5, 5.0, "1.5 s")
            broker.signal(signal.SIGCONT)
            bench.record(happened, 50)
            await until(lambda: len(listener.events()) == 100, BACK_WITHIN_S, "100 events")
            assert [state["state"] for state in listener.of("status")].count("lost") == 0
            heard = len(listener.heard)
            broker.kill()
            broker.start()
            await until(lambda: "status" in [name for name, *_ in listener.heard[heard:]], 5.0, "status again")
            began_s = time.monotonic()
            await bench.publisher.close(2.0)
            assert time.monotonic() - began_s < 2.0
            await until(lambda: listener.of("status")[-1]["state"] == "disconnected", 2.0, "disconnected")

    with asyncio.Runner(loop_factory=lambda: scaled_loop(speed)) as runner:
        runner.run(run())
