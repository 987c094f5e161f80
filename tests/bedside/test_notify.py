"""What systemd is told, and that telling never hurts."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from controller.bedside.notify import Notifier


def test_without_systemd_nothing_is_told() -> None:
    quiet = Notifier({})
    assert not quiet.tell("READY=1")
    assert quiet.watchdog_s == 0.0
    quiet.close()


def test_a_systemd_that_is_gone_or_does_not_listen_hurts_nobody() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "notify")
        gone = Notifier({"NOTIFY_SOCKET": str(path)})
        assert not gone.tell("READY=1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
            deaf.bind(str(path))
            told = [gone.tell("WATCHDOG=1") for _ in range(10000)]  # its queue fills: refused, never waited for
            assert told[0]
            assert not told[-1]
        gone.close()
        gone.close()
        assert not gone.tell("READY=1")


def test_it_is_heard_and_knows_the_watchdog() -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = Path(name, "notify")
        systemd.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())})
        assert notifier.watchdog_s == 2.0
        assert notifier.tell("STATUS=vented")
        assert systemd.recv(100) == b"STATUS=vented"
        notifier.close()
    assert Notifier({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid() + 1)}).watchdog_s == 0.0
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_s == 0.0
