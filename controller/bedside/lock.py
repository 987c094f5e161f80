"""One controller per bench and machine. Imports the standard library only.

Two locks, both gone with the process however it ends: a locked file beside the socket, and on Linux a name in the
abstract socket space, which also holds between users and services with different runtime folders.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


class BenchTaken(Exception):
    """Another process controls this bench. The message is a sentence."""


class BenchLock:
    """Held while a process controls a bench.

    Raises BenchTaken when another process holds it, OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, bench_id: str) -> None:
        self.path = folder / f"{bench_id}.lock"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._name: socket.socket | None = None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name = _claim_name(bench_id)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            self.release()
            by = f" by process {holder}" if holder else ""
            asks = f"manchet status --bench {bench_id}"
            shows = "" if "." in bench_id else f" (`{asks}` shows it)"  # a world answers no verb
            raise BenchTaken(
                f"bench_id = {bench_id}: is controlled already{by} on this machine; stop that one first{shows}"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)  # for people; nobody is ever killed by it

    def release(self) -> None:
        """Give the bench up. The file stays: removing it would race with the next one's lock."""
        if self._name is not None:
            self._name.close()
            self._name = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self.release()


def _claim_name(bench_id: str) -> socket.socket | None:
    if sys.platform != "linux":
        return None
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0manchet/{bench_id}")
    except OSError:
        name.close()
        raise
    return name


def clear_dead_socket(path: Path) -> None:
    """Remove the socket that a dead controller left. Only the holder of the bench's lock may call this.

    Raises BenchTaken where something else than a socket is in the way.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BenchTaken(f"{path}: is in the way of the command socket and is not a socket; remove it")
    path.unlink()
