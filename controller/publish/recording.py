"""The publisher of virtual time: no network, every message encoded and counted. The same face as `mqtt.Publisher`."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from ..core.model import Notice, Snapshot
from ..messages import TOPIC, Origin, Payload
from ..payloads import status
from .compose import Composer, Message, Outbox

WORK_EVERY_S: Final = 0.2


class RecordingPublisher:
    """Acknowledges each event at once.

    Args:
        keep: how many of the newest messages are kept as (topic name, payload); None keeps all.
    """

    def __init__(self, origin: Origin, outbox: Outbox, keep: int | None = 0) -> None:
        self._origin = origin
        self._outbox = outbox
        self._composer = Composer(origin, self._record)
        self.offer: Final[Callable[[Snapshot], None]] = self._composer.offer
        self.counts: Counter[str] = Counter()
        self.last: dict[str, bytes] = {}
        self.kept: deque[tuple[str, bytes]] = deque(maxlen=keep)
        self._ended = asyncio.Event()

    def publish(self, payload: Payload) -> None:
        """Publish a message that is not made of snapshots: `info`, `session`."""
        self._composer.put(payload)

    def notices(self) -> tuple[Notice, ...]:
        return ()

    async def run(self) -> None:
        while not self._ended.is_set():
            self.work()
            await asyncio.sleep(WORK_EVERY_S)

    def work(self) -> None:
        """Take all that waits."""
        self._composer.compose()
        while (event := self._outbox.next_event()) is not None:
            seq, payload = event
            self._record((TOPIC["event"], payload))
            self._outbox.acknowledged(seq)

    async def close(self, deadline_s: float = 2.0) -> None:  # noqa: ARG002 -- the face of both
        self.work()
        self._composer.put(status(self._origin, "disconnected", asyncio.get_running_loop().time()))
        self._ended.set()

    def _record(self, message: Message) -> None:
        topic, payload = message
        self.counts[topic.name] += 1
        self.last[topic.name] = payload
        self.kept.append((topic.name, payload))
