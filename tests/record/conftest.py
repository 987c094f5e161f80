"""The words the journal's tests speak."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import pytest

from controller.core.model import CuffSnapshot, EventKind, Happened, Phase, Scalar, Snapshot
from controller.messages import Origin


@pytest.fixture
def origin() -> Origin:
    return Origin("bench-1", "b00t", lambda: 1_700_000_000.0, lambda: True)


@pytest.fixture
def happened() -> Callable[..., Happened]:
    def make(
        number: int = 1, kind: EventKind = EventKind.REPETITION, phase: Phase = Phase.WORKING, **data: Scalar
    ) -> Happened:
        return Happened(kind, float(number), phase, None, {"number": number, **data})

    return make


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    def make(at_s: float, a_mmhg: float = 150.0, phase: Phase = Phase.WORKING, cuffs: int = 1) -> Snapshot:
        cuff = CuffSnapshot(a_mmhg, a_mmhg, 150.0, 15.0, 187.0, 12.0, 1200.0, 0.1, False, False, "leg", "left")
        return Snapshot(
            at_s, phase, "bfr-30-15-15-15", "c1", 1, 4, 1, 30, "up", 10.0, nan, 99.0, "", (cuff,) * cuffs, (), ""
        )

    return make
