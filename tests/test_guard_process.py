"""What a guard process refuses before it claims a line, and what it leaves, with gpiozero's mock pins for a Pi's."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from controller import guard_process
from controller.bedside.lock import BenchLock
from controller.guard_process import CONFIG_TXT, run
from firmware_bridge.firmware import wire

ID = f"g{os.getpid()}"  # a bench's name is taken machine-wide while it is guarded
BENCH = f"""bench_id = "{ID}"
[guard]
kind = "gpio"
gpio = {{ estop_gpio = 5, heartbeat_gpio = 26 }}
[[cuffs]]
sensor = {{ bus = 1 }}
sensor_b = {{ bus = 3 }}
lines = {{ pump_gpio = 12, pump_enable_gpio = 13, vent_gpio = 16, dump_gpio = 17 }}
"""
OUTPUTS = (13, 12, 16, 17, 26)


class Pi(MockFactory):  # type: ignore[misc]
    """Lines of a chip, as `LGPIOFactory` has them."""

    def __init__(self) -> None:
        super().__init__(pin_class=MockPWMPin)
        self.chip = 4


class B:
    """A sensor B that has nothing to say."""

    name, low_mmhg, high_mmhg = "B", -20.0, 450.0
    fails = False

    def start(self, now_s: float) -> None:
        pass

    def read(self, now_s: float) -> None:  # noqa: ARG002
        if self.fails:
            raise ZeroDivisionError("a bug")


class Left:
    """Where a test's guard would have ended its process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.pi: Pi | None = None
        self.lines: list[tuple[int, str, bool]] = []

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        if self.pi is not None:
            self.lines = [(line, self.pi.pin(line).function, bool(self.pi.pin(line).state)) for line in OUTPUTS]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mg") as name:
        (Path(name) / "bench.toml").write_text(BENCH)
        monkeypatch.setenv("RUNTIME_DIRECTORY", f"{name}/run")
        monkeypatch.setenv("LG_WD", name)
        monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "")
        yield Path(name)


@pytest.fixture
def left() -> Left:
    return Left()


@pytest.fixture
def pi(left: Left, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pi]:
    """This machine has a GPIO chip and a sensor B."""
    made, sensor = Pi(), B()
    left.pi = made
    made.sensor = sensor
    monkeypatch.setattr(guard_process, "lgpio_factory", lambda: made)
    monkeypatch.setattr(guard_process, "sensors_b", lambda *_: (sensor,))
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield made
    for number, handler in before:
        signal.signal(number, handler)
    made.reset()


def while_it_runs(path: Path, do: Callable[[socket.socket], None]) -> threading.Thread:
    """Talk to the guard once it listens, then tell it to end."""

    def talk() -> None:
        until_s = time.monotonic() + 10.0
        with socket.socket(socket.AF_UNIX) as host:
            while time.monotonic() < until_s:
                try:
                    host.connect(str(path))
                    break
                except OSError:
                    time.sleep(0.01)
            host.settimeout(5.0)
            do(host)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


