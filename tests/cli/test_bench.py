"""The figures of `bench`: what they are made of, and one measurement of each kind that is quick."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.__main__ import main
from controller.cli import timing
from controller.cli.bench import Row


def test_lateness_is_median_percentile_and_what_moves_in_a_minute() -> None:
    figures = timing.lateness([0.001] * 990 + [0.02] * 10)
    assert figures["p50_us"] == pytest.approx(1000)
    assert figures["p99_us"] == pytest.approx(20000)
    assert figures["missed"] == 10
    assert figures["worst_ms"] == pytest.approx(20)
    drifting = timing.lateness([k * 0.01 * 0.001 / 60 for k in range(6000)])  # 1 ms a minute
    assert drifting["drift_ms_min"] == pytest.approx(1.0, rel=0.01)


def test_a_goal_is_the_highest_that_is_good() -> None:
    assert Row("x", 2.0, "ms", 2.0, "").met
    assert not Row("x", 2.1, "ms", 2.0, "").met
    assert not Row("x", math.nan, "ms", 2.0, "").met


def test_the_replayed_session_is_the_session_that_was_heard(short_protocol: Path) -> None:
    figures = timing.tick(str(short_protocol))
    assert figures["ticks"] > 1500
    assert 1.0 < figures["median_us"] < 100000.0


def test_virtual_time_is_measured_against_a_plain_loop(short_protocol: Path) -> None:
    figures = timing.virtual(str(short_protocol))
    # Each against the plain loop, which is some two hundred times quicker. How one and two cuffs compare is a figure of
    # the machine in that second, and of a busy one it says nothing.
    assert figures["cuffs_1_s"] > figures["floor_s"] > 0.0
    assert figures["cuffs_2_s"] > figures["floor_s"]


@pytest.mark.process
def test_the_service_is_measured_in_a_process_of_its_own(runtime: Path) -> None:
    environ = os.environ | {"RUNTIME_DIRECTORY": str(runtime)}
    command = [sys.executable, "-m", "controller", "bench-part", "serve", "--seconds", "1"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    figures = json.loads(ran.stdout)
    assert {
        "p50_us",
        "p99_us",
        "drift_ms_min",
        "missed",
        "cpu_percent",
        "callback_ms",
        "callback_cpu_ms",
        "gc_ms",
    } <= set(figures)
    assert 0.0 < figures["cpu_percent"] < 100.0


def test_a_time_that_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "inf"]) == 2
    assert "--seconds = inf: must be a number between 1 and 3600" in capsys.readouterr().err
