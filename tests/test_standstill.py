"""A test is run again for the machine's sake alone."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from standstill import PERIOD_S, STOOD_STILL_S, Standstill, watch

SUPPORT = Path(__file__).parent / "support"


class Nights:
    """A clock of which each sleep takes what was asked and what the machine adds."""

    def __init__(self, *added_s: float) -> None:
        self.now_s = 100.0
        self._added_s = iter(added_s)

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + next(self._added_s)


def test_one_that_woke_in_time_says_nothing_and_one_that_did_not_says_by_how_much() -> None:
    nights, said = Nights(0.0, 0.009, 0.120, 0.0), list[float]()
    watch(said.append, nights.now, nights.sleep, 4)
    assert said == [pytest.approx(0.120)]
    assert nights.now_s == pytest.approx(100.0 + 4 * PERIOD_S + 0.129)  # what was late is not caught up with


@pytest.fixture
def saying() -> Iterator[Standstill]:
    """A watcher that says what it is told to by a line of ours, at once."""
    made = Standstill((sys.executable, "-c", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"))
    made.begin()
    yield made
    made.close()


def say(standstill: Standstill, line: str) -> None:
    """One line, and it is there to be read; of two the second might come later."""
    watcher = standstill._watcher
    assert watcher is not None
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    watcher.stdin.write(line.encode())
    watcher.stdin.flush()
    assert select.select([watcher.stdout], [], [], 20.0)[0]


@pytest.mark.process
def test_only_what_was_since_the_test_began_counts(saying: Standstill) -> None:
    say(saying, f"{STOOD_STILL_S + 0.001}\n")
    assert saying()
    assert not saying(), "asked again, nothing has been since"
    say(saying, f"{STOOD_STILL_S + 0.001}\n")
    saying.begin()
    assert not saying()
    say(saying, f"{STOOD_STILL_S - 0.001}\n")
    assert not saying(), "a bench bears that"


@pytest.mark.process
def test_a_watcher_that_is_gone_knows_nothing() -> None:
    gone = Standstill((sys.executable, "-c", ""))
    gone.begin()
    assert gone._watcher is not None
    gone._watcher.wait(20.0)
    assert not gone()
    gone.close()


@pytest.mark.process
def test_the_real_one_ends_with_its_test_run() -> None:
    code = "import standstill, sys; s = standstill.Standstill(); s.begin(); print(s._watcher.pid, flush=True)"
    out = subprocess.run([sys.executable, "-c", code], cwd=SUPPORT, capture_output=True, text=True, timeout=60.0)
    process = Path(f"/proc/{out.stdout.strip()}/status")
    until_s = time.monotonic() + 20.0
    while process.exists() and "State:\tZ" not in process.read_text():
        assert time.monotonic() < until_s, "a watcher outlives the run that started it"
