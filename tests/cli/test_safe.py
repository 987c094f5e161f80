"""`safe` on what it may find: nothing, dead and hung controllers, guards that trip, cuffs that stay full."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.__main__ import main
from controller.cli.safe import safe
from firmware_bridge.firmware import wire
from firmware_bridge.firmware.guard import Guard

VENTED = {"pump_duty": 0.0, "vent_open": True, "dump_open": True}
EMPTY = {"type": "snapshot", "cuffs": [{"a_mmhg": 2.0, "b_mmhg": 1.0, **VENTED}]}
FULL = {"type": "snapshot", "cuffs": [{"a_mmhg": 2.0, "b_mmhg": 120.0, **VENTED}]}
HALF_KNOWN = {"type": "snapshot", "cuffs": [{"a_mmhg": 2.0, "b_mmhg": None, **VENTED}]}
CLOSED = {"type": "snapshot", "cuffs": [{"a_mmhg": 2.0, "b_mmhg": 1.0, **VENTED, "vent_open": False}]}

HUNG = (
    "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(9); "
    "print('up', flush=True); time.sleep(60)"
)


def test_nothing_found_is_exit_3_and_says_what_a_person_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["safe"]) == 3
    assert "press the stop button" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["safe", "--nope"], ["safe", "now", "-x"], ["--log-level", "info", "safe", "--nope"]]
)
def test_a_word_too_many_keeps_nobody_from_venting(
    words: list[str], bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.shown = [EMPTY]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ignored: {' '.join(words[words.index('safe') + 1 :])}\n")
    assert out.endswith("vented and empty: b1\n")


@pytest.mark.process
@pytest.mark.parametrize("where", ["a full disk", "nobody", "closed"])
def test_it_vents_whoever_reads_what_it_says(where: str, bench: Any, runtime: Path) -> None:
    """What it prints goes to the journal of a machine whose disk is full, or to a pager that was quit."""
    bench.shown = [EMPTY]
    redirect = {"a full disk": ">/dev/full", "nobody": "| true", "closed": ">&-"}[where]
    program = "import sys, pathlib; from controller.cli.safe import safe; "
    program += 'sys.exit(safe([pathlib.Path(sys.argv[1])], ignored=["now-\u00fc"]))'
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "$1" "$2" {redirect}', sys.executable, program, str(runtime)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bench.told[0]["verb"] == "stop"


def test_no_bench_waits_for_another(
    guard_at: Any, bench: Any, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first bench's cuff does not empty; the second one is told to stop before that is waited for."""
    guard_at(180.0, 0.0, "a1")
    bench.shown = [EMPTY]
    assert safe([runtime], empty_within_s=0.5) == 1
    lines = [line.removeprefix(f"{runtime}/") for line in capsys.readouterr().out.splitlines()]
    assert lines[1].startswith("b1.sock: stop: heard")
    assert lines[2].startswith("a1.guard.sock: the guard has tripped, valves open, at most 180 mmHg")
    assert lines[3].startswith("b1.sock: valves open, at most 2 mmHg")
    assert lines[4] == "NOT confirmed vented: a1. Take the cuff off the limb"


def test_a_dead_controllers_socket_is_no_bench(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "b1.sock"))
    assert main(["safe"]) == 3
    assert "its controller is gone" in capsys.readouterr().out


