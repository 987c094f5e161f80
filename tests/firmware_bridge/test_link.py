"""The host's side of the lease: what it must not send, when it must ask again, and what it says of the guard."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.firmware import wire
from firmware_bridge.link import HELLO_EVERY_S, HostLink
from firmware_bridge.ports import GuardLink, Status, Wanted

BOOT, OTHER_BOOT = 0xB007, 0xB008
VENT = Wanted(0.0, False, True, True)
PUMP = Wanted(0.6, True, False, False)
CLOSED = wire.VENT_CLOSED | wire.DUMP_CLOSED


class Cable:
    """The other end of the link, in the test's hands: what was sent, and what is to be read next."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.to_read = b""
        self.read_error: OSError | None = None
        self.write_error: OSError | None = None
        self.reads = 0
        self._decoder = wire.Decoder()

    def write(self, data: bytes) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.sent += self._decoder.feed(data)

    def read(self) -> bytes:
        self.reads += 1
        if self.read_error is not None:
            raise self.read_error
        data, self.to_read = self.to_read, b""
        return data

    def kinds(self) -> list[int]:
        return [message[1] for message in self.sent]


class Rig:
    def __init__(self, channels: int = 1) -> None:
        self.cable = Cable()
        nonces = count(1000)
        self.link = HostLink(self.cable, lambda: next(nonces), channels)
        self.now_s = 50.0
        self.guard_ms = 7000
        self.seq = 0
        self.channels = channels
        self.boot_id = BOOT

    def poll(self, after_s: float = 0.01) -> list[Status]:
        self.now_s += after_s
        self.guard_ms += round(after_s * 1000)
        return self.link.poll(self.now_s)

    def welcome(self, **changed: int) -> None:
        """The answer to the last HELLO, for the next poll."""
        self.seq += 1
        nonce = [message[3] for message in self.cable.sent if message[1] == wire.HELLO][-1]
        body = {"nonce": nonce, "boot_id": self.boot_id, "guard_ms": self.guard_ms, "firmware": 256}
        body["channels"] = self.channels
        body |= changed
        self.cable.to_read += wire.welcome(self.seq, *body.values())

    def status(self, *, state: int = 0, trip: int = 0, channel: int = 255, estop: int = 1, **changed: Any) -> bytes:
        self.seq += 1
        frame = wire.status(
            changed.get("seq", self.seq),
            changed.get("guard_ms", self.guard_ms) % (1 << 30),
            self.boot_id,
            *(state, trip, channel, estop),
            *changed.get("counters", (0, 0, 0, 0)),
            changed.get("refusal", 0),
            *changed.get("first", (12, 0, 0)),
            *changed.get("second", (0, 0, 0)),
        )
        self.cable.to_read += frame
        return frame

    def lease(self, *wanted: Wanted) -> None:
        self.link.lease(wanted or (PUMP,), self.now_s)


def connected(channels: int = 1) -> Rig:
    rig = Rig(channels)
    rig.poll()
    rig.welcome()
    rig.poll()
    rig.cable.sent.clear()
    assert rig.link.fault == ""
    return rig


def test_it_is_what_the_port_asks_for() -> None:
    link: GuardLink = Rig().link
    assert link.boot_id == 0


# --- nothing before a handshake ----------------------------------------------------------------------------------


def everything(rig: Rig) -> None:
    rig.lease()
    rig.link.disarm()
    rig.link.trip()
    rig.link.reset()
    rig.link.prove_refusal()


def test_before_a_welcome_nothing_but_hello_is_sent() -> None:
    rig = Rig()
    for _ in range(100):
        everything(rig)
        rig.link.arm((250.0,), (1200.0,), rig.now_s)
        rig.poll()
        rig.status()
    assert set(rig.cable.kinds()) == {wire.HELLO}
    assert "has not answered" in rig.link.fault


def test_hello_is_said_twice_a_second_with_new_nonces() -> None:
    rig = Rig()
    for _ in range(1000):
        rig.poll()
    hellos = [message for message in rig.cable.sent if message[1] == wire.HELLO]
    assert len(hellos) == 20
    assert len({message[3] for message in hellos}) == 20


def test_a_status_before_the_welcome_is_not_passed_on() -> None:
    rig = Rig()
    rig.poll()
    rig.status()
    assert rig.poll() == []


