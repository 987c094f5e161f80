"""SAFETY.md is the table of the rules: one without a row, or a row without its test, fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from controller.core import bench_rules, pressure_rules, safety, seeing, trust_rules
from controller.core.alarms import CONDITIONS
from controller.core.safety import REACTIONS
from controller.core.selftest_rows import ROWS
from firmware_bridge.firmware import wire

HERE = Path(__file__).parent
TABLE = (HERE.parents[1] / "controller" / "SAFETY.md").read_text(encoding="utf-8")
HAZARDS = set(re.findall(r"^\| (H-\d\d) \|", TABLE, re.MULTILINE))


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of one table, by the name in their first column."""
    section = TABLE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): row for row in cells if row[0].startswith("`")}


RULES = rows("Rules of the controller")
GUARD = rows("Rules of the guard")
OTHERS = rows("Conditions that only alarm")
SELFTEST = rows("The self-test")


def test_every_rule_has_a_row_and_every_row_a_rule() -> None:
    assert set(RULES) == set(REACTIONS)


def test_every_row_of_the_self_test_has_a_row_with_its_hazard_its_limit_and_its_test() -> None:
    assert list(SELFTEST) == list(ROWS)
    for row, (_, hazard, when, limit, test) in SELFTEST.items():
        assert hazard in HAZARDS
        assert when
        assert re.fullmatch(r"`test_\w+\.py::test_\w+`", test), row
        for bound in (ROWS[row].low, ROWS[row].high):
            if 0.0 < abs(bound) < 1000.0 and row not in ("estop", "refusal", "confirmed", "sensors"):
                assert f"{abs(bound):g}" in limit, row


def test_every_reason_of_the_guard_has_a_row_and_every_row_a_reason() -> None:
    assert set(GUARD) == {word for word in wire.TRIP_WORDS if word}


def test_every_condition_is_in_one_of_the_tables() -> None:
    assert set(CONDITIONS) == set(RULES) | set(OTHERS)
    assert not set(RULES) & set(OTHERS)


@pytest.mark.parametrize("condition", sorted(OTHERS))
def test_the_priority_is_the_one_of_the_code(condition: str) -> None:
    row = CONDITIONS[condition]
    assert OTHERS[condition][1] == f"{row.priority}{', latched' if row.latching else ''}"


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_row_says_what_the_code_says(rule: str) -> None:
    _, hazard, when, limit, does, test, remains = RULES[rule]
    assert hazard in HAZARDS
    assert all((when, limit, test, remains))
    assert does.startswith(REACTIONS[rule].value)
    code = getattr(bench_rules, rule, None) or getattr(safety, rule)
    assert (code.__doc__ or "").startswith(f"{hazard}: ")
    assert ("take the cuff off" in does) is (rule in ("tube_blocked", "no_fall", "not_released"))


@pytest.mark.parametrize("reason", sorted(GUARD))
def test_a_row_of_the_guard_names_its_hazard(reason: str) -> None:
    assert GUARD[reason][1] in HAZARDS


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(test_\w+\.py::test_\w+)`", TABLE))))
def test_every_test_that_is_named_exists(named: str) -> None:
    file, function = named.split("::")
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in HERE.parent.rglob(file)]
    assert function in {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_rule_names_a_test() -> None:
    for rule, row in RULES.items():
        assert re.fullmatch(r"`test_\w+\.py::test_\w+`", row[5]), rule


@pytest.mark.parametrize("room", [seeing, pressure_rules, trust_rules, bench_rules, safety])
def test_every_hazard_in_the_code_is_in_the_table(room: object) -> None:
    source = Path(str(room.__file__)).read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert set(re.findall(r"H-\d\d", source)) <= HAZARDS


def test_every_hazard_has_a_rule() -> None:
    assert {row[1] for row in RULES.values()} == HAZARDS


def test_it_says_what_it_is_not() -> None:
    assert "This is not a certified medical device." in TABLE
