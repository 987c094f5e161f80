"""The guard: owns the outputs of a bench, with limits, a clock and a pressure sensor of its own.

Every command of the host is a lease; a lease that is not renewed vents, and stays vented until a person resets and the
host arms again. The same file runs on a Pico under MicroPython, in the guard process and in the simulator: whoever
runs it brings bytes, pins and a millisecond clock, calls `on_bytes` when bytes have come and `tick` on every pass of
its loop (100 Hz), then sets the pins from `outputs` and sends `take_bytes()`. No pass may skip the pins.

Integers only: times in ms modulo 2**30, pressures in tenths of a mmHg, duties in thousandths. Total: no bytes and no
readings make it raise. Durations are added up pass by pass, never kept as old timestamps, so a wrapped clock is nothing
special. Sources: [J] is this project's judgement, the others are in ../../controller/SAFETY.md.
"""

from . import wire
from .wire import (
    ARMED,
    BOTH_CLOSED,
    FLASHING,
    NO_CHANNEL,
    NO_READING,
    NONE,
    PUMP_ENABLE,
    TRIPPED,
    VENT_CLOSED,
    VENTED,
)

FIRMWARE = 0x0101  # 1.1, as WELCOME says it

# Compiled in: the host may tighten, never widen.
ABSOLUTE_CEILING_DMMHG = 3300  # in any state
RESTRICTED_MAX_MS = 1200000  # 20 min
PUMP_MAX_MS = 40000  # of pumping without a pause of PUMP_PAUSE_MS
PUMP_PAUSE_MS = 500
LEASE_MAX_MS = 250
READING_MAX_DMMHG = 9999
IMPLAUSIBLE_DMMHG = -200  # below it a reading is none, as NO_READING is
EMPTY_DMMHG = 150  # below it a cuff counts as empty
EMPTY_CONFIRM_MS = 500
REPERFUSION_MS = 180000  # this long below EMPTY_DMMHG gives the restricted time of this ARM back
SENSOR_LOST_MS = 100
PASS_LATE_MS = 100
BAD_FRAME_MS = 50  # [J] each bad frame fills the budget by this much, and time drains it:
FRAME_BUDGET_MS = 1000  # [J] so 20 at once, or 20 a second for ever, are borne
STATUS_PASSES = 2  # 50 Hz
MAX_WAITING = 8  # frames kept for a reader that does not read

TICKS = 0x3FFFFFFF  # the clock wraps at 2**30, as a Pico's does
HALF = 0x20000000


def ticks_diff(later_ms, earlier_ms):
    """Milliseconds from one time to another, -2**29 .. 2**29 - 1, across the wrap."""
    return ((later_ms - earlier_ms + HALF) & TICKS) - HALF


