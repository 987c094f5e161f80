"""`manchet run` as a process: what it is refused, signals under pressure, a controller killed, stopped or failing."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.firmware import wire

pytestmark = pytest.mark.process

TICK_S = 0.01
HELD_UP_S = 0.1  # [J] what a busy machine may take to deliver a signal and wake the loop
EMPTY_MMHG = 15.0
VENTED_WITHIN_S = 8.0
GONE_WITHIN_S = 2.0


def one_line(said: str) -> str:
    assert said.count("\n") == 1, said
    assert said.startswith("manchet: "), said
    return said[len("manchet: ") : -1]


# --- what is refused before anything begins --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("tick_hertz = 50\n", "tick_hertz = 50: must be"),
        ("tick_hz = nan\n", "tick_hz = nan: must be"),
        ('tick_hz = "100 Hz"\n', 'tick_hz = "100 Hz": must be'),
        ("tick_hz = 1000\n", "tick_hz = 1000: must be"),
        ("[simulated.plant]\nhose_psi = 3\n", "simulated.plant.hose_psi = 3: must be"),
        ("[simulated.plant]\nleak_mmhg_per_min = inf\n", "simulated.plant.leak_mmhg_per_min = inf: must be"),
        ("[simulated.plant]\nvolume_ml = 1e5\n", "simulated.plant.volume_ml = 100000: must be"),
        (b"bench_id = \xff\xfe\x00", "must be"),
        (None, "must be"),
    ],
    ids=["unknown key", "NaN", "unit", "bound", "plant key", "infinity", "plant bound", "binary", "missing"],
)
def test_a_bad_config_file(change: str | bytes | None, says: str, bench_of: Callable[..., Any]) -> None:
    bench = bench_of()
    text = bench.config.read_text()
    if isinstance(change, bytes):
        bench.config.write_bytes(change)
    elif change is None:
        bench.config.unlink()
    elif change.startswith("["):
        bench.config.write_text(text.split("[simulated.plant]")[0] + change)
    else:
        bench.config.write_text("\n".join([change, *(one for one in text.splitlines() if "tick_hz" not in one)]))
    ran = bench.run("run", "--config", str(bench.config))
    assert ran.returncode == 2, ran
    assert ran.stdout == ""
    said = one_line(ran.stderr)
    assert said.startswith(f"{bench.config}: ")
    assert says in said
    assert not (bench.folder / "run").exists(), "it changed nothing"
    assert not (bench.folder / "state").exists()


def test_something_in_the_way_of_the_socket(bench_of: Callable[..., Any]) -> None:
    """A task that fails at its start: the group ends, and with it the process, non-zero and said in one line."""
    bench = bench_of()
    bench.path.parent.mkdir(mode=0o700)
    bench.path.write_text("not a socket")
    ran = bench.run("run", "--config", str(bench.config))
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert str(bench.path) in ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert bench.path.read_text() == "not a socket"


def test_a_journal_that_cannot_be_written(bench_of: Callable[..., Any]) -> None:
    bench = bench_of()
    (bench.folder / "state").write_text("a file where the folder should be")
    ran = bench.run("run", "--config", str(bench.config))
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert f"{bench.folder / 'state'}: cannot be written" in one_line(ran.stderr)
    assert "set STATE_DIRECTORY" in one_line(ran.stderr)


# --- verbs -----------------------------------------------------------------------------------------------------------


def test_a_session_said_wrongly_and_then_rightly(bench: Any) -> None:
    """Every refusal changes nothing; the same words through the command line as through the socket."""

    def cli(*words: str) -> tuple[int, str]:
        ran = bench.run(*words, "--bench", bench.bench_id)
        assert (ran.stdout == "") == (ran.returncode != 0), ran
        return ran.returncode, ran.stdout or one_line(ran.stderr) + "\n"

    assert cli("start") == (1, "not ready: no prescription: screen and prescribe first\n")
    second = bench.run("run", "--config", str(bench.config))
    assert second.returncode == 1, "a second controller of the same bench"
    assert second.stdout == ""
    assert f"bench_id = {bench.bench_id}: is controlled already" in one_line(second.stderr)

    elsewhere = {"RUNTIME_DIRECTORY": str(bench.folder / "else"), "STATE_DIRECTORY": str(bench.folder / "else")}
    here, bench.environ = bench.environ, bench.environ | elsewhere
    if sys.platform == "linux":
        assert bench.run("run", "--config", str(bench.config)).returncode == 1, "nor from another runtime folder"
    bench.environ = here

    assert bench.say("prescribe", **bench.prescription())["text"] == (
        "S-1 is not screened: screen first, a screening holds for one session"
    )
    assert bench.say("screen", answers={"code": "S-1"}, by="AB")["ok"] is False
    assert bench.say("screen", answers=bench.answers() | {"pregnancy": True}, by="AB")["ok"] is False
    assert not bench.say("prescribe", **bench.prescription())["ok"], "not cleared"
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    for wrong in (
        {"lop_mmhg": 30.0, "lop_again_mmhg": 30.0},
        {"lop_mmhg": 400.0, "lop_again_mmhg": 400.0},
        {"lop_again_mmhg": 186.0},
        {"lop_limb": "arm"},
        {"lop_side": "left"},
        {"lop_cuff_width_cm": 11.0},
        {"lop_posture": "standing"},
        {"percent_lop": 81.0},
        {"protocol": "none-such"},
        {"cuff": 2},
        {"lop_mmhg": "a lot"},
    ):
        reply = bench.say("prescribe", **bench.prescription() | wrong)
        assert not reply["ok"], wrong
        assert reply["text"].count("\n") == 0
        assert bench.phase() == "idle", wrong
    options = [f"--{key.replace('_mmhg', '').replace('_', '-')}={word}" for key, word in bench.prescription().items()]
    words = [one for one in options if not one.startswith("--protocol")]
    there = Path(bench.protocol(3))  # named from where the person is, not from where the bench was started
    said = bench.run("prescribe", there.name, *words, "--bench", bench.bench_id, cwd=there.parent)
    told = "cuff 1, right leg, S-1: one-set-3 at 112 mmHg, 60 % of an LOP of 187\n"
    assert (said.returncode, said.stdout) == (0, told), said
    bench.until(lambda seen: seen["phase"] == "ready", "READY")
    assert cli("start") == (0, "one-set-3 begins\n")
    assert cli("start") == (1, f"not while {bench.phase()}: a session is under way\n")
    assert cli("stop")[0] == 0
    ended = bench.until(lambda seen: seen["phase"] == "idle", "IDLE")
    assert ended["cuffs"][0]["vent_open"]
    assert ended["cuffs"][0]["dump_open"]
    assert cli("stop")[0] == 0, "stop is never bad input"
    shown = bench.run("status", "--bench", bench.bench_id, "--json")
    assert json.loads(shown.stdout).keys() == {"ok", "verb", "phase", "text", "value", "limit", "unit"}
    assert [kind for kind in (one["kind"] for one in bench.events()) if kind == "started"] == ["started"]


def test_garbage_at_the_socket_changes_nothing(bench: Any) -> None:
    for garbage in (b"\x00" * 100 + b"\n", b'{"verb": "inflate"}\n', b"[" * 5000 + b"\n", b'{"verb": NaN}\n'):
        with socket.socket(socket.AF_UNIX) as talking:
            talking.connect(str(bench.path))
            talking.sendall(garbage)
            assert json.loads(talking.makefile().readline())["ok"] is False
    assert bench.phase() == "idle"


# --- signals under pressure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "broker"),
    [(signal.SIGTERM, "none"), (signal.SIGINT, "absent"), (signal.SIGTERM, "deaf")],
    ids=["SIGTERM", "SIGINT, no broker there", "SIGTERM, broker with a full backlog"],
)
def test_a_signal_while_inflating(
    number: signal.Signals, broker: str, bench_of: Callable[..., Any], full_backlog: int, boottime: Callable[[], float]
) -> None:
    mqtt = f'[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {1 if broker == "absent" else full_backlog}\n'
    bench = bench_of("" if broker == "none" else mqtt)
    bench.start()
    bench.inflate()
    said_s = boottime()
    bench.signal(number)
    code, out, err = bench.ended(VENTED_WITHIN_S + GONE_WITHIN_S)
    gone_s = boottime()
    assert (code, out, err) == (0, "", "")

    phases = [(at_s, phase) for at_s, phase in bench.phases() if at_s > said_s]
    assert [phase for _, phase in phases] == ["stopping", "idle"]
    (vented_s, _), (empty_s, _) = phases
    print(
        f"{number.name}, broker {broker}: vented after {(vented_s - said_s) * 1e3:.0f} ms, "
        f"empty {empty_s - vented_s:.1f} s later, gone {gone_s - empty_s:.2f} s after that"
    )
    assert vented_s - said_s <= TICK_S + HELD_UP_S
    assert empty_s - vented_s <= VENTED_WITHIN_S
    assert gone_s - empty_s <= GONE_WITHIN_S, "whatever the broker does"
    assert not bench.path.exists()
    journal = bench.journal()
    assert journal.verify() == ""
    assert journal.recall().fault is None
    summary = json.loads(journal.recall().last_session)
    journal.close()
    assert summary["outcome"] == "stopped"


def test_a_second_signal_changes_nothing(bench: Any) -> None:
    bench.inflate()
    bench.signal(signal.SIGINT)
    bench.until(lambda seen: seen["phase"] == "stopping", "STOPPING")
    bench.signal(signal.SIGINT)
    bench.signal(signal.SIGTERM)
    assert bench.ended(VENTED_WITHIN_S + GONE_WITHIN_S) == (0, "", "")
    assert [phase for _, phase in bench.phases()][-2:] == ["stopping", "idle"]


# --- failing from within ---------------------------------------------------------------------------------------------

FAILING = """
import importlib, json, sys
from controller import app
from controller.__main__ import main

