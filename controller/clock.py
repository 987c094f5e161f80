"""Three event loops with one face: real, virtual and scaled time.

Imports the standard library only. `time()` is the one clock of a process, in seconds, and `speed` says how many of its
seconds pass in one of the wall's. Ticks are absolute deadlines (`call_at`); whoever imposes a time limit on a library
that waits for real I/O multiplies it by `speed`.

- real: `time()` is CLOCK_BOOTTIME where the system has it, so that a suspended machine finds its deadlines passed.
- virtual: jumps to the next deadline. No thread, socket or process can be waited for, and waiting for nothing at all
  raises instead of hanging.
- scaled: virtual time paced by sleeping, with real I/O. Time stands still while a callback runs and moves only where
  the loop waits, so a deadline is met exactly however slow the machine is; a wait is shortened by what the wall is
  ahead, and what was lost beyond 100 ms is never caught up.

Loops differ from asyncio's own in `_run_once` and in the selector; both lean on `_ready`, `_scheduled` and
`_clock_resolution` of `asyncio.BaseEventLoop`, which the tests hold against every Python we run on.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

MAX_CATCH_UP_S: Final = 0.1  # wall time lost beyond this is never caught up [J]; also the limit of tick_late
MAX_SPEED: Final = 1000.0  # [J] far above what any machine keeps up with
RESOLUTION_S: Final = 1e-9  # deadlines closer than this are due together

_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; macOS counts suspension in monotonic

_Events = list[tuple[selectors.SelectorKey, int]]


class RealLoop(asyncio.SelectorEventLoop):
    """Wall seconds. `select` waits whole microseconds where epoll waits whole milliseconds.

    The price is that file descriptors must stay below 1024.
    """

    speed: Final = 1.0

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self._clock_resolution = RESOLUTION_S

    if _BOOTTIME is not None:

        def time(self, _clock: int = _BOOTTIME, _read: Callable[[int], float] = time.clock_gettime) -> float:
            return _read(_clock)


class VirtualLoop(asyncio.BaseEventLoop):
    """Jumps to the next deadline. Starts at 0 s; makes no system call."""

    speed: Final = math.inf

    if TYPE_CHECKING:  # of BaseEventLoop
        _ready: deque[asyncio.Handle]
        _scheduled: list[asyncio.TimerHandle]
        _stopping: bool
        _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        """Run what is ready; when nothing is, jump to the next deadline and run what is due there, in its order."""
        ready, scheduled = self._ready, self._scheduled
        if not ready and not self._stopping:
            self._jump()
        due_s = self._now_s + RESOLUTION_S
        while scheduled and scheduled[0]._when < due_s:  # type: ignore[attr-defined]
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)
        for _ in range(len(ready)):  # what these callbacks add waits for the next round, as in asyncio
            now = ready.popleft()
            if not now._cancelled:
                now._run()

    def _jump(self) -> None:
        scheduled = self._scheduled
        while scheduled:
            handle = scheduled[0]
            if not handle._cancelled:
                when_s: float = handle._when  # type: ignore[attr-defined]
                if when_s > self._now_s:
                    self._now_s = when_s
                return
            heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            self._timer_cancelled_count -= 1
        raise RuntimeError(
            f"virtual time stands still at {self._now_s:.3f} s: nothing is ready and no timer is set, so whatever is "
            "awaited can never come"
        )

    def _write_to_self(self) -> None:
        """Called by `call_soon_threadsafe`. Nobody sleeps here who would have to be woken (SIGINT comes this way)."""
        if self.is_running() and self._thread_id != threading.get_ident():  # type: ignore[attr-defined]
            _refuse("call_soon_threadsafe from another thread")


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"{what} in virtual time: nothing may wait for a thread, socket, process or signal there; use the real or the "
        "scaled loop"
    )


def _refusing(what: str) -> Callable[..., NoReturn]:
    def refuse(_loop: VirtualLoop, *_args: object, **_options: object) -> NoReturn:
        _refuse(what)

    refuse.__name__ = what
    return refuse


_WAITS_OUTSIDE: Final = """
    add_reader add_signal_handler add_writer connect_accepted_socket connect_read_pipe connect_write_pipe
    create_connection create_datagram_endpoint create_server create_unix_connection create_unix_server getaddrinfo
    getnameinfo run_in_executor sendfile sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom
    sock_recvfrom_into sock_sendall sock_sendfile sock_sendto start_tls subprocess_exec subprocess_shell
