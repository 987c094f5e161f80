"""What the tests of the core share: values with healthy defaults, and a bench that is driven tick by tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controller.core import safety
from controller.core.limits import DEFAULT_LIMITS, Limits
from controller.core.model import (
    VENTED,
    ChannelStatus,
    CuffDemand,
    CuffOutputs,
    CuffWatch,
    Demand,
    GuardState,
    GuardStatus,
    Inputs,
    Limb,
    Phase,
    Sample,
    Seen,
    Watch,
)
from controller.core.moment import Moment, on_limb_mmhg
from controller.core.seeing import CuffSight

DT_S = 1 / 128  # exact in binary: sums of it carry no rounding
LEG = CuffWatch(Limb.LEG, 187.0, 150.0, 10.0, 1200.0, 10.0, 480.0)


def make_moment(
    a: float = 150.0,
    b: float = 150.0,
    *,
    phase: Phase = Phase.WORKING,
    use: CuffWatch | None = LEG,
    pumping: bool = False,
    venting: bool = False,
    dt_s: float = 0.0,
    now_s: float = 100.0,
    sight: CuffSight | None = None,
    empty: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    **watch: Any,
) -> Moment:
    """One cuff in one tick; `dt_s` 0 by default, so that what has added up is exactly what the test says."""
    pressure = b if a < b or a != a else a
    seen = Seen(a, now_s, b, now_s, pressure, a == a and b == b, empty)
    return Moment(
        0,
        phase,
        now_s,
        dt_s,
        limits,
        CuffSight(a_mmhg=a, a_at_s=now_s, b_mmhg=b, b_at_s=now_s, b_known=b == b) if sight is None else sight,
        seen,
        use,
        Watch(phase, 0.0, (use,), **watch),
        pumping,
        venting,
        on_limb_mmhg(seen, pumping),
    )


@dataclass
class Rig:
    """A bench of which every reading is the test's to say. One `tick` is one observe and one supervise."""

    cuffs: int = 1
    phase: Phase = Phase.IDLE
    a: float = 0.0
    b: float = 0.0
    demand: CuffDemand = field(default_factory=lambda: CuffDemand(0.0, True, True))
    use: CuffWatch | None = field(default_factory=lambda: LEG)
    estop_ok: bool = True
    guard: GuardState = GuardState.ARMED
    trip: str = ""
    trip_cuff: int = 255
    boot_id: int = 7
    expected_boot_id: int = 7
    link_fault: str = ""
    sampled: bool = True  # sensor A answers
    answering: bool = True  # the guard does
    counting: bool = True  # counts of A move
    counts: int | None = None  # ... or are these
    watch: dict[str, Any] = field(default_factory=dict)
    now_s: float = 0.0
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)
    verdict: safety.Verdict | None = None
    seen: tuple[Seen, ...] = ()
    given: tuple[CuffOutputs, ...] = ()

    def __post_init__(self) -> None:
        self.state = safety.initial(self.cuffs, self.now_s)
        self.given = (VENTED,) * self.cuffs
        self._counts = 0

    def inputs(self) -> Inputs:
        self._counts += self.counting
        sample = Sample(self.now_s, self.a, self._counts if self.counts is None else self.counts)
        samples = ((sample,) if self.sampled else (),) * self.cuffs
        channels = tuple(
            ChannelStatus(self.b, out.pump_duty, out.pump_enabled, out.vent_open, out.dump_open) for out in self.given
        )
        status = GuardStatus(
            self.now_s,
            self.boot_id,
            self.expected_boot_id,
            self._counts,
            self.guard,
            self.trip,
            self.trip_cuff,
            self.estop_ok,
            channels,
        )
        return Inputs(samples, (status,) if self.answering else (), link_fault=self.link_fault)

    def tick(self, dt_s: float = DT_S) -> safety.Verdict:
        self.now_s += dt_s
        inputs = self.inputs()
        watch = Watch(self.phase, 0.0, (self.use,) * self.cuffs, **self.watch)
        observed, self.seen = safety.observe(self.state, inputs, self.given, self.limits, self.now_s)
        demand = Demand((self.demand,) * self.cuffs)
        self.verdict = safety.supervise(observed, demand, watch, self.seen, inputs, self.given, self.limits, self.now_s)
        self.state, self.given = self.verdict.state, self.verdict.outputs
        return self.verdict

    def run(self, seconds: float) -> safety.Verdict:
        """Ticks for so long, or to the first trip or end."""
        until_s = self.now_s + seconds
        verdict = self.tick()
        while self.now_s < until_s and not (verdict.trips or verdict.ends):
            verdict = self.tick()
        return verdict

    def until(self, rule: str, at_most_s: float = 60.0) -> float:
        """Seconds until this rule is the reason of a trip or an end, or an alarm; the last tick included."""
        since_s = self.now_s
        while self.now_s - since_s < at_most_s:
            verdict = self.tick()
            found = (verdict.trips + verdict.ends)[:1] + verdict.alarms
            if found:
                assert rule in [one.rule for one in found], found
                return self.now_s - since_s
        raise AssertionError(f"{rule} did not fire within {at_most_s} s")

    def pressurise(self, phase: Phase = Phase.HOLDING, mmhg: float = 150.0) -> Rig:
        """Seen whole in IDLE, then at target with everything closed, for long enough that no air moves."""
        self.phase = Phase.IDLE
        self.a = self.b = 0.0
        self.run(0.6)
        self.phase = Phase.INFLATING
        self.demand = CuffDemand(0.0, False, False)
        while self.a < mmhg:
            self.a = self.b = min(mmhg, self.a + 25.0)
            self.tick()
        self.phase = phase
        verdict = self.run(0.4)
        assert not verdict.trips
        return self


@pytest.fixture
def moment() -> Callable[..., Moment]:
    return make_moment


@pytest.fixture
def leg() -> CuffWatch:
    return replace(LEG)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def rig_of() -> type[Rig]:
    return Rig
