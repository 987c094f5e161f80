"""The pneumatics of one cuff: pump, two valves, hose, bladder and the limb inside it.

Physics only: no controller, no bus, no clock of its own. Gas is counted in millilitres at atmospheric pressure and
body-near temperature (isothermal), pressures are gauge mmHg, flows mL/s, times seconds of the caller's clock. Every
number marked in `PLANT_KEYS` may be set; the sources are `clinical` facts of the project, section "pneumatic plant":
dP/dV = (P + 760) / V plus wall compliance, pump flow falling linearly to its stall pressure, exponential venting.

    pump ──┬── manifold (sensor A) ── hose ── bladder (sensor B) ── limb
    vent ──┤
    dump ──┤
    relief ┘

`Cuff.advance(now_s)` integrates on a fixed grid of 5 ms that does not depend on who reads when; call it before setting
a pin, so that the past is computed with the pins of the past. The manifold and the hose are stiff, so each step solves
manifold and bladder implicitly: no setting within the bounds makes it unstable.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields
from math import exp, inf, isfinite, sqrt
from typing import Final, Literal, Protocol

STEP_S: Final = 0.005
STEPS_PER_S: Final = 200
ATMOSPHERE_MMHG: Final = 760.0
SLACK_MMHG: Final = 2.0  # what it takes to unfold an empty bladder: near 0
SLACK_SOFTNESS_ML: Final = 10.0  # keeps the unfolding finite where slack_ml is 0
RECOIL_S: Final = 3.0  # sleeve and limb press a vented bladder flat: time constant
CREEP_FROM_MMHG: Final = 15.0  # below it the limb and the sleeve recover
CREEP_RECOVERY_S: Final = 2.0
MANIFOLD_ML_PER_MMHG: Final = 0.03  # some 25 mL of tube, valve block and pump head
RELIEF_MMHG: Final = 315.0  # mechanical relief valve, whole pump flow within 10 mmHg
RELIEF_SPAN_MMHG: Final = 10.0
TUBE_OFF_MMHG_PER_ML_S: Final = 0.15  # the open end of the cuff's tube
VENT_REFERENCE_MMHG: Final = 100.0  # where vent_tau_s is defined
LEAK_REFERENCE_MMHG: Final = 150.0  # where leak_mmhg_per_min is defined
ML_S_PER_L_MIN: Final = 1000.0 / 60.0

Stuck = Literal["open", "closed"] | None


@dataclass(slots=True)
class PlantSettings:
    """One simulated channel. The defaults are a leg cuff that, unregulated, swings as studies measured on people."""

    volume_ml: float = 400.0
    slack_ml: float = 300.0
    wall_compliance_ml_per_mmhg: float = 0.4
    pump_l_min: float = 3.0
    pump_stall_mmhg: float = 450.0
    pump_spin_up_ms: float = 60.0
    pump_dead_band: float = 0.15
    vent_tau_s: float = 0.8
    valve_latency_ms: float = 15.0
    hose_mmhg_per_l_min: float = 2.0
    leak_mmhg_per_min: float = 3.0
    swing_ml: float = 44.0
    rise_fraction: float = 0.15
    drift_ml_per_min: float = 6.0
    sensor_noise_mmhg: float = 0.15
    sensor_lag_ms: float = 3.0


@dataclass(slots=True, frozen=True)
class PlantKey:
    """One setting of the plant that a person may give: bounds inclusive, unit and meaning for the listing."""

    name: str
    low: float
    high: float
    unit: str
    meaning: str


PLANT_KEYS: Final = {
    key.name: key
    for key in (
        PlantKey("volume_ml", 50.0, 1500.0, "mL", "air in the cuff once its slack is filled"),
        PlantKey("slack_ml", 0.0, 1000.0, "mL", "air taken near 0 mmHg, again after each release"),
        PlantKey("wall_compliance_ml_per_mmhg", 0.0, 5.0, "mL/mmHg", "give of the cuff's wall and the tissue"),
        PlantKey("pump_l_min", 0.2, 10.0, "L/min", "flow of the pump at full duty against no pressure"),
        PlantKey("pump_stall_mmhg", 100.0, 1000.0, "mmHg", "pressure at which the pump moves no air"),
        PlantKey("pump_spin_up_ms", 0.0, 1000.0, "ms", "time constant of the pump's speed"),
        PlantKey("pump_dead_band", 0.0, 0.6, "duty", "duty below which the pump stands still"),
        PlantKey("vent_tau_s", 0.1, 10.0, "s", "time constant of emptying through one valve, hose included"),
        PlantKey("valve_latency_ms", 0.0, 200.0, "ms", "from the coil's current to the valve's movement"),
        PlantKey("hose_mmhg_per_l_min", 0.0, 20.0, "mmHg/(L/min)", "pressure lost between manifold and cuff"),
        PlantKey("leak_mmhg_per_min", 0.0, 600.0, "mmHg/min", "fall of a closed cuff at 150 mmHg"),
        PlantKey("swing_ml", 0.0, 150.0, "mL", "change of limb volume in a repetition, peak to peak"),
        PlantKey("rise_fraction", 0.02, 0.5, "1", "share of a repetition in which a contraction builds up"),
        PlantKey("drift_ml_per_min", 0.0, 60.0, "mL/min", "creep of the cuff under pressure"),
        PlantKey("sensor_noise_mmhg", 0.0, 5.0, "mmHg", "standard deviation of one conversion"),
        PlantKey("sensor_lag_ms", 0.0, 200.0, "ms", "time constant of the sensor"),
    )
}


def plant_settings(given: Mapping[str, float], base: PlantSettings | None = None) -> PlantSettings:
    """`base` (the default leg cuff) with some keys replaced.

    Raises:
        ValueError: an unknown key, NaN, infinity or a value out of bounds; the text says what must be.
    """
    made = PlantSettings() if base is None else copy(base)
    for name, number in given.items():
        key = PLANT_KEYS.get(name)
        if key is None:
            raise ValueError(f"{name} = {number:g}: must be one of {', '.join(PLANT_KEYS)}")
        if not (isfinite(number) and key.low <= number <= key.high):
            raise ValueError(f"{name} = {number:g}: must be {key.low:g} to {key.high:g} {key.unit} ({key.meaning})")
        setattr(made, name, float(number))
    return made


def arm_settings() -> PlantSettings:
    """An arm: a smaller cuff round a smaller muscle [J, volumes of clinical section 5]."""
    return PlantSettings(
        volume_ml=180.0, slack_ml=80.0, wall_compliance_ml_per_mmhg=0.3, swing_ml=18.0, drift_ml_per_min=3.0
    )


class LimbVolume(Protocol):
    """What the bladder feels of the limb."""

    def volume_ml(self, at_s: float, pressure_mmhg: float) -> float:
        """How much the limb takes from the bladder's volume, mL; asked with times that do not go back."""


