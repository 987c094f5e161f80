"""The publisher: takes what waits to a broker, beside the tick and never in its way. Subscribes to nothing.

The one file that imports aiomqtt. A dead, slow, hung or absent broker costs the tick nothing: it only ever appends to
bounded deques. An event's cursor moves once the broker has acknowledged it, one event at a time, so that none is lost
and none overtakes another; after a loss of connection the last one may come twice.

Three habits of the library decide the shape of this file. Its connect runs in the loop's default executor and cannot be
cancelled, so that executor is one of daemon threads here: a thread that hangs in a resolver is left behind, and neither
the loop's nor the interpreter's end waits for it. And a publish that waits for its acknowledgement is not told of a
lost connection, so a second task watches for that. And it may hand the loop a socket that is closed by then: `_Client`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from typing import Any, Final

import aiomqtt

from ..core.model import Notice, Snapshot, value
from ..messages import TOPIC, TOPICS, Origin, Payload, address, encode
from ..payloads import status, will
from .compose import Composer, Message, Outbox

KEEPALIVE_S: Final = 5
CONNECT_TIMEOUT_S: Final = 1.0  # of one TCP attempt
ACCEPT_TIMEOUT_S: Final = 5.0  # from there to the broker's CONNACK: a stopped broker takes the connection and is silent
UNACKED_TIMEOUT_MS: Final = 5_000  # TCP gives a connection up when the other machine no longer takes its bytes
PAUSES_S: Final = (0.05, 0.2, 0.5)  # between attempts; the last, with a connect timeout, is back within 2 s
LASTING_S: Final = 2.0  # a connection that held so long starts again with the first pause
LOST_AFTER_S: Final = 5.0  # [J] without a word of the broker for this long, it is called lost
WORK_EVERY_S: Final = 0.05
DRAIN_SHARE: Final = 0.6  # of the time that `close` has, for what still waits; the rest is for saying goodbye
ABANDON_S: Final = 0.1
_WAITING_MAX: Final = {"pressure": 25}  # 5 s of it
_WAITING_MAX_OTHERS: Final = 20

_log: Final = logging.getLogger(__name__)
_silent: Final = logging.Logger("paho", logging.CRITICAL)  # the library says nothing that `_log` does not


@value
class Broker:
    """Where to publish. `tls` is what the broker's certificate is checked with; given, TLS is used."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


