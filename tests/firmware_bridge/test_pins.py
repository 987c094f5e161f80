"""The guard's lines through gpiozero's own mock pins: what must be low is low, in an order that only takes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from firmware_bridge.firmware.wire import ALL_FLAGS, BOTH_CLOSED
from firmware_bridge.pins import CuffLines, GpioPins, GuardLines, outputs_outlive

LINES = GuardLines((CuffLines(12, 13, 16, 17),), estop=5, heartbeat=26, status_led=22)
OUTPUTS = {"pump": 12, "enable": 13, "vent": 16, "dump": 17}


class Recorded(MockFactory):  # type: ignore[misc]
    """Mock pins that say in one list what was set, in order."""

    def __init__(self) -> None:
        super().__init__(pin_class=MockPWMPin)
        self.changes: list[tuple[int, float]] = []

    def watch(self) -> None:
        for number in LINES.outputs:
            pin = self.pin(number)
            keep = pin._change_state

            def change(value: float, keep: Any = keep, number: int = number) -> Any:
                changed = keep(value)
                if changed:
                    self.changes.append((number, float(value)))
                return changed

            pin._change_state = change


@pytest.fixture
def factory() -> Any:
    made = Recorded()
    yield made
    made.reset()


@pytest.fixture
def pins(factory: Recorded) -> GpioPins:
    pins = GpioPins(LINES, factory)
    factory.watch()
    return pins


def levels(factory: Recorded) -> dict[str, float]:
    return {name: float(factory.pin(number).state) for name, number in OUTPUTS.items()}


@pytest.mark.parametrize(
    ("cuff", "others", "says"),
    [
        ((8, 13, 16, 17), {}, "GPIO 8: an output must be one of 9 to 27"),
        ((12, 13, 16, 28), {}, "GPIO 28: "),
        ((14, 13, 16, 17), {}, "GPIO 14: an output must be another than 14 and 15, the serial port"),
        ((12, 13, 16, 15), {}, "GPIO 15: an output must be another"),
        ((12, 13, 16, 17), {"heartbeat": 14}, "GPIO 14: "),
        ((12, 13, 16, 17), {"status_led": 15}, "GPIO 15: "),
        ((12, 13, 16, 17), {"heartbeat": 2}, "GPIO 2: "),
        ((12, 13, 14, 17), {}, "GPIO 14: an output must be another than 14 and 15"),
        ((12, 13, 16, 17), {"heartbeat": 15}, "GPIO 15: "),
        ((12, 13, 16, 16), {}, "no line may be named twice"),
        ((12, 13, 16, 17), {"estop": 17}, "no line may be named twice"),
        ((12, 13, 16, 17), {"pwm_hz": 20}, "20 Hz"),
        ((12, 13, 16, 17), {"pwm_hz": 200}, "200 Hz"),
    ],
)
def test_lines_that_would_not_be_safe_are_refused(
    cuff: tuple[int, int, int, int], others: dict[str, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        GuardLines((CuffLines(*cuff),), **{"estop": 5, "heartbeat": 26} | others)  # type: ignore[arg-type]


def test_every_output_is_claimed_low(factory: Recorded) -> None:
    pins = GpioPins(LINES, factory)
    assert pins.chip is None
    for number in LINES.outputs:
        pin = factory.pin(number)
        assert pin.function == "output"
        assert [bool(one.state) for one in pin.states] == [False], f"GPIO {number} was never high"
    assert factory.pin(12).frequency == 50


def test_a_line_that_fails_does_not_keep_the_others_from_low(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(0, 500, ALL_FLAGS)
    enable = factory.pin(13)
    whole = enable._change_state

    def broken(value: float) -> None:  # noqa: ARG001
        raise OSError("the line is gone")

    enable._change_state = broken
    with pytest.raises(OSError, match="the line is gone"):
        pins.low()
    assert levels(factory) == {"pump": 0.0, "enable": 1.0, "vent": 0.0, "dump": 0.0}
    enable._change_state = whole
    pins.low()
    assert levels(factory)["enable"] == 0.0


def test_after_low_the_same_outputs_are_written_anew(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(0, 500, ALL_FLAGS)
    pins.low()
    pins.drive(0, 500, ALL_FLAGS)
    assert levels(factory) == {"pump": pytest.approx(0.5, abs=0.001), "enable": 1.0, "vent": 1.0, "dump": 1.0}


def test_letting_go_leaves_every_output_driven_low_and_none_closed(pins: GpioPins, factory: Recorded) -> None:
    """Closed, gpiozero's lines float."""
    pins.drive(0, 500, ALL_FLAGS)
    pins.beat()
    pins.let_go()
    for number in LINES.outputs:
        assert (factory.pin(number).function, bool(factory.pin(number).state)) == ("output", False), number
    assert factory.pin(12).frequency is None, "no PWM thread that could stop with its line high"


