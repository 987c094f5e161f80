"""What tests of more than one folder need; what they import is in `support/`."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings

from standstill import Standstill

# How long an example took, on a machine that runs four tests at once, is no verdict on it.
settings.register_profile("by what it finds", settings.default, deadline=None)
settings.load_profile("by what it finds")

STANDSTILL = pytest.StashKey[Standstill]()


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs behind it with Ctrl-C ignored, and programs under test would have that from us.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[STANDSTILL] = Standstill()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STANDSTILL].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What runs by the real clock is run again, twice at most, if it failed while the machine stood still."""
    again = pytest.mark.flaky(reruns=2, condition=config.stash[STANDSTILL])
    for item in items:
        if any(item.iter_markers("process")) or any(item.iter_markers("broker")):
            item.add_marker(again)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if any(item.iter_markers("flaky")):
        item.config.stash[STANDSTILL].begin()


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A listener that takes no more connections: a connect to it gets no answer at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()
