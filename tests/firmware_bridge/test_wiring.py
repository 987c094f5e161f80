"""The wiring page against what runs: a table that says another pin than the software is worse than none."""

from __future__ import annotations

import importlib.util
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from controller import hardware
from controller.settings import Settings, load
from firmware_bridge.wiring import __main__ as wiring
from firmware_bridge.wiring.benches import PI_BUSES, PI_HEADER, PICO, PICO_HEADER

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "firmware_bridge" / "README.md"
FIRMWARE = importlib.util.find_spec("firmware_bridge.firmware.pico_main")


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def two_cuffs(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The example with its second cuff taken out of its comment."""
    head, _, rest = (ROOT / "config/bench-gpio.toml").read_text(encoding="utf-8").partition("# --- cuff 2")
    second, _, panel = rest.partition("# --- the panel")
    path = tmp_path_factory.mktemp("bench") / "bench.toml"
    opened = re.sub(r"(?m)^# ?", "", second.partition("\n")[2])
    path.write_text(head + opened + panel.partition("\n")[2], encoding="utf-8")
    return load(path)


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The table rows below a heading, by their first cell; the others without what is not a number."""
    _, mark, text = page.partition(f"\n### {heading}\n")
    assert mark, heading
    found = {}
    for line in re.split(r"\n##+ ", text)[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not cells[0].startswith("---"):
            found[cells[0]] = [cell for cell in cells[1:] if re.fullmatch(r"[0-9, ]+", cell)]
    return found


def test_a_stale_drawing_is_named_and_renewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wiring.main([], tmp_path) == 0
    assert wiring.main(["--check"], tmp_path) == 0
    drawing = tmp_path / "gpio.svg"
    drawing.write_text(drawing.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (tmp_path / "pico.svg").unlink()
    assert wiring.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "gpio.svg is stale: run make docs" in said
    assert "pico.svg is stale" in said
    assert "circuits.svg" not in said


def test_the_drawings_of_the_tree_are_fresh_and_on_the_page(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wiring.main(["--check"]) == 0, capsys.readouterr().err
    for name in wiring.SHEETS:
        assert f"](wiring/{name})" in page
        ElementTree.fromstring((wiring.HERE / name).read_text(encoding="utf-8"))


def test_the_tables_of_the_pi_are_the_example(page: str, two_cuffs: Settings) -> None:
    table = rows(page, "Guard on the Pi")
    for row, key in (
        ("pump, PWM", "pump_gpio"),
        ("pump enable", "pump_enable_gpio"),
        ("vent", "vent_gpio"),
        ("dump", "dump_gpio"),
    ):
        gpios = [getattr(cuff.lines, key) for cuff in two_cuffs.cuffs]
        assert table[row] == [str(number) for gpio in gpios for number in (gpio, PI_HEADER[gpio])]
    guard, panel = two_cuffs.guard.gpio, two_cuffs.panel
    assert guard is not None
    assert panel is not None
    for row, gpio in (
        ("stop loop", guard.estop_gpio),
        ("heartbeat", guard.heartbeat_gpio),
        ("status LED", guard.status_led_gpio),
    ):
        assert gpio is not None
        assert table[row] == [str(gpio), str(PI_HEADER[gpio])]
    for cuff in two_cuffs.cuffs:
        assert cuff.sensor_b is not None
        for sensor in (cuff.sensor, cuff.sensor_b):
            sda, scl = PI_BUSES[sensor.bus]
            assert table[f"I2C {sensor.bus}"] == [f"{sda}, {scl}", f"{PI_HEADER[sda]}, {PI_HEADER[scl]}"]
    table = rows(page, "Panel, on the Pi")
    for row, gpio in (
        ("start, next", panel.start_gpio),
        ("lamp red", panel.lamp_red_gpio),
        ("lamp green", panel.lamp_green_gpio),
        ("lamp blue", panel.lamp_blue_gpio),
        ("buzzer", panel.buzzer_gpio),
    ):
        assert gpio is not None
        assert table[row] == [str(gpio), str(PI_HEADER[gpio])]


def test_the_tables_of_the_pico_are_the_drawing(page: str) -> None:
    table = rows(page, "Guard on a Pico")
    for row, key in (
        ("pump, PWM", "pump"),
        ("pump enable", "enable"),
        ("vent", "vent"),
        ("dump", "dump"),
        ("sensor B, SDA", "sda"),
        ("sensor B, SCL", "scl"),
        ("stop loop", "estop"),
        ("heartbeat", "heartbeat"),
    ):
        assert table[row][:2] == [str(PICO[key]), str(PICO_HEADER[PICO[key]])], row
    del table["3.3 V, ground"]  # pins without a number of the chip's
    for row, cells in table.items():
        for gp, pin in zip(cells[::2], cells[1::2], strict=True):
            assert PICO_HEADER[int(gp)] == int(pin), row


@pytest.mark.skipif(FIRMWARE is None, reason="this tree has no firmware for a Pico")
def test_the_tables_of_the_pico_are_its_firmware(page: str) -> None:
    from firmware_bridge.firmware import pico_main

    table = rows(page, "Guard on a Pico")
    whole = pico_main.settings({"cuffs": [{}, {}]})
    wanted = {"stop loop": [whole["estop"]], "heartbeat": [whole["heartbeat"]]}
    for row, key in (("pump, PWM", "pump"), ("pump enable", "enable"), ("vent", "vent"), ("dump", "dump")):
        wanted[row] = [cuff[key] for cuff in whole["cuffs"]]
    for row, key in (("sensor B, SDA", "sda"), ("sensor B, SCL", "scl")):
        wanted[row] = [cuff["sensor"][key] for cuff in whole["cuffs"]]
    analogue = pico_main.settings({"cuffs": [{"sensor": {"kind": "mpx5050"}}, {"sensor": {"kind": "mpx5050"}}]})
    wanted["sensor B as MPX5050"] = [cuff["sensor"]["adc"] for cuff in analogue["cuffs"]]
    wanted["supply of the MPX5050"] = [analogue["cuffs"][0]["sensor"]["supply_adc"]]
    assert {row: [int(gp) for gp in table[row][::2]] for row in wanted} == wanted


BOARDS = ("board-pico.json", "board-pico-two-cuffs.json")


@pytest.mark.skipif(FIRMWARE is None, reason="this tree has no firmware for a Pico")
@pytest.mark.parametrize(("name", "cuffs"), [(BOARDS[0], 1), (BOARDS[1], 2)])
def test_the_examples_of_the_board_have_every_default_and_the_pins_of_the_page(
    page: str, name: str, cuffs: int
) -> None:
    from firmware_bridge.firmware import pico_main

    given = json.loads((ROOT / "config" / name).read_text(encoding="utf-8"))
    assert pico_main.settings(given) == pico_main.settings({"cuffs": [{}] * cuffs})
    # all that a person may want to change stands in the file; a UART is not there, a correction is `flash`'s
    assert set(given) == set(pico_main.DEFAULTS) - {"uart"}
    table = rows(page, "Guard on a Pico")
    for index, cuff in enumerate(given["cuffs"]):
        assert set(cuff) == set(pico_main.CUFFS[index])
        assert set(cuff["sensor"]) == set(pico_main.SENSORS["abp2"][index]) - {"zero_dmmhg", "gain_e4"}
        lines = {"pump, PWM": "pump", "pump enable": "enable", "vent": "vent", "dump": "dump"}
        for row, gp in (
            *((row, cuff[key]) for row, key in lines.items()),
            ("sensor B, SDA", cuff["sensor"]["sda"]),
            ("sensor B, SCL", cuff["sensor"]["scl"]),
        ):
            assert table[row][2 * index : 2 * index + 2] == [str(gp), str(PICO_HEADER[gp])], row
    assert table["stop loop"][0] == str(given["estop"])
    assert table["heartbeat"][0] == str(given["heartbeat"])


@pytest.mark.skipif(FIRMWARE is None, reason="this tree has no firmware for a Pico")
def test_the_board_and_the_bench_agree_on_sensor_b() -> None:
    board = json.loads((ROOT / "config" / BOARDS[0]).read_text(encoding="utf-8"))
    (cuff,) = load(ROOT / "config/bench-pico.toml").cuffs
    assert cuff.sensor_b is not None
    sensor = board["cuffs"][0]["sensor"]
    assert (sensor["kind"], sensor["part"]) == (cuff.sensor_b.kind, cuff.sensor_b.part)
    assert (sensor["i2c"], sensor["address"]) == cuff.sensor_b.place


@pytest.mark.skipif(FIRMWARE is None, reason="this tree has no firmware for a Pico")
def test_every_key_of_the_board_has_its_row(page: str) -> None:
    from firmware_bridge.firmware import pico_main, pressure

    section = re.split(r"\n##+ ", page.partition("\n### The board's own file\n")[2])[0]
    cells = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    named = {key for first, _, _ in cells for key in re.findall(r"`(\w+)`", first)}
    sensors = {key for both in pico_main.SENSORS.values() for sensor in both for key in sensor}
    assert named == set(pico_main.DEFAULTS) | set(pico_main.CUFFS[0]) | sensors
    defaults = {first.strip().strip("`"): default.strip().strip("`") for first, default, _ in cells}
    for key in ("serial", "estop", "heartbeat", "pwm_hz"):
        assert json.loads(defaults[key]) == pico_main.DEFAULTS[key]
    (parts,) = (default + text for first, default, text in cells if "`part`" in first)
    assert set(re.findall(r'`"(\w+)"`', parts)) == set(pressure.SPANS)


@pytest.mark.parametrize(("guard", "number"), [("gpio", 0), ("pico", 1)])
def test_the_page_has_an_mpx5050_for_both_guards(page: str, guard: str, number: int, tmp_path: Path) -> None:
    block = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[number]
    text = (ROOT / f"config/bench-{guard}.toml").read_text(encoding="utf-8")
    changed, count = re.subn(r"(?ms)^\[cuffs\.sensor_b\]\n.*?(?=^\[|^# ---)", lambda _: f"{block}\n", text)
    assert count == 1
    path = tmp_path / "bench.toml"
    path.write_text(changed, encoding="utf-8")
    settings = load(path)
    hardware.check(settings, path, tmp_path)
    (cuff,) = settings.cuffs
    assert cuff.sensor_b is not None
    assert (cuff.sensor_b.kind, cuff.sensor_b.divider) == ("mpx5050", guard == "gpio")


def test_the_page_links_to_what_exists(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
