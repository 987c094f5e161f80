"""Snapshots in, messages out: when each topic speaks, and that nothing piles up. Virtual time, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import nan
from typing import Any

import msgspec
import pytest

from controller.core.model import Alarm, Happened, Phase, Priority, Snapshot
from controller.messages import Origin
from controller.publish.compose import SNAPSHOTS_WAITING_MAX, Composer, Message
from controller.publish.recording import RecordingPublisher
from controller.record.journal import MEMORY, Journal
from controller.record.writer import InlineJournal

Make = Callable[..., Snapshot]
LEAK = Alarm("leak", Priority.MEDIUM, False, False, 0.0, 1.0, "leaks", 8.0, 7.0, "s", 0)


class Heard:
    def __init__(self, origin: Origin) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.composer = Composer(origin, self._take)

    def _take(self, message: Message) -> None:
        self.messages.append((message[0].name, msgspec.json.decode(message[1])))

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.messages if name == topic]

    def offer(self, *seen: Snapshot) -> None:
        for one in seen:
            self.composer.offer(one)
        self.composer.compose()


@pytest.fixture
def heard(origin: Origin) -> Heard:
    return Heard(origin)


def test_flood_drops_the_oldest(heard: Heard, snapshot: Make) -> None:
    for number in range(SNAPSHOTS_WAITING_MAX + 500):
        heard.composer.offer(snapshot(number * 1.0))
    heard.composer.compose()
    assert heard.of("state")[0]["at_s"] == 500.0
    assert heard.of("state")[-1]["at_s"] == SNAPSHOTS_WAITING_MAX + 499.0


def test_state_once_a_second_while_nothing_changes(heard: Heard, snapshot: Make) -> None:
    heard.offer(*(snapshot(tick / 100) for tick in range(1000)))
    assert [state["at_s"] for state in heard.of("state")] == [float(second) for second in range(10)]


def test_state_at_once_on_a_change(heard: Heard, snapshot: Make) -> None:
    heard.offer(snapshot(0.0), snapshot(0.01), snapshot(0.02, phase=Phase.HOLDING), snapshot(0.03, phase=Phase.HOLDING))
    assert [state["phase"] for state in heard.of("state")] == ["working", "holding"]


def test_trust_lost_is_told_at_once(heard: Heard, snapshot: Make) -> None:
    heard.offer(snapshot(0.0), snapshot(0.01, a_mmhg=nan))
    assert heard.of("state")[-1]["cuffs"][0]["pressure_mmhg"] is None


def test_alarms_on_change_only(heard: Heard, snapshot: Make) -> None:
    heard.offer(snapshot(0.0), snapshot(0.01), snapshot(0.02, alarms=(LEAK,)), snapshot(0.03, alarms=(LEAK,)))
    assert [len(one["alarms"]) for one in heard.of("alarms")] == [0, 1]


@pytest.mark.parametrize("tick_s", [0.01, 0.05], ids=["100 Hz", "20 Hz"])
def test_pressure_every_200_ms(heard: Heard, snapshot: Make, tick_s: float) -> None:
    heard.offer(*(snapshot(tick * tick_s, 100.0 + tick) for tick in range(round(2.0 / tick_s) + 1)))
    told = heard.of("pressure")
    assert [one["t0_s"] for one in told] == pytest.approx([0.2 * number for number in range(10)])
    assert {one["dt_s"] for one in told} == {0.05}
    assert all(len(one["cuffs"][0]["a_mmhg"]) == 4 for one in told)


def test_snapshot_out_of_the_beat_keeps_the_samples_even(heard: Heard, snapshot: Make) -> None:
    """Something happened between two samples: `state` may say so, the pressure's grid stays what it is."""
    heard.offer(*(snapshot(at_s, at_s * 100) for at_s in (0.0, 0.05, 0.07, 0.1, 0.15, 0.2)))
    assert heard.of("pressure")[0]["cuffs"][0]["a_mmhg"] == [0.0, 5.0, 10.0, 15.0]


def test_no_pressure_of_an_empty_cuff(heard: Heard, snapshot: Make) -> None:
    heard.offer(*(snapshot(tick / 20, 3.0, Phase.IDLE) for tick in range(100)))
    assert not heard.of("pressure")


def test_pressure_of_a_cuff_that_is_not_known_to_be_empty(heard: Heard, snapshot: Make) -> None:
    heard.offer(*(snapshot(tick / 20, nan, Phase.IDLE) for tick in range(10)))
    assert heard.of("pressure")[0]["cuffs"][0]["a_mmhg"] == [None] * 4


def test_recording_publisher_has_every_event_in_order(
    origin: Origin, snapshot: Make, happened: Callable[[int], Happened]
) -> None:
    journal = InlineJournal(Journal(MEMORY, origin), origin.wall_s)
    publisher = RecordingPublisher(origin, journal, keep=None)

    async def run() -> None:
        running = asyncio.create_task(publisher.run())
        for number in range(1, 301):
            journal.event(happened(number))
            journal.trace(snapshot(number / 10))
            publisher.offer(snapshot(number / 10))
        journal.flush()
        await publisher.close()
        await running

    asyncio.run(run())
    left = journal.next_event()
    journal.close()
    events = [msgspec.json.decode(payload) for topic, payload in publisher.kept if topic == "event"]
    assert [event["seq"] for event in events] == list(range(1, 301))
    assert [event["data"]["repetitions"] for event in events] == list(range(1, 301))
    assert left is None
    assert publisher.counts["event"] == 300
    assert msgspec.json.decode(publisher.last["status"])["state"] == "disconnected"
