"""The composition root of a world: the physics of a bench whose wires end in simulation, as a process of its own.

`run` is what `manchet world` calls, for a file with `[simulated]` and a guard that is a process or a board.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from firmware_bridge.simulated.bus import SimulatedBus
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import Cuff
from firmware_bridge.simulated.world import World, WorldServer

from . import hardware
from .bedside.lock import BenchLock, BenchTaken, clear_dead_socket
from .bedside.notify import Notifier
from .bedside.paths import FolderRefused, make_private, runtime_folder, world_socket
from .settings import Settings, load
from .simulation import device_for, plant_of
from .tomlfile import MISSING, BadInput
from .wires import guard_lines_of


def run(config: Path) -> int:
    """Be the physics of this bench until SIGTERM or Ctrl-C. Returns the exit code."""
    try:
        settings = load(config)
        hardware.check(settings, config)
        if settings.guard.kind != "gpio":
            raise BadInput(config, "guard.kind", settings.guard.kind, '"gpio": other guards have no wires in a world')
        if settings.simulated is None:
            raise BadInput(config, "simulated", MISSING, "given: without it the wires end in a real bench")
        runtime = make_private(runtime_folder())
        path = world_socket(runtime, settings.bench_id)
        with BenchLock(runtime, f"{settings.bench_id}.world"), socket.socket(socket.AF_UNIX) as listener:
            clear_dead_socket(path)
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(16)
            with suppress(OSError, ValueError):
                print(f"the world of bench {settings.bench_id} is at {path}", flush=True)
            _serve(WorldServer(make_world(settings, time.monotonic), listener, time.monotonic))
            path.unlink(missing_ok=True)
        return 0
    except BadInput as error:
        return _complain(str(error), 2)
    except ValueError as error:  # the plant's
        return _complain(f"{config}: simulated.plant: {error}", 2)
    except (BenchTaken, FolderRefused, OSError) as error:
        return _complain(str(error), 1)


def make_world(settings: Settings, now: Callable[[], float]) -> World:
    """Plant, limbs and devices as the settings have them. Raises ValueError for a plant that cannot be."""
    simulated = settings.simulated
    assert simulated is not None
    plant = plant_of(simulated.limb, simulated.plant)
    noise, lag_s = plant.sensor_noise_mmhg, plant.sensor_lag_ms / 1000.0
    limbs, cuffs = [], []
    buses: dict[int, SimulatedBus] = {}
    for index, cuff_settings in enumerate(settings.cuffs):
        limb = SimulatedLimb(plant, f"{simulated.seed}/{index}", simulated.lop_mmhg)
        cuff = Cuff(plant, limb, now())
        for name, sensor, pressure_at in (
            ("a", cuff_settings.sensor, cuff.manifold_at),
            ("b", cuff_settings.sensor_b, cuff.cuff_at),
        ):
            if sensor is not None:
                number, address = sensor.place
                device = device_for(sensor, pressure_at, Random(f"{simulated.seed}/{name}/{index}"), noise, lag_s)
                buses.setdefault(number, SimulatedBus(now)).devices[address] = device
        limbs.append(limb)
        cuffs.append(cuff)
    return World(cuffs, limbs, buses, guard_lines_of(settings), now())


def _serve(server: WorldServer) -> None:
    told_to_end = False

    def end(_number: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    notifier = Notifier()
    notifier.tell("READY=1")
    server.serve(lambda: told_to_end)
    notifier.close()


def _complain(text: str, code: int) -> int:
    print(f"manchet: {' '.join(text.split())}", file=sys.stderr)
    return code
