"""How late a tick came by what this process did. What its threads waited for a core is the machine's doing: tests that
share two cores among four workers would otherwise measure each other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class Cores:
    """What the kernel's scheduler says of this process's threads (Linux, `schedstat`; elsewhere nothing is known)."""

    def __init__(self, tasks: Path = Path("/proc/self/task")) -> None:
        self._tasks = tasks
        self._known_ns: dict[str, int] = {}
        self.waited_s()

    def waited_s(self) -> float:
        """Since the last call: how long threads could have run and no core took them, all threads together. One that
        was put off while it held the interpreter's lock has put off the others."""
        now_ns = {}
        with contextlib.suppress(OSError):
            for task in self._tasks.iterdir():
                with contextlib.suppress(OSError):  # a thread that has just ended
                    now_ns[task.name] = int((task / "schedstat").read_text().split()[1])
        waited_ns = sum(max(0, ns - self._known_ns.get(task, 0)) for task, ns in now_ns.items())
        self._known_ns = now_ns
        return waited_ns * 1e-9


class Lateness:
    """The worst tick: `at_most_s`, seconds after it was due, less what was waited for a core or spent `apart` since the
    one before."""

    def __init__(self, cores: Cores | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._cores = cores or Cores()
        self._now = now
        self._not_ours_s = 0.0
        self.at_most_s = 0.0

    def tick(self, due_s: float, now_s: float) -> float:
        """One tick; returns from when on the next period counts, so that one delay is charged once."""
        self.at_most_s = max(self.at_most_s, now_s - due_s - self._not_ours_s - self._cores.waited_s())
        self._not_ours_s = 0.0
        return max(due_s, now_s)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Around what a test does itself in the loop's thread, such as starting a process and waiting for it: nothing
        of what is measured can run meanwhile."""
        self._not_ours_s += self._cores.waited_s()
        began_s = self._now()
        try:
            yield
        finally:
            self._not_ours_s += self._now() - began_s
            self._cores.waited_s()  # meanwhile: in the time apart already
