"""Hardware of a bench of wires, out of its settings. Part of the composition root."""

from __future__ import annotations

from collections.abc import Callable

from firmware_bridge.link import HostLink
from firmware_bridge.serial_transport import SerialTransport

from .settings import PicoGuardSettings


def pico_link(pico: PicoGuardSettings, nonce: Callable[[], int], channels: int) -> HostLink:
    """The link to a guard board. Until its port is there the link's fault says so, and it is opened beside the tick."""
    return HostLink(SerialTransport(pico.port, pico.baud), nonce, channels)
