"""A serial port as `ports.Transport`: a guard board on USB or on a UART.

Read in the tick, without waiting, rather than by the loop's `add_reader`: one reader, bytes taken in the tick's own
order, and an end of file cannot make the loop spin. A port that is gone, unplugged or no longer taken from raises
OSError in the very call that finds out; it is opened again by a thread of its own, never in the tick. Whatever opens
the port, `HostLink` says nothing but HELLO to it before it has been welcomed: opening may have reset the board.

pyserial is imported by that thread, so that this imports on a machine without it. DTR stays as the kernel sets it on
opening, asserted: a Pico sends only to a host that has asserted it.
"""

from __future__ import annotations

import errno
import os
import select
import termios
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

REOPEN_EVERY_S: Final = 0.2
FIRST_WITHIN_S: Final = 0.2  # [J] making one waits so long for its port: where it is there, it is open after some ms
READ_AT_MOST: Final = 4096  # all that a line's buffer holds


class PortTaken(OSError):
    """Another process has the port."""


def open_port(port: str, baud: int) -> Any:
    """A `serial.Serial`, ours alone, that never waits. Raises OSError with a sentence; PortTaken where it is in use."""
    try:
        import serial
    except ImportError:
        raise OSError("pyserial is not installed: pip install pyserial") from None
    try:
        return serial.Serial(port, baud, timeout=0, write_timeout=0, exclusive=True)
    except OSError as error:  # serial.SerialException is one
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            raise PortTaken(f"{port} is held by another process") from None
        number = error.errno or 0
        raise OSError(f"{port} cannot be opened: {os.strerror(number) if number else error}") from None
    except (ValueError, termios.error) as error:
        raise OSError(f"{port} cannot be opened: {error}") from None


class SerialTransport:
    """One guard board's port, opened in the background at once and again whenever it is lost. `close` ends that.
    Making one waits FIRST_WITHIN_S at most; nothing else waits."""

    def __init__(self, port: str, baud: int = 115200, opener: Callable[[str, int], Any] = open_port) -> None:
        self._port = port
        self._baud = baud
        self._opener = opener
        self._why = f"{port} is not open yet"
        self._serial: Any = None  # the tick's
        self._fd = -1
        self._opened: deque[Any] = deque()  # from the thread to the tick
        self._gone: deque[Any] = deque()  # from the tick to the thread, to be closed there: closing may wait
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._tried = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._open, name=f"opens {port}", daemon=True)
        self._thread.start()
        self._tried.wait(FIRST_WITHIN_S)

    # --- ports.Transport, in the tick ----------------------------------------------------------------------------

    def read(self) -> bytes:
        self._need()
        try:
            if not select.select([self._fd], (), (), 0.0)[0]:
                return b""
            data = os.read(self._fd, READ_AT_MOST)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(str(error.strerror)) from None
        if not data:  # ready, and nothing there: the other end is gone
            raise self._lost("it has been unplugged")
        return data

    def write(self, data: bytes) -> None:
        self._need()
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise self._lost(str(error.strerror)) from None
        if written < len(data):  # its buffer holds seconds of leases: nobody has read them
            raise self._lost("the board takes no more bytes")

    def close(self) -> None:
        """End: the port is free for others."""
        self._closed.set()
        self._wanted.set()
        self._thread.join(1.0)
        for serial in (self._serial, *self._opened, *self._gone):
            _close(serial)
        self._serial = None
        self._opened.clear()
        self._gone.clear()
        self._why = f"{self._port} is closed"

    def _need(self) -> None:
        """The port, or OSError with why there is none."""
        if self._serial is not None:
            return
        if not self._opened:
            raise OSError(self._why)
        serial = self._serial = self._opened.popleft()
        self._fd = serial.fileno()

    def _lost(self, why: str) -> OSError:
        self._why = f"{self._port}: {why}"
        self._gone.append(self._serial)
        self._serial = None
        self._wanted.set()
        return OSError(self._why)

    # --- in the background ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed.is_set():
                return
            while self._gone:
                _close(self._gone.popleft())
            try:
                opened = self._opener(self._port, self._baud)
            except Exception as error:  # whatever it is, the next try may find the board back
                self._why = str(error)
                self._tried.set()
                self._closed.wait(REOPEN_EVERY_S)
                continue
            self._wanted.clear()
            self._opened.append(opened)
            self._tried.set()
            if self._closed.is_set():
                return


def _close(serial: Any) -> None:
    if serial is not None:
        with suppress(OSError):
            serial.close()
