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
from typing import Final, Protocol

from .conversions import Conversions
from .firmware import wire
from .firmware.guard import ABSOLUTE_CEILING_DMMHG, FIRMWARE, PASS_LATE_MS, STATUS_PASSES, TICKS, Guard
from .ports import Sensor

PASS_S: Final = 0.01
# Between the end of a pass and the next: what a sensor needs from its command to its reading (ABP2 5 ms). A pass on
# time behind one that was late would find it busy, and a cuff without a reading is not known to be empty.
APART_S: Final = 0.006
LONG_PASS_S: Final = 0.1  # the guard's own PASS_LATE_MS
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
        self._conversions = Conversions(sensors)
        self._channels = range(len(sensors))
        self._passes = 0
        self._ticked_s = clock()
        self._gap_s = 0.0  # between the last two looks at the clock that the guard judges a pass by
        self._told = False  # this trip is in the log

    def take(self, data: bytes) -> None:
        """What the host sent, between two passes: it may renew a lease or end it, and the lines follow at once."""
        now_s = self._clock()
        self._gap_s = now_s - self._ticked_s
        self.guard.on_bytes(data, _ms(now_s))
        self._drive()

    def one_pass(self, data: bytes = b"") -> bytes:
        """Take bytes, read B, decide, set the lines, give the monostable its edge. What is to be sent to the host."""
        guard, clock = self.guard, self._clock
        began_s = clock()
        if data:
            guard.on_bytes(data, _ms(began_s))
        conversions = self._conversions
        for channel in self._channels:
            conversions.convert(channel, clock())
        estop_ok = self._pins.estop_ok()
        now_s = clock()
        self._gap_s, self._ticked_s = now_s - self._ticked_s, now_s
        guard.tick(_ms(now_s), conversions.dmmhg, estop_ok)
        self._drive()
        if 0.0 <= clock() - began_s <= LONG_PASS_S:
            self._pins.beat()
        self._passes += 1
        blink = guard.state == wire.TRIPPED and self._passes // BLINK_PASSES % 2 == 0
        self._pins.show(guard.state == wire.ARMED or blink)
        return guard.take_bytes()

    def take_bytes(self) -> bytes:
        return self.guard.take_bytes()

    def link_lost(self) -> None:
        """The host's connection ended."""
        self.guard.link_lost()
        self._drive()

    def trip(self, by: str) -> None:
        """Somebody asks to vent."""
        self.guard.trip(wire.HOST_TRIP)
        self._drive(by)

    def _drive(self, by: str = "") -> None:
        guard = self.guard
        for channel, output in enumerate(guard.outputs):
            self._pins.drive(channel, output.duty, output.flags)
        if (guard.state == wire.TRIPPED) is not self._told:  # after the lines, and once a trip
            self._told = not self._told
            if self._told:
                words = wire.TRIP_WORDS[guard.trip_reason]
                _log.warning("tripped, vented: %s%s", words, f" ({by})" if by else self._why())

    def _why(self) -> str:
        """The figure of a trip, where there is one."""
        reason, channel = self.guard.trip_reason, self.guard.trip_channel
        if reason == wire.PASS_LATE:
            return f", {self._gap_s * 1000.0:.1f} ms between two passes, the limit is {PASS_LATE_MS} ms"
        if channel == wire.NO_CHANNEL:
            return ""
        one = self.guard.outputs[channel]
        limits = {wire.CEILING: one.ceiling_dmmhg, wire.ABSOLUTE_CEILING: ABSOLUTE_CEILING_DMMHG}
        if reason not in limits:
            return f", cuff {channel + 1}"
        return f", cuff {channel + 1}: B at {one.b_dmmhg / 10:.1f} mmHg, the limit is {limits[reason] / 10:.1f} mmHg"


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
            self._board.trip("the guard was told to end")
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
                self._board.trip("by another connection than the host's")
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
