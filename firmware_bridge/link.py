"""The host's side of the lease: handshake, leases that quote the guard's clock, orders, and what the guard says.

Works on any `ports.Transport` and never waits. Times are seconds of the caller's clock. Nothing but HELLO is sent
before a WELCOME of this connection has come, because opening a port may have reset the board.

When the guard falls silent or the transport fails, the link says so in `fault` and says HELLO again, at most twice a
second. It never resumes on its own what it was doing: by then the guard has vented, and a HELLO vents one that has not.
When the guard has rebooted, `boot_id` stays what it was and the statuses carry the new one, so that whoever judges
them sees the difference; no lease goes out until a person's `reset()` or the next `arm()` takes the new one over.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any, Final

from .firmware import wire
from .ports import Channel, Status, Transport, Wanted

HELLO_EVERY_S: Final = 0.5
SILENT_S: Final = 0.25  # a guard silent for so long is asked again; the last lease it could have got has lapsed by then
ORDER_LAPSES_S: Final = 1.0  # [J] an ARM whose handshake takes longer is forgotten
LEASE_MS: Final = 250
OVER_LONG_MS: Final = 1000  # what `prove_refusal` asks for; no guard may grant more than LEASE_MS
OFFSET_LEAK: Final = 0.001  # [J] seconds a second by which the guard's clock may lag ours before its words look old

_NOT_YET: Final = "the guard has not answered yet: check its cable and power"
_SILENT: Final = "the guard has said nothing for more than 250 ms: check its cable and power"
_TICKS: Final = 0x3FFFFFFF
_HALF: Final = 0x20000000
_NO_PUMP: Final = wire.BOTH_CLOSED
_OUTPUTS: Final = tuple((bool(f & 1), not f & 2, not f & 4) for f in range(256))  # enabled, vent open, dump open


class HostLink:
    """One guard at the other end of one transport. Implements `ports.GuardLink`.

    `fault` is why there is no link, "" while it stands. `counters` are the guard's (bad frames, other version,
    replayed, refused) and `refusal` is why it refused an order last; both come with each STATUS.
    """

    def __init__(self, transport: Transport, nonce: Callable[[], int], channels: int = 1) -> None:
        """
        Args:
            transport: bytes to and from the guard.
            nonce: a new random number of 32 bits a call (`secrets.randbits` at a bench, a seeded one in a simulation).
            channels: cuffs of this bench, 1 or 2; a guard with fewer is no link.
        """
        self.boot_id = 0
        self.guard_boot_id = 0  # what the guard says; differs from `boot_id` after an unexpected reboot
        self.fault = _NOT_YET
        self.counters = (0, 0, 0, 0)
        self.refusal = ""
        self.late_statuses = 0  # taken from the link more than SILENT_S after the guard made them
        self._transport = transport
        self._new_nonce = nonce
        self._channels = channels
        self._decoder = wire.Decoder()
        self._seq = 0
        self._guard_seq = 0
        self._welcomed = False
        self._nonce = -1  # of the HELLO that waits for its WELCOME; -1: none does
        self._take_over = True  # the next WELCOME's boot id is the expected one
        self._arm: tuple[int, int, int, int] | None = None  # waits for its WELCOME
        self._arm_until_s = 0.0
        self._now_s = -1e9
        self._hello_at_s = -1e9
        self._heard_at_s = -1e9
        self._retry_at_s = -1e9
        self._quote_ms = 0
        self._guard_total_ms = 0  # the guard's clock, unwrapped
        self._offset_s = 0.0  # our clock minus the guard's, the least seen

    # --- ports.GuardLink -----------------------------------------------------------------------------------------

    def poll(self, now_s: float) -> list[Status]:
        """Every STATUS since the last call, oldest first. `at_s` is when the guard made it, as near as its clock tells:
        a status that waited in a buffer is old when it comes. Says HELLO where one is due."""
        self._now_s = now_s
        statuses: list[Status] = []
        if now_s < self._retry_at_s:
            return statuses
        try:
            data = self._transport.read()
        except OSError as error:
            self._lost(error)
            return statuses
        if data:
            for message in self._decoder.feed(data):
                if message[1] == wire.STATUS:
                    if self._welcomed and wire.newer(message[2], self._guard_seq):
                        statuses.append(self._status(message))
                elif message[1] == wire.WELCOME and message[3] == self._nonce:
                    self._on_welcome(message)
        if self._welcomed and now_s - self._heard_at_s > SILENT_S:
            self._welcomed = False
            self.fault = _SILENT
        if self._arm is not None and now_s >= self._arm_until_s:
            self._arm = None
        if (self._arm is not None or not self._welcomed) and now_s - self._hello_at_s >= HELLO_EVERY_S:
            self._hello()
        return statuses

    def lease(self, wanted: tuple[Wanted, ...], now_s: float) -> None:
        """Ask for these outputs for LEASE_MS from the guard's last STATUS on. Does nothing where there is no link."""
        self._now_s = now_s
        if not self._welcomed or self.guard_boot_id != self.boot_id:
            return
        first = wanted[0]
        flags0 = first.pump_enabled | (not first.vent_open) << 1 | (not first.dump_open) << 2
        duty0 = duty1 = flags1 = 0
        if 0.0 <= first.pump_duty <= 1.0:  # NaN is no duty
            duty0 = int(first.pump_duty * 1000.0 + 0.5)
        else:
            flags0 &= _NO_PUMP
        if len(wanted) > 1:
            second = wanted[1]
            flags1 = second.pump_enabled | (not second.vent_open) << 1 | (not second.dump_open) << 2
            if 0.0 <= second.pump_duty <= 1.0:
                duty1 = int(second.pump_duty * 1000.0 + 0.5)
            else:
                flags1 &= _NO_PUMP
        seq = self._seq = (self._seq + 1) & 0xFFFFFFFF
        self._send(wire.lease(seq, self._quote_ms, LEASE_MS, duty0, flags0, duty1, flags1))

    def arm(self, ceilings_mmhg: tuple[float, ...], restricted_left_s: tuple[float, ...], now_s: float) -> None:
        """A fresh handshake, then ARM: rounded down, 0 for a cuff that is not in use. The outcome is in the statuses;
        without an answer within ORDER_LAPSES_S it is forgotten."""
        self._now_s = now_s
        if now_s < self._retry_at_s:
            return  # nothing to arm at the other end: `fault` says so
        waiting = self._arm is not None
        ceilings = [_units(ceiling, 10.0, 0xFFFF) for ceiling in (*ceilings_mmhg, 0.0)]
        left = [_units(seconds, 1000.0, 0xFFFFFFFF) for seconds in (*restricted_left_s, 0.0)]
        self._arm = (ceilings[0], ceilings[1], left[0], left[1])
        if not waiting:
            self._arm_until_s = now_s + ORDER_LAPSES_S
            self._hello()

    def disarm(self) -> None:
        self._arm = None
        if self._welcomed:
            self._send(wire.disarm(self._next_seq()))

    def trip(self) -> None:
        self._arm = None
        if self._welcomed:
            self._send(wire.trip(self._next_seq()))

    def reset(self, cuff_off: bool = False) -> None:
        """Clear the guard's latch and take over a new boot id. The guard refuses unless vented, below 15 mmHg and the
        E-stop loop whole; `cuff_off`: a person vouches that the cuff is off the limb, which stands in for a reading."""
        self._arm = None
        self._take_over = True
        if self._welcomed:
            self.boot_id = self.guard_boot_id
            self._take_over = False
            self._send(wire.reset(self._next_seq(), self.boot_id, self._quote_ms, 1 if cuff_off else 0))

    def prove_refusal(self) -> None:
        """One lease of OVER_LONG_MS for pump off and valves open: `refused` of the next statuses must count it."""
        if self._welcomed:
            self._send(wire.lease(self._next_seq(), self._quote_ms, OVER_LONG_MS, 0, 0, 0, 0))

    # --- the handshake -------------------------------------------------------------------------------------------

    def _hello(self) -> None:
        if self._now_s < self._retry_at_s:
            return
        self._hello_at_s = self._now_s
        self._nonce = self._new_nonce() & 0xFFFFFFFF
        self._send(wire.hello(self._next_seq(), self._nonce))
        if not self._welcomed and self._decoder.other_version and not self.boot_id:
            self.fault = (
                f"the guard speaks wire version {self._decoder.version_seen}, this program version {wire.VERSION}: "
                "flash the firmware that belongs to this program"
            )

    def _on_welcome(self, message: tuple[Any, ...]) -> None:
        _, _, seq, _, boot_id, guard_ms, _, channels = message
        self._nonce = -1
        if channels < self._channels:
            self._welcomed = False
            self.fault = (
                f"the guard drives {channels} cuff, this bench has {self._channels}: "
                "correct the bench's file or take a guard for two"
            )
            return
        if not self._welcomed or boot_id != self.guard_boot_id:
            self._guard_total_ms = 0
            self._offset_s = self._now_s
        else:
            self._guard_total_ms += _ticks_diff(guard_ms, self._quote_ms)
        self._welcomed = True
        self._guard_seq = seq
        self._quote_ms = guard_ms
        self._heard_at_s = self._now_s
        self.guard_boot_id = boot_id
        self.fault = ""
        if self._take_over or self._arm is not None:
            self.boot_id = boot_id
            self._take_over = False
        if self._arm is not None:
            ceiling0, ceiling1, left0_ms, left1_ms = self._arm
            self._arm = None
            self._send(wire.arm(self._next_seq(), boot_id, guard_ms, ceiling0, ceiling1, left0_ms, left1_ms))

    def _status(self, message: tuple[Any, ...]) -> Status:
        (
            _, _, self._guard_seq, guard_ms, boot_id, state, trip, trip_channel, estop_ok, bad, other_version, replayed,
            refused, refusal, b0, duty0, flags0, b1, duty1, flags1,
        ) = message  # fmt: skip
        now_s = self._now_s
        self._guard_total_ms += ((guard_ms - self._quote_ms + _HALF) & _TICKS) - _HALF
        self._quote_ms = guard_ms
        self.guard_boot_id = boot_id
        self.counters = (bad, other_version, replayed, refused)
        self.refusal = wire.REFUSAL_WORDS[refusal] if refusal < len(wire.REFUSAL_WORDS) else f"refusal {refusal}"
        guard_s = self._guard_total_ms * 0.001
        offset_s = self._offset_s + (now_s - self._heard_at_s) * OFFSET_LEAK
        if now_s - guard_s < offset_s:
            offset_s = now_s - guard_s
        self._offset_s = offset_s
        self._heard_at_s = now_s
        at_s = guard_s + offset_s
        if at_s > now_s:
            at_s = now_s  # rounding
        if now_s - at_s > SILENT_S:
            self.late_statuses += 1
        enabled, vent_open, dump_open = _OUTPUTS[flags0]
        first = Channel(b0 * 0.1 if b0 != wire.NO_READING else nan, duty0 * 0.001, enabled, vent_open, dump_open)
        if self._channels == 1:
            channels: tuple[Channel, ...] = (first,)
        else:
            enabled, vent_open, dump_open = _OUTPUTS[flags1]
            channels = (
                first,
                Channel(b1 * 0.1 if b1 != wire.NO_READING else nan, duty1 * 0.001, enabled, vent_open, dump_open),
            )
        return Status(
            at_s,
            boot_id,
            guard_ms,
            state,
            wire.TRIP_WORDS[trip] if trip < len(wire.TRIP_WORDS) else f"reason {trip}",
            trip_channel if trip_channel != wire.NO_CHANNEL else -1,
            estop_ok == 1,
            channels,
            refused,
        )

    # --- the transport -------------------------------------------------------------------------------------------

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        return self._seq

    def _send(self, frame: bytes) -> None:
        try:
            self._transport.write(frame)
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        self._welcomed = False
        self._nonce = -1
        self._arm = None
        self._decoder = wire.Decoder()
        self._retry_at_s = self._now_s + HELLO_EVERY_S
        self.fault = f"the link to the guard is down ({error}): check its cable and power"


def _ticks_diff(later_ms: int, earlier_ms: int) -> int:
    return ((later_ms - earlier_ms + _HALF) & _TICKS) - _HALF


def _units(value: float, scale: float, most: int) -> int:
    """Rounded down, so that a ceiling never grows on its way; NaN and what is below zero are 0, "not in use"."""
    if not value > 0.0:
        return 0
    return int(min(value * scale + 1e-6, most))
