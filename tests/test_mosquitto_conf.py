"""The shipped broker configuration, on a real mosquitto: a bench writes below its own name, a dashboard only reads."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from controller.messages import Origin
from controller.publish import mqtt as publisher
from publishing_bench import Bench, real, repetition, until

CONFIG = Path(__file__).resolve().parents[1] / "config/mosquitto"
WAIT_S = 5.0
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PASSWD = shutil.which("mosquitto_passwd")
if MOSQUITTO is None or PASSWD is None:
    if os.environ.get("CI"):
        pytest.fail("needs a real mosquitto with mosquitto_passwd, and CI must have one", pytrace=False)
    pytest.skip("needs a real mosquitto with mosquitto_passwd", allow_module_level=True)
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker with the shipped file, its paths and its port replaced and nothing else."""
    folder = tmp_path_factory.mktemp("broker")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    text = (CONFIG / "manchet.conf").read_text(encoding="utf-8")
    text, replaced = re.subn(r"(?m)^listener 1883 127\.0\.0\.1$", f"listener {port} 127.0.0.1", text)
    assert replaced == 1
    assert text.count("/etc/mosquitto/manchet.passwd") == 3  # two in the comment that says how to make it
    text = text.replace("/etc/mosquitto/manchet", str(folder / "manchet"))
    (folder / "manchet.conf").write_text(text, encoding="utf-8")
    shutil.copy(CONFIG / "manchet.acl", folder)
    (folder / "manchet.passwd").touch(mode=0o600)
    for account in ("b1", "b2", "dashboard"):
        subprocess.run([PASSWD, "-b", folder / "manchet.passwd", account, f"{account}-secret"], check=True)
    for path in (folder, *folder.iterdir()):  # as root, mosquitto takes another user's rights before it reads them
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in folder.parents:
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    with (folder / "log").open("w") as log:
        broker = subprocess.Popen([MOSQUITTO, "-c", folder / "manchet.conf"], stderr=log)
    try:
        _until_it_listens(port, broker, folder / "log")
        yield port
    finally:
        broker.terminate()
        broker.wait(WAIT_S)


def _until_it_listens(port: int, broker: subprocess.Popen[bytes], log: Path) -> None:
    tick = threading.Event()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert broker.poll() is None, log.read_text()
        tick.wait(0.05)
    pytest.fail(f"no broker on port {port}: {log.read_text()}")


class Account:
    """One connection. `received` are topics; everything waits for the broker's own answer, never for a time."""

    def __init__(self, port: int, user: str | None, password: str | None = None) -> None:
        self.received: list[str] = []
        self._arrived = threading.Condition()
        self._answers: list[object] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if user is not None:
            self._client.username_pw_set(user, f"{user}-secret" if password is None else password)
        self._client.on_connect = lambda _c, _u, _f, code, _p: self._answer(code)
        self._client.on_subscribe = lambda _c, _u, _m, codes, _p: self._answer(codes[0])
        self._client.on_publish = lambda _c, _u, _m, code, _p: self._answer(code)
        self._client.on_message = lambda _c, _u, message: self._take(message.topic)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.connected = self._next_answer()

    def _answer(self, code: object) -> None:
        with self._arrived:
            self._answers.append(code)
            self._arrived.notify_all()

    def _take(self, topic: str) -> None:
        with self._arrived:
            self.received.append(topic)
            self._arrived.notify_all()

    def _next_answer(self) -> ReasonCode:
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._answers, WAIT_S)
            answer = self._answers.pop(0)
        assert isinstance(answer, ReasonCode)
        return answer

    def publish(self, topic: str) -> ReasonCode:
        self._client.publish(topic, b"{}", qos=1, retain=True)
        return self._next_answer()

    def subscribe(self, topic: str) -> ReasonCode:
        self._client.subscribe(topic, qos=1)
        return self._next_answer()

    def waits_for(self, topic: str) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: topic in self.received, WAIT_S)

    def close(self) -> None:
        client = self._client
        client.disconnect()
        client.loop_stop()
        # paho closes its last two sockets when the client goes, and these lambdas would keep it in a cycle.
        client.on_connect = client.on_subscribe = client.on_publish = client.on_message = None
        del client, self._client


