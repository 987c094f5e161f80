"""The sensors of a bench: what cannot be on it is refused in one line before anything starts, with what would do."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import smbus2

from controller import hardware
from controller.cli.app import execute
from controller.settings import SensorSettings, Settings
from controller.settings import load as load_settings
from controller.tomlfile import BadInput

LINES = ("pump_gpio = 12, pump_enable_gpio = 16, vent_gpio = 20, dump_gpio = 21",
         "pump_gpio = 13, pump_enable_gpio = 17, vent_gpio = 22, dump_gpio = 23")  # fmt: skip
B = "bus = 3, kind = 'hsc'"


def bench(folder: Path, *cuffs: tuple[str, str], guard: str = "gpio") -> tuple[Settings, Path]:
    """A bench by its cuffs: what is in the tables of sensor A and sensor B."""
    text = ['bench_id = "b1"', "[guard]", f'kind = "{guard}"']
    text.append("[guard.gpio]\nestop_gpio = 6\nheartbeat_gpio = 26" if guard == "gpio" else "[guard.pico]\nport = 'p'")
    for (a, b), lines in zip(cuffs, LINES, strict=False):
        text += ["[[cuffs]]", f"sensor = {{ {a}, serial = 'a' }}", f"sensor_b = {{ {b}, serial = 'b' }}"]
        text += [f"lines = {{ {lines} }}"] if guard == "gpio" else []
    path = folder / "bench.toml"
    path.write_text("\n".join(text), encoding="utf-8")
    return load_settings(path), path


def system(folder: Path, **speeds_hz: int) -> Path:
    """A root folder whose `/sys` says how fast these buses run."""
    for name, speed_hz in speeds_hz.items():
        place = folder / "sys/class/i2c-adapter" / name.replace("_", "-") / "of_node"
        place.mkdir(parents=True)
        (place / "clock-frequency").write_bytes(speed_hz.to_bytes(4, "big"))
    return folder


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuffs", "guard", "expected"),
    [
        (
            [("bus = 1", "bus = 3"), ("bus = 1", "bus = 4")],
            "gpio",
            "cuffs[2].sensor.address = 40: must be another than 0x28, which cuffs[1].sensor has on bus 1: put it on"
            " another bus, or take one at 8 (0x08) or 24 (0x18) or 56 (0x38) or 72 (0x48) or 88 (0x58) or 104 (0x68)"
            " (the digit behind the range in its order code: ABP2…600MG0A3XX is 0x08",
        ),
        (
            [("bus = 1, kind = 'mpr'", "bus = 3"), ("bus = 1, kind = 'mpr'", "bus = 4")],
            "gpio",
            "cuffs[2].sensor.address = 24: must be another than 0x18, which cuffs[1].sensor has on bus 1: an mpr can"
            " have no other address, so put it on another bus",
        ),
        (
            [("bus = 1", "bus = 3"), ("bus = 2", "bus = 3")],
            "gpio",
            "cuffs[2].sensor_b.address = 40: must be another than 0x28, which cuffs[1].sensor_b has on bus 3",
        ),
        (
            [("bus = 1", "bus = 0"), ("bus = 2", "bus = 0")],
            "pico",
            "cuffs[2].sensor_b.address = 40: must be another than 0x28, which cuffs[1].sensor_b has on bus 0",
        ),
        (
            [("bus = 1, kind = 'mpx5050'", "bus = 1, kind = 'mpx5050'")],
            "gpio",
            "cuffs[1].sensor_b.address = 72: must be another than 0x48, which cuffs[1].sensor has on bus 1: put it on"
            " another bus, or take one at 73 (0x49) or 74 (0x4a) or 75 (0x4b) (the converter's ADDR pin",
        ),
        (
            [("bus = 1", "bus = 3, kind = 'mpr'")],
            "gpio",
            'cuffs[1].sensor_b.kind = "mpr": must be one with a full scale of 345 mmHg or more',
        ),
        (
            [("bus = 1", "bus = 1, kind = 'hsc', address = 0x38")],
            "gpio",
            "cuffs[1].sensor_b.bus = 1: must be another bus than that of cuffs[1].sensor, or one of the two an mpx5050",
        ),
        (
            [("bus = 1, part = '005PG'", B)],
            "gpio",
            'cuffs[1].sensor.part = "005PG": must be one of 600MG, 060KG, 001BG, 100KG, 015PG (abp2; ranges that cover',
        ),
        (
            [("bus = 1", "bus = 3, kind = 'xgzp6847d', part = '600MG'")],
            "gpio",
            'cuffs[1].sensor_b.part = "600MG": must be one of 100KPG, 200KPG (xgzp6847d',
        ),
        (
            [("bus = 1, kind = 'xgzp6847d', address = 0x58", B)],
            "gpio",
            "cuffs[1].sensor.address = 88: must be 109 (0x6d): a part at 0x58 is the second generation of that name",
        ),
        (
            [("bus = 1, kind = 'xgzp6847d', address = 0x28", B)],
            "gpio",
            "cuffs[1].sensor.address = 40: must be 109 (0x6d) (xgzp6847d)",
        ),
        (
            [("bus = 1, kind = 'xgzp6847d'", B), ("bus = 1, address = 0x58", "bus = 4")],
            "gpio",
            "cuffs[2].sensor.bus = 1: must be another bus than 1, where cuffs[1].sensor, an xgzp6847d, wants nobody at",
        ),
        (
            [("bus = 1, kind = 'mpx5050', address = 0x28", B)],
            "gpio",
            "cuffs[1].sensor.address = 40: must be 72 (0x48) or 73 (0x49) or 74 (0x4a) or 75 (0x4b) (mpx5050)",
        ),
        (
            [("bus = 1", "bus = 0, kind = 'hsc'")],
            "pico",
            'cuffs[1].sensor_b.kind = "hsc": must be abp2 or mpx5050: what the firmware of a Pico reads',
        ),
        (
            [("bus = 1", "bus = 3")],
            "pico",
            "cuffs[1].sensor_b.bus = 3: must be 0 or 1: the board's own buses, and what its bench.json has as `i2c`",
        ),
        (
            [("bus = 1", "bus = 0"), ("bus = 1, address = 0x38", "bus = 2, kind = 'mpx5050'")],
            "pico",
            "cuffs[2].sensor_b.bus = 2: must be 0 or 1",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, cuffs: list[tuple[str, str]], guard: str, expected: str
) -> None:
    settings, path = bench(tmp_path, *cuffs, guard=guard)
    with pytest.raises(BadInput) as caught:
        hardware.check(settings, path, tmp_path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert str(caught.value).isprintable()


TWO_ON_ONE = [("bus = 1", "bus = 3"), ("bus = 1, address = 0x38", "bus = 4")]


def test_two_cuffs_on_a_slow_bus_are_refused_with_the_line_for_config_txt(tmp_path: Path) -> None:
    settings, path = bench(tmp_path, *TWO_ON_ONE)
    with pytest.raises(BadInput) as caught:
        hardware.check(settings, path, system(tmp_path, i2c_1=100_000))
    assert str(caught.value).startswith(
        f"{path}: cuffs[2].sensor.bus = 1: must be a bus at 400 kHz or more where two cuffs share it, and bus 1 runs at"
        " 100 kHz: put dtparam=i2c_arm_baudrate=400000 into config.txt"
    )


def test_a_sensor_b_of_one_cuff_beside_a_sensor_a_of_the_other_counts_too(tmp_path: Path) -> None:
    settings, path = bench(tmp_path, ("bus = 1", "bus = 3"), ("bus = 3, address = 0x38", "bus = 4"))
    with pytest.raises(BadInput, match=r"cuffs\[2\]\.sensor\.bus = 3: must be a bus at 400 kHz"):
        hardware.check(settings, path, system(tmp_path, i2c_3=399_999))


# --- taken -------------------------------------------------------------------------------------------------------


def test_how_fast_a_bus_runs_is_asked_for_where_nobody_says(tmp_path: Path) -> None:
    settings, path = bench(tmp_path, *TWO_ON_ONE)
    hardware.check(settings, path, tmp_path)
    assert hardware.warnings(settings, tmp_path) == (
        "two cuffs share bus 1 of the Pi, which must run at 400 kHz or more; how fast it runs is not to be seen here"
        f" ({tmp_path}/sys/class/i2c-adapter/i2c-1/of_node/clock-frequency)",
    )
    root = system(tmp_path, i2c_1=400_000)
    hardware.check(settings, path, root)
    assert hardware.warnings(settings, root) == ()


def test_two_cuffs_on_a_bus_of_the_pico_are_no_matter_of_the_pi(tmp_path: Path) -> None:
    cuffs = [("bus = 1", "bus = 0, address = 0x28"), ("bus = 3", "bus = 0, address = 0x38")]
    settings, _ = bench(tmp_path, *cuffs, guard="pico")
    assert hardware.warnings(settings, tmp_path) == ()


@pytest.mark.parametrize(
    ("line", "instead", "bus", "key"),
    [
        ("estop_gpio = 6", "estop_gpio = 5", "3", "guard.gpio.estop_gpio = 5: GPIO 5"),
        ("estop_gpio = 6", "estop_gpio = 3", "1", "guard.gpio.estop_gpio = 3: GPIO 3"),
        ("[guard.gpio]", "[panel]\nstart_gpio = 4\n[guard.gpio]", "3", "panel.start_gpio = 4: GPIO 4"),
    ],
)
def test_a_line_that_a_bus_may_be_on_is_a_warning(
    line: str, instead: str, bus: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = bench(tmp_path, ("bus = 1", B))
    path.write_text(path.read_text().replace(line, instead))
    assert execute(["check-config", str(path)]) == 0
    (warning,) = capsys.readouterr().out.splitlines()[1:]
    assert warning.startswith(f"warning: {key} is SDA or SCL of I2C bus {bus} where that is on GPIO ")
    assert ("dtoverlay=i2c3,pins_4_5" in warning) is (bus == "3")
    path.write_text(path.read_text().replace(f"bus = {bus}", "bus = 6"))
    assert execute(["check-config", str(path)]) == 0
    assert capsys.readouterr().out.count("\n") == 1, "no sensor is on that bus"


def test_a_speed_that_is_no_number_of_32_bits_is_not_known(tmp_path: Path) -> None:
    (system(tmp_path, i2c_1=0) / "sys/class/i2c-adapter/i2c-1/of_node/clock-frequency").write_bytes(b"400k\n")
    assert hardware.bus_speed_hz(1, tmp_path) is None


@pytest.mark.parametrize(
    ("cuffs", "guard"),
    [
        ([("bus = 1", B)], "gpio"),
        ([("bus = 1", "bus = 1, kind = 'mpx5050'")], "gpio"),
        ([("bus = 1, kind = 'mpx5050'", "bus = 1, kind = 'mpx5050', address = 0x49")], "gpio"),
        ([("bus = 1, kind = 'mpr'", "bus = 3")], "gpio"),
        ([("bus = 1, kind = 'hsc', part = '015PG-B'", "bus = 3, kind = 'xgzp6847d'")], "gpio"),
        ([("bus = 1", "bus = 1")], "pico"),  # a Pico counts buses of its own
        ([("bus = 1", "bus = 0, kind = 'mpx5050'"), ("bus = 3", "bus = 1, kind = 'mpx5050'")], "pico"),
        ([("bus = 1", "bus = 3"), ("bus = 4", "bus = 5")], "gpio"),
    ],
)
def test_what_can_be_is_taken(tmp_path: Path, cuffs: list[tuple[str, str]], guard: str) -> None:
    settings, path = bench(tmp_path, *cuffs, guard=guard)
    hardware.check(settings, path, tmp_path)
    assert hardware.warnings(settings, tmp_path) == ()


def test_a_device_that_nothing_names_is_a_warning(tmp_path: Path) -> None:
    _, path = bench(tmp_path, ("bus = 1", B))
    path.write_text(path.read_text().replace(", serial = 'b'", ""))
    (warning,) = hardware.warnings(load_settings(path), tmp_path)
    assert warning.startswith("no `serial` says which device is fitted (cuffs[1].sensor_b): another one of its kind")


@pytest.mark.parametrize("name", ["bench-simulated", "bench-simulated-two-cuffs"])
def test_the_shipped_simulated_benches_are_taken(name: str, tmp_path: Path) -> None:
    path = Path(__file__).resolve().parents[1] / "config" / f"{name}.toml"
    settings = load_settings(path)
    hardware.check(settings, path, system(tmp_path, i2c_1=100_000))
    assert hardware.warnings(settings, tmp_path / "nowhere") == (), "its buses are simulated too"


@pytest.mark.parametrize(
    ("port", "real"), [("/dev/manchet-guard", True), ("/dev/ttyACM0", True), ("/dev/pts/7", False), ("p", False)]
)
def test_a_real_board_is_not_driven_on_simulated_physics(port: str, real: bool, tmp_path: Path) -> None:
    """Which asks for no calibration and no self-test."""
    settings, path = bench(tmp_path, ("bus = 1", "bus = 0"), guard="pico")
    text = path.read_text(encoding="utf-8").replace("'p'", f"'{port}'")
    path.write_text(f"{text}\n[simulated]\n", encoding="utf-8")
    settings = load_settings(path)
    assert not settings.selftest_required
    if not real:
        hardware.check(settings, path)
        return
    with pytest.raises(BadInput, match=r"simulated: must be left out where guard\.pico\.port is a real board's"):
        hardware.check(settings, path)


def test_check_config_says_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = bench(tmp_path, *TWO_ON_ONE)
    assert execute(["check-config", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("warning: two cuffs share bus 1")
    path.write_text(path.read_text().replace("address = 0x38", "address = 0x28"))
    assert execute(["check-config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"manchet: {path}: cuffs[2].sensor.address = 40: must be another than")


def test_run_refuses_the_same_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(
        'bench_id = "b1"\nguard = { kind = "simulated" }\nsimulated = {}\n'
        "cuffs = [{ sensor = { bus = 1 } }, { sensor = { bus = 1 } }]\n"
    )
    assert execute(["run", "--config", str(path)]) == 2
    assert "cuffs[2].sensor.address = 40: must be another than 0x28" in capsys.readouterr().err


# --- made --------------------------------------------------------------------------------------------------------


class Nobody:
    """A bus on which nobody is."""

    def i2c_rdwr(self, *_messages: object) -> None:
        raise OSError(121, "nobody")


def test_every_family_is_made_with_every_part_the_settings_may_name() -> None:
    for kind, family in hardware.FAMILIES.items():
        for part in (None, *family.parts):
            made = hardware.sensor(Nobody(), SensorSettings(bus=1, kind=kind, part=part), "sensor A")  # type: ignore[arg-type]
            assert made.name.startswith("sensor A at 0x")
            full_scale = family.full_scale_mmhg[(part or family.parts[0]).partition("-")[0]]
            assert made.high_mmhg == full_scale >= 300.0


class FakeSMBus:
    opened: list[int]

    def __init__(self, number: int) -> None:
        self.fd = number
        self.opened.append(number)


def test_sensors_of_one_bus_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSMBus, "opened", [], raising=False)
    monkeypatch.setattr(smbus2, "SMBus", FakeSMBus)
    monkeypatch.setattr(fcntl, "ioctl", lambda *_arguments: 0)
    settings, _ = bench(tmp_path, *TWO_ON_ONE)
    clock: Callable[[], float] = lambda: 0.0  # noqa: E731
    names: list[Any] = [one.name for one in hardware.sensors_a(settings, clock)]
    assert names == ["sensor A of cuff 1 on bus 1 at 0x28", "sensor A of cuff 2 on bus 1 at 0x38"]
    assert FakeSMBus.opened == [1]
    assert [one.name for one in hardware.sensors_b(settings, clock)] == [
        "sensor B of cuff 1 on bus 3 at 0x28",
        "sensor B of cuff 2 on bus 4 at 0x28",
    ]
