"""The demo as people run it: to its end, interrupted, without a broker, with a bench that dies."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.cli import demo

pytestmark = pytest.mark.process


def start_demo(runtime: Path, *options: str) -> subprocess.Popen[str]:
    environ = os.environ | {"RUNTIME_DIRECTORY": str(runtime), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "controller", "demo", *options]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_lives_through_a_session_and_is_silent_at_its_end(runtime: Path, short_protocol: Path) -> None:
    with start_demo(runtime, "--protocol", str(short_protocol), "--speed", "40") as ran:
        out, err = ran.communicate(timeout=60)
    assert err == ""
    assert ran.returncode == 0
    assert re.search(r"MQTT broker: mqtt://127\.0\.0\.1:\d+ ", out)
    assert "working  set 1 of 1, repetition 1 of 2" in out
    assert "short: completed in " in out
    assert re.search(r"\| set 1 *\| *0:\d\d \|.*\| +2 \|", out)
    assert list(runtime.glob("demo-*")) == []


def test_ctrl_c_vents_and_ends_cleanly(runtime: Path, long_protocol: Path) -> None:
    # Slowly: at 20 times real time the session may be over before this test is given a core to stop it.
    with start_demo(runtime, "--protocol", str(long_protocol), "--speed", "5") as ran:
        assert ran.stdout is not None
        for line in ran.stdout:
            if " working " in line:
                break
        ran.send_signal(signal.SIGINT)
        out, err = ran.communicate(timeout=30)
    assert err == ""
    assert ran.returncode == 1
    assert "stopping: the cuff is vented" in out
    assert "long: stopped in " in out
    assert list(runtime.glob("demo-*")) == []


def test_ctrl_c_after_the_end_of_the_session_still_shows_its_table(
    short_protocol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the bench closes down, and while its last picture is shown: there is nothing to stop any more."""
    session = {"type": "session", "outcome": "completed", "protocol": "short", "duration_s": 61.0}

    def waiting(_arguments: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, **streams)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    def shown_and_interrupted(_path: Path, _silence_s: float) -> Iterator[dict[str, Any]]:
        yield session
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "embedded_broker", _no_broker)
    monkeypatch.setattr(demo, "_python", waiting)
    monkeypatch.setattr(demo, "_wait_for", lambda *_: None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        for watch, end_of in (
            (lambda _path, _silence_s: iter([session | {"phase": "idle"}]), interrupted),
            (shown_and_interrupted, lambda _bench, summary: 0 if summary else 1),
        ):
            monkeypatch.setattr("controller.bedside.client.watch", watch)
            monkeypatch.setattr(demo, "_end_of", end_of)
            assert demo.demo(str(short_protocol)) == 0
            out, err = capsys.readouterr()
            assert "short: completed in 1:01" in out
            assert err == ""
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_bench_that_dies_is_said_so(
    short_protocol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dying(_arguments: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit('manchet: the bus is gone')"], **streams)

    monkeypatch.setattr(demo, "embedded_broker", _no_broker)
    monkeypatch.setattr(demo, "_python", dying)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert demo.demo(str(short_protocol)) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "manchet: the session did not end: the bus is gone\n"


@contextmanager
def _no_broker() -> Iterator[str]:
    yield ""


def test_without_amqtt_it_goes_on_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with demo.embedded_broker() as url:
        assert url == ""
    assert 'pip install "manchet[demo]"' in capsys.readouterr().out


def test_the_broker_listens_on_this_machine_only_and_ends_with_us() -> None:
    with demo.embedded_broker() as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(bytes.fromhex("101000044d5154540402003c000474657374"))  # CONNECT, client id "test"
            assert connection.recv(4) == bytes.fromhex("20020000")  # CONNACK, accepted
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_broker_that_does_not_start_is_done_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_arguments: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"], **streams)

    monkeypatch.setattr(demo, "_python", failing)
    with demo.embedded_broker() as url:
        assert url == ""
    assert "amqtt did not start" in capsys.readouterr().out
