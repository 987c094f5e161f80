"""The guard: each way it vents, each limit at its boundary, and that nothing but an ARM in order un-vents it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.firmware import guard as firmware_guard
from firmware_bridge.firmware import wire
from firmware_bridge.firmware.guard import Guard, ticks_diff

BOOT = 0xDEADBEEF
WRAP = 1 << 30
HELD = wire.VENT_CLOSED | wire.DUMP_CLOSED
PUMP = HELD | wire.PUMP_ENABLE
NO = wire.NO_READING


class Rig:
    """A guard with its clock, its sensors and a host's voice. Every pass is 10 ms unless told."""

    def __init__(self, channels: int = 1, start_ms: int = 5000) -> None:
        self.guard = Guard(BOOT, channels, start_ms)
        self.now_ms = start_ms
        self.b = [0, 0]
        self.estop_ok = True
        self.seq = 0
        self.nonce = 100
        self.decoder = wire.Decoder()

    def say(self, make: Callable[..., bytes], *body: int) -> None:
        """A frame of the host with the next sequence number, read by the guard now."""
        self.seq += 1
        self.guard.on_bytes(make(self.seq, *body), self.now_ms)

    def tick(self, ms: int = 10) -> None:
        self.now_ms += ms
        self.guard.tick(self.now_ms, self.b, self.estop_ok)

    def passes(self, ms: int) -> None:
        for _ in range(ms // 10):
            self.tick()
        if ms % 10:
            self.tick(ms % 10)

    def heard(self) -> list[tuple[Any, ...]]:
        return self.decoder.feed(self.guard.take_bytes())

    def hello(self) -> int:
        """Greets; the guard time of the WELCOME."""
        self.heard()
        self.nonce += 1
        self.say(wire.hello, self.nonce)
        (welcome,) = [message for message in self.heard() if message[1] == wire.WELCOME]
        assert welcome[3:5] == (self.nonce, BOOT)
        return int(welcome[5])

    def arm(self, ceiling0: int = 2500, ceiling1: int = 0, left0: int = 1200000, left1: int = 0) -> None:
        self.say(wire.arm, BOOT, self.hello(), ceiling0, ceiling1, left0, left1)

    def lease(self, flags0: int = HELD, duty0: int = 0, flags1: int = 0, duty1: int = 0, ms: int = 250) -> None:
        self.say(wire.lease, self.now_ms % WRAP, ms, duty0, flags0, duty1, flags1)

    def hold(self, ms: int, flags0: int = HELD, duty0: int = 0, flags1: int = 0, duty1: int = 0) -> None:
        """Passes with a lease each, until a trip ends them."""
        for _ in range(ms // 10):
            self.tick()
            self.lease(flags0, duty0, flags1, duty1)
        if ms % 10:
            self.tick(ms % 10)
            self.lease(flags0, duty0, flags1, duty1)

    @property
    def outputs(self) -> tuple[tuple[int, int], ...]:
        return tuple((channel.duty, channel.flags) for channel in self.guard.outputs)

    @property
    def tripped(self) -> str:
        """The reason, "" while there is none. A guard that is tripped is vented."""
        if self.guard.state != wire.TRIPPED:
            assert self.guard.trip_reason == wire.NONE
            return ""
        assert self.outputs == ((0, 0), (0, 0))
        return wire.TRIP_WORDS[self.guard.trip_reason]

    def refused(self, state: int = wire.VENTED) -> str:
        assert self.guard.state == state
        return wire.REFUSAL_WORDS[self.guard.refusal]


def ready(channels: int = 1, start_ms: int = 5000) -> Rig:
    """Seen empty for half a second."""
    rig = Rig(channels, start_ms)
    rig.passes(500)
    return rig


def armed(channels: int = 1, start_ms: int = 5000, **arm: int) -> Rig:
    rig = ready(channels, start_ms)
    rig.arm(**arm)
    assert rig.guard.state == wire.ARMED
    return rig


def pumping(channels: int = 1, **arm: int) -> Rig:
    rig = armed(channels, **arm)
    rig.lease(PUMP, 600)
    assert rig.outputs[0] == (600, PUMP)
    return rig


VENTED = ((0, 0), (0, 0))


# --- power-up ----------------------------------------------------------------------------------------------------


def test_boots_vented_and_silent() -> None:
    rig = Rig()
    assert rig.outputs == VENTED
    for channel in rig.guard.outputs:
        assert (channel.ceiling_dmmhg, channel.left_ms, channel.known_empty) == (0, 0, False)
    rig.passes(1000)
    assert rig.outputs == VENTED
    assert rig.guard.take_bytes() == b""


@pytest.mark.parametrize(
    "make", [wire.arm, wire.lease, wire.disarm, wire.reset, wire.maintenance], ids=lambda make: make.__name__
)
def test_before_a_hello_nothing_is_heard(make: Callable[..., bytes]) -> None:
    rig = ready()
    body = {"arm": (BOOT, rig.now_ms, 2500, 0, 9000, 0), "lease": (rig.now_ms, 250, 500, PUMP, 0, 0), "disarm": ()}
    body["maintenance"] = (BOOT, rig.now_ms)
    rig.say(make, *body.get(make.__name__, (BOOT, rig.now_ms, 0)))
    assert rig.refused() == "no HELLO since the guard started"
    assert rig.outputs == VENTED
    rig.passes(100)
    assert rig.guard.take_bytes() == b""


def test_a_trip_is_heard_even_before_a_hello() -> None:
    rig = ready()
    rig.say(wire.trip)
    assert rig.tripped == "host_trip"


def test_a_status_before_the_first_pass_knows_no_pressure_and_no_estop_loop() -> None:
    rig = Rig(2)
    rig.hello()
    rig.say(wire.trip)
    (status,) = rig.heard()
    assert (status[8], status[14], status[17]) == (0, NO, NO)
    assert status[9:14] == (0, 0, 0, 0, 0)


def test_a_sensor_that_never_answered_is_no_trip_and_no_arm() -> None:
    rig = Rig()
    rig.b[0] = NO
    rig.passes(1000)
    rig.arm()
    assert rig.refused() == "a cuff is not known to be empty"


def test_the_firmware_version_is_said() -> None:
    rig = Rig(2)
    rig.say(wire.hello, 7)
    (welcome,) = rig.heard()
    assert welcome[2:] == (1, 7, BOOT, rig.now_ms, 0x0101, 2)


def test_status_at_50_hz_once_greeted_and_at_once_on_a_change() -> None:
    rig = ready()
    rig.hello()
    times = []
    for _ in range(20):
        rig.tick()
        times += [message[3] for message in rig.heard()]
    assert len(times) == 10
    assert {later - earlier for earlier, later in pairwise(times)} == {20}
    rig.tick()
    rig.heard()
    rig.estop_ok = False
    rig.tick()
    (status,) = rig.heard()
    rig.tick()
    assert (status[5], rig.heard()) == (wire.TRIPPED, [])  # and the count of passes begins anew


def test_a_change_made_by_the_host_is_said_at_once() -> None:
    rig = ready()
    rig.say(wire.arm, BOOT, rig.hello(), 2500, 0, 1200000, 0)
    (status,) = rig.heard()
    assert status[1:8] == (wire.STATUS, status[2], rig.now_ms, BOOT, wire.ARMED, wire.NONE, wire.NO_CHANNEL)
    rig.say(wire.disarm)
    (status,) = rig.heard()
    assert status[5] == wire.VENTED


def test_what_a_status_says() -> None:
    rig = armed(2, ceiling1=2000, left1=900000)
    rig.b = [1234, -56]
    rig.lease(PUMP, 437, HELD)
    rig.guard.on_bytes(b"x\0y\0" + wire.lease(rig.seq, rig.now_ms, 250, 0, 0, 0, 0), rig.now_ms)
    rig.lease(ms=251)
    rig.heard()
    rig.passes(20)
    (status,) = rig.heard()
    assert status[3:9] == (rig.now_ms, BOOT, wire.ARMED, wire.NONE, wire.NO_CHANNEL, 1)
    assert status[9:14] == (2, 0, 1, 1, wire.REFUSED_STALE)
    assert status[14:] == (1234, 437, PUMP, -56, 0, HELD)


def test_the_second_channel_of_a_bench_with_one_cuff_is_zero() -> None:
    rig = ready()
    rig.b = [NO, NO]
    rig.hello()
    rig.passes(20)
    assert rig.heard()[-1][14:] == (NO, 0, 0, 0, 0, 0)


def test_its_own_sequence_goes_up_by_one_and_wraps() -> None:
    rig = ready()
    rig.guard._out_seq = 0xFFFFFFFD
    rig.say(wire.hello, 1)
    rig.passes(40)
    rig.say(wire.hello, 2)
    assert [(message[1], message[2]) for message in rig.heard()] == [
        (wire.WELCOME, 0xFFFFFFFE),
        (wire.STATUS, 0xFFFFFFFF),
        (wire.STATUS, 0),
        (wire.WELCOME, 1),
    ]


def test_frames_nobody_fetches_do_not_pile_up() -> None:
    rig = ready()
    rig.hello()
    rig.passes(10000)
    messages = rig.heard()
    assert len(messages) == firmware_guard.MAX_WAITING == 8
    assert messages[-1][3] == rig.now_ms  # the newest are kept
    assert {later[3] - earlier[3] for earlier, later in pairwise(messages)} == {20}


def test_counters_wrap_in_the_status() -> None:
    rig = ready()
    rig.hello()
    rig.guard.refused = 0x10001
    rig.guard.replayed = 0x10002
    rig.guard._decoder.bad = 0x10003
    rig.guard._decoder.other_version = 0x10004
    rig.passes(20)
    assert rig.heard()[-1][9:13] == (3, 4, 2, 1)


# --- the lease ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_ms", [5000, WRAP - 700, WRAP - 500 - 249, 2 * WRAP - 600])
def test_a_lease_expires_to_the_millisecond_across_the_wrap(start_ms: int) -> None:
    rig = armed(start_ms=start_ms)
    rig.lease(PUMP, 1000)
    rig.tick(90)
    rig.tick(90)
    rig.tick(69)
    assert rig.outputs[0] == (1000, PUMP)
    rig.tick(1)
    assert rig.tripped == "lease_expired"
    assert rig.guard.trip_channel == wire.NO_CHANNEL


def test_a_shorter_lease_is_as_short_as_it_says() -> None:
    rig = armed()
    rig.lease(PUMP, 1000, ms=30)
    rig.tick(29)
    assert rig.outputs[0] == (1000, PUMP)
    rig.tick(1)
    assert rig.tripped == "lease_expired"


def test_the_arm_itself_is_a_first_lease_from_its_welcome_on() -> None:
    rig = ready()
    quoted_ms = rig.hello()
    rig.tick(90)
    rig.say(wire.arm, BOOT, quoted_ms, 2500, 0, 1200000, 0)
    assert rig.guard.state == wire.ARMED
    rig.tick(90)
    rig.tick(69)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "lease_expired"


def test_expiry_is_checked_before_frames_are_read() -> None:
    rig = pumping()
    expires_ms = rig.now_ms + 250
    rig.tick(90)
    rig.tick(90)
    rig.now_ms = expires_ms
    rig.say(wire.lease, expires_ms - 10, 250, 600, PUMP, 0, 0)
    assert rig.tripped == "lease_expired"


def test_a_backlog_does_not_prolong_a_dead_host() -> None:
    """Leases that waited in a buffer quote old times: the last of them may hold for its own 250 ms and no longer."""
    rig = pumping()
    backlog = [wire.lease(rig.seq + n, rig.now_ms + 5 * n, 250, 600, PUMP, 0, 0) for n in range(1, 40)]
    begin_ms = rig.now_ms
    while rig.tripped == "" and rig.now_ms < begin_ms + 2000:
        rig.tick()
        if backlog and rig.now_ms > begin_ms + 195:
            rig.guard.on_bytes(backlog.pop(0), rig.now_ms)
    assert rig.tripped == "lease_expired"
    assert rig.now_ms <= begin_ms + 195 + 250 + 10


@pytest.mark.parametrize(
    ("age_ms", "lease_ms", "taken"),
    [
        (0, 250, True),
        (0, 251, False),
        (0, 65535, False),
        (0, 1, True),
        (0, 0, False),
        (-1, 250, False),
        (-WRAP // 2, 250, False),
        (99, 250, True),
        (99, 100, True),
        (100, 100, False),
        (249, 250, True),
        (250, 250, False),
    ],
)
def test_which_leases_are_taken(age_ms: int, lease_ms: int, taken: bool) -> None:
    rig = armed()
    rig.lease(HELD)
    rig.passes(100)
    rig.lease(HELD)
    rig.passes(100)
    rig.lease(HELD)
    rig.passes(50)
    rig.say(wire.lease, (rig.now_ms - age_ms) % WRAP, lease_ms, 700, PUMP, 0, 0)
    assert (rig.outputs[0] == (700, PUMP)) is taken
    assert rig.guard.refused == (0 if taken else 1)
    if not taken:
        assert rig.refused(wire.ARMED) == "the guard time it quotes is too old, or the lease too long"


def test_a_quoted_time_that_no_guard_clock_shows_is_refused() -> None:
    rig = armed(start_ms=WRAP - 100)
    rig.say(wire.lease, rig.now_ms % WRAP, 250, 700, PUMP, 0, 0)
    assert rig.outputs[0] == (700, PUMP)
    for beyond in (WRAP, WRAP + rig.now_ms % WRAP, 0xFFFFFFFF):
        rig.say(wire.lease, beyond, 250, 300, PUMP, 0, 0)
    assert rig.outputs[0] == (700, PUMP)
    assert rig.guard.refused == 3


def test_the_last_time_before_the_wrap_may_be_quoted() -> None:
    rig = armed(start_ms=WRAP - 1 - 500)
    assert rig.now_ms % WRAP == WRAP - 1
    rig.lease(HELD)
    assert rig.outputs[0] == (0, HELD)


@pytest.mark.parametrize(
    ("duty0", "flags0", "duty1", "flags1", "taken"),
    [
        (1000, PUMP, 0, 0, True),
        (1001, PUMP, 0, 0, False),
        (0, 0, 1001, 0, False),
        (0, 0, 1000, 7, True),
        (5, 8, 0, 0, False),
        (5, PUMP, 0, 8, False),
        (5, PUMP, 0, 255, False),
    ],
)
def test_values_out_of_bounds_refuse_the_whole_lease(
    duty0: int, flags0: int, duty1: int, flags1: int, taken: bool
) -> None:
    rig = armed(2, ceiling1=2500, left1=1000)
    rig.lease(HELD, 0, HELD, 0)
    rig.lease(flags0, duty0, flags1, duty1)
    assert (rig.outputs != ((0, HELD), (0, HELD))) is taken
    if not taken:
        assert rig.refused(wire.ARMED) == "a value is outside its limits"


@pytest.mark.parametrize("flags", range(8))
@pytest.mark.parametrize("duty", [0, 1, 1000])
def test_a_switch_of_the_pump_is_on_only_at_a_closed_cuff_and_only_as_asked(flags: int, duty: int) -> None:
    rig = armed()
    rig.lease(flags, duty)
    if flags & HELD == HELD:
        assert rig.outputs[0] == (duty, flags)
    else:
        assert rig.outputs[0] == (0, flags & HELD)


def test_a_pump_that_ran_is_off_with_the_lease_that_does_not_ask_for_it() -> None:
    for flags, duty in ((HELD, 600), (HELD, 0), (PUMP, 0), (wire.PUMP_ENABLE, 600)):
        rig = pumping()
        rig.lease(flags, duty)
        was_duty, was_flags = rig.outputs[0]
        assert not (was_duty and was_flags & wire.PUMP_ENABLE)
        assert (was_duty, was_flags) == ((duty, flags) if flags & HELD == HELD else (0, 0))


@pytest.mark.parametrize(("flags", "duty"), [(HELD, 100), (PUMP, 0)], ids=["duty", "enable"])
def test_one_switch_alone_counts_as_pumping(flags: int, duty: int) -> None:
    """What it drives is not known to stand still: the self-test looks for exactly that."""
    rig = armed()
    rig.lease(flags, duty)
    rig.hold(39999, flags, duty)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "pump_too_long"


@pytest.mark.parametrize(("flags", "duty"), [(HELD, 1000), (PUMP, 0)], ids=["duty", "enable"])
@pytest.mark.parametrize("end", ["trip", "lapse"])
def test_one_switch_alone_goes_with_every_vent(flags: int, duty: int, end: str) -> None:
    rig = armed()
    rig.lease(flags, duty)
    if end == "trip":
        rig.estop_ok = False
        rig.tick()
    else:
        rig.passes(300)
    assert rig.outputs[0] == (0, 0)


@pytest.mark.parametrize(("flags", "duty"), [(HELD, 1000), (PUMP, 0)], ids=["duty", "enable"])
def test_one_switch_alone_is_not_for_a_cuff_that_is_not_in_use(flags: int, duty: int) -> None:
    rig = armed(2)
    rig.lease(HELD, 0, flags, duty)
    assert rig.outputs[1] == (0, 0)


def test_a_lease_while_disarmed_changes_nothing_and_its_end_is_no_trip() -> None:
    rig = ready()
    rig.hello()
    rig.lease(PUMP, 1000)
    assert rig.outputs == VENTED
    rig.passes(1000)
    assert rig.tripped == ""
    assert rig.guard.refused == 0


def test_a_channel_that_is_not_in_this_arm_stays_vented() -> None:
    rig = armed(2)
    rig.lease(PUMP, 500, PUMP, 500)
    assert rig.outputs == ((500, PUMP), (0, 0))


@pytest.mark.parametrize("seq", [0, -1, -1000, 0x80000000])
def test_a_replayed_lease_is_dropped_and_counted(seq: int) -> None:
    rig = armed()
    rig.lease(HELD)
    rig.guard.on_bytes(wire.lease((rig.seq + seq) & 0xFFFFFFFF, rig.now_ms, 250, 900, PUMP, 0, 0), rig.now_ms)
    assert rig.outputs[0] == (0, HELD)
    assert rig.guard.replayed == 1


def test_sequence_numbers_go_on_across_their_wrap() -> None:
    rig = ready()
    rig.seq = 0xFFFFFFFD
    rig.arm()
    assert rig.seq == 0xFFFFFFFF
    rig.guard.on_bytes(wire.lease(0, rig.now_ms, 250, 900, PUMP, 0, 0), rig.now_ms)
    assert rig.outputs[0] == (900, PUMP)


# --- HELLO and ARM -----------------------------------------------------------------------------------------------


def test_a_repeated_hello_is_a_replay() -> None:
    rig = armed()
    rig.say(wire.hello, rig.nonce)
    assert (rig.tripped, rig.guard.replayed) == ("", 1)


def test_another_hello_while_armed_vents() -> None:
    rig = pumping()
    rig.hello()
    assert rig.tripped == "new_host"


def test_a_hello_begins_the_sequence_anew() -> None:
    rig = ready()
    rig.seq = 90000
    rig.hello()
    rig.seq = 3
    rig.arm()
    assert rig.guard.state == wire.ARMED


REFUSED_ARMS: dict[str, tuple[int, ...]] = {
    "no channel": (0, 0, 1000, 1000),
    "ceiling too high": (3301, 0, 1000, 0),
    "second ceiling too high": (2000, 3301, 1000, 1000),
    "no time left": (2500, 0, 0, 0),
    "more than 20 min": (2500, 0, 1200001, 0),
    "second with no time left": (2500, 2500, 1000, 0),
    "second with more than 20 min": (2500, 2500, 1000, 1200001),
}


@pytest.mark.parametrize("values", REFUSED_ARMS.values(), ids=REFUSED_ARMS.keys())
def test_an_arm_that_widens_is_refused(values: tuple[int, ...]) -> None:
    rig = ready(2)
    rig.arm(*values)
    assert rig.refused() == "a value is outside its limits"
    rig.lease(PUMP, 500)
    assert rig.outputs == VENTED


@pytest.mark.parametrize(
    ("channels", "values"),
    [
        (1, (3300, 0, 1200000, 0)),
        (1, (1, 0, 1, 0)),
        (2, (0, 3300, 0, 1200000)),
        (2, (1, 1, 1, 1)),
        (1, (2500, 0, 1000, 1200001)),  # the time of a channel not in use says nothing
    ],
)
def test_an_arm_within_the_limits_is_taken(channels: int, values: tuple[int, ...]) -> None:
    rig = ready(channels)
    rig.arm(*values)
    assert rig.guard.state == wire.ARMED
    assert rig.outputs == VENTED  # armed is not yet inflated


def test_an_arm_of_a_cuff_that_is_not_fitted_is_refused() -> None:
    rig = ready(1)
    rig.arm(2500, 2500, 1000, 1000)
    assert rig.refused() == "a value is outside its limits"


def test_one_hello_one_arm() -> None:
    rig = ready()
    quoted_ms = rig.hello()
    rig.say(wire.arm, BOOT, quoted_ms, 2500, 0, 1200000, 0)
    rig.say(wire.disarm)
    rig.say(wire.arm, BOOT, quoted_ms, 2500, 0, 1200000, 0)
    assert rig.refused() == "no fresh HELLO before it"


def test_a_refused_arm_has_used_its_hello_too() -> None:
    rig = ready()
    quoted_ms = rig.hello()
    rig.say(wire.arm, BOOT, quoted_ms, 9999, 0, 1200000, 0)
    rig.say(wire.arm, BOOT, quoted_ms, 2500, 0, 1200000, 0)
    assert rig.refused() == "no fresh HELLO before it"


def test_an_arm_must_quote_its_welcome() -> None:
    rig = ready()
    quoted_ms = rig.hello()
    rig.tick()
    rig.say(wire.arm, BOOT, quoted_ms + 10, 2500, 0, 1200000, 0)
    assert rig.refused() == "no fresh HELLO before it"


@pytest.mark.parametrize(("age_ms", "taken"), [(249, True), (250, False)])
def test_an_arm_that_was_long_on_its_way_is_refused(age_ms: int, taken: bool) -> None:
    rig = ready()
    quoted_ms = rig.hello()
    for ms in (90, 90, age_ms - 180):
        rig.tick(ms)
    rig.say(wire.arm, BOOT, quoted_ms, 2500, 0, 1200000, 0)
    assert (rig.guard.state == wire.ARMED) is taken
    if not taken:
        assert rig.refused() == "the guard time it quotes is too old, or the lease too long"


def test_an_arm_while_armed_is_refused_and_widens_nothing() -> None:
    rig = armed(ceiling0=1000)
    rig.say(wire.arm, BOOT, rig.now_ms, 3000, 0, 1200000, 0)
    assert rig.refused(wire.ARMED) == "not in this state"
    rig.b[0] = 1000
    rig.tick()
    assert rig.tripped == "ceiling"


@pytest.mark.parametrize("boot_id", [0, BOOT ^ 1])
def test_an_arm_for_another_boot_trips(boot_id: int) -> None:
    rig = ready()
    rig.say(wire.arm, boot_id, rig.hello(), 2500, 0, 1200000, 0)
    assert rig.tripped == "bad_boot_id"


@pytest.mark.parametrize(("ms", "taken"), [(499, False), (500, True)])
def test_an_arm_needs_half_a_second_below_15(ms: int, taken: bool) -> None:
    rig = Rig()
    rig.b = [149, 149]
    rig.passes(ms)
    rig.arm()
    assert (rig.guard.state == wire.ARMED) is taken
    if not taken:
        assert rig.refused() == "a cuff is not known to be empty"


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("b_dmmhg", [150, 3000, NO, -201])
def test_one_reading_that_is_not_empty_begins_the_half_second_anew(channel: int, b_dmmhg: int) -> None:
    """Every cuff that is fitted counts, in use or not."""
    rig = ready(2)
    rig.b[channel] = b_dmmhg
    rig.tick()
    rig.b[channel] = 0
    rig.passes(499)
    rig.arm()
    assert rig.refused() == "a cuff is not known to be empty"
    rig.tick(1)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_the_lowest_reading_that_is_one() -> None:
    rig = Rig()
    rig.b[0] = -200
    rig.passes(500)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_time_with_the_vent_closed_is_not_seen_empty() -> None:
    rig = armed()
    rig.hold(600, HELD)
    rig.say(wire.disarm)
    assert rig.outputs == VENTED
    rig.passes(499)
    rig.arm()
    assert rig.refused() == "a cuff is not known to be empty"
    rig.tick(1)
    rig.arm()
    assert rig.guard.state == wire.ARMED


@pytest.mark.parametrize("gap_ms", [101, 60000, -10])
def test_a_gap_nobody_watched_is_not_seen_empty(gap_ms: int) -> None:
    rig = Rig()
    rig.passes(490)
    rig.tick(gap_ms)
    rig.passes(499)
    rig.arm()
    assert rig.refused() == "a cuff is not known to be empty"
    rig.tick(1)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_two_passes_in_one_millisecond_are_no_gap() -> None:
    rig = ready()
    rig.tick(0)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_a_gap_of_100_ms_is_still_watched() -> None:
    rig = Rig()
    for _ in range(5):
        rig.tick(100)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_an_arm_on_a_noisy_link_is_refused() -> None:
    rig = ready()
    rig.guard.on_bytes(b"x\0" * 21, rig.now_ms)
    rig.arm()
    assert rig.refused() == "too many damaged frames on the link"
    rig.passes(50)
    rig.arm()
    assert rig.guard.state == wire.ARMED


def test_an_arm_before_the_first_pass_is_refused() -> None:
    rig = Rig()
    rig.arm()
    assert rig.refused() == "the E-stop loop is open"  # not known is open


def test_disarm_vents_and_is_no_trip() -> None:
    rig = pumping()
    rig.say(wire.disarm)
    assert rig.outputs == VENTED
    assert rig.tripped == ""
    rig.lease(PUMP, 500)
    assert rig.outputs == VENTED


def test_disarm_does_not_clear_a_trip() -> None:
    rig = pumping()
    rig.say(wire.trip)
    rig.say(wire.disarm)
    assert rig.tripped == "host_trip"


# --- trips -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["vented", "armed", "armed for the other"])
@pytest.mark.parametrize("channel", [0, 1])
def test_330_mmhg_trips_in_any_state(state: str, channel: int) -> None:
    rig = ready(2)
    if state == "armed":
        rig.arm(3300, 3300, 9000, 9000)
    elif state != "vented":
        rig.arm(*((0, 3300, 0, 9000) if channel == 0 else (3300, 0, 9000, 0)))
    rig.b[channel] = 3299
    rig.tick()
    assert rig.tripped == ""
    rig.b[channel] = 3300
    rig.tick()
    assert rig.tripped == "absolute_ceiling"
    assert rig.guard.trip_channel == channel


def test_a_reading_beyond_the_frame_is_still_a_trip() -> None:
    rig = armed()
    rig.b[0] = 10**9
    rig.tick()
    assert rig.tripped == "absolute_ceiling"
    assert rig.heard()[-1][14] == 9999


@pytest.mark.parametrize("channel", [0, 1])
def test_the_ceiling_of_the_arm(channel: int) -> None:
    rig = armed(2, ceiling0=2070, ceiling1=2070, left1=9000)
    rig.lease(PUMP, 500, PUMP, 500)
    rig.b[channel] = 2069
    rig.tick()
    assert rig.tripped == ""
    rig.b[channel] = 2070
    rig.tick()
    assert rig.tripped == "ceiling"  # and both are vented, see `tripped`
    assert rig.guard.trip_channel == channel


def test_no_ceiling_below_330_while_disarmed_or_not_in_use() -> None:
    rig = armed(2, ceiling0=1000)
    rig.b[1] = 3299
    rig.tick()
    assert rig.tripped == ""
    rig.b[1] = 0
    rig.tick()
    rig.say(wire.disarm)
    rig.b[0] = 3299
    rig.tick()
    assert rig.tripped == ""


@pytest.mark.parametrize("b_dmmhg", [150, 1500, NO])
def test_restricted_time_adds_up_to_what_was_left(b_dmmhg: int) -> None:
    rig = armed(left0=1000)
    rig.b[0] = b_dmmhg
    if b_dmmhg == NO:
        rig.hold(90, 0)
        rig.b[0] = 150
        rig.hold(909, 0)
    else:
        rig.hold(999, HELD)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "restricted_time"
    assert rig.guard.trip_channel == 0


def test_restricted_time_stands_still_below_15_and_goes_on_after() -> None:
    rig = armed(left0=1000)
    rig.b[0] = 1000
    rig.hold(900, HELD)
    rig.b[0] = 149
    rig.hold(179999, 0)
    rig.b[0] = 1000
    rig.hold(99, HELD)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "restricted_time"


@pytest.mark.parametrize("low_ms", [180000, 200000])
def test_180_s_below_15_give_the_restricted_time_back(low_ms: int) -> None:
    rig = armed(left0=1000)
    rig.b[0] = 1000
    rig.hold(900, HELD)
    rig.b[0] = 149
    rig.hold(low_ms, 0)
    rig.b[0] = 1000
    rig.hold(999, HELD)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "restricted_time"


def test_the_time_of_one_arm_is_not_the_next_ones() -> None:
    rig = armed(left0=1000)
    rig.b[0] = 1000
    rig.hold(900, HELD)
    rig.say(wire.disarm)
    rig.b[0] = 0
    rig.passes(500)
    rig.arm(left0=500)
    rig.b[0] = 1000
    rig.hold(499, HELD)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "restricted_time"


def test_the_pump_runs_no_longer_than_40_s() -> None:
    rig = armed()
    rig.lease(PUMP, 100)
    rig.hold(39999, PUMP, 100)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "pump_too_long"
    assert rig.guard.trip_channel == 0


@pytest.mark.parametrize("before", ["armed", "pumped"])
@pytest.mark.parametrize(("pause_ms", "begins_anew"), [(499, False), (500, True)])
def test_a_pause_of_half_a_second_begins_the_pumping_anew(before: str, pause_ms: int, begins_anew: bool) -> None:
    rig = armed()
    if before == "pumped":
        rig.lease(PUMP, 100)
        rig.hold(39980, PUMP, 100)
    else:
        rig.guard.outputs[0].pump_ms = 39980  # as if: the pause is counted from the ARM
    rig.lease(HELD)
    rig.hold(pause_ms, HELD)
    rig.lease(PUMP, 100)
    rig.hold(19, PUMP, 100)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == ("" if begins_anew else "pump_too_long")


def test_pauses_do_not_add_up() -> None:
    rig = armed()
    for _ in range(99):
        rig.lease(PUMP, 100)
        rig.hold(400, PUMP, 100)
        rig.lease(HELD)
        rig.hold(400, HELD)
    rig.lease(PUMP, 100)
    rig.hold(390, PUMP, 100)
    assert rig.tripped == ""
    rig.hold(20, PUMP, 100)
    assert rig.tripped == "pump_too_long"


def test_the_pumping_of_one_arm_is_not_the_next_ones() -> None:
    rig = armed()
    rig.lease(PUMP, 100)
    rig.hold(30000, PUMP, 100)
    rig.say(wire.disarm)
    rig.passes(500)
    rig.arm()
    rig.lease(PUMP, 100)
    rig.hold(39999, PUMP, 100)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "pump_too_long"


@pytest.mark.parametrize("state", ["vented", "armed"])
def test_the_estop_trips_at_once_and_latches(state: str) -> None:
    rig = pumping() if state == "armed" else ready()
    rig.estop_ok = False
    rig.tick()
    assert rig.tripped == "estop"
    rig.estop_ok = True
    rig.passes(1000)
    rig.lease(PUMP, 500)
    assert rig.tripped == "estop"


@pytest.mark.parametrize("b_dmmhg", [NO, -201, -9000])
def test_a_lost_sensor_trips_after_100_ms(b_dmmhg: int) -> None:
    rig = armed(2, ceiling1=2500, left1=9000)
    rig.lease(HELD, 0, HELD, 0)
    rig.b = [1000, 1000]
    rig.hold(100, HELD, 0, HELD)
    rig.b[1] = b_dmmhg
    rig.hold(100, HELD, 0, HELD)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "sensor_lost"
    assert rig.guard.trip_channel == 1


def test_one_good_reading_begins_the_100_ms_anew() -> None:
    rig = armed()
    for _ in range(20):
        rig.b[0] = NO
        rig.hold(100, HELD)
        rig.b[0] = 1000
        rig.hold(10, HELD)
    assert rig.tripped == ""


def test_a_cuff_known_empty_needs_no_sensor_while_its_vent_stays_open() -> None:
    rig = armed()  # half a second to the millisecond
    rig.b[0] = NO
    rig.hold(5000, 0)
    assert rig.tripped == ""
    rig.lease(HELD)
    rig.tick()
    assert rig.tripped == "sensor_lost"


@pytest.mark.parametrize("before", ["pressure", "vent closed", "short"])
def test_a_cuff_not_known_empty_needs_its_sensor_even_vented(before: str) -> None:
    rig = ready()
    rig.tick()
    rig.arm()
    if before == "pressure":
        rig.b[0] = 150
        rig.hold(10, 0)
        rig.b[0] = 0
    else:
        rig.hold(10, HELD)
        rig.tick()
        if before == "short":
            rig.hold(490, 0)
    rig.lease(0)
    rig.b[0] = NO
    rig.hold(100, 0)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "sensor_lost"


def test_a_vent_that_closed_while_the_sensor_was_away_is_not_known_empty() -> None:
    rig = ready()
    rig.tick()
    rig.arm()
    rig.b[0] = NO
    rig.lease(HELD)
    rig.hold(50, HELD)
    rig.lease(0)
    rig.hold(50, 0)
    assert rig.tripped == ""
    rig.tick(1)
    assert rig.tripped == "sensor_lost"


def test_a_sensor_of_a_cuff_not_in_use_may_go_missing() -> None:
    rig = armed(2)
    rig.b[1] = NO
    rig.hold(1000, HELD)
    assert rig.tripped == ""


def test_a_missing_sensor_while_disarmed_is_no_trip() -> None:
    rig = ready()
    rig.b[0] = NO
    rig.passes(5000)
    assert rig.tripped == ""


NOISE = {
    "length": lambda _: b"x\0",
    "replay": lambda rig: wire.lease(rig.seq, rig.now_ms, 250, 0, 0, 0, 0),
    "hello again": lambda rig: wire.hello(rig.seq, rig.nonce),
    "our own words": lambda rig: wire.welcome(rig.seq, 1, BOOT, 0, 0, 1),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_more_than_20_bad_frames_at_once_trip(noise: Callable[[Rig], bytes]) -> None:
    rig = armed()
    rig.guard.on_bytes(noise(rig) * 20, rig.now_ms)
    assert rig.tripped == ""
    rig.guard.on_bytes(noise(rig), rig.now_ms)
    assert rig.tripped == "frame_budget"


def test_another_version_counts_as_a_bad_frame() -> None:
    frame = wire.frame(bytes([2, wire.TRIP, 1, 0, 0, 0]))
    rig = armed()
    rig.guard.on_bytes(frame * 21, rig.now_ms)
    assert rig.tripped == "frame_budget"
    assert rig.heard()[-1][9:11] == (0, 21)


def test_20_bad_frames_a_second_are_borne_and_40_are_not() -> None:
    rig = armed()
    for _ in range(200):
        rig.hold(50, HELD)
        rig.guard.on_bytes(b"x\0", rig.now_ms)
    assert rig.tripped == ""
    for _ in range(39):
        rig.hold(20, HELD)
        rig.guard.on_bytes(b"x\0", rig.now_ms)
    assert rig.tripped == "frame_budget"


@pytest.mark.parametrize("make", [wire.welcome, wire.status], ids=lambda make: make.__name__)
def test_its_own_words_coming_back_are_noise_and_no_order(make: Callable[..., bytes]) -> None:
    rig = pumping()
    rig.say(make, *([1] * (5 if make is wire.welcome else 17)))
    assert (rig.tripped, rig.guard.replayed, rig.outputs[0]) == ("", 1, (600, PUMP))


def test_a_refused_order_is_no_bad_frame() -> None:
    rig = armed()
    for _ in range(100):
        rig.lease(ms=251)
    assert (rig.tripped, rig.guard.refused) == ("", 100)


def test_noise_while_disarmed_is_no_trip_and_forgotten_in_two_seconds() -> None:
    rig = ready()
    rig.guard.on_bytes(b"x\0" * 5000, rig.now_ms)
    assert rig.tripped == ""
    rig.passes(990)
    rig.arm()
    assert rig.refused() == "too many damaged frames on the link"
    rig.passes(10)
    rig.arm()
    assert rig.guard.state == wire.ARMED


@pytest.mark.parametrize("by", ["tick", "bytes"])
@pytest.mark.parametrize(("gap_ms", "reason"), [(100, ""), (101, "pass_late"), (5000, "pass_late"), (-1, "pass_late")])
def test_its_own_late_pass_trips_and_takes_the_blame(by: str, gap_ms: int, reason: str) -> None:
    rig = armed()
    rig.hold(50, HELD)
    if by == "tick":
        rig.tick(gap_ms)
    else:
        rig.now_ms += gap_ms
        rig.guard.on_bytes(b"\0", rig.now_ms)
    assert rig.tripped == reason


def test_the_host_may_trip() -> None:
    rig = pumping(2, ceiling1=2500, left1=9000)
    rig.lease(PUMP, 500, PUMP, 500)
    rig.say(wire.trip)
    assert rig.tripped == "host_trip"
    assert rig.guard.trip_channel == wire.NO_CHANNEL


def test_a_lost_connection_trips_when_armed_and_wants_a_hello() -> None:
    rig = pumping()
    rig.passes(20)
    rig.guard.link_lost()
    assert rig.tripped == "link_lost"
    assert rig.guard.take_bytes() == b""
    rig.passes(100)
    assert rig.guard.take_bytes() == b""
    rig.say(wire.hello, rig.nonce)  # even one with the nonce of before is new on a new connection
    assert rig.heard()[0][1] == wire.WELCOME


def test_a_lost_connection_while_disarmed_is_no_trip() -> None:
    rig = ready()
    rig.hello()
    rig.guard.link_lost()
    assert rig.tripped == ""


def test_the_first_reason_is_kept() -> None:
    rig = pumping(2)
    rig.b[1] = 3300
    rig.tick()
    rig.estop_ok = False
    rig.b[0] = 3300
    rig.tick()
    rig.say(wire.trip)
    assert (rig.tripped, rig.guard.trip_channel) == ("absolute_ceiling", 1)


# --- RESET -------------------------------------------------------------------------------------------------------


def tripped(channels: int = 1) -> Rig:
    rig = pumping(channels)
    rig.say(wire.trip)
    rig.passes(500)
    return rig


def test_a_reset_clears_the_latch_and_arms_nothing() -> None:
    rig = tripped()
    rig.say(wire.reset, BOOT, rig.now_ms, 0)
    assert (rig.tripped, rig.guard.state, rig.guard.trip_channel) == ("", wire.VENTED, wire.NO_CHANNEL)
    rig.lease(PUMP, 500)
    assert rig.outputs == VENTED
    rig.arm()
    rig.lease(PUMP, 500)
    assert rig.outputs[0] == (500, PUMP)


@pytest.mark.parametrize("cuff_off", [0, 1])
def test_a_reset_with_the_estop_open_is_refused(cuff_off: int) -> None:
    rig = tripped()
    rig.estop_ok = False
    rig.tick()
    rig.say(wire.reset, BOOT, rig.now_ms, cuff_off)
    assert rig.refused(wire.TRIPPED) == "the E-stop loop is open"


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("b_dmmhg", [150, 2000, NO])
def test_a_reset_of_a_cuff_not_empty_needs_a_person_who_vouches(channel: int, b_dmmhg: int) -> None:
    rig = tripped(2)
    rig.b[channel] = b_dmmhg
    rig.tick()
    for flag in (0, 2, 255):
        rig.say(wire.reset, BOOT, rig.now_ms, flag)
        assert rig.refused(wire.TRIPPED) == "a cuff is not known to be empty"
    rig.say(wire.reset, BOOT, rig.now_ms, 1)
    assert rig.guard.state == wire.VENTED
    rig.arm()
    assert rig.refused() == "a cuff is not known to be empty"


def test_a_reset_for_another_boot_is_refused() -> None:
    rig = tripped()
    rig.say(wire.reset, BOOT ^ 1, rig.now_ms, 1)
    assert rig.refused(wire.TRIPPED) == "it is meant for a guard that has rebooted since"


@pytest.mark.parametrize(("age_ms", "taken"), [(-1, False), (0, True), (249, True), (250, False)])
def test_a_reset_that_was_long_on_its_way_is_refused(age_ms: int, taken: bool) -> None:
    rig = tripped()
    rig.say(wire.reset, BOOT, rig.now_ms - age_ms, 0)
    assert (rig.guard.state == wire.VENTED) is taken
    if not taken:
        assert rig.refused(wire.TRIPPED) == "the guard time it quotes is too old, or the lease too long"


def test_a_reset_forgets_which_cuff_it_was() -> None:
    rig = armed(2, ceiling1=2000, left1=900000)
    rig.b[1] = 2000
    rig.tick()
    assert (rig.tripped, rig.guard.trip_channel) == ("ceiling", 1)
    rig.b[1] = 0
    rig.passes(500)
    rig.say(wire.reset, BOOT, rig.now_ms, 0)
    assert (rig.tripped, rig.guard.trip_channel) == ("", wire.NO_CHANNEL)


def test_a_reset_while_armed_is_refused() -> None:
    rig = armed()
    rig.say(wire.reset, BOOT, rig.now_ms, 1)
    assert rig.refused(wire.ARMED) == "not in this state"


# --- MAINTENANCE -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["armed", "disarmed", "tripped", "reset"])
def test_a_guard_that_was_ever_armed_is_not_taken_out_of_its_loop(since: str) -> None:
    """Its watchdog runs by then, and somebody may be in the cuff."""
    rig = tripped() if since in {"tripped", "reset"} else armed()
    if since == "disarmed":
        rig.say(wire.disarm)
    elif since == "reset":
        rig.say(wire.reset, BOOT, rig.now_ms, 0)
    state = rig.guard.state
    rig.say(wire.maintenance, BOOT, rig.now_ms)
    assert rig.refused(state) == "not in this state"


def test_maintenance_for_another_boot_is_refused() -> None:
    rig = ready()
    rig.hello()
    rig.say(wire.maintenance, BOOT ^ 1, rig.now_ms)
    assert rig.refused() == "it is meant for a guard that has rebooted since"


@pytest.mark.parametrize(("age_ms", "taken"), [(-1, False), (0, True), (249, True), (250, False)])
def test_maintenance_that_was_long_on_its_way_is_refused(age_ms: int, taken: bool) -> None:
    rig = ready()
    rig.hello()
    rig.say(wire.maintenance, BOOT, rig.now_ms - age_ms)
    assert (rig.guard.state == wire.FLASHING) is taken
    if not taken:
        assert rig.refused() == "the guard time it quotes is too old, or the lease too long"


@pytest.mark.parametrize(("found", "b_dmmhg"), [("", 0), ("estop", 0), ("absolute_ceiling", 3300)])
def test_a_guard_never_armed_says_that_it_can_be_flashed_and_is_vented_until_its_board_is_reset(
    found: str, b_dmmhg: int
) -> None:
    rig = ready()
    rig.estop_ok = found != "estop"  # a board on a desk has no stop loop
    rig.b[0] = b_dmmhg
    rig.tick()
    assert rig.tripped == found
    rig.hello()
    rig.say(wire.maintenance, BOOT, rig.now_ms)
    (status,) = rig.heard()
    assert status[5:8] == (wire.FLASHING, wire.NONE, wire.NO_CHANNEL)
    rig.estop_ok = True
    rig.say(wire.reset, BOOT, rig.now_ms, 1)
    assert rig.refused(wire.FLASHING) == "not in this state"
    rig.arm()
    assert rig.refused(wire.FLASHING) == "not in this state"
    rig.lease(PUMP, 500)
    rig.say(wire.disarm)
    rig.say(wire.trip)
    rig.b[0] = 3300
    rig.passes(100)
    assert (rig.guard.state, rig.guard.trip_reason, rig.outputs) == (wire.FLASHING, wire.NONE, VENTED)


# --- whatever comes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "earlier", "difference"),
    [
        (5, 3, 2),
        (3, 5, -2),
        (0, WRAP - 1, 1),
        (WRAP - 1, 0, -1),
        (WRAP // 2 - 1, 0, WRAP // 2 - 1),
        (WRAP // 2, 0, -WRAP // 2),
        (10, 10, 0),
    ],
)
def test_ticks_diff(later: int, earlier: int, difference: int) -> None:
    assert ticks_diff(later, earlier) == difference


def frames(now_ms: int) -> st.SearchStrategy[bytes]:
    """Frames that are sound or nearly so, and some that are not."""
    u8, u16, u32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
    near = st.one_of(st.integers(now_ms - 300, now_ms + 20), u32)
    boot = st.sampled_from([BOOT, BOOT, 1])
    seq = st.integers(0, 60)
    sound = st.one_of(
        st.builds(wire.hello, seq, st.integers(0, 3)),
        st.builds(wire.arm, seq, boot, near, u16, u16, u32, u32),
        st.builds(wire.lease, seq, near, st.integers(0, 300), u16, u8, u16, u8),
        st.builds(wire.disarm, seq),
        st.builds(wire.reset, seq, boot, near, u8),
        st.builds(wire.maintenance, seq, boot, near),
        st.builds(wire.welcome, seq, u32, u32, u32, u16, u8),
        st.builds(wire.trip, seq),
    )

    def damage(frame: bytes, at: int, value: int) -> bytes:
        return frame[: at % len(frame)] + bytes([value]) + frame[at % len(frame) + 1 :]

    return st.one_of(sound, st.builds(damage, sound, st.integers(0, 60), u8), st.binary(max_size=80))


def sane(guard: Guard) -> None:
    for channel in guard.outputs:
        if guard.state != wire.ARMED or not channel.ceiling_dmmhg:
            assert (channel.duty, channel.flags) == (0, 0)
        if channel.flags & wire.PUMP_ENABLE or channel.duty:
            assert channel.flags & HELD == HELD
        assert 0 <= channel.duty <= 1000
    assert (guard.state == wire.TRIPPED) == (guard.trip_reason != wire.NONE)


@settings(max_examples=300)
@given(st.lists(frames(5500), max_size=30))
def test_no_frames_open_a_guard_that_is_not_empty(said: list[bytes]) -> None:
    rig = Rig(2)
    rig.b = [160, 0]
    rig.passes(500)
    rig.guard.on_bytes(b"".join(said), rig.now_ms)
    assert rig.outputs == VENTED
    assert rig.guard.state != wire.ARMED


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=10), st.booleans())
def test_noise_never_closes_a_valve(said: list[bytes], arm_first: bool) -> None:
    rig = armed() if arm_first else ready()
    for chunk in said:
        rig.guard.on_bytes(chunk, rig.now_ms)
        rig.tick()
        rig.heard()
        assert rig.outputs == VENTED


READINGS = st.one_of(st.integers(-300, 3400), st.just(NO), st.integers(-(10**9), 10**9))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from([10, 10, 10, 500, 0, -5, 101]), READINGS, READINGS, st.booleans()),
        st.tuples(st.just("rest"), st.integers(0, 60)),
        st.tuples(st.just("hello")),
        st.tuples(st.just("arm"), st.integers(0, 3400), st.integers(0, 3400), st.integers(0, 5000)),
        st.tuples(st.just("lease"), st.integers(0, 7), st.integers(0, 1001), st.integers(0, 9), st.integers(-1, 260)),
        st.tuples(st.just("reset"), st.integers(0, 1)),
        st.tuples(st.just("frame"), frames(6000)),
        st.tuples(st.just("maintenance")),
        st.tuples(st.just("lost")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.sampled_from([1, 2]), st.sampled_from([5000, WRAP - 600]))
def test_whatever_happens_only_an_armed_guard_closes_a_valve(
    steps: list[tuple[Any, ...]], channels: int, start_ms: int
) -> None:
    rig = ready(channels, start_ms)
    for what, *how in steps:
        latched = rig.guard.trip_reason if rig.guard.state == wire.TRIPPED else None
        if what == "tick":
            rig.b = how[1:3]
            rig.estop_ok = how[3]
            rig.tick(how[0])
        elif what == "rest":
            rig.b, rig.estop_ok = [0, 0], True
            rig.passes(10 * how[0])
        elif what == "hello":
            rig.hello()
        elif what == "arm":
            rig.arm(how[0], how[1], how[2], how[2])
        elif what == "lease":
            flags, duty, other, age_ms = how
            rig.say(wire.lease, (rig.now_ms - age_ms) % WRAP, 250, duty, flags, 0, other)
        elif what == "reset":
            rig.say(wire.reset, BOOT, rig.now_ms % WRAP, how[0])
        elif what == "maintenance":
            rig.say(wire.maintenance, BOOT, rig.now_ms % WRAP)
        elif what == "frame":
            rig.guard.on_bytes(how[0], rig.now_ms)
        else:
            rig.guard.link_lost()
        sane(rig.guard)
        assert len(rig.guard._out) <= firmware_guard.MAX_WAITING
        if latched is not None and rig.guard.state == wire.TRIPPED:
            assert rig.guard.trip_reason == latched
        if latched is not None:
            assert rig.guard.state != wire.ARMED  # only a vented guard can be armed
