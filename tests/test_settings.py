"""A bench's file: whatever is wrong with it is refused by name, and the limits can only be tightened."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import settings_doc
from controller.core.limits import DEFAULT_LIMITS
from controller.core.regulator import RegulatorSettings
from controller.settings import LimitsTable, MqttSettings, Settings, load, read_certificates, read_password
from controller.tomlfile import BadInput, convert

ROOT = Path(__file__).resolve().parents[1]
BENCH = """bench_id = "b1"
[guard]
kind = "simulated"
[[cuffs]]
sensor = { bus = 1, address = 0x28 }
[simulated]
"""


def bench(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('bench_id = "b1"', "", "bench_id: must be given: 1 to 40 lower-case letters, digits and hyphens"),
        ('"b1"', '"Bench 1"', 'bench_id = "Bench 1": must be 1 to 40 lower-case letters, digits and hyphens'),
        ('"b1"', '"b1\\n"', "bench_id = "),
        ('"b1"', '"a/b"', 'bench_id = "a/b": must be'),
        ('"b1"', '"b1"\ntick_hz = 49', "tick_hz = 49: must be a whole number from 50 to 100 Hz"),
        ('"b1"', '"b1"\ntick_hz = 101', "tick_hz = 101: must be a whole number from 50 to 100 Hz"),
        ('"b1"', '"b1"\ntick_hz = nan', "tick_hz = nan: must be a whole number from 50 to 100 Hz"),
        ('"b1"', '"b1"\ntick_ms = 10', "tick_ms = 10: must be left out: unknown key (did you mean tick_hz?)"),
        ('kind = "simulated"', 'kind = "hope"', 'guard.kind = "hope": must be one of "gpio", "pico", "simulated"'),
        ('kind = "simulated"', 'kind = "pico"', 'guard.pico: must be given with guard.kind = "pico"'),
        (
            'kind = "simulated"',
            'kind = "simulated"\npico = { port = "p" }',
            'guard.pico: must be left out unless guard.kind = "pico"',
        ),
        (
            'kind = "simulated"',
            'kind = "pico"\npico = { port = "p" }',
            'cuffs[1].sensor_b: must be given with guard.kind = "pico"',
        ),
        (
            "[simulated]",
            "lines = { pump_gpio = 8, pump_enable_gpio = 13, vent_gpio = 16, dump_gpio = 17 }",
            "cuffs[1].lines.pump_gpio = 8: must be a GPIO from 9 to 27",
        ),
        ("0x28", "0x78", "cuffs[1].sensor.address = 120: must be an I2C address from 8 to 119 (0x08 to 0x77)"),
        ("bus = 1", 'bus = "1"', 'cuffs[1].sensor.bus = "1": must be a whole number from 0 to 255'),
        ("address", "adress", "cuffs[1].sensor.adress = 40: must be left out: unknown key (did you mean address?)"),
        ("[simulated]", "", "simulated: must be given"),
        ("[simulated]", "[simulated]\nplant = { swing_ml = nan }", "simulated.plant.swing_ml = nan: must be a number"),
        ("[simulated]", '[simulated]\nplant = { swing_ml = "42 mL" }', 'simulated.plant.swing_ml = "42 mL": must be'),
        ("[simulated]", "[simulated]\nplant = { 'Swing ml' = 1 }", 'simulated.plant = "Swing ml": must be keys of'),
        (
            "[simulated]",
            "[simulated]\nlop_mmhg = 400",
            "simulated.lop_mmhg = 400: must be a number from 80 to 330 mmHg",
        ),
        ("[simulated]", "[simulated]\n[mqtt]\nport = 0", "mqtt.port = 0: must be a whole number from 1 to 65535"),
        ("[simulated]", "[simulated]\n[mqtt]\nhost = 'a b'", 'mqtt.host = "a b": must be a host name or an address'),
        ("[simulated]", "[simulated]\n[mqtt]\npassword_file = 'p'", "mqtt.username: must be given"),
        ("0x28", "0x28, divider = true", 'cuffs[1].sensor.divider: must be left out unless kind = "mpx5050"'),
        ("0x28", "0x28, supply_v = 5", 'cuffs[1].sensor.supply_v: must be left out unless kind = "mpx5050"'),
        ("0x28", "0x28, supply_v = 3.3", "cuffs[1].sensor.supply_v = 3.3: must be a number from 4.75 to 5.25 V"),
        (
            "[simulated]",
            "[[cuffs]]\nsensor = { bus = 2 }\n[[cuffs]]\nsensor = { bus = 3 }\n[simulated]",
            "cuffs = [{…}, {…}, {…}]: must be a list of 1 to 2, each a table",
        ),
    ],
)
def test_bad_bench_is_refused_in_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in BENCH
    path = bench(tmp_path, BENCH.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert str(caught.value).isprintable()


GPIO = """bench_id = "b1"
[guard]
kind = "gpio"
gpio = { estop_gpio = 5, heartbeat_gpio = 26 }
[[cuffs]]
sensor = { bus = 1 }
sensor_b = { bus = 3 }
lines = { pump_gpio = 12, pump_enable_gpio = 13, vent_gpio = 16, dump_gpio = 17 }
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (", heartbeat_gpio = 26", "", "guard.gpio.heartbeat_gpio: must be given: a guard that hangs is vented by"),
        (
            "heartbeat_gpio = 26",
            'without_heartbeat = "none needed"',
            'guard.gpio.without_heartbeat = "none needed": must be',
        ),
        ("vent_gpio = 16", "vent_gpio = 14", "cuffs[1].lines.vent_gpio = 14: must be another than 14 and 15"),
        ("= 26", "= 15", "guard.gpio.heartbeat_gpio = 15: must be another than 14 and 15"),
        ("= 26", "= 26, status_led_gpio = 14", "guard.gpio.status_led_gpio = 14: must be another than 14 and 15"),
        ("dump_gpio = 17", "dump_gpio = 12", "cuffs[1].lines.dump_gpio = 12: must be another than cuffs[1].lines.pump"),
        ("= 26", "= 16", "guard.gpio.heartbeat_gpio = 16: must be another than cuffs[1].lines.vent_gpio: a line has"),
        ("= 26", "= 14", "guard.gpio.heartbeat_gpio = 14: must be another than 14 and 15, which are the serial port"),
        ("pump_enable_gpio = 13", "pump_enable_gpio = 15", "cuffs[1].lines.pump_enable_gpio = 15: must be another"),
        ("gpio = 5", "gpio = 13", "guard.gpio.estop_gpio = 13: must be another than cuffs[1].lines.pump_enable_gpio"),
        (
            "[[cuffs]]",
            "[panel]\nbuzzer_gpio = 26\n[[cuffs]]",
            "panel.buzzer_gpio = 26: must be another than guard.gpio.heartbeat_gpio: a line has one purpose",
        ),
    ],
)
def test_bad_lines_are_refused_in_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GPIO
    with pytest.raises(BadInput) as caught:
        load(bench(tmp_path, GPIO.replace(old, new, 1)))
    assert str(caught.value).partition(": ")[2].startswith(expected)


