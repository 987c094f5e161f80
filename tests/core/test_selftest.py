"""The self-test's sequence on an idealised bench: every row, what fails it, and that nothing is left under pressure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, inf, isnan, log, nan
from typing import Any

import pytest

from controller.core import selftest, selftest_stages
from controller.core.model import DEMAND_VENT, CuffDemand, Drive, GuardState, Seen
from controller.core.selftest import Look, SelfTest, Stage, Subject
from controller.core.selftest_rows import ROWS, Outcome, Proof

DT_S = 1 / 32
TAU_S = 1.2


@dataclass
class Cuff:
    """One idealised cuff. Everything that can be wrong with it is an attribute."""

    mmhg: float = 0.0
    rate_mmhg_s: float = 40.0
    tau_s: dict[str, float] = field(default_factory=lambda: {"vent": TAU_S, "dump": TAU_S})  # inf: stuck closed
    stuck_open: bool = False
    conducts: Drive | None = None  # this switch alone drives the pump: the other one conducts
    runs_on: bool = False  # the pump, whatever is asked
    leak_1_min: float = 0.0  # share of the pressure
    creep_mmhg_min: float = 0.0
    a: Callable[[float], float] = lambda mmhg: mmhg
    b: Callable[[float], float] = lambda mmhg: mmhg

    def live(self, asked: CuffDemand, armed: bool) -> None:
        if not armed:
            asked = DEMAND_VENT
        if asked.vent_open:
            self.mmhg *= exp(-DT_S / self.tau_s["vent"])
        if asked.dump_open:
            self.mmhg *= exp(-DT_S / self.tau_s["dump"])
        if self.stuck_open:
            self.mmhg *= exp(-DT_S / TAU_S)
        closed = not (asked.vent_open or asked.dump_open)
        if (closed and asked.pump_duty > 0.0 and asked.drive in (Drive.BOTH, self.conducts)) or self.runs_on:
            self.mmhg += self.rate_mmhg_s * asked.pump_duty * DT_S if not self.runs_on else self.rate_mmhg_s * DT_S
        lost = self.mmhg * self.leak_1_min + (self.creep_mmhg_min if self.mmhg > 15.0 else 0.0)
        self.mmhg -= lost * DT_S / 60.0


@dataclass
class Bench:
    """Follows the sequence tick by tick, and does as it asks where the guard is armed for that cuff."""

    cuffs: list[Cuff] = field(default_factory=lambda: [Cuff()])
    leak_mmhg: float = 150.0
    answers: bool = True
    arms: bool = True
    disarms: bool = True
    estop_ok: bool = True
    counts_refusals: bool = True
    moves_while_vented: bool = False
    guard: GuardState = GuardState.VENTED
    on_tick: Callable[[Bench], None] = lambda _bench: None
    now_s: float = 0.0
    stages: list[tuple[Stage, int]] = field(default_factory=list)
    highest_mmhg: float = 0.0

    def __post_init__(self) -> None:
        self.test = selftest.begin(tuple([Subject(self.leak_mmhg, str(n + 1)) for n in range(len(self.cuffs))]))
        self.empty_s = [0.0] * len(self.cuffs)
        self.refused = 0xFFFF  # and wraps
        self.asked: tuple[CuffDemand, ...] = (DEMAND_VENT,) * len(self.cuffs)

    def seen(self) -> tuple[Seen, ...]:
        made = []
        for number, cuff in enumerate(self.cuffs):
            a, b = cuff.a(cuff.mmhg), cuff.b(cuff.mmhg)
            certain = not isnan(a) and not isnan(b)
            low = certain and max(a, b) < 15.0 and self.asked[number].vent_open
            self.empty_s[number] = self.empty_s[number] + DT_S if low else 0.0
            high = b if a < b or isnan(a) else a
            made.append(Seen(a, self.now_s, b, self.now_s, high, certain, self.empty_s[number] >= 0.5))
        return tuple(made)

    def tick(self) -> SelfTest:
        self.now_s += DT_S
        self.on_tick(self)
        for cuff, asked in zip(self.cuffs, self.asked, strict=True):
            cuff.live(asked, self.guard is GuardState.ARMED)
        self.highest_mmhg = max(self.highest_mmhg, *[cuff.mmhg for cuff in self.cuffs])
        before = self.test
        self.test = t = selftest.fork(before)
        was = repr(before) if t.at % 4 == 0 and t.age_s < 1.0 else ""
        look = Look(DT_S, self.seen(), self.guard, self.estop_ok, self.refused, not self.moves_while_vented)
        if t.waits and self.answers:
            selftest.answer(t, f"cuff {t.cuff + 1}")
        self.asked = selftest_stages.step(t, look)
        assert not was or repr(before) == was, "the state handed in was changed"
        if t.prove and self.counts_refusals:
            self.refused = (self.refused + 1) & 0xFFFF
        if t.stage is Stage.ARM and self.arms:
            self.guard = GuardState.ARMED
        elif not t.wants_armed and self.disarms:
            self.guard = GuardState.VENTED
        if not self.stages or self.stages[-1] != (t.stage, t.cuff):
            self.stages.append((t.stage, t.cuff))
        for number, asked in enumerate(self.asked):
            if number != t.cuff or t.over or not t.wants_armed or t.stage in (Stage.ARM, Stage.EMPTY):
                assert asked == DEMAND_VENT, (t.stage, number)
        return t

    def run(self, at_most_s: float = 600.0) -> Bench:
        while not self.test.over and self.now_s < at_most_s:
            self.tick()
        return self

    def until(self, stage: Stage) -> Bench:
        while self.test.stage is not stage and not self.test.over:
            self.tick()
        assert self.test.stage is stage, self.failed()
        return self

    def failed(self) -> list[tuple[str, int]]:
        assert self.test.over
        return [(one.row, one.cuff) for one in selftest.table(self.test) if one.outcome is Outcome.FAILED]

    def row(self, name: str, cuff: int = 0) -> Proof:
        where = -1 if name in ("estop", "refusal") else cuff
        (found,) = [one for one in selftest.table(self.test) if (one.row, one.cuff) == (name, where)]
        return found


def of(*cuffs: Cuff, **bench: Any) -> Bench:
    return Bench(list(cuffs), **bench).run()


# --- a sound bench ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuffs", [1, 2])
def test_a_sound_bench_passes_every_row_and_is_left_vented_and_disarmed(cuffs: int) -> None:
    bench = of(*[Cuff() for _ in range(cuffs)])
    assert bench.failed() == []
    assert bench.test.passed
    rows = selftest.table(bench.test)
    assert {one.outcome for one in rows} == {Outcome.PASSED}
    assert [one.text for one in rows] == [""] * len(rows)
    assert {one.row for one in rows} == set(ROWS) - ({"alone"} if cuffs == 1 else set())
    assert len(rows) == 2 + cuffs * (len(ROWS) - 2 - (cuffs == 1))
    assert all(cuff.mmhg < 15.0 for cuff in bench.cuffs)
    assert bench.guard is GuardState.VENTED
    assert bench.asked == (DEMAND_VENT,) * cuffs
    assert bench.highest_mmhg < 160.0


def test_each_cuff_is_shown_to_the_person_before_any_of_the_long_part() -> None:
    bench = of(Cuff(), Cuff())
    asked = [(stage, cuff) for stage, cuff in bench.stages if stage in (Stage.CONFIRM, Stage.RISE)]
    assert asked == [(Stage.CONFIRM, 0), (Stage.CONFIRM, 1), (Stage.RISE, 0), (Stage.RISE, 1)]


def test_a_test_that_has_not_begun_has_nothing_done_and_has_not_passed() -> None:
    test = Bench().test
    assert {one.outcome for one in selftest.table(test)} == {Outcome.NOT_DONE}
    assert all(isnan(one.value) for one in selftest.table(test))
    assert not test.passed
    assert not test.waits


# --- vented ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuff", "estop_ok", "failed"),
    [
        (Cuff(), False, ["estop"]),
        (Cuff(a=lambda _: nan), True, ["sensors"]),
        (Cuff(b=lambda _: nan), True, ["sensors"]),
        (Cuff(a=lambda mmhg: mmhg + 10.5), True, ["agree", "zero"]),
        (Cuff(b=lambda mmhg: mmhg - 10.5), True, ["agree", "zero"]),
        (Cuff(a=lambda mmhg: mmhg + 6.0, b=lambda mmhg: mmhg - 6.0), True, ["agree"]),
        (Cuff(a=lambda mmhg: mmhg - 10.5, b=lambda mmhg: mmhg - 10.5), True, ["zero"]),
        (Cuff(a=lambda mmhg: mmhg - 9.5, b=lambda mmhg: mmhg - 9.5), True, []),
    ],
)
@pytest.mark.parametrize("second", [False, True])
def test_what_is_wrong_while_vented(cuff: Cuff, estop_ok: bool, failed: list[str], second: bool) -> None:
    cuffs = [Cuff(), cuff] if second else [cuff]
    bench = Bench(cuffs, estop_ok=estop_ok)
    bench.run(1.0)
    if not failed:
        assert not bench.test.over
        return
    where = -1 if failed == ["estop"] else len(cuffs) - 1
    assert bench.failed() == [(row, where) for row in failed]
    assert bench.now_s < 0.7
    assert bench.row("refusal").outcome is Outcome.NOT_DONE
    assert all(ROWS[row].advice in bench.row(row, max(0, where)).text for row in failed)


@pytest.mark.parametrize("how", ["counts nothing", "counts two", "moves a pin"])
def test_a_guard_that_does_not_refuse(how: str) -> None:
    def two(bench: Bench) -> None:
        if bench.test.prove:
            bench.refused = (bench.refused + 1) & 0xFFFF

    bench = Bench(counts_refusals=how != "counts nothing", moves_while_vented=how == "moves a pin")
    if how == "counts two":
        bench.on_tick = two
    assert bench.run().failed() == [("refusal", -1)]
    assert bench.now_s < 2.0
    assert bench.row("refusal").value == {"counts nothing": 0.0, "counts two": 2.0, "moves a pin": 0.0}[how]
    assert ("has moved an output" in bench.row("refusal").text) is (how == "moves a pin")


@pytest.mark.parametrize("how", ["never arms", "never disarms", "disarms under pressure", "for a moment"])
def test_a_guard_that_does_not_arm(how: str) -> None:
    def away(bench: Bench) -> None:
        if bench.test.stage is Stage.KEEP and (how != "for a moment" or bench.test.age_s < 0.08):
            bench.guard = GuardState.VENTED
        elif how == "for a moment" and bench.test.stage is Stage.KEEP:
            bench.guard = GuardState.ARMED

    bench = Bench([Cuff(tau_s={"vent": 50.0, "dump": 50.0})] if how == "for a moment" else [Cuff()])
    bench.arms, bench.disarms = how != "never arms", how != "never disarms"
    if "arms" not in how or how == "disarms under pressure":
        bench.on_tick = away
    if how == "for a moment":
        bench.until(Stage.EMPTY)
        return
    bench.run()
    row = "closes" if how == "disarms under pressure" else "arms"
    assert bench.failed() == [(row, 0)]
    if row == "arms":
        assert bench.row("arms").value > 2.0
    else:
        assert "no longer armed" in bench.row("closes").text
    assert bench.asked == (DEMAND_VENT,)


# --- each cuff alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuff", "says"),
    [
        (Cuff(rate_mmhg_s=0.0), "not at 30 mmHg after 35 s"),
        (Cuff(stuck_open=True, rate_mmhg_s=20.0), "not at 30 mmHg after 35 s"),
        (Cuff(a=lambda _: 0.0), "B rises and A does not"),
        (Cuff(a=lambda mmhg: 0.3 * mmhg), "B rises and A does not"),
        (Cuff(b=lambda _: 0.0), "A rises and B does not"),
        (Cuff(b=lambda mmhg: 0.1 * mmhg), "A rises and B does not"),
    ],
)
def test_filling(cuff: Cuff, says: str) -> None:
    bench = of(cuff)
    assert bench.failed() == [("fills", 0)]
    assert says in bench.row("fills").text
    assert bench.highest_mmhg < 100.0


def test_a_manifold_far_ahead_of_its_cuff_is_filled_slowly() -> None:
    bench = Bench([Cuff(a=lambda mmhg: 3.0 * mmhg)]).until(Stage.FILL)
    duties = set()
    while bench.test.stage is Stage.FILL:
        bench.tick()
        duties.add(bench.asked[0].pump_duty)
    assert selftest_stages.SLOW_DUTY in duties


@pytest.mark.parametrize("sensor", ["a", "b"])
@pytest.mark.parametrize("way", [0.5, -0.5])
def test_a_neighbour_that_moves(sensor: str, way: float) -> None:
    first, second = Cuff(), Cuff()
    setattr(second, sensor, lambda _: 1.0 + way * first.mmhg)
    bench = of(first, second)
    assert bench.failed() == [("alone", 0)]
    assert abs(bench.row("alone").value) == pytest.approx(8.0, abs=0.5)
    assert first.mmhg < 20.0


@pytest.mark.parametrize(
    ("cuff", "sign"),
    [(Cuff(stuck_open=True, rate_mmhg_s=60.0), 1), (Cuff(runs_on=True, rate_mmhg_s=12.0), -1)],
    ids=["a valve is open", "the pump runs on"],
)
def test_what_does_not_stay(cuff: Cuff, sign: int) -> None:
    if sign < 0:
        cuff.runs_on = False
        bench = Bench([cuff]).until(Stage.KEEP)
        cuff.runs_on = True
        bench.run(bench.now_s + 3.0)
    else:
        bench = of(cuff)
    assert bench.failed() == [("closes", 0)]
    least = 5.0 if sign > 0 else 10.0
    assert least < sign * bench.row("closes").value < least + 3.0


@pytest.mark.parametrize("words", ["1", "cuff 1", " CUFF 1 ", "1 cuff"])
def test_the_right_cuff_however_it_is_said(words: str) -> None:
    bench = Bench(answers=False).until(Stage.CONFIRM)
    assert bench.test.waits
    test = selftest.fork(bench.test)
    assert selftest.answer(test, words)
    assert test.stage is Stage.ARM
    assert not test.over


@pytest.mark.parametrize("words", ["2", "none", "", "left leg", "11"])
def test_the_wrong_cuff_ends_it(words: str) -> None:
    bench = Bench(answers=False).until(Stage.CONFIRM)
    assert not selftest.answer(bench.test, words)
    assert bench.failed() == [("confirmed", 0)]
    assert f"expected {bench.test.subjects[0].answer}" in bench.row("confirmed").text
    assert not bench.test.waits


def test_nobody_answers() -> None:
    bench = Bench(answers=False).until(Stage.CONFIRM)
    since_s = bench.now_s
    assert bench.run().failed() == [("confirmed", 0)]
    assert bench.now_s - since_s == pytest.approx(60.0, abs=0.1)
    assert bench.guard is GuardState.VENTED
    assert bench.row("confirmed").text.endswith("60 s; begin anew, look at the cuffs and answer")


# --- under pressure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_mmhg_s", "passes"), [(300.0, False), (200.0, True), (12.0, True), (10.0, False), (3.0, False)]
)
def test_the_rise(rate_mmhg_s: float, passes: bool) -> None:
    bench = of(Cuff(rate_mmhg_s=rate_mmhg_s))
    assert bench.failed() == ([] if passes else [("rise", 0)])
    if rate_mmhg_s > 11.0:
        assert bench.row("rise").value == pytest.approx(40.0 / rate_mmhg_s, abs=2 * DT_S)


def test_a_cuff_that_does_not_come_to_20_mmhg_again_fails_the_rise() -> None:
    bench = Bench().until(Stage.RISE)
    bench.cuffs[0].rate_mmhg_s = 0.1
    assert bench.run().failed() == [("rise", 0)]
    assert isnan(bench.row("rise").value)
    assert "of pumping" in bench.row("rise").text


@pytest.mark.parametrize(
    ("drive", "row", "first"),
    [(Drive.PWM_ALONE, "pwm_alone", "enable_alone"), (Drive.ENABLE_ALONE, "enable_alone", "dump")],
)
def test_one_switch_that_conducts(drive: Drive, row: str, first: str) -> None:
    bench = of(Cuff(conducts=drive))
    assert bench.failed() == [(row, 0)]
    assert 4.0 < bench.row(row).value <= 40.0 * 4 * DT_S
    assert bench.highest_mmhg < 70.0
    assert bench.row(first).outcome is Outcome.NOT_DONE


@pytest.mark.parametrize("valve", ["vent", "dump"])
@pytest.mark.parametrize(
    ("tau_s", "passes"), [(0.05, True), (0.4, True), (1.8, True), (1.9, False), (4.0, False), (inf, False)]
)
def test_a_valve(valve: str, tau_s: float, passes: bool) -> None:
    cuff = Cuff()
    cuff.tau_s[valve] = tau_s
    bench = of(cuff)
    assert bench.failed() == ([] if passes else [(valve, 0)])
    if tau_s < 0.1:
        assert bench.row(valve).value < 0.5  # over before there is anything to fit
    elif tau_s < inf:
        assert bench.row(valve).value == pytest.approx(tau_s * log(220.0 / 15.0), rel=0.01)
    else:
        assert "with this valve open" in bench.row(valve).text


def test_a_valve_that_closes_again_on_its_way_down() -> None:
    bench = Bench().until(Stage.VENT)
    while bench.cuffs[0].mmhg > 40.0:
        bench.tick()
    bench.cuffs[0].tau_s["vent"] = inf
    assert bench.run().failed() == [("vent", 0)]
    assert "mmHg in 5.0 s" in bench.row("vent").text


@pytest.mark.parametrize("stage", [Stage.AGAIN, Stage.CREEP_TO, Stage.LEAK_TO])
def test_a_pump_that_gives_up_on_the_way(stage: Stage) -> None:
    bench = Bench().until(stage)
    bench.cuffs[0].rate_mmhg_s = 0.0
    bench.run()
    ((row, _),) = bench.failed()
    assert row == ("leak" if stage is Stage.LEAK_TO else "rise")
    assert "after 15 s" in bench.row(row).text


@pytest.mark.parametrize(
    ("leak_mmhg_min", "creep_mmhg_min", "at_mmhg", "passes"),
    [
        (0.0, 0.0, 150.0, True),
        (5.0, 0.0, 150.0, True),
        (7.5, 0.0, 150.0, False),
        (60.0, 0.0, 150.0, False),
        (3.0, 6.0, 150.0, True),
        (8.0, 6.0, 150.0, False),
        (3.0, 0.0, 64.0, True),
        (9.0, 0.0, 64.0, False),
    ],
)
def test_the_leak(leak_mmhg_min: float, creep_mmhg_min: float, at_mmhg: float, passes: bool) -> None:
    """Leaks are named at 150 mmHg, wherever they are measured."""
    bench = of(Cuff(leak_1_min=leak_mmhg_min / 150.0, creep_mmhg_min=creep_mmhg_min), leak_mmhg=at_mmhg)
    assert bench.failed() == ([] if passes else [("leak", 0)])
    found = bench.row("leak").value
    assert found <= (leak_mmhg_min + creep_mmhg_min) * 1.3 + 0.1
    if creep_mmhg_min == 0.0:
        assert found == pytest.approx(leak_mmhg_min, rel=0.3, abs=0.2)


def test_a_great_leak_is_not_waited_for() -> None:
    bench = Bench().until(Stage.LEAK)
    since_s = bench.now_s
    bench.cuffs[0].leak_1_min = 2.0
    assert bench.run().failed() == [("leak", 0)]
    assert bench.now_s - since_s < 20.0


def test_a_cuff_that_was_let_down_between_the_two_pressures_is_judged_by_its_whole_fall() -> None:
    bench = Bench().until(Stage.LEAK)
    bench.cuffs[0].mmhg = 50.0
    bench.cuffs[0].leak_1_min = 3.0 / 150.0
    bench.run()
    assert bench.row("leak").value == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("stage", [Stage.SETTLE, Stage.PAUSE, Stage.STILL, Stage.CREEP, Stage.LEAK])
def test_a_pump_that_runs_on_is_not_waited_for(stage: Stage) -> None:
    bench = Bench().until(stage)
    bench.cuffs[0].runs_on = True
    begun_mmhg, since_s = bench.cuffs[0].mmhg, bench.now_s
    bench.run()
    ((row, _),) = bench.failed()
    assert "pressure rises with the pump off" in bench.row(row).text
    assert bench.now_s - since_s < 1.0
    assert bench.cuffs[0].mmhg < begun_mmhg + 30.0


@pytest.mark.parametrize("sensor", ["a", "b"])
@pytest.mark.parametrize("stage", [Stage.FILL, Stage.RISE, Stage.VENT, Stage.LEAK])
def test_a_sensor_that_is_lost_under_pressure_vents_in_that_tick(sensor: str, stage: Stage) -> None:
    bench = Bench().until(stage)
    setattr(bench.cuffs[0], sensor, lambda _: nan)
    bench.tick()
    assert bench.failed() == [("sensors", 0)]
    assert bench.asked == (DEMAND_VENT,)


# --- a rule that trips -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "rule", "cuff", "failed"),
    [
        (Stage.LOOK, "stop_button", -1, ("estop", -1)),
        (Stage.LEAK, "stop_button", -1, ("estop", -1)),
        (Stage.VENT, "stale_sample", 1, ("sensors", 1)),
        (Stage.FILL, "guard_lost", -1, ("arms", 0)),
        (Stage.LOOK, "guard_lost", -1, ("arms", 0)),
        (Stage.FILL, "tube_blocked", 0, ("fills", 0)),
        (Stage.EMPTY, "not_released", 0, ("vent", 0)),
        (Stage.REFUSE, "tick_late", -1, ("refusal", -1)),
        (Stage.LEAK, "over_pressure", 0, ("leak", 0)),
    ],
)
def test_what_trips_is_the_finding_of_a_row(stage: Stage, rule: str, cuff: int, failed: tuple[str, int]) -> None:
    bench = Bench([Cuff(), Cuff()]).until(stage)
    selftest.tripped(bench.test, rule, cuff, "what happened")
    assert bench.failed() == [failed]
    assert bench.row(*failed).text.startswith("what happened; ")
    assert isnan(bench.row(*failed).value)


@pytest.mark.parametrize(
    ("lop", "ceiling", "at"), [(187.0, 250.0, 149.6), (inf, 250.0, 150.0), (80.0, 250.0, 64.0), (330.0, 100.0, 75.0)]
)
def test_the_pressure_at_which_a_leak_is_looked_for(lop: float, ceiling: float, at: float) -> None:
    assert selftest.leak_mmhg(lop, ceiling) == pytest.approx(at)
