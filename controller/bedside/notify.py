"""sd_notify in a few lines: one datagram to $NOTIFY_SOCKET. Imports the standard library only."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the service is. Without systemd it does nothing; a failure to tell never hurts a tick."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = environ.get("WATCHDOG_USEC", "0")
        self.watchdog_s = int(period_us) / 1e6 if mine and period_us.isdigit() else 0.0  # 0: no watchdog is set

    def tell(self, line: str) -> bool:
        """Send e.g. "READY=1", "WATCHDOG=1", "STATUS=..." or "STOPPING=1"; whether systemd took it."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
