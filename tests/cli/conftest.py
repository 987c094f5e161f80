"""A bench that answers on a real socket, in a private folder where the commands look."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only runtime folder there is: no test may speak to a bench that runs on this machine."""
    with tempfile.TemporaryDirectory(prefix="mc") as name:
        folder = Path(name)
        monkeypatch.setenv("RUNTIME_DIRECTORY", name)
        monkeypatch.setattr("controller.bedside.client.runtime_folders", lambda: [folder])
        monkeypatch.setattr("controller.cli.safe.runtime_folders", lambda: [folder])
        yield folder


class FakeBench:
    """Answers each request with `answers[verb]` (None: never), and a watcher with `shown`."""

    def __init__(self, path: Path) -> None:
        self.told: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any] | None] = {}
        self.shown: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                self.told.append(request)
                if request["verb"] == "watch":
                    for seen in self.shown:
                        connection.sendall(json.dumps(seen).encode() + b"\n")
                    self._over.wait(5)
                    return
                answer = self.answers.get(request["verb"], {"ok": True, "phase": "idle", "text": "heard"})
                if answer is not None:
                    connection.sendall(json.dumps({"id": request["id"], "verb": request["verb"], **answer}).encode())
                    connection.sendall(b"\n")

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def bench(runtime: Path) -> Iterator[FakeBench]:
    bench = FakeBench(runtime / "b1.sock")
    yield bench
    bench.close()


PROTOCOL = """
name = "{name}"
title = "One set"
mode = "intermittent"
percent_lop = 60
percent_lop_min = 40
percent_lop_max = 80
[[exercises]]
name = "any"
repetitions = [{repetitions}]
tempo = {{ concentric_s = 1, pause_s = 0, eccentric_s = 1 }}
[sources]
percent_lop = "this test"
sets = "this test"
tempo = "this test"
"""


@pytest.fixture
def short_protocol(tmp_path: Path) -> Path:
    """Two repetitions of 2 s."""
    path = tmp_path / "short.toml"
    path.write_text(PROTOCOL.format(name="short", repetitions=2))
    return path


@pytest.fixture
def long_protocol(tmp_path: Path) -> Path:
    """Sixty repetitions of 2 s."""
    path = tmp_path / "long.toml"
    path.write_text(PROTOCOL.format(name="long", repetitions=60))
    return path
