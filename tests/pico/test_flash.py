"""`manchet flash` against a board that runs the real firmware: what refuses, what breaks off, the version at the end.

Between the two stands a script in mpremote's place: the unix MicroPython has no raw console for the real one.
"""

from __future__ import annotations

import json
import os
import pty
import sys
import time
import tty
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from controller.__main__ import main
from controller.calibration import b_corrections, handed_over, in_guard
from controller.calibration_file import Correction, Entry, save_entry
from controller.cli import flashing
from controller.settings import Settings, load
from firmware_bridge.firmware.guard import FIRMWARE
from firmware_bridge.serial_transport import open_port

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("mpremote")]

HERE = Path(__file__).parent
BENCH = """
bench_id = "p"
[guard]
kind = "pico"
[guard.pico]
port = "{port}"
[[cuffs]]
sensor = {{ bus = 1 }}
sensor_b = {{ bus = 0 }}
"""


@pytest.fixture
def mpremote(pico: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script in its place, first on the path."""
    script = tmp_path / "bin" / "mpremote"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "stand_in" / "mpremote.py"} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FLASH", str(pico.flash))
    monkeypatch.setenv("WORLD", str(pico.world))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "no-state"))
    return script


def load_bench(folder: Path, pico: Any) -> Settings:
    (folder / "bench.toml").write_text(BENCH.format(port=pico.port))
    return load(folder / "bench.toml")


def make_old(pico: Any) -> None:
    """A board that was flashed by an earlier program."""
    guard = pico.flash / "firmware_bridge" / "firmware" / "guard.py"
    guard.write_text(guard.read_text().replace(f"FIRMWARE = {FIRMWARE:#06x}", "FIRMWARE = 0x0100"))
    assert "FIRMWARE = 0x0100" in guard.read_text()


def until(true: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"{what}: not within {within_s:g} s"
        time.sleep(0.01)


def plugged(pico: Any) -> Any:
    pico.plug()
    until(lambda: (pico.world / "lines").exists() and pico.lines().get(14) is not None, "it guards")
    return pico


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip()


# --- what refuses ------------------------------------------------------------------------------------------------


def test_a_port_that_a_service_has_is_refused(pico: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plugged(pico)
    service = open_port(str(pico.port), 115200)
    assert main(["flash", "--port", str(pico.port)]) == 1
    assert "is held by another process, likely the service of this bench: stop it first" in said(capsys)
    service.close()


def test_a_board_that_has_been_armed_is_refused(pico: Any, host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host.arm()
    host.link.disarm()
    host.until(host.state(0), "disarmed")
    host.transport.close()
    assert main(["flash", "--port", str(pico.port)]) == 1
    assert "armed since its last reset: unplug it" in said(capsys)
    assert not pico.in_console


def test_where_no_board_answers_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashing, "ANSWER_WITHIN_S", 0.1)
    monkeypatch.setattr(flashing, "LEAVE_WITHIN_S", 0.2)
    board, port = pty.openpty()
    tty.setraw(port)
    assert main(["flash", "--port", os.ttyname(port)]) == 4
    assert "no board answers" in said(capsys)
    os.close(board)
    os.close(port)


def test_without_mpremote_nothing_is_begun(
    pico: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged(pico)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main(["flash", "--port", str(pico.port)]) == 1
    assert (
        said(capsys)
        == "manchet: mpremote is not installed: pip install -e '.[flash]' in the checkout, or `make install GUARD=pico`"
    )
    assert not pico.in_console


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "one of --config FILE and --port PORT"),
        (["--port", "/dev/null", "--config", "x"], "one of --config FILE and --port PORT"),
        (["--config", "config/bench-simulated.toml"], 'must be a bench with guard.kind = "pico"'),
        (["--port", "/dev/null", "--board", "/nowhere"], "--board = /nowhere: must be a file"),
    ],
)
def test_words_that_are_wrong(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash", *words]) == 2
    assert sentence in said(capsys)


@pytest.mark.parametrize(
    ("wiring", "says"),
    [
        ('{"estop": 2}', "GPIO 2 is already estop"),
        ('{"pwm_hz": 0}', "pwm_hz: 0 must be 100 to 40000"),
        ('{"cuffs": [{"sensor": {"i2c": 7}}]}', "cuffs[1].sensor.i2c: 7 must be 0 or 1"),
        ('{"cuffs": [{"sensor": {"i2c": 1}}]}', "cuffs[1].sensor.sda: GPIO 4 is not sda of I2C 1"),
        ('{"cuffs": [{"sensor": {"sda": 5, "scl": 4}}]}', "cuffs[1].sensor.sda: GPIO 5 is not sda of I2C 0"),
        ('{"cuffs": [{"sensor": {"scl": 21, "sda": 21}}]}', "cuffs[1].sensor.sda: GPIO 21 is not sda of I2C 0"),
        ('{"cuffs": [{"sensor": {"address": 400}}]}', "cuffs[1].sensor.address: 400 must be 8 to 119 (0x77)"),
        ('{"cuffs": [{"sensor": {"kind": "mpx5050", "adc": 5}}]}', "cuffs[1].sensor.adc: 5 must be an analogue input"),
    ],
)
def test_a_wiring_that_the_board_would_refuse_is_refused_here(
    wiring: str, says: str, pico: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugged(pico)
    (tmp_path / "bench.json").write_text(wiring)
    assert main(["flash", "--port", str(pico.port), "--board", str(tmp_path / "bench.json")]) == 2
    assert says in said(capsys)
    assert not pico.in_console


# --- what breaks off ---------------------------------------------------------------------------------------------


def test_a_copy_that_breaks_off_leaves_a_board_that_does_not_start_half_and_can_be_flashed_again(
    pico: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(pico)
    plugged(pico)
    monkeypatch.setenv("FAILS", "cp")
    assert main(["flash", "--port", str(pico.port)]) == 1
    assert "mpremote: OSError: [Errno 28] ENOSPC; the board guards nothing until it has been flashed" in said(capsys)
    assert pico.in_console
    assert not (pico.flash / "main.py").exists()
    monkeypatch.delenv("FAILS")
    assert main(["flash", "--first", "--port", str(pico.port)]) == 0


def test_a_board_that_answers_with_another_version_is_not_done(
    pico: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(pico)
    plugged(pico)
    monkeypatch.setenv("NOTHING", "1")
    assert main(["flash", "--port", str(pico.port)]) == 1
    assert "the board answers with firmware 1.0, this program has 1.1: flash again" in said(capsys)


def test_a_board_that_does_not_answer_afterwards_is_said(
    pico: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged(pico)
    monkeypatch.setattr(flashing, "BOOT_WITHIN_S", 1.0)
    monkeypatch.setenv("FAILS", "nothing")
    monkeypatch.setattr(flashing, "MAIN", "raise RuntimeError\n")
    assert main(["flash", "--port", str(pico.port)]) == 4
    assert "no guard answers" in said(capsys)


# --- what goes right ---------------------------------------------------------------------------------------------


def test_a_board_gets_the_firmware_and_its_wiring_and_answers_with_its_version(
    pico: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(pico)
    plugged(pico)
    state = tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    bench = load_bench(tmp_path, pico)
    b = Entry("p", 1, "B", "abp2", "600MG", 0, 0x28, date(2026, 11, 1), -1.2)
    state.mkdir()
    save_entry(state / "calibration.toml", b)
    (tmp_path / "bench.json").write_text('{"heartbeat": 16}')
    words = ["flash", "--config", str(tmp_path / "bench.toml"), "--board", str(tmp_path / "bench.json")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "sensor B: cuff 1: zero -1.2 mmHg, gain 1.0000" in out
    on_board = json.loads((pico.flash / "bench.json").read_text())
    assert on_board == {"heartbeat": 16, "cuffs": [{"sensor": {"zero_dmmhg": -12, "gain_e4": 10000}}]}
    assert in_guard(bench, state) == b_corrections(bench, state) == (Correction(1.0, -1.2),)
    assert "the board has left its loop" in out
    assert f"the board answers: firmware {FIRMWARE >> 8}.{FIRMWARE & 0xFF}, wire version 1, 1 cuff\n" in out
    for source in (HERE.parents[1] / "firmware_bridge" / "firmware").glob("*.py"):
        assert (pico.flash / "firmware_bridge" / "firmware" / source.name).read_text() == source.read_text()
    until(lambda: pico.lines().get(16) is not None, "its heartbeat is where the wiring has it")


@pytest.mark.parametrize(
    ("sensor", "says"),
    [
        ('{"part": "001BG"}', "cuffs[1].sensor.part = 001BG: must be 600MG as in the bench's settings"),
        ('{"kind": "mpx5050"}', "cuffs[1].sensor.kind = mpx5050: must be abp2 as in the bench's settings"),
        ('{"address": 56}', "cuffs[1].sensor.address = 56: must be 40 as in the bench's settings"),
        ('{"i2c": 1, "sda": 10, "scl": 11}', "cuffs[1].sensor.i2c = 1: must be 0 as in the bench's settings"),
    ],
)
def test_a_board_that_would_read_another_sensor_than_was_calibrated_is_refused(
    sensor: str, says: str, pico: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_bench(tmp_path, pico)
    (tmp_path / "bench.json").write_text(f'{{"cuffs": [{{"sensor": {sensor}}}]}}')
    words = ["flash", "--config", str(tmp_path / "bench.toml"), "--board", str(tmp_path / "bench.json")]
    assert main(words) == 2
    assert says in said(capsys)


@pytest.mark.parametrize("words", [["--board", "bench.json"], ["--first"]])
def test_a_board_that_lost_its_corrections_or_is_another_is_not_taken_for_one_that_has_them(
    words: list[str], pico: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.json").write_text('{"heartbeat": 16}')
    bench = load_bench(tmp_path, pico)
    state.mkdir()
    handed_over(bench, state, [Correction(1.1, -9.0)])
    if "--first" in words:
        (pico.flash / "main.py").write_text("")
        pico.plug()
        until(lambda: pico.in_console, "it shows its console")
    else:
        plugged(pico)
        assert main(["flash", "--port", str(pico.port)]) == 0
        assert in_guard(bench, state) == (Correction(1.1, -9.0),)  # its bench.json is as it was
        pico.unplug()
        plugged(pico)
    assert main(["flash", "--port", str(pico.port), *words]) == 0
    assert in_guard(bench, state) is None


def test_the_real_mpremote_flashes_a_board(
    pico: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a console of the test's, which speaks as MicroPython's raw one does."""
    needed_mpremote()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    make_old(pico)
    pico.with_console = True
    plugged(pico)
    (tmp_path / "bench.json").write_text('{"heartbeat": 16}')
    assert main(["flash", "--port", str(pico.port), "--board", str(tmp_path / "bench.json")]) == 0
    assert "the board answers: firmware" in capsys.readouterr().out
    assert pico.starts == 2
    for source in (HERE.parents[1] / "firmware_bridge" / "firmware").glob("*.py"):
        assert (pico.flash / "firmware_bridge" / "firmware" / source.name).read_text() == source.read_text()
    assert (pico.flash / "main.py").read_text() == flashing.MAIN
    assert pico.lines().get(16) is not None


def needed_mpremote() -> None:
    if find_spec("mpremote") is None:
        message = "mpremote is not installed: this test needs it (pip install mpremote)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def test_a_board_that_is_no_guard_yet(pico: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (pico.flash / "main.py").write_text("")
    pico.plug()
    until(lambda: pico.in_console, "it shows its console")
    assert main(["flash", "--first", "--port", str(pico.port)]) == 0
    assert "the board answers: firmware" in capsys.readouterr().out
