"""How a board becomes a guard: asked to leave its loop, given its files, and asked which version it runs.

A board that guards is asked to leave its loop first (MAINTENANCE), which it does only if no ARM has reached it since
its reset. The files go over its USB console with `mpremote`, MicroPython's own tool, as a process of its own. Whatever
fails on the way leaves the board without a loop, which is vented.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final

import firmware_bridge
from firmware_bridge.firmware import guard, wire
from firmware_bridge.serial_transport import PortTaken, open_port

from ..bedside.paths import FolderRefused, make_state, state_folder
from ..calibration import b_corrections, board_json, forgotten, handed_over
from ..hardware import part_of
from .options import FAILED, NO_ANSWER, Refused

if TYPE_CHECKING:
    from ..settings import Settings

ANSWER_WITHIN_S: Final = 3.0
LEAVE_WITHIN_S: Final = 2.0
COPY_WITHIN_S: Final = 120.0
BOOT_WITHIN_S: Final = 15.0  # [J] its port vanishes, comes back, and the files are compiled
HELLO_EVERY_S: Final = 0.5
ROOT: Final = Path(firmware_bridge.__file__).parent

MAIN: Final = """\
# Written by `manchet flash`: this board is a guard.
import micropython

micropython.kbd_intr(-1)  # first of all: frames contain byte 3, Ctrl-C, which would break off what follows
try:
    from firmware_bridge.firmware.pico_main import main
except BaseException:
    micropython.kbd_intr(3)  # a copy that broke off: let the next one in
    raise
main()
"""
PREPARE: Final = (
    "import os\n"
    "for folder in ('/firmware_bridge', '/firmware_bridge/firmware'):\n"
    "    try:\n"
    "        os.mkdir(folder)\n"
    "    except OSError:\n"
    "        pass\n"
    "try:\n"
    "    os.remove('/main.py')\n"  # a copy that breaks off must not start half
    "except OSError:\n"
    "    pass\n"
)


def find_mpremote() -> str:
    """The program, on the path or beside this Python. Raises Refused."""
    beside = Path(sys.executable).parent
    found = shutil.which("mpremote", path=f"{os.environ.get('PATH', '')}{os.pathsep}{beside}")
    if found is None:
        raise Refused(
            "mpremote is not installed: pip install -e '.[flash]' in the checkout, or `make install GUARD=pico`", FAILED
        )
    return found


class Corrections:
    """What the calibration of a bench has its sensors B corrected with; as text, what is said of it."""

    def __init__(self, bench: Settings, state: Path | None) -> None:
        self._bench = bench
        self._state = state_folder() if state is None else state
        self._corrections = b_corrections(bench, self._state)

    def into(self, wiring: dict[str, Any]) -> None:
        """Write them into a board's settings, whose own give way. Raises Refused: other cuffs than the bench has."""
        cuffs = wiring.setdefault("cuffs", [{}])
        if len(cuffs) != len(self._corrections):
            raise Refused(f"--board: {len(cuffs)} cuffs, must be {len(self._corrections)} as in the bench's settings")
        self._check_alike(wiring)
        for cuff, correction in zip(cuffs, self._corrections, strict=True):
            cuff.setdefault("sensor", {}).update(board_json(correction))

    def _check_alike(self, wiring: dict[str, Any]) -> None:
        """A correction is of the sensor that the bench's settings name: the board must read that one."""
        from firmware_bridge.firmware import pico_main

        whole: Callable[[Any], Any] = pico_main.settings
        for number, (cuff, on_board) in enumerate(zip(self._bench.cuffs, whole(wiring)["cuffs"], strict=True), start=1):
            if cuff.sensor_b is None:  # settings.load saw to it
                continue
            read = on_board["sensor"]
            names: dict[str, Any] = {"kind": cuff.sensor_b.kind}
            if cuff.sensor_b.kind == "abp2":
                bus, address = cuff.sensor_b.place
                names |= {"part": part_of(cuff.sensor_b), "i2c": bus, "address": address}
            for key, there in names.items():
                if read.get(key) != there:
                    must = f"must be {there} as in the bench's settings, whose calibration it gets"
                    raise Refused(f"--board: cuffs[{number}].sensor.{key} = {read.get(key)}: {must}")

    def handed_over(self) -> None:
        """Leave word of it, once the board has it. Raises Refused."""
        try:
            handed_over(self._bench, make_state(self._state), self._corrections)
        except (FolderRefused, OSError) as error:
            sentence = f"the board has its corrections, and word of it could not be left ({error}): no READY without it"
            raise Refused(sentence, FAILED) from None

    def __str__(self) -> str:
        told = [f"zero {one.offset_mmhg:+.1f} mmHg, gain {one.gain:.4f}" for one in self._corrections]
        return "; ".join(f"cuff {number}: {text}" for number, text in enumerate(told, start=1))


def forget_corrections(bench: Settings | None, state: Path | None) -> None:
    """Before a board gets a wiring, or may be another one. Raises Refused: then nothing has been done to it."""
    try:
        forgotten(state_folder() if state is None else state, bench)
    except OSError as error:
        raise Refused(f"what the board corrects sensor B with cannot be forgotten ({error})", FAILED) from None


def wiring(path: Path, corrections: Corrections | None) -> str:
    """A board's settings as they go onto it. What the board would refuse is refused here, where somebody reads it."""
    from firmware_bridge.firmware import pico_main

    refuse: Callable[[Any], Any] = pico_main.settings

    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"--board = {path}: must be a file of JSON ({error})") from None
    try:
        refuse(given)
        if corrections is not None:
            corrections.into(given)
            refuse(given)
    except ValueError as error:
        raise Refused(f"--board = {path}: {error}") from None
    return json.dumps(given, indent=1)


# --- talking to the guard ----------------------------------------------------------------------------------------