"""
for _name in _WAITS_OUTSIDE.split():
    setattr(VirtualLoop, _name, _refusing(_name))


class ScaledLoop(asyncio.SelectorEventLoop):
    """`speed` seconds of its time in one of the wall's. Starts at 0 s."""

    if TYPE_CHECKING:
        _scheduled: list[asyncio.TimerHandle]

    def __init__(
        self, speed: float, wall: Callable[[], float] = time.monotonic, io: selectors.BaseSelector | None = None
    ) -> None:
        """`wall` is the wall's clock and `io` what waits by it. `scaled_loop` checks the speed."""
        self._pace = _Pace(self, speed, wall, io or selectors.SelectSelector())
        super().__init__(self._pace)
        self._clock_resolution = RESOLUTION_S

    @property
    def speed(self) -> float:
        return self._pace.speed

    def time(self) -> float:
        return self._pace.now_s

    @property
    def lost_s(self) -> float:
        """Wall seconds given up so far because the machine could not keep the speed."""
        return self._pace.lost_s

    def next_deadline_s(self, timeout_s: float) -> float:
        """The instant that `timeout_s` from now stands for, exactly: sums would be off by a rounding."""
        pace = self._pace
        when_s: float = self._scheduled[0]._when if self._scheduled else math.inf  # type: ignore[attr-defined]
        return min(when_s, pace.now_s + timeout_s + RESOLUTION_S)


class _Pace(selectors.BaseSelector):
    """A selector whose waits move the loop's time. The only place where scaled time passes."""

    def __init__(self, loop: ScaledLoop, speed: float, wall: Callable[[], float], io: selectors.BaseSelector) -> None:
        self.speed = speed
        self.now_s = 0.0
        self.lost_s = 0.0
        self._loop = loop
        self._io = io
        self._wall = wall
        self._anchor_wall_s = wall()  # the wall's time at 0 s, moved later by what is given up

    def select(self, timeout: float | None = None) -> _Events:
        if timeout is None:
            events = self._io.select(None)
            self._advance(math.inf)
            return events
        if timeout <= 0.0:
            return self._io.select(0)
        deadline_s = self._loop.next_deadline_s(timeout)
        ahead_s = self._anchor_wall_s + deadline_s / self.speed - self._wall()
        if ahead_s > 0.0:
            events = self._io.select(ahead_s)
            if events:
                self._advance(deadline_s)
                return events
        else:
            if ahead_s < -MAX_CATCH_UP_S:
                self.lost_s -= ahead_s + MAX_CATCH_UP_S
                self._anchor_wall_s -= ahead_s + MAX_CATCH_UP_S
            events = self._io.select(0)  # a loop that is behind still hears its sockets
        self.now_s = deadline_s
        return events

    def _advance(self, limit_s: float) -> None:
        """Move to where the wall says, never beyond the next deadline and never back."""
        wall_s = (self._wall() - self._anchor_wall_s) * self.speed
        self.now_s = max(self.now_s, min(limit_s, wall_s))

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._io.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._io.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._io.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._io.get_map()

    def close(self) -> None:
        self._io.close()


Loop = RealLoop | VirtualLoop | ScaledLoop


def real_loop() -> RealLoop:
    """Wall time. The caller closes it (`asyncio.Runner(loop_factory=real_loop)` does)."""
    return RealLoop()


def virtual_loop() -> VirtualLoop:
    """As fast as the machine can."""
    return VirtualLoop()


def scaled_loop(speed: float) -> ScaledLoop:
    """`speed` times real time, with real I/O. Raises ValueError for a speed that is not above 0 and at most 1000."""
    if not 0.0 < speed <= MAX_SPEED:
        raise ValueError(f"speed = {speed}: must be above 0 and at most {MAX_SPEED:g}")
    return ScaledLoop(speed)
