"""What a sensor and a guard link look like to whoever drives them, and what can go wrong with them.

Imports nothing of this package's drivers and nothing of `controller`. Pressures are gauge mmHg, `..._s` is the
caller's monotonic clock; nothing here reads a clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class SensorFault(Exception):
    """The device said something else than a trustworthy reading. The message is a sentence with what it said."""


@dataclass(slots=True)
class Reading:
    """One good conversion."""

    at_s: float  # when the conversion was started
    pressure_mmhg: float
    counts: int
    temperature_c: float


class Sensor(Protocol):
    """A pressure sensor that converts while others work: once a tick `read` the conversion started before, then `start`
    the next. One that is slower than the tick says so with None, and bounds by itself how often: whoever drives it then
    has nothing new, and no fault either."""

    name: str
    low_mmhg: float
    high_mmhg: float  # full scale

    def start(self, now_s: float) -> None:
        """Begin a conversion; one that is under way goes on. Raises SensorFault when the device does not take it."""

    def read(self, now_s: float) -> Reading | None:
        """The conversion started before; None while it is under way, as long as its datasheet allows for.

        Raises:
            SensorFault: not started, takes too long, status, saturation, bus error.
        """


class I2CBus(Protocol):
    """The part of smbus2.SMBus that the drivers use."""

    def i2c_rdwr(self, *i2c_msgs: object) -> None: ...


@dataclass(slots=True)
class Channel:
    """One cuff in a STATUS: sensor B and the outputs as they really are."""

    b_mmhg: float  # NaN: no reading
    pump_duty: float  # 0..1
    pump_enabled: bool
    vent_open: bool
    dump_open: bool


@dataclass(slots=True)
class Status:
    """One STATUS frame of the guard."""

    at_s: float  # when it was taken from the link
    boot_id: int
    guard_ms: int
    state: int  # 0 vented, 1 armed, 2 tripped; 3 about to be flashed
    trip: str  # first trip reason, "" when none
    trip_channel: int
    estop_ok: bool
    channels: tuple[Channel, ...]
    refused: int = 0  # what the guard has refused since its boot, modulo 2**16


@dataclass(slots=True)
class Wanted:
    """One cuff in a LEASE."""

    pump_duty: float
    pump_enabled: bool
    vent_open: bool
    dump_open: bool


class Transport(Protocol):
    """Bytes to and from the guard, never waiting. Raises OSError when the other side is gone."""

    def write(self, data: bytes) -> None: ...

    def read(self) -> bytes:
        """Whatever has arrived; b"" when nothing has."""


class GuardLink(Protocol):
    """The host's side of the lease. Never waits; `poll` is called once a tick before anything else."""

    boot_id: int  # of the last handshake; 0 before it
    fault: str  # why there is no link; "" while it stands

    def poll(self, now_s: float) -> list[Status]:
        """Take what has arrived; every STATUS since the last call, oldest first. Sends HELLO where one is due."""

    def lease(self, wanted: tuple[Wanted, ...], now_s: float) -> None:
        """Ask for these outputs for one lease. Does nothing before a handshake."""

    def arm(self, ceilings_mmhg: tuple[float, ...], restricted_left_s: tuple[float, ...], now_s: float) -> None:
        """A fresh handshake, then ARM. The outcome is in the next statuses."""

    def disarm(self) -> None: ...

    def trip(self) -> None: ...

    def reset(self, cuff_off: bool = False) -> None:
        """Clear the guard's latch; the guard refuses unless it is vented, below 15 mmHg and the E-stop loop whole.
        `cuff_off`: a person vouches that the cuff is off the limb, where a sensor is dead."""

    def prove_refusal(self) -> None:
        """One lease longer than any guard may grant, all vented: a sound guard counts it as refused."""
