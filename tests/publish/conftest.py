"""A real mosquitto on a free port of 127.0.0.1, a subscriber that remembers, and the words the tests speak."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller.core.model import Happened, Snapshot
from controller.messages import Origin
from controller.publish import mqtt
from publishing_bench import repetition, snapshot
from real_broker import Mosquitto, needed


class Listener:
    """Subscribes to everything with a session that the broker keeps, and remembers what came, in order."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []  # last part of the topic, payload, retained
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("manchet/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10.0), "the listener could not subscribe within 10 s"

    def _on_message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic.rsplit("/", 1)[1], message.payload, message.retain))

    def of(self, topic: str) -> list[dict[str, object]]:
        return [msgspec.json.decode(payload) for name, payload, _ in self.heard if name == topic]

    def events(self) -> list[int]:
        """The numbers of the events in the order in which each came first."""
        return list(dict.fromkeys(int(str(event["seq"])) for event in self.of("event")))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def soon_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notice after 1 s instead of 5, for the tests' time."""
    monkeypatch.setattr(mqtt, "LOST_AFTER_S", 1.0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    running = Mosquitto(needed("mosquitto"), tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def listen(broker: Mosquitto) -> Iterator[Callable[[], Listener]]:
    made: list[Listener] = []

    def make() -> Listener:
        made.append(Listener(broker.port))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def origin() -> Origin:
    return Origin("bench-1", "b00t", lambda: 1_700_000_000.0, lambda: True)


@pytest.fixture(name="snapshot")
def _snapshot() -> Callable[..., Snapshot]:
    return snapshot


@pytest.fixture(name="happened")
def _happened() -> Callable[[int], Happened]:
    return repetition
