"""`manchet zero` and `manchet calibrate`: who else is there, what is refused with which code, what is written."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import calibration
from controller.__main__ import main
from controller.bedside.lock import BenchLock
from controller.calibration_file import FILE, Correction, load_entries
from controller.settings import load
from firmware_bridge.gpio_guard import GuardBoard, GuardServer
from firmware_bridge.ports import Reading

ID = f"b{os.getpid()}"  # a bench is locked for the whole machine, and other workers run these tests too
SIMULATED = """bench_id = "?"
[guard]
kind = "simulated"
[[cuffs]]
sensor = { bus = 1, serial = "A-1" }
sensor_b = { bus = 3 }
[simulated]
""".replace("?", ID)
GPIO = """bench_id = "?"
[guard]
kind = "gpio"
gpio = { estop_gpio = 6, heartbeat_gpio = 17 }
[[cuffs]]
sensor = { bus = 253, serial = "A-1" }
sensor_b = { bus = 254, serial = "B-1" }
lines = { pump_gpio = 12, pump_enable_gpio = 16, vent_gpio = 20, dump_gpio = 21 }
""".replace("?", ID)


@pytest.fixture
def folder(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr("controller.gauges.runtime_folders", lambda: [runtime])
    return tmp_path


def bench(folder: Path, text: str) -> str:
    path = folder / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["zero", "calibrate"])
def test_a_bench_that_is_being_served_is_left_alone(
    verb: str, folder: Path, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BenchLock(runtime, ID):
        assert main([verb, "--config", bench(folder, GPIO)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"bench_id = {ID}: is controlled already by process" in err
    assert "stop that one first" in err
    assert not (folder / "state" / FILE).exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["zero"], 2, "Missing option '--config'"),
        (["zero", "--config", "/nope.toml"], 2, "/nope.toml: must be a file that exists"),
        (["zero", "--cuff", "3"], 2, "--cuff = 3: must be a whole number between 1 and 2"),
        (["zero", "--sensor", "C"], 2, "--sensor = C: must be one of A, B"),
        (["zero", "--cuff", "2"], 1, "bench ? has no sensor A of cuff 2 in its file: name another"),
        (["calibrate", "--reference", "x" * 41], 2, "must be at most 40 characters"),
        (["calibrate", "--by", "a\nb"], 2, "must be at most 40 characters"),
        (["zero", "--sensor", "A"], 4, "no guard of bench ? answers here: start it"),
        (["zero", "--sensor", "B"], 4, "no guard of bench ? answers here: start it"),
    ],
)
def test_what_is_refused(
    words: list[str], code: int, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = bench(folder, GPIO)
    if "--config" not in words and len(words) > 1:
        words = [*words, "--config", config]
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manchet: ")
    assert says.replace("?", ID) in err
    assert err.count("\n") == 1
    assert not (folder / "state" / FILE).exists()


def test_a_guard_that_was_killed_left_its_socket_and_does_not_answer(
    folder: Path, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / f"{ID}.guard.sock"))
    assert main(["zero", "--config", bench(folder, GPIO)]) == 4
    assert f"no guard of bench {ID} answers here" in capsys.readouterr().err


def test_a_guard_of_which_nobody_knows_what_it_corrects_with(
    folder: Path, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as guard:
        guard.bind(str(runtime / f"{ID}.guard.sock"))
        guard.listen()
        assert main(["zero", "--sensor", "B", "--config", bench(folder, GPIO)]) == 1
    assert "nobody knows what the guard corrects its sensor B with" in capsys.readouterr().err


def test_no_guard_is_exit_4_in_json_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = bench(folder, GPIO)
    (folder / "state").mkdir()
    calibration.handed_over(load(Path(config)), folder / "state", (Correction(),))
    assert main(["zero", "--config", config, "--sensor", "B", "--json"]) == 4
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["ok"], said["verb"], said["sensors"]) == (False, "zero", [])
    assert f"no guard of bench {ID} answers here" in said["text"]
    assert said["text"] in err


def test_a_simulated_bench_has_no_reference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--config", bench(folder, SIMULATED)]) == 1
    assert "a simulated bench has nothing to connect a reference to" in capsys.readouterr().err


def test_a_broken_calibration_is_bad_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "state").mkdir()
    (folder / "state" / FILE).write_text("version = 9\n")
    assert main(["zero", "--config", bench(folder, SIMULATED)]) == 2
    assert "calibration.toml: version = 9: must be one of 1" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zero", "--config", bench(folder, SIMULATED), "--state", str(folder / "none")]) == 1
    assert "No such file or directory" in capsys.readouterr().err.splitlines()[-1]


# --- done --------------------------------------------------------------------------------------------------------


def test_zero_on_the_simulated_bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zero", "--config", bench(folder, SIMULATED)]) == 0
    out, err = capsys.readouterr()
    path = folder / "state" / FILE
    assert out.startswith("sensor A of cuff 1: zero at ")
    assert out.endswith(f"A simulated bench makes no use of it\nwritten to {path}\n")
    assert "take the cuffs off the limb" in err
    a, b = load_entries(path)
    assert (a.serial, a.channel, b.channel) == ("A-1", "A", "B")
    assert max(abs(a.offset_mmhg), abs(b.offset_mmhg)) < 0.5


def test_zero_says_it_in_json_and_writes_where_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["zero", "--config", bench(folder, SIMULATED), "--sensor", "A", "--state", str(folder), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["verb"], said["file"]) == (True, "zero", str(folder / FILE))
    assert [(one["cuff"], one["channel"], one["two_points"]) for one in said["sensors"]] == [(1, "A", None)]
    assert len(load_entries(folder / FILE)) == 1


class Lines:
    """Lines that lead nowhere."""

    def drive(self, channel: int, duty: int, flags: int) -> None:
        assert flags == 0, (channel, duty)

    def estop_ok(self) -> bool:
        return True

    def beat(self) -> None: ...

    def show(self, lit: bool) -> None: ...

    def low(self) -> None: ...


class SensorB:
    """Reads `0.97 p + 2`, without any noise."""

    name, low_mmhg, high_mmhg = "B", -20.0, 450.0

    def __init__(self) -> None:
        self.mmhg = 0.0

    def start(self, now_s: float) -> None: ...

    def read(self, now_s: float) -> Reading:
        return Reading(now_s, 0.97 * self.mmhg + 2.0, 1, 25.0)


@pytest.fixture
def guarded(runtime: Path) -> Iterator[SensorB]:
    """The real guard and its server on a real socket."""
    sensor = SensorB()
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / f"{ID}.guard.sock"))
        listener.listen()
        board = GuardBoard(Lines(), (sensor,), 7, time.monotonic)
        server = GuardServer(board, listener, lambda _: True, time.monotonic)
        thread = threading.Thread(target=server.serve, args=(over.is_set,))
        thread.start()
        yield sensor
        over.set()
        thread.join(5.0)


@pytest.mark.process
def test_b_is_held_against_a_reference_through_the_guard(
    folder: Path, guarded: SensorB, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.97 p + 2: zero at 2, gain 1 / 0.97; through the corrections 0.5 mmHg off at a check that is typed so."""
    config = bench(folder, GPIO)
    settings, state = load(Path(config)), folder / "state"
    state.mkdir()
    calibration.handed_over(settings, state, calibration.b_corrections(settings, state))

    class Person(io.StringIO):
        """Reads what is asked, and pumps when told to."""

        def write(self, text: str) -> int:
            if "pump to between 150" in text:
                guarded.mmhg = 200.0
            elif "pump to between 80" in text:
                guarded.mmhg = 100.0
            return super().write(text)

    person = Person()
    monkeypatch.setattr("sys.stderr", person)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n200\n99.5\n"))
    assert main(["calibrate", "--config", config, "--sensor", "B", "--reference", "R-7", "--by", "AB"]) == 0
    out = capsys.readouterr().out
    assert "sensor B of cuff 1: zero at +2.00 mmHg, gain 1.030" in out
    assert "The guard has to be given this: restart the guard (manchet-guard)" in out
    assert person.getvalue().count("what the reference shows, in mmHg: ") == 2
    (entry,) = load_entries(state / FILE)
    assert entry.two_points is not None
    assert entry.two_points.gain == pytest.approx(1.0 / 0.97, abs=0.001)
    assert entry.two_points.residual_mmhg == pytest.approx(0.5, abs=0.1)
    assert (entry.two_points.reference, entry.two_points.by) == ("R-7", "AB")


@pytest.mark.process
def test_nobody_at_the_terminal_writes_nothing(
    folder: Path, guarded: SensorB, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = bench(folder, GPIO)
    (folder / "state").mkdir()
    calibration.handed_over(load(Path(config)), folder / "state", (Correction(),))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["calibrate", "--config", config, "--sensor", "B"]) == 1
    assert guarded.mmhg == 0.0
    assert "nobody answers on standard input" in capsys.readouterr().err
    assert not (folder / "state" / FILE).exists()
