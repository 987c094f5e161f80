"""Nothing trips for nothing: sessions one after the other on three real processes, for as long as one likes, with every
core busy. `make soak MINUTES=60`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

TIRED_S: Final = 300.0  # of restricted time; a session adds some 45 s, and 480 end it
MINUTES: Final = float(os.environ.get("MANCHET_SOAK", "0"))

pytestmark = [pytest.mark.process, pytest.mark.skipif(MINUTES == 0.0, reason="make soak")]


@pytest.fixture
def busy() -> Iterator[None]:
    """A process a core that does nothing but compute; others of this machine go before it."""
    load = [
        subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    yield
    for one in load:
        one.kill()
        one.wait()


def ended(bench: Any, sessions: int) -> list[dict[str, Any]]:
    """What the journal holds, once it has the end of so many sessions: it is written beside the tick."""
    until_s = time.monotonic() + 10.0
    while True:
        events: list[dict[str, Any]] = bench.events()
        if sum(one["kind"] == "session_ended" for one in events) == sessions:
            return events
        assert time.monotonic() < until_s, f"the journal does not have the end of {sessions} sessions"
        time.sleep(0.1)


@pytest.mark.usefixtures("busy")
@pytest.mark.timeout(120.0 + 60.0 * MINUTES)
def test_no_false_trip(wired_of: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    bench = wired_of()
    bench.start()
    until_s = time.monotonic() + 60.0 * MINUTES
    sessions = 0
    while time.monotonic() < until_s:
        bench.another_code()
        bench.until(lambda seen: all((cuff["b_mmhg"] or 99.0) < 10.0 for cuff in seen["cuffs"]), "empty cuffs")
        bench.prepare(repetitions=20)
        assert bench.say("start")["ok"]
        bench.until(lambda seen: seen["phase"] == "inflating", "INFLATING")
        seen = bench.until(lambda seen: seen["phase"] in ("idle", "fault"), "its end", within_s=120.0)
        sessions += 1
        with capsys.disabled():
            left_s = max(0.0, until_s - time.monotonic())
            print(f"\r{sessions:4} sessions, {left_s / 60.0:5.1f} min left", end="", flush=True)
        events = ended(bench, sessions)
        assert [one for one in events if one["kind"] == "trip" or one["data"].get("priority") == "high"] == []
        outcomes = [one["data"]["outcome"] for one in events if one["kind"] == "session_ended"]
        assert outcomes == ["completed"] * sessions, "a session that ended early proves nothing"
        if seen["cuffs"][0]["restricted_s"] > TIRED_S:  # it is one limb, whatever the code: it gets its blood back
            bench.until(lambda seen: seen["cuffs"][0]["restricted_s"] == 0.0, "a limb that has recovered", 240.0)
    with capsys.disabled():
        print(f"\r{sessions} sessions in {MINUTES:g} min on busy cores, no trip and no alarm of high priority")
