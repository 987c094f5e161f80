"""The panel's own lines, with a person who looks and listens: run on a Pi by hand, with `-s`.

`MANCHET_PANEL="start,red,green,blue,buzzer"`, GPIO numbers as in the bench's `[panel]`; for example
`MANCHET_PANEL=22,23,24,10,18 python -m pytest -q -s tests/hardware/test_panel.py`.
"""

from __future__ import annotations

import os
import time

import pytest

from controller.bedside.signals import BLUE, BURSTS, CYAN, DARK, GREEN, RED, YELLOW
from controller.core.model import Priority
from firmware_bridge.panel import PanelLines, PanelPins, pi_factory

NAMED = os.environ.get("MANCHET_PANEL", "")
CALL_MAX_MS = 2.0  # no callback of the control process takes longer

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not NAMED, reason="needs a Raspberry Pi with a panel: MANCHET_PANEL=start,red,green,blue,buzzer"
    ),
]


def test_every_colour_and_burst_and_what_a_call_costs() -> None:
    start, red, green, blue, buzzer = (int(one) for one in NAMED.split(","))
    pins = PanelPins(PanelLines(start, (red, green, blue), buzzer), pi_factory())
    worst_ms = 0.0

    def timed(call: object, *args: object) -> None:
        nonlocal worst_ms
        began_s = time.perf_counter()
        call(*args)  # type: ignore[operator]
        worst_ms = max(worst_ms, (time.perf_counter() - began_s) * 1e3)

    try:
        assert not pins.pressed(), "let the button go"
        for name, colour in {"red": RED, "yellow": YELLOW, "green": GREEN, "cyan": CYAN, "blue": BLUE}.items():
            print(f"the lamp is {name}")
            timed(pins.light, colour)
            time.sleep(1.0)
        timed(pins.light, DARK)
        for priority in Priority:
            one = BURSTS[priority]
            print(f"{priority}: {len(one.edges_s) // 2} pulses at {one.hz:g} Hz")
            began_s = time.perf_counter()
            for index, edge_s in enumerate(one.edges_s):
                time.sleep(max(0.0, began_s + edge_s - time.perf_counter()))
                timed(pins.tone, 0.0 if index % 2 else one.hz)
            time.sleep(1.0)
        for _ in range(1000):
            timed(pins.pressed)
    finally:
        pins.close()
    print(f"the longest call took {worst_ms:.2f} ms")
    assert worst_ms <= CALL_MAX_MS