@pytest.fixture
def account(port: int) -> Iterator[type[Account]]:
    opened: list[Account] = []

    def connect(user: str | None, password: str | None = None) -> Account:
        opened.append(Account(port, user, password))
        return opened[-1]

    yield connect  # type: ignore[misc]
    for one in opened:
        one.close()


@pytest.mark.parametrize(("user", "password"), [(None, None), ("b1", "wrong"), ("nobody", "x")])
def test_nobody_without_a_password_gets_in(account: type[Account], user: str | None, password: str | None) -> None:
    assert account(user, password).connected.is_failure


def test_a_bench_writes_below_its_own_name_and_nowhere_else(account: type[Account]) -> None:
    bench = account("b1")
    assert not bench.connected.is_failure
    assert bench.publish("manchet/v1/b1/state").value < 0x80
    for topic in ("manchet/v1/b2/state", "manchet/v1/b10/state", "manchet/b1", "homeassistant/x"):
        assert bench.publish(topic).value == 0x87, topic  # not authorized


def test_a_dashboard_reads_every_bench_and_writes_nothing_a_bench_says(account: type[Account]) -> None:
    dashboard = account("dashboard")
    assert not dashboard.subscribe("manchet/#").is_failure
    for bench in ("b1", "b2"):
        assert account(bench).publish(f"manchet/v1/{bench}/status").value < 0x80
        assert dashboard.waits_for(f"manchet/v1/{bench}/status")
        assert dashboard.publish(f"manchet/v1/{bench}/status").value == 0x87


def test_a_bench_reads_nothing(account: type[Account]) -> None:
    bench, other = account("b1"), account("b2")
    bench.subscribe("manchet/#")
    dashboard = account("dashboard")
    dashboard.subscribe("manchet/#")
    assert other.publish("manchet/v1/b2/alarms").value < 0x80
    assert dashboard.waits_for("manchet/v1/b2/alarms")  # by now it has been delivered to whoever may read it
    assert bench.publish("manchet/v1/b1/alarms").value < 0x80  # a round trip of the bench's own connection
    assert bench.received == []


# --- our own publisher with an account -------------------------------------------------------------------------------


@pytest.fixture
def bench(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bench]:
    """The bench b1, which says so with this password."""
    monkeypatch.setattr(publisher, "LOST_AFTER_S", 1.0)
    origin = Origin("b1", "b00t", lambda: 1_700_000_000.0, lambda: True)

    def with_password(password: str) -> Bench:
        broker = publisher.Broker("127.0.0.1", port, "b1", password)
        return Bench(broker, origin, tmp_path / "journal.db")

    return with_password


def test_a_bench_publishes_with_its_account(bench: Callable[[str], Bench], account: type[Account]) -> None:
    dashboard = account("dashboard")
    dashboard.subscribe("manchet/#")
    one = bench("b1-secret")

    async def run() -> None:
        async with one.running():
            one.record(repetition, 5)
            await until(lambda: one.journal._acknowledged == 5, WAIT_S, "5 events")
            await one.publisher.close(2.0)

    real(run())
    for topic in ("info", "status", "event"):
        assert dashboard.waits_for(f"manchet/v1/b1/{topic}")


def test_a_bench_with_a_wrong_password_goes_on_without_a_broker(bench: Callable[[str], Bench]) -> None:
    one = bench("wrong")

    async def run() -> None:
        async with one.running() as publishing:
            one.record(repetition, 5)
            await until(one.publisher.notices, 8.0, "the broker_lost notice")
            (notice,) = one.publisher.notices()
            assert notice.condition == "broker_lost"
            assert "not authori" in notice.detail.lower()
            assert not publishing.done()
            assert one.journal.next_event() is not None, "what was not published waits"

    real(run())
