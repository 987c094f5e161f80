"""The host's end of a guard process's socket: every way in which the other end can be gone is an OSError at once."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.transports import SocketTransport


class Guard:
    """The other end."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.connection: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.connection, _ = self.listener.accept()
        return self.connection

    def close(self) -> None:
        self.listener.close()
        if self.connection is not None:
            self.connection.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mg") as folder:
        yield Path(folder) / "b1.guard.sock"


@pytest.fixture
def guard(path: Path) -> Iterator[Guard]:
    made = Guard(path)
    yield made
    made.close()


@pytest.fixture
def transport(path: Path) -> Iterator[SocketTransport]:
    made = SocketTransport(path)
    yield made
    made.close()


def test_no_guard_process_is_an_error_and_not_a_wait(transport: SocketTransport, path: Path) -> None:
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            transport.read()
        with pytest.raises(FileNotFoundError):
            transport.write(b"x")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        transport.read()
    assert not transport.connected


def test_a_guard_that_takes_no_connections_is_an_error_and_not_a_wait(
    transport: SocketTransport, guard: Guard, path: Path
) -> None:
    assert guard.listener
    waiting = [SocketTransport(path) for _ in range(2)]  # as many as its backlog takes
    assert [one.read() for one in waiting] == [b"", b""]
    with pytest.raises(BlockingIOError):
        transport.read()
    assert not transport.connected
    for one in waiting:
        one.close()


def test_a_guard_that_ends_is_an_error_once_and_then_a_new_connection(transport: SocketTransport, guard: Guard) -> None:
    assert transport.read() == b""
    guard.accept().sendall(b"last words")
    assert transport.read() == b"last words"
    assert guard.connection is not None
    guard.connection.close()
    with pytest.raises(OSError, match="closed its end"):
        transport.read()
    assert not transport.connected
    transport.write(b"again")
    assert guard.accept().recv(16) == b"again"


def test_writing_to_a_guard_that_has_gone(transport: SocketTransport, guard: Guard) -> None:
    transport.write(b"a")
    guard.accept().close()
    with pytest.raises(BrokenPipeError):
        transport.write(b"b")
    assert not transport.connected


def test_a_connection_that_is_reset(transport: SocketTransport, guard: Guard) -> None:
    transport.write(b"unread")
    guard.accept().close()
    with pytest.raises(ConnectionResetError):
        transport.read()
    assert not transport.connected


def test_what_a_guard_that_does_not_read_has_no_room_for_is_lost(transport: SocketTransport, guard: Guard) -> None:
    frame = bytes(42)
    for _ in range(20_000):
        transport.write(frame)
    connection = guard.accept()
    connection.setblocking(False)
    got = 0
    while data := _received(connection):
        got += len(data)
    assert 0 < got < 20_000 * len(frame)
    assert got % len(frame) == 0, "whole frames"
    transport.write(b"heard")
    assert connection.recv(16) == b"heard"


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except BlockingIOError:
        return b""
