"""The wiring page against what runs: a table that says another pin than the software is worse than none."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

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


def test_the_page_links_to_what_exists(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
