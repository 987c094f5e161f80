"""The units, held against systemd's own tools: nothing unknown in them, nothing they do not need within their reach.

`systemd-analyze verify` exits 0 for a misspelt key, so what it prints is what is judged. It wants every command to
exist: the units are read with their own folder under /opt/manchet moved to one of the test's, and nothing else changed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller.bedside.paths import state_folder

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNITS = ("manchet-guard.service", "manchet.service")
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.usefixtures("systemd_analyze")


@pytest.fixture
def systemd_analyze() -> None:
    if ANALYZE is None:
        if os.environ.get("CI"):
            pytest.fail("needs systemd-analyze (package systemd), and CI must have it", pytrace=False)
        pytest.skip("needs systemd-analyze (package systemd)")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with both units, whose commands exist and do nothing."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    command = binaries / "manchet"
    command.write_text("#!/bin/sh\n", encoding="utf-8")
    command.chmod(0o755)
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (SYSTEMD / name).read_text(encoding="utf-8")
        assert "/opt/manchet/bin/" in text
        (folder / name).write_text(text.replace("/opt/manchet/bin/", f"{binaries}/"), encoding="utf-8")
    return folder


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *map(str, words)], capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )


def of(name: str) -> dict[str, list[str]]:
    """A unit's settings; a key may stand several times."""
    settings: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [("WatchdogSec=2", "WatchdgSec=2"), ("CPUSchedulingPolicy=rr", "CPUSchedulingPolicy=fast"), ("/bin/", "/nib/")],
)
def test_a_mistake_in_a_unit_is_seen(units: Path, right: str, wrong: str) -> None:
    unit = units / "manchet.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    assert analyze("verify", unit).stderr.strip()


@needs_systemd
def test_systemd_finds_nothing_to_say_about_the_units(units: Path) -> None:
    said = analyze("verify", *(units / name for name in UNITS))
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_what_a_unit_leaves_open_is_little(units: Path, name: str) -> None:
    said = analyze("security", "--offline=yes", "--threshold=25", "--no-pager", units / name)
    assert said.returncode == 0, said.stdout
    bare = units / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    assert analyze("security", "--offline=yes", "--threshold=25", "--no-pager", bare).returncode == 1


def test_the_process_that_raises_the_alarm_outlives_the_guard() -> None:
    controller = of("manchet.service")
    assert controller["Wants"] == controller["After"] == ["manchet-guard.service"]
    assert not {"BindsTo", "Requires", "Requisite", "PartOf"} & (controller.keys() | of("manchet-guard.service").keys())
    # `safe` ends a controller whose guard does not answer: never from the guard's own unit
    assert of("manchet-guard.service")["ExecStopPost"] == ["/opt/manchet/bin/manchet lines-low"]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_that_stops_leaves_the_sockets_of_the_other(name: str) -> None:
    """systemd removes a RuntimeDirectory= with the unit that stops, unless told to keep it."""
    unit = of(name)
    assert unit["RuntimeDirectory"] == unit["StateDirectory"] == ["manchet"]
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]
    # another owner than the folder has, and systemd would give everything in it to the new one
    assert (unit["User"], unit["Group"], unit["RuntimeDirectoryMode"]) == (["manchet"], ["manchet"], ["0700"])
    lines = re.findall(r"^d .*$", (SYSTEMD / "tmpfiles.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert lines[0] == "d /run/manchet 0700 manchet manchet -"


@pytest.mark.parametrize("name", UNITS)
def test_a_crash_loop_ends_and_every_end_is_made_safe(name: str) -> None:
    unit = of(name)
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert int(unit["StartLimitBurst"][0]) * float(unit["RestartSec"][0]) < float(unit["StartLimitIntervalSec"][0])
    assert re.search("manchet (safe|lines-low)", unit["ExecStopPost"][0])
    assert unit["RestartPreventExitStatus"] == ["2"]  # bad input, as in `manchet --help`
    assert unit["CPUSchedulingPolicy"] == ["rr"]
    assert unit["CPUSchedulingResetOnFork"] == ["yes" if name == "manchet-guard.service" else "no"]
    assert unit["LimitCORE"] == ["0"]  # a core file would hold up what comes after the end


def test_the_guard_goes_before_the_controller_and_no_network_reaches_it() -> None:
    guard, controller = of("manchet-guard.service"), of("manchet.service")
    assert int(guard["CPUSchedulingPriority"][0]) > int(controller["CPUSchedulingPriority"][0])
    assert guard["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert guard["IPAddressDeny"] == ["any"]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("bench-gpio.toml", True),
        ("bench-pico.toml", False),
        ("bench-simulated.toml", False),
    ],
)
def test_the_guard_unit_starts_where_the_guard_is_a_process(config: str, wanted: bool) -> None:
    (condition,) = of("manchet-guard.service")["ExecCondition"]
    program, options, pattern, path = re.fullmatch(r'(\S+) (\S+) "(.*)" (\S+)', condition).groups()  # type: ignore[union-attr]
    assert (program, path) == ("/usr/bin/grep", "/etc/manchet/bench.toml")
    found = subprocess.run([Path(program).name, options, pattern, SYSTEMD.parent / "config" / config], check=False)
    assert found.returncode == (0 if wanted else 1)


def test_by_hand_the_user_finds_the_state_of_the_services() -> None:
    """`systemd-sysusers` gives the home, `systemd-tmpfiles` leads from there to where STATE_DIRECTORY points."""
    users, folders = ((SYSTEMD / f"{name}.conf").read_text(encoding="utf-8") for name in ("sysusers", "tmpfiles"))
    (home,) = re.findall(r'^u manchet - ".*" (\S+)$', users, re.MULTILINE)
    by_hand = state_folder({"HOME": home}).relative_to(Path.home())
    made = {line.split()[1]: line.split() for line in folders.splitlines() if line[0] in "dL"}
    assert made[f"{home}/{by_hand}"] == ["L", f"{home}/{by_hand}", "-", "-", "-", "-", "/var/lib/manchet"]
    for folder in (home, *(f"{home}/{part}" for part in by_hand.parents[:-1])):
        assert made[folder][2:] == ["0700", "manchet", "manchet", "-"]


def test_the_limits_of_the_watchdogs() -> None:
    assert of("manchet.service")["WatchdogSec"] == of("manchet-guard.service")["WatchdogSec"] == ["2"]
    assert of("manchet.service")["TimeoutStopSec"] == of("manchet-guard.service")["TimeoutStopSec"] == ["10"]
    assert of("watchdog.conf")["RuntimeWatchdogSec"] == ["10"]  # bcm2835_wdt takes 15 s at most


COMMANDS = sorted(
    {
        command
        for name in UNITS
        for key in ("ExecStart", "ExecStopPost")
        for line in of(name)[key]
        for command in re.findall(r"/opt/manchet/bin/manchet ([a-z-]+)", line)
    }
)


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_unit_calls_is_a_command(command: str, tmp_path: Path) -> None:
    if command in ("guard", "lines-low") and importlib.util.find_spec("controller.cli.guard") is None:
        pytest.skip("this tree has no guard process")
    words = [command]
    if command == "lines-low":  # takes no option; in empty folders it has nothing to do
        if Path("/run/manchet").exists():
            pytest.skip("a bench is installed here, whose lines are not this test's")
    else:
        words.append("--help")
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path), "HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-m", "controller", *words], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
