"""The words of the core as the link hears them."""

from __future__ import annotations

import pytest

from controller import seam
from controller.core.model import VENTED, Arm, CuffOutputs, GuardOrder, Outputs
from firmware_bridge.ports import Channel, Status, Wanted


class Link:
    """Writes down what it is told."""

    boot_id = 7
    fault = ""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def poll(self, now_s: float) -> list[Status]:  # noqa: ARG002
        return []

    def lease(self, wanted: tuple[Wanted, ...], now_s: float) -> None:
        self.told.append(("lease", wanted, now_s))

    def arm(self, ceilings_mmhg: tuple[float, ...], restricted_left_s: tuple[float, ...], now_s: float) -> None:
        self.told.append(("arm", ceilings_mmhg, restricted_left_s, now_s))

    def disarm(self) -> None:
        self.told.append(("disarm",))

    def trip(self) -> None:
        self.told.append(("trip",))

    def reset(self, cuff_off: bool = False) -> None:
        self.told.append(("reset", cuff_off))

    def prove_refusal(self) -> None:
        self.told.append(("prove_refusal",))


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (GuardOrder.NONE, None),
        (GuardOrder.ARM, ("arm", (200.0,), (300.0,), 5.0)),
        (GuardOrder.DISARM, ("disarm",)),
        (GuardOrder.TRIP, ("trip",)),
        (GuardOrder.RESET, ("reset", True)),
        (GuardOrder.PROVE_REFUSAL, ("prove_refusal",)),
    ],
)
def test_an_order_comes_before_the_lease(order: GuardOrder, told: tuple[object, ...] | None) -> None:
    link = Link()
    seam.send(link, Outputs((VENTED,), order, Arm((200.0,), (300.0,)), True), 5.0)
    lease = ("lease", (Wanted(0.0, False, True, True),), 5.0)
    assert link.told == [one for one in (told, lease) if one is not None]


@pytest.mark.parametrize(("duty", "enabled"), [(1.0, False), (0.0, True), (0.5, True)])
def test_each_switch_of_the_pump_is_asked_for_by_itself(duty: float, enabled: bool) -> None:
    link = Link()
    seam.send(link, Outputs((CuffOutputs(duty, enabled, False, False),)), 5.0)
    assert link.told == [("lease", (Wanted(duty, enabled, False, False),), 5.0)]


def test_what_the_guard_refused_comes_through() -> None:
    channel = Channel(0.0, 0.0, False, True, True)
    status = Status(5.0, 7, 100, 0, "", -1, True, (channel,), 3)
    assert seam.guard_status(status, 7).refused == 3