@pytest.mark.parametrize("nonce", [0, 999, 1001])
def test_a_welcome_to_another_hello_is_none(nonce: int) -> None:
    rig = Rig()
    rig.poll()
    rig.welcome(nonce=nonce)
    rig.poll()
    everything(rig)
    assert rig.cable.kinds() == [wire.HELLO]


def test_a_guard_for_fewer_cuffs_is_no_link() -> None:
    rig = Rig(2)
    rig.poll()
    rig.welcome(channels=1)
    rig.poll()
    everything(rig)
    assert rig.cable.kinds() == [wire.HELLO]
    assert "drives 1 cuff, this bench has 2" in rig.link.fault


def test_a_guard_of_another_wire_version_is_named() -> None:
    rig = Rig()
    for _ in range(60):
        rig.poll()
        rig.cable.to_read = wire.frame(bytes([9, wire.WELCOME, 1, 0, 0, 0]))
    assert "wire version 9, this program version 1" in rig.link.fault


@pytest.mark.parametrize("kind", ["disarm", "trip"])
def test_orders_once_welcomed(kind: str) -> None:
    rig = connected()
    getattr(rig.link, kind)()
    assert rig.cable.kinds() == [{"disarm": wire.DISARM, "trip": wire.TRIP}[kind]]


def test_a_lease_that_must_be_refused_is_too_long_by_its_length_alone() -> None:
    rig = connected()
    rig.status(guard_ms=7100)
    rig.poll()
    rig.link.prove_refusal()
    (message,) = rig.cable.sent
    assert message[1] == wire.LEASE
    assert message[3] == 7100
    assert message[4] > 250
    assert message[5:] == (0, 0, 0, 0)


# --- the lease ---------------------------------------------------------------------------------------------------


def test_a_lease_quotes_the_welcome_and_then_the_last_status() -> None:
    rig = connected()
    welcome_ms = rig.guard_ms - 10
    rig.lease()
    rig.status(guard_ms=7100)
    rig.status(guard_ms=7120)
    rig.poll()
    rig.lease()
    rig.poll()
    rig.lease()
    assert [message[3:5] for message in rig.cable.sent] == [(welcome_ms, 250), (7120, 250), (7120, 250)]


def test_sequence_numbers_only_go_up() -> None:
    rig = connected()
    for _ in range(5):
        rig.lease()
        rig.link.disarm()
    assert all(later[2] - earlier[2] == 1 for earlier, later in pairwise(rig.cable.sent))


@pytest.mark.parametrize(
    ("wanted", "duty", "flags"),
    [
        (VENT, 0, 0),
        (Wanted(0.0, False, False, True), 0, wire.VENT_CLOSED),
        (Wanted(0.0, False, True, False), 0, wire.DUMP_CLOSED),
        (Wanted(1.0, True, False, False), 1000, CLOSED | wire.PUMP_ENABLE),
        (Wanted(0.4374, True, False, False), 437, CLOSED | wire.PUMP_ENABLE),
        (Wanted(0.4376, False, False, False), 438, CLOSED),
        (Wanted(nan, True, False, False), 0, CLOSED),
        (Wanted(-0.01, True, False, False), 0, CLOSED),
        (Wanted(1.01, True, False, False), 0, CLOSED),
        (Wanted(inf, True, False, False), 0, CLOSED),
        (Wanted(0.0, True, False, False), 0, CLOSED | wire.PUMP_ENABLE),
    ],
)
def test_what_a_lease_asks_for(wanted: Wanted, duty: int, flags: int) -> None:
    """A duty that is none is 0, and its enable is dropped with it."""
    rig = connected(2)
    rig.lease(wanted, VENT)
    rig.lease(VENT, wanted)
    assert [message[5:] for message in rig.cable.sent] == [(duty, flags, 0, 0), (0, 0, duty, flags)]


# --- what the guard says -----------------------------------------------------------------------------------------