class RestingLimb:
    """A limb that does nothing."""

    def volume_ml(self, at_s: float, pressure_mmhg: float) -> float:  # noqa: ARG002
        return 0.0


class Cuff:
    """One channel. Set the four pins (and the faults) as plain attributes, `advance`, read the pressures."""

    def __init__(self, settings: PlantSettings, limb: LimbVolume | None = None, start_s: float = 0.0) -> None:
        self.settings = settings
        self.limb: LimbVolume = RestingLimb() if limb is None else limb
        # pins, as the guard drives them
        self.pump_duty = 0.0
        self.pump_enabled = False
        self.vent_open = True
        self.dump_open = True
        # faults, as a schedule sets them
        self.pump_stuck_duty: float | None = None  # the PWM switch conducts whatever its pin says
        self.pump_enable_stuck = False  # the enable switch conducts whatever its pin says
        self.pump_weak = 1.0  # share of its flow that the pump still gives
        self.vent_stuck: Stuck = None
        self.dump_stuck: Stuck = None
        self.tube_kinked = False  # the cuff is closed off from the manifold
        self.tube_off = False  # the tube is off the manifold: both ends are open
        self.leak_extra_mmhg_per_min = 0.0
        # what there is to see
        self.manifold_mmhg = 0.0  # where sensor A sits
        self.cuff_mmhg = 0.0  # where sensor B sits; the true pressure on the limb
        self.vent_is_open = True  # the valve itself, after its latency
        self.dump_is_open = True
        self.pump_flow_ml_s = 0.0
        self._air_ml = 0.0
        self._creep_ml = 0.0
        self._speed = 0.0
        self._vent_wait = 0
        self._dump_wait = 0
        self._step = int(start_s * STEPS_PER_S + 1e-6)
        self._prepare()

    def _prepare(self) -> None:
        """What follows from the settings alone."""
        s = self.settings
        self._latency_steps = max(0, round(s.valve_latency_ms / 1000.0 * STEPS_PER_S))
        spin = 1.0 if s.pump_spin_up_ms <= 0.0 else 1.0 - exp(-STEP_S / (s.pump_spin_up_ms / 1000.0))
        hose = s.hose_mmhg_per_l_min / ML_S_PER_L_MIN
        whole = s.vent_tau_s / self._capacity_ml_per_mmhg(VENT_REFERENCE_MMHG)
        soft_ml = s.slack_ml + SLACK_SOFTNESS_ML
        self._capacity = soft_ml / SLACK_MMHG
        self._fixed = (  # in the order that `advance` takes them, which is quicker than one by one
            s.pump_dead_band,
            s.pump_l_min * ML_S_PER_L_MIN,
            s.pump_stall_mmhg,
            spin,
            hose,
            1.0 / max(whole - hose, 0.2 * whole),
            self._capacity_ml_per_mmhg(LEAK_REFERENCE_MMHG) / LEAK_REFERENCE_MMHG / 60.0,
            s.leak_mmhg_per_min,
            s.drift_ml_per_min / 60.0 * STEP_S,
            s.wall_compliance_ml_per_mmhg,
            s.volume_ml,
            s.slack_ml,
            soft_ml,
        )

    def _capacity_ml_per_mmhg(self, pressure_mmhg: float) -> float:
        """Air that one mmHg more takes, at this pressure."""
        s = self.settings
        wall = s.wall_compliance_ml_per_mmhg
        return (s.volume_ml + wall * (2.0 * pressure_mmhg + ATMOSPHERE_MMHG)) / ATMOSPHERE_MMHG

    def manifold_at(self, now_s: float) -> float:
        """What sensor A is exposed to at this instant, mmHg."""
        self.advance(now_s)
        return self.manifold_mmhg

    def cuff_at(self, now_s: float) -> float:
        """What sensor B is exposed to, and the limb, mmHg."""
        self.advance(now_s)
        return self.cuff_mmhg

    @property
    def now_s(self) -> float:
        """The instant up to which the cuff has been integrated."""
        return self._step / STEPS_PER_S

    def advance(self, to_s: float) -> None:
        """Integrate up to `to_s` with the pins and faults as they stand. Does nothing for a time already reached."""
        last = int(to_s * STEPS_PER_S + 1e-6)
        step = self._step
        if step >= last:
            return
        band, flow_ml_s, stall, spin, hose, valve, leak, leaks, creep_ml_step, wall, volume, slack, soft = self._fixed
        duty = self._powered_duty()
        want = (duty - band) / (1.0 - band) if duty > band else 0.0
        free_ml_s = flow_ml_s * self.pump_weak
        relief = free_ml_s / RELIEF_SPAN_MMHG
        speed, kinked, stiff = self._speed, self.tube_kinked, MANIFOLD_ML_PER_MMHG / STEP_S
        open_end = 1.0 / TUBE_OFF_MMHG_PER_ML_S if self.tube_off else 0.0
        leak = leak * (leaks + self.leak_extra_mmhg_per_min) + open_end
        limb_ml = self.limb.volume_ml
        air, creep, capacity = self._air_ml, self._creep_ml, self._capacity
        manifold, cuff = self.manifold_mmhg, self.cuff_mmhg
        pump_ml_s = self.pump_flow_ml_s
        vent = self.vent_open if self.vent_stuck is None else self.vent_stuck == "open"
        dump = self.dump_open if self.dump_stuck is None else self.dump_stuck == "open"
        still = vent == self.vent_is_open and dump == self.dump_is_open
        if still:
            self._vent_wait = self._dump_wait = 0
        open_valves = self.vent_is_open + self.dump_is_open
        while step < last:
            step += 1
            if not still:
                open_valves = self._move_valves(vent, dump)
            speed += (want - speed) * spin
            # manifold: capacity, pump curve, hose (with the bladder's own answer within the step) and open valves
            through = 0.0 if kinked else 1.0 / (hose + STEP_S / capacity)
            out = valve * open_valves + open_end
            pump = speed * free_ml_s
            inflow = stiff * manifold + pump + through * cuff
            conductance = stiff + pump / stall + through + out
            manifold = inflow / conductance
            if manifold > RELIEF_MMHG:
                manifold = (inflow + relief * RELIEF_MMHG) / (conductance + relief)
            pump_ml_s = pump * (1.0 - manifold / stall)
            air += STEP_S * (through * (manifold - cuff) - leak * cuff)
            # bladder: slack first, then gas law and wall, with the limb pressing and the sleeve creeping
            at_limb = limb_ml(step / STEPS_PER_S, cuff) - creep
            filled = air - slack + at_limb
            if filled > 0.0:
                b = volume - at_limb + ATMOSPHERE_MMHG * wall
                c = ATMOSPHERE_MMHG * filled
                root = sqrt(b * b + 4.0 * wall * c)
                cuff = SLACK_MMHG + 2.0 * c / (b + root)
                capacity = root / ATMOSPHERE_MMHG
            else:
                cuff = SLACK_MMHG * (1.0 + filled / soft)
                capacity = soft / SLACK_MMHG
                if open_valves and not kinked:
                    air -= air * (STEP_S / RECOIL_S)
            if cuff > CREEP_FROM_MMHG:
                creep += creep_ml_step
            else:
                creep -= creep * (STEP_S / CREEP_RECOVERY_S)
        self._step, self._speed, self._air_ml, self._creep_ml, self._capacity = step, speed, air, creep, capacity
        self.manifold_mmhg, self.cuff_mmhg, self.pump_flow_ml_s = manifold, cuff, pump_ml_s

    def _powered_duty(self) -> float:
        """What the motor sees: two switches in series, each of which may be stuck."""
        if not (self.pump_enabled or self.pump_enable_stuck):
            return 0.0
        duty = self.pump_duty if self.pump_stuck_duty is None else self.pump_stuck_duty
        return duty if 0.0 <= duty <= 1.0 else 1.0 if duty > 1.0 else 0.0

    def _move_valves(self, vent: bool, dump: bool) -> int:
        """How many valves stand open. A valve moves once its coil has said the same for the whole latency."""
        if vent == self.vent_is_open:
            self._vent_wait = 0
        elif self._vent_wait >= self._latency_steps:
            self.vent_is_open = vent
            self._vent_wait = 0
        else:
            self._vent_wait += 1
        if dump == self.dump_is_open:
            self._dump_wait = 0
        elif self._dump_wait >= self._latency_steps:
            self.dump_is_open = dump
            self._dump_wait = 0
        else:
            self._dump_wait += 1
        return self.vent_is_open + self.dump_is_open

    def least_inflation_s(self, target_mmhg: float, within_mmhg: float = 2.0, at_most_s: float = 60.0) -> float:
        """The least the pump's curve allows from here to within `within_mmhg` of the target: full duty at once, spin-up
        included, valves shut, a limb at rest. Infinity where it takes longer than `at_most_s`."""
        trial = copy(self)
        trial.limb = RestingLimb()
        trial.pump_duty, trial.pump_enabled = 1.0, True
        trial.vent_open = trial.dump_open = trial.vent_is_open = trial.dump_is_open = False
        begin = trial.now_s
        for step in range(1, int(at_most_s * STEPS_PER_S) + 1):
            trial.advance(begin + step * STEP_S)
            if trial.cuff_mmhg >= target_mmhg - within_mmhg:
                return step * STEP_S
        return inf


assert set(PLANT_KEYS) == {field.name for field in fields(PlantSettings)}
