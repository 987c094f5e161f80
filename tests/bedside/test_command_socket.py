"""The command socket from the wrong side first: garbage, slow readers, crowds, a loop that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from controller.bedside import client, server
from controller.bedside.client import NoAnswer, NoService, ask, find_socket, watch
from controller.bedside.lock import BenchTaken
from controller.bedside.peer import Peer, allowed, peer
from controller.bedside.server import CONNECTIONS_MAX, LINE_MAX, CommandSocket
from controller.core.model import Alarm, CuffSnapshot, EventKind, Happened, Phase, Priority, Snapshot

NAN = float("nan")


def dial(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def read_line(connection: socket.socket) -> Any:
    with connection.makefile("rb", buffering=0) as file:
        line = file.readline()
    return json.loads(line) if line else None


def read_what_is_there(connection: socket.socket) -> bytes:
    connection.settimeout(0.1)
    got = b""
    try:
        while more := connection.recv(65536):
            got += more
    except TimeoutError:
        pass
    return got


def seen_at(at_s: float, pressure_mmhg: float = 120.0) -> Snapshot:
    cuff = CuffSnapshot(pressure_mmhg, NAN, 120.0, 12.0, 187.0, 3.0, 480.0, 0.4, False, False, "leg", "left")
    alarm = Alarm("leak", Priority.HIGH, True, False, 0.0, 1.0, "leaks", 7.0, 7.0, "s", 0)
    return Snapshot(
        at_s, Phase.WORKING, "p", "C1", 1, 4, 3, 30, "up", 55.0, NAN, 900.0, "", (cuff,), (alarm,), ""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("garbage", "says"),
    [
        (b"\n", "not a JSON object"),
        (b"stop\n", "not a JSON object"),
        (b"\xff\xfe\x00\n", "not a JSON object"),
        (b"[1]\n", "not a JSON object"),
        (b'{"verb": "stop", "x": NaN}\n', "not a JSON object"),
        (b"[" * 5000 + b"\n", "not a JSON object"),
        (b"{}\n", "verb = None: must be one of"),
        (b'{"verb": 7}\n', "verb = 7: must be one of"),
        (b'{"verb": ["stop"]}\n', "must be one of"),
        (b'{"verb": "inflate"}\n', "verb = inflate: must be one of acknowledge, lower"),
        (b'{"verb": "stop", "id": [1]}\n', "id: must be"),
    ],
)
def test_garbage_gets_one_line_and_changes_nothing(bench: Any, garbage: bytes, says: str) -> None:
    with dial(bench.path) as connection:
        connection.sendall(garbage)
        reply = read_line(connection)
        assert reply["ok"] is False
        assert says in reply["text"]
        assert bench.told == []
        connection.sendall(b'{"id": 5, "verb": "stop"}\n')  # and the next word is still heard
        assert read_line(connection) == {
            "id": 5, "ok": True, "verb": "stop", "phase": "idle", "text": "stop heard", "value": None, "limit": None,
            "unit": None,
        }  # fmt: skip
        assert bench.told == [("stop", {})]


@pytest.mark.parametrize("line", [b"x" * (LINE_MAX + 1) + b"\n", b"x" * (4 * LINE_MAX)])
def test_a_line_without_end_is_refused_and_hung_up(bench: Any, line: bytes) -> None:
    with dial(bench.path) as connection:
        try:
            connection.sendall(line)
        except ConnectionError:
            return  # hung up already
        try:
            assert "longer than" in read_line(connection)["text"]
            assert connection.recv(1) == b""
        except ConnectionError:
            pass
    assert bench.told == []
    assert ask(bench.path, "status")["ok"]


def test_a_request_without_a_newline_is_not_obeyed(bench: Any) -> None:
    with dial(bench.path) as connection:
        connection.sendall(b'{"verb": "start"}')
        connection.shutdown(socket.SHUT_WR)
        assert "newline" in read_line(connection)["text"]
    assert bench.told == []


def test_a_loop_that_does_not_answer_is_said_so_in_time_and_what_was_said_stands(bench: Any) -> None:
    bench.mute = True
    begin = time.monotonic()
    with pytest.raises(NoAnswer, match="within 300 ms"):
        ask(bench.path, "stop")
    assert time.monotonic() - begin < 0.9
    assert bench.told == [("stop", {})]


def test_a_loop_that_fails_is_no_answer(bench: Any) -> None:
    bench.fails = True
    with pytest.raises(NoAnswer, match="a bug"):
        ask(bench.path, "status")


def test_a_crowd_of_silent_connections_does_not_keep_stop_out(bench: Any) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(dial(bench.path)) for _ in range(CONNECTIONS_MAX + 8)]
        assert ask(bench.path, "stop")["ok"]
        assert crowd[0].recv(1) == b""  # the oldest gave way


def test_a_client_that_does_not_read_its_replies_holds_nobody_up(bench: Any) -> None:
    with dial(bench.path) as deaf:
        deaf.settimeout(0.2)
        with pytest.raises(TimeoutError):
            deaf.sendall(b'{"verb": "status"}\n' * 1000000)
        assert ask(bench.path, "stop")["ok"]


def test_a_slow_watcher_misses_the_oldest_and_keeps_the_newest_and_the_session(bench: Any) -> None:
    with dial(bench.path) as slow:
        slow.sendall(b'{"verb": "watch"}\n')
        _wait_until(lambda: bench.socket.watched)

        def show() -> None:
            for k in range(2000):
                bench.socket.offer(seen_at(k * 0.1))
            bench.socket.session({"outcome": "completed"})
            for k in range(2000, 4000):
                bench.socket.offer(seen_at(k * 0.1))

        begin = time.monotonic()
        bench.do(show)
        assert time.monotonic() - begin < 2.0  # nobody waited for it
        got = read_what_is_there(slow)
        bench.do(lambda: bench.socket.offer(seen_at(500.0)))  # the next line takes along what still waits
        lines = [json.loads(line) for line in (got + read_what_is_there(slow)).splitlines()]
    assert {"type": "session", "outcome": "completed"} in lines
    shown = [line["at_s"] for line in lines if line["type"] == "snapshot"]
    assert shown == sorted(shown)
    assert shown[-2:] == pytest.approx([399.9, 500.0])  # the newest were kept
    assert len(shown) < 2000  # the others were not


def test_a_snapshot_has_its_fields_and_null_for_what_is_not_known(bench: Any) -> None:
    lines = watch(bench.path, silence_s=5.0)
    first: list[Any] = []
    reader = threading.Thread(target=lambda: first.extend([next(lines), next(lines)]))
    reader.start()
    _wait_until(lambda: bench.socket.watched)
    bench.do(lambda: [bench.socket.offer(seen_at(at_s)) for at_s in (1.0, 1.05, 1.1)])
    reader.join(5)
    lines.close()  # type: ignore[attr-defined]
    assert [line["at_s"] for line in first] == [1.0, 1.1]  # 1.05 is more than ten a second
    cuff = first[0]["cuffs"][0]
    assert (cuff["a_mmhg"], cuff["b_mmhg"], first[0]["rest_left_s"]) == (120.0, None, None)
    assert first[0]["phase"] == "working"
    assert first[0]["alarms"][0]["priority"] == "high"
    assert set(first[0]) == {"type", *Snapshot.__slots__}


def test_a_bench_that_hangs_up_before_it_is_asked_is_one_that_does_not_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a broken pipe, which `safe` would take for a terminal that was closed, and end."""
    ours, theirs = socket.socketpair()
    theirs.close()
    monkeypatch.setattr("controller.bedside.client.connect", lambda *_: ours)
    with pytest.raises(NoAnswer, match="hung up"):
        next(watch(folder / "x.sock"))


