"""Fail the k-th I/O call of a whole session, for each k and each kind of failure, and look what comes of it.

One session is lived in virtual time on the real app. Where a call is to fail the process forks: the child fails it and
lives on until it is judged by the plant; the parent makes the call and goes on to the next. So a session is lived once
and not once for each of its calls. To be run as a process of its own, with no thread but one.

    python tests/support/kth_call.py PORT EVERY OFFSET [SEED] [GUARD]
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from controller.core.limits import EMPTY_MMHG, armed_ceiling_mmhg
from controller.core.model import Phase
from controller.core.step import Stepped
from controller.prescription.protocol import load_protocol
from controller.scenario.run import Lived, Scenario, run_lived
from watched import Watched

SHORT = Path(__file__).parents[1] / "faults" / "short.toml"
LOP_MMHG = 187.0
VENTED_WITHIN_S = 0.3  # of the first of the failures that do not end
NOTICED_WITHIN_S = {"a bit of the pressure": 2.5}  # a number like another: `sensors_disagree`, 1.5 s while air flows
LIVED_ON_S = {True: 7.0, False: 1.5}  # failing for good: long enough to be empty; once: to see that nothing came of it
EMPTY_FOR_S = 0.3
ENDS_A_SESSION = {  # once may be enough
    ("to-guard", "port gone"),  # what was unplugged is not trusted again without a person
    ("from-guard", "port gone"),
    ("sensor-b", "a bit of the pressure"),  # the guard, which is to be simple, vents on one reading above its ceiling
}
BORNE = {("from-guard", "twice")}  # for as long as it likes: a STATUS that was seen says nothing new

Call = Callable[..., Any]
Failure = Callable[[Call, tuple[Any, ...]], Any]


# --- what a call can do instead of its work -----------------------------------------------------------------------


def raises(error: Exception, call: Call, arguments: tuple[Any, ...]) -> Any:  # noqa: ARG001
    raise error


def os_error(number: int) -> Failure:
    return partial(raises, OSError(number, os.strerror(number)))


def reads(change: Callable[[bytes], bytes], call: Call, messages: tuple[Any, ...]) -> None:
    """The transfer is made, and what was read is not what the device sent."""
    call(*messages)
    last = messages[-1]
    if last.flags & 1:
        data = change(bytes(last))
        for index, byte in enumerate(data):
            last.buf[index] = byte


def flipped(index: int, bits: int, data: bytes) -> bytes:
    """Of one byte, if there is one."""
    index = min(index, len(data) - 1)
    return data[:index] + bytes([data[index] ^ bits]) + data[index + 1 :] if data else data


def lost(call: Call, arguments: tuple[Any, ...]) -> bytes:
    """Nothing is sent; or what has come is thrown away."""
    if not arguments:
        call()
    return b""


def changed(change: Callable[[bytes], bytes], call: Call, arguments: tuple[Any, ...]) -> Any:
    """Of a line: what is sent, or what has come, is other bytes."""
    return call(change(arguments[0])) if arguments else change(call())


I2C: dict[str, Failure] = {
    "no acknowledge": os_error(errno.EREMOTEIO),
    "broken transfer": os_error(errno.EIO),
    "bus hangs": os_error(errno.ETIMEDOUT),
    "bus gone": os_error(errno.ENODEV),
    "all ones": partial(reads, lambda data: b"\xff" * len(data)),
    "all zeros": partial(reads, lambda data: bytes(len(data))),
    "a bit of the status": partial(reads, partial(flipped, 0, 0x04)),
    "a bit of the pressure": partial(reads, partial(flipped, 1, 0x40)),  # 140 mmHg
}
SERIAL: dict[str, Failure] = {
    "port gone": os_error(errno.EIO),
    "lost": lost,
    "a bit": partial(changed, partial(flipped, 4, 0x08)),
    "twice": partial(changed, lambda data: data + data),
    "half": partial(changed, lambda data: data[: len(data) // 2]),
}
DISK: dict[str, Failure] = {
    "full": partial(raises, sqlite3.OperationalError("database or disk is full")),
    "I/O error": partial(raises, sqlite3.OperationalError("disk I/O error")),
    "malformed": partial(raises, sqlite3.DatabaseError("database disk image is malformed")),
    "gone": os_error(errno.EIO),
}
PORTS: dict[str, tuple[Callable[[Lived], tuple[Any, str]], dict[str, Failure]]] = {
    "sensor-a": (lambda lived: (lived.bench.a_buses[0], "i2c_rdwr"), I2C),
    "sensor-b": (lambda lived: (lived.bench.b_buses[0], "i2c_rdwr"), I2C),
    "to-guard": (lambda lived: (lived.bench.link._transport, "write"), SERIAL),
    "from-guard": (lambda lived: (lived.bench.link._transport, "read"), SERIAL),
    "journal": (lambda lived: (lived.disk, "store"), DISK),
}


# --- the session --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """One failure of one call."""

    call: int
    kind: str
    failure: Failure
    for_good: bool

    def __str__(self) -> str:
        return (
            f"call {self.call} and every later one: {self.kind}" if self.for_good else f"call {self.call}: {self.kind}"
        )


class Campaign:
    """Stands before one port of a bench."""

    def __init__(self, port: str, every: int, offset: int) -> None:
        self.port = port
        self.calls = self.children = 0
        self.wrong: list[str] = []
        self.arm: Arm | None = None  # in a child
        self.watched = Watched(armed_ceiling_mmhg(LOP_MMHG) + 10.0)
        self._every, self._offset = every, offset
        self._report = -1
        self._lived: Lived | None = None
        self._failed_at_s = self._unvented_at_s = self._filled_at_s = 0.0
        self._under_pressure = False

    def look(self, lived: Lived) -> None:
        self._lived = lived
        self.watched.look(lived)
        lived.control.watch(self._after)
        find, self._kinds = PORTS[self.port]
        part, name = find(lived)
        setattr(part, name, partial(self._call, getattr(part, name)))

    def _call(self, call: Call, *arguments: Any) -> Any:
        self.calls += 1
        if self.arm is None and self.calls % self._every == self._offset and not self._over():
            for arm in self._arms():
                if self._fork():
                    self._begin(arm)
                    break
        if self.arm is not None and (self.arm.for_good or self.calls == self.arm.call):
            return self.arm.failure(call, arguments)
        return call(*arguments)

    def _over(self) -> bool:
        """Past its last tick nobody is left who could judge."""
        return self._lived is not None and self._lived.done.done()

    def _arms(self) -> Iterator[Arm]:
        for kind, failure in self._kinds.items():
            for for_good in (False, True):
                yield Arm(self.calls, kind, failure, for_good)

    def _fork(self) -> bool:
        """True in the child; in the parent once the child has been judged."""
        self.children += 1
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            self._report = into
            return True
        os.close(into)
        with os.fdopen(out) as report:
            told = report.read()
        _, status = os.waitpid(child, 0)
        if told or status:
            self.wrong.append(told or f"the child ended with {status}")
        return False

    # --- in a child

    def _begin(self, arm: Arm) -> None:
        assert self._lived is not None
        gc.disable()
        asyncio._set_running_loop(self._lived._loop)  # asyncio takes the child of a fork for one without a loop
        self.arm = arm
        self._failed_at_s = self._unvented_at_s = self._filled_at_s = self._lived.control.state.now_s
        self._under_pressure = self._lived.bench.cuffs[0].cuff_mmhg >= EMPTY_MMHG

    def _after(self, stepped: Stepped, now_s: float) -> None:
        if self.arm is None or self._lived is None:
            return
        cuff = self._lived.bench.cuffs[0]
        if cuff.pump_enabled or not (cuff.vent_open and cuff.dump_open) or cuff.pump_duty:
            self._unvented_at_s = now_s
        if cuff.cuff_mmhg >= EMPTY_MMHG or stepped.state.session.phase is not Phase.FAULT:
            self._filled_at_s = now_s
        over = self._lived.done.done() or now_s - self._filled_at_s >= EMPTY_FOR_S
        if over or now_s - self._failed_at_s >= LIVED_ON_S[self.arm.for_good]:
            self.end_of_child(self.judged())

    def judged(self) -> list[str]:
        """What is wrong with the life of this child."""
        assert self.arm is not None
        assert self._lived is not None
        wrong = []
        watched, control = self.watched, self._lived.control
        true_mmhg = self._lived.bench.cuffs[0].cuff_mmhg
        phase = control.state.session.phase
        within_s = NOTICED_WITHIN_S.get(self.arm.kind, VENTED_WITHIN_S)
        if phase is Phase.FAULT and self._unvented_at_s - self._failed_at_s > within_s:
            wrong.append(f"a valve or the pump moved {self._unvented_at_s - self._failed_at_s:.2f} s after it")
        if watched.above_ceiling_s > 0.5:
            wrong.append(f"{watched.above_ceiling_s:.2f} s above {watched.ceiling_mmhg:g} mmHg")
        if watched.pumped_after:
            wrong.append("pumped after a stop or a trip")
        if watched.closed_after:
            wrong.append("a valve closed after a stop or a trip")
        if watched.clock_went_back:
            wrong.append("the limb's clock lost time")
        if control.failed.done():
            wrong.append(f"control failed: {control.failed.exception()!r}")
        if self.port == "journal":
            if phase is Phase.FAULT:
                wrong.append("a disk ended a session")
        elif not self.arm.for_good:
            if phase is Phase.FAULT and (self.port, self.arm.kind) not in ENDS_A_SESSION:
                trips = [alarm.text for alarm in control.state.alarms.alarms if alarm.latched]
                wrong.append(f"one failure ended the session: {trips}")
        elif (self.port, self.arm.kind) not in BORNE:
            if phase is not Phase.FAULT and self._unvented_at_s - self._failed_at_s > within_s:
                wrong.append(f"not vented {self._unvented_at_s - self._failed_at_s:.2f} s after it")
            if true_mmhg >= EMPTY_MMHG:
                wrong.append(f"still {true_mmhg:.0f} mmHg after {LIVED_ON_S[True]:g} s")
            if self._under_pressure and phase is not Phase.FAULT:
                wrong.append(f"in {phase}, as if nothing were")
        return [f"{self.arm} ({self._failed_at_s:.2f} s): {one}" for one in wrong]

    def end_of_child(self, wrong: list[str]) -> None:
        os.write(self._report, "\n".join(wrong).encode())
        os._exit(0)


def main(port: str, every: int, offset: int, seed: int = 7, guard: str = "gpio") -> int:
    campaign = Campaign(port, every, offset)
    scenario = Scenario(load_protocol(SHORT), lop_mmhg=LOP_MMHG, percent_lop=80.0, seed=seed, guard=guard)
    gc.freeze()
    try:
        outcome = run_lived(scenario, campaign.look)["outcome"]
    except BaseException:
        if campaign.arm is None:
            raise
        campaign.end_of_child([f"{campaign.arm}: {traceback.format_exc()}"])
    if campaign.arm is not None:  # the session ended before anything was to be seen
        campaign.end_of_child(campaign.judged())
    told = {"outcome": outcome, "calls": campaign.calls, "children": campaign.children, "wrong": campaign.wrong}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:6]))