def test_a_status_in_the_units_of_the_port() -> None:
    rig = connected(2)
    rig.status(state=2, trip=wire.CEILING, channel=1, estop=0, first=(1503, 437, 7), second=(wire.NO_READING, 0, 2))
    (status,) = rig.poll()
    assert (status.boot_id, status.guard_ms, status.state) == (BOOT, rig.guard_ms - 10, 2)
    assert (status.trip, status.trip_channel, status.estop_ok) == ("ceiling", 1, False)
    first, second = status.channels
    assert first.b_mmhg == pytest.approx(150.3)
    assert (first.pump_duty, first.pump_enabled, first.vent_open, first.dump_open) == (0.437, True, False, False)
    assert isnan(second.b_mmhg)
    assert (second.pump_duty, second.pump_enabled, second.vent_open, second.dump_open) == (0.0, False, False, True)


def test_a_bench_with_one_cuff_gets_one_channel() -> None:
    rig = connected()
    rig.status(first=(-5, 0, 0))
    (status,) = rig.poll()
    (only,) = status.channels
    assert only.b_mmhg == pytest.approx(-0.5)
    assert (status.trip, status.trip_channel) == ("", -1)


def test_reasons_of_a_newer_guard_are_named_by_number() -> None:
    rig = connected()
    rig.status(state=2, trip=200, refusal=201)
    (status,) = rig.poll()
    assert status.trip == "reason 200"
    assert rig.link.refusal == "refusal 201"


def test_counters_and_refusal_come_with_the_status() -> None:
    rig = connected()
    rig.status(counters=(1, 2, 3, 4), refusal=wire.REFUSED_NOT_EMPTY)
    (status,) = rig.poll()
    assert rig.link.counters == (1, 2, 3, 4)
    assert status.refused == 4
    assert rig.link.refusal == "a cuff is not known to be empty"


def test_every_status_since_the_last_poll_oldest_first() -> None:
    rig = connected()
    for _ in range(3):
        rig.guard_ms += 20
        rig.status()
    assert [status.guard_ms for status in rig.poll()] == [7040, 7060, 7080]


def test_a_repeated_or_old_status_is_dropped() -> None:
    rig = connected()
    frame = rig.status()
    rig.cable.to_read += frame
    rig.status(seq=1)
    assert len(rig.poll()) == 1


def test_its_own_words_coming_back_are_ignored() -> None:
    rig = connected()
    rig.cable.to_read = wire.lease(1, 2, 250, 0, 0, 0, 0) + wire.hello(99, 5)
    assert rig.poll() == []
    assert rig.link.fault == ""


def test_a_status_is_as_old_as_the_guards_clock_says() -> None:
    rig = connected()
    for _ in range(50):
        rig.status()
        (status,) = rig.poll()
        assert status.at_s == pytest.approx(rig.now_s, abs=0.011)
    for age_ms in (400, 300, 0):
        rig.status(guard_ms=rig.guard_ms - age_ms)
    statuses = rig.poll()
    assert [rig.now_s - status.at_s for status in statuses] == pytest.approx([0.4, 0.3, 0.0], abs=0.011)
    assert rig.link.late_statuses == 2


def test_a_clock_a_little_slow_makes_nothing_look_old() -> None:
    """500 ppm, ten times what a crystal may be off, for 20 minutes."""
    rig = connected()
    for n in range(1, 60000):
        rig.now_s = 50.02 + 0.02 * n
        rig.status(guard_ms=7010 + int(20 * n * 0.9995))
        (status,) = rig.link.poll(rig.now_s)
        assert rig.now_s - status.at_s < 0.02


def test_a_clock_that_is_wrong_makes_its_statuses_look_old() -> None:
    rig = connected()
    for n in range(1, 1000):
        rig.now_s = 50.02 + 0.02 * n
        rig.status(guard_ms=7010 + int(20 * n * 0.95))
        (status,) = rig.link.poll(rig.now_s)
    assert rig.now_s - status.at_s > 0.25


def test_the_wrap_of_the_guards_clock_is_nothing_special() -> None:
    rig = Rig()
    rig.guard_ms = (1 << 30) - 100
    rig.poll()
    rig.welcome()
    for _ in range(30):
        rig.poll()
        rig.guard_ms %= 1 << 30
        rig.status()
    (status,) = rig.poll()
    assert status.at_s == pytest.approx(rig.now_s, abs=0.011)
    assert status.guard_ms == rig.guard_ms - 10


# --- arming ------------------------------------------------------------------------------------------------------


