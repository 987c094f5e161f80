"""A simulated bench: physics behind simulated buses and a simulated guard board, with the real drivers, wire and guard.

Part of the composition root: the one place that makes anything of `firmware_bridge.simulated`. What it returns is
driven exactly as hardware is; the rest is for those who judge by the plant (`scenario`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from firmware_bridge.link import HostLink
from firmware_bridge.ports import Sensor
from firmware_bridge.simulated.bus import Abp2Device, SensorDevice, SimulatedBus
from firmware_bridge.simulated.devices import HscDevice, MprDevice, Mpx5050Device, XgzpDevice
from firmware_bridge.simulated.guard import PassClock, SimulatedGuard
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.pico import SimulatedPico
from firmware_bridge.simulated.plant import Cuff, PlantSettings, arm_settings, plant_settings

from . import hardware
from .control import Hardware
from .core.model import (
    MOVING,
    WORKING,
    EventKind,
    Limb,
)
from .core.step import Stepped
from .settings import SensorSettings

SENSOR_B: Final = SensorSettings(bus=0)  # where none is given; each guard channel has a bus of its own
DEVICES: Final[dict[str, type[Abp2Device | HscDevice | XgzpDevice | Mpx5050Device]]] = {
    "abp2": Abp2Device,
    "mpr": MprDevice,
    "hsc": HscDevice,
    "xgzp6847d": XgzpDevice,
    "mpx5050": Mpx5050Device,
}


@dataclass(slots=True)
class SimulatedBench:
    """Everything there is of it, by cuff. `hardware` is what control drives."""

    hardware: Hardware
    cuffs: tuple[Cuff, ...]
    limbs: tuple[SimulatedLimb, ...]
    a_buses: tuple[SimulatedBus, ...]
    a_devices: tuple[SensorDevice, ...]
    b_devices: tuple[SensorDevice, ...]
    b_buses: tuple[SimulatedBus, ...]
    guard: SimulatedGuard
    link: HostLink


def plant_of(limb: Limb, given: Mapping[str, float]) -> PlantSettings:
    """The default plant of a limb with some keys replaced. Raises ValueError with a sentence."""
    return plant_settings(given, arm_settings() if limb is Limb.ARM else PlantSettings())


def device_for(
    fitted: SensorSettings, pressure_at: Callable[[float], float], random: Random, noise_mmhg: float, lag_s: float
) -> Abp2Device | HscDevice | XgzpDevice | Mpx5050Device:
    """The device of a family and a part, as its datasheet says, at a pressure."""
    more = {"divider": True} if fitted.divider else {}
    return DEVICES[fitted.kind](pressure_at, random, noise_mmhg, lag_s, hardware.part_of(fitted), **more)


def simulated_bench(
    now: Callable[[], float],
    plant: PlantSettings,
    lop_mmhg: float,
    seed: int,
    sensors: tuple[SensorSettings, ...],
    sensors_b: tuple[SensorSettings | None, ...] = (None, None),
    guard_kind: str = "gpio",
) -> SimulatedBench:
    """`sensors`: each cuff's sensor A, one or two; `sensors_b`: its sensor B, None for an ABP2. `guard_kind`: whose
    pass it is, that of the guard process (`gpio`) or that of a board (`pico`), which reads an ABP2 as sensor B."""
    start_s = now()
    clock = PassClock(start_s)
    limbs = tuple([SimulatedLimb(plant, f"{seed}/{index}", lop_mmhg) for index in range(len(sensors))])
    cuffs = tuple([Cuff(plant, limb, start_s) for limb in limbs])
    noise, lag_s = plant.sensor_noise_mmhg, plant.sensor_lag_ms / 1000.0

    b_buses: list[SimulatedBus] = []
    b_devices: list[SensorDevice] = []
    b_sensors: list[Sensor] = []
    for index, (cuff, given) in enumerate(zip(cuffs, sensors_b, strict=False)):
        fitted = SENSOR_B if given is None else given
        device = device_for(fitted, cuff.cuff_at, Random(f"{seed}/b/{index}"), noise, lag_s)
        bus = SimulatedBus(clock)
        bus.devices[fitted.place[1]] = device
        b_buses.append(bus)
        b_devices.append(device)
        b_sensors.append(hardware.sensor(bus, fitted, f"sensor B of cuff {index + 1}"))
    guard = (
        SimulatedPico(cuffs, b_sensors, b_buses, clock, seed, start_s=start_s)
        if guard_kind == "pico"
        else SimulatedGuard(cuffs, b_sensors, clock, seed, start_s=start_s)
    )

    numbered: dict[int, SimulatedBus] = {}
    a_buses: list[SimulatedBus] = []
    a_devices: list[SensorDevice] = []
    a_sensors: list[Sensor] = []
    for index, (cuff, fitted) in enumerate(zip(cuffs, sensors, strict=True)):
        number, address = fitted.place
        device = device_for(fitted, guard.before(cuff.manifold_at), Random(f"{seed}/a/{index}"), noise, lag_s)
        bus = numbered.setdefault(number, SimulatedBus(now))
        bus.devices[address] = device
        a_buses.append(bus)
        a_devices.append(device)
        a_sensors.append(hardware.sensor(bus, fitted, f"sensor A of cuff {index + 1}"))
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


class Mover(Protocol):
    """A simulated limb that can be told to exercise."""

    def begin_set(self, at_s: float, concentric_s: float, pause_s: float, eccentric_s: float, count: int) -> None: ...

    def end_set(self, at_s: float) -> None: ...


class Patient:
    """Whoever is in the cuffs follows the cues: begins a set when it begins, relaxes when it is over or broken off."""

    def __init__(self, limbs: tuple[Mover, ...]) -> None:
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