module = importlib.import_module("controller.{module}")

made = []
simulated_bench, sound = app.simulated_bench, module.{where}

def keep(*arguments):
    made.append(simulated_bench(*arguments))
    return made[-1]

def {name}(self, *arguments):
    if made and made[0].cuffs[0].cuff_mmhg > 60.0:
        raise RuntimeError(f"a bug at {{made[0].cuffs[0].cuff_mmhg:.0f}} mmHg")
    return sound(self, *arguments)

app.simulated_bench, module.{where} = keep, {name}
code = main(sys.argv[1:])
board, cuff = made[0].guard, made[0].cuffs[0]
board.advance(board._next_pass_s + 0.1)  # well within the lease
print(json.dumps(dict(
    pump=cuff.pump_enabled, vent=cuff.vent_open, dump=cuff.dump_open, trip=board.guard.trip_reason
)))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("module", "where", "name"),
    [
        ("publish.compose", "Composer.compose", "compose"),
        ("control", "Control._convert", "convert"),
        ("bedside.server", "CommandSocket.offer", "offer"),
    ],
    ids=["the publisher's task", "the tick", "whoever is shown the tick"],
)
def test_a_failure_vents_and_ends_the_process(module: str, where: str, name: str, bench_of: Callable[..., Any]) -> None:
    """A bug in any task, once the cuff is under pressure: the guard is asked to trip and the process ends non-zero."""
    mqtt = '[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = 1\n'
    bench = bench_of(mqtt, FAILING.format(module=module, where=where, name=name))
    bench.start()
    bench.prepare()
    assert bench.say("start")["ok"]
    code, out, err = bench.ended(30.0)
    assert code == 1
    assert re.search(r"RuntimeError: a bug at [67]\d mmHg$", err.strip()), err
    assert err.count("\n") == 1, err
    left = json.loads(out)
    assert (left["pump"], left["vent"], left["dump"]) == (False, True, True)
    assert left["trip"] == wire.HOST_TRIP, "asked for, and not only because the lease lapsed"
    journal = bench.journal()
    assert journal.verify() == ""
    journal.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_full_disk_never_stops_control(bench: Any) -> None:
    import resource

    bench.inflate(30.0)
    pid, size = bench.process.pid, bench.journal_path.stat().st_size
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(size, 4096), limits[1]))
    raised = bench.until(
        lambda seen: any(alarm["condition"] == "journal_failed" for alarm in seen["alarms"]), "the alarm journal_failed"
    )
    assert raised["phase"] in ("inflating", "working")
    stored = len(bench.events())
    assert bench.say("stop")["ok"]
    bench.until(lambda seen: seen["phase"] == "idle", "IDLE")
    assert len(bench.events()) == stored, "nothing could be stored meanwhile"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    bench.until(
        lambda seen: all(alarm["condition"] != "journal_failed" for alarm in seen["alarms"]), "the end of the alarm"
    )
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0
    assert [phase for _, phase in bench.phases()][-2:] == ["stopping", "idle"], "what waited in memory is stored"
    journal = bench.journal()
    assert journal.verify() == ""
    journal.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_what_a_full_disk_did_not_take_is_unknown_at_the_next_start(bench: Any) -> None:
    """A trip and a limb's time that were never stored: FAULT, and the limb counts as at its cap."""
    import resource

    bench.inflate(30.0)
    pid = bench.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, 1))
    bench.until(
        lambda seen: any(alarm["condition"] == "journal_failed" for alarm in seen["alarms"]), "the alarm journal_failed"
    )
    bench.say("stop")
    seen = bench.until(lambda seen: seen["phase"] == "idle", "IDLE")
    assert seen["phase"] == "idle"
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    bench.say("prescribe", **bench.prescription())
    refused = bench.say("start")
    assert not refused["ok"]
    assert "nothing can be recorded now" in refused["text"]
    bench.signal(signal.SIGTERM)
    bench.ended(20.0)
    bench.start()
    assert bench.phase() == "fault"
    bench.reset()
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    refused = bench.say("prescribe", **bench.prescription())
    assert refused["limit"] == 1200.0
    assert "leave the cuff empty for 180 s first" in refused["text"]


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_no_file_descriptor_left_never_stops_control(bench: Any) -> None:
    import resource

    bench.inflate(30.0)
    pid = bench.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, limits[1]))  # what is open stays so
    with socket.socket(socket.AF_UNIX) as talking:
        talking.connect(str(bench.path))
        talking.sendall(b'{"verb": "status", "id": 1}\n')
        talking.settimeout(0.3)
        with pytest.raises(TimeoutError):
            talking.recv(1)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        talking.settimeout(10.0)
        assert json.loads(talking.makefile().readline())["ok"]
    assert bench.say("stop")["ok"]
    bench.until(lambda seen: seen["phase"] == "idle", "IDLE")


