"""Benches served by real processes, and whoever stands at them: real sockets, real signals, the real clock."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.bedside import client
from controller.messages import Origin
from controller.record.journal import Journal
from firmware_bridge.simulated.world_client import Wire
from real_broker import Mosquitto, needed
from scheduling import as_at_a_bench, nearly_first

ROOT = Path(__file__).parents[2]
PROBE = "probe"
WITHIN_S = 30.0  # for what takes a second: the machine may be busy

FAST = "\nvolume_ml = 150\nslack_ml = 0\n"  # a small cuff without slack: its inflation takes a second and a half

PROTOCOL = """
name = "one-set-{repetitions}"
title = "One set of {repetitions} repetitions"
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


def rename_bench(config: str, bench_id: str) -> str:
    return re.sub(r'(?m)^bench_id = ".*"$', f'bench_id = "{bench_id}"', config)


class Person:
    """Says things to a bench over its command socket and looks at what it shows."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._folder = folder

    def say(self, verb: str, **args: object) -> dict[str, Any]:
        return client.ask(self.path, verb, args, timeout_s=5.0)

    def phase(self) -> str:
        return str(self.say("status")["phase"])

    def until(self, true: Callable[[dict[str, Any]], object], what: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """The first picture of the bench for which it is true."""
        until_s = time.monotonic() + within_s
        last: dict[str, Any] = {}
        for seen in client.watch(self.path, within_s):
            if seen["type"] == "snapshot":
                last = seen
                if true(seen):
                    return seen
            assert time.monotonic() < until_s, f"{what}: not within {within_s:g} s; last seen: {last}"
        raise AssertionError(f"{what}: the bench closed first; last seen: {last}")

    def look(self) -> dict[str, Any]:
        """How the bench looks now."""
        return self.until(bool, "a picture")

    def reset(self) -> None:
        """Out of FAULT, as soon as the bench lets a person do it."""
        until_s = time.monotonic() + WITHIN_S
        while not (reply := self.say("reset"))["ok"]:
            assert time.monotonic() < until_s, reply
            time.sleep(0.02)
        self.until(lambda seen: seen["phase"] == "idle", "IDLE")

    def answers(self) -> dict[str, Any]:
        """The screening template, answered by a healthy person."""
        import tomllib

        asked = tomllib.loads((ROOT / "config" / "screening-template.toml").read_text())
        said = {"code": "S-1", "medical_clearance": True, "systolic_mmhg": 120, "diastolic_mmhg": 80}
        return {key: said.get(key, False) for key in asked}

    def protocol(self, repetitions: int) -> str:
        path = self._folder / f"one-set-{repetitions}.toml"
        path.write_text(PROTOCOL.format(repetitions=repetitions))
        return str(path)

    def prescription(self, repetitions: int = 3) -> dict[str, Any]:
        return {
            "protocol": self.protocol(repetitions),
            "code": "S-1",
            "limb": "leg",
            "side": "right",
            "posture": "supine",
            "cuff_width_cm": 13.5,
            "lop_mmhg": 187.0,
            "lop_again_mmhg": 187.0,
            "lop_method": "doppler",
            "lop_posture": "supine",
            "lop_cuff_width_cm": 13.5,
            "lop_at": datetime.now(UTC).isoformat(timespec="minutes"),
            "lop_limb": "leg",
            "lop_side": "right",
            "by": "AB",
        }

    def prepare(self, repetitions: int = 3) -> None:
        for reply in (
            self.say("screen", answers=self.answers(), by="AB"),
            self.say("prescribe", **self.prescription(repetitions)),
        ):
            assert reply["ok"], reply
        self.until(lambda seen: seen["phase"] == "ready", "READY")

    def inflate(self, above_mmhg: float = 60.0) -> dict[str, Any]:
        """A session, up to where the cuff is under pressure and still filling."""
        self.prepare()
        reply = self.say("start")
        assert reply["ok"], reply
        return self.until(
            lambda seen: seen["phase"] == "inflating" and (seen["cuffs"][0]["b_mmhg"] or 0.0) > above_mmhg,
            f"INFLATING above {above_mmhg:g} mmHg",
        )


class Served(Person):
    """One `manchet run` and the folder that it lives in."""

    def __init__(self, folder: Path, bench_id: str, changes: str = "", wrapper: str = "") -> None:
        """`changes` replaces tables of the config, `wrapper` is Python that ends in `main()` and stands for it."""
        self.folder = folder
        self.bench_id = bench_id
        self.config = folder / "bench.toml"
        self.journal_path = folder / "state" / f"{bench_id}.sqlite"
        self.environ = os.environ | {
            "RUNTIME_DIRECTORY": str(folder / "run"),
            "STATE_DIRECTORY": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
        }
        text = rename_bench((ROOT / "config" / "bench-simulated.toml").read_text(), bench_id)
        for table in re.findall(r"(?m)^\[[a-z.]+\]$", changes):
            text = re.sub(rf"(?ms)^{re.escape(table)}.*?(?=^\[|\Z)", "", text)
        self.config.write_text(f"{text}{FAST}\n{changes}")
        self.wrapper = wrapper
        self.process: subprocess.Popen[str] | None = None
        super().__init__(folder / "run" / f"{bench_id}.sock", folder)

    def command(self) -> list[str]:
        begin = ["-c", self.wrapper] if self.wrapper else ["-m", "controller"]
        return [sys.executable, *begin, "run", "--config", str(self.config)]

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            self.command(), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        nearly_first(self.process.pid)
        until_s = time.monotonic() + WITHIN_S
        while True:
            try:
                client.ask(self.path, "status", timeout_s=1.0)
            except (client.NoService, client.NoAnswer):
                assert self.process.poll() is None, self.process.communicate()
                assert time.monotonic() < until_s, f"no bench at {self.path} within {WITHIN_S:g} s"
                time.sleep(0.02)
            else:
                as_at_a_bench(self.process.pid)
                return

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, within_s: float = 10.0) -> tuple[int, str, str]:
        """Exit code and what it said after the line that says where it serves, once it is gone."""
        assert self.process is not None
        try:
            out, err = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s:g} s") from None
        serves = f"bench {self.bench_id} is served at {self.path}, journal {self.journal_path}\n"
        return self.process.returncode, out.removeprefix(serves), err

    def run(self, *words: str, within_s: float = 30.0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One `manchet ...` beside the bench."""
        return subprocess.run(
            [sys.executable, "-m", "controller", *words],
            env=self.environ,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def journal(self) -> Journal:
        """The journal of a bench that is gone."""
        return Journal(self.journal_path, Origin("reader", "r3ad", time.time, lambda: True))

    def events(self) -> list[dict[str, Any]]:
        """What the journal holds, while the bench runs or afterwards."""
        with sqlite3.connect(f"file:{self.journal_path}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT payload FROM events ORDER BY seq").fetchall()
        db.close()
        return [json.loads(row[0]) for row in rows]

    def phases(self) -> list[tuple[float, str]]:
        """When each phase was entered."""
        return [(one["at_s"], one["phase"]) for one in self.events() if one["kind"] == "phase"]

    def clear(self) -> None:
        """End it however it stands."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, as tmp_path may not be."""
    with tempfile.TemporaryDirectory(prefix="mp") as name:
        yield Path(name)


_made = 0


def new_bench_id() -> str:
    """Of this machine alone: a bench's name is taken machine-wide while it is controlled."""
    global _made
    _made += 1
    return f"t{os.getpid()}-{_made}"


@pytest.fixture
def bench_of(room: Path) -> Iterator[Callable[..., Served]]:
    """Makes benches; each is cleared away at the end, whatever became of it."""
    made: list[Served] = []

    def make(changes: str = "", wrapper: str = "") -> Served:
        made.append(Served(room, new_bench_id(), changes, wrapper))
        return made[-1]

    yield make
    for one in made:
        one.clear()


@pytest.fixture
def bench(bench_of: Callable[..., Served]) -> Served:
    """A bench that answers."""
    served = bench_of()
    served.start()
    return served


@pytest.fixture
def mosquitto(room: Path) -> Iterator[Mosquitto]:
    running = Mosquitto(needed("mosquitto"), room)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def subscriber(mosquitto: Mosquitto, room: Path) -> Iterator[Subscriber]:
    subscribed = Subscriber(needed("mosquitto_sub"), mosquitto.port, room / "heard")
    yield subscribed
    subscribed.close()


class Subscriber:
    """`mosquitto_sub -t 'manchet/#' -v`, with a session that the broker keeps; what it heard, line by line."""

    def __init__(self, binary: str, port: int, file: Path) -> None:
        self._file = file
        self._out = file.open("wb")
        words = ["-p", str(port), "-i", "subscriber", "-c", "-q", "1", "-t", "manchet/#", "-v"]
        self._process = subprocess.Popen([binary, *words], stdout=self._out, stderr=subprocess.DEVNULL)
        probe = [needed("mosquitto_pub"), "-p", str(port), "-t", f"manchet/{PROBE}", "-m", "{}"]
        until_s = time.monotonic() + WITHIN_S
        while PROBE.encode() not in file.read_bytes():  # from here on nothing is missed
            assert time.monotonic() < until_s, f"mosquitto_sub did not subscribe within {WITHIN_S:g} s"
            subprocess.run(probe, check=True)

    def heard(self, topic: str = "") -> list[dict[str, Any]]:
        """The payloads in the order in which they came; of one topic (its last part), or of all with `topic` added."""
        told = []
        for line in self._file.read_bytes().split(b"\n")[:-1]:
            address, payload = line.split(b" ", 1)
            name = address.decode().rsplit("/", 1)[1]
            if name != PROBE and (not topic or name == topic):
                told.append({**json.loads(payload), "topic": name} if not topic else json.loads(payload))
        return told

    def until(self, true: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
        until_s = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < until_s, f"{what}: not within {within_s:g} s; heard {len(self.heard())} messages"
            assert self._process.poll() is None, "mosquitto_sub ended"
            time.sleep(0.02)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()


@pytest.fixture
def boottime() -> Callable[[], float]:
    """The clock that the control loop's `at_s` counts on."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return lambda: time.clock_gettime(clock)


# --- a bench of real processes whose wires end in a world -----------------------------------------------------------

# A process that can be told to die from within: SIGUSR1 makes it spin, SIGUSR2 makes it fail where MANCHET_FAIL says.
DYING = """
import importlib, os, signal, sys
from controller.__main__ import main

def spin(*_):
    try:  # a real-time process that spins would hold up every other bench on this machine
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except (AttributeError, PermissionError):
        pass
    while True:
        pass

def fail(*_):
    module, _, where = os.environ["MANCHET_FAIL"].partition(":")
    owner, name = where.split(".")
    owner = getattr(importlib.import_module(module), owner)
    def failing(*_arguments, **_options):
        raise RuntimeError("a bug")
    setattr(owner, name, failing)

signal.signal(signal.SIGUSR1, spin)
signal.signal(signal.SIGUSR2, fail)
sys.exit(main(sys.argv[1:]))
"""

HELD_UP_AT_MOST = 20  # [J]

# Electrically: what must be off for the bench to be vented.
OFF = {"pump_1": "pump off", "vent_coil_1": "vent coil off", "dump_coil_1": "dump coil off"}


class Wired(Served):
    """Three processes: the world, the guard, and control. What is asked of the world is what is true."""

    def __init__(self, folder: Path, bench_id: str, changes: str = "") -> None:
        super().__init__(folder, bench_id, wrapper=DYING)
        text = rename_bench((ROOT / "config" / "bench-world.toml").read_text(), bench_id)
        text = re.sub(r"(?ms)^\[mqtt\].*?(?=^\[)", "", text)
        mqtt = '[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = 1\n'  # nobody listens there
        self.config.write_text(f"{text}{FAST}\n{changes}\n{mqtt}")
        self.world_process: subprocess.Popen[str] | None = None
        self.guard_process: subprocess.Popen[str] | None = None
        self.fails_in = ""
        self.held_up = 0  # how often this machine was too busy for a session
        self._wire: Wire | None = None
        self._codes = 0

    @property
    def world(self) -> Wire:
        assert self._wire is not None
        return self._wire

    def _spawn(self, what: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", DYING, what, "--config", str(self.config)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        nearly_first(process.pid)
        return process

    def _await_socket(self, name: str, process: subprocess.Popen[str]) -> None:
        path = self.folder / "run" / f"{self.bench_id}.{name}.sock"
        until_s = time.monotonic() + WITHIN_S
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(path))
                    as_at_a_bench(process.pid)
                    return
            except OSError:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until_s, f"no {name} within {WITHIN_S:g} s"
                time.sleep(0.01)

    def start_world(self) -> None:
        self.world_process = self._spawn("world")
        self._await_socket("world", self.world_process)
        self._wire = Wire(self.folder / "run" / f"{self.bench_id}.world.sock")

    def start_guard(self) -> None:
        self.guard_process = self._spawn("guard")
        self._await_socket("guard", self.guard_process)

    def start_control(self) -> None:
        self.environ = self.environ | {"MANCHET_FAIL": self.fails_in}
        super().start()

    def start(self) -> None:
        """All three, in the order in which systemd starts them."""
        self.start_world()
        self.start_guard()
        self.start_control()

    def answers(self) -> dict[str, Any]:
        return super().answers() | {"code": f"S-{self._codes}"}

    def prescription(self, repetitions: int = 3) -> dict[str, Any]:
        return super().prescription(repetitions) | {"code": f"S-{self._codes}"}

    def another_code(self) -> None:
        """Another person's limb, so that no limb's clock ends the test."""
        self._codes += 1

    def inflate(self, above_mmhg: float = 60.0) -> dict[str, Any]:
        """Another person's limb each time, so that no limb's clock ends the test. A machine that held control or guard
        up for 100 ms has tripped them, as it must: then once more."""
        while True:
            self.another_code()
            try:
                self.until(lambda seen: all((cuff["b_mmhg"] or 99.0) < 10.0 for cuff in seen["cuffs"]), "empty cuffs")
                self.prepare()
                reply = self.say("start")
                assert reply["ok"], reply
                seen = self.until(lambda seen: self._filled(seen, above_mmhg), f"INFLATING above {above_mmhg:g} mmHg")
                assert seen["phase"] == "inflating", seen
            except AssertionError:
                if self.held_up >= HELD_UP_AT_MOST or not self._was_held_up():
                    raise
                self.held_up += 1
                self.reset()
            else:
                return seen

    @staticmethod
    def _filled(seen: dict[str, Any], above_mmhg: float) -> bool:
        """Under pressure, or no longer on the way there."""
        return seen["phase"] in ("fault", "idle") or (seen["cuffs"][0]["b_mmhg"] or 0.0) > above_mmhg

    def _was_held_up(self) -> bool:
        seen = self.look()
        late = [one for one in seen["alarms"] if one["condition"] == "tick_late" or "pass_late" in one["text"]]
        return seen["phase"] == "fault" and late != []

    # --- what is true ------------------------------------------------------------------------------------------------

    def true(self) -> dict[str, Any]:
        return self.world.ask({"look": True})

    def fault(self, **fault: Any) -> None:
        assert self.world.ask({"fault": fault}) == {"ok": True}

    def mark(self) -> int:
        """Where the world's log stands."""
        return int(self.world.ask({"log": 1 << 40})["next"])

    def log(self, mark: int) -> list[tuple[float, str, Any]]:
        return [(at_s, what, value) for at_s, what, value in self.world.ask({"log": mark})["log"]]

    def off_after_s(self, mark: int, since_s: float, within_s: float = 1.0) -> float:
        """How long after an instant the pump was off and both coils de-energised, for good; waits until they are."""
        until_s = since_s + within_s
        while any(self.true()[what] for what in OFF):
            assert time.monotonic() < until_s, f"not vented within {within_s:g} s: {self.true()}, log {self.log(mark)}"
            time.sleep(0.01)
        gone = [at_s for at_s, what, value in self.log(mark) if what in OFF and not value]
        return max(gone, default=since_s) - since_s

    def until_true(self, true: Callable[[dict[str, Any]], object], what: str, within_s: float = WITHIN_S) -> None:
        until_s = time.monotonic() + within_s
        while not true(seen := self.true()):
            assert time.monotonic() < until_s, f"{what}: not within {within_s:g} s: {seen}"
            time.sleep(0.01)

    def until_empty(self, within_s: float = 5.0) -> None:
        self.until_true(lambda seen: seen["cuffs"][0]["true_mmhg"] < 15.0, "a cuff that is empty", within_s)

    def nothing_inflates(self, for_s: float = 0.5) -> None:
        """Nobody asked for anything."""
        mark = self.mark()
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            seen = self.true()
            assert not any(seen[what] for what in OFF), seen
            time.sleep(0.02)
        assert not [one for one in self.log(mark) if one[1] in OFF and one[2]]

    def clear(self) -> None:
        for process in (self.process, self.guard_process, self.world_process):
            if process is not None:
                process.kill()
                process.communicate()
        if self._wire is not None:
            self._wire.close()


@pytest.fixture
def wired_of(room: Path) -> Iterator[Callable[..., Wired]]:
    """Makes benches of real processes; each is cleared away at the end."""
    made: list[Wired] = []

    def make(changes: str = "") -> Wired:
        made.append(Wired(room, new_bench_id(), changes))
        return made[-1]

    yield make
    for one in made:
        one.clear()


@pytest.fixture
def wired(wired_of: Callable[..., Wired]) -> Wired:
    """Three processes that run."""
    bench = wired_of()
    bench.start()
    return bench