def test_nobody_watching_costs_nothing(folder: Path) -> None:
    quiet = CommandSocket(folder / "x.sock", lambda _verb, _args: pytest.fail("not asked"))
    snapshot = seen_at(1.0)
    begin = time.thread_time()
    for _ in range(10000):
        quiet.offer(snapshot)
    assert (time.thread_time() - begin) / 10000 < 20e-6
    assert not quiet.watched


def test_only_this_user_and_root_may_command(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not allowed(Peer(1234, os.geteuid() + 1))
    assert allowed(Peer(1234, 0))
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600
    with dial(bench.path) as connection:
        assert peer(connection).pid in (os.getpid(), 0)
    monkeypatch.setattr(server, "peer", lambda _connection: Peer(1234, os.geteuid() + 1))
    with dial(bench.path) as connection:
        assert "only the user who runs the bench" in read_line(connection)["text"]
        assert connection.recv(1) == b""
    assert bench.told == []


def test_something_else_in_the_way_is_left_alone(folder: Path) -> None:
    path = folder / "b1.sock"
    path.write_text("mine")
    with pytest.raises(BenchTaken, match="not a socket"):
        asyncio.run(CommandSocket(path, lambda _verb, _args: pytest.fail("not asked")).open())
    assert path.read_text() == "mine"


def test_a_dead_controllers_socket_is_replaced(folder: Path) -> None:
    path = folder / "b1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoService):
        ask(path, "status")

    async def serve() -> None:
        ours = CommandSocket(path, lambda _verb, _args: pytest.fail("not asked"))
        await ours.open()
        assert client._listens(path)
        await ours.close()
        await ours.close()

    asyncio.run(serve())
    assert not path.exists()


def test_the_socket_of_a_later_controller_is_not_removed(folder: Path) -> None:
    path = folder / "b1.sock"

    async def serve() -> None:
        ours = CommandSocket(path, lambda _verb, _args: pytest.fail("not asked"))
        await ours.open()
        path.unlink()
        path.write_text("the next one's")
        await ours.close()

    asyncio.run(serve())
    assert path.exists()


# --- the client ----------------------------------------------------------------------------------------------------


def _serve_once(path: Path, answer: bytes | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    if answer is not None:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=speak, daemon=True).start()
    return listener


@pytest.mark.parametrize("answer", [None, b"", b"hello\n", b"[]\n", b'{"ok": 1}\n', b'{"ok": true'])
def test_what_is_no_answer(folder: Path, answer: bytes | None) -> None:
    with _serve_once(folder / "x.sock", answer), pytest.raises(NoAnswer):
        ask(folder / "x.sock", "status", timeout_s=0.2)


def test_no_service(folder: Path) -> None:
    with pytest.raises(NoService, match="no bench is running here"):
        find_socket(folders=[folder])
    with pytest.raises(NoService, match="no runtime folder"):
        find_socket(folders=[])
    with pytest.raises(NoService, match="--bench b7"):
        find_socket("b7", folders=[folder])
    with pytest.raises(NoService):
        ask(folder / "none.sock", "status")


def test_a_folder_of_another_user_is_no_proof_that_there_is_no_bench(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.bedside.paths.os.access", lambda _folder, _mode: False)
    for bench in ("", "b1"):
        with pytest.raises(
            NoService, match=f"{folder} may not be looked into: there may be a bench in it, ask with sudo"
        ):
            find_socket(bench, folders=[folder])


def test_the_only_living_socket_is_found_and_two_must_be_named(bench: Any, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "dead.sock"))
    (folder / "b1.guard.sock").touch()
    assert find_socket(folders=[folder]) == bench.path
    assert find_socket("b1", folders=[folder]) == bench.path
    assert find_socket(path="/x/y.sock", folders=[folder]) == Path("/x/y.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "b2.sock"))
        other.listen(4)
        with pytest.raises(client.Unclear, match=r"2 benches are running here \(b1, b2\)"):
            find_socket(folders=[folder])


def test_a_silent_bench_is_noticed_by_a_watcher(bench: Any) -> None:
    with pytest.raises(NoAnswer, match="has said nothing"):
        next(watch(bench.path, silence_s=0.05))


def _wait_until(true: Any) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_slow_watcher_gets_every_finding_of_a_self_test(bench: Any) -> None:
    row = Happened(EventKind.SELFTEST_ROW, 1.0, Phase.TESTING, 1, {"row": "vent", "value": 2.1})
    ended = Happened(EventKind.SELFTEST_ENDED, 1.0, Phase.STOPPING, None, {"outcome": "passed"})
    with dial(bench.path) as slow:
        slow.sendall(b'{"verb": "watch"}\n')
        _wait_until(lambda: bench.socket.watched)

        def show() -> None:
            bench.socket.selftest([row])
            for k in range(2000):
                bench.socket.offer(seen_at(k * 0.1))
            bench.socket.selftest([row, ended])
            for k in range(2000, 4000):
                bench.socket.offer(seen_at(k * 0.1))

        bench.do(show)
        got = read_what_is_there(slow)
        bench.do(lambda: bench.socket.offer(seen_at(500.0)))
        lines = [json.loads(line) for line in (got + read_what_is_there(slow)).splitlines()]
    told = [line["told"] for line in lines if line["type"] == "selftest"]
    first = {"kind": "selftest_row", "cuff": 2, "row": "vent", "value": 2.1}
    assert told == [[first], [first, {"kind": "selftest_ended", "cuff": None, "outcome": "passed"}]]
