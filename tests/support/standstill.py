"""Whether the machine itself stood still while a test ran.

A bench that gets no core for 100 ms trips, and must: then a test of it has said nothing of our code. It is seen from
outside: a process of its own, one thread for each core, before everything of ours where the system allows it, that only
sleeps and looks how late it woke. A test that failed is run again only if this one was held up too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

PERIOD_S = 0.02
STOOD_STILL_S = 0.05  # half of what a bench bears between two ticks
SAID_S = 0.01
PRIORITY = 30  # a bench under test has 20


class Standstill:
    """Starts its watcher at the first `begin`. It ends with this process: it reads from a pipe of ours."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, __file__)) -> None:
        self._command = command
        self._watcher: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """From here on."""
        if self._watcher is None:
            self._watcher = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            assert self._watcher.stdout is not None
            os.set_blocking(self._watcher.stdout.fileno(), False)
        self.longest_s()

    def longest_s(self) -> float:
        """Seconds by which the watcher woke late, at most, since the last call; 0.0 when nothing is known."""
        if self._watcher is None or self._watcher.stdout is None:
            return 0.0
        said = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._watcher.stdout.fileno(), 65536):
                said += more
        return max((float(line) for line in said.split()), default=0.0)

    def __call__(self) -> bool:
        """Was it long enough to trip a bench that did nothing wrong?"""
        return self.longest_s() >= STOOD_STILL_S

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None


def watch(say: Callable[[float], None], now: Callable[[], float], sleep: Callable[[float], None], times: int) -> None:
    """Wake each period, `times` times, and say by how many seconds it was late when that is worth a line."""
    due_s = now() + PERIOD_S
    for _ in range(times):
        sleep(max(0.0, due_s - now()))
        late_s = now() - due_s
        if late_s > SAID_S:
            say(late_s)
        due_s = max(due_s, now()) + PERIOD_S


def main() -> None:
    def on(core: int) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setaffinity(0, {core})
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        watch(lambda late_s: print(f"{late_s:.4f}", flush=True), time.monotonic, time.sleep, sys.maxsize)

    cores = os.sched_getaffinity(0) if sys.platform == "linux" else {0}
    for core in cores:
        threading.Thread(target=on, args=(core,), daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
