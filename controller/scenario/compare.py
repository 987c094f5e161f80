"""The default simulated limb, unregulated and regulated, beside what was measured with devices on people.

Without the unregulated figure no pressure figure of ours means anything: it says whether the simulated limb is as hard
to hold as a person's. Ours are simulated; the devices' are people's (Swain 2025, leg press at 80 % LOP, n = 15, authors
include a maker's company).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import inf
from os import cpu_count
from statistics import fmean
from typing import Any, Final

from msgspec import structs

from ..core.model import Phase
from ..core.step import Stepped
from ..prescription import library
from ..prescription.protocol import Protocol
from .run import Lived, Scenario, run_lived

DEVICES_ON_PEOPLE: Final = (  # name, % of exercise time within 10 %, peaks and valleys in % of LOP [F Swain 2025]
    ("Delfi (regulates)", 95, 89, 72),
    ("Suji", 34, 90, 65),
    ("SmartCuffs", 26, 79, 61),
    ("Saga", 25, 79, 58),
)
PRESET: Final = "bfr-30-15-15-15"
HELD: Final = "passive-5x5"
HELD_BOUTS: Final = 2
SHOWN_SET: Final = 1  # of the picture
SHOWN_REPETITIONS: Final = (19, 20)  # from 0: well into the set


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of session."""

    name: str
    protocol: str
    percent_lop: float
    regulated: bool


CASES: Final = (
    Case("unregulated, 80 % LOP", PRESET, 80.0, False),
    Case("regulated, 80 % LOP", PRESET, 80.0, True),
    Case("regulated, 60 % LOP", PRESET, 60.0, True),
    Case("regulated, held at rest, 70 % LOP", HELD, 70.0, True),
)


@dataclass(slots=True)
class Figures:
    """What one session came to. Fractions 0..1, peaks and valleys in % of LOP, means over repetitions."""

    outcome: str
    seed: int
    time_in_10pct: float | None
    held_in_5pct: float | None
    peak_percent_lop: float | None
    valley_percent_lop: float | None
    sinks_mmhg: float | None  # mean of a set's first five repetitions minus that of its last five
    seconds_above_lop: float
    overshoot_mmhg: float
    inflation_ratio: float  # to what the pump's curve allows
    release_s: float
    wall_s: float
    duration_s: float


class Repetitions:
    """True pressure of cuff 1 in each repetition: highest, lowest, mean. Sees every tick."""

    def __init__(self, lived: Lived) -> None:
        self._plant = lived.bench.cuffs[0]
        self._at: tuple[int, int] = (-1, -1)
        self.peaks: list[float] = []
        self.valleys: list[float] = []
        self.means: list[tuple[int, float]] = []  # set, mean
        self._sum = self._ticks = 0.0
        self._high, self._low = -inf, inf

    def after(self, stepped: Stepped, _now_s: float) -> None:
        session = stepped.state.session
        at = (session.step_index, session.repetition) if session.phase is Phase.WORKING else (-1, -1)
        if at != self._at:
            if self._at != (-1, -1) and self._ticks:
                self.peaks.append(self._high)
                self.valleys.append(self._low)
                self.means.append((self._at[0], self._sum / self._ticks))
            self._at, self._sum, self._ticks, self._high, self._low = at, 0.0, 0.0, -inf, inf
        if at != (-1, -1):
            true = self._plant.cuff_mmhg
            self._sum += true
            self._ticks += 1
            self._high, self._low = max(self._high, true), min(self._low, true)

    def sinks_mmhg(self) -> float | None:
        """How much lower the last five repetitions of a set are than its first five; mean over sets."""
        by_set: dict[int, list[float]] = {}
        for index, mean in self.means:
            by_set.setdefault(index, []).append(mean)
        falls = [fmean(means[:5]) - fmean(means[-5:]) for means in by_set.values() if len(means) >= 10]
        return fmean(falls) if falls else None


def figures(case: Case, seed: int) -> Figures:
    """Live one session in virtual time."""
    scenario = Scenario(library.named(case.protocol), percent_lop=case.percent_lop, seed=seed, regulated=case.regulated)
    seen: list[Repetitions] = []

    def watch(lived: Lived) -> None:
        seen.append(Repetitions(lived))
        lived.control.watch(seen[0].after)

    result = run_lived(scenario, watch)
    repetitions = seen[0]
    held = [rest["time_in_5pct"] for rest in result["rests"] if rest["time_in_5pct"] is not None]
    lop = scenario.lop_mmhg
    return Figures(
        result["outcome"],
        seed,
        _weighted(result["sets"], "time_in_10pct"),
        fmean(held) if held else None,
        fmean(repetitions.peaks) / lop * 100.0 if repetitions.peaks else None,
        fmean(repetitions.valleys) / lop * 100.0 if repetitions.valleys else None,
        repetitions.sinks_mmhg(),
        result["seconds_above_lop"],
        max((one["overshoot_mmhg"] for one in result["inflations"]), default=0.0),
        max((one["to_target_s"] / one["pump_limited_s"] for one in result["inflations"]), default=0.0),
        max((one["released_below_15_after_s"] or 0.0 for one in result["rests"]), default=0.0),
        result["wall_s"],
        result["duration_s"],
    )


def _shortened(protocol: Protocol) -> Protocol:
    """Two bouts of a passive protocol tell as much as five."""
    if protocol.passive is None:
        return protocol
    return structs.replace(protocol, passive=structs.replace(protocol.passive, bouts=HELD_BOUTS))


def _weighted(sets: list[dict[str, Any]], key: str) -> float | None:
    """Mean over exercise time, not over sets."""
    whole_s = sum(one["end_s"] - one["start_s"] for one in sets)
    return sum(one[key] * (one["end_s"] - one["start_s"]) for one in sets) / whole_s if whole_s else None


def compare(
    seeds: Iterable[int], cases: tuple[Case, ...] = CASES, done: Callable[[], None] | None = None
) -> dict[str, list[Figures]]:
    """Every case with every seed, on all cores."""
    wanted = [(case, seed) for case in cases for seed in seeds]
    found: dict[str, list[Figures]] = {case.name: [] for case in cases}
    with ProcessPoolExecutor(max_workers=cpu_count() or 1) as pool:
        for (case, _), one in zip(wanted, pool.map(_figures, wanted), strict=True):
            found[case.name].append(one)
            if done is not None:
                done()
    return found


def _figures(wanted: tuple[Case, int]) -> Figures:
    return figures(*wanted)


def two_repetitions(regulated: bool, seed: int = 1) -> list[tuple[float, float]]:
    """(seconds, true mmHg) of two repetitions well into the first set, at 80 % of LOP: for the picture."""
    points: list[tuple[float, float]] = []

    def watch(lived: Lived) -> None:
        plant = lived.bench.cuffs[0]

        def after(stepped: Stepped, now_s: float) -> None:
            session = stepped.state.session
            if session.phase is Phase.WORKING and session.step_index == 0:
                if SHOWN_REPETITIONS[0] <= session.repetition <= SHOWN_REPETITIONS[1]:
                    points.append((now_s, plant.cuff_mmhg))
                elif session.repetition > SHOWN_REPETITIONS[1]:
                    lived.finish()

        lived.control.watch(after)

    run_lived(Scenario(library.named(PRESET), percent_lop=80.0, seed=seed, regulated=regulated), watch)
    zero_s = points[0][0]
    return [(at_s - zero_s, mmhg) for at_s, mmhg in points]
