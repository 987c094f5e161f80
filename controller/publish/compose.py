"""From the tick's snapshots to messages that wait to be sent.

Imports messages and core. The tick calls `offer`, which is an append to a bounded deque; everything else runs on slow
timers. Queues drop the oldest, because a newer state says more; events are not here but in the outbox, which drops
nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ..core.model import Alarm, Snapshot
from ..messages import TOPIC_OF, Origin, Payload, Topic, encode
from ..payloads import alarms, empty, pressure, state, state_key

PRESSURE_EVERY_S: Final = 0.2
SAMPLE_S: Final = 0.05
STATE_EVERY_S: Final = 1.0
SNAPSHOTS_WAITING_MAX: Final = 1_000  # 10 s at 100 Hz
MESSAGES_WAITING_MAX: Final = 100

Message = tuple[Topic, bytes]


class Outbox(Protocol):
    """Events that are on the disk and not yet acknowledged by the broker, oldest first. Never waits."""

    def next_event(self) -> tuple[int, bytes] | None:
        """(seq, payload) of the oldest, None when there is none."""

    def acknowledged(self, seq: int) -> None:
        """The broker has this one and all before it."""


class Composer:
    """Makes `state`, `pressure` and `alarms` of snapshots, and keeps the newest of every retained topic.

    Args:
        send: takes each message as it is made.
        sample_s: how far apart the values of `pressure` are at least. Snapshots that come in between (there is one
            whenever something happens) count for `state` and `alarms` only.
    """

    def __init__(self, origin: Origin, send: Callable[[Message], None], sample_s: float = SAMPLE_S) -> None:
        self._origin = origin
        self._send = send
        self._snapshots: deque[Snapshot] = deque(maxlen=SNAPSHOTS_WAITING_MAX)
        self.offer: Final[Callable[[Snapshot], None]] = self._snapshots.append  # the tick's side: 0.1 us
        self.retained: dict[str, Message] = {}  # by topic name: what each connection writes anew
        self.begun = False  # whether a tick has been seen
        self._key: tuple[object, ...] | None = None
        self._alarms: tuple[Alarm, ...] | None = None
        self._state_due_s = float("-inf")
        self._sample_s = sample_s - 0.001
        self._sampled_at_s = float("-inf")
        self._window: list[Snapshot] = []
        self._window_ends_s = float("inf")

    def put(self, payload: Payload) -> None:
        """Encode one message and hand it over."""
        topic = TOPIC_OF[type(payload)]
        message = (topic, encode(payload))
        if topic.retain:
            self.retained[topic.name] = message
        self._send(message)

    def keep(self, topic: Topic, message: bytes) -> None:
        """A retained message of an earlier run: each connection writes it anew until there is a newer one."""
        self.retained.setdefault(topic.name, (topic, message))

    def compose(self) -> None:
        """Make messages of all that was offered since the last call."""
        waiting = self._snapshots
        if not waiting:
            return
        self.begun = True
        window = self._window
        while waiting:
            seen = waiting.popleft()
            key = state_key(seen)
            if key != self._key or seen.at_s >= self._state_due_s:
                self._key = key
                self._state_due_s = seen.at_s + STATE_EVERY_S - 0.001
                self.put(state(self._origin, seen))
            if seen.alarms is not self._alarms:
                self._tell_alarms(seen)
            if seen.at_s - self._sampled_at_s >= self._sample_s:
                self._sampled_at_s = seen.at_s
                if seen.at_s >= self._window_ends_s:
                    self._tell_pressure()
                if not window:
                    self._window_ends_s = seen.at_s + PRESSURE_EVERY_S - 0.001
                window.append(seen)

    def _tell_alarms(self, seen: Snapshot) -> None:
        if seen.alarms != self._alarms:
            self.put(alarms(self._origin, seen.alarms, seen.at_s))
        self._alarms = seen.alarms

    def _tell_pressure(self) -> None:
        for seen in self._window:
            if not empty(seen):
                self.put(pressure(self._origin, self._window))
                break
        self._window.clear()
