"""A serial port that goes away, that another has, that nobody reads: said at once, opened again beside the tick."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.firmware import wire
from firmware_bridge.link import HostLink
from firmware_bridge.ports import Transport
from firmware_bridge.serial_transport import PortTaken, SerialTransport, open_port

pytestmark = pytest.mark.process
WITHIN_S = 10.0


class Cable:
    """A pty whose name stays the same however often it is plugged in."""

    def __init__(self, folder: Path) -> None:
        self.port = folder / "port"
        self.board = self._slave = -1

    def plug(self) -> None:
        self.board, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.board, False)
        self.port.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        self.port.unlink()
        os.close(self.board)
        os.close(self._slave)
        self.board = -1


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path)
    yield made
    if made.board >= 0:
        made.unplug()


@pytest.fixture
def made() -> Iterator[list[SerialTransport]]:
    """Transports that are closed in the end."""
    transports: list[SerialTransport] = []
    yield transports
    for one in transports:
        one.close()


def until(true: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < until_s, f"{what}: not within {WITHIN_S:g} s"
        time.sleep(0.005)


def opened(transport: SerialTransport) -> bool:
    try:
        return transport.read() == b""
    except OSError:
        return False


def plugged(cable: Cable, made: list[SerialTransport]) -> SerialTransport:
    cable.plug()
    made.append(SerialTransport(str(cable.port)))
    until(lambda: opened(made[-1]), "open")
    return made[-1]


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_port_that_is_not_there_is_said_and_taken_once_it_is(cable: Cable, made: list[SerialTransport]) -> None:
    made.append(SerialTransport(str(cable.port)))

    def says() -> str:
        with pytest.raises(OSError) as error:  # noqa: PT011 (the sentence is looked at)
            made[0].read()
        return str(error.value)

    until(lambda: "No such file" in says(), "it says why")
    assert str(cable.port) in says()
    cable.plug()
    until(lambda: opened(made[0]), "open")


def test_unplugged_is_said_by_the_very_next_read_and_plugged_in_again_is_found(
    cable: Cable, made: list[SerialTransport]
) -> None:
    transport = plugged(cable, made)
    cable.unplug()
    with pytest.raises(OSError, match=r"unplugged|Input/output"):
        transport.read()
    cable.plug()
    until(lambda: opened(transport), "open again")
    os.write(cable.board, b"here")
    until(lambda: transport.read() == b"here", "read")


def test_unplugged_is_said_by_the_very_next_write(cable: Cable, made: list[SerialTransport]) -> None:
    transport = plugged(cable, made)
    cable.unplug()
    with pytest.raises(OSError, match="Input/output"):
        transport.write(b"lease")


def test_a_board_that_reads_nothing_is_lost_before_a_write_waits(cable: Cable, made: list[SerialTransport]) -> None:
    transport = plugged(cable, made)
    began_s = time.monotonic()

    def lease_for_ever() -> None:
        for _ in range(100_000):
            transport.write(b"x" * 26)

    with pytest.raises(OSError, match="takes no more bytes"):
        lease_for_ever()
    assert time.monotonic() - began_s < 5.0


def test_a_port_that_another_process_has_is_refused(cable: Cable, made: list[SerialTransport]) -> None:
    plugged(cable, made)
    with pytest.raises(PortTaken, match="is held by another process"):
        open_port(str(cable.port), 115200)
    made.append(SerialTransport(str(cable.port)))
    until(lambda: "held by another" in made[1]._why, "the second says why")
    made[0].close()
    until(lambda: opened(made[1]), "the second gets it once it is free")


@pytest.mark.parametrize("error", [OSError("of a driver"), RuntimeError("of a library")], ids=repr)
def test_whatever_opening_raises_it_is_tried_again(cable: Cable, made: list[SerialTransport], error: Exception) -> None:
    cable.plug()
    failures = [error, error]

    def opener(port: str, baud: int) -> object:
        if failures:
            raise failures.pop()
        return open_port(port, baud)

    made.append(SerialTransport(str(cable.port), 115200, opener))
    until(lambda: opened(made[0]), "open")
    assert failures == []


def test_an_opening_that_hangs_costs_the_tick_nothing(cable: Cable, made: list[SerialTransport]) -> None:
    free = threading.Event()

    def opener(*_: object) -> object:
        free.wait(WITHIN_S)
        raise OSError("too late")

    made.append(SerialTransport(str(cable.port), 115200, opener))
    began_s = time.monotonic()
    for _ in range(100):
        with pytest.raises(OSError, match="is not open yet"):
            made[0].read()
        with pytest.raises(OSError, match="is not open yet"):
            made[0].write(b"x")
    assert time.monotonic() - began_s < 1.0
    free.set()


def test_what_is_no_serial_port_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be opened"):
        open_port(str(tmp_path / "file"), 115200)


def test_closed_it_leaves_no_thread_and_no_open_port(cable: Cable, made: list[SerialTransport]) -> None:
    transport = plugged(cable, made)
    transport.close()
    assert not transport._thread.is_alive()
    with pytest.raises(OSError, match="is closed"):
        transport.read()
    open_port(str(cable.port), 115200).close()


# --- what goes right ---------------------------------------------------------------------------------------------


def test_a_port_that_is_there_is_open_once_it_is_made(cable: Cable, made: list[SerialTransport]) -> None:
    cable.plug()
    made.append(SerialTransport(str(cable.port)))
    assert made[0].read() == b""


def test_bytes_go_both_ways_as_they_are(cable: Cable, made: list[SerialTransport]) -> None:
    transport: Transport = plugged(cable, made)
    every = bytes(range(256))
    transport.write(every)
    until(lambda: _read(cable.board) == every, "at the board")
    os.write(cable.board, every)
    until(lambda: transport.read() == every, "at the host")


def _read(board: int) -> bytes:
    try:
        return os.read(board, 4096)
    except BlockingIOError:
        return b""


def test_nothing_but_hello_is_said_to_a_port_that_was_opened_again(cable: Cable, made: list[SerialTransport]) -> None:
    """Opening a port may have reset the board."""
    link = HostLink(plugged(cable, made), lambda: 7)
    said = wire.Decoder()
    for again in range(2):
        if again:
            cable.unplug()
            link.poll(time.monotonic())
            assert "check its cable" in link.fault
            cable.plug()
        heard: list[int] = []

        def listening(heard: list[int] = heard) -> bool:
            link.poll(time.monotonic())
            link.lease((), time.monotonic())
            link.trip()
            link.disarm()
            link.reset()
            heard += [message[1] for message in said.feed(_read(cable.board))]
            return len(heard) >= 2

        until(listening, "greeted twice")
        assert set(heard) == {wire.HELLO}
