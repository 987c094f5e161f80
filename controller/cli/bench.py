"""`manchet bench`: the timing figures of this machine, each with its goal and with a floor of the same run.

Starts a process a part (`timing.py`), because a measurement must not carry what another left behind.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from .options import DONE, FAILED, Refused, number

Seconds = Annotated[float, number("--seconds", 1.0, 3600.0, help="how long to run in real time")]
STARTS: Final = 5
READY_WITHIN_S: Final = 15.0
LIBRARIES: Final = "asyncio, sqlite3, msgspec, aiomqtt, typer"
OURS: Final = "controller.__main__, controller.cli.app, controller.app, controller.publish.mqtt"
BENCH_TOML: Final = """
bench_id = "timing-{pid}"
journal = "{folder}/journal.sqlite"
cuffs = [{{ sensor = {{ kind = "abp2", bus = 1 }} }}]
[guard]
kind = "simulated"
[simulated]
[mqtt]
enabled = true  # its memory counts; nobody listens at this port
port = 9
"""


class Row(NamedTuple):
    """One figure. `goal` is the highest that is good."""

    what: str
    measured: float
    unit: str
    goal: float
    floor: str

    @property
    def met(self) -> bool:
        return self.measured <= self.goal


def register(app: typer.Typer) -> None:
    app.command("bench")(bench)
    app.command("bench-part", hidden=True)(bench_part)


def bench(
    seconds: Seconds = 20.0, as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False
) -> int:
    """Measure this machine: ticks, pauses, virtual time, memory and start."""
    rows = [*_real_time(seconds), *_tick(), *_virtual(), *_start()]
    if as_json:
        print(json.dumps([row._asdict() | {"met": row.met} for row in rows]))
        return DONE
    print(f"{'':<44}{'measured':>12}  {'goal':>10}      floor of the same run")
    for row in rows:
        mark = "met" if row.met else "NOT"
        print(f"{row.what:<44}{row.measured:>9.4g} {row.unit:<4}{'≤':>2} {row.goal:<7g}{mark}   {row.floor}")
    print("Measured on this machine, with a simulated bench; nothing here is a figure of a Raspberry Pi.")
    return DONE


def bench_part(
    part: Annotated[str, typer.Argument()],
    seconds: Seconds = 20.0,
    url: Annotated[str, typer.Option("--mqtt")] = "",
) -> int:
    """Measure one part and print its figures."""
    from .timing import measure

    print(json.dumps(measure(part, seconds, url)))
    return DONE


def _run_part(part: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "controller", "bench-part", part, *options]
    return subprocess.Popen(command, env=_environ(), stdout=subprocess.PIPE, text=True)


def _figures(part: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = part.communicate()
    if part.returncode:
        raise Refused("a part of the measurement failed; what it said is above", FAILED)
    figures: dict[str, float] = json.loads(out)
    return figures


def _environ() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}


def _real_time(seconds: float) -> list[Row]:
    from .demo import embedded_broker

    with embedded_broker() as url:
        floor_part = _run_part("floor", "--seconds", str(seconds))
        ours = _figures(_run_part("serve", "--seconds", str(seconds), "--mqtt", url))
        floor = _figures(floor_part)
    delay = f"of it at work {ours['callback_cpu_ms']:.2f} ms; the thread's longest delay: {floor['worst_ms']:.1f} ms"
    thread = "a thread sleeping to absolute deadlines: {:.0f} µs"
    with_mqtt = "MQTT included" if url else "no MQTT: amqtt is not installed"
    return [
        Row("tick lateness p50, times its floor", ours["p50_us"] / floor["p50_us"], "x", 2.5,
            f"{ours['p50_us']:.0f} µs; {thread.format(floor['p50_us'])}"),
        Row("tick lateness p99, times its floor", ours["p99_us"] / floor["p99_us"], "x", 4.0,
            f"{ours['p99_us']:.0f} µs; {thread.format(floor['p99_us'])}"),
        Row("drift, a minute", abs(ours["drift_ms_min"]), "ms", 2.0, f"{abs(floor['drift_ms_min']):.3f} ms"),
        Row("missed periods", ours["missed"], "", 0.0, f"{floor['missed']:.0f}"),
        Row("longest callback", ours["callback_ms"], "ms", 2.0, delay),
        Row("longest garbage collection", ours["gc_ms"], "ms", 1.0, ""),
        Row("CPU of the control process, bench inside", ours["cpu_percent"], "%", 8.0, with_mqtt),
    ]  # fmt: skip


def _tick() -> list[Row]:
    ours = _figures(_run_part("tick"))
    return [Row("cost of a tick, bus replayed, median", ours["median_us"], "µs", 100.0, f"p99 {ours['p99_us']:.0f} µs")]


def _virtual() -> list[Row]:
    ours = _figures(_run_part("virtual"))
    plain = f"a plain PID-and-plant loop: {ours['floor_s']:.2f} s"
    return [
        Row("20 minutes in virtual time, one cuff", ours["cuffs_1_s"], "s", 10.0,
            f"{ours['cuffs_1_s'] / ours['floor_s']:.0f} x {plain}"),
        Row("20 minutes in virtual time, two cuffs", ours["cuffs_2_s"], "s", 18.0,
            f"{ours['cuffs_2_s'] / ours['floor_s']:.0f} x {plain}"),
    ]  # fmt: skip


# --- memory and start ---------------------------------------------------------------------------------------------


def _start() -> list[Row]:
    libraries_ms, ours_ms = _import_ms(LIBRARIES), _import_ms(f"{LIBRARIES}, {OURS}")
    service_mb, bare_mb = _resident_mb()
    return [
        Row("imports of the control process", ours_ms, "ms", 400.0, f"its libraries alone: {libraries_ms:.0f} ms"),
        Row("memory of the control process", service_mb, "MB", 40.0, f"its libraries alone: {bare_mb:.0f} MB"),
    ]


def _import_ms(modules: str) -> float:
    """The best of a few processes: what a disk or another process took is not ours."""
    code = f"import time; began = time.perf_counter(); import {modules}; print(time.perf_counter() - began)"
    ran = [_python(code) for _ in range(STARTS)]
    return min(float(out) for out in ran) * 1e3


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=_environ(), capture_output=True, text=True, check=True
    ).stdout


def _resident_mb() -> tuple[float, float]:
    """Resident memory of `manchet run` when it serves, and of a process that has imported its libraries."""
    with tempfile.TemporaryDirectory(prefix="mb") as name:
        config = Path(name, "bench.toml")
        config.write_text(BENCH_TOML.format(pid=os.getpid(), folder=name))
        command = [sys.executable, "-P", "-m", "controller", "run", "--config", str(config)]
        environ = _environ() | {"RUNTIME_DIRECTORY": name, "STATE_DIRECTORY": name}
        with subprocess.Popen(command, env=environ) as service:
            try:
                until_s = time.monotonic() + READY_WITHIN_S
                while not list(Path(name).glob("*.sock")) and time.monotonic() < until_s and service.poll() is None:
                    time.sleep(0.05)
                time.sleep(2.0)  # a few hundred ticks
                service_mb = _resident(service.pid)
            finally:
                service.terminate()
    bare = subprocess.Popen([sys.executable, "-c", f"import {LIBRARIES}; input()"], stdin=subprocess.PIPE)
    with bare:
        readings = []
        for _ in range(10):
            time.sleep(0.1)
            readings.append(_resident(bare.pid))
        bare.communicate(b"\n")
    return service_mb, statistics.median(readings[5:])


def _resident(pid: int) -> float:
    """Resident memory of a process in MB, as `ps` says it on Linux and macOS."""
    ran = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words: list[Any] = ran.stdout.split()
    if not words:
        raise Refused("the control process did not start; what it said is above", FAILED)
    return int(words[0]) / 1024.0