def test_arm_is_a_fresh_handshake_and_then_the_arm() -> None:
    rig = connected(2)
    rig.link.arm((207.04, 260.0), (1200.0, 0.9999), rig.now_s)
    assert rig.cable.kinds() == [wire.HELLO]
    rig.lease(VENT, VENT)  # goes on meanwhile
    rig.welcome(guard_ms=8000)
    rig.poll()
    assert rig.cable.kinds() == [wire.HELLO, wire.LEASE, wire.ARM]
    assert rig.cable.sent[-1][3:] == (BOOT, 8000, 2070, 2600, 1200000, 999)


@pytest.mark.parametrize("value", [nan, -1.0, -inf, 0.0])
def test_a_ceiling_that_is_none_is_a_channel_not_in_use(value: float) -> None:
    rig = connected()
    rig.link.arm((value,), (value,), rig.now_s)
    rig.welcome()
    rig.poll()
    assert rig.cable.sent[-1][5:] == (0, 0, 0, 0)


def test_a_ceiling_beyond_the_frame_is_its_highest_which_the_guard_refuses() -> None:
    rig = connected()
    rig.link.arm((1e9,), (inf,), rig.now_s)
    rig.welcome()
    rig.poll()
    assert rig.cable.sent[-1][5:] == (0xFFFF, 0, 0xFFFFFFFF, 0)


def test_an_arm_without_answer_asks_once_more_and_is_then_forgotten() -> None:
    rig = connected()
    rig.link.arm((250.0,), (1200.0,), rig.now_s)
    for _ in range(300):
        rig.status()
        rig.poll()
    assert rig.cable.kinds() == [wire.HELLO, wire.HELLO]
    rig.welcome()
    rig.poll()
    assert wire.ARM not in rig.cable.kinds()


def test_arming_again_while_it_waits_changes_what_is_asked_and_asks_no_more_often() -> None:
    rig = connected()
    for ceiling in (200.0, 210.0, 220.0):
        rig.link.arm((ceiling,), (1200.0,), rig.now_s)
    assert rig.cable.kinds() == [wire.HELLO]
    rig.welcome()
    rig.poll()
    assert rig.cable.sent[-1][5] == 2200


@pytest.mark.parametrize("order", ["disarm", "trip", "reset"])
def test_another_order_ends_an_arm_that_waits(order: str) -> None:
    rig = connected()
    rig.link.arm((250.0,), (1200.0,), rig.now_s)
    getattr(rig.link, order)()
    rig.welcome()
    rig.poll()
    assert wire.ARM not in rig.cable.kinds()


def test_reset_quotes_the_last_status_and_says_whether_the_cuff_is_off() -> None:
    rig = connected()
    rig.status(guard_ms=7100, state=2, trip=1)
    rig.poll()
    rig.link.reset()
    rig.link.reset(cuff_off=True)
    assert [message[3:] for message in rig.cable.sent] == [(BOOT, 7100, 0), (BOOT, 7100, 1)]


# --- a guard that rebooted ---------------------------------------------------------------------------------------


def rebooted() -> Rig:
    """A guard that fell silent, was greeted anew by the link of its own accord, and is another boot."""
    rig = connected()
    rig.status()
    rig.poll()
    rig.boot_id, rig.guard_ms, rig.seq = OTHER_BOOT, 0, 0
    for _ in range(60):
        rig.poll()
    rig.welcome()
    rig.poll()
    rig.cable.sent.clear()
    rig.status()
    return rig


def test_an_unexpected_boot_is_reported_and_gets_no_lease() -> None:
    rig = rebooted()
    for _ in range(50):
        (status,) = rig.poll()
        assert (status.boot_id, rig.link.boot_id, rig.link.guard_boot_id) == (OTHER_BOOT, BOOT, OTHER_BOOT)
        rig.lease()
        rig.status()
    assert rig.cable.sent == []


def test_a_reset_takes_the_new_boot_over() -> None:
    rig = rebooted()
    rig.poll()
    rig.link.reset()
    rig.lease()
    assert rig.link.boot_id == OTHER_BOOT
    assert rig.cable.kinds() == [wire.RESET, wire.LEASE]
    assert rig.cable.sent[0][3] == OTHER_BOOT


def test_an_arm_takes_the_new_boot_over() -> None:
    rig = rebooted()
    rig.poll()
    rig.link.arm((250.0,), (1200.0,), rig.now_s)
    assert rig.link.boot_id == BOOT
    rig.welcome()
    rig.poll()
    assert rig.link.boot_id == OTHER_BOOT
    assert rig.cable.sent[-1][3] == OTHER_BOOT


