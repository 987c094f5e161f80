"""`manchet safe`: vent every bench of this machine, whatever state its software is in.

Imports the standard library, the bedside client and (where a guard socket exists) the wire; no configuration. It goes
down a list and says a line a step: trip the guards, say `stop` to the controllers, kill a controller that does not
answer, so that its lease lapses, and drive low the lines that a dead guard has left; then see that it is done.
Pressures are mmHg.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..bedside.client import NoAnswer, NoService, ask, connect, watch
from ..bedside.paths import control_sockets, guard_sockets, hidden_folders, runtime_folders
from ..bedside.peer import allowed, peer
from .lines import bench_of, drive_low, lists

EMPTY_MMHG: Final = 15.0  # core.limits has it too; nothing of core is imported here
EMPTY_WITHIN_S: Final = 8.0
GUARD_WITHIN_S: Final = 0.5
DONE: Final = 0
FAILED: Final = 1
NONE_FOUND: Final = 3
NO_ANSWER: Final = "the guard does not answer"
NO_GUARD: Final = "no guard of this bench answered, so that none vents it"


def safe(
    folders: list[Path] | None = None,
    say: Callable[[str], None] | None = None,
    empty_within_s: float = EMPTY_WITHIN_S,
    ignored: Sequence[str] = (),
) -> int:
    """Go down the list. 0: every bench found is confirmed vented and empty; 1: not every one; 3: none was found."""
    say = say or print_if_anybody_reads
    if ignored:
        say(f"ignored: {' '.join(ignored)}")  # nobody who wants it vented is sent back for a word too many
    folders = runtime_folders() if folders is None else folders
    say(f"looking in: {', '.join(map(str, folders)) or 'no runtime folder exists'}")
    hidden = hidden_folders(folders)
    for folder in hidden:
        say(f"{folder}: may not be looked into: there may be a bench in it; run `manchet safe` as root")
    told = _vent_everything(folders, say)
    vented = _see_to_it(told, say, empty_within_s)
    if not vented:
        say("no bench found; if a cuff is under pressure, pull the cuff's coupling or press the stop button")
        return NONE_FOUND
    missing = sorted(bench for bench, done in vented.items() if not done)
    if missing:
        say(f"NOT confirmed vented: {', '.join(missing)}. Take the cuff off the limb")
        return FAILED
    if hidden:
        say(f"vented and empty: {', '.join(sorted(vented))}; NOT looked into: {', '.join(map(str, hidden))}")
        return FAILED
    say(f"vented and empty: {', '.join(sorted(vented))}")
    return DONE


class _Told(NamedTuple):
    """What was told to vent. Benches by name."""

    guards: dict[Path, socket.socket | str | None]  # the connection to hear it on, or why there is none
    guarded: set[str]  # a guard took it
    unguarded: set[str]  # there was a guard once
    stopped: list[Path]  # controllers that listen
    killed: set[Path]
    low: set[str]  # lines driven low, whose guard is gone


def _vent_everything(folders: list[Path], say: Callable[[str], None]) -> _Told:
    """Everything that vents, on every bench, before anything is waited for: no bench's cuff may wait for another's."""
    guards = {path: _trip(path) for path in guard_sockets(folders)}
    guarded = {_guarded_bench(path) for path, guard in guards.items() if guard is not None}
    unguarded = {*map(bench_of, lists(folders)), *map(_guarded_bench, guards)} - guarded
    stopped, killed, low = [], set(), set()
    for path in control_sockets(folders):
        listening, answered, text = _stop(path)
        say(f"{path}: {text.removeprefix(f'{path}: ')}")
        if listening:
            stopped.append(path)
        if listening and not answered and path.stem not in guarded:
            say(f"{path}: {_kill(path, path.stem not in unguarded)}")
            killed.add(path)
    for path in lists(folders):
        if bench_of(path) not in guarded:  # its guard is gone, or does not answer and holds them
            say(f"{path}: {drive_low(path)[1]}")
            low.add(bench_of(path))
    return _Told(guards, guarded, unguarded, stopped, killed, low)


def _see_to_it(told: _Told, say: Callable[[str], None], empty_within_s: float) -> dict[str, bool]:
    """Whether each bench is vented and empty; all have the same time for it."""
    until_s = time.monotonic() + empty_within_s
    vented = dict.fromkeys(told.low, False)  # low, and nobody knows how the cuff is
    for path, guard in told.guards.items():
        if guard is None:
            say(f"{path}: no guard listens there")
            continue
        vented[_guarded_bench(path)], text = _hear(guard, until_s)
        say(f"{path}: {text}")
    for path in told.stopped:
        confirmed, full, text = _confirm(path, until_s, empty_within_s)
        say(f"{path}: {text.removeprefix(f'{path}: ')}")
        if not confirmed and path.stem not in told.guarded and path not in told.killed:
            say(f"{path}: {_kill(path, path.stem not in told.unguarded)}")
        # The guard sees B alone: its word stands for a controller that does not know, and not against what A says.
        vented[path.stem] = confirmed or (vented.get(path.stem, False) and not full)
    for bench in sorted((told.unguarded - told.low) & set(vented)):
        say(f"{bench}: its guard left no list of lines, so none was driven low here")
    return vented


def _guarded_bench(path: Path) -> str:
    return path.name.removesuffix(".guard.sock")


def _trip(path: Path) -> socket.socket | str | None:
    """Trip one guard, and the connection to hear it on; or why not, None where nobody listens."""
    from firmware_bridge.firmware import wire

    try:
        guard = connect(path, GUARD_WITHIN_S)
    except NoService:
        return None
    except NoAnswer:
        return NO_ANSWER
    try:
        # HELLO makes a guard that was armed by another host trip, and gives our TRIP a number that is in order.
        guard.sendall(wire.hello(1, int.from_bytes(os.urandom(4), "little")) + wire.trip(2))
    except OSError:
        guard.close()
        return NO_ANSWER
    return guard


def _hear(guard: socket.socket | str, until_s: float) -> tuple[bool, str]:
    """Whether a guard that was told to trip says that its cuffs are empty, and its words."""
    if isinstance(guard, str):
        return False, guard
    from firmware_bridge.firmware import wire

    decoder = wire.Decoder()
    channels, tripped = 0, "the guard took the trip and does not answer"
    until_s = max(until_s, time.monotonic() + GUARD_WITHIN_S)  # others may have used the time up: it has said it by now
    try:
        with guard:
            while time.monotonic() < until_s:
                for message in decoder.feed(guard.recv(4096) or _gone()):
                    if message[1] == wire.WELCOME:
                        channels = message[7]
                    elif message[1] == wire.STATUS and message[5] == wire.TRIPPED and channels:
                        empty, tripped = _judge_guard(message, channels, wire.NO_READING)
                        if empty:
                            return True, tripped
    except OSError:
        return False, NO_ANSWER
    return False, tripped


def _judge_guard(status: tuple[int, ...], channels: int, no_reading: int) -> tuple[bool, str]:
    """Whether a STATUS says that both outputs are vented and every fitted channel empty, and its words."""
    readings = [status[14], status[17]][:channels]
    known = [reading / 10 for reading in readings if reading != no_reading]
    outputs_vented = not any((status[15], status[16], status[18], status[19]))
    empty = outputs_vented and len(known) == channels and max(known) < EMPTY_MMHG
    return empty, f"the guard has tripped, valves open, {_words(known, channels)}"


def _gone() -> bytes:
    raise ConnectionError


def _stop(path: Path) -> tuple[bool, bool, str]:
    """Say `stop`. Whether somebody listens there, whether there was an answer, and the words."""
    try:
        return True, True, f"stop: {ask(path, 'stop')['text']}"
    except NoService:
        return False, False, "its controller is gone, and with it the lease; nothing to stop here"
    except NoAnswer:
        return True, False, "stop: no answer"


def _confirm(path: Path, until_s: float, empty_within_s: float) -> tuple[bool, bool, str]:
    """Watch the bench until its pump is off, its valves open and every cuff below 15 mmHg on both sensors. Whether it
    came to that, and whether a sensor said last that it did not."""
    full, text = False, "no answer"
    try:
        for seen in watch(path, silence_s=min(1.0, empty_within_s)):
            if seen.get("type") == "snapshot":
                done, full, text = _judge(seen.get("cuffs") or [])
                if done:
                    return True, False, text
            if time.monotonic() > until_s:
                break
    except (NoService, NoAnswer, ValueError):
        return False, full, f"does not say how its cuffs are{f', and said last: {text}' if full else ''}"
    return False, full, f"not empty after {empty_within_s:g} s: {text}"


def _judge(cuffs: list[Mapping[str, Any]]) -> tuple[bool, bool, str]:
    """Whether valves are open and every cuff is known to be empty, whether one is known not to be, and the words."""
    readings = [cuff.get(key) for cuff in cuffs for key in ("a_mmhg", "b_mmhg")]
    known = [float(reading) for reading in readings if reading is not None]
    open_ = all(cuff.get("vent_open") and cuff.get("dump_open") and not cuff.get("pump_duty") for cuff in cuffs)
    empty = bool(known) and len(known) == len(readings) and max(known) < EMPTY_MMHG
    full = bool(known) and max(known) >= EMPTY_MMHG
    return (
        bool(open_ and empty),
        full,
        f"{'valves open' if open_ else 'valves NOT all open'}, {_words(known, len(readings))}",
    )


def _words(known: list[float], sensors: int) -> str:
    if not known:
        return "pressure not known"
    return f"at most {round(max(known))} mmHg{'' if len(known) == sensors else ', but not every sensor is known'}"


def _kill(path: Path, guarded: bool) -> str:
    """SIGKILL whoever listens at a control socket: its lease lapses within 250 ms and the guard vents, where there may
    be one that has it."""
    lapses = "its lease lapses within 250 ms and the guard vents" if guarded else NO_GUARD
    try:
        with connect(path, GUARD_WITHIN_S) as connection:
            who = peer(connection)
    except (NoService, NoAnswer):
        return f"its controller cannot be found; {'its lease lapses if it hangs' if guarded else NO_GUARD}"
    if who.pid <= 1 or who.pid == os.getpid() or not allowed(who):
        return "its controller cannot be killed from here: run `manchet safe` as root"
    try:
        os.kill(who.pid, signal.SIGKILL)
    except OSError as error:
        return f"its controller (process {who.pid}) could not be killed: {error.strerror}"
    return f"its controller (process {who.pid}) was killed; {lapses}"


def print_if_anybody_reads(line: str) -> None:
    """A full disk, a pipe whose reader has gone or a sign that the terminal does not know keep nothing from venting."""
    try:
        print(line.encode("ascii", "backslashreplace").decode(), flush=True)
    except (OSError, ValueError):
        sys.stdout = None  # and its buffer is not tried again at the end