class Channel:
    """One cuff: its outputs (`duty` and `flags`), what was asked for it in ARM, and what has added up since."""

    def __init__(self) -> None:
        self.duty = 0
        self.flags = 0
        self.b_dmmhg = NO_READING
        self.empty_ms = 0  # below EMPTY_DMMHG with the vent open for so long
        self.low_ms = 0  # below EMPTY_DMMHG for so long
        self.missing_ms = 0
        self.known_empty = False  # measured empty, and the vent open ever since
        self.arm(0, 0)

    def arm(self, ceiling_dmmhg: int, left_ms: int) -> None:
        """Ceiling and restricted time that stand until disarmed; ceiling 0: not in use, stays vented."""
        self.ceiling_dmmhg = ceiling_dmmhg
        self.left_ms = left_ms
        self.restricted_ms = 0
        self.pump_ms = 0
        self.pause_ms = 0

    def set(self, duty: int, flags: int) -> None:
        """Outputs as a lease wants them. Both switches of the pump drop with every open valve; with both closed each is
        passed on alone too, because the self-test proves each alone (and either counts as pumping)."""
        if self.ceiling_dmmhg:
            if flags & BOTH_CLOSED == BOTH_CLOSED:
                self.duty = duty
                self.flags = flags
            else:
                self.duty = 0
                self.flags = flags & BOTH_CLOSED

    def vent(self) -> None:
        self.duty = 0
        self.flags = 0

    def watch(self, b_dmmhg: int, passed_ms: int, armed: bool) -> int:
        """Judge a reading after `passed_ms` more of the outputs as they are. Why to trip, or NONE."""
        missing = b_dmmhg < IMPLAUSIBLE_DMMHG
        if missing:
            self.b_dmmhg = NO_READING
            self.missing_ms += passed_ms
        else:
            self.b_dmmhg = b_dmmhg if b_dmmhg < READING_MAX_DMMHG else READING_MAX_DMMHG
            self.missing_ms = 0
        if missing or b_dmmhg >= EMPTY_DMMHG:
            self.low_ms = 0
            self.empty_ms = 0
            if not missing or self.flags & VENT_CLOSED:
                self.known_empty = False
        else:
            if self.low_ms < REPERFUSION_MS:
                self.low_ms += passed_ms
            if self.flags & VENT_CLOSED:
                self.empty_ms = 0
                self.known_empty = False
            else:
                if self.empty_ms < EMPTY_CONFIRM_MS:
                    self.empty_ms += passed_ms
                if self.empty_ms >= EMPTY_CONFIRM_MS:
                    self.known_empty = True
        if b_dmmhg >= ABSOLUTE_CEILING_DMMHG:
            return wire.ABSOLUTE_CEILING
        if armed and self.ceiling_dmmhg:
            return self._watch_armed(missing, b_dmmhg, passed_ms)
        return NONE

    def _watch_armed(self, missing: bool, b_dmmhg: int, passed_ms: int) -> int:
        if b_dmmhg >= self.ceiling_dmmhg:
            return wire.CEILING
        if self.missing_ms > SENSOR_LOST_MS and not self.known_empty:
            return wire.SENSOR_LOST  # an empty cuff whose vent has stayed open needs no sensor; any other does
        if missing or b_dmmhg >= EMPTY_DMMHG:
            self.restricted_ms += passed_ms
            if self.restricted_ms >= self.left_ms:
                return wire.RESTRICTED_TIME
        elif self.low_ms >= REPERFUSION_MS:
            self.restricted_ms = 0
        if self.duty or self.flags & PUMP_ENABLE:
            self.pause_ms = 0
            self.pump_ms += passed_ms
            if self.pump_ms >= PUMP_MAX_MS:
                return wire.PUMP_TOO_LONG
        else:
            self.pause_ms += passed_ms
            if self.pause_ms >= PUMP_PAUSE_MS:
                self.pump_ms = 0
        return NONE


