"""The end of a process whose broker is absent, deaf or nowhere to be found: gone in time, and the tick never late.

Real sockets, real time; the processes are real where it is the interpreter's own end that is in question.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from controller.core.model import Snapshot
from controller.messages import Origin
from controller.publish.mqtt import Broker, Publisher
from lateness import Lateness
from publishing_bench import real

pytestmark = pytest.mark.process


DEADLINE_S = 2.0


class NoEvents:
    def next_event(self) -> tuple[int, bytes] | None:
        return None

    def acknowledged(self, seq: int) -> None:
        raise AssertionError(f"event {seq} was acknowledged, and there is none")


@pytest.fixture
def deaf() -> Iterator[int]:
    """A listener that takes the connection and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


async def live(publisher: Publisher, snapshot: Callable[..., Snapshot], for_s: float) -> tuple[float, float]:
    """Tick at 100 Hz for a while, then close: how late a tick was at most by our own doing, and how long the end
    took."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(publisher.run())
    due_s = loop.time()
    end_s, lateness = due_s + for_s, Lateness()
    while due_s < end_s:
        due_s = lateness.tick(due_s, loop.time()) + 0.01
        publisher.offer(snapshot(due_s))
        await asyncio.sleep(max(0.0, due_s - loop.time()))
    began_s = loop.time()
    await publisher.close(DEADLINE_S)
    took_s = loop.time() - began_s
    await running
    return lateness.at_most_s, took_s


@pytest.mark.parametrize("kind", ["full_backlog", "deaf", "refused"])
def test_gone_in_time(
    kind: str, request: pytest.FixtureRequest, origin: Origin, snapshot: Callable[..., Snapshot]
) -> None:
    port = 1 if kind == "refused" else request.getfixturevalue(kind)
    began_s = time.monotonic()
    publisher = Publisher(Broker("127.0.0.1", port), origin, NoEvents())
    late_s, took_s = real(live(publisher, snapshot, 0.7))
    assert took_s <= DEADLINE_S
    assert late_s < 0.1
    assert time.monotonic() - began_s < 0.7 + DEADLINE_S + 1.0, "the loop's own end waited for the thread"


def test_resolver_that_hangs_is_left_behind(
    origin: Origin, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = threading.Event(), []

    def hang(*arguments: object, **_named: object) -> None:
        asked.append(arguments)
        answer.wait(60.0)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    publisher = Publisher(Broker("broker.example", 1883), origin, NoEvents())
    late_s, took_s = real(live(publisher, snapshot, 0.5))
    assert took_s <= DEADLINE_S
    assert late_s < 0.1
    assert len(asked) == 1, "one thread hangs, not one for each attempt"
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "mqtt connect":
            thread.join(10.0)


PROCESS = """
import asyncio, socket, sys, time
from controller.messages import Origin
from controller.publish.mqtt import Broker, Publisher

class NoEvents:
    def next_event(self): return None
    def acknowledged(self, seq): pass

if sys.argv[1] == "hang":
    socket.getaddrinfo = lambda *a, **k: time.sleep(600)
async def main():
    publisher = Publisher(Broker(sys.argv[2], int(sys.argv[3])), Origin("b", "b", time.time, lambda: True), NoEvents())
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0.2)
    print("closing", flush=True)
    await publisher.close(2.0)
    await running
asyncio.run(main())
print("closed", flush=True)
"""


@pytest.mark.parametrize("kind", ["hang", "full_backlog"])
def test_interpreter_ends_too(kind: str, request: pytest.FixtureRequest) -> None:
    """A pool's threads would be joined at exit, for as long as the resolver takes: here, ten minutes."""
    port = request.getfixturevalue("full_backlog") if kind == "full_backlog" else 1883
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, kind, "127.0.0.1" if kind == "full_backlog" else "broker.example", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "closing\n"
    began_s = time.monotonic()
    out, err = process.communicate(timeout=20.0)
    took_s = time.monotonic() - began_s
    assert (process.returncode, out, err) == (0, "closed\n", "")
    assert took_s < DEADLINE_S + 0.5


def test_broker_lost_names_the_broker_and_the_reason(
    origin: Origin, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.publish.mqtt.LOST_AFTER_S", 0.3)

    async def run() -> None:
        publisher = Publisher(Broker("127.0.0.1", 1), origin, NoEvents())
        assert publisher.notices() == ()
        await live(publisher, snapshot, 0.6)
        (notice,) = publisher.notices()
        assert notice.condition == "broker_lost"
        assert notice.detail.startswith("127.0.0.1:1: ")
        assert "refused" in notice.detail

    real(run())


def test_fault_of_our_own_is_not_hidden(origin: Origin) -> None:
    """A snapshot that cannot be composed ends the publisher's task, so that the app hears of it."""

    async def run() -> None:
        publisher = Publisher(Broker("127.0.0.1", 1), origin, NoEvents())
        publisher.offer(None)  # type: ignore[arg-type]
        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(publisher.run(), 5.0)

    real(run())


def test_run_that_is_cancelled_ends(origin: Origin) -> None:
    async def run() -> None:
        publisher = Publisher(Broker("127.0.0.1", 1), origin, NoEvents())
        running = asyncio.create_task(publisher.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    real(run())