def test_a_reset_while_the_link_is_down_takes_over_whatever_answers_next() -> None:
    rig = connected()
    for _ in range(60):
        rig.poll()
    rig.link.reset()
    rig.boot_id = OTHER_BOOT
    rig.welcome()
    rig.poll()
    assert rig.link.boot_id == OTHER_BOOT


def test_a_second_reboot_is_unexpected_again() -> None:
    rig = rebooted()
    rig.poll()
    rig.link.reset()
    rig.boot_id = 0xB009
    for _ in range(60):
        rig.poll()
    rig.welcome()
    rig.poll()
    assert (rig.link.boot_id, rig.link.guard_boot_id) == (OTHER_BOOT, 0xB009)


# --- silence and errors ------------------------------------------------------------------------------------------


def test_a_silent_guard_is_a_fault_and_gets_no_lease_until_it_is_greeted_anew() -> None:
    rig = connected()
    rig.poll(0.24)
    assert rig.link.fault == ""
    rig.poll(0.02)
    assert "nothing for more than 250 ms" in rig.link.fault
    everything(rig)
    rig.poll(0.5)
    assert set(rig.cable.kinds()) == {wire.HELLO}
    rig.status()
    assert rig.poll() == []  # it is back, but has not answered this HELLO
    rig.welcome()
    rig.poll()
    assert rig.link.fault == ""
    rig.lease()
    assert rig.cable.kinds()[-1] == wire.LEASE


@pytest.mark.parametrize("side", ["read", "write"])
def test_an_unplugged_guard_is_a_fault_at_once(side: str) -> None:
    rig = connected()
    error = OSError(5, "Input/output error")
    if side == "read":
        rig.cable.read_error = error
        assert rig.poll() == []
    else:
        rig.cable.write_error = error
        rig.lease()
    assert "Input/output error" in rig.link.fault
    assert "check its cable" in rig.link.fault
    rig.cable.write_error = None
    everything(rig)
    assert rig.cable.sent == []


def test_a_dead_transport_is_tried_twice_a_second_and_comes_back() -> None:
    rig = connected()
    rig.cable.read_error = OSError(5, "Input/output error")
    rig.cable.reads = 0
    for _ in range(1000):
        rig.poll()
        everything(rig)
        rig.link.arm((250.0,), (1200.0,), rig.now_s)
    assert 19 <= rig.cable.reads <= 21
    assert rig.cable.sent == []
    rig.cable.read_error = None
    for _ in range(51):
        rig.poll()
    assert rig.cable.kinds() == [wire.HELLO]
    assert "Input/output error" in rig.link.fault
    rig.welcome()
    rig.poll()
    assert rig.link.fault == ""
    assert wire.ARM not in rig.cable.kinds()


def test_a_write_that_fails_in_the_handshake_is_tried_again_no_faster() -> None:
    rig = Rig()
    tries = []
    original: Callable[[bytes], None] = rig.cable.write

    def failing(data: bytes) -> None:
        tries.append(rig.now_s)
        rig.cable.write_error = OSError(5, "Input/output error")
        original(data)

    rig.cable.write = failing  # type: ignore[method-assign]
    for _ in range(500):
        rig.poll()
    assert len(tries) == 10
    assert all(later - earlier > HELLO_EVERY_S - 1e-6 for earlier, later in pairwise(tries))


@given(st.lists(st.binary(max_size=100), max_size=30))
def test_no_bytes_make_it_raise_or_send_more_than_hello(chunks: list[bytes]) -> None:
    rig = Rig()
    for chunk in chunks:
        rig.cable.to_read = chunk
        rig.poll()
        everything(rig)
    assert set(rig.cable.kinds()) <= {wire.HELLO}


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(0, 255), min_size=4, max_size=4), st.lists(st.integers(0, 255)))
def test_no_status_makes_it_raise(guard_ms: int, flags: list[int], more: list[int]) -> None:
    rig = connected(2)
    rig.cable.to_read = wire.status(
        5, guard_ms, BOOT, *flags, 9, 9, 9, 9, sum(more) % 256, -32768, 65535, flags[0], 32767, 0, flags[1]
    )
    (status,) = rig.poll()
    assert status.at_s <= rig.now_s
