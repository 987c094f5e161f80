"""Who is at the other end of a Unix socket, as the kernel says it. Imports the standard library only."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, NamedTuple

_LINUX: Final[int | None] = getattr(socket, "SO_PEERCRED", None)
_MAC_LEVEL: Final = 0  # SOL_LOCAL
_MAC_PID: Final = 2  # LOCAL_PEERPID


class Peer(NamedTuple):
    pid: int  # 0: the system does not say
    uid: int  # -1: the system does not say


def peer(connection: socket.socket) -> Peer:
    """The process that opened the other end. On macOS only its pid is known: there the 0700 folder keeps others out."""
    try:
        if _LINUX is not None:
            said = connection.getsockopt(socket.SOL_SOCKET, _LINUX, struct.calcsize("3i"))
            pid, uid, _gid = struct.unpack("3i", said)
            return Peer(pid, uid)
        (pid,) = struct.unpack("i", connection.getsockopt(_MAC_LEVEL, _MAC_PID, struct.calcsize("i")))
        return Peer(pid, -1)
    except OSError:
        return Peer(0, -1)


def allowed(who: Peer) -> bool:
    """Whether this peer may command the bench: the user who runs it, or root."""
    return who.uid in (0, os.geteuid()) or (_LINUX is None and who.uid == -1)
