"""A command socket with a bench behind it that answers as told, on a real loop and a real Unix socket."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.bedside.server import CommandSocket
from controller.clock import real_loop


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="mb") as name:
        yield Path(name)


class Bench:
    """Answers every verb at once, or never where `mute`; remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.mute = False
        self.fails = False
        self.socket = CommandSocket(path, self.submit)
        self._loop = real_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.run(self.socket.open())

    def submit(self, verb: str, args: dict[str, Any]) -> asyncio.Future[Any]:
        self.told.append((verb, args))
        answer = asyncio.get_running_loop().create_future()
        if self.fails:
            answer.set_exception(ZeroDivisionError("a bug"))
        elif not self.mute:
            answer.set_result({"ok": verb != "start", "phase": "idle", "text": f"{verb} heard"})
        return answer

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(5)

    def do(self, call: Callable[[], object]) -> None:
        async def there() -> None:
            call()

        self.run(there())

    def close(self) -> None:
        self.run(self.socket.close())
        left = self.run(_tasks_left())
        assert not left, left
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _tasks_left() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    bench = Bench(folder / "b1.sock")
    yield bench
    bench.close()
