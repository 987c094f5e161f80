"""A bench's `[panel]`: whatever is wrong with it is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.settings import load
from controller.tomlfile import BadInput

BENCH = """bench_id = "b1"
[guard]
kind = "simulated"
[[cuffs]]
sensor = { bus = 1, address = 0x28 }
[simulated]
"""
PANEL = """[panel]
start_gpio = 22
lamp_red_gpio = 23
lamp_green_gpio = 24
lamp_blue_gpio = 10
buzzer_gpio = 18
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lamp_red_gpio = 23\n", "", "panel.lamp_red_gpio: must be given with the lamp's other lines"),
        ("lamp_green_gpio = 24\n", "", "panel.lamp_green_gpio: must be given with the lamp's other lines"),
        ("lamp_blue_gpio = 10\n", "", "panel.lamp_blue_gpio: must be given with the lamp's other lines"),
        ("buzzer_gpio = 18", "buzzer_gpio = 14", "panel.buzzer_gpio = 14: must be another than 14 and 15"),
        ("lamp_red_gpio = 23", "lamp_red_gpio = 15", "panel.lamp_red_gpio = 15: must be another than 14 and 15"),
        ("buzzer_gpio = 18", "buzzer_gpio = 8", "panel.buzzer_gpio = 8: must be a GPIO from 9 to 27"),
        (
            "start_gpio = 22",
            "start_gpio = 2",
            "panel.start_gpio = 2: must be another than 2 and 3, which are I2C bus 1",
        ),
        (
            "start_gpio = 22",
            "start_gpio = 3",
            "panel.start_gpio = 3: must be another than 2 and 3, which are I2C bus 1",
        ),
        ("start_gpio = 22", "stop_gpio = 22", "panel.stop_gpio = 22: must be left out: unknown key"),
    ],
)
def test_a_bad_panel_is_refused_in_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in PANEL
    with pytest.raises(BadInput) as caught:
        load(bench(tmp_path, BENCH + PANEL.replace(old, new, 1)))
    assert str(caught.value).partition(": ")[2].startswith(expected)


def test_who_requires_a_panel_has_its_button(tmp_path: Path) -> None:
    required = BENCH.replace('"b1"', '"b1"\nrequire_panel = true', 1)
    for text in (required, required + PANEL.replace("start_gpio = 22\n", "")):
        with pytest.raises(BadInput, match=r"panel\.start_gpio: must be given with require_panel = true"):
            load(bench(tmp_path, text))
    panel = load(bench(tmp_path, required + PANEL)).panel
    assert panel is not None
    assert panel.lamp_gpios == (23, 24, 10)


def test_a_panel_may_have_less_than_everything(tmp_path: Path) -> None:
    panel = load(bench(tmp_path, BENCH + "[panel]\nbuzzer_gpio = 18\n")).panel
    assert panel is not None
    assert (panel.start_gpio, panel.lamp_gpios, panel.buzzer_gpio) == (None, None, 18)


def bench(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return path
