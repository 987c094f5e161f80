"""`manchet demo`: a whole session on a simulated bench, faster than life, with a broker and the live view.

Three processes, as at a real bench: the control process (the code of `run`, in scaled time, on simulated physics),
an MQTT broker, and this one, which only looks, through the command socket. Seconds are the wall's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from .options import DONE, FAILED, Refused, number

BROKER_WITHIN_S: Final = 15.0
BENCH_WITHIN_S: Final = 15.0
GONE_WITHIN_S: Final = 12.0  # venting takes 8 s at most, and closing 2
SILENCE_S: Final = 5.0
SPEED_MAX: Final = 200.0

Speed = Annotated[float, number("--speed", 0.1, SPEED_MAX, help="times real time")]


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)
    app.command("demo-bench", hidden=True)(demo_bench)
    app.command("demo-broker", hidden=True)(demo_broker)


def demo(
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="see `manchet protocols`")] = (
        "bfr-30-15-15-15"
    ),
    speed: Speed = 20.0,
    mqtt: Annotated[str, typer.Option("--mqtt", metavar="URL", help="a broker of your own: mqtt://HOST:PORT")] = "",
) -> int:
    """Live through a session on a simulated bench."""
    from ..prescription.library import named
    from ..tomlfile import BadInput

    try:
        named(protocol)  # refused here, before anything is started
    except BadInput as error:
        raise Refused(str(error).replace("PROTOCOL = ", "--protocol = ", 1)) from None
    check_url(mqtt)
    signal.signal(signal.SIGTERM, _interrupt)
    ended: list[Mapping[str, Any]] = []  # the summary of the session, from the moment in which it is there
    try:
        with contextlib.ExitStack() as stack:
            url = mqtt or stack.enter_context(embedded_broker())
            path = _socket_path()
            bench = stack.enter_context(_bench_process(protocol, speed, url, path))
            _look_on(bench, path, speed, ended)
            code = _end_of(bench, ended[-1] if ended else None)
    except KeyboardInterrupt:
        if not ended:
            print("manchet: stopped before its session ended", file=sys.stderr)
            return FAILED
        code = DONE if ended[-1]["outcome"] == "completed" else FAILED
    if ended:
        from rich.console import Console

        from .view import session_table

        session_table(ended[-1], Console(width=None if sys.stdout.isatty() else 110))
    return code


def check_url(url: str) -> None:
    """Raise Refused unless it is "" or the address of a broker."""
    from urllib.parse import urlsplit

    if not url:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme == "mqtt" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise Refused(f"--mqtt = {url}: must be mqtt://HOST or mqtt://HOST:PORT")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


# --- the bench ----------------------------------------------------------------------------------------------------


def _socket_path() -> Path:
    from ..bedside.client import DEMO
    from ..bedside.paths import FolderRefused, control_socket, make_private, runtime_folder

    try:
        return control_socket(make_private(runtime_folder()), f"{DEMO}{os.getpid()}")
    except FolderRefused as error:
        raise Refused(str(error), FAILED) from None


class _Bench:
    """The control process and what it said on standard error."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.process = process
        self._said = said

    def running(self) -> bool:
        return self.process.poll() is None

    def ends(self, within_s: float) -> int | None:
        """The exit code, or None where it is still running after that."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        self._said.seek(0)
        lines = [line for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("manchet: ") if lines else "it said nothing"


@contextlib.contextmanager
def _bench_process(protocol: str, speed: float, url: str, path: Path) -> Iterator[_Bench]:
    arguments = ["demo-bench", "--protocol", protocol, "--speed", str(speed), "--mqtt", url, "--socket", str(path)]
    with tempfile.TemporaryFile() as said, _python(arguments, stdout=subprocess.DEVNULL, stderr=said) as process:
        bench = _Bench(process, said)
        try:
            yield bench
        finally:
            if bench.running():
                process.terminate()  # vents, waits for empty, closes the session
                if bench.ends(GONE_WITHIN_S) is None:
                    process.kill()
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


def _python(arguments: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    """This program again, in a process group of its own: Ctrl-C is ours to pass on."""
    root = str(Path(__file__).resolve().parents[2])
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
    command = [sys.executable, "-P", "-m", "controller", *arguments]
    return subprocess.Popen(command, env=environ, start_new_session=True, **streams)


def _look_on(bench: _Bench, path: Path, speed: float, ended: list[Mapping[str, Any]]) -> None:
    """Show the bench until its session is over, and keep the summary. Ctrl-C stops the bench, and we look on until it
    is vented; after the end there is nothing to stop."""
    from .view import follow, make_view

    span_s = 60.0 * min(4.0, max(1.0, speed / 4.0))
    try:
        _wait_for(bench, path)
        follow(_lines(path, ended), make_view(span_s))
    except KeyboardInterrupt:
        bench.process.terminate()
        if ended:
            return
        print("stopping: the cuff is vented", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            follow(_lines(path, ended), make_view(span_s))
            return
        bench.process.kill()  # a second Ctrl-C: the guard vents by itself


def _wait_for(bench: _Bench, path: Path) -> None:
    from ..bedside.client import ANSWER_S, NoAnswer, NoService, connect

    until_s = time.monotonic() + BENCH_WITHIN_S
    while bench.running() and time.monotonic() < until_s:
        try:
            connect(path, ANSWER_S).close()
        except (NoService, NoAnswer):
            bench.ends(0.02)
        else:
            return


def _lines(path: Path, ended: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What the bench shows, up to the picture after the summary of its session, which is kept in `ended`."""
    from ..bedside.client import NoAnswer, NoService, watch

    try:
        for line in watch(path, SILENCE_S):
            if line.get("type") == "session":
                ended.append(line)
            yield line
            if ended and line.get("phase") in ("idle", "fault"):
                return
    except (NoService, NoAnswer):
        return


