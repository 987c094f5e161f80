"""The control process of `manchet demo`: the service of `run`, in scaled time, with a simulated supervisor.

The bench is a simulated leg; journal and lock live in a folder that goes away with the process.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .. import __version__
from ..app import Place, Service
from ..clock import ScaledLoop, scaled_loop
from ..core.model import Phase
from ..core.step import Stepped
from ..prescription import library
from ..prescription.protocol import Protocol
from ..settings import (
    CuffSettings,
    GuardSettings,
    MqttSettings,
    SensorSettings,
    Settings,
    SimulatedSettings,
)
from .run import Scenario, clinicians_prescriptions
from .supervisor import Supervisor

BENCH_ID: Final = "demo"
SHOWN_S: Final = 0.5  # of the wall: how long the end of the session is still shown and published


def run_demo_bench(protocol: str, speed: float, mqtt_url: str, socket: Path) -> int:
    """Serve one session and end. Returns 0 where the cuff was measured empty at the end."""
    chosen = library.named(protocol)
    settings = _settings(mqtt_url)
    with tempfile.TemporaryDirectory(prefix="manchet-demo-") as folder:
        place = Place(socket, Path(folder, "journal.sqlite"))

        def loop_of_this_speed() -> ScaledLoop:
            return scaled_loop(speed)

        with asyncio.Runner(loop_factory=loop_of_this_speed) as runner:
            return runner.run(_serve(settings, place, chosen, speed))


async def _serve(settings: Settings, place: Place, protocol: Protocol, speed: float) -> int:
    loop = asyncio.get_running_loop()
    service = Service(settings, place, loop, f"demo of {__version__}")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.end)
    simulated = settings.simulated
    assert simulated is not None
    scenario = Scenario(protocol, lop_mmhg=simulated.lop_mmhg, limb=simulated.limb, seed=simulated.seed)
    supervisor = Supervisor(service.control, clinicians_prescriptions(scenario), simulated.seed)
    service.control.watch(supervisor.after)
    service.control.watch(_at_the_end(loop, supervisor, service.end, SHOWN_S * speed))
    return await service.live()


def _at_the_end(
    loop: asyncio.AbstractEventLoop, supervisor: Supervisor, end: Callable[[], None], shown_s: float
) -> Callable[[Stepped, float], None]:
    """End the process once the session it started is over."""
    over = False

    def after(stepped: Stepped, _now_s: float) -> None:
        nonlocal over
        session = stepped.state.session
        if not over and supervisor.started and session.outcome and session.phase in (Phase.IDLE, Phase.FAULT):
            over = True
            loop.call_later(shown_s, end)

    return after


def _settings(mqtt_url: str) -> Settings:
    mqtt = MqttSettings()
    if mqtt_url:
        url = urlsplit(mqtt_url)
        mqtt = MqttSettings(enabled=True, host=url.hostname or "127.0.0.1", port=url.port or 1883)
    return Settings(
        bench_id=BENCH_ID,
        cuffs=(CuffSettings(sensor=SensorSettings(bus=1)),),
        guard=GuardSettings(kind="simulated"),
        mqtt=mqtt,
        simulated=SimulatedSettings(),
    )
