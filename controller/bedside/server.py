"""The command socket: newline-delimited JSON over a Unix stream socket that only this user and root can open.

A request is `{"id": n, "verb": "...", ...}`; each gets one line `{"id", "ok", "verb", "phase", "text", "value",
"limit", "unit"}`. Garbage gets one line that says so and changes nothing. `{"verb": "watch"}` turns a connection into
a stream of what the bench shows (`show.py`); whoever reads it too slowly misses the oldest.

Imports core's words only; the app hands in `submit`. Seconds are the loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ..core.model import Happened, Snapshot, Verb
from .lock import clear_dead_socket
from .peer import allowed, peer
from .show import selftest_json, session_json, snapshot_json

LINE_MAX: Final = 16 * 1024  # bytes of one request
REPLY_WITHIN_S: Final = 0.3  # of the wall
CONNECTIONS_MAX: Final = 32  # the oldest gives way to a new one: somebody may want to say `stop`
WATCH_LINES: Final = 16  # kept for a slow watcher
WATCH_BUFFER: Final = 32 * 1024  # bytes the kernel may keep for a slow watcher: about 3 s
SHOW_EVERY_S: Final = 0.1
ROUNDS_TO_MEET: Final = 8  # of the loop: asyncio takes four from accepting a connection to starting `_meet`

Submit = Callable[[str, dict[str, Any]], "asyncio.Future[Mapping[str, Any]]"]

_VERBS: Final = frozenset({verb.value for verb in Verb} | {"watch"})
_DECODE: Final = msgspec.json.Decoder(dict[str, Any]).decode
_ENCODE: Final = msgspec.json.Encoder().encode


class CommandSocket:
    """Listens at `path` from `open` to `close`. The caller holds the bench's lock."""

    def __init__(self, path: Path, submit: Submit, speed: float = 1.0) -> None:
        """`speed` is the loop's: the 300 ms of a reply are the wall's."""
        self.path = path
        self._submit = submit
        self._reply_within_s = REPLY_WITHIN_S * speed
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}  # oldest first
        self._watchers: dict[asyncio.StreamWriter, _Watcher] = {}
        self._next_show_s = 0.0

    async def open(self) -> None:
        """Begin to listen. A socket that a dead controller left is replaced.

        Raises BenchTaken where something else is in the way, OSError where the folder does not allow a socket.
        """
        clear_dead_socket(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            self.path.chmod(0o600)  # in a 0700 folder, so nobody else got in between
            self._inode = self.path.stat().st_ino
            self._server = await asyncio.start_unix_server(self._meet, sock=listener, limit=LINE_MAX)
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        """Stop listening, give watchers their last lines, hang up. Safe to call twice."""
        if self._server is None:
            return
        server, self._server = self._server, None
        # asyncio loses a connection that was accepted and not yet met when its server closes: let nobody in, meet the
        # last ones, then close.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(ROUNDS_TO_MEET):
            await asyncio.sleep(0)
        server.close()
        for watcher in self._watchers.values():
            watcher.pump(to_the_end=True)
        writers, tasks = list(self._connections), list(self._connections.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if writers:
            gone = [asyncio.ensure_future(_hung_up(writer)) for writer in writers]
            await asyncio.wait(gone, timeout=self._reply_within_s)
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*gone)
        for _ in range(ROUNDS_TO_MEET):  # a transport closes in the loop's next round
            await asyncio.sleep(0)
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def offer(self, seen: Snapshot) -> None:
        """Show this, at most ten times a second of the loop's; costs nothing while nobody watches. Never waits."""
        if not self._watchers or seen.at_s < self._next_show_s:
            return
        self._next_show_s = seen.at_s + SHOW_EVERY_S - 1e-6
        line = snapshot_json(seen)
        for watcher in self._watchers.values():
            watcher.take(line)

    def session(self, summary: Mapping[str, object]) -> None:
        """The summary of a session that ended: never dropped while the watcher is connected. Never waits."""
        line = session_json(summary)
        for watcher in self._watchers.values():
            watcher.take(line, keep=True)

    def selftest(self, told: Sequence[Happened]) -> None:
        """What a self-test found in one tick: never dropped while the watcher is connected. Never waits."""
        line = selftest_json(told)
        for watcher in self._watchers.values():
            watcher.take(line, keep=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        while len(self._connections) >= CONNECTIONS_MAX:
            oldest = next(iter(self._connections))
            self._connections.pop(oldest).cancel()
        self._connections[writer] = task
        try:
            if allowed(peer(writer.get_extra_info("socket"))):
                await self._talk(reader, writer)
            else:
                writer.write(_line(_refusal("only the user who runs the bench, or root, may command it")))
        except (ConnectionError, TimeoutError):
            pass  # they hung up: their business
        except asyncio.CancelledError:
            pass  # closing, or too many connections; asyncio would log a cancelled client as an error
        finally:
            self._connections.pop(writer, None)
            self._watchers.pop(writer, None)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    writer.write(_line(_refusal("the request did not end with a newline")))
                return
            except asyncio.LimitOverrunError:
                writer.write(_line(_refusal(f"the request is longer than {LINE_MAX} bytes")))
                return
            request = _parse(line)
            if isinstance(request, str):
                writer.write(_line(_refusal(request)))
            elif request["verb"] == "watch":
                await self._stream(reader, writer)
                return
            else:
                writer.write(_line(await self._answer(request)))
            await writer.drain()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        number, verb = request.pop("id", None), request.pop("verb")
        base = {"id": number, "ok": False, "verb": verb, "phase": None, "text": ""}
        base |= {"value": None, "limit": None, "unit": None}
        answer = self._submit(verb, request)
        answer.add_done_callback(_looked_at)
        done, _ = await asyncio.wait((answer,), timeout=self._reply_within_s)
        if not done:  # what was said stands: a late `stop` still stops
            text = f"no answer from the control loop within {REPLY_WITHIN_S * 1000:.0f} ms"
            return base | {"text": text, "no_answer": True}
        if answer.cancelled():
            return base | {"text": "the bench is closing down", "no_answer": True}
        error = answer.exception()
        if error is not None:
            return base | {"text": f"the control loop failed: {error}", "no_answer": True}
        return {**base, **answer.result(), "id": number, "verb": verb}

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WATCH_BUFFER)
        self._watchers[writer] = _Watcher(writer)
        while await reader.read(4096):  # a watcher has nothing to say
            pass


class _Watcher:
    """What one watcher still has to get. Held in a bounded queue, so that nobody waits for a slow reader."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._transport = writer.transport
        self._lines: deque[tuple[bool, bytes]] = deque()

    def take(self, line: bytes, keep: bool = False) -> None:
        lines = self._lines
        if len(lines) >= WATCH_LINES:
            for at, (kept, _) in enumerate(lines):
                if not kept:
                    del lines[at]
                    break
            else:
                lines.popleft()
        lines.append((keep, line))
        self.pump()

    def pump(self, to_the_end: bool = False) -> None:
        """Write while the kernel takes it; what is left goes with the next line."""
        while self._lines and (to_the_end or self._transport.get_write_buffer_size() == 0):
            self._transport.write(self._lines.popleft()[1])


async def _hung_up(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError):
        await writer.wait_closed()


def _parse(line: bytes) -> dict[str, Any] | str:
    """The request, or the sentence that refuses it."""
    try:
        request = _DECODE(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"the request is not a JSON object: {error}"
    verb = request.get("verb")
    if not isinstance(verb, str) or verb not in _VERBS:
        return f"verb = {str(verb)[:40]}: must be one of {', '.join(sorted(_VERBS))}"
    number = request.get("id")
    if number is not None and not isinstance(number, int | str):
        return "id: must be a number or a text"
    return request


def _refusal(text: str) -> dict[str, Any]:
    nothing = {"phase": None, "value": None, "limit": None, "unit": None}
    return {"id": None, "ok": False, "verb": None, "text": text, **nothing}


def _line(reply: Mapping[str, Any]) -> bytes:
    return _ENCODE(reply) + b"\n"


def _looked_at(answer: asyncio.Future[Mapping[str, Any]]) -> None:
    if not answer.cancelled():
        answer.exception()
