"""A self-test of a bench that is really served: followed by one person, answered by another, stopped by a third."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process


@pytest.fixture
def bench(bench_of: Callable[..., Any]) -> Any:
    bench = bench_of()
    bench.start()
    return bench


def test_followed_answered_and_stopped(bench: Any) -> None:
    bench.prepare()
    following = subprocess.Popen(
        [sys.executable, "-m", "controller", "selftest", "--json", "--bench", bench.bench_id],
        env=bench.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    asked = bench.until(lambda seen: seen["phase"] == "testing" and seen["waiting_for"], "a question")
    assert asked["waiting_for"] == "which cuff filled: left leg, right leg, left arm, right arm or none"
    assert asked["cuffs"][0]["vent_open"]
    assert asked["cuffs"][0]["dump_open"]
    assert not bench.say("start")["ok"]
    right = bench.run("selftest", "--confirm", "right leg", "--bench", bench.bench_id)
    assert (right.returncode, right.stdout) == (0, "right: that is the cuff\n"), right
    bench.until(lambda seen: (seen["cuffs"][0]["b_mmhg"] or 0.0) > 50.0, "the long part under pressure")
    assert bench.say("stop")["ok"]
    out, err = following.communicate(timeout=20)
    assert following.returncode == 1, err
    told = json.loads(out)
    assert (told["ok"], told["outcome"]) == (False, "stopped")
    verdicts = {row["row"]: row["verdict"] for row in told["rows"]}
    assert verdicts["confirmed"] == verdicts["refusal"] == "passed"
    assert verdicts["leak"] == "not done"
    bench.until(lambda seen: seen["phase"] == "idle", "IDLE")
    kept = [one["data"] for one in bench.events() if one["kind"] == "selftest_row"]
    assert {row["row"] for row in kept} == set(verdicts)
    assert [one["data"]["outcome"] for one in bench.events() if one["kind"] == "selftest_ended"] == ["stopped"]
