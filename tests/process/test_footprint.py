"""What the control process carries: which libraries, how much memory, how long to import. Through the real entry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
RSS_MAX_MB = 40.0
IMPORTS_MAX_MS = 400.0
IMPORTS_MAX_TIMES = 3.0  # its libraries', where those alone take a third of that or more: a busy machine
OURS = "controller.__main__, controller.cli.serve, controller.app, controller.publish.mqtt"
LIBRARIES = "asyncio, sqlite3, msgspec, aiomqtt"
NEVER = {
    "rich",
    "typer",
    "click",
    "amqtt",
    "matplotlib",
    "numpy",
    "flask",
    "fastapi",
    "aiohttp",
    "textual",
    "pytest",
    "gpiozero",
}
MQTT = '[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = 1\n'

PANEL = "[panel]\nstart_gpio = 22\nlamp_red_gpio = 23\nlamp_green_gpio = 24\nlamp_blue_gpio = 10\nbuzzer_gpio = 18\n"

# The process's own entry, and what is loaded when it ends.
LOOKING = """
import json, sys
from controller.__main__ import main

code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
sys.exit(code)
"""


def test_run_carries_no_terminal_web_or_plotting_library(bench_of: Callable[..., Any]) -> None:
    bench = bench_of(MQTT, LOOKING)
    bench.start()
    bench.inflate()
    bench.signal(signal.SIGTERM)
    code, out, err = bench.ended()
    assert (code, err) == (0, "")
    loaded = set(json.loads(out))
    assert {"controller", "aiomqtt", "sqlite3", "msgspec"} <= loaded, "it did what it does with a broker"
    assert loaded & NEVER == set()


def test_memory_of_the_control_process(bench_of: Callable[..., Any]) -> None:
    """Resident, under pressure, with MQTT and the simulated bench in it; as `ps` says it."""
    bench = bench_of(MQTT)
    bench.start()
    bench.inflate()
    ran = subprocess.run(["ps", "-o", "rss=", "-p", str(bench.process.pid)], capture_output=True, text=True, check=True)
    resident_mb = int(ran.stdout) / 1024.0
    print(f"control process: {resident_mb:.1f} MB resident")
    assert resident_mb <= RSS_MAX_MB


def test_memory_with_a_panel_and_its_pin_library(bench_of: Callable[..., Any]) -> None:
    """On a simulated bench gpiozero mocks the pins; the Pi's own pin library is loaded on none."""
    bench = bench_of(MQTT + PANEL, LOOKING)
    bench.start()
    bench.inflate()
    ran = subprocess.run(["ps", "-o", "rss=", "-p", str(bench.process.pid)], capture_output=True, text=True, check=True)
    rss_mb = int(ran.stdout) * 1024 / 1e6
    print(f"control process with a panel: {rss_mb:.1f} MB resident")
    assert rss_mb <= RSS_MAX_MB
    assert "panel_failed" not in {alarm["condition"] for alarm in bench.look()["alarms"]}
    bench.signal(signal.SIGTERM)
    code, out, err = bench.ended()
    assert (code, err) == (0, "")
    loaded = set(json.loads(out))
    assert "gpiozero" in loaded
    assert loaded & (NEVER - {"gpiozero"}) == set()
    assert "lgpio" not in loaded


def test_imports_of_the_control_process() -> None:
    """Processor time, the best of some runs, beside its libraries alone in the same minute: machines differ."""
    # In turns, so that what else this machine does meets them alike.
    runs = [(importing(OURS), importing(LIBRARIES), importing("sys")) for _ in range(5)]
    ours_ms, libraries_ms, bare_ms = (min(column) for column in zip(*runs, strict=True))
    print(
        f"imports of the control process: {ours_ms:.0f} ms of processor, "
        f"its libraries alone {libraries_ms:.0f} ms, a bare Python {bare_ms:.0f} ms"
    )
    assert ours_ms <= max(IMPORTS_MAX_MS, IMPORTS_MAX_TIMES * libraries_ms)


def importing(modules: str) -> float:
    """Milliseconds of processor time of a Python that imports this and ends."""
    code = f"import time; import {modules}; print(time.process_time() * 1e3)"
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return float(ran.stdout)