# --- refused before a line is claimed --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["pinctrl_bcm2835", "pinctrl_rp1"])
def test_a_kernel_that_keeps_outputs_is_refused_with_the_line_for_config_txt(
    module: str, folder: Path, left: Left, pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    parameter = folder / "sys" / "module" / module / "parameters" / "persist_gpio_outputs"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("Y\n")
    assert run(folder / "bench.toml", folder / "sys", left) == 1
    said = capsys.readouterr().err
    assert f"put `{CONFIG_TXT}` in /boot/firmware/config.txt and reboot" in said
    assert said.count("\n") == 1
    assert (left.codes, pi.pins) == ([], {}), "no line was claimed"
    assert not (folder / "run" / f"{ID}.lines.json").exists()


def test_a_bench_of_another_guard_is_bad_input(folder: Path, left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    config = folder / "bench.toml"
    config.write_text('bench_id = "b1"\n[guard]\nkind = "simulated"\n[[cuffs]]\nsensor = { bus = 1 }\n[simulated]\n')
    assert run(config, folder, left) == 2
    assert 'guard.kind = "simulated": must be "gpio" for a guard process' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ImportError("No module named 'lgpio'"),
            "lgpio is not installed (No module named 'lgpio'): pip install -e '.[pi]' in the checkout",
        ),
        (RuntimeError("can not open gpiochip"), "the GPIO chip cannot be opened (can not open gpiochip)"),
    ],
)
def test_without_lines_there_is_no_guard_and_no_other_pin_library_is_tried(
    error: Exception,
    says: str,
    folder: Path,
    left: Left,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(guard_process, "lgpio_factory", fail)
    assert run(folder / "bench.toml", folder, left) == 1
    assert says in capsys.readouterr().err
    assert os.environ["GPIOZERO_PIN_FACTORY"] == "lgpio"


def test_a_bench_that_is_guarded_already(folder: Path, left: Left, pi: Pi, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir(mode=0o700)
    with BenchLock(folder / "run", f"{ID}.guard"):
        assert run(folder / "bench.toml", folder, left) == 1
    assert "is guarded already by process" in capsys.readouterr().err
    assert pi.pins == {}


# --- what it leaves --------------------------------------------------------------------------------------------------


def test_its_lines_are_written_down_while_it_holds_them_and_low_when_it_has_gone(
    folder: Path, left: Left, pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pi.pins == {}
    seen = SimpleNamespace(lines={}, welcome=(), trip=0)

    def look(host: socket.socket) -> None:
        seen.lines = json.loads((folder / "run" / f"{ID}.lines.json").read_text())
        host.sendall(wire.hello(1, 5))
        decoder = wire.Decoder()
        while not seen.welcome:
            seen.welcome = next((one for one in decoder.feed(host.recv(4096)) if one[1] == wire.WELCOME), ())

    talking = while_it_runs(folder / "run" / f"{ID}.guard.sock", look)
    assert run(folder / "bench.toml", folder, left) == 0
    talking.join()
    assert left.codes == [0]
    assert seen.lines == {"bench_id": ID, "chip": 4, "lines": list(OUTPUTS)}
    assert seen.welcome[4] != 0, "a boot id"
    assert left.lines == [(line, "output", False) for line in OUTPUTS], "driven low, not closed"
    said = capsys.readouterr().out
    assert said == f"bench {ID} is guarded at {folder / 'run' / f'{ID}.guard.sock'}\n", "one line, where it listens"
    assert sorted(path.name for path in (folder / "run").iterdir()) == [f"{ID}.guard.lock"]


def test_a_guard_that_fails_has_driven_its_lines_low_and_leaves_its_list(
    folder: Path, left: Left, pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    pi.sensor.fails = True
    assert run(folder / "bench.toml", folder, left) == 1
    assert left.codes == [1]
    assert "the guard failed: ZeroDivisionError: a bug" in capsys.readouterr().err
    assert left.lines == [(line, "output", False) for line in OUTPUTS]
    assert (folder / "run" / f"{ID}.lines.json").exists()


def test_a_line_that_cannot_be_driven_low_is_said(
    folder: Path, left: Left, pi: Pi, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_it(_host: socket.socket) -> None:
        def broken(value: Any) -> None:  # noqa: ARG001
            raise OSError("the chip is gone")

        pi.pin(16)._set_state = broken

    talking = while_it_runs(folder / "run" / f"{ID}.guard.sock", break_it)
    assert run(folder / "bench.toml", folder, left) == 1
    talking.join()
    assert "a line could not be driven low: the chip is gone; take the cuff off the limb" in capsys.readouterr().err
    assert left.codes == [1]


def test_systemd_is_told_when_it_is_ready_and_petted_by_passes(
    folder: Path, left: Left, pi: Pi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pi.chip == 4
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

        def hear(_host: socket.socket) -> None:
            told.extend(systemd.recv(100).decode() for _ in range(3))

        talking = while_it_runs(folder / "run" / f"{ID}.guard.sock", hear)
        assert run(folder / "bench.toml", folder, left) == 0
        talking.join()
    assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