class Guard:
    """One guard from its power-up on. `outputs` are the two channels: set the pins from their `duty` and `flags`."""

    def __init__(self, boot_id: int, channels: int, now_ms: int = 0) -> None:
        """boot_id: 32 bits that no boot before had; channels: 1 or 2 cuffs fitted."""
        self.boot_id = boot_id
        self.channels = channels
        self.state = VENTED
        self.trip_reason = NONE
        self.trip_channel = NO_CHANNEL
        self.outputs = (Channel(), Channel())  # two always; a bench with one cuff leaves the second vented
        self.replayed = 0
        self.refused = 0
        self.refusal = 0
        self._ever_armed = False
        self._decoder = wire.Decoder()
        self._out: list = []  # type: ignore[type-arg]
        self._out_seq = 0
        self._greeted = False
        self._nonce = -1
        self._seq = 0
        self._welcome_ms = -1  # the guard time of the last WELCOME while no ARM has used it
        self._bad_seen = 0
        self._noise_ms = 0
        self._pass_ms = now_ms & TICKS
        self._passes = 0
        self._estop_ok = False  # not known before the first pass
        self._lease_until_ms = 0
        self._channels = self.outputs[:channels]

    # --- what the board calls ------------------------------------------------------------------------------------

    def on_bytes(self, data: bytes, now_ms: int) -> None:
        """Take what has arrived. Expiry comes first: a lease that arrives late does not save itself."""
        now_ms &= TICKS
        before = self.state
        self._check_clock(now_ms, ticks_diff(now_ms, self._pass_ms))
        for message in self._decoder.feed(data):
            self._take(message, now_ms)
        bad = self._decoder.bad + self._decoder.other_version
        self._noise(bad - self._bad_seen)
        self._bad_seen = bad
        if self.state != before:
            self._say_status(now_ms)

    def tick(self, now_ms: int, b_dmmhg, estop_ok: bool) -> None:
        """One pass. b_dmmhg: sensor B by channel, NO_READING where there is none; estop_ok: the loop is whole."""
        now_ms &= TICKS
        before = self.state
        passed_ms = ticks_diff(now_ms, self._pass_ms)
        self._check_clock(now_ms, passed_ms)
        self._pass_ms = now_ms
        if passed_ms < 0 or passed_ms > PASS_LATE_MS:
            passed_ms = 0  # nobody was looking: an empty cuff must be seen empty anew
            for channel in self._channels:
                channel.empty_ms = 0
        if self._noise_ms:
            self._noise_ms = max(0, self._noise_ms - passed_ms)
        self._estop_ok = estop_ok
        if not estop_ok:
            self.trip(wire.ESTOP)
        index = 0
        for channel in self._channels:
            why = channel.watch(b_dmmhg[index], passed_ms, self.state == ARMED)
            if why:
                self.trip(why, index)
            index += 1
        self._passes += 1
        if self.state != before or self._passes >= STATUS_PASSES:
            self._say_status(now_ms)

    def take_bytes(self) -> bytes:
        """What is to be sent to the host."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out = []
        return data

    def link_lost(self) -> None:
        """The connection ended: who armed is gone, and the next one must say HELLO. No status is sent."""
        self._greeted = False
        self._out = []
        if self.state == ARMED:
            self.trip(wire.LINK_LOST)

    def trip(self, reason: int, channel: int = NO_CHANNEL) -> None:
        """Vent both channels and latch. The first reason is kept; a guard about to be flashed is latched already."""
        self._vent()
        if self.state != TRIPPED and self.state != FLASHING:
            self.state = TRIPPED
            self.trip_reason = reason
            self.trip_channel = channel

    def _check_clock(self, now_ms, passed_ms):
        if self.state == ARMED:
            if passed_ms < 0 or passed_ms > PASS_LATE_MS:
                self.trip(wire.PASS_LATE)  # before the lease: the blame is ours, not the host's
            elif ticks_diff(now_ms, self._lease_until_ms) >= 0:
                self.trip(wire.LEASE_EXPIRED)

    # --- the host ------------------------------------------------------------------------------------------------

    def _take(self, message, now_ms):
        kind = message[1]
        if kind == wire.HELLO:
            self._on_hello(message, now_ms)
        elif kind == wire.WELCOME or kind == wire.STATUS:
            self.replayed += 1  # our own words: an echo, or a cable that loops back
            self._noise(1)
        elif kind == wire.TRIP and not self._greeted:
            self.trip(wire.HOST_TRIP)  # whoever asks to vent is heard
        elif self._in_order(message[2]):
            if kind == wire.LEASE:
                self._on_lease(message, now_ms)
            elif kind == wire.ARM:
                self._on_arm(message, now_ms)
            elif kind == wire.DISARM:
                self._on_disarm()
            elif kind == wire.RESET:
                self._on_reset(message, now_ms)
            elif kind == wire.MAINTENANCE:
                self._on_maintenance(message, now_ms)
            else:
                self.trip(wire.HOST_TRIP)

    def _in_order(self, seq):
        if not self._greeted:
            self._refuse(wire.REFUSED_NOT_GREETED)
            return False
        if not wire.newer(seq, self._seq):
            self.replayed += 1
            self._noise(1)
            return False
        self._seq = seq
        return True

    def _on_hello(self, message, now_ms):
        nonce = message[3]
        if nonce == self._nonce and self._greeted:
            self.replayed += 1
            self._noise(1)
            return
        if self.state == ARMED:
            self.trip(wire.NEW_HOST)
        self._greeted = True
        self._nonce = nonce
        self._seq = message[2]
        self._welcome_ms = now_ms
        self._out_seq = (self._out_seq + 1) & 0xFFFFFFFF
        self._say(wire.welcome(self._out_seq, nonce, self.boot_id, now_ms, FIRMWARE, self.channels))

    def _on_lease(self, message, now_ms):
        _, _, _, quoted_ms, lease_ms, duty0, flags0, duty1, flags1 = message
        if lease_ms > LEASE_MAX_MS or not self._current(quoted_ms, lease_ms, now_ms):
            self._refuse(wire.REFUSED_STALE)
        elif duty0 > 1000 or duty1 > 1000 or (flags0 | flags1) > wire.ALL_FLAGS:
            self._refuse(wire.REFUSED_VALUE)
        elif self.state == ARMED:
            self._lease_until_ms = quoted_ms + lease_ms
            self.outputs[0].set(duty0, flags0)
            self.outputs[1].set(duty1, flags1)

    def _on_arm(self, message, now_ms):
        _, _, _, boot_id, quoted_ms, ceiling0, ceiling1, left0_ms, left1_ms = message
        welcome_ms = self._welcome_ms
        self._welcome_ms = -1  # one HELLO, one ARM
        if boot_id != self.boot_id:
            self.trip(wire.BAD_BOOT_ID)
        elif self.state != VENTED:
            self._refuse(wire.REFUSED_STATE)
        elif quoted_ms != welcome_ms:
            self._refuse(wire.REFUSED_HELLO)
        elif not self._current(quoted_ms, LEASE_MAX_MS, now_ms):
            self._refuse(wire.REFUSED_STALE)
        elif not self._fits(0, ceiling0, left0_ms) or not self._fits(1, ceiling1, left1_ms) or not ceiling0 + ceiling1:
            self._refuse(wire.REFUSED_VALUE)
        elif not self._estop_ok:
            self._refuse(wire.REFUSED_ESTOP)
        elif self._noise_ms > FRAME_BUDGET_MS:
            self._refuse(wire.REFUSED_NOISE)
        elif not self._empty():
            self._refuse(wire.REFUSED_NOT_EMPTY)
        else:
            self.state = ARMED
            self._ever_armed = True
            self._lease_until_ms = quoted_ms + LEASE_MAX_MS
            self.outputs[0].arm(ceiling0, left0_ms)
            self.outputs[1].arm(ceiling1, left1_ms)

    def _fits(self, channel, ceiling_dmmhg, left_ms):
        if ceiling_dmmhg == 0:
            return True
        return channel < self.channels and ceiling_dmmhg <= ABSOLUTE_CEILING_DMMHG and 0 < left_ms <= RESTRICTED_MAX_MS

    def _empty(self):
        """Every fitted channel read below 15 mmHg for half a second, vent open."""
        for channel in self._channels:
            if channel.empty_ms < EMPTY_CONFIRM_MS:
                return False
        return True

    def _vent(self):
        self.outputs[0].vent()
        self.outputs[1].vent()

    def _on_disarm(self):
        self._vent()
        if self.state == ARMED:
            self.state = VENTED

    def _on_reset(self, message, now_ms):
        _, _, _, boot_id, quoted_ms, cuff_off = message
        if boot_id != self.boot_id:
            self._refuse(wire.REFUSED_BOOT_ID)
        elif self.state == ARMED or self.state == FLASHING:
            self._refuse(wire.REFUSED_STATE)
        elif not self._current(quoted_ms, LEASE_MAX_MS, now_ms):
            self._refuse(wire.REFUSED_STALE)
        elif not self._estop_ok:
            self._refuse(wire.REFUSED_ESTOP)
        elif not self._empty() and cuff_off != 1:
            # A dead or stuck sensor: a person vouches that the cuff is off the limb. ARM still wants a reading.
            self._refuse(wire.REFUSED_NOT_EMPTY)
        else:
            self.state = VENTED
            self.trip_reason = NONE
            self.trip_channel = NO_CHANNEL

    def _on_maintenance(self, message, now_ms):
        """Stop guarding for good, so that the board can be flashed. Only a guard that no ARM has reached since the
        board was reset: all it ever did was vent, and its watchdog does not run. One that tripped meanwhile may: a
        board on a desk has no stop loop."""
        _, _, _, boot_id, quoted_ms = message
        if boot_id != self.boot_id:
            self._refuse(wire.REFUSED_BOOT_ID)
        elif self._ever_armed:
            self._refuse(wire.REFUSED_STATE)
        elif not self._current(quoted_ms, LEASE_MAX_MS, now_ms):
            self._refuse(wire.REFUSED_STALE)
        else:
            self._vent()
            self.state = FLASHING
            self.trip_reason = NONE
            self.trip_channel = NO_CHANNEL

    def _current(self, quoted_ms, lease_ms, now_ms):
        """Whether a quoted guard time is one of ours, not to come, and still within the lease."""
        return quoted_ms <= TICKS and 0 <= ticks_diff(now_ms, quoted_ms) < lease_ms

    def _refuse(self, why):
        self.refused += 1
        self.refusal = why

    def _noise(self, frames):
        if frames:
            self._noise_ms = min(2 * FRAME_BUDGET_MS, self._noise_ms + frames * BAD_FRAME_MS)
            if self._noise_ms > FRAME_BUDGET_MS and self.state == ARMED:
                self.trip(wire.FRAME_BUDGET)

    # --- to the host ---------------------------------------------------------------------------------------------

    def _say(self, frame):
        if len(self._out) >= MAX_WAITING:
            self._out.pop(0)
        self._out.append(frame)

    def _say_status(self, now_ms):
        self._passes = 0
        if not self._greeted:
            return
        self._out_seq = (self._out_seq + 1) & 0xFFFFFFFF
        first, second = self.outputs
        seen, estop_ok = self._decoder, 1 if self._estop_ok else 0
        second_b = second.b_dmmhg if self.channels > 1 else 0
        body = (
            now_ms, self.boot_id, self.state, self.trip_reason, self.trip_channel, estop_ok,
            seen.bad & 0xFFFF, seen.other_version & 0xFFFF, self.replayed & 0xFFFF, self.refused & 0xFFFF, self.refusal,
            first.b_dmmhg, first.duty, first.flags, second_b, second.duty, second.flags,
        )  # fmt: skip
        self._say(wire.status(self._out_seq, *body))