def test_a_bench_without_heartbeat_has_to_say_the_sentence(tmp_path: Path) -> None:
    sentence = 'without_heartbeat = "no patient will be on this bench"'
    gpio = load(bench(tmp_path, GPIO.replace("heartbeat_gpio = 26", sentence))).guard.gpio
    assert gpio is not None
    assert gpio.heartbeat_gpio is None
    assert load(bench(tmp_path, GPIO)).guard.gpio is not None


@pytest.mark.parametrize("key", ["ceiling_mmhg", "limb_cap_arm_s", "limb_cap_leg_s", "exercise_cap_s"])
def test_limits_can_be_tightened_and_never_widened(tmp_path: Path, key: str) -> None:
    hardest = getattr(DEFAULT_LIMITS, key)
    for value, fits in ((hardest, True), (hardest - 1, True), (hardest + 0.001, False), ("nan", False), ("inf", False)):
        path = bench(tmp_path, f"{BENCH}[limits]\n{key} = {value}\n")
        if fits:
            assert getattr(load(path).core_limits(), key) == value
        else:
            with pytest.raises(BadInput, match=rf"limits\.{key} = .*must be a number from"):
                load(path)


@given(
    st.fixed_dictionaries({}, optional={name: st.floats() for name in LimitsTable.__struct_fields__})  # NaN, inf too
)
def test_no_limits_table_is_looser_than_the_core(table: dict[str, float]) -> None:
    data = {"bench_id": "b", "guard": {"kind": "simulated"}, "cuffs": [{"sensor": {"bus": 1}}], "limits": table}
    if any(not value <= getattr(DEFAULT_LIMITS, name) for name, value in table.items()):  # NaN is looser too
        with pytest.raises(BadInput, match=r"^x: limits\."):
            convert(data, Settings, "x")
    elif all(value >= 100.0 for value in table.values()):
        limits = convert(data, Settings, "x").core_limits()
        assert {name: getattr(limits, name) for name in table} == table