# --- killed, and started again ---------------------------------------------------------------------------------------


def test_killed_while_inflated_nothing_is_resumed(bench: Any) -> None:
    before = bench.inflate()
    bench.until(lambda seen: seen["cuffs"][0]["restricted_s"] > 2.5, "two seconds of restricted time")
    bench.signal(signal.SIGKILL)
    assert bench.ended()[0] == -signal.SIGKILL
    known = len(bench.events())
    assert known > 5
    left_in = bench.phases()[-1][1]

    bench.start()
    seen = bench.look()
    assert seen["phase"] == "fault", "nobody has said how that limb is"
    (alarm,) = [one for one in seen["alarms"] if one["condition"] == "boot_fault"]
    assert f"the program ended while {left_in}: look at the limb" in alarm["text"]
    assert seen["cuffs"][0]["target_mmhg"] is None
    assert seen["cuffs"][0]["vent_open"]
    assert seen["cuffs"][0]["pump_duty"] == 0.0
    assert seen["protocol"] == ""
    assert not bench.say("start")["ok"]
    bench.say("next")
    bench.say("present")
    later = bench.until(lambda now: now["at_s"] > seen["at_s"] + 1.0, "a second later")
    assert later["phase"] == seen["phase"], "never resumed"
    assert later["cuffs"][0]["vent_open"]
    assert later["at_s"] > before["at_s"]

    bench.reset()
    bench.prepare()
    ready = bench.look()
    assert ready["cuffs"][0]["restricted_s"] >= 2.0, "the limb's clock stands until 180 s below 15 mmHg have been seen"
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0
    journal = bench.journal()
    assert journal.broken == ""
    assert journal.verify() == ""
    journal.close()
    events = bench.events()
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert len({one["journal_id"] for one in events}) == 1
    assert len({one["boot_id"] for one in events}) == 2
    assert events[known]["kind"] == "boot"


