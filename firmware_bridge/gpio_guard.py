"""The guard as a process: the real `firmware/guard.py` on GPIO lines, and the socket that hosts talk to.

`GuardBoard` is what a Pico is to its firmware: pins, sensors B and a clock round the guard, one pass at a time, without
any waiting of its own, so that it runs in virtual time as it does in real time. `GuardServer` is the process's loop:
passes at 100 Hz on absolute deadlines, and between them whatever the sockets bring, at once, so that a host's death is
answered when the kernel tells of it and not a pass later.

Who is who on the socket. The first connection to say HELLO while there is no host becomes the host: what it sends
goes to the guard byte for byte, damaged bytes included, which the guard counts against its frame budget. Every other
connection is heard for one thing, TRIP, whatever its number, and can neither lease, arm nor reset: its bytes never
reach the guard. Once it has said TRIP it is told what the guard says to its host, so that it can see the
cuffs empty (`manchet safe`: HELLO and TRIP in one breath). A HELLO without a TRIP, while there is a host, is a second
host: it is refused, by closing its connection.

Nothing here knows `controller`. Times are seconds of the clock it is given.
"""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, Protocol

from .firmware import wire
from .firmware.guard import FIRMWARE, STATUS_PASSES, TICKS, Guard
from .ports import Sensor, SensorFault

PASS_S: Final = 0.01
# Between the end of a pass and the next: what a sensor needs from its command to its reading (ABP2 5 ms). A pass on
# time behind one that was late would find it busy, and a cuff without a reading is not known to be empty.
APART_S: Final = 0.006
LONG_PASS_S: Final = 0.1  # the guard's own PASS_LATE_MS
HELD_S: Final = 0.05  # [J] how old a reading may get while the next is converted
BLINK_PASSES: Final = 25  # of the status LED when tripped: 2 Hz
CLIENTS_MAX: Final = 32  # [J]
INTRODUCE_S: Final = 2.0  # [J] a connection that has not said by then what it is, is closed
SECOND_HOST_S: Final = 0.1  # [J] a HELLO beside a host's is a second host unless a TRIP follows within it
READ_BYTES: Final = 4096
READS_AT_ONCE: Final = 8  # of one connection between two looks at the clock
INTRODUCTION_BYTES: Final = 256  # what a connection may send before it is known

_log: Final = logging.getLogger("manchet.guard")


class Pins(Protocol):
    """What a guard's lines are driven through: `pins.GpioPins`, or what a simulation brings."""

    def drive(self, channel: int, duty: int, flags: int) -> None: ...

    def estop_ok(self) -> bool: ...

    def beat(self) -> None: ...

    def show(self, lit: bool) -> None: ...


