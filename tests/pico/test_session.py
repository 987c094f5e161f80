"""A session in real time on a board under MicroPython: the real control loop and core, a simulated cuff on its lines.

What becomes of the board or its cable, the tick that finds out is in FAULT, and the cuff is empty.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.clock import real_loop
from controller.control import Control, Hardware
from controller.core.commands import Bench
from controller.core.limits import DEFAULT_LIMITS
from controller.core.model import Happened, Notice, Phase, Snapshot
from controller.core.regulator import RegulatorSettings
from controller.core.step import CoreSettings, Stepped, initial
from controller.prescription.protocol import load_protocol
from controller.scenario.run import Scenario, clinicians_prescriptions
from controller.scenario.supervisor import Supervisor
from firmware_bridge.link import HostLink
from firmware_bridge.ports import Reading
from firmware_bridge.serial_transport import SerialTransport
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import Cuff, plant_settings
from scheduling import served_first

pytestmark = pytest.mark.process

SHORT = load_protocol(Path(__file__).parents[1] / "faults" / "short.toml")
WITHIN_S = 40.0


class Wired:
    """A simulated cuff on the lines of a board: sensor B is what the board reads, and this is sensor A."""

    name = "sensor A"
    low_mmhg, high_mmhg = -20.0, 450.0

    def __init__(self, pico: Any, now_s: float) -> None:
        plant = plant_settings({"volume_ml": 150.0, "slack_ml": 0.0})
        self.cuff = Cuff(plant, SimulatedLimb(plant, "1/0", 187.0), now_s)
        self._pico = pico
        self._started_s = now_s
        self._counts = 0

    def start(self, now_s: float) -> None:
        self._started_s = now_s

    def read(self, now_s: float) -> Reading:
        self.advance(now_s)
        self._counts += 1  # a real one is never quite still
        return Reading(self._started_s, self.cuff.manifold_at(now_s), self._counts, 25.0)

    def advance(self, now_s: float) -> None:
        cuff, lines = self.cuff, self._pico.lines()
        cuff.advance(now_s)
        cuff.pump_duty = lines.get(2, 0) / 65535
        cuff.pump_enabled = bool(lines.get(3))
        cuff.vent_open = not lines.get(6)
        cuff.dump_open = not lines.get(7)
        self._pico.press(cuff.cuff_at(now_s))


class Kept:
    """A record that remembers what happened."""

    def __init__(self) -> None:
        self.happened: list[Happened] = []

    def event(self, happened: Happened) -> None:
        self.happened.append(happened)

    def trace(self, seen: Snapshot) -> None:
        pass

    def notices(self) -> tuple[Notice, ...]:
        return ()


class Lived:
    """One session while it is lived. `does` is what becomes of the board once the cuff is above 60 mmHg."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pico: Any, does: Callable[[Any], None]) -> None:
        settings = CoreSettings(Bench(DEFAULT_LIMITS), RegulatorSettings())
        self.wired = Wired(pico, loop.time())
        self.kept = Kept()
        self.link = HostLink(SerialTransport(str(pico.port)), lambda: secrets.randbits(32), 1)
        hardware = Hardware((self.wired,), self.link)
        self.control = Control(
            loop, hardware, initial(1, settings, loop.time()), settings, 0.01, self.kept, after=(self._after,)
        )
        scenario = Scenario(SHORT)
        self.supervisor = Supervisor(self.control, clinicians_prescriptions(scenario), 1)
        self.control.watch(self.supervisor.after)
        self.did_at_s = 0.0
        self.fault_at_s = 0.0
        self.ticks_to_fault = 0
        self.empty_at_s = 0.0
        self.over = asyncio.Event()
        self._loop = loop
        self._pico = pico
        self._does = does

    def _after(self, stepped: Stepped, now_s: float) -> None:
        phase = stepped.state.session.phase
        if not self.did_at_s:
            if phase is Phase.INFLATING and self.wired.cuff.cuff_mmhg > 60.0:
                self._does(self._pico)
                self.did_at_s = self._loop.time()
            return
        if not self.fault_at_s:
            self.ticks_to_fault += 1
            if phase is Phase.FAULT:
                self.fault_at_s = now_s
        elif self.wired.cuff.cuff_mmhg < 15.0:
            self.empty_at_s = now_s
            self.over.set()

    @property
    def rule(self) -> str:
        fault = self.control.state.session.fault
        return "" if fault is None else f"{fault.rule}: {fault.text}"


async def _live(lived: Lived, then: Callable[[Lived], Any]) -> None:
    lived.control.start()
    over = asyncio.ensure_future(lived.over.wait())
    await asyncio.wait((over, lived.control.failed), timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    assert over.done(), (lived.control.state.session.phase, lived.rule, lived.link.fault, lived.wired.cuff.cuff_mmhg)
    await then(lived)
    lived.control.stop()
    lived.control.failed.cancel()
    lived.link._transport.close()  # type: ignore[attr-defined]


async def _nothing(_: Lived) -> None:
    pass


def live(pico: Any, does: Callable[[Any], None], then: Callable[[Lived], Any] = _nothing) -> Lived:
    pico.plug()
    with served_first(), asyncio.Runner(loop_factory=real_loop) as runner:
        lived = Lived(runner.get_loop(), pico, does)
        runner.run(_live(lived, then))
    return lived


def test_unplugged_it_is_in_fault_in_the_tick_that_finds_out(pico: Any) -> None:
    lived = live(pico, lambda pico: pico.unplug())
    assert lived.ticks_to_fault == 1
    assert "check its cable" in lived.rule
    assert lived.empty_at_s - lived.did_at_s < 3.0
    print(f"unplugged: FAULT in the next tick, empty after {lived.empty_at_s - lived.did_at_s:.2f} s")


def test_plugged_in_again_nothing_inflates_until_a_person_has_reset(pico: Any) -> None:
    async def plug(lived: Lived) -> None:
        pico.plug()
        until_s = time.monotonic() + WITHIN_S
        while lived.link.fault or lived.link.guard_boot_id == lived.link.boot_id:
            assert time.monotonic() < until_s, lived.link.fault
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)

    lived = live(pico, lambda pico: pico.unplug(), plug)
    assert lived.control.state.session.phase is Phase.FAULT
    assert not any(value for gpio, value in pico.lines().items() if gpio != 14)
    assert lived.wired.cuff.cuff_mmhg < 15.0


@pytest.mark.parametrize("what", ["estop", "hang", "broken"])
def test_what_becomes_of_the_board_ends_in_fault_and_empty(pico: Any, what: str) -> None:
    lived = live(pico, lambda pico: pico.say(what, True))
    assert lived.fault_at_s - lived.did_at_s < 0.5
    assert lived.empty_at_s - lived.did_at_s < 3.5
    print(f"{what}: FAULT after {lived.fault_at_s - lived.did_at_s:.3f} s, {lived.rule}")