def test_held_up_it_trips_and_stays_in_fault_over_a_restart(bench: Any, boottime: Callable[[], float]) -> None:
    bench.inflate()
    bench.signal(signal.SIGSTOP)
    until_s = boottime() + 0.5
    while boottime() < until_s:
        time.sleep(0.01)
    bench.signal(signal.SIGCONT)
    bench.until(lambda seen: seen["phase"] == "fault", "FAULT")
    bench.until(lambda seen: (seen["cuffs"][0]["b_mmhg"] or 99.0) < EMPTY_MMHG, "empty")
    (trip,) = [one["data"] for one in bench.events() if one["kind"] == "trip"]
    assert trip["rule"] == "tick_late"
    assert re.fullmatch(r"\d+\.\d+ ms between two ticks, the limit is 100 ms", trip["text"])
    alarms = bench.look()["alarms"]
    assert [one["condition"] for one in alarms if one["priority"] == "high"] == ["tick_late"], "and nothing it explains"
    assert not bench.say("start")["ok"]
    assert bench.say("stop")["ok"], "stop is right in every phase"
    assert bench.phase() == "fault"
    assert "reset first" in bench.say("screen", answers=bench.answers(), by="AB")["text"]
    bench.signal(signal.SIGTERM)
    code, _, err = bench.ended()
    assert code == 0
    assert err.endswith(f"WARNING manchet: tripped, vented: {trip['text']} (tick_late)\n")
    assert err.count("\n") == 1

    bench.start()
    assert bench.phase() == "fault"
    refused = bench.say("start")
    assert not refused["ok"]
    assert "reset" in refused["text"]
    seen = bench.until(lambda seen: seen["alarms"], "the alarm that stands")
    assert any("not reset since" in alarm["text"] for alarm in seen["alarms"]), seen["alarms"]
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0

    bench.start()
    assert bench.phase() == "fault", "a restart is no reset"
    bench.reset()
    bench.prepare()
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0
    bench.start()
    assert bench.phase() == "idle", "reset by a person"


