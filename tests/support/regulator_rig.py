"""A regulator on a simulated cuff.

The rig is the plant with what stands between it and the regulator: A is ten milliseconds old and reads the
manifold, B comes at 50 Hz, 10-20 ms late, in tenths of a mmHg, and a wish reaches pump and valves a tick later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isnan, nan
from random import Random

from controller.core.model import DEMAND_VENT, VENT, Ask, AskKind, Seen
from controller.core.regulator import (
    REACHED_MMHG,
    RegulatorSettings,
    initial,
    reached,
    regulate,
)
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import Cuff, PlantSettings, plant_settings

TICK_S = 0.01
SETTINGS = RegulatorSettings()
OFF = RegulatorSettings(regulated=False)


@dataclass
class Figures:
    """What a session came to, by the plant's own pressure."""

    working: list[float] = field(default_factory=list)
    holding: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    valleys: list[float] = field(default_factory=list)
    overshoot_mmhg: float = 0.0
    slowest: float = 0.0  # an inflation's time over the least its pump allows
    topping_s: float = 0.0  # longest pumping without a pause while holding

    def within(self, share: float, target: float) -> float:
        return sum(abs(mmhg - target) <= share * target for mmhg in self.working) / len(self.working)

    def resting_within(self, share: float, target: float) -> float:
        return sum(abs(mmhg - target) <= share * target for mmhg in self.holding) / len(self.holding)


class Rig:
    """One cuff on one limb, with what stands between it and the regulator."""

    def __init__(
        self,
        seed: int,
        settings: RegulatorSettings = SETTINGS,
        *,
        lop: float = 187.0,
        percent: float = 80.0,
        base: PlantSettings | None = None,
        b_works: bool = True,
        **keys: float,
    ) -> None:
        self.plant = plant_settings(keys, base)
        self.limb = SimulatedLimb(self.plant, seed, lop)
        self.cuff = Cuff(self.plant, self.limb)
        self.lop, self.target = lop, lop * percent / 100.0
        self.settings, self.state, self.demand = settings, initial(settings), DEMAND_VENT
        self.figures = Figures()
        self.now_s = 0.0
        self.b_works = b_works
        self._ticks = 0
        self._a = self._b = (nan, 0.0)
        self._b_next = nan
        self._noise: Callable[[float, float], float] = Random(f"{seed}/noise").gauss

    def tick(self, ask: Ask) -> float:
        """One tick; the true pressure on the limb at its end."""
        self._ticks += 1
        self.now_s = now_s = self._ticks * TICK_S
        cuff, noise = self.cuff, self.plant.sensor_noise_mmhg
        cuff.advance(now_s)
        demand = self.demand
        cuff.pump_duty, cuff.pump_enabled = demand.pump_duty, demand.pump_duty > 0.0
        cuff.vent_open, cuff.dump_open = demand.vent_open, demand.dump_open
        if self._ticks % 2:
            self._b = (self._b_next if self.b_works else nan, now_s)
        else:
            self._b_next = round(cuff.cuff_mmhg + self._noise(0.0, noise), 1)
        (a, a_at_s), (b, b_at_s) = self._a, self._b
        seen = Seen(a, a_at_s, b, b_at_s, b if not a > b else a, True, False)
        self._a = (cuff.manifold_mmhg + self._noise(0.0, noise), now_s)
        self.state, self.demand = regulate(self.state, ask, seen, now_s, self.settings)
        return cuff.cuff_mmhg

    def inflate(self, lead_in_s: float = 3.0) -> float:
        """To the target and a lead-in; how long it took. The first repetition may begin."""
        least_s, begin_s, took_s = self.cuff.least_inflation_s(self.target), self.now_s, nan
        while not reached(self.state):
            mmhg = self.tick(Ask(AskKind.INFLATE, self.target))
            assert self.now_s - begin_s < 30.0, "never reached"
            if isnan(took_s) and mmhg >= self.target - REACHED_MMHG:
                took_s = self.now_s - begin_s
        highest = self.hold(lead_in_s)
        self.figures.overshoot_mmhg = max(self.figures.overshoot_mmhg, highest - self.target)
        self.figures.slowest = max(self.figures.slowest, took_s / least_s)
        return took_s

    def hold(self, seconds: float) -> float:
        highest, topping_s = 0.0, 0.0
        for _ in range(round(seconds / TICK_S)):
            mmhg = self.tick(Ask(AskKind.HOLD, self.target))
            self.figures.holding.append(mmhg)
            highest = max(highest, mmhg)
            topping_s = topping_s + TICK_S if self.demand.pump_duty > 0.0 else 0.0
            self.figures.topping_s = max(self.figures.topping_s, topping_s)
        return highest

    def session(
        self,
        sets: tuple[int, ...],
        tempo: tuple[float, float, float] = (2.0, 0.0, 2.0),
        released: bool = True,
        rest_s: float = 12.0,
    ) -> Figures:
        """Sets of repetitions with the cuff released, or held, in between."""
        period_s, figures = sum(tempo), self.figures
        for index, repetitions in enumerate(sets):
            if released or index == 0:
                self.inflate()
            self.limb.begin_set(self.now_s, *tempo, repetitions)
            for repetition in range(repetitions):
                true = [
                    self.tick(Ask(AskKind.WORK, self.target, repetition, tick * TICK_S, period_s))
                    for tick in range(round(period_s / TICK_S))
                ]
                figures.working += true
                figures.peaks.append(max(true))
                figures.valleys.append(min(true))
            self.limb.end_set(self.now_s)
            if released:
                for _ in range(round(rest_s / TICK_S)):
                    self.tick(VENT)
            else:
                self.hold(rest_s)
        return figures


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
