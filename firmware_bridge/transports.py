"""Bytes to and from a guard process: `ports.Transport` over its Unix socket.

Never waits: connecting to a Unix socket is done or refused at once, and so are reading and writing. Whatever fails is
an OSError, after which the connection is gone and the next call makes a new one; how often is `link.HostLink`'s to say.
"""

from __future__ import annotations

import errno
import socket
from os import strerror
from pathlib import Path
from typing import Final

READ_BYTES: Final = 16384


class SocketTransport:
    """The host's end. `connected` says whether there is a connection now."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._connection: socket.socket | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def write(self, data: bytes) -> None:
        """What a guard that does not read has no room for is lost whole: a lease that is not taken lapses."""
        connection = self._connection or self._connect()
        try:
            sent = connection.send(data)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            raise
        if sent != len(data):  # never of so little; half a frame would make the next one a bad one
            self.close()
            raise OSError(errno.EIO, strerror(errno.EIO))

    def read(self) -> bytes:
        connection = self._connection or self._connect()
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            self.close()
            raise
        if not data:
            self.close()
            raise OSError(errno.EPIPE, "the guard process closed its end")
        return data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            why = f"no guard process listens at {self._path} ({error.strerror}); `manchet guard` is one"
            raise OSError(error.errno, why) from error
        self._connection = connection
        return connection
