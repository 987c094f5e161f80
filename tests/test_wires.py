"""What a bench of wires is made of: lines, sensors on buses, the link; and the world that the wires may end in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.calibration_file import Correction
from controller.settings import Settings, load
from controller.wires import WiredBench, guard_lines_of, guard_link, real_lines, sensors_a, sensors_b, wired_bench
from controller.world_process import make_world, run
from firmware_bridge.pins import CuffLines, GuardLines
from firmware_bridge.ports import SensorFault
from firmware_bridge.sensors.abp2 import Abp2
from firmware_bridge.sensors.calibrated import Calibrated
from firmware_bridge.sensors.mpx5050 import Mpx5050

BENCH = """bench_id = "b1"
[guard]
kind = "gpio"
gpio = { estop_gpio = 5, heartbeat_gpio = 26, status_led_gpio = 22, pwm_hz = 40 }
[[cuffs]]
sensor = { bus = 201 }
sensor_b = { bus = 203 }
lines = { pump_gpio = 12, pump_enable_gpio = 13, vent_gpio = 16, dump_gpio = 17 }
[[cuffs]]
sensor = { bus = 202 }
sensor_b = { bus = 203, kind = "mpx5050" }
lines = { pump_gpio = 18, pump_enable_gpio = 19, vent_gpio = 20, dump_gpio = 21 }
"""
WORLD = BENCH + "[simulated]\n"


def settings(folder: Path, text: str) -> Settings:
    path = folder / "bench.toml"
    path.write_text(text)
    return load(path)


def wired(made: Settings, runtime: Path, clock: Callable[[], float]) -> WiredBench:
    return wired_bench(made, runtime, clock, (Correction(),) * len(made.cuffs))


def test_the_lines_are_those_of_the_file(tmp_path: Path) -> None:
    first, second = CuffLines(12, 13, 16, 17), CuffLines(18, 19, 20, 21)
    assert guard_lines_of(settings(tmp_path, BENCH)) == GuardLines((first, second), 5, 26, 22, 40)


def test_a_bus_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    for make in (wired, sensors_b):
        with pytest.raises(OSError, match=r"bus 20[13]: /dev/i2c-20[13] cannot be opened"):
            make(settings(tmp_path, BENCH), tmp_path, lambda: 0.0)


def test_a_link_without_its_guard_process_says_where_it_looks(tmp_path: Path) -> None:
    link = guard_link(settings(tmp_path, BENCH), tmp_path)
    assert link.poll(1.0) == []
    assert f"no guard process listens at {tmp_path}/b1.guard.sock" in link.fault


def test_wires_that_end_in_a_world_have_the_real_drivers_and_somebody_in_each_cuff(tmp_path: Path) -> None:
    bench = wired(settings(tmp_path, WORLD), tmp_path, lambda: 0.0)
    assert [type(one) for one in bench.hardware.sensors] == [Calibrated, Calibrated]
    assert [type(one) for one in sensors_a(settings(tmp_path, WORLD), tmp_path, lambda: 0.0)] == [Abp2, Abp2]
    assert len(bench.limbs) == 2
    assert [type(one) for one in sensors_b(settings(tmp_path, WORLD), tmp_path, lambda: 0.0)] == [Abp2, Mpx5050]
    with pytest.raises(SensorFault, match="cuff 1"):
        bench.hardware.sensors[0].start(0.0)


def test_a_guard_with_real_lines_is_not_driven_on_simulated_physics(tmp_path: Path) -> None:
    """Which asks for no calibration and no self-test."""
    (tmp_path / "b1.lines.json").write_text("{}")
    with pytest.raises(OSError, match=r"the guard of bench b1 has real lines, and its file says \[simulated\]"):
        wired(settings(tmp_path, WORLD), tmp_path, lambda: 0.0)
    assert real_lines(settings(tmp_path, BENCH), tmp_path) == ""
    (tmp_path / "b1.lines.json").unlink()
    assert real_lines(settings(tmp_path, WORLD), tmp_path) == ""


def test_a_world_has_every_device_at_its_place(tmp_path: Path) -> None:
    world = make_world(settings(tmp_path, WORLD), lambda: 0.0)
    places = {number: sorted(bus.devices) for number, bus in world.buses.items()}
    assert places == {201: [0x28], 202: [0x28], 203: [0x28, 0x48]}
    assert (len(world.cuffs), len(world.limbs)) == (2, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BENCH, "simulated: must be given: without it the wires end in a real bench"),
        (
            'bench_id = "b1"\n[guard]\nkind = "simulated"\n[[cuffs]]\nsensor = { bus = 1 }\n[simulated]\n',
            'guard.kind = "simulated": must be "gpio"',
        ),
        (WORLD + "plant = { volume_ml = 1.0 }\n", "volume_ml = 1: must be 50 to 1500 mL"),
    ],
)
def test_a_world_for_what_has_none_is_refused(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "r"))
    (tmp_path / "bench.toml").write_text(text)
    assert run(tmp_path / "bench.toml") == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