def open_board(port: str, baud: int) -> Any:
    try:
        return open_port(port, baud)
    except PortTaken:
        sentence = f"{port} is held by another process, likely the service of this bench: stop it first"
        raise Refused(sentence, FAILED) from None
    except OSError as error:
        raise Refused(str(error), FAILED) from None


def _heard(port: Any, within_s: float) -> Iterator[tuple[Any, ...]]:
    """The messages as they come, until the time is over; greets until there is a WELCOME."""
    decoder = wire.Decoder()
    nonce, seq = -1, 0
    end_s = time.monotonic() + within_s
    hello_at_s = time.monotonic()
    while (now_s := time.monotonic()) < end_s:
        if now_s >= hello_at_s:
            nonce, seq, hello_at_s = randbits(32), seq + 1, now_s + HELLO_EVERY_S
            os.write(port.fileno(), wire.hello(seq, nonce))
        if not select.select([port.fileno()], (), (), 0.02)[0]:
            continue
        data = os.read(port.fileno(), 4096)
        if not data:
            return
        for message in decoder.feed(data):
            if message[1] == wire.WELCOME and message[3] == nonce:
                hello_at_s = end_s
                yield message
            elif message[1] == wire.STATUS and hello_at_s == end_s:
                yield message


def leave_loop(port: str, baud: int) -> None:
    """Ask the guard to leave its loop. Raises Refused: no answer, or why it does not."""
    opened = open_board(port, baud)
    answered = False
    refused_before = -1
    try:
        asked_at_s = 0.0
        for message in _heard(opened, ANSWER_WITHIN_S + LEAVE_WITHIN_S):
            answered = True
            if message[1] != wire.STATUS:
                continue
            if message[5] == wire.FLASHING:
                return
            if refused_before < 0:
                refused_before = message[12]
                asked_at_s = time.monotonic()
                os.write(opened.fileno(), wire.maintenance(100, message[4], message[3]))
            elif message[12] != refused_before:
                raise Refused(_why_not(message[13]), FAILED)
            elif time.monotonic() > asked_at_s + LEAVE_WITHIN_S:
                break
    except OSError as error:
        raise Refused(f"{port}: {error.strerror}", FAILED) from None
    finally:
        opened.close()
    if answered:
        raise Refused("the board answers and does not leave its loop: unplug it, plug it in and try again", NO_ANSWER)
    raise Refused(
        f"no board answers at {port}: see to its cable; where it runs MicroPython and has never been a guard, say "
        "--first",
        NO_ANSWER,
    )


def _why_not(refusal: int) -> str:
    if refusal == wire.REFUSED_STATE:
        return (
            "the board has been armed since its last reset: unplug it, plug it in again, and flash before anything else"
        )
    words = wire.REFUSAL_WORDS[refusal] if refusal < len(wire.REFUSAL_WORDS) else f"refusal {refusal}"
    return f"the board refuses to leave its loop: {words}"


def read_back(port: str, baud: int) -> str:
    """What the guard that has just been flashed says of itself. Raises Refused: silent, or another version."""
    until_s = time.monotonic() + BOOT_WITHIN_S
    while time.monotonic() < until_s:
        try:
            opened = open_port(port, baud)
        except OSError:
            time.sleep(0.1)  # its port is not back yet
            continue
        try:
            for message in _heard(opened, until_s - time.monotonic()):
                if message[1] == wire.WELCOME:
                    return _judge(message[6], message[7])
        except OSError:
            pass  # gone again
        finally:
            opened.close()
        time.sleep(0.1)
    raise Refused(
        f"the files are on the board, and no guard answers at {port} within {BOOT_WITHIN_S:g} s: read what its console "
        "says (`mpremote connect PORT`), then flash again with --first",
        NO_ANSWER,
    )


def _judge(firmware: int, channels: int) -> str:
    if firmware != guard.FIRMWARE:
        raise Refused(
            f"the board answers with firmware {_version(firmware)}, this program has {_version(guard.FIRMWARE)}: "
            "flash again",
            FAILED,
        )
    return f"firmware {_version(firmware)}, wire version {wire.VERSION}, {channels} cuff{'s' if channels > 1 else ''}"


def _version(firmware: int) -> str:
    return f"{firmware >> 8}.{firmware & 0xFF}"


# --- copying -----------------------------------------------------------------------------------------------------


def copy(mpremote: str, console: str, wiring: str | None) -> int:
    """One run of mpremote: folders, files, main.py last, reset. How many files. Raises Refused with its last words."""
    files = sorted((ROOT / "firmware").glob("*.py"))
    with tempfile.TemporaryDirectory(prefix="manchet") as folder:
        main = Path(folder) / "main.py"
        main.write_text(MAIN)
        words = [mpremote, "connect", console, "exec", PREPARE]
        words += ["+", "cp", str(ROOT / "__init__.py"), ":/firmware_bridge/__init__.py"]
        for file in files:
            words += ["+", "cp", str(file), f":/firmware_bridge/firmware/{file.name}"]
        if wiring is not None:
            board = Path(folder) / "bench.json"
            board.write_text(wiring, encoding="utf-8")
            words += ["+", "cp", str(board), ":/bench.json"]
        words += ["+", "cp", str(main), ":/main.py", "+", "reset"]
        try:
            ran = subprocess.run(words, capture_output=True, text=True, timeout=COPY_WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"mpremote: {error}; the board guards nothing until it has been flashed", FAILED) from None
    if ran.returncode != 0:
        said = (ran.stderr.strip() or ran.stdout.strip() or f"exit code {ran.returncode}").splitlines()[-1]
        raise Refused(
            f"mpremote could not copy: {said}; the board guards nothing until it has been flashed: try again with "
            "--first",
            FAILED,
        )
    return len(files)
