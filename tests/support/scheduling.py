"""Who goes first on a machine that runs many tests at once.

A real-time loop that shares its core with a test suite is rightly tripped by `tick_late`; at a bench its unit has
`CPUSchedulingPolicy=rr`. Nothing is loosened by giving it the same here; where the system forbids it (no root, no
Linux) the test runs without.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PRIORITY = 20  # as in systemd/manchet.service
FORBIDDEN = (PermissionError, ProcessLookupError, FileNotFoundError)


def nearly_first(process_id: int) -> None:
    """Before other work of this machine, while it starts: that takes some 300 ms of computing, which as a real-time
    process would hold up the benches of other tests."""
    with contextlib.suppress(*FORBIDDEN):
        os.setpriority(os.PRIO_PROCESS, process_id, -10)


def as_at_a_bench(process_id: int) -> None:
    """Put a process that serves before whatever else this machine does. Its threads too: one that is put off while it
    holds the interpreter's lock puts off the tick."""
    if sys.platform == "linux":
        with contextlib.suppress(*FORBIDDEN):
            for thread in Path(f"/proc/{process_id}/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(PRIORITY))


@contextlib.contextmanager
def served_first() -> Iterator[None]:
    """The same for a loop in this very thread, while it runs; the threads and processes it starts have it from it."""
    if sys.platform != "linux":
        yield
        return
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, parameters)


def this_thread_nearly_first() -> None:
    """For a thread that starts processes beside a loop: until such a one is under way the interpreter stands still."""
    nearly_first(threading.get_native_id())
