"""A real mosquitto beside a real bench: a whole session seen by `mosquitto_sub`, and a broker that freezes and dies.

The real-time session asks what a broker's death costs the tick, beside a thread that does nothing but sleep to the same
deadlines in the same seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.messages import TOPIC

pytestmark = [pytest.mark.process, pytest.mark.broker]

ROOT = Path(__file__).parents[2]
SHORT = ROOT / "tests" / "faults" / "short.toml"
SPEED = 6  # so that the end is not over before a broker is back
TICK_S = 0.01


@pytest.fixture
def quick_session(room: Path, mosquitto: Any) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """The whole short protocol at SPEED times real time: the service of `run` with a simulated supervisor."""
    running: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        words = ["--protocol", str(SHORT), "--speed", str(SPEED), "--socket", str(room / "b.sock")]
        running.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "controller",
                    "demo-bench",
                    *words,
                    "--mqtt",
                    f"mqtt://127.0.0.1:{mosquitto.port}",
                ],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each event once; that they are all there and none overtook another."""
    once: dict[tuple[str, int], dict[str, Any]] = {}
    for event in events:
        assert once.setdefault((event["journal_id"], event["seq"]), event) == event, "the same number, another event"
    assert len({journal_id for journal_id, _ in once}) == 1
    assert [seq for _, seq in once] == list(range(1, len(once) + 1))
    return list(once.values())


def test_a_whole_session_as_mosquitto_sub_sees_it(
    quick_session: Callable[[], subprocess.Popen[str]], subscriber: Any
) -> None:
    process = quick_session()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    subscriber.until(
        lambda: [one["state"] for one in subscriber.heard("status")][-1:] == ["disconnected"], "the goodbye"
    )
    heard = subscriber.heard()
    for message in heard:
        body = {key: value for key, value in message.items() if key != "topic"}
        msgspec.convert(body, TOPIC[message["topic"]].payload, strict=True)
    assert {message["topic"] for message in heard} == set(TOPIC), "every topic"

    said = [one["state"] for one in subscriber.heard("status")]
    assert said[-2:] == ["ready", "disconnected"]
    phases = [one["phase"] for one in in_order(subscriber.heard("event")) if one["kind"] == "phase"]
    a_set = ["inflating", "holding", "working", "releasing"]  # a moment to get ready at target
    assert phases == ["ready", *a_set, "resting", *a_set, "idle"]
    kinds = [one["kind"] for one in in_order(subscriber.heard("event"))]
    assert kinds[0] == "boot"
    assert kinds.count("repetition") == 6
    assert kinds.count("set_ended") == 2
    assert "session_ended" in kinds
    (session,) = subscriber.heard("session")
    assert session["outcome"] == "completed"
    assert [one["reps"] for one in session["sets"]] == [3, 3]
    assert subscriber.heard("alarms")[-1]["alarms"] == []
    states = subscriber.heard("state")
    assert all(later["at_s"] - one["at_s"] <= 1.11 for one, later in pairwise(states)), "1 Hz at least"
    samples = subscriber.heard("pressure")
    assert max(max(one["cuffs"][0]["b_mmhg"]) for one in samples) > 0.9 * 112
    for topic in ("state", "pressure", "alarms", "status"):
        numbers = [one["seq"] for one in subscriber.heard(topic)]
        assert numbers == sorted(numbers), topic


def test_a_broker_that_dies_and_comes_back_loses_no_event(
    quick_session: Callable[[], subprocess.Popen[str]], subscriber: Any, mosquitto: Any
) -> None:
    """Stopped in order, killed, and killed while frozen, in one session."""

    def heard(kind: str, count: int = 1) -> Callable[[], bool]:
        return lambda: sum(one["kind"] == kind for one in subscriber.heard("event")) >= count

    process = quick_session()
    subscriber.until(heard("set_began"), "the first set")
    mosquitto.end()
    mosquitto.start()
    subscriber.until(heard("set_ended"), "the end of the first set")
    mosquitto.kill()
    mosquitto.start()
    subscriber.until(heard("set_began", 2), "the second set")
    mosquitto.signal(signal.SIGSTOP)
    mosquitto.kill()
    mosquitto.start()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    subscriber.until(
        lambda: [one["state"] for one in subscriber.heard("status")][-1:] == ["disconnected"], "the goodbye"
    )
    events = in_order(subscriber.heard("event"))
    assert [one["kind"] for one in events if one["kind"] in ("set_ended", "session_ended", "trip")] == [
        "set_ended",
        "set_ended",
        "session_ended",
    ]
    assert subscriber.heard("session")[-1]["outcome"] == "completed"