class GuardBoard:
    """One guard on its lines. Every call ends with the lines as the guard has them.

    A sensor's bus may hold a pass up. So the guard is told the time after its sensors were read, not the time at which
    the pass began, and a pass that took too long gives the monostable no edge: else the first thing that a guard does
    when its bus comes back would be to power the coils of a cuff that its monostable has let go of.
    """

    def __init__(self, pins: Pins, sensors: Sequence[Sensor], boot_id: int, clock: Callable[[], float]) -> None:
        """One sensor B a cuff; `boot_id`: 32 bits that no boot before had."""
        if not 1 <= len(sensors) <= 2:
            raise ValueError(f"{len(sensors)} sensors: must be one sensor B for each of 1 or 2 cuffs")
        self.guard = Guard(boot_id, len(sensors), _ms(clock()))
        self._clock = clock
        self._pins = pins
        self._sensors = tuple(sensors)
        self._b = [wire.NO_READING] * 2
        self._b_at_s = [-inf] * 2
        self._passes = 0

    def take(self, data: bytes) -> None:
        """What the host sent, between two passes: it may renew a lease or end it, and the lines follow at once."""
        self.guard.on_bytes(data, _ms(self._clock()))
        self._drive()

    def one_pass(self, data: bytes = b"") -> bytes:
        """Take bytes, read B, decide, set the lines, give the monostable its edge. What is to be sent to the host."""
        guard, clock = self.guard, self._clock
        began_s = clock()
        if data:
            guard.on_bytes(data, _ms(began_s))
        for channel, sensor in enumerate(self._sensors):
            self._convert(channel, sensor, clock())
        estop_ok = self._pins.estop_ok()
        guard.tick(_ms(clock()), self._b, estop_ok)
        self._drive()
        if 0.0 <= clock() - began_s <= LONG_PASS_S:
            self._pins.beat()
        self._passes += 1
        blink = guard.state == wire.TRIPPED and self._passes // BLINK_PASSES % 2 == 0
        self._pins.show(guard.state == wire.ARMED or blink)
        return guard.take_bytes()

    def _convert(self, channel: int, sensor: Sensor, now_s: float) -> None:
        """The conversion started a pass ago, in tenths of a mmHg; the next is started. While a slow one goes on the
        last one stands, for HELD_S at most."""
        try:
            reading = sensor.read(now_s)
            if reading is not None:
                self._b[channel] = round(reading.pressure_mmhg * 10.0)
                self._b_at_s[channel] = reading.at_s
            elif not now_s - self._b_at_s[channel] < HELD_S:
                self._b[channel] = wire.NO_READING
        except SensorFault:
            self._b[channel] = wire.NO_READING
        with suppress(SensorFault):  # the read of the next pass will say so
            sensor.start(now_s)

    def take_bytes(self) -> bytes:
        return self.guard.take_bytes()

    def link_lost(self) -> None:
        """The host's connection ended."""
        self.guard.link_lost()
        self._drive()

    def trip(self) -> None:
        """Somebody asks to vent."""
        self.guard.trip(wire.HOST_TRIP)
        self._drive()

    def _drive(self) -> None:
        for channel, output in enumerate(self.guard.outputs):
            self._pins.drive(channel, output.duty, output.flags)


class _Client:
    """One connection and what is known of it."""

    def __init__(self, connection: socket.socket, now_s: float) -> None:
        self.connection = connection
        self.decoder = wire.Decoder()
        self.introduction = b""  # what it sent before it was known
        self.welcomed = False  # it asked to vent after a HELLO: is told what the guard says
        self.nonce: int | None = None  # of a HELLO that came while there was a host
        self.until_s: float | None = now_s + INTRODUCE_S  # when it must have said what it is; None: it has


