"""The three loops: what virtual time refuses, that no deadline is missed, and how scaled time keeps pace."""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.clock import MAX_CATCH_UP_S, RealLoop, ScaledLoop, VirtualLoop, real_loop, scaled_loop, virtual_loop


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    loop = virtual_loop()
    yield loop
    loop.close()


# --- virtual ------------------------------------------------------------------------------------------------------


def test_waiting_for_what_can_never_come_raises(virtual: VirtualLoop) -> None:
    async def wait() -> None:
        await asyncio.sleep(2.5)
        await asyncio.get_running_loop().create_future()

    task = virtual.create_task(wait())
    with pytest.raises(RuntimeError, match=r"stands still at 2\.500 s"):
        virtual.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        virtual.run_until_complete(task)


@pytest.mark.parametrize(
    "wait",
    [
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: loop.add_reader(0, print),
        lambda loop: loop.add_writer(0, print),
        lambda loop: loop.add_signal_handler(2, print),
        lambda loop: loop.create_connection(asyncio.Protocol, "127.0.0.1", 1),
        lambda loop: loop.create_server(asyncio.Protocol, "127.0.0.1", 0),
        lambda loop: loop.create_unix_server(asyncio.Protocol, "x"),
        lambda loop: loop.create_unix_connection(asyncio.Protocol, "x"),
        lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: loop.sock_recv(socket.socket, 1),
        lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
        lambda loop: loop.connect_read_pipe(asyncio.Protocol, None),
    ],
)
def test_nothing_outside_can_be_waited_for(virtual: VirtualLoop, wait: Callable[[Any], object]) -> None:
    with pytest.raises(RuntimeError, match="in virtual time"):
        wait(virtual)


def test_every_call_of_asyncio_that_waits_outside_is_refused() -> None:
    """A Python that adds another way out of the loop must be met here, not by a hanging session."""
    waits = {
        name
        for name in dir(asyncio.AbstractEventLoop)
        if name.startswith(("add_", "sock_", "create_", "connect_", "subprocess_", "getaddr", "getname", "send"))
    } - {"create_task", "create_future"}
    assert {name for name in waits if getattr(VirtualLoop, name).__name__ != name} == set()
    for name in waits | {"run_in_executor", "start_tls"}:
        with pytest.raises(RuntimeError, match=f"^{name} in virtual time"):
            getattr(VirtualLoop, name)(None)


def test_another_thread_may_not_speak(virtual: VirtualLoop) -> None:
    heard: list[BaseException] = []

    def speak() -> None:
        try:
            virtual.call_soon_threadsafe(print)
        except RuntimeError as error:
            heard.append(error)

    async def listen() -> None:
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()

    virtual.run_until_complete(listen())
    assert "another thread" in str(heard[0])


def test_deadlines_come_in_order_and_exactly(virtual: VirtualLoop) -> None:
    seen: list[tuple[float, float]] = []
    due = [0.01 * k for k in range(3000)]
    for when in due[::-1]:
        virtual.call_at(when, lambda when=when: seen.append((when, virtual.time())))
    virtual.call_at(31.0, virtual.stop)
    virtual.run_forever()
    assert [when for when, _ in seen] == due
    assert all(when == now for when, now in seen)


def test_a_cancelled_timer_neither_runs_nor_moves_time(virtual: VirtualLoop) -> None:
    ran: list[str] = []
    handles = [virtual.call_at(5.0 + k, ran.append, "no") for k in range(300)]
    virtual.call_at(1.0, ran.append, "yes")
    virtual.call_at(2.0, virtual.stop)
    for handle in handles:
        handle.cancel()
    virtual.run_forever()
    assert ran == ["yes"]
    assert virtual.time() == 2.0
    with pytest.raises(RuntimeError, match=r"stands still at 2\.000 s"):
        virtual.run_forever()


def test_coroutines_and_time_limits_work_in_virtual_time() -> None:
    async def session() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(100.0), 20.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600.0))
            group.create_task(asyncio.sleep(100000.0))  # more than a day: asyncio caps one wait at that
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        assert runner.run(session()) == 100020.0


