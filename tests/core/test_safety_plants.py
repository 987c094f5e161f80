"""False trips are a fault too: the rules over the simulated pneumatics, with a law that is no more than on and off.

Not the session and not the regulator: a plain hand on pump and valve is rougher than either, so what stays silent here
stays silent there. The corners are those between which a bench is expected to be.
"""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest

from controller.core.model import CuffDemand, CuffOutputs, Phase
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import Cuff, PlantSettings

TICK_S = 0.01
REPETITION_S = 4.0
PUMP, CLOSED = CuffDemand(1.0, False, False), CuffDemand(0.0, False, False)
VENT, RELEASE = CuffDemand(0.0, True, False), CuffDemand(0.0, True, True)
CORNERS = [
    PlantSettings(
        volume_ml=volume_ml,
        pump_l_min=pump_l_min,
        swing_ml=swing_ml,
        vent_tau_s=vent_tau_s,
        hose_mmhg_per_l_min=hose,
        sensor_noise_mmhg=noise,
    )
    for (volume_ml, swing_ml), pump_l_min, vent_tau_s, (hose, noise) in product(
        [(150.0, 15.0), (300.0, 5.0), (800.0, 40.0)], [1.5, 4.0], [0.4, 1.8], [(5.0, 0.0), (15.0, 1.0)]
    )
]


class Hand:
    """Drives one plant through a rig: the pins a tick late, B every other tick, noise of its own."""

    def __init__(self, rig: Any, settings: PlantSettings) -> None:
        self.rig = rig
        self.limb = SimulatedLimb(settings, 3)
        self.cuff = Cuff(settings, self.limb)
        self.noise_mmhg = settings.sensor_noise_mmhg
        self.random = Random("3/noise")
        self.highest_mmhg = 0.0

    def tick(self, demand: CuffDemand) -> Any:
        rig, cuff = self.rig, self.cuff
        cuff.advance(rig.now_s + TICK_S)
        rig.a = cuff.manifold_mmhg + self.random.gauss(0.0, 1.0) * self.noise_mmhg
        rig.b = cuff.cuff_mmhg + self.random.gauss(0.0, 1.0) * self.noise_mmhg
        rig.counts = round(rig.a * 37282.7)
        rig.answering = not rig.answering
        rig.demand = demand
        verdict = rig.tick(TICK_S)
        assert (verdict.trips, verdict.ends, verdict.alarms) == ((), (), ()), rig.phase
        out: CuffOutputs = verdict.outputs[0]
        cuff.pump_duty, cuff.pump_enabled = out.pump_duty, out.pump_enabled
        cuff.vent_open, cuff.dump_open = out.vent_open, out.dump_open
        self.highest_mmhg = max(self.highest_mmhg, cuff.cuff_mmhg)
        return verdict

    def hold(self, target: float, band: float, seconds: float, repetitions: bool = False) -> None:
        rig = self.rig
        since_s = rig.now_s
        pumping = venting = False
        while rig.now_s - since_s < seconds:
            if repetitions:
                rig.watch["repetition"] = int((rig.now_s - since_s) / REPETITION_S)
                rig.watch["last_cue_at_s"] = rig.now_s
            off = rig.b - target
            pumping = off < (0.0 if pumping else -band)
            venting = off > (0.0 if venting else band)
            self.tick(PUMP if pumping else VENT if venting else CLOSED)


@pytest.mark.parametrize(
    "settings",
    CORNERS,
    ids=lambda one: f"{one.volume_ml:g}-{one.pump_l_min:g}-{one.vent_tau_s:g}-{one.hose_mmhg_per_l_min:g}",
)
def test_no_rule_fires_on_an_undisturbed_plant(settings: PlantSettings, rig: Any) -> None:
    hand = Hand(rig, settings)
    target = rig.use.target_mmhg
    for _ in range(150):
        hand.tick(RELEASE)
    rig.phase = Phase.INFLATING
    while hand.cuff.cuff_mmhg < target - 2.0:
        hand.tick(PUMP)
    rig.phase = Phase.HOLDING
    hand.hold(target, 6.0, 6.0)
    rig.phase = Phase.WORKING
    hand.limb.begin_set(rig.now_s, 2.0, 0.0, 2.0, 4)
    hand.hold(target, 8.0, 4 * REPETITION_S, repetitions=True)
    hand.limb.end_set(rig.now_s)
    rig.watch = {"last_cue_at_s": rig.now_s}
    rig.phase = Phase.HOLDING
    hand.hold(target, 6.0, 6.0)
    rig.phase, rig.watch = Phase.RELEASING, {"release_due_at_s": rig.now_s}
    while not rig.seen[0].empty:
        hand.tick(RELEASE)
    rig.phase, rig.watch = Phase.RESTING, {}
    for _ in range(300):
        hand.tick(RELEASE)
    assert hand.highest_mmhg > target - 5.0  # it did happen