class Publisher:
    """Publishes what it is offered until it is closed.

    Args:
        speed: of the loop against real time. The library's timeouts run on the loop's clock and the network does not.
    """

    def __init__(self, broker: Broker, origin: Origin, outbox: Outbox, speed: float = 1.0) -> None:
        self._broker = broker
        if broker.tls is not None:
            broker.tls.sslsocket_class = _Handshaking
        self._origin = origin
        self._outbox = outbox
        self._speed = speed
        self._waiting: dict[str, deque[Message]] = {
            topic.name: deque(maxlen=_WAITING_MAX.get(topic.name, _WAITING_MAX_OTHERS)) for topic in TOPICS
        }
        self._composer = Composer(origin, self._keep)
        self.offer: Final[Callable[[Snapshot], None]] = self._composer.offer
        self._jitter = random.Random(f"{origin.bench_id}/{origin.boot_id}")
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._drain_until_s = inf
        self._connected = False
        self._heard_at_s = -inf  # when the broker last acknowledged anything
        self._trouble = "not connected yet"
        self._notices: tuple[Notice, ...] = ()
        self._task: asyncio.Task[None] | None = None

    # --- the app's side ------------------------------------------------------------------------------------------

    def publish(self, payload: Payload) -> None:
        """Publish a message that is not made of snapshots: `info`, `session`."""
        self._composer.put(payload)

    def keep_session(self, message: bytes) -> None:
        """The summary of the last session, as the journal has it: the broker may have lost it, or never had it."""
        self._composer.keep(TOPIC["session"], message)

    def notices(self) -> tuple[Notice, ...]:
        """What stands now. The same tuple until something changes."""
        return self._notices

    async def run(self) -> None:
        """Connect, publish, connect again, until `close`."""
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        self._task = asyncio.create_task(self._live(), name="mqtt")
        try:
            await asyncio.wait({self._task})
        finally:
            await self._abandon()
        if not self._task.cancelled():
            self._task.result()

    async def close(self, deadline_s: float = 2.0) -> None:
        """Publish what waits and `disconnected`, and be gone after so many real seconds whatever happens."""
        loop_s = deadline_s * self._speed
        self._drain_until_s = asyncio.get_running_loop().time() + DRAIN_SHARE * loop_s
        self._closing.set()
        self._work.set()
        if self._task is None or self._task.done():
            return
        for _ in range(2):  # an attempt under way gets half of the time, a connection all of it
            await asyncio.wait({self._task}, timeout=0.45 * loop_s)
            if not self._connected:
                break
        await self._abandon()

    async def _abandon(self) -> None:
        if self._task is not None and self._task.cancel():
            await asyncio.wait({self._task}, timeout=ABANDON_S * self._speed)

    # --- the work ------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            composing = group.create_task(self._compose())
            await self._stay_connected()
            composing.cancel()

    async def _compose(self) -> None:
        loop = asyncio.get_running_loop()
        self._heard_at_s = loop.time()
        while True:
            self._composer.compose()
            if self._outbox.next_event() is not None or any(self._waiting.values()):
                self._work.set()
            self._tell(loop.time())
            await asyncio.sleep(WORK_EVERY_S * self._speed)

    def _tell(self, now_s: float) -> None:
        lost = now_s - self._heard_at_s > LOST_AFTER_S * self._speed
        if not lost:
            self._notices = ()
        elif not self._notices:
            where = f"{self._broker.host}:{self._broker.port}"
            self._notices = (Notice("broker_lost", detail=f"{where}: {self._trouble or 'no answer'}"),)

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._closing.is_set():
            began_s = loop.time()
            trouble = await self._converse()
            if trouble != self._trouble:
                _log.info("broker %s:%d: %s", self._broker.host, self._broker.port, trouble)
            self._trouble = trouble
            if loop.time() - began_s > LASTING_S * self._speed:
                failures = 0
            pause_s = PAUSES_S[min(failures, len(PAUSES_S) - 1)] * self._jitter.uniform(0.8, 1.2)
            failures += 1
            try:
                await asyncio.wait_for(self._closing.wait(), pause_s * self._speed)
            except TimeoutError:
                continue

    async def _converse(self) -> str:
        """One connection, from its attempt to its end. Returns why it ended."""
        client = self._client()
        try:
            await client.__aenter__()
            self._connected = True
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(client))
                await self._speak(client)
                watching.cancel()
            await client.__aexit__(None, None, None)
        except Exception as error:  # whatever the library raises is a broker that cannot be reached
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            return str(error) or type(error).__name__
        finally:
            _let_go(client, politely=not self._connected and not self._closing.is_set())
            self._connected = False
        return "closed"

    def _client(self) -> _Client:
        """A new one for each attempt: an old one would send again, out of order, what it had not got through."""
        broker, origin = self._broker, self._origin
        topic = TOPIC["status"]
        last_will = aiomqtt.Will(
            address(origin.bench_id, topic.name),
            encode(will(origin, asyncio.get_running_loop().time())),
            topic.qos,
            topic.retain,
        )
        client = _Client(
            broker.host,
            broker.port,
            identifier=f"manchet-{origin.bench_id}-{origin.boot_id}",
            username=broker.username,
            password=broker.password,
            tls_context=broker.tls,
            will=last_will,
            keepalive=KEEPALIVE_S,
            timeout=ACCEPT_TIMEOUT_S * self._speed,
            socket_options=_SOCKET_OPTIONS,
            logger=_silent,
        )
        client._client.connect_timeout = CONNECT_TIMEOUT_S
        return client

    async def _speak(self, client: aiomqtt.Client) -> None:
        """Write every retained topic anew, `status` last, then what waits; returns once closed and said so."""
        loop = asyncio.get_running_loop()
        for deck in self._waiting.values():
            deck.clear()
        for message in tuple(self._composer.retained.values()):
            await self._send(client, message)
        said = await self._say(client, "ready" if self._composer.begun else "init")
        while True:
            self._work.clear()
            sent = await self._send_a_round(client)
            if said == "init" and self._composer.begun:
                said = await self._say(client, "ready")
            if self._closing.is_set() and (not sent or loop.time() >= self._drain_until_s):
                await self._say(client, "disconnected")
                return
            if not sent and not self._closing.is_set():
                await self._work.wait()

    async def _send_a_round(self, client: aiomqtt.Client) -> bool:
        """At most one message of each topic, so that none waits for a backlog of another. Whether there was any."""
        sent = False
        for deck in self._waiting.values():
            if deck:
                sent = True
                await self._send(client, deck.popleft())
        event = self._outbox.next_event()
        if event is not None:
            sent = True
            seq, payload = event
            await self._send(client, (TOPIC["event"], payload))
            self._outbox.acknowledged(seq)
        return sent

    async def _say(self, client: aiomqtt.Client, word: Any) -> str:
        told = status(self._origin, word, asyncio.get_running_loop().time())
        await self._send(client, (TOPIC["status"], encode(told)))
        return str(told.state)

    async def _send(self, client: aiomqtt.Client, message: Message) -> None:
        """Returns once the broker has acknowledged it (QoS 1) or it is on its way (QoS 0)."""
        topic, payload = message
        await client.publish(address(self._origin.bench_id, topic.name), payload, topic.qos, topic.retain, timeout=inf)
        if topic.qos:
            self._heard_at_s = asyncio.get_running_loop().time()

    def _keep(self, message: Message) -> None:
        self._waiting[message[0].name].append(message)