def test_venting_stops_the_pump_first_and_closing_starts_it_last(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(0, 400, ALL_FLAGS)
    assert [number for number, _ in factory.changes] == [16, 17, 12, 13]
    factory.changes.clear()
    pins.drive(0, 0, 0)
    assert factory.changes == [(13, 0.0), (16, 0.0), (17, 0.0), (12, 0.0)]


@pytest.mark.parametrize(
    ("duty", "percent"), [(290, 29), (570, 57), (4, 0), (5, 1), (155, 16), (995, 100), (1000, 100)]
)
def test_the_real_driver_truncates_to_the_per_cent_that_was_meant(
    pins: GpioPins, factory: Recorded, duty: int, percent: int
) -> None:
    pins.drive(0, duty, ALL_FLAGS)
    assert int(factory.pin(12).state * 100) == percent, "as gpiozero's lgpio pin does it"


def test_either_switch_of_the_pump_is_driven_alone_as_the_self_test_has_it(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(0, 600, BOTH_CLOSED)
    assert (round(factory.pin(12).state, 2), bool(factory.pin(13).state)) == (0.6, False)
    pins.drive(0, 0, ALL_FLAGS)
    assert (factory.pin(12).state, bool(factory.pin(13).state)) == (0.0, True)
    pins.drive(0, 0, 0)
    assert (factory.pin(12).state, bool(factory.pin(13).state)) == (0.0, False)


def test_what_does_not_change_is_not_written(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(0, 400, ALL_FLAGS)
    factory.changes.clear()
    pins.drive(0, 401, ALL_FLAGS)
    assert factory.changes == []
    pins.drive(0, 0, BOTH_CLOSED)
    assert factory.changes == [(13, 0.0), (12, 0.0)]


def test_a_channel_without_a_cuff_has_no_lines(pins: GpioPins, factory: Recorded) -> None:
    pins.drive(1, 1000, ALL_FLAGS)
    assert factory.changes == []


def test_the_stop_loop_is_whole_only_while_the_line_is_held_low(pins: GpioPins, factory: Recorded) -> None:
    assert not pins.estop_ok(), "nothing connected: pulled up, as a broken wire is"
    factory.pin(5).drive_low()
    assert pins.estop_ok()
    factory.pin(5).drive_high()
    assert not pins.estop_ok()
    assert factory.pin(5).bounce is None


def test_each_beat_is_one_edge(pins: GpioPins, factory: Recorded) -> None:
    for _ in range(4):
        pins.beat()
    assert factory.changes == [(26, 1.0), (26, 0.0), (26, 1.0), (26, 0.0)]


def test_the_lamp_is_written_when_it_changes(pins: GpioPins, factory: Recorded) -> None:
    for lit in (True, True, False, False):
        pins.show(lit)
    assert factory.changes == [(22, 1.0), (22, 0.0)]


def test_a_bench_may_have_neither_lamp_nor_heartbeat(factory: Recorded) -> None:
    bare = GpioPins(GuardLines((CuffLines(12, 13, 16, 17),), estop=5, heartbeat=None), factory)
    bare.beat()
    bare.show(True)
    bare.low()
    assert bare.chip is None


@pytest.mark.parametrize("module", ["pinctrl_bcm2835", "pinctrl_rp1"])
@pytest.mark.parametrize(("said", "outlive"), [("Y\n", True), ("1", True), ("", True), ("N\n", False), ("0\n", False)])
def test_a_kernel_that_keeps_outputs_is_found(tmp_path: Path, module: str, said: str, outlive: bool) -> None:
    parameter = tmp_path / "module" / module / "parameters" / "persist_gpio_outputs"
    parameter.parent.mkdir(parents=True)
    parameter.write_text(said)
    assert outputs_outlive(tmp_path) == (parameter if outlive else None)


def test_a_kernel_without_the_parameter_lets_go_of_outputs(tmp_path: Path) -> None:
    assert outputs_outlive(tmp_path) is None


def test_a_parameter_that_cannot_be_read_counts_as_kept(tmp_path: Path) -> None:
    parameter = tmp_path / "module" / "pinctrl_rp1" / "parameters" / "persist_gpio_outputs"
    parameter.mkdir(parents=True)
    assert outputs_outlive(tmp_path) == parameter
