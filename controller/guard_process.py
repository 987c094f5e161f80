"""The composition root of the guard process: a bench's settings → lines, sensors B, socket, and the guard's loop.

`run` is what `manchet guard` calls. However it ends, the lines have been driven low before, and the process is left
without gpiozero's own shutdown, which would make them float (`firmware_bridge/pins.py`). It refuses to start where the
kernel would let outputs outlive it: a guard that could not be trusted to die well must not arm.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import randbelow
from typing import Any, Final

from firmware_bridge.gpio_guard import GuardBoard, GuardServer
from firmware_bridge.pins import GpioPins, GuardLines, lgpio_factory, outputs_outlive
from firmware_bridge.ports import Sensor

from . import hardware
from .bedside.lock import BenchLock, BenchTaken, clear_dead_socket
from .bedside.notify import Notifier
from .bedside.paths import (
    FolderRefused,
    guard_lines,
    guard_socket,
    make_private,
    runtime_folder,
    state_folder,
    world_socket,
)
from .bedside.peer import allowed, peer
from .calibration import b_corrections, corrected, handed_over
from .settings import Settings, load
from .tomlfile import BadInput
from .wires import guard_lines_of, sensors_b

BACKLOG: Final = 16
CONFIG_TXT: Final = "dtparam=strict_gpiod"
PETS_A_PERIOD: Final = 4  # of systemd's watchdog
_BOOTTIME: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # a suspended guard was late

_log: Final = logging.getLogger("manchet.guard")


class LinesRefused(Exception):
    """The lines cannot be used. The message is a sentence."""


def run(config: Path, sys_folder: Path = Path("/sys"), leave: Callable[[int], None] = os._exit) -> int:
    """Guard the bench of this file until SIGTERM or Ctrl-C. Returns the exit code where it is refused before it has
    claimed a line; else it ends by `leave`."""
    try:
        settings = load(config)
        hardware.check(settings, config)
        if settings.guard.kind != "gpio":
            raise BadInput(config, "guard.kind", settings.guard.kind, '"gpio" for a guard process')
        runtime = make_private(runtime_folder())
        path = guard_socket(runtime, settings.bench_id)
        with BenchLock(runtime, f"{settings.bench_id}.guard"):
            factory = _factory(settings, runtime, sys_folder)
            clear_dead_socket(path)
            lines = guard_lines_of(settings)
            written = _write_lines(guard_lines(runtime, settings.bench_id), settings.bench_id, lines, factory)
            held: list[GpioPins] = []  # to the very end: lines that are garbage collected float
            code = _guard(settings, lines, factory, path, runtime, held)
            if code == 0 and written is not None:
                written.unlink(missing_ok=True)  # low and nobody's: there is nothing left to drive low
            sys.stdout.flush()
            sys.stderr.flush()
            leave(code)
            return code
    except BadInput as error:
        return _complain(str(error), 2)
    except BenchTaken as error:
        return _complain(str(error).replace("is controlled", "is guarded").partition(" (`")[0], 1)
    except (FolderRefused, LinesRefused, OSError) as error:
        return _complain(str(error), 1)


def _factory(settings: Settings, runtime: Path, sys_folder: Path) -> Any:
    """Where gpiozero's pins come from."""
    if settings.simulated is not None:
        from firmware_bridge.simulated.world_client import world_factory

        return world_factory(world_socket(runtime, settings.bench_id))
    parameter = outputs_outlive(sys_folder)
    if parameter is not None:
        raise LinesRefused(
            f"{parameter}: outputs keep their level when the guard dies, and so would the pump; put `{CONFIG_TXT}` in "
            "/boot/firmware/config.txt and reboot"
        )
    os.environ["GPIOZERO_PIN_FACTORY"] = "lgpio"  # no other one is tried
    os.environ.setdefault("LG_WD", str(runtime))  # where lgpio makes its pipes
    try:
        return lgpio_factory()
    except ImportError as error:
        raise LinesRefused(
            f"lgpio is not installed ({error}): pip install -e '.[pi]' in the checkout, or `make install`"
        ) from error
    except Exception as error:
        raise LinesRefused(
            f"the GPIO chip cannot be opened ({error}): is this a Pi, and this user in `gpio`?"
        ) from error


def _write_lines(path: Path, bench_id: str, lines: GuardLines, factory: Any) -> Path | None:
    """Say which lines are ours before one is claimed, for whoever has to drive them low when we are gone."""
    chip = getattr(factory, "chip", None)
    if chip is None:  # they are no lines of this machine's
        path.unlink(missing_ok=True)
        return None
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"bench_id": bench_id, "chip": chip, "lines": list(lines.outputs)}) + "\n")
    new.replace(path)
    return path


def _guard(settings: Settings, lines: GuardLines, factory: Any, path: Path, runtime: Path, held: list[GpioPins]) -> int:
    """Claim the lines, serve, and drive them low. Nothing that goes wrong keeps them from being driven low; they are
    put into `held`, for whoever calls this to keep until the process ends."""
    told_to_end = False

    def end(_number: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    notifier = Notifier()
    code = 1
    try:
        pins = GpioPins(lines, factory)
        held.append(pins)
        board = GuardBoard(pins, _sensors(settings, runtime), 1 + randbelow(2**32 - 1), _clock)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(BACKLOG)
            server = GuardServer(board, listener, lambda one: allowed(peer(one)), _clock, _petting(notifier))
            gc.collect()
            gc.freeze()
            notifier.tell("READY=1")
            with suppress(OSError, ValueError):  # guarded all the same where nobody reads it
                print(f"bench {settings.bench_id} is guarded at {path}", flush=True)
            server.serve(lambda: told_to_end)
            notifier.tell("STOPPING=1")
        code = 0
    except Exception as error:
        _log.exception("the guard failed")
        _complain(f"the guard failed: {type(error).__name__}: {error}", 1)
    finally:
        code = max(code, *map(_let_go, held), 0)
        path.unlink(missing_ok=True)
        notifier.close()
    return code


def _sensors(settings: Settings, runtime: Path) -> tuple[Sensor, ...]:
    """Sensors B behind their corrections, and word left of which those are. Where it cannot be left, `run` will not let
    a session begin."""
    state = state_folder()
    corrections = b_corrections(settings, state)
    try:
        handed_over(settings, make_private(state), corrections)
    except (FolderRefused, OSError) as error:
        _log.error("what sensor B is corrected with cannot be written: %s", error)
    return corrected(sensors_b(settings, runtime, _clock), corrections)


def _let_go(pins: GpioPins) -> int:
    try:
        pins.let_go()
    except Exception as error:
        return _complain(f"a line could not be driven low: {error}; take the cuff off the limb", 1)
    return 0


def _petting(notifier: Notifier) -> Callable[[], None] | None:
    """Systemd's watchdog, petted by whole passes alone."""
    if not notifier.watchdog_s:
        return None
    every_s = notifier.watchdog_s / PETS_A_PERIOD
    petted_s = _clock()

    def pet() -> None:
        nonlocal petted_s
        now_s = _clock()
        if now_s - petted_s >= every_s:
            petted_s = now_s
            notifier.tell("WATCHDOG=1")

    return pet


def _clock() -> float:
    return time.clock_gettime(_BOOTTIME)


def _complain(text: str, code: int) -> int:
    print(f"manchet: {' '.join(text.split())}", file=sys.stderr)
    return code
