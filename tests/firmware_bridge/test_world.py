"""The world that the wires of real processes end in: supply, monostable, pull-downs, buses, and its socket."""

from __future__ import annotations

import errno
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from smbus2 import i2c_msg

from firmware_bridge.firmware.wire import ALL_FLAGS
from firmware_bridge.pins import CuffLines, GpioPins, GuardLines
from firmware_bridge.ports import SensorFault
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.simulated.bus import Abp2Device, SimulatedBus
from firmware_bridge.simulated.limb import SimulatedLimb
from firmware_bridge.simulated.plant import Cuff, PlantSettings
from firmware_bridge.simulated.world import World, WorldServer
from firmware_bridge.simulated.world_client import Wire, WorldBus, WorldLimb, world_factory

LINES = GuardLines((CuffLines(12, 13, 16, 17),), estop=5, heartbeat=26, status_led=22)
PUMPING = {12: 1.0, 13: 1.0, 16: 1.0, 17: 1.0}
FAST = PlantSettings(volume_ml=150.0, slack_ml=0.0, sensor_noise_mmhg=0.0)


def make_world(lines: GuardLines = LINES, now: Callable[[], float] = lambda: 0.0) -> World:
    limb = SimulatedLimb(FAST, "1/0")
    cuff = Cuff(FAST, limb, now())
    bus = SimulatedBus(now)
    bus.devices[0x28] = Abp2Device(cuff.cuff_at, Random(1))
    return World([cuff], [limb], {3: bus}, lines, now())


def electric(world: World) -> tuple[bool, bool, bool]:
    """Pump, vent coil, dump coil."""
    return tuple(world.look(world.cuffs[0].now_s)[key] for key in ("pump_1", "vent_coil_1", "dump_coil_1"))  # type: ignore[return-value]


# --- electricity -----------------------------------------------------------------------------------------------------


def test_without_a_heartbeat_high_lines_power_nothing() -> None:
    world = make_world()
    world.set_pins(PUMPING, 1.0)
    assert electric(world) == (False, False, False)
    world.set_pins({26: 0.0}, 1.1)
    assert electric(world) == (False, False, False), "no edge"
    world.set_pins({26: 1.0}, 1.2)
    assert electric(world) == (True, True, True)


def test_the_supply_drops_200_ms_after_the_last_edge_whatever_the_lines_say() -> None:
    world = make_world()
    world.set_pins({**PUMPING, 26: 1.0}, 1.0)
    world.settle(1.19)
    world.set_pins({26: 0.0}, 1.19)
    world.settle(2.0)
    assert electric(world) == (False, False, False)
    assert (pytest.approx(1.39), "pump_1", False) in world.log
    assert (pytest.approx(1.39), "vent_coil_1", False) in world.log
    assert world.cuffs[0].vent_is_open
    assert 0.0 < world.cuffs[0].cuff_mmhg < 15.0


def test_a_bench_without_a_monostable_is_fed_for_ever() -> None:
    world = make_world(GuardLines(LINES.cuffs, 5, None))
    world.set_pins(PUMPING, 1.0)
    world.settle(9.0)
    assert electric(world) == (True, True, True)


def test_the_stop_loop_cuts_the_supply_and_gives_it_back() -> None:
    world = make_world(GuardLines(LINES.cuffs, 5, None))
    world.set_pins(PUMPING, 1.0)
    world.press_estop(True, 1.5)
    assert electric(world) == (False, False, False)
    world.press_estop(False, 2.0)
    assert electric(world) == (True, True, True), "what is plugged together; that it does not happen is the guard's"


def test_lines_that_nobody_drives_are_low() -> None:
    world = make_world()
    world.set_pins({**PUMPING, 26: 1.0}, 1.0)
    world.pins_gone(1.05)
    assert electric(world) == (False, False, False)
    assert set(world.levels.values()) == {0.0}
    world.set_pins({26: 1.0}, 1.1)
    assert electric(world) == (False, False, False)


