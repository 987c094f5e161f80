"""`lines-low` and `safe` on the lines that a dead guard has left: driven low where nobody holds them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.__main__ import main
from controller.cli.lines import drive_low

BUSY, NO_CHIP, BAD = -79, -78, -5


class Chip:
    """What lgpio is asked for; `answers` by line, 0 where nothing else is said."""

    GPIO_BUSY = BUSY

    def __init__(self) -> None:
        self.exceptions = True
        self.answers: dict[int, int] = {}
        self.opened: list[int] = []
        self.low: list[tuple[int, int]] = []
        self.chip_answer = 7

    def gpiochip_open(self, chip: int) -> int:
        self.opened.append(chip)
        return self.chip_answer

    def gpio_claim_output(self, handle: int, line: int, level: int) -> int:
        assert (handle, level, self.exceptions) == (7, 0, False)
        answer = self.answers.get(line, 0)
        if answer == 0:
            self.low.append((self.opened[-1], line))
        return answer

    def error_text(self, number: int) -> str:
        return f"error {number}"


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch, runtime: Path) -> Chip:
    made = Chip()
    monkeypatch.setitem(sys.modules, "lgpio", made)
    monkeypatch.setattr("controller.cli.lines.runtime_folders", lambda: [runtime])
    monkeypatch.setenv("LG_WD", str(runtime))
    return made


@pytest.fixture
def listed(runtime: Path) -> Path:
    path = runtime / "b1.lines.json"
    path.write_text(json.dumps({"bench_id": "b1", "chip": 4, "lines": [13, 12, 16, 17]}))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"chip": 0}',
        '{"chip": "a", "lines": []}',
        '{"chip": 0, "lines": 3}',
        '{"chip": 0, "lines": [2]}',
    ],
)
def test_a_list_that_cannot_be_read_is_a_failure_that_says_what_to_do(runtime: Path, text: str, chip: Chip) -> None:
    path = runtime / "b1.lines.json"
    path.write_text(text)
    done, words = drive_low(path)
    assert not done
    assert "cut the supply of pump and valves" in words
    assert chip.low == []


def test_without_lgpio_no_line_can_be_driven(
    listed: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", None)
    assert main(["lines-low"]) == 1
    assert "lgpio is not installed" in capsys.readouterr().out
    assert (listed.exists(), chip.low) == (True, [])


def test_a_chip_that_does_not_open(listed: Path, chip: Chip) -> None:
    chip.chip_answer = NO_CHIP
    assert drive_low(listed) == (False, "GPIO chip 4: error -78: cut the supply of pump and valves")


def test_a_line_that_is_held_is_left_and_one_that_fails_does_not_keep_the_others(
    listed: Path, chip: Chip, capsys: pytest.CaptureFixture[str]
) -> None:
    chip.answers = {12: BAD, 16: BUSY}
    assert main(["lines-low"]) == 1
    assert chip.low == [(4, 13), (4, 17)]
    said = capsys.readouterr().out
    assert said.startswith(f"{listed}: driven low: GPIO 13, 17; held by another process and left to it: GPIO 16; NOT")
    assert "NOT low: GPIO 12: error -5: cut the supply" in said


def test_every_line_low_or_held_is_exit_0(listed: Path, chip: Chip) -> None:
    assert listed.exists()
    chip.answers = {13: BUSY}
    assert main(["lines-low"]) == 0


def test_nothing_listed_is_exit_0(chip: Chip) -> None:
    assert main(["lines-low"]) == 0
    assert chip.opened == []


def test_another_users_folder_is_passed_over(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pattern: str) -> None:
        raise PermissionError

    monkeypatch.setattr("controller.cli.lines.runtime_folders", lambda: [SimpleNamespace(glob=refuse)])
    assert main(["lines-low"]) == 0
    assert chip.opened == []


# --- safe ------------------------------------------------------------------------------------------------------------


def test_safe_drives_a_dead_guards_lines_low_and_does_not_call_it_empty(
    listed: Path, chip: Chip, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["safe"]) == 1
    said = capsys.readouterr().out
    assert f"{listed}: driven low: GPIO 13, 12, 16, 17" in said
    assert "NOT confirmed vented: b1" in said
    assert len(chip.low) == 4


def test_safe_takes_the_controllers_word_for_empty(listed: Path, chip: Chip, bench: Any) -> None:
    bench.shown = [
        {
            "type": "snapshot",
            "cuffs": [{"a_mmhg": 2.0, "b_mmhg": 1.0, "pump_duty": 0.0, "vent_open": True, "dump_open": True}],
        }
    ]
    assert listed.exists()
    assert main(["safe"]) == 0
    assert len(chip.low) == 4