class GuardServer:
    """The loop of the guard process: passes on absolute deadlines, sockets between them."""

    def __init__(
        self,
        board: GuardBoard,
        listener: socket.socket,
        allowed: Callable[[socket.socket], bool],
        clock: Callable[[], float],
        after_pass: Callable[[], None] | None = None,
    ) -> None:
        """`allowed` judges who is at the other end of a connection; `after_pass` sees every whole pass."""
        self.missed = 0  # whole periods that no pass was in
        self._board = board
        self._listener = listener
        self._allowed = allowed
        self._clock = clock
        self._after_pass = after_pass
        self._clients: list[_Client] = []
        self._host: _Client | None = None
        self._due_s = clock() + PASS_S
        listener.setblocking(False)

    def serve(self, ended: Callable[[], bool]) -> None:
        """Until told to end; then whoever is in a cuff is vented, the host hears of it, and every connection closes."""
        try:
            while not ended():
                self.once()
        finally:
            self._board.trip()
            for _ in range(STATUS_PASSES):  # until it says so
                self._tell(self._board.one_pass())
            for client in self._clients:
                client.connection.close()
            self._clients.clear()

    def once(self) -> None:
        """Wait for the sockets until the next pass is due, and make that pass when it is."""
        sources = [self._listener, *[client.connection for client in self._clients]]
        readable, _, _ = select.select(sources, [], [], max(0.0, self._due_s - self._clock()))
        if readable:
            self._hear(readable)
        now_s = self._clock()
        if now_s >= self._due_s:
            self._due_s += PASS_S
            if now_s >= self._due_s:
                whole = int((now_s - self._due_s) / PASS_S) + 1
                self.missed += whole
                self._due_s += whole * PASS_S
            self._tell(self._board.one_pass())
            self._due_s = max(self._due_s, self._clock() + APART_S)
            self._close_the_unknown(now_s)
            if self._after_pass is not None:
                self._after_pass()

    def _hear(self, readable: list[socket.socket]) -> None:
        host = self._host
        if host is not None and host.connection in readable:
            self._read(host)  # first: whether there is a host decides what others may become
        for client in list(self._clients):
            if client is not host and client.connection in readable:
                self._read(client)
        if self._listener in readable:
            self._accept()
        self._tell(self._board.take_bytes())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again
            return
        connection.setblocking(False)
        if not self._allowed(connection):
            _log.warning("a connection of another user was refused")
            connection.close()
        elif len(self._clients) >= CLIENTS_MAX:
            _log.warning("a connection was refused: there are %d already", CLIENTS_MAX)
            connection.close()
        else:
            client = _Client(connection, self._clock())
            self._clients.append(client)
            self._read(client)  # what it said at once

    def _read(self, client: _Client) -> None:
        """Everything a connection has for us, up to its end."""
        for _ in range(READS_AT_ONCE):
            try:
                data = client.connection.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                _log.info("a connection broke off: %s", error)
                data = b""
            if not data:
                self._close(client)
                return
            if client is self._host:
                self._board.take(data)
            else:
                self._listen_to(client, data)
                if client not in self._clients:
                    return

    def _listen_to(self, client: _Client, data: bytes) -> None:
        """What somebody says who is not the host."""
        if client.until_s is not None:
            client.introduction += data
        for message in client.decoder.feed(data):
            if message[1] == wire.TRIP:
                _log.warning("tripped by another connection than the host's")
                self._board.trip()
                client.until_s = None
                if client.nonce is not None:
                    self._welcome(client, client.nonce)
            elif message[1] == wire.HELLO and self._host is None and client.until_s is not None:
                self._host = client
                client.until_s = None
                self._board.take(client.introduction)
                return
            elif message[1] == wire.HELLO:
                client.nonce = message[3]
                if client.until_s is None:
                    self._welcome(client, client.nonce)
                else:
                    client.until_s = min(client.until_s, self._clock() + SECOND_HOST_S)
        if client.until_s is not None and len(client.introduction) > INTRODUCTION_BYTES:
            self._close(client)

    def _welcome(self, client: _Client, nonce: int) -> None:
        """For one who tripped and wants to see the cuffs empty. It is not the guard that greets: it has its host."""
        guard = self._board.guard
        client.welcomed = True
        self._send(client, wire.welcome(0, nonce, guard.boot_id, _ms(self._clock()), FIRMWARE, guard.channels))

    def _tell(self, said: bytes) -> None:
        if said:
            for client in list(self._clients):
                if client is self._host or client.welcomed:
                    self._send(client, said)

    def _send(self, client: _Client, data: bytes) -> None:
        """Never waits. What a reader that does not read has no room for is lost whole: the kernel takes all or none of
        so little."""
        try:
            client.connection.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self._close(client)

    def _close(self, client: _Client) -> None:
        if client not in self._clients:
            return
        client.connection.close()
        self._clients.remove(client)
        if client is self._host:
            self._host = None
            self._board.link_lost()
            _log.warning("the host's connection ended")

    def _close_the_unknown(self, now_s: float) -> None:
        for client in list(self._clients):
            if client.until_s is not None and now_s >= client.until_s:
                if client.nonce is not None:
                    _log.warning("a second host was refused: there is one already")
                self._close(client)


def _ms(now_s: float) -> int:
    return int(now_s * 1000.0 + 0.5) & TICKS