def test_the_defaults_are_those_of_the_core() -> None:
    settings = load(ROOT / "config/bench-simulated.toml")
    assert settings.core_limits() == DEFAULT_LIMITS
    assert settings.core_regulator() == RegulatorSettings()


@pytest.mark.parametrize(
    ("kind", "table", "lines"),
    [
        ("simulated", "", ""),
        ("pico", '[guard.pico]\nport = "/dev/manchet-guard"\n', ""),
        (
            "gpio",
            "[guard.gpio]\nestop_gpio = 5\nheartbeat_gpio = 22\n",
            "lines = { pump_gpio = 12, pump_enable_gpio = 13, vent_gpio = 16, dump_gpio = 17 }\n",
        ),
    ],
)
@pytest.mark.parametrize("physics", ["[simulated]\n", ""])
def test_only_a_bench_of_simulated_physics_is_ready_without_a_self_test(
    tmp_path: Path, kind: str, table: str, lines: str, physics: str
) -> None:
    if kind == "simulated" and not physics:
        return
    text = BENCH.replace('kind = "simulated"\n', f'kind = "{kind}"\n{table}').replace("[simulated]\n", "")
    sensors = "sensor_b = { bus = 0, address = 0x28 }\n" if kind != "simulated" else ""
    settings = load(bench(tmp_path, f"{text}{sensors}{lines}{physics}"))
    assert settings.selftest_required is (not physics)


def test_the_regulator_can_be_switched_off(tmp_path: Path) -> None:
    settings = load(bench(tmp_path, BENCH + "[regulator]\nenabled = false\n"))
    assert not settings.core_regulator().regulated


@pytest.mark.parametrize(("name", "cuffs"), [("bench-simulated", 1), ("bench-simulated-two-cuffs", 2)])
def test_shipped_benches_load(name: str, cuffs: int) -> None:
    settings = load(ROOT / "config" / f"{name}.toml")
    assert len(settings.cuffs) == cuffs
    assert settings.guard.kind == "simulated"
    assert settings.simulated is not None
    assert settings.tick_hz == 100
    assert not settings.mqtt.enabled


def test_paths_are_taken_from_the_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush hush\nnot this\n", encoding="utf-8")
    text = BENCH.replace('"b1"', '"b1"\njournal = "j.db"', 1) + '[mqtt]\nusername = "b1"\npassword_file = "secret"\n'
    settings = load(bench(tmp_path, text + 'tls_ca = "/etc/ca.pem"\n'))
    assert settings.journal == str(tmp_path / "j.db")
    assert settings.mqtt.tls_ca == "/etc/ca.pem"
    assert read_password(settings.mqtt) == "hush hush"


def test_password_file_missing_or_empty_is_one_line(tmp_path: Path) -> None:
    assert read_password(MqttSettings()) is None
    missing, empty = tmp_path / "none", tmp_path / "empty"
    empty.write_text("\n", encoding="utf-8")
    for path, must in ((missing, "a file that exists"), (empty, "a file whose first line is the password")):
        with pytest.raises(BadInput) as caught:
            read_password(MqttSettings(username="b", password_file=str(path)))
        assert str(caught.value) == f"{path}: must be {must}"


def test_certificates_missing_or_none_is_one_line(tmp_path: Path) -> None:
    assert read_certificates(MqttSettings()) is None
    missing, other = tmp_path / "none", tmp_path / "other"
    other.write_text("a shopping list", encoding="utf-8")
    for path, must in (
        (missing, "a file that can be read (No such file or directory)"),
        (tmp_path, "a file that can be read (Is a directory)"),
        (other, "a file of certificates in PEM (it holds none)"),
    ):
        with pytest.raises(BadInput) as caught:
            read_certificates(MqttSettings(tls_ca=str(path)))
        assert str(caught.value) == f"{path}: must be {must}"


def test_config_md_and_template_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings_doc.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_config_md_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "controller").mkdir()
    (tmp_path / "config").mkdir()
    assert settings_doc.main([], tmp_path) == 0
    assert settings_doc.main(["--check"], tmp_path) == 0
    (tmp_path / "controller/CONFIG.md").write_text("old", encoding="utf-8")
    assert settings_doc.main(["--check"], tmp_path) == 1
    assert "controller/CONFIG.md is stale" in capsys.readouterr().err


def test_every_key_in_config_md_has_a_meaning() -> None:
    rows = [line for line in settings_doc.config_md().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    for row in rows:
        _, key, takes, _, meaning, _ = (cell.strip() for cell in row.replace("\\|", "/").split("|"))
        assert takes, key
        assert meaning, key