def test_a_bench_that_is_seen_empty_is_exit_0(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.shown = [FULL, CLOSED, EMPTY]
    assert main(["safe"]) == 0
    assert [request["verb"] for request in bench.told] == ["stop", "watch"]
    lines = capsys.readouterr().out.splitlines()
    assert "stop: heard" in lines[1]
    assert lines[-1] == "vented and empty: b1"


def test_a_folder_that_may_not_be_looked_into_is_said_and_is_not_safe(
    bench: Any, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """/run/manchet is the service's own: for anybody else it looks as if no bench were there."""
    monkeypatch.setattr("controller.bedside.paths.os.access", lambda folder, _mode: folder != tmp_path)
    bench.shown = [EMPTY]
    assert safe([runtime, tmp_path]) == 1
    assert safe([tmp_path]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert f"vented and empty: b1; NOT looked into: {tmp_path}" in lines
    assert lines[-2].startswith(f"{tmp_path}: may not be looked into")
    assert "pull the cuff's coupling" in lines[-1]


@pytest.mark.parametrize("shown", [FULL, HALF_KNOWN, CLOSED, {"type": "snapshot", "cuffs": []}, {"type": "news"}])
def test_what_is_not_seen_empty_is_not_safe(
    bench: Any, shown: dict[str, Any], runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.shown = [shown]
    assert safe([runtime], empty_within_s=0.1) == 1
    out = capsys.readouterr().out
    assert "NOT confirmed vented: b1. Take the cuff off the limb" in out
    assert "cannot be killed from here" in out  # it is this very process


@pytest.mark.process
def test_a_controller_that_does_not_answer_is_killed(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", HUNG, str(runtime / "b1.sock")], stdout=subprocess.PIPE) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == b"up\n"
        assert safe([runtime], empty_within_s=0.1) == 1
        assert hung.wait(5) == -9
    out = capsys.readouterr().out
    assert "stop: no answer" in out
    assert f"(process {hung.pid}) was killed; its lease lapses within 250 ms" in out


@pytest.mark.process
def test_a_controller_is_killed_and_nobody_says_that_a_guard_vents_where_none_answered(
    runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "b1.guard.sock"))
    with subprocess.Popen([sys.executable, "-c", HUNG, str(runtime / "b1.sock")], stdout=subprocess.PIPE) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == b"up\n"
        assert safe([runtime], empty_within_s=0.1) == 1
        assert hung.wait(5) == -9
    out = capsys.readouterr().out
    assert f"(process {hung.pid}) was killed; no guard of this bench answered, so that none vents it" in out
    assert "b1: its guard left no list of lines, so none was driven low here" in out
    assert "lapses" not in out
    assert "NOT confirmed vented: b1" in out


class GuardAt:
    """The real guard behind a real socket, on a cuff that empties by `fall_mmhg` a pass of 10 ms."""

    def __init__(self, path: Path, b_mmhg: float, fall_mmhg: float) -> None:
        self.guard = Guard(boot_id=7, channels=1)
        self._b_dmmhg, self._fall_dmmhg = int(b_mmhg * 10), int(fall_mmhg * 10)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._now_ms = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(0.001)
            while True:
                try:
                    data = connection.recv(4096)
                    if not data:
                        return
                    self.guard.on_bytes(data, self._now_ms)
                except TimeoutError:
                    pass
                except ConnectionError:
                    return
                self._now_ms += 10
                self.guard.tick(self._now_ms, [self._b_dmmhg, wire.NO_READING], True)
                self._b_dmmhg = max(0, self._b_dmmhg - self._fall_dmmhg)
                try:
                    connection.sendall(self.guard.take_bytes())
                except OSError:
                    return

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def guard_at(runtime: Path) -> Iterator[Any]:
    made: list[GuardAt] = []

    def make(b_mmhg: float, fall_mmhg: float, bench: str = "b1") -> GuardAt:
        made.append(GuardAt(runtime / f"{bench}.guard.sock", b_mmhg, fall_mmhg))
        return made[-1]

    yield make
    for guard in made:
        guard.close()


def test_a_guard_is_tripped_and_seen_empty(guard_at: Any, capsys: pytest.CaptureFixture[str]) -> None:
    at = guard_at(180.0, 4.0)
    assert main(["safe"]) == 0
    assert at.guard.state == wire.TRIPPED
    assert "the guard has tripped, valves open, at most " in capsys.readouterr().out


def test_a_cuff_that_stays_full_behind_its_guard_is_not_safe(
    guard_at: Any, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard_at(180.0, 0.0)
    assert safe([runtime], empty_within_s=0.2) == 1
    assert "at most 180 mmHg" in capsys.readouterr().out


def test_a_guard_that_does_not_answer_is_not_safe(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(runtime / "b1.guard.sock"))
        mute.listen(1)
        assert main(["safe"]) == 1
    assert "the guard does not answer" in capsys.readouterr().out


def test_the_guards_word_counts_where_the_controller_is_mute(
    guard_at: Any, bench: Any, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard_at(0.0, 0.0)
    bench.shown = [HALF_KNOWN]
    assert safe([runtime], empty_within_s=0.3) == 0
    assert "killed" not in capsys.readouterr().out


@pytest.mark.parametrize("shown", [FULL, {"type": "snapshot", "cuffs": [{"a_mmhg": 120.0, "b_mmhg": 0.0, **VENTED}]}])
def test_the_guards_word_does_not_count_against_what_a_sensor_says(
    guard_at: Any, bench: Any, shown: dict[str, Any], runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The guard sees sensor B alone, whose tube may be off."""
    guard_at(0.0, 0.0)
    bench.shown = [shown]
    assert safe([runtime], empty_within_s=0.3) == 1
    assert capsys.readouterr().out.endswith("NOT confirmed vented: b1. Take the cuff off the limb\n")
