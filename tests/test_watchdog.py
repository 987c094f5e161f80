"""Systemd's watchdog kills a process that no longer does its work, and none that has an alarm to raise."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from pathlib import Path

import pytest

import session_bench as bench
from controller.app import may_live_on
from controller.core.model import Phase, Verb
from session_bench import Stand

UNIT = (Path(__file__).parents[1] / "systemd" / "manchet.service").read_text()
WATCHDOG_S = float(re.findall(r"^WatchdogSec=(\d+)$", UNIT, re.MULTILINE)[0])


@dataclass
class Unpetted:
    """How long it was not petted, at most."""

    stand: Stand
    longest_s: float = 0.0
    _since_s: float | None = None

    def run(self, seconds: float) -> None:
        end_s = self.stand.now_s + seconds
        while self.stand.now_s < end_s:
            self.stand.tick()
            if may_live_on(self.stand.state, 0.0):
                self._since_s = None
            else:
                self._since_s = self.stand.now_s if self._since_s is None else self._since_s
                self.longest_s = max(self.longest_s, self.stand.now_s - self._since_s)


def silent(stand: Stand) -> None:
    stand.answering = False


def dead_a(stand: Stand) -> None:
    stand.channels[0].sampled = False


def dead_b(stand: Stand) -> None:
    stand.channels[0].b = nan


@pytest.mark.parametrize("dead", [silent, dead_a, dead_b])
def test_what_never_says_a_word_is_told_before_the_watchdog_ends_it(dead: Callable[[Stand], None]) -> None:
    stand = Stand()
    dead(stand)
    unpetted = Unpetted(stand)
    unpetted.run(20.0)
    assert stand.phase is Phase.FAULT
    assert unpetted.longest_s < WATCHDOG_S / 2


@pytest.mark.parametrize("dead", [silent, dead_a, dead_b])
def test_nor_after_a_reset_with_the_cuff_off(dead: Callable[[Stand], None]) -> None:
    stand = bench.at(Phase.WORKING)
    dead(stand)
    stand.until(Phase.FAULT).run(2.0)
    stand.obeyed(Verb.RESET, cuff_off=True)
    unpetted = Unpetted(stand)
    unpetted.run(20.0)
    assert unpetted.longest_s < WATCHDOG_S / 2


def test_a_tick_that_came_late_or_saw_nothing_under_pressure_is_not_work() -> None:
    stand = bench.at(Phase.WORKING)
    assert may_live_on(stand.state, 0.1)
    assert not may_live_on(stand.state, 0.101)
    stand.channels[0].b = nan
    stand.run(0.25)
    assert stand.phase is Phase.WORKING
    assert not may_live_on(stand.state, 0.0)
