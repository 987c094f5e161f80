"""The publisher against a real mosquitto that speaks TLS: whom it believes, and what happens where it does not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.core.model import Happened
from controller.messages import Origin
from controller.publish import mqtt
from controller.publish.mqtt import Broker
from controller.settings import MqttSettings, read_certificates
from publishing_bench import Bench, real, until
from real_broker import Mosquitto, needed

pytestmark = [pytest.mark.broker, pytest.mark.process, pytest.mark.usefixtures("soon_lost")]


class Authority:
    """A clinic's own certificate authority, as two lines of openssl make it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        self._openssl(f"req -x509 -days 2 -subj /CN={name} -keyout {self._key} -out {self.certificate}")

    def issues(self, host: str) -> tuple[Path, Path]:
        """A certificate for a host, by its address, and its key."""
        made, key = self.certificate.with_name(f"{host}.crt"), self.certificate.with_name(f"{host}.key")
        by = f"-CA {self.certificate} -CAkey {self._key}"
        self._openssl(
            f"req -x509 {by} -days 2 -subj /CN={host} -addext subjectAltName=IP:{host} -keyout {key} -out {made}"
        )
        return made, key

    @staticmethod
    def _openssl(words: str) -> None:
        newkey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subprocess.run([needed("openssl"), *words.split(), *newkey], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clinic")


@pytest.fixture
def broker_as(authority: Authority, tmp_path: Path) -> Iterator[Callable[[str], Mosquitto]]:
    """A broker whose certificate is for this address."""
    running: list[Mosquitto] = []

    def start(host: str) -> Mosquitto:
        certificate, key = authority.issues(host)
        running.append(Mosquitto(needed("mosquitto"), tmp_path, f"certfile {certificate}\nkeyfile {key}\n"))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def bench_of(origin: Origin, tmp_path: Path) -> Callable[[int, ssl.SSLContext | None], Bench]:
    return lambda port, tls: Bench(Broker("127.0.0.1", port, tls=tls), origin, tmp_path / "journal.db")


def believing(certificate: Path) -> ssl.SSLContext | None:
    """As a bench's file says it."""
    return read_certificates(MqttSettings(enabled=True, tls_ca=str(certificate)))


def test_a_broker_with_the_clinics_certificate_is_published_to(
    authority: Authority, broker_as: Any, bench_of: Any, happened: Callable[[int], Happened]
) -> None:
    broker = broker_as("127.0.0.1")
    bench = bench_of(broker.port, believing(authority.certificate))

    def done(count: int) -> bool:
        """Acknowledged by the broker, all of them."""
        return bool(bench.journal._acknowledged == count)

    authority.certificate.unlink()  # gone since the start: nobody looks again, not at a reconnection either

    async def run() -> None:
        async with bench.running():
            bench.record(happened, 20)
            await until(lambda: done(20), 10.0, "20 events")
            broker.end()
            bench.record(happened, 20)
            broker.start()
            await until(lambda: done(40), 10.0, "20 more")
            assert not bench.publisher.notices()
            await bench.publisher.close(2.0)

    real(run())


@pytest.mark.parametrize("wrong", ["another authority", "another host", "no TLS there"])
def test_a_broker_that_cannot_be_believed_gets_nothing(
    wrong: str,
    authority: Authority,
    broker_as: Any,
    bench_of: Any,
    happened: Callable[[int], Happened],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And however often its handshake fails, it does so beside the loop's thread, whose ticks have no time for it."""
    shaken: set[int] = set()
    handshake = mqtt._Handshaking.do_handshake

    def noted(one: ssl.SSLSocket, block: bool = False) -> None:
        shaken.add(threading.get_ident())
        handshake(one, block)

    monkeypatch.setattr(mqtt._Handshaking, "do_handshake", noted)
    believed = Authority(tmp_path, "other").certificate if wrong == "another authority" else authority.certificate
    tls = believing(believed)
    if wrong == "no TLS there":
        broker = Mosquitto(needed("mosquitto"), tmp_path)
        broker.start()
    else:
        broker = broker_as("127.0.0.2" if wrong == "another host" else "127.0.0.1")
    bench = bench_of(broker.port, tls)

    async def run() -> None:
        async with bench.running() as publishing:
            bench.record(happened, 3)
            await until(bench.publisher.notices, 8.0, "the broker_lost notice")
            (notice,) = bench.publisher.notices()
            assert notice.condition == "broker_lost"
            assert wrong == "no TLS there" or "certificate" in notice.detail
            assert bench.journal.next_event() is not None, "what was not published waits"
            assert not publishing.done()
        assert shaken
        assert threading.get_ident() not in shaken

    try:
        real(run())
    finally:
        broker.kill()


def test_a_host_that_never_answers_the_handshake_holds_up_no_end(authority: Authority, bench_of: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        bench = bench_of(deaf.getsockname()[1], believing(authority.certificate))

        async def run() -> float:
            async with bench.running():
                await until(bench.publisher.notices, 8.0, "the broker_lost notice")
                began_s = time.monotonic()
                await bench.publisher.close(2.0)
                return time.monotonic() - began_s

        assert real(run()) < 2.0