def test_a_deadline_in_the_past_runs_now(virtual: VirtualLoop) -> None:
    seen: list[float] = []
    virtual.call_at(10.0, lambda: virtual.call_at(3.0, lambda: (seen.append(virtual.time()), virtual.stop())))
    virtual.run_forever()
    assert seen == [10.0]


def test_virtual_time_opens_no_file_descriptor() -> None:
    open_files = Path("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd")
    before = len(list(open_files.iterdir()))
    loop = virtual_loop()
    after = len(list(open_files.iterdir()))
    loop.close()
    assert after == before
    assert loop.speed == math.inf


def test_a_virtual_timer_costs_no_more_than_a_plain_heap_in_proportion(
    virtual: VirtualLoop, record_property: Callable[[str, object], None]
) -> None:
    """The floor is a heap and a call, in the same run; seconds of this thread, best of seven of each by turns."""

    def by_heap(count: int) -> float:
        heap: list[tuple[float, Callable[[], None]]] = [(0.0, lambda: None)]
        begin = time.thread_time()
        for k in range(count):
            _, call = heapq.heappop(heap)
            call()
            heapq.heappush(heap, ((k + 1) * 0.01, call))
        return (time.thread_time() - begin) / count

    def by_loop(count: int) -> float:
        start_s, k = virtual.time(), 0

        def tick() -> None:
            nonlocal k
            k += 1
            if k < count:
                virtual.call_at(start_s + k * 0.01, tick)
            else:
                virtual.stop()

        virtual.call_at(start_s, tick)
        begin = time.thread_time()
        virtual.run_forever()
        return (time.thread_time() - begin) / count

    floor_s, cost_s = (min(costs) for costs in zip(*[(by_heap(10000), by_loop(10000)) for _ in range(7)], strict=True))
    record_property("us_per_timer", round(cost_s * 1e6, 2))
    print(f"{cost_s * 1e6:.2f} us per timer, floor {floor_s * 1e6:.2f} us")
    assert cost_s < 30 * floor_s


# --- scaled -------------------------------------------------------------------------------------------------------


class Wall(selectors.SelectSelector):
    """A wall clock that moves only when somebody waits by it or works (`spend`)."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.waits_s: list[float] = []
        self.news_after_s: float | None = None  # a wait longer than this is ended by I/O
        self.polls = 0

    def spend(self, seconds: float) -> None:
        self.now_s += seconds

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None
        self.polls += 1
        if self.news_after_s is not None and timeout > self.news_after_s:
            self.spend(self.news_after_s)
            self.news_after_s = None
            key = next(iter(self.get_map().values()))  # the loop's own wake-up pipe: harmless when nothing is in it
            return [(key, selectors.EVENT_READ)]
        self.spend(timeout)
        if timeout > 0:
            self.waits_s.append(timeout)
        return super().select(0)


def paced(speed: float) -> tuple[ScaledLoop, Wall]:
    wall = Wall()
    return ScaledLoop(speed, lambda: wall.now_s, wall), wall


def run_ticks(loop: ScaledLoop, count: int, work: Callable[[int], None]) -> list[float]:
    """100 Hz ticks by absolute deadlines; the loop's time at each."""
    seen: list[float] = []

    def tick(k: int) -> None:
        seen.append(loop.time())
        work(k)
        if k + 1 < count:
            loop.call_at((k + 1) * 0.01, tick, k + 1)
        else:
            loop.stop()

    loop.call_at(0.0, tick, 0)
    loop.run_forever()
    loop.close()
    return seen


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf, 1001.0])
def test_a_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed = "):
        scaled_loop(speed)


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_scaled_time_is_the_walls_times_the_speed(speed: float) -> None:
    loop, wall = paced(speed)
    seen = run_ticks(loop, 1001, lambda _k: wall.spend(0.0002))
    assert seen == [k * 0.01 for k in range(1001)]
    assert wall.now_s - 1000.0 == pytest.approx(10.0 / speed + 0.0002, abs=0.0001)  # work is inside the waits


