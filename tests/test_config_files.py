"""The benches of `config/`: each loads, each says what the wiring page says, and its commented second cuff fits too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.settings import Settings, load

CONFIG = Path(__file__).resolve().parents[1] / "config"
BENCHES = sorted(CONFIG.glob("bench-*.toml"))
REAL = [path for path in BENCHES if load(path).simulated is None]  # wires that end in a world are nobody's


def with_second_cuff(path: Path, tmp_path: Path) -> Settings:
    """The file with the # before its second cuff removed, as it asks."""
    head, mark, rest = path.read_text(encoding="utf-8").partition("# --- cuff 2")
    cuff, panel, tail = rest.partition("# --- the panel")
    assert mark
    assert panel
    opened = re.sub(r"(?m)^# ?", "", cuff.partition("\n")[2])
    copy = tmp_path / path.name
    copy.write_text(f"{head}\n{opened}\n{panel}{tail}", encoding="utf-8")
    return load(copy)


def test_both_guards_have_an_example() -> None:
    assert {load(path).guard.kind for path in REAL} == {"gpio", "pico"}


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.name)
def test_a_bench_loads(path: Path) -> None:
    load(path)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
@pytest.mark.parametrize("cuffs", [1, 2])
def test_nothing_on_a_real_bench_is_used_twice(path: Path, cuffs: int, tmp_path: Path) -> None:
    settings = load(path) if cuffs == 1 else with_second_cuff(path, tmp_path)
    assert len(settings.cuffs) == cuffs
    b_host = "board" if settings.guard.kind == "pico" else "pi"
    places = [("pi", *cuff.sensor.place) for cuff in settings.cuffs]
    places += [(b_host, *cuff.sensor_b.place) for cuff in settings.cuffs if cuff.sensor_b is not None]
    assert len(places) == len(set(places)) == 2 * cuffs
    # sensor B is never behind what sensor A hangs on
    assert {place[:2] for place in places[:cuffs]}.isdisjoint({place[:2] for place in places[cuffs:]})
    gpios = used_gpios(settings)
    assert len(gpios) == len(set(gpios))
    assert not {2, 3, 4, 5, 14, 15} & set(gpios), "I2C buses 1 and 3, and the UART, whose line is high at boot"


def used_gpios(settings: Settings) -> list[int]:
    gpio = settings.guard.gpio
    tables = [cuff.lines for cuff in settings.cuffs] + [settings.panel]
    found = [value for table in tables if table is not None for value in table_gpios(table)]
    return found + (table_gpios(gpio) if gpio is not None else [])


def table_gpios(table: object) -> list[int]:
    names = [name for name in getattr(table, "__struct_fields__", ()) if name.endswith("_gpio")]
    assert names
    return [value for name in names if (value := getattr(table, name)) is not None]


def test_a_bench_for_people_has_its_heartbeat() -> None:
    for path in REAL:
        gpio = load(path).guard.gpio
        assert gpio is None or (gpio.heartbeat_gpio is not None and gpio.without_heartbeat is None)
