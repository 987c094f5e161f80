"""The same scenario with each guard: a Pico's own pass and sensors end where the guard process's do, tick by tick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.prescription.protocol import load_protocol
from controller.scenario.faults import FAULTS, parse
from controller.scenario.run import Lived, Scenario, run_lived, run_scenario

SHORT = load_protocol(Path(__file__).parents[1] / "faults" / "short.toml")
# A board that hangs is reset by its watchdog and comes back as another boot; what the guard process does, systemd says.
OTHERWISE = {"guard_hung"}


def lived(guard: str, fault: str = "", cuffs: int = 1, seed: int = 1) -> dict[str, Any]:
    faults = (parse(fault, cuffs),) if fault else ()
    result = run_scenario(Scenario(SHORT, cuffs=cuffs, seed=seed, faults=faults, guard=guard))
    return {key: value for key, value in result.items() if key not in ("wall_s", "x_real_time", "guard")}


@pytest.mark.parametrize(("cuffs", "seed"), [(1, 1), (1, 2), (2, 3)])
def test_a_session_is_the_same_to_the_tick(cuffs: int, seed: int) -> None:
    pico = lived("pico", cuffs=cuffs, seed=seed)
    assert pico["outcome"] == "completed"
    assert pico == lived("gpio", cuffs=cuffs, seed=seed)


OF_THE_GUARD = ("b_", "link_", "guard_", "estop", "control_stalls", "pump_stuck_on")  # what a board itself answers


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault.startswith(OF_THE_GUARD) else pytest.mark.sweep)
        for fault in sorted(set(FAULTS) - OTHERWISE)
    ],
)
def test_a_fault_ends_the_same_way(fault: str) -> None:
    said = f"{fault}@working+2"
    assert lived("pico", said) == lived("gpio", said)


def test_a_board_that_hangs_is_reset_by_its_watchdog_and_the_first_trip_is_the_same() -> None:
    pico, process = (lived(guard, "guard_hung@working+2:1") for guard in ("pico", "gpio"))
    assert pico["outcome"] == process["outcome"] == "tripped"
    assert pico["trips"][0]["rule"] == process["trips"][0]["rule"]
    for one in (pico, process):
        assert one["trips"][0]["below_15_after_s"] < 3.0


def test_a_board_that_hung_comes_back_as_another_boot() -> None:
    boots: set[int] = set()

    def look(one: Lived) -> None:
        one.control.watch(lambda *_: boots.add(one.bench.guard.guard.boot_id))

    run_lived(Scenario(SHORT, faults=(parse("guard_hung@working+2:1", 1),), guard="pico"), look)
    assert len(boots) == 2
