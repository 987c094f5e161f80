"""A bench with each guard: what ends at which pin, and where the air goes.

The Pi's pins are those of `config/bench-gpio.toml`, so this needs a checkout; the Pico's are its firmware's defaults.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from .sheet import AIR, BUS, COOL, INK, LIMB, PALE, SIGNAL, SUPPLY, WARM, Sheet

_BENCH: Final = Path(__file__).resolve().parents[2] / "config" / "bench-gpio.toml"

# Pins of the header by number: of a Raspberry Pi by GPIO, of a Pico by GP.
PI_HEADER: Final = {
    2: 3, 3: 5, 4: 7, 5: 29, 6: 31, 7: 26, 8: 24, 9: 21, 10: 19, 11: 23, 12: 32, 13: 33, 14: 8, 15: 10, 16: 36,
    17: 11, 18: 12, 19: 35, 20: 38, 21: 40, 22: 15, 23: 16, 24: 18, 25: 22, 26: 37, 27: 13,
}  # fmt: skip
PICO_HEADER: Final = {
    0: 1, 1: 2, 2: 4, 3: 5, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12, 10: 14, 11: 15, 12: 16, 13: 17, 14: 19, 15: 20,
    26: 31, 27: 32, 28: 34,
}  # fmt: skip
# A Pico without a /bench.json of its own, cuff 1: DEFAULTS, CUFFS and SENSORS of firmware/pico_main.py.
PICO: Final = {"estop": 15, "heartbeat": 14, "pump": 2, "enable": 3, "vent": 6, "dump": 7, "sda": 4, "scl": 5}
PI_BUSES: Final = {1: (2, 3), 3: (4, 5)}  # SDA, SCL

ROWS: Final = {
    "estop": 215, "power": 270, "heartbeat": 320, "led": 372, "pump": 415, "enable": 440, "vent": 520, "dump": 600,
    "b": 690, "a": 755, "panel": 835,
}  # fmt: skip
LEFT: Final = 30  # edges of the boards
RIGHT: Final = 270
DRIVERS: Final = 420  # left edges of the columns
PARTS: Final = 740
MANIFOLD: Final = 960


def gpio_sheet() -> str:
    """The guard as a process on the Pi."""
    bench = _bench_of_wires()
    cuff, guard = bench["cuffs"][0], bench["guard"]["gpio"]
    sheet = Sheet(1400, 910, "Wiring with the guard on the Pi (config/bench-gpio.toml)")
    sheet.rect(LEFT, 75, RIGHT - LEFT, 815, PALE, rx=8)
    sheet.text((LEFT + RIGHT) / 2, 105, "Raspberry Pi", size=16, anchor="middle", weight="bold")
    sheet.text((LEFT + RIGHT) / 2, 125, "manchet run, manchet guard", size=12, anchor="middle")
    _beside_the_boards(sheet)
    _pin(sheet, "estop", "stop", _pi(guard["estop_gpio"]))
    _pin(sheet, "heartbeat", "heartbeat", _pi(guard["heartbeat_gpio"]))
    for row, key in (("pump", "pump"), ("enable", "pump_enable"), ("vent", "vent"), ("dump", "dump")):
        _pin(sheet, row, row, _pi(cuff["lines"][f"{key}_gpio"]))
    _pin(sheet, "power", "3.3 V · header 1, ground", "header 9")
    _pin(sheet, "led", "status LED", _pi(guard["status_led_gpio"]))
    sheet.wire(SIGNAL, (RIGHT, ROWS["led"]), (DRIVERS, ROWS["led"]))
    sheet.text(DRIVERS + 8, ROWS["led"] + 4, "330 Ω, LED, ground", size=12)
    _bus_pins(sheet, "b", "sensor B", cuff["sensor_b"]["bus"])
    _bus_pins(sheet, "a", "sensor A", cuff["sensor"]["bus"])
    _panel_pins(sheet, bench["panel"])
    return sheet.svg()


def pico_sheet() -> str:
    """The guard as firmware on a Pico."""
    bench = _bench_of_wires()  # sensor A and the panel are where they are with the other guard
    sheet = Sheet(1400, 910, "Wiring with the guard on a Pico (config/bench-pico.toml)")
    sheet.rect(LEFT, 150, RIGHT - LEFT, 565, COOL, rx=8)
    sheet.text((LEFT + RIGHT) / 2, 176, "Raspberry Pi Pico: guard", size=15, anchor="middle", weight="bold")
    sheet.rect(LEFT, 735, RIGHT - LEFT, 155, PALE, rx=8)
    sheet.text(LEFT + 12, 882, "Raspberry Pi: manchet run", size=13, weight="bold")
    _beside_the_boards(sheet)
    for row in ("estop", "heartbeat", "pump", "enable", "vent", "dump"):
        _pin(sheet, row, {"estop": "stop"}.get(row, row), f"GP{PICO[row]}, pin {PICO_HEADER[PICO[row]]}")
    _pin(sheet, "power", "3.3 V · pin 36, ground", "pin 38")
    sda, scl = PICO["sda"], PICO["scl"]
    _pin(sheet, "b", "sensor B", f"I2C 0: GP{sda}, GP{scl}, pin {PICO_HEADER[sda]}, {PICO_HEADER[scl]}")
    _bus_pins(sheet, "a", "sensor A", bench["cuffs"][0]["sensor"]["bus"])
    _panel_pins(sheet, bench["panel"])
    sheet.wire(INK, (60, 715), (60, 735), width=5)
    sheet.text(72, 730, "USB", size=12)
    return sheet.svg()


def _bench_of_wires() -> dict[str, Any]:
    return tomllib.loads(_BENCH.read_text(encoding="utf-8"))


def _pi(gpio: int) -> str:
    return f"GPIO {gpio}, header {PI_HEADER[gpio]}"


def _bus_pins(sheet: Sheet, row: str, name: str, bus: int) -> None:
    sda, scl = PI_BUSES[bus]
    _pin(sheet, row, name, f"I2C {bus}: GPIO {sda}, {scl}", f"header {PI_HEADER[sda]}, {PI_HEADER[scl]}")


def _pin(sheet: Sheet, row: str, name: str, where: str, below: str = "") -> None:
    sheet.text(RIGHT - 10, ROWS[row] + 4, f"{name} · {where}", size=12, anchor="end")
    if below:
        sheet.text(RIGHT - 10, ROWS[row] + 21, below, size=12, anchor="end")
    sheet.dot(RIGHT, ROWS[row])


def _panel_pins(sheet: Sheet, panel: dict[str, int]) -> None:
    lamp = " ".join(str(panel[f"lamp_{colour}_gpio"]) for colour in ("red", "green", "blue"))
    lines = f"start · GPIO {panel['start_gpio']}", f"lamp · GPIO {lamp}", f"buzzer · GPIO {panel['buzzer_gpio']}"
    sheet.dot(RIGHT, ROWS["panel"])
    for number, line in enumerate(lines):
        sheet.text(RIGHT - 10, ROWS["panel"] - 14 + 18 * number, line, size=12, anchor="end")


# --- what is the same for both guards ---------------------------------------------------------------------------------


def _beside_the_boards(sheet: Sheet) -> None:
    """Everything right of the boards. One cuff; another one is the same again."""
    _supply(sheet)
    _stop_loop(sheet)
    y = ROWS["heartbeat"]
    sheet.wire(SUPPLY, (RIGHT, ROWS["power"]), (DRIVERS + 40, ROWS["power"]), (DRIVERS + 40, y - 32))
    sheet.box(
        DRIVERS, y - 32, 220, 64, "Monostable", "retriggerable, 120 to 200 ms", "after the last rising edge", fill=COOL
    )
    sheet.wire(SIGNAL, (DRIVERS + 220, y), (960, y), (960, 145))
    sheet.arrow(SIGNAL, (960, 145), "up")
    pump_y = (ROWS["pump"] + ROWS["enable"]) / 2
    sheet.box(DRIVERS, pump_y - 36, 220, 72, "Pump stage", "two switches in series,", "10 k at both gates", fill=COOL)
    _load(sheet, pump_y, "from 4.5 V", "Pump")
    for row, what in (("vent", "Vent valve"), ("dump", "Dump valve")):
        sheet.box(DRIVERS, ROWS[row] - 30, 220, 60, "Valve stage", "10 k at the gate, flyback diode", fill=COOL)
        _load(sheet, ROWS[row], "from RAIL", what, "open without current")
    for row in ("heartbeat", "pump", "enable", "vent", "dump"):
        sheet.wire(SIGNAL, (RIGHT, ROWS[row]), (DRIVERS, ROWS[row]))
        sheet.arrow(SIGNAL, (DRIVERS, ROWS[row]), "right")
    sheet.box(DRIVERS, ROWS["panel"] - 26, 220, 52, "Panel", "start button, lamp, buzzer", fill=COOL)
    sheet.wire(SIGNAL, (RIGHT, ROWS["panel"]), (DRIVERS, ROWS["panel"]))
    _air(sheet, pump_y)
    _sensors(sheet)
    _legend(sheet)


def _supply(sheet: Sheet) -> None:
    sheet.box(420, 75, 150, 70, "Supply 6 V", "fuse 4 A", fill=WARM)
    sheet.box(650, 75, 150, 70, "Stop relay K1", "closed while the", "loop is whole", fill=WARM)
    sheet.box(880, 75, 160, 70, "Supply switch", "closed while the", "monostable runs", fill=WARM)
    sheet.box(1095, 75, 110, 70, "RAIL", "6 V: coils", fill=WARM)
    sheet.box(1245, 75, 125, 70, "Step-down", "4.5 V: pumps", fill=WARM)
    for left, right in ((570, 650), (800, 880), (1040, 1095), (1205, 1245)):
        sheet.wire(SUPPLY, (left, 110), (right - 5, 110), width=3)
        sheet.arrow(SUPPLY, (right, 110), "right")


def _stop_loop(sheet: Sheet) -> None:
    """One pole holds the relay, the other one is read by the guard."""
    y = ROWS["estop"]
    sheet.box(420, y - 32, 150, 64, "Bench stop", "two poles,", "normally closed", fill=COOL)
    sheet.box(650, y - 32, 150, 64, "Patient's stop", "in the hand, two", "poles, normally closed", fill=COOL)
    sheet.wire(SIGNAL, (RIGHT, y), (420, y))
    sheet.wire(SIGNAL, (570, y + 10), (650, y + 10))
    sheet.wire(SIGNAL, (800, y + 10), (850, y + 10))
    sheet.text(856, y + 15, "ground", size=12)
    sheet.wire(SUPPLY, (495, 145), (495, y - 32))
    sheet.wire(SUPPLY, (570, y - 10), (650, y - 10))
    sheet.wire(SUPPLY, (725, y - 32), (725, 150))
    sheet.arrow(SUPPLY, (725, 145), "up")


def _load(sheet: Sheet, y: float, supply: str, name: str, *lines: str) -> None:
    sheet.box(PARTS, y - 28, 150, 56, name, *lines)
    sheet.wire(SUPPLY, (DRIVERS + 220, y), (PARTS, y), width=3)
    sheet.text(690, y - 8, supply, size=11, anchor="middle", fill=SUPPLY)


def _air(sheet: Sheet, pump_y: float) -> None:
    """Pump, manifold, hose and cuff."""
    sheet.tube((PARTS + 150, pump_y), (MANIFOLD, pump_y), (MANIFOLD, ROWS["a"]), (PARTS + 150, ROWS["a"]))
    sheet.text(925, pump_y - 12, "non-return", size=11, anchor="middle")
    sheet.text(MANIFOLD + 12, ROWS["a"] - 2, "manifold", size=12)
    for row in ("vent", "dump"):
        sheet.tube((PARTS + 150, ROWS[row]), (MANIFOLD, ROWS[row]))
        sheet.wire(AIR, (815, ROWS[row] + 28), (815, ROWS[row] + 40), width=4)
        sheet.arrow(AIR, (815, ROWS[row] + 47), "down")
        sheet.text(826, ROWS[row] + 43, "to the room", size=11)
    sheet.tube((MANIFOLD, pump_y), (1030, pump_y))
    sheet.box(1030, pump_y - 30, 190, 60, "Relief valve", "mechanical, 315 ± 10 mmHg")
    hose = (ROWS["vent"] + ROWS["dump"]) / 2
    sheet.tube((MANIFOLD, hose), (1250, hose))
    sheet.box(1010, hose - 25, 95, 50, "Coupling", "keyed")
    sheet.box(1130, hose - 25, 95, 50, "Coupling", "quick release")
    sheet.rect(1250, hose - 65, 110, 225, LIMB, rx=30)
    sheet.text(1305, hose + 35, "Cuff 1", size=16, anchor="middle", weight="bold")
    sheet.text(1305, hose + 55, "on the limb", size=12, anchor="middle")


def _sensors(sheet: Sheet) -> None:
    sheet.tube((1250, ROWS["b"]), (1110, ROWS["b"]))
    sheet.box(1140, ROWS["b"] - 25, 85, 50, "Coupling", "keyed")
    sheet.text(1182, ROWS["b"] + 42, "a tube of its own", size=11, anchor="middle")
    sheet.wire(BUS, (RIGHT, ROWS["b"]), (1000, ROWS["b"]), over=True)
    sheet.text(DRIVERS, ROWS["b"] - 8, "2 × 2.2 k to 3.3 V", size=12)
    sheet.box(1000, ROWS["b"] - 34, 110, 68, "Sensor B", "at the cuff's", "own port")
    sheet.wire(BUS, (RIGHT, ROWS["a"]), (PARTS, ROWS["a"]))
    sheet.box(PARTS, ROWS["a"] - 28, 150, 56, "Sensor A", "at the manifold")


def _legend(sheet: Sheet) -> None:
    x = 720.0
    for colour, name in ((SUPPLY, "supply"), (SIGNAL, "line"), (BUS, "I2C, 3.3 V and ground"), (AIR, "air")):
        sheet.wire(colour, (x, 835), (x + 30, 835), width=7 if colour == AIR else 3)
        sheet.text(x + 38, 839, name, size=12)
        x += 75 + 7 * len(name)
    sheet.text(
        720, 865, "One cuff is drawn. A second one has pump, valves, both sensors and couplings of its own,", size=12
    )
    sheet.text(720, 882, "and shares supply, monostable and stop loop. Every ground is one ground.", size=12)
