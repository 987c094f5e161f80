"""A simulated bench: physics behind simulated buses and a simulated guard board, with the real drivers, wire and guard.

Part of the composition root: the one place that makes anything of `firmware_bridge.simulated`. What it returns is
driven exactly as hardware is; the rest is for those who judge by the plant (`scenario`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from firmware_bridge.link import HostLink
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus
from firmware_bridge.simulated.guard import PassClock, SimulatedGuard
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.pico import SimulatedPico
from firmware_bridge.simulated.plant import Cuff, PlantSettings, arm_settings, plant_settings

from .control import Hardware
from .core.model import (
    MOVING,
    WORKING,
    EventKind,
    Limb,
)
from .core.step import Stepped

B_ADDRESS: Final = 0x28  # each guard channel has a bus of its own


@dataclass(slots=True)
class SimulatedBench:
    """Everything there is of it, by cuff. `hardware` is what control drives."""

    hardware: Hardware
    cuffs: tuple[Cuff, ...]
    limbs: tuple[SimulatedLimb, ...]
    a_buses: tuple[SimulatedBus, ...]
    a_devices: tuple[Abp2Device, ...]
    b_devices: tuple[Abp2Device, ...]
    b_buses: tuple[SimulatedBus, ...]
    guard: SimulatedGuard
    link: HostLink


def plant_of(limb: Limb, given: Mapping[str, float]) -> PlantSettings:
    """The default plant of a limb with some keys replaced. Raises ValueError with a sentence."""
    return plant_settings(given, arm_settings() if limb is Limb.ARM else PlantSettings())


def simulated_bench(
    now: Callable[[], float],
    plant: PlantSettings,
    lop_mmhg: float,
    seed: int,
    places: tuple[tuple[int, int], ...],
    guard_kind: str = "gpio",
) -> SimulatedBench:
    """`places`: bus number and address of each cuff's sensor A, one or two. `guard_kind`: whose pass it is, that of the
    guard process (`gpio`) or that of a board (`pico`)."""
    start_s = now()
    clock = PassClock(start_s)
    limbs = tuple([SimulatedLimb(plant, f"{seed}/{index}", lop_mmhg) for index in range(len(places))])
    cuffs = tuple([Cuff(plant, limb, start_s) for limb in limbs])
    noise, lag_s = plant.sensor_noise_mmhg, plant.sensor_lag_ms / 1000.0

    b_buses, b_devices, b_sensors = [], [], []
    for index, cuff in enumerate(cuffs):
        device = Abp2Device(cuff.cuff_at, Random(f"{seed}/b/{index}"), noise, lag_s)
        bus = SimulatedBus(clock)
        bus.devices[B_ADDRESS] = device
        b_buses.append(bus)
        b_devices.append(device)
        b_sensors.append(Abp2(bus, B_ADDRESS, f"sensor B of cuff {index + 1}"))
    guard = (
        SimulatedPico(cuffs, b_sensors, b_buses, clock, seed, start_s=start_s)
        if guard_kind == "pico"
        else SimulatedGuard(cuffs, b_sensors, clock, seed, start_s=start_s)
    )

    numbered: dict[int, SimulatedBus] = {}
    a_buses, a_devices, a_sensors = [], [], []
    for index, (cuff, (number, address)) in enumerate(zip(cuffs, places, strict=True)):
        device = Abp2Device(guard.before(cuff.manifold_at), Random(f"{seed}/a/{index}"), noise, lag_s)
        bus = numbered.setdefault(number, SimulatedBus(now))
        bus.devices[address] = device
        a_buses.append(bus)
        a_devices.append(device)
        a_sensors.append(Abp2(bus, address, f"sensor A of cuff {index + 1}"))
    nonces = Random(f"{seed}/nonce")
    link = HostLink(guard.transport(now), lambda: nonces.getrandbits(32), len(cuffs))
    return SimulatedBench(
        Hardware(tuple(a_sensors), link),
        cuffs,
        limbs,
        tuple(a_buses),
        tuple(a_devices),
        tuple(b_devices),
        tuple(b_buses),
        guard,
        link,
    )


class Patient:
    """Whoever is in the cuffs follows the cues: begins a set when it begins, relaxes when it is over or broken off."""

    def __init__(self, limbs: tuple[SimulatedLimb, ...]) -> None:
        self._limbs = limbs
        self._moving = False

    def after(self, stepped: Stepped, now_s: float) -> None:
        """One tick."""
        events = stepped.events
        if events:
            for happened in events:
                if happened.kind is EventKind.SET_BEGAN:
                    self._begin(stepped, now_s)
        if self._moving:
            phase = stepped.state.session.phase
            if phase is not WORKING and phase is not MOVING:
                self._moving = False
                for limb in self._limbs:
                    limb.end_set(now_s)

    def _begin(self, stepped: Stepped, now_s: float) -> None:
        session = stepped.state.session
        step = session.step
        if step is None or step.tempo is None:
            return
        left_s = step.duration_s - (now_s - session.step_from_s)
        count = max(1, round(left_s / step.tempo.period_s))
        self._moving = True
        for limb, prescription in zip(self._limbs, session.prescriptions, strict=True):
            if prescription is not None:
                limb.begin_set(now_s, step.tempo.concentric_s, step.tempo.pause_s, step.tempo.eccentric_s, count)
