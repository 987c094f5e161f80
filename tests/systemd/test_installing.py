"""The install script in a folder of its own: what it refuses, what it lays, what it leaves alone, what it takes back.

Nothing here installs on this machine: either `--root` is given, or what the script has to refuse is made so first.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import __version__
from controller.settings import load

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "systemd" / "install.sh"
ANALYZE = shutil.which("systemd-analyze")
MASKED = ("sleep", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate")
SYSTEM = {
    "etc/modules-load.d/manchet.conf": "modules.conf",
    "etc/systemd/system.conf.d/50-manchet-watchdog.conf": "watchdog.conf",
    "etc/systemd/system/manchet-guard.service": "manchet-guard.service",
    "etc/systemd/system/manchet.service": "manchet.service",
    "etc/sysusers.d/manchet.conf": "sysusers.conf",
    "etc/tmpfiles.d/manchet.conf": "tmpfiles.conf",
    "etc/udev/rules.d/70-manchet.rules": "manchet.rules",
}
LINKS = {
    "usr/local/bin/manchet": "/opt/manchet/bin/manchet",
    "etc/systemd/system/multi-user.target.wants/manchet.service": "/etc/systemd/system/manchet.service",
    "etc/systemd/system/multi-user.target.wants/manchet-guard.service": "/etc/systemd/system/manchet-guard.service",
    **{f"etc/systemd/system/{name}.target": "/dev/null" for name in MASKED},
}
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="installs on Linux only")

Run = Callable[..., subprocess.CompletedProcess[str]]


def run(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("DESTDIR", "PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [SCRIPT, *map(str, words)],
        env=clean | {"PYTHON": sys.executable} | environ,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def program(folder: Path, name: str, text: str) -> str:
    """A program of this name, and a PATH on which it comes first."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder: folders, what links say, what files hold."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "folder" if path.is_dir() else path.read_text(encoding="utf-8", errors="replace")
    return found


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing asked: must be install or uninstall"),
        (("upgrade",), "upgrade: must be install or uninstall"),
        (("install", "--guard", "arduino"), "--guard arduino: must be gpio or pico"),
        (("install", "--root", "here"), "--root here: must begin with /"),
        (("install", "--root"), "--root: must be followed by a value"),
        (("uninstall", "--all", "yes"), "--all: unknown option"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], said: str) -> None:
    ran = run(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"manchet: {said}; see the head of systemd/install.sh\n"


def test_an_old_python_is_refused_before_anything_is_laid(tmp_path: Path) -> None:
    program(tmp_path / "bin", "python3.9", "exit 1")
    ran = run("install", "--root", tmp_path / "root", PYTHON=str(tmp_path / "bin" / "python3.9"))
    assert ran.returncode == 1
    assert "needs Python 3.11 or newer" in ran.stderr
    assert not (tmp_path / "root").exists()


def test_a_missing_python_is_refused(tmp_path: Path) -> None:
    ran = run("install", "--root", tmp_path / "root", PYTHON="python3.0")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "python3.0: not found" in ran.stderr


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_another_system_is_refused(verb: str, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "uname", "echo Darwin")
    ran = run(verb, PATH=path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "manchet: needs Linux with systemd, this is Darwin; on a laptop there is `make demo`\n"


@needs_linux
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_who_is_not_root_is_refused(verb: str, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "id", "echo 1000")
    ran = run(verb, PATH=path)
    assert (ran.returncode, ran.stdout) == (1, "")
    if Path("/run/systemd/system").is_dir():
        assert ran.stderr == f"manchet: needs root: run `sudo make {verb}`\n"
    else:
        assert ran.stderr.startswith("manchet: needs Linux with systemd, and no systemd runs here")


def test_a_command_of_that_name_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    taken = tmp_path / "usr/local/bin/manchet"
    taken.parent.mkdir(parents=True)
    taken.write_text("somebody else's", encoding="utf-8")
    before = tree(tmp_path)
    ran = run("install", "--root", tmp_path)
    assert ran.returncode == 1
    assert "/usr/local/bin/manchet is in the way" in ran.stderr
    assert tree(tmp_path) == before


def test_there_may_be_nothing_to_take_back(tmp_path: Path) -> None:
    ran = run("uninstall", "--root", tmp_path)
    assert (ran.returncode, ran.stderr) == (1, "manchet: nothing to take back: /opt/manchet is not there\n")


# --- what it does ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "-w", folder]
    subprocess.run([*words, ROOT], check=True, timeout=200, cwd=folder)
    (found,) = folder.glob("manchet-*.whl")
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with a boot configuration, somebody's masked target and nothing of ours."""
    folder = tmp_path / "root"
    (folder / "boot/firmware").mkdir(parents=True)
    (folder / "boot/firmware/config.txt").write_text("# dtparam=strict_gpiod\ndtparam=audio=on,i2c_arm=on\n[all]\n")
    (folder / "etc/systemd/system").mkdir(parents=True)
    (folder / "etc/systemd/system/suspend.target").symlink_to("/dev/null")
    return folder


@pytest.fixture
def install(wheel: Path, root: Path) -> Run:
    """The wheel goes in alone: what it needs is this environment's, and nothing is fetched."""

    def install_it(*words: str | Path) -> subprocess.CompletedProcess[str]:
        ran = run("install", "--root", root, "--source", wheel, *words, PIP_NO_DEPS="1", PIP_NO_INDEX="1")
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran

    return install_it


def ours(root: Path) -> dict[str, str]:
    """What is there beside the environment, whose files pip and Python see to."""
    return {name: text for name, text in tree(root).items() if not name.startswith("opt/manchet/")}


@needs_linux
@pytest.mark.process
def test_install_and_uninstall(install: Run, root: Path, tmp_path: Path) -> None:
    before = ours(root)
    said = install().stdout
    everything_is_laid(root, said)
    the_command_runs(root, tmp_path)
    the_installed_units_are_clean(root, tmp_path)

    # a second time: nothing new, nothing of the clinic's touched, what nobody changed follows the version
    laid = ours(root)
    bench = root / "etc/manchet/bench.toml"
    bench.write_text(bench.read_text(encoding="utf-8").replace('"bench-1"', '"room-4"'), encoding="utf-8")
    own = root / "etc/manchet/protocols/our-own.toml"
    own.write_text("# ours\n", encoding="utf-8")
    old = root / "opt/manchet/share/examples/protocols/occlusion.toml"
    old.write_text("# what the last version laid\n", encoding="utf-8")
    shutil.copy(old, root / "etc/manchet/protocols/occlusion.toml")
    (root / "etc/sysusers.d/manchet.conf").write_text("# half written\n", encoding="utf-8")
    said = install("--guard", "pico").stdout
    clinic = {"etc/manchet/bench.toml": bench.read_text(encoding="utf-8"), str(own.relative_to(root)): "# ours\n"}
    assert '"room-4"' in clinic["etc/manchet/bench.toml"]
    assert ours(root) == laid | clinic
    assert "yours, not touched: /etc/manchet/bench.toml" in said
    assert "renewed: /etc/manchet/protocols/occlusion.toml (nobody had changed it)" in said
    assert "laid: /etc/sysusers.d/manchet.conf" in said
    assert "as it was: /etc/systemd/system/manchet.service" in said

    # and back
    state = root / "var/lib/manchet/bench-1.sqlite"
    state.parent.mkdir(parents=True)
    state.write_text("a journal", encoding="utf-8")
    kept = {name: text for name, text in tree(root).items() if name.startswith(("etc/manchet", "var"))}
    gone = run("uninstall", "--root", root)
    assert (gone.returncode, gone.stderr) == (0, "")
    assert tree(root) == before | kept
    assert "left: /etc/manchet (the clinic's settings), /var/lib/manchet (journals, calibration)" in gone.stdout
    for name in (*SYSTEM, *LINKS):
        removed = f"removed: /{name}\n" in gone.stdout
        assert removed is (name != "etc/systemd/system/suspend.target"), name


def everything_is_laid(root: Path, said: str) -> None:
    for name, source in SYSTEM.items():
        assert (root / name).read_bytes() == (ROOT / "systemd" / source).read_bytes(), name
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o644, name
        assert f"laid: /{name}\n" in said
    for name, target in LINKS.items():
        assert str((root / name).readlink()) == target, name
        assert f"/{name} (" in said
    examples = [path for path in (ROOT / "config").rglob("*") if path.suffix in (".toml", ".json")]
    assert {path.name for path in examples} >= {"bench-gpio.toml", "bench-pico.toml", "board-pico.json"}
    for source in examples:
        copy = root / "opt/manchet/share/examples" / source.relative_to(ROOT / "config")
        assert copy.read_bytes() == source.read_bytes()
    protocols = {path.name: path.read_bytes() for path in (ROOT / "config/protocols").glob("*.toml")}
    assert {path.name: path.read_bytes() for path in (root / "etc/manchet/protocols").iterdir()} == protocols
    assert load(root / "etc/manchet/bench.toml").guard.kind == "gpio"
    lines = said.splitlines()
    assert "ADD to /boot/firmware/config.txt, below [all], then reboot:" in lines
    assert {"    dtparam=strict_gpiod", "    dtparam=i2c_arm=on,i2c_arm_baudrate=400000"} <= set(lines)
    assert "# dtparam=strict_gpiod" in (root / "boot/firmware/config.txt").read_text(), "only said, never edited"


def the_command_runs(root: Path, tmp_path: Path) -> None:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if not found.name.lower().startswith(("manchet", "_manchet", "controller", "firmware_bridge", "__editable__")):
            (libraries / found.name).symlink_to(found)
    environ = os.environ | {"PYTHONPATH": str(libraries)}
    command = root / "opt/manchet/bin/manchet"
    for words in (("--version",), ("check-config", root / "etc/manchet/bench.toml"), ("protocols",)):
        ran = subprocess.run([command, *words], env=environ, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout
    where = subprocess.run(
        [command.with_name("python"), "-c", "import controller; print(controller.__file__, controller.__version__)"],
        env=environ,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout
    assert where.startswith(f"{root}/opt/manchet/lib/")
    assert where.endswith(f"{__version__}\n")


def the_installed_units_are_clean(root: Path, tmp_path: Path) -> None:
    """What `systemd-analyze verify` finds wanting when every command is looked for where it was installed."""
    if ANALYZE is None:
        assert not os.environ.get("CI"), "needs systemd-analyze (package systemd), and CI must have it"
        return
    folder = tmp_path / "units"
    folder.mkdir()
    for name in ("manchet-guard.service", "manchet.service"):
        text = (root / "etc/systemd/system" / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("/opt/manchet/", f"{root}/opt/manchet/"), encoding="utf-8")
    said = subprocess.run(
        [ANALYZE, "verify", *folder.iterdir()], capture_output=True, text=True, timeout=60, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


# --- the boot configuration ------------------------------------------------------------------------------------------

GOOD = "dtparam=i2c_arm=on,i2c_arm_baudrate=400000\ndtparam=strict_gpiod\n"


@needs_linux
@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (GOOD, ()),
        ("dtparam=i2c_arm=on\n  dtparam=i2c_arm_baudrate=400000\ndtparam=audio=on,strict_gpiod=on\n", ()),
        ("# fast\n" + GOOD, ()),
        (GOOD.replace("=400000", "=400000 # fast"), ("i2c", "comment")),
        (GOOD.replace("strict_gpiod", "strict_gpiod # lines fall"), ("strict", "comment")),
        (GOOD.replace("=400000", "=100000"), ("i2c",)),
        (GOOD.replace("=400000", "=4000000"), ("i2c",)),
        (GOOD.replace("i2c_arm=on", "i2c_arm=off"), ("i2c",)),
        (GOOD.replace("strict_gpiod", "strict_gpiod=off"), ("strict",)),
        (GOOD.replace("dtparam=strict", "#dtparam=strict"), ("strict",)),
        (GOOD.replace("dtparam=strict", "dtparam=audio=on # strict"), ("strict", "comment")),
        ("", ("strict", "i2c")),
    ],
)
def test_the_boot_configuration_is_read_and_not_edited(text: str, missing: tuple[str, ...], tmp_path: Path) -> None:
    """The step alone: the script's functions, without what comes before."""
    config = tmp_path / "boot/firmware/config.txt"
    config.parent.mkdir(parents=True)
    config.write_text(text, encoding="utf-8")
    said = step("check_boot_configuration", tmp_path)
    assert ("    dtparam=strict_gpiod\n" in said) is ("strict" in missing)
    assert ("    dtparam=i2c_arm=on,i2c_arm_baudrate=400000\n" in said) is ("i2c" in missing)
    assert ("a # behind its setting does not count" in said) is ("comment" in missing)
    assert ("as it should be: /boot/firmware/config.txt" in said) is (not missing)
    assert config.read_text(encoding="utf-8") == text


@needs_linux
@pytest.mark.parametrize(
    ("bench", "overlay", "asked_for"),
    [
        ("bench-gpio.toml", "", True),
        ("bench-gpio.toml", "#dtoverlay=i2c3,pins_4_5\n", True),
        ("bench-gpio.toml", "dtoverlay=i2c3,pins_4_5 # sensors B\n", True),
        ("bench-gpio.toml", "dtoverlay=i2c-rtc,ds3231\n", True),
        ("bench-gpio.toml", "dtoverlay=i2c3,pins_4_5,baudrate=400000\n", False),
        ("bench-gpio.toml", "dtoverlay=i2c2-pi5,baudrate=400000\n", False),
        ("bench-gpio.toml", "dtoverlay=i2c-gpio,bus=3\n", False),
        ("bench-pico.toml", "", False),  # its second bus is the board's
        ("bench-simulated.toml", "", False),
        (None, "", False),
    ],
)
def test_a_sensor_b_on_a_second_bus_has_its_overlay(
    bench: str | None, overlay: str, asked_for: bool, tmp_path: Path
) -> None:
    config = tmp_path / "boot/firmware/config.txt"
    config.parent.mkdir(parents=True)
    config.write_text(GOOD + overlay, encoding="utf-8")
    (tmp_path / "etc/manchet").mkdir(parents=True)
    if bench is not None:
        shutil.copy(ROOT / "config" / bench, tmp_path / "etc/manchet/bench.toml")
    said = step("check_boot_configuration", tmp_path)
    assert ("    dtoverlay=i2c3,pins_4_5,baudrate=400000\n" in said) is asked_for
    assert ("for sensor B on bus 3; other models have another" in said) is asked_for
    assert config.read_text(encoding="utf-8") == GOOD + overlay


# --- which guard -----------------------------------------------------------------------------------------------------


@needs_linux
@pytest.mark.parametrize(
    ("bench", "asked", "guard", "told"),
    [
        (None, "", "gpio", ""),
        (None, "pico", "pico", ""),
        ("bench-pico.toml", "", "pico", "guard: pico, as /etc/manchet/bench.toml says\n"),
        ("bench-gpio.toml", "", "gpio", "guard: gpio, as /etc/manchet/bench.toml says\n"),
        ("bench-gpio.toml", "pico", "pico", "guard: pico, and /etc/manchet/bench.toml says gpio: that file is yours,"),
        ("bench-pico.toml", "pico", "pico", ""),
        ("bench-simulated.toml", "", "gpio", ""),
        ("no TOML", "", "gpio", ""),
    ],
)
def test_an_update_goes_by_the_installed_bench(
    bench: str | None, asked: str, guard: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "etc/manchet").mkdir(parents=True)
    if bench is not None:
        source = ROOT / "config" / bench
        text = source.read_text(encoding="utf-8") if source.is_file() else bench
        (tmp_path / "etc/manchet/bench.toml").write_text(text, encoding="utf-8")
    said = step(f'GUARD="{asked}"; choose_guard; say "it is $GUARD"', tmp_path)
    assert said.startswith(told)
    assert said.endswith(f"it is {guard}\n")
    assert (said == f"it is {guard}\n") is (not told)


def step(words: str, root: Path) -> str:
    """The script's functions, without what comes before, and these words; what was said."""
    functions, mark, _ = SCRIPT.read_text(encoding="utf-8").partition("# --- what is asked for")
    assert mark
    functions = re.sub(r"(?m)^HERE=.*$", f"HERE={SCRIPT.parent}", functions)
    return subprocess.run(
        ["sh", "-c", f"{functions}\n{words}"],
        env=os.environ | {"DESTDIR": str(root), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