def test_the_weekly_limit_stands_over_a_restart(bench: Any) -> None:
    path = Path(bench.protocol(1))
    path.write_text(path.read_text() + 'frequency = "this test"\n[frequency]\nweekly = 1\n')
    asked = bench.prescription() | {"protocol": str(path)}
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    assert bench.say("prescribe", **asked)["ok"]
    bench.until(lambda seen: seen["phase"] == "ready", "READY")
    assert bench.say("start")["ok"]
    bench.until(lambda seen: seen["phase"] == "working", "WORKING, from where it counts")
    assert bench.say("stop")["ok"]
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0
    bench.start()
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    refused = bench.say("prescribe", **asked)
    assert not refused["ok"]
    assert "allows 1 sessions in seven days and this code had 1" in refused["text"]
    assert (refused["value"], refused["limit"], refused["unit"]) == (1.0, 1.0, "sessions")
    assert bench.say("screen", answers=bench.answers() | {"code": "S-2"}, by="AB")["ok"]
    assert bench.say("prescribe", **asked | {"code": "S-2"})["ok"], "another person's"


def test_a_broken_journal_comes_up_in_fault(bench: Any) -> None:
    bench.signal(signal.SIGTERM)
    assert bench.ended()[0] == 0
    bench.journal_path.write_bytes(b"SQLite format 3\x00" + b"\xa5" * 20_000)
    for _ in range(2):  # once more: a start that nobody saw to, or that went wrong, has told nobody anything
        bench.start()
        assert bench.phase() == "fault"
        bench.signal(signal.SIGTERM)
        assert bench.ended()[0] == 0
    bench.start()
    assert bench.phase() == "fault"
    assert list(Path(bench.journal_path.parent).glob("*.broken-1.sqlite")), "kept"
    bench.reset()
    assert bench.say("screen", answers=bench.answers(), by="AB")["ok"]
    refused = bench.say("prescribe", **bench.prescription())
    assert not refused["ok"], "nobody knows any more how long this limb has been restricted"
    assert "leave the cuff empty for 180 s first" in refused["text"]
    assert refused["limit"] == 1200.0
    assert refused["unit"] == "s"


def test_safe_ends_a_bench_that_hangs_under_pressure(bench: Any) -> None:
    from controller.cli.safe import safe

    bench.inflate()
    bench.signal(signal.SIGSTOP)
    said: list[str] = []
    code = safe([bench.path.parent], said.append)  # no other bench of this machine
    assert bench.ended()[0] == -signal.SIGKILL, said
    assert any("was killed" in line for line in said), said
    assert code == 1, "no guard was there to confirm that it is vented"