def _end_of(bench: _Bench, summary: Mapping[str, Any] | None) -> int:
    """Wait for the bench to end by itself and say what became of it."""
    code = bench.ends(GONE_WITHIN_S) if summary is not None or not bench.running() else None
    if summary is None:
        why = bench.last_words() if code is not None else "it shows nothing any more and was ended"
        print(f"manchet: the session did not end: {why}", file=sys.stderr)
        return FAILED
    if code != 0 and summary["outcome"] == "completed":
        print(f"manchet: the bench did not end well: {bench.last_words()}", file=sys.stderr)
        return FAILED
    return DONE if summary["outcome"] == "completed" else FAILED


def demo_bench(
    protocol: Annotated[str, typer.Option("--protocol")],
    speed: Speed,
    socket: Annotated[Path, typer.Option("--socket")],
    mqtt: Annotated[str, typer.Option("--mqtt")] = "",
) -> int:
    """The control process of the demo."""
    from ..scenario.demo import run_demo_bench

    return run_demo_bench(protocol, speed, mqtt, socket)


# --- the broker ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """The URL of a broker on 127.0.0.1 that lives as long as this; "" where the extra `demo` is not installed."""
    from importlib.util import find_spec

    if find_spec("amqtt") is None:
        print('no MQTT broker: amqtt is not installed (pip install "manchet[demo]"); going on without one', flush=True)
        yield ""
        return
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with _python(["demo-broker"], **quiet) as broker:
        try:
            assert broker.stdout is not None
            ready, _, _ = select.select([broker.stdout], [], [], BROKER_WITHIN_S)
            port = broker.stdout.readline().decode().strip() if ready else ""
            if port.isdigit():
                print(f"MQTT broker: mqtt://127.0.0.1:{port}  (mosquitto_sub -p {port} -t 'manchet/#' -v)", flush=True)
                yield f"mqtt://127.0.0.1:{port}"
            else:
                print("no MQTT broker: amqtt did not start; going on without one", flush=True)
                yield ""
        finally:
            broker.kill()  # it holds nothing that anybody needs, and amqtt ends noisily


def demo_broker() -> int:
    """The broker of the demo: prints its port, ends with its standard input."""
    import asyncio
    import logging
    import warnings

    from amqtt.broker import Broker

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")

    async def serve() -> None:
        port = _free_port()
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        os._exit(DONE)  # whoever started us is gone: nothing to put in order

    asyncio.run(serve())
    return DONE


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
