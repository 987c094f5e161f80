"""A broker that breaks at a chosen packet. It writes down what it is told before it acknowledges, as no broker does
that is killed: so what is missing here was lost by us."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import msgspec
import pytest

from controller.core.model import Snapshot
from controller.messages import Origin
from controller.publish import mqtt
from controller.publish.mqtt import Broker, Publisher
from publishing_bench import real

pytestmark = pytest.mark.process


CONNECT, PUBLISH, PINGREQ = 1, 3, 12


class Breaking:
    """Just enough of MQTT 3.1.1 to be published to. `how` it breaks, at every `every`th acknowledged publish."""

    def __init__(self, how: str, every: int) -> None:
        self.how = how
        self.every = every
        self.told: list[tuple[str, bytes]] = []
        self.connections = 0
        self._published = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._take(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = (await reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        body = await reader.readexactly(length)
        kind = first >> 4
        if kind == CONNECT:
            writer.write(bytes((0x20, 2, 0, 5 if self.how == "refuse" else 0)))
        elif kind == PINGREQ:
            writer.write(bytes((0xD0, 0)))
        elif kind == PUBLISH:
            return await self._told(first >> 1 & 3, body, writer)
        return True

    async def _told(self, qos: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode().rsplit("/", 1)[1]
        if qos == 0:
            return True
        self._published += 1
        breaks = self._published % self.every == 0
        if breaks and self.how == "before":
            return False
        self.told.append((topic, body[end + 2 :]))
        if breaks and self.how == "unacknowledged":
            return False
        if breaks and self.how == "late":
            await asyncio.sleep(0.3)
        writer.write(b"\x40\x02" + body[end : end + 2])
        if breaks and self.how == "garbage":
            writer.write(b"\xff" * 64)
        return not (breaks and self.how == "after")

    def events(self) -> list[int]:
        return [msgspec.json.decode(payload)["seq"] for topic, payload in self.told if topic == "event"]


class Events:
    """An outbox in memory."""

    def __init__(self, count: int) -> None:
        self.waiting = deque((seq, msgspec.json.encode({"seq": seq})) for seq in range(1, count + 1))
        self.cursor = 0

    def next_event(self) -> tuple[int, bytes] | None:
        return self.waiting[0] if self.waiting else None

    def acknowledged(self, seq: int) -> None:
        assert seq == self.cursor + 1, "one at a time, in order"
        self.cursor = seq
        self.waiting.popleft()


async def until(true: Callable[[], object], within_s: float, what: str) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("how", ["before", "unacknowledged", "after", "late", "garbage"])
def test_no_event_lost_and_none_overtakes(how: str, origin: Origin) -> None:
    async def run() -> None:
        broker, outbox = Breaking(how, every=17), Events(40)
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        publisher = Publisher(Broker("127.0.0.1", server.sockets[0].getsockname()[1]), origin, outbox)
        running = asyncio.create_task(publisher.run())
        await until(lambda: outbox.cursor == 40, 20.0, "40 events")
        await publisher.close(2.0)
        await running
        server.close()
        assert list(dict.fromkeys(broker.events())) == list(range(1, 41))
        if how != "late":
            assert broker.connections > 1, "it never broke"
        if how in ("before", "late"):
            assert len(broker.events()) == 40, "nothing was acknowledged twice"

    real(run())


def test_refused_is_said_and_tried_again(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LOST_AFTER_S", 0.3)

    async def run() -> None:
        broker, outbox = Breaking("refuse", every=1000), Events(3)
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        publisher = Publisher(Broker("127.0.0.1", server.sockets[0].getsockname()[1]), origin, outbox)
        running = asyncio.create_task(publisher.run())
        await until(publisher.notices, 5.0, "the broker_lost notice")
        assert "ot authorized" in publisher.notices()[0].detail
        broker.how = ""  # somebody mends the access list
        await until(lambda: outbox.cursor == 3, 3.0, "the events")
        await until(lambda: not publisher.notices(), 2.0, "the notice to clear")
        await publisher.close(2.0)
        await running
        server.close()

    real(run())


def test_status_is_the_last_of_the_retained(origin: Origin) -> None:
    async def run() -> None:
        broker, outbox = Breaking("", every=1000), Events(1)
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        publisher = Publisher(Broker("127.0.0.1", server.sockets[0].getsockname()[1]), origin, outbox)
        running = asyncio.create_task(publisher.run())
        await until(lambda: outbox.cursor == 1, 5.0, "the event")
        await publisher.close(2.0)
        await running
        server.close()
        status = [msgspec.json.decode(payload)["state"] for topic, payload in broker.told if topic == "status"]
        assert [topic for topic, _ in broker.told] == ["status", "event", "status"]
        assert status == ["init", "disconnected"], "no tick was ever seen"

    real(run())


@pytest.mark.parametrize("how", ["after", "garbage", "before"])
def test_a_hundred_losses_of_connection_leave_the_loop_alone(
    how: str, origin: Origin, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each loss meets a publish on its way: the loop may not be handed a socket that is closed by then."""
    monkeypatch.setattr(mqtt, "PAUSES_S", (0.001,))

    async def run() -> None:
        broker, outbox = Breaking(how, every=7), Events(100_000)
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        publisher = Publisher(Broker("127.0.0.1", server.sockets[0].getsockname()[1]), origin, outbox)
        running = asyncio.create_task(publisher.run())
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 20.0
        while broker.connections < 100:
            assert loop.time() < until_s, f"{broker.connections} connections in 20 s"
            publisher.offer(snapshot(loop.time()))
            await asyncio.sleep(0.001)
        await publisher.close(2.0)
        await running
        server.close()
        assert list(dict.fromkeys(broker.events()))[: outbox.cursor] == list(range(1, outbox.cursor + 1))

    real(run())
