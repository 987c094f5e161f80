"""Where sockets, locks and state live. Imports the standard library only (`safe` and the verbs begin here)."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

SOCKET_PATH_MAX: Final = 103  # bytes; macOS takes 103 and a NUL, Linux 107
BENCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")  # also part of an MQTT topic and of a file name


class FolderRefused(Exception):
    """A folder cannot be used. The message is a sentence with the folder and what to do."""


def runtime_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this process makes its sockets. Not made yet."""
    for name, below in (("RUNTIME_DIRECTORY", ""), ("XDG_RUNTIME_DIR", "manchet")):
        value = environ.get(name, "").split(":")[0]  # systemd lists several with colons
        if value:
            return Path(value, below)
    return _own_folder()


def runtime_folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where a bench of this machine may have made its sockets, whoever started it; only folders that exist."""
    here = [runtime_folder(environ), _own_folder(), Path(f"/run/user/{os.getuid()}/manchet"), Path("/run/manchet")]
    if os.geteuid() == 0:
        here += sorted(Path("/run/user").glob("*/manchet"))
        here += sorted(Path(tempfile.gettempdir()).glob("manchet-*"))
    found: list[Path] = []
    for folder in here:
        if folder not in found and _is_folder(folder):
            found.append(folder)
    return found


def hidden_folders(folders: list[Path]) -> list[Path]:
    """Those that this user may not look into, as /run/manchet is the service's own: a bench may be there."""
    return [folder for folder in folders if not os.access(folder, os.R_OK | os.X_OK)]


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where journals are kept. Not made yet."""
    value = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(value) if value else Path.home() / ".local" / "state" / "manchet"


SERVICE_STATE: Final = Path("/var/lib/manchet")  # StateDirectory of systemd/manchet.service


def calibration_folder(environ: Mapping[str, str] = os.environ, service: Path = SERVICE_STATE) -> Path:
    """Where the calibration of this machine's bench is kept. Raises FolderRefused: a service keeps it, and what this
    user wrote without saying where would lie where the service never looks."""
    folder = state_folder(environ)
    if not environ.get("STATE_DIRECTORY") and service.is_dir() and not (folder.exists() and folder.samefile(service)):
        raise FolderRefused(
            f"the service of this machine keeps its calibration in {service}, and from here it would go to {folder}: "
            "put `sudo -u manchet` before the command, or say where with --state DIR"
        )
    return folder


def make_state(folder: Path) -> Path:
    """Make the folder for journals if need be. Raises FolderRefused: it cannot be made or written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise FolderRefused(
            f"{folder}: cannot be written: {error.strerror}; set STATE_DIRECTORY to another folder, or `journal` in "
            "the bench's file"
        ) from error


def make_private(folder: Path) -> Path:
    """Make the folder if need be and see that it is ours alone (0700).

    Raises FolderRefused: it cannot be made, is no folder, or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise FolderRefused(f"{folder}: is not a folder; remove it or set RUNTIME_DIRECTORY to another one")
        if found.st_uid != os.geteuid():
            raise FolderRefused(
                f"{folder}: belongs to user {found.st_uid}, not to {os.geteuid()}; set RUNTIME_DIRECTORY to a folder "
                "of your own"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise FolderRefused(
            f"{folder}: cannot be used: {error.strerror}; set RUNTIME_DIRECTORY to another one"
        ) from error
    return folder


def control_socket(folder: Path, bench_id: str) -> Path:
    """Where the bench's command socket is. Raises FolderRefused where the path is too long for a socket."""
    path = folder / f"{bench_id}.sock"
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise FolderRefused(
            f"{path}: {len(os.fsencode(path))} bytes: must be at most {SOCKET_PATH_MAX} for a socket; set "
            "RUNTIME_DIRECTORY to a shorter folder"
        )
    return path


def guard_socket(folder: Path, bench_id: str) -> Path:
    """Where the bench's guard process listens. Raises FolderRefused where the path is too long for a socket."""
    return control_socket(folder, f"{bench_id}.guard")


def guard_lines(folder: Path, bench_id: str) -> Path:
    """Where the bench's guard process says which lines it owns."""
    return folder / f"{bench_id}.lines.json"


def world_socket(folder: Path, bench_id: str) -> Path:
    """Where the physics of a bench whose wires end in simulation listens. Raises FolderRefused as the others."""
    return control_socket(folder, f"{bench_id}.world")


def control_sockets(folders: list[Path]) -> Iterator[Path]:
    """Every command socket in these folders, alive or dead, in a stable order."""
    return (path for path in _sockets(folders) if "." not in path.stem)  # no bench's name has a dot in it


def guard_sockets(folders: list[Path]) -> Iterator[Path]:
    """Every guard process's socket in these folders, alive or dead."""
    return (path for path in _sockets(folders) if path.name.endswith(".guard.sock"))


def _sockets(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            paths = sorted(folder.glob("*.sock"))
        except OSError:  # another user's: nothing we could talk to
            continue
        yield from (path for path in paths if path.is_socket())


def _own_folder() -> Path:
    return Path(tempfile.gettempdir(), f"manchet-{os.getuid()}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
