"""Where the words of the hardware become the words of the core: nothing else converts.

Reading → Sample, Status → GuardStatus, Outputs → lease. Knows `core.model` and `firmware_bridge.ports` only.
"""

from __future__ import annotations

from math import nan
from typing import Final

from firmware_bridge.ports import GuardLink, Reading, Status, Wanted

from .core.model import (
    ChannelStatus,
    CuffOutputs,
    GuardOrder,
    GuardState,
    GuardStatus,
    Outputs,
    Sample,
)

_NO_ORDER: Final = GuardOrder.NONE
_STATES: Final = (GuardState.VENTED, GuardState.ARMED, GuardState.TRIPPED)


def sample(reading: Reading) -> Sample:
    return Sample(reading.at_s, reading.pressure_mmhg, reading.counts)


def no_sample(at_s: float, why: str) -> Sample:
    """A conversion that gave nothing: never an old number."""
    return Sample(at_s, nan, -1, why)


def guard_status(status: Status, expected_boot_id: int) -> GuardStatus:
    """A state this side does not know counts as tripped."""
    state = _STATES[status.state] if 0 <= status.state < len(_STATES) else GuardState.TRIPPED
    return GuardStatus(
        status.at_s,
        status.boot_id,
        expected_boot_id,
        status.guard_ms,
        state,
        status.trip,
        status.trip_channel,
        status.estop_ok,
        tuple(
            [
                ChannelStatus(one.b_mmhg, one.pump_duty, one.pump_enabled, one.vent_open, one.dump_open)
                for one in status.channels
            ]
        ),
        status.refused,
    )


def wanted(outputs: tuple[CuffOutputs, ...]) -> tuple[Wanted, ...]:
    return tuple([Wanted(one.pump_duty, one.pump_enabled, one.vent_open, one.dump_open) for one in outputs])


def send(link: GuardLink, outputs: Outputs, now_s: float) -> None:
    """The lease of this tick, and what else the guard is to be told. An order comes before the lease: after an ARM or a
    TRIP the lease that follows speaks of the new state."""
    order = outputs.order
    if order is not _NO_ORDER:
        _order(link, order, outputs, now_s)
    link.lease(wanted(outputs.cuffs), now_s)


def _order(link: GuardLink, order: GuardOrder, outputs: Outputs, now_s: float) -> None:
    arm = outputs.arm
    if order is GuardOrder.ARM and arm is not None:
        link.arm(arm.ceilings_mmhg, arm.restricted_left_s, now_s)
    elif order is GuardOrder.DISARM:
        link.disarm()
    elif order is GuardOrder.TRIP:
        link.trip()
    elif order is GuardOrder.RESET:
        link.reset(cuff_off=outputs.cuff_off)
    elif order is GuardOrder.PROVE_REFUSAL:
        link.prove_refusal()