class _Client(aiomqtt.Client):
    """The library's client, which may not leave a closed socket with the loop.

    It registers a socket by `call_soon`, and in between the connection may be lost and the socket closed. epoll refuses
    such a socket with a line in the log; `select`, which the real loop waits by for its punctuality, fails on it at
    each turn from then on, and the control process with it.
    """

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ARG002
        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_reader(sock.fileno(), self._guarded, self._read)
                self._misc_task = self._loop.create_task(self._misc_loop())

        self._loop.call_soon_threadsafe(register)  # paho may call from the thread that connects

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ARG002
        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), self._guarded, self._client.loop_write)

        self._loop.call_soon_threadsafe(register)

    def _read(self) -> None:
        self._client.loop_read()
        while (sock := self._client.socket()) is not None and hasattr(sock, "pending") and sock.pending() > 0:
            self._client.loop_read()  # TLS holds back what it has decoded, and the socket does not tell

    def _guarded(self, work: Callable[[], object]) -> None:
        """What paho raises here is a broken connection."""
        try:
            work()
        except Exception as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


class _Handshaking(ssl.SSLSocket):
    """A socket that is closed when its handshake fails. The library leaves it open then, attempt after attempt, and the
    loop's `select` takes no descriptor above 1023."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


async def _watch(client: aiomqtt.Client) -> None:
    """Raises MqttError when the connection is lost. Nothing is subscribed to, so no message ever comes."""
    async for _ in client.messages:
        pass


def _let_go(client: aiomqtt.Client, *, politely: bool) -> None:
    """Close the socket of a connection that is over, which the library leaves open in some of its ways out.

    Politely: a broker that has not answered yet may still find our CONNECT, with its will, when it wakes up; a
    DISCONNECT behind it takes the will back. An accepted connection that breaks is closed without one: then the will
    is what should be heard.
    """
    lost = client._disconnected
    if lost.done() and not lost.cancelled():
        lost.exception()  # heard of, or the loop would complain that nobody did
    paho = client._client
    if paho.socket() is None:
        return
    if politely:
        paho.disconnect()
        paho.loop_write()
    paho._sock_close()


_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    *(
        ((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_TIMEOUT_MS),)
        if hasattr(socket, "TCP_USER_TIMEOUT")  # Linux
        else ()
    ),
)


class DaemonThreads(ThreadPoolExecutor):
    """An executor that nobody waits for: a daemon thread for each call, no joining at the end.

    A plain pool is joined by the loop's shutdown and again at the interpreter's exit, for as long as a resolver takes.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="mqtt connect", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: what still runs is left behind."""
