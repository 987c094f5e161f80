"""Where sockets and state live, and which folders are refused."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.bedside import paths
from controller.bedside.paths import (
    SOCKET_PATH_MAX,
    FolderRefused,
    calibration_folder,
    control_socket,
    control_sockets,
    guard_sockets,
    make_private,
    runtime_folder,
    runtime_folders,
    state_folder,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mb") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/manchet", "XDG_RUNTIME_DIR": "/run/user/7"}, "/run/manchet"),
        ({"RUNTIME_DIRECTORY": "/run/manchet:/run/other"}, "/run/manchet"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/manchet"),
        ({"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": ""}, f"{tempfile.gettempdir()}/manchet-{os.getuid()}"),
    ],
)
def test_runtime_folder(environ: dict[str, str], expected: str) -> None:
    assert runtime_folder(environ) == Path(expected)


def test_state_folder() -> None:
    assert state_folder({"STATE_DIRECTORY": "/var/lib/manchet:/x"}) == Path("/var/lib/manchet")
    assert state_folder({}) == Path.home() / ".local/state/manchet"


def test_calibration_goes_where_the_service_of_this_machine_looks_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sudo manchet calibrate` would write to root's home, and the bench would keep what it had."""
    service, home = folder / "service", folder / "home"
    monkeypatch.setenv("HOME", str(home))
    by_user = home / ".local/state/manchet"
    assert calibration_folder({}, service) == by_user  # no service here
    service.mkdir()
    for _ in range(2):
        with pytest.raises(FolderRefused, match=f"keeps its calibration in {service}, and from here .* {by_user}: put"):
            calibration_folder({}, service)
        by_user.mkdir(parents=True, exist_ok=True)
    assert calibration_folder({"STATE_DIRECTORY": str(home)}, service) == home  # it was said where
    by_user.rmdir()
    by_user.symlink_to(service)  # as systemd/tmpfiles.conf has it for the service's own user
    assert calibration_folder({}, service) == by_user


def test_a_made_folder_is_ours_alone(folder: Path) -> None:
    made = make_private(folder / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o777)
    assert stat.S_IMODE(make_private(made).stat().st_mode) == 0o700


def test_a_file_a_link_and_somebody_elses_folder_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("x")
    with pytest.raises(FolderRefused, match="cannot be used"):
        make_private(folder / "file")
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")  # another user could have put it there
    with pytest.raises(FolderRefused, match="not a folder"):
        make_private(folder / "link")
    monkeypatch.setattr(paths.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(FolderRefused, match="belongs to user"):
        make_private(folder / "real")


def test_a_socket_path_that_no_socket_can_have_is_refused(folder: Path) -> None:
    assert control_socket(folder, "b1").name == "b1.sock"
    with pytest.raises(FolderRefused, match=f"must be at most {SOCKET_PATH_MAX}"):
        control_socket(folder / ("x" * 100), "b1")


def test_sockets_are_found_and_other_files_are_not(folder: Path) -> None:
    for name in ("b2.sock", "b1.sock", "b1.guard.sock"):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(folder / name))
    (folder / "b3.sock").write_text("no socket")
    assert [path.name for path in control_sockets([folder])] == ["b1.sock", "b2.sock"]
    assert [path.name for path in guard_sockets([folder])] == ["b1.guard.sock"]


def test_every_folder_that_a_bench_may_have_used_is_looked_into(folder: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    assert folder / "manchet" not in runtime_folders(environ)  # it does not exist
    (folder / "manchet").mkdir()
    found = runtime_folders(environ)
    assert found[0] == folder / "manchet"
    assert len(found) == len(set(found))
