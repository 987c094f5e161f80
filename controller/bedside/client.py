"""The other end of the command socket: blocking, for one question at a time. Imports the standard library only."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .paths import control_sockets, hidden_folders, runtime_folders

ANSWER_S: Final = 1.0  # the service answers or gives up within 300 ms
LINE_MAX: Final = 1 << 20
DEMO: Final = "demo-"  # what the name of a demo's bench begins with
REPLY_KEYS: Final = ("ok", "verb", "phase", "text", "value", "limit", "unit")


class NoService(Exception):
    """Nobody listens. The message is a sentence."""


class NoAnswer(Exception):
    """Somebody listens and does not answer. The message is a sentence."""


class Unclear(Exception):
    """More than one bench is there and none was named. The message is a sentence."""


def living_sockets() -> list[Path]:
    """Every bench that listens on this machine, demos too."""
    return [candidate for candidate in control_sockets(runtime_folders()) if _listens(candidate)]


def find_socket(bench: str = "", path: str = "", folders: list[Path] | None = None) -> Path:
    """The socket of the bench meant: `path` if given, else of the bench named, else the only living one. A demo beside
    a bench is not meant.

    Raises NoService, Unclear.
    """
    if path:
        return Path(path)
    folders = runtime_folders() if folders is None else folders
    places = ", ".join(str(folder) for folder in folders) or "no runtime folder exists"
    if hidden := ", ".join(map(str, hidden_folders(folders))):
        places += f"; {hidden} may not be looked into: there may be a bench in it, ask with sudo"
    found = list(control_sockets(folders))
    if bench:
        named = [candidate for candidate in found if candidate.stem == bench]
        for candidate in [candidate for candidate in named if _listens(candidate)] or named:
            return candidate
        raise NoService(f"--bench {bench}: no such bench is running here (looked in: {places})")
    alive = [candidate for candidate in found if _listens(candidate)]
    if not alive:
        raise NoService(f"no bench is running here (looked in: {places})")
    alive = [candidate for candidate in alive if not candidate.stem.startswith(DEMO)] or alive
    if len(alive) > 1:
        names = ", ".join(candidate.stem for candidate in alive)
        raise Unclear(f"{len(alive)} benches are running here ({names}): say which one with --bench or --socket")
    return alive[0]


def ask(path: Path, verb: str, args: Mapping[str, object] | None = None, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Say one thing to the bench and return its reply, with at least `REPLY_KEYS`.

    Raises NoService when nobody listens there, NoAnswer when no whole answer came in time.
    """
    question = json.dumps({**(args or {}), "id": 1, "verb": verb}, allow_nan=False).encode() + b"\n"
    until_s = time.monotonic() + timeout_s
    with connect(path, timeout_s) as connection:
        try:
            connection.sendall(question)
            reply = json.loads(_line(connection, until_s))
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{path}: the bench did not answer `{verb}` within {timeout_s:g} s") from error
    if not isinstance(reply, dict) or not isinstance(reply.get("ok"), bool):
        raise NoAnswer(f"{path}: what answered `{verb}` is not a bench")
    if reply.get("no_answer"):
        raise NoAnswer(f"{path}: {reply.get('text', '')}")
    return {**dict.fromkeys(REPLY_KEYS), **reply}


def watch(path: Path, silence_s: float | None = None) -> Iterator[dict[str, Any]]:
    """Everything the bench shows, line by line, until it closes.

    Raises NoService when nobody listens, NoAnswer when it hangs up at once or says nothing for `silence_s`.
    """
    with connect(path, ANSWER_S) as connection:
        try:
            connection.sendall(b'{"id":1,"verb":"watch"}\n')
        except OSError as error:
            raise NoAnswer(f"{path}: the bench has hung up") from error
        connection.settimeout(silence_s)
        buffer = b""
        while True:
            try:
                more = connection.recv(65536)
            except TimeoutError as error:
                raise NoAnswer(f"{path}: the bench has said nothing for {silence_s:g} s") from error
            except ConnectionError:
                return
            if not more:
                return
            *lines, buffer = (buffer + more).split(b"\n")
            for line in lines:
                seen = json.loads(line)
                if isinstance(seen, dict):
                    yield seen


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to the socket there. Raises NoService when nobody listens, NoAnswer when nobody takes it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except TimeoutError as error:
        connection.close()
        raise NoAnswer(f"{path}: the bench takes no connection") from error
    except OSError as error:
        connection.close()
        why = error.strerror or str(error)
        raise NoService(f"{path}: no bench listens there ({why})") from error
    return connection


def _line(connection: socket.socket, until_s: float) -> bytes:
    buffer = b""
    while b"\n" not in buffer:
        connection.settimeout(max(0.001, until_s - time.monotonic()))
        more = connection.recv(65536)
        if not more or len(buffer) > LINE_MAX:
            raise ConnectionError("closed before a whole line")
        buffer += more
        if time.monotonic() > until_s:
            raise TimeoutError
    return buffer.split(b"\n", 1)[0]


def _listens(path: Path) -> bool:
    try:
        connect(path, 0.3).close()
    except NoService:
        return False
    except NoAnswer:
        return True
    return True