class Floor:
    """A thread that sleeps to a tick's deadlines: how many whole periods it misses on this machine, now."""

    def __init__(self) -> None:
        self.missed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        due_s = time.monotonic() + TICK_S
        while not self._over.wait(max(0.0, due_s - time.monotonic())):
            late_s = time.monotonic() - due_s
            whole = int(late_s / TICK_S)
            self.missed += whole
            due_s += (1 + whole) * TICK_S

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return self.missed


def missed_ticks(journal: Path) -> int:
    """Of the session's trace, which has a row every tenth tick."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
        at_ms = [row[0] for row in db.execute("SELECT at_ms FROM trace WHERE phase <> 'idle' ORDER BY id")]
    db.close()
    assert len(at_ms) > 50
    return round((at_ms[-1] - at_ms[0]) / 10.0) - 10 * (len(at_ms) - 1)


def test_a_broker_that_dies_in_real_time_costs_no_tick(
    bench_of: Callable[..., Any], subscriber: Any, mosquitto: Any
) -> None:
    bench = bench_of(f'[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {mosquitto.port}\n')
    bench.start()
    bench.prepare(repetitions=3)
    floor = Floor()
    assert bench.say("start")["ok"]
    working = bench.until(lambda seen: seen["phase"] == "working", "WORKING")
    mosquitto.signal(signal.SIGSTOP)
    bench.until(lambda seen: seen["at_s"] > working["at_s"] + 2.0, "2 s of a frozen broker")
    mosquitto.kill()
    bench.until(lambda seen: seen["at_s"] > working["at_s"] + 3.5, "1.5 s of no broker")
    mosquitto.start()
    back = time.monotonic()
    subscriber.until(lambda: subscriber.heard("status")[-1]["at_s"] > working["at_s"] + 3.5, "a word of the bench")
    back_s = time.monotonic() - back
    ended = bench.until(lambda seen: seen["phase"] == "idle", "the end of the session")
    floor_missed = floor.end()
    assert ended["outcome"] == "completed"
    bench.signal(signal.SIGTERM)
    assert bench.ended() == (0, "", "")
    missed = missed_ticks(bench.journal_path)
    print(f"missed ticks {missed}, floor {floor_missed}; back within {back_s:.2f} s")
    # A connect that held up the loop would cost a hundred ticks; a busy machine costs the floor some, and us some more.
    assert missed <= 5 + 5 * floor_missed
    assert back_s <= 3.0, "the bench is back within 2 s, and the subscriber needs a moment of its own"

    told = [json.dumps(event, sort_keys=True) for event in in_order(subscriber.heard("event"))]
    assert told == [json.dumps(event, sort_keys=True) for event in bench.events()], "exactly what the journal holds"
    journal = bench.journal()
    assert journal.acknowledged() == len(told), "and the journal knows that the broker has it all"
    journal.close()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_the_last_word(how: str, bench_of: Callable[..., Any], subscriber: Any, mosquitto: Any) -> None:
    """An orderly end says `disconnected`; after a kill the broker says `lost` in our place."""
    bench = bench_of(f'[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {mosquitto.port}\n')
    bench.start()
    bench.inflate()
    bench.signal(getattr(signal, how))
    code, _, err = bench.ended()
    assert (code, err) == ((0, "") if how == "SIGTERM" else (-signal.SIGKILL, ""))
    word = "disconnected" if how == "SIGTERM" else "lost"
    subscriber.until(lambda: subscriber.heard("status")[-1]["state"] == word, word)
    phases = [one["phase"] for one in in_order(subscriber.heard("event")) if one["kind"] == "phase"]
    assert phases == ["ready", "inflating"] + (["stopping", "idle"] if how == "SIGTERM" else [])
    if how == "SIGTERM":
        assert subscriber.heard("session")[-1]["outcome"] == "stopped"
    else:
        assert subscriber.heard("status")[-1]["seq"] is None