def test_a_small_delay_is_caught_up_by_shorter_waits() -> None:
    loop, wall = paced(10.0)
    seen = run_ticks(loop, 1001, lambda k: wall.spend(0.08 if k == 100 else 0.0))
    assert seen == [k * 0.01 for k in range(1001)]  # lateness is judged in this time: nobody was late
    assert wall.now_s - 1000.0 == pytest.approx(1.0, abs=1e-6)
    assert loop.lost_s == 0.0


def test_what_is_lost_beyond_100_ms_is_never_caught_up() -> None:
    loop, wall = paced(10.0)
    run_ticks(loop, 1001, lambda k: wall.spend(3.0 if k == 100 else 0.0))
    assert loop.lost_s == pytest.approx(3.0 - MAX_CATCH_UP_S, abs=0.002)
    assert wall.now_s - 1000.0 == pytest.approx(1.0 + 3.0 - MAX_CATCH_UP_S, abs=0.002)


def test_a_machine_too_slow_for_the_speed_misses_no_deadline_and_still_hears_its_sockets() -> None:
    loop, wall = paced(100.0)
    seen = run_ticks(loop, 500, lambda _k: wall.spend(0.005))  # fifty times too slow
    assert seen == [k * 0.01 for k in range(500)]
    assert wall.polls >= 500
    assert loop.lost_s == pytest.approx(500 * 0.0049 - MAX_CATCH_UP_S, rel=0.05)


def test_news_moves_time_by_what_passed_and_never_beyond_the_next_deadline() -> None:
    loop, wall = paced(10.0)
    seen: list[float] = []
    wall.news_after_s = 0.03
    loop._pace.select = _spied(loop._pace.select, lambda: seen.append(loop.time()))  # type: ignore[method-assign]
    loop.call_at(1.0, loop.stop)
    loop.run_forever()
    loop.close()
    assert seen[0] == pytest.approx(0.3)
    assert seen == sorted(seen)
    assert max(seen) == 1.0
    assert wall.now_s - 1000.0 == pytest.approx(0.1)


def _spied(real: Callable[..., Any], after: Callable[[], None]) -> Callable[..., Any]:
    def select(timeout: float | None = None) -> Any:
        events = real(timeout)
        after()
        return events

    return select


def test_without_a_deadline_time_goes_on_with_the_wall() -> None:
    """Nothing but sockets to wait for: the next timer is still set from a time that has moved."""

    async def echo_after_a_while() -> float:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            timer = threading.Timer(0.05, theirs.send, (b"x",))
            timer.start()
            assert await loop.sock_recv(ours, 1) == b"x"
            timer.join()
        return loop.time()

    with asyncio.Runner(loop_factory=lambda: scaled_loop(20.0)) as runner:
        assert runner.run(echo_after_a_while()) >= 0.05 * 20 * 0.9


# --- real ---------------------------------------------------------------------------------------------------------


def test_real_time_is_the_clock_that_goes_on_while_the_machine_sleeps() -> None:
    loop = real_loop()
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    before = time.clock_gettime(clock)
    now = loop.time()
    after = time.clock_gettime(clock)
    loop.close()
    assert before <= now <= after
    assert loop.speed == 1.0


@pytest.mark.process
def test_real_deadlines_are_not_rounded_to_milliseconds_and_never_early() -> None:
    loop: RealLoop = real_loop()
    late_s: list[float] = []

    def tick(k: int, due_s: float) -> None:
        late_s.append(loop.time() - due_s)
        if k < 30:
            loop.call_at(due_s + 0.0101, tick, k + 1, due_s + 0.0101)
        else:
            loop.stop()

    first_s = loop.time() + 0.0101
    loop.call_at(first_s, tick, 0, first_s)
    loop.run_forever()
    loop.close()
    assert min(late_s) > -1e-8
    assert min(late_s) < 0.0008, f"median {statistics.median(late_s) * 1e3:.2f} ms"  # epoll: 0.9 ms at the least
