"""From a protocol to the core's `Timeline`, and to the restricted time it plans. Pure; imports `core` only.

Seconds throughout. Planned restricted time takes each inflation as `INFLATION_PLANNED_S` and counts a step in full
when its cuff is inflated; a release is not counted, and what really happens is on the limb's clock in the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.core.limits import INFLATION_PLANNED_S, REPERFUSION_S
from controller.core.model import Mode, Step, StepKind, Tempo, Timeline

if TYPE_CHECKING:
    from .protocol import Exercise, Protocol


def to_timeline(protocol: Protocol) -> Timeline:
    """What a session of this protocol lives through, in order.

    intermittent: sets inflated, rests not. continuous: both. resting: rests only. passive: HOLD on, OFF off, each bout
    an exercise of its own. none: nothing. Never inflated between exercises, and no rest after the last set of one.
    """
    steps = _bouts(protocol) if protocol.passive is not None else _exercises(protocol)
    return Timeline(protocol.name, protocol.mode, tuple(steps), protocol.exercise_cap_s)


def _exercises(protocol: Protocol) -> list[Step]:
    in_set = protocol.mode in (Mode.INTERMITTENT, Mode.CONTINUOUS)
    in_rest = protocol.mode in (Mode.CONTINUOUS, Mode.RESTING)
    steps: list[Step] = []
    set_index = 0
    for number, exercise in enumerate(protocol.exercises):
        if number and protocol.reperfusion_s is not None:
            steps.append(Step(StepKind.REPERFUSION, False, protocol.reperfusion_s, number - 1))
        for index, duration_s in enumerate(exercise.sets_s()):
            if index and exercise.rest_s is not None:
                steps.append(Step(StepKind.REST, in_rest, exercise.rest_s, number))
            set_index += 1
            repetitions = exercise.repetitions[index] if exercise.repetitions is not None else 0
            steps.append(Step(StepKind.SET, in_set, duration_s, number, set_index, repetitions, _tempo(exercise)))
    return steps


def _tempo(exercise: Exercise) -> Tempo | None:
    tempo = exercise.tempo
    return None if tempo is None else Tempo(tempo.concentric_s, tempo.pause_s, tempo.eccentric_s)


def _bouts(protocol: Protocol) -> list[Step]:
    assert protocol.passive is not None
    steps: list[Step] = []
    for bout in range(protocol.passive.bouts):
        if bout:
            steps.append(Step(StepKind.OFF, False, protocol.passive.off_s, bout - 1))
        steps.append(Step(StepKind.HOLD, True, protocol.passive.on_s, bout))
    return steps


@dataclass(frozen=True, slots=True)
class Planned:
    """The restricted time that one exercise plans for, with its parts."""

    inflations: int
    worked_s: float
    held_s: float

    @property
    def total_s(self) -> float:
        return self.inflations * INFLATION_PLANNED_S + self.worked_s + self.held_s

    def __str__(self) -> str:
        parts = [f"{self.inflations} x {INFLATION_PLANNED_S:g} s inflating"]
        parts += [f"{self.worked_s:g} s of sets"] if self.worked_s else []
        parts += [f"{self.held_s:g} s held"] if self.held_s else []
        return f"{' + '.join(parts)} = {self.total_s:g} s"


def planned_by_exercise(protocol: Protocol) -> tuple[Planned, ...]:
    """Planned restricted time of each exercise, or of each bout."""
    timeline = to_timeline(protocol)
    exercises = 1 + max((step.exercise for step in timeline.steps), default=-1)
    return tuple(_planned([s for s in timeline.steps if s.exercise == number]) for number in range(exercises))


def _planned(steps: list[Step]) -> Planned:
    inflations, worked_s, held_s, inflated = 0, 0.0, 0.0, False
    for step in steps:
        inflations += step.inflated and not inflated
        inflated = step.inflated
        if step.inflated and step.kind is StepKind.SET:
            worked_s += step.duration_s
        elif step.inflated:
            held_s += step.duration_s
    return Planned(inflations, worked_s, held_s)


def worst_on_limb(protocol: Protocol) -> tuple[float, str]:
    """The most a limb's clock comes to between two reperfusions that clear it (180 s), and the sum in words."""
    between_s = protocol.passive.off_s if protocol.passive is not None else protocol.reperfusion_s
    totals_s = [plan.total_s for plan in planned_by_exercise(protocol)]
    if between_s is not None and between_s >= REPERFUSION_S:
        worst_s = max(totals_s, default=0.0)
        return worst_s, f"{worst_s:g} s"
    if len(totals_s) == 1:
        return totals_s[0], f"{totals_s[0]:g} s"
    return sum(totals_s), " + ".join(f"{total_s:g}" for total_s in totals_s) + f" = {sum(totals_s):g} s"


def exercise_s(timeline: Timeline, exercise: int = 0) -> float:
    """Planned length of one exercise (from 0) from its first repetition to its last, inflations left out."""
    kinds = (StepKind.SET, StepKind.REST, StepKind.HOLD)
    return sum(step.duration_s for step in timeline.steps if step.exercise == exercise and step.kind in kinds)