def test_the_pump_needs_both_of_its_switches() -> None:
    world = make_world(GuardLines(LINES.cuffs, 5, None))
    for missing in (12, 13):
        world.set_pins({**PUMPING, missing: 0.0}, 1.0)
        assert electric(world) == (False, True, True)


def test_the_log_has_changes_only() -> None:
    world = make_world(GuardLines(LINES.cuffs, 5, None))
    before = len(world.log)
    for at_s in (1.0, 1.1, 1.2):
        world.set_pins(PUMPING, at_s)
    changed = [what for _, what, _ in world.log[before:] if not what.endswith("open_1")]
    assert sorted(changed) == ["dump_coil_1", "pump_1", "vent_coil_1"]


# --- the socket ------------------------------------------------------------------------------------------------------


class Served:
    """A world served by a thread on a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 100.0
        self.world = make_world(now=lambda: self.now_s)
        self.path = folder / "b1.world.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._ended = False
        self._made: list[Any] = []
        server = WorldServer(self.world, self._listener, lambda: self.now_s)
        self._thread = threading.Thread(target=server.serve, args=(lambda: self._ended,))
        self._thread.start()

    def wire(self) -> Wire:
        return self._kept(Wire(self.path))

    def bus(self, number: int = 3) -> WorldBus:
        return self._kept(WorldBus(self.path, number))

    def limb(self) -> WorldLimb:
        return self._kept(WorldLimb(self.path, 0))

    def pins(self) -> GpioPins:
        self.factory = self._kept(world_factory(self.path))
        return GpioPins(LINES, self.factory)

    def _kept(self, one: Any) -> Any:
        self._made.append(one)
        return one

    def close(self) -> None:
        for one in self._made:
            one.close()
        self.end()

    def end(self) -> None:
        self._ended = True
        self._thread.join(5.0)
        self._listener.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="mw") as folder:
        made = Served(Path(folder))
        yield made
        made.close()


def after(wire: Wire) -> dict[str, Any]:
    """What there is to see once everything said before has been heard, on whatever connection."""
    for _ in range(6):  # a round of the server each: accept, read, end
        seen = wire.ask({"look": True})
    return seen


def test_no_world_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no world listens there .*start `manchet world`"):
        Wire(tmp_path / "none.sock")


def test_the_real_driver_reads_the_pressure_through_it(served: Served) -> None:
    sensor = Abp2(served.bus())
    served.world.buses[3].devices[0x28].stuck_mmhg = 123.0  # type: ignore[attr-defined]
    sensor.start(0.0)
    assert sensor.read(0.0) is None
    with pytest.raises(SensorFault, match="0x60"):
        sensor.read(0.01)  # for the world it is still at once, and it still converts
    sensor.start(0.0)
    served.now_s += 0.01
    reading = sensor.read(0.01)
    assert reading is not None
    assert reading.pressure_mmhg == pytest.approx(123.0, abs=0.01)


@pytest.mark.parametrize(("bus", "address"), [(3, 0x18), (9, 0x28)])
def test_who_is_not_there_does_not_answer(served: Served, bus: int, address: int) -> None:
    with pytest.raises(OSError, match="Remote I/O error") as caught:
        served.bus(bus).i2c_rdwr(i2c_msg.read(address, 7))
    assert caught.value.errno == errno.EREMOTEIO


def test_a_bus_can_be_told_to_fail(served: Served) -> None:
    wire, bus = served.wire(), served.bus()
    assert wire.ask({"fault": {"bus": 3, "bus_error": errno.ETIMEDOUT}}) == {"ok": True}
    with pytest.raises(TimeoutError):
        bus.i2c_rdwr(i2c_msg.read(0x28, 7))
    wire.ask({"fault": {"bus": 3, "bus_error": None}})
    bus.i2c_rdwr(i2c_msg.read(0x28, 7))


def test_a_bus_that_blocks_answers_late_and_the_others_do_not(served: Served) -> None:
    wire, asking = served.wire(), served.wire()
    wire.ask({"fault": {"block_bus": 3, "for_s": 2.0}})
    asking.say({"i2c": 3, "of": [[0x28, 7]]})
    served.now_s += 1.9
    after(wire)
    assert asking.heard() == []
    served.now_s += 0.2
    after(wire)
    assert [list(answer) for answer in asking.heard()] == [["read"]]


def test_a_world_that_ends_under_a_transfer_is_an_error(served: Served) -> None:
    bus = served.bus()
    bus.i2c_rdwr(i2c_msg.read(0x28, 7))
    served.end()
    with pytest.raises(OSError, match=r"ended|pipe|reset"):
        bus.i2c_rdwr(i2c_msg.read(0x28, 7))


def test_gpiozeros_lines_end_in_it_and_their_end_is_the_pull_downs(served: Served) -> None:
    wire = served.wire()
    pins = served.pins()
    pins.beat()
    pins.drive(0, 800, ALL_FLAGS)
    pins.show(True)
    seen = after(wire)
    assert seen["lines"] == {"12": pytest.approx(0.8, abs=0.001), "13": 1, "16": 1, "17": 1, "22": 1, "26": 1}
    served.factory.pin(13).function = "input"
    assert after(wire)["lines"]["13"] == 0.0, "a line that is no output is at its pull-down"
    guard = served.wire()
    guard.say({"pins": {"12": 1.0}, "at": served.now_s})
    guard.close()
    until = after(wire)
    assert set(until["lines"].values()) == {0.0}


def test_the_stop_loop_comes_back_through_its_line(served: Served) -> None:
    wire = served.wire()
    pins = served.pins()
    after(wire)
    assert pins.estop_ok()
    wire.ask({"fault": {"estop_open": True}})
    assert not pins.estop_ok()
    assert not after(wire)["estop_ok"]
    wire.ask({"fault": {"estop_open": False}})
    assert pins.estop_ok()


def test_the_person_in_the_cuff_moves_and_relaxes(served: Served) -> None:
    wire, limb = served.wire(), served.limb()
    limb.begin_set(0.0, 1.0, 0.0, 1.0, 3)
    after(wire)
    served.now_s += 0.9
    assert served.world.limbs[0].volume_ml(served.now_s, 0.0) > 10.0
    limb.end_set(0.0)
    after(wire)
    served.now_s += 1.5
    assert served.world.limbs[0].volume_ml(served.now_s, 0.0) == pytest.approx(0.0)
    wire.ask({"fault": {"clench_ml": 20.0, "cuff": 0}})
    served.now_s += 0.5
    assert served.world.limbs[0].volume_ml(served.now_s, 0.0) == pytest.approx(20.0)


def test_a_person_whose_world_is_gone_is_not_heard(tmp_path: Path) -> None:
    WorldLimb(tmp_path / "none.sock", 0).end_set(0.0)


def test_the_log_is_read_from_where_one_was(served: Served) -> None:
    wire = served.wire()
    mark = wire.ask({"log": 0})["next"]
    wire.ask({"fault": {"estop_open": True}})
    assert wire.ask({"log": mark}) == {"log": [], "next": mark}, "there was no supply to cut"


def test_who_says_nonsense_without_end_is_shown_out(served: Served) -> None:
    wire = served.wire()

    def talk() -> None:
        for _ in range(3):  # shown out at the second already, if that is in time
            wire.socket.sendall(b"x" * 65536)
            after(served.wire())
        wire.ask({"look": True})

    with pytest.raises(OSError, match=r"ended|[Pp]ipe|reset"):
        talk()
    assert after(served.wire())["estop_ok"]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"i2c": 3}', b'{"limb": 7, "end": 1}', b'{"pins": {"a": 1}, "at": 0}'])
def test_who_does_not_speak_its_language_is_shown_out(served: Served, line: bytes) -> None:
    wire = served.wire()
    wire.socket.sendall(line + b"\n")
    assert wire.socket.recv(10) in (b"", b'{"estop_ok'), "closed, perhaps after its greeting"
    assert after(served.wire())["estop_ok"]
