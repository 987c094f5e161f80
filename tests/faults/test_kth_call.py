"""Every so many-th I/O call of a whole session fails, once or from then on, in every way its port has: the invariants
hold, and what one lost reading or frame may cost is nothing. `make sweep EVERY=1` fails each of them: hours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kth_call import PORTS

SUPPORT = Path(__file__).parents[1] / "support"
EVERY = int(os.environ.get("MANCHET_EVERY", "29"))


def told(port: str, every: int, guard: str = "gpio") -> dict[str, object]:
    """A process of its own: what forks must have no other threads."""
    words = [sys.executable, SUPPORT / "kth_call.py", port, str(every), str(every // 2), "7", guard]
    paths = os.pathsep.join(map(str, (SUPPORT, SUPPORT.parents[1])))
    ran = subprocess.run(words, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    result = json.loads(ran.stdout)
    assert result["outcome"] == "completed", "the parent fails nothing"
    assert result["calls"] > every
    assert result["children"] >= 2 * (result["calls"] // every - 1) * len(PORTS[port][1])
    print(f"{port}, {guard}: {result['calls']} calls, {result['children']} failures (simulated)")
    return result


@pytest.mark.slow
@pytest.mark.parametrize("port", PORTS)
def test_no_call_that_fails_breaks_an_invariant(port: str) -> None:
    assert told(port, 11 if port == "journal" else 1499)["wrong"] == []


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize(
    ("guard", "port"),
    # a board reads its sensor B by what MicroPython calls, which is no port of ours
    [("gpio", port) for port in PORTS] + [("pico", port) for port in PORTS if port != "sensor-b"],
)
def test_no_call_that_fails_breaks_an_invariant_at_length(port: str, guard: str) -> None:
    assert told(port, 1 if port == "journal" else EVERY, guard)["wrong"] == []
