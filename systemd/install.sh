#!/bin/sh
# Installs Manchet as two services on a Raspberry Pi (Raspberry Pi OS Bookworm or newer), or takes it back.
# `make install` and `make uninstall` call it. It says a line for each step, may be run again at any time, never touches
# what a clinic has written in /etc/manchet, and edits no boot configuration: it prints the lines to add.
#
#   systemd/install.sh install [--guard gpio|pico] [--root DIR] [--source DIR-OR-WHEEL]
#   systemd/install.sh uninstall [--root DIR]
#
# Without --guard it is what an installed /etc/manchet/bench.toml says, else gpio.
# --root DIR (or DESTDIR=DIR) lays everything below DIR, to look at: nothing is enabled, created or reloaded on this
# machine, and neither root nor systemd is asked for. PYTHON=... is the Python to install for, by default python3.
set -eu
umask 022

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PYTHON=${PYTHON:-python3}
ROOT=${DESTDIR:-}
GUARD=""
SOURCE=$(dirname -- "$HERE")
HOME_OF_IT=/opt/manchet
LAID=$HOME_OF_IT/share/laid # what was laid outside of it, a line each: what `uninstall` takes back
EXAMPLES=$HOME_OF_IT/share/examples
SLEEP_TARGETS="sleep.target suspend.target hibernate.target hybrid-sleep.target suspend-then-hibernate.target"

say() { printf '%s\n' "$*"; }

refuse() {
    printf 'manchet: %s\n' "$*" >&2
    exit 1
}

usage() {
    printf 'manchet: %s; see the head of systemd/install.sh\n' "$*" >&2
    exit 2
}

# --- what must be so ------------------------------------------------------------------------------------------------

check_system() {
    [ -z "$ROOT" ] || return 0
    [ "$(uname -s)" = Linux ] || refuse "needs Linux with systemd, this is $(uname -s); on a laptop there is \`make demo\`"
    [ -d /run/systemd/system ] || refuse "needs Linux with systemd, and no systemd runs here; on a laptop there is \`make demo\`"
    [ "$(id -u)" = 0 ] || refuse "needs root: run \`sudo make $1\`"
    for unit in manchet.service manchet-guard.service; do # nothing is changed under a session, nor as one starts or ends
        case $(systemctl is-active "$unit" 2>/dev/null || true) in
        active | reloading | activating | deactivating)
            refuse "$unit is running: end the session, then \`sudo systemctl stop manchet manchet-guard\`"
            ;;
        esac
    done
}

check_python() {
    command -v "$PYTHON" >/dev/null || refuse "$PYTHON: not found; needs Python 3.11 or newer (PYTHON=... names another one)"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        refuse "needs Python 3.11 or newer, $PYTHON is older (PYTHON=... names another one)"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        refuse "$PYTHON cannot make environments: run \`sudo apt-get install python3-venv\`"
}

check_way() { # the command's name may be taken by another installation
    command=$ROOT/usr/local/bin/manchet
    [ "$(readlink -- "$command" 2>/dev/null)" != "$HOME_OF_IT/bin/manchet" ] || return 0
    if [ -e "$command" ] || [ -L "$command" ]; then
        refuse "/usr/local/bin/manchet is in the way and is not ours: move it, then run this again"
    fi
}

# What the clinic's file says: its guard's kind, then the buses of sensors B, in one line; nothing where it cannot be read.
bench_says() {
    "$PYTHON" -c '
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    bench = tomllib.load(file)
print(bench["guard"]["kind"], *(cuff["sensor_b"]["bus"] for cuff in bench["cuffs"] if "sensor_b" in cuff))
' "$ROOT/etc/manchet/bench.toml" 2>/dev/null || true
}

choose_guard() { # an update goes by what is installed
    said=$(bench_says)
    said=${said%% *}
    case $said in gpio | pico) ;; *) said="" ;; esac
    if [ -z "$GUARD" ]; then
        GUARD=${said:-gpio}
        [ -z "$said" ] || say "guard: $GUARD, as /etc/manchet/bench.toml says"
    elif [ -n "$said" ] && [ "$said" != "$GUARD" ]; then
        say "guard: $GUARD, and /etc/manchet/bench.toml says $said: that file is yours, change it there"
    fi
}

# --- laying and remembering -----------------------------------------------------------------------------------------

remember() {
    grep -qxF -- "$1" "$ROOT$LAID" 2>/dev/null || printf '%s\n' "$1" >>"$ROOT$LAID"
}

folder() { # makes it and its parents, remembering those that were not there
    [ ! -d "$ROOT$1" ] || return 0
    folder "$(dirname -- "$1")"
    mkdir -- "$ROOT$1"
    case $1 in "$HOME_OF_IT"* | /etc/manchet*) ;; *) remember "$1/" ;; esac
}

lay() { # file, where: ours, so it is brought up to date
    folder "$(dirname -- "$2")"
    if cmp -s -- "$1" "$ROOT$2"; then
        say "as it was: $2"
    else
        install -m 0644 -- "$1" "$ROOT$2"
        say "laid: $2"
    fi
    remember "$2"
}

link() { # target, where, what it does
    folder "$(dirname -- "$2")"
    if [ "$(readlink -- "$ROOT$2" 2>/dev/null)" = "$1" ]; then
        say "as it was: $2 ($3)" # perhaps somebody's own: remembered only if we laid it
        return 0
    fi
    if [ -e "$ROOT$2" ] || [ -L "$ROOT$2" ]; then
        refuse "$2 is in the way and is not ours: move it, then run this again"
    fi
    ln -s -- "$1" "$ROOT$2"
    remember "$2"
    say "laid: $2 ($3)"
}

# A file of /etc/manchet is the clinic's as soon as it differs from what was laid last time. One that was never touched
# follows the new version: a correction of a preset must not be hidden by its old copy.
lay_for_the_clinic() { # file, where, the copy of what was laid last time
    folder "$(dirname -- "$2")"
    if [ ! -e "$ROOT$2" ]; then
        install -m 0644 -- "$1" "$ROOT$2"
        say "laid: $2"
    elif cmp -s -- "$1" "$ROOT$2"; then
        say "as it was: $2"
    elif [ -e "$ROOT$3" ] && cmp -s -- "$ROOT$3" "$ROOT$2"; then
        install -m 0644 -- "$1" "$ROOT$2"
        say "renewed: $2 (nobody had changed it)"
    else
        say "yours, not touched: $2 (this version's is $3)"
    fi
}

# --- install --------------------------------------------------------------------------------------------------------

make_environment() {
    parent=$(dirname -- "$HOME_OF_IT")
    made=""
    [ -d "$ROOT$parent" ] || made=$parent/
    mkdir -p -- "$ROOT$(dirname -- "$LAID")"
    [ -z "$made" ] || remember "$made"
    theirs=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    ours=$("$ROOT$HOME_OF_IT/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
    if [ "$ours" = "$theirs" ]; then
        say "as it was: $HOME_OF_IT (Python $ours)"
        return 0
    fi
    for part in bin include lib lib64 pyvenv.cfg; do # those of another Python, or of an install cut short
        rm -rf -- "$ROOT${HOME_OF_IT:?}/$part"
    done
    "$PYTHON" -m venv "$ROOT$HOME_OF_IT" || refuse "$HOME_OF_IT could not be made; what it said is above"
    say "made: $HOME_OF_IT (Python $theirs)"
}

install_wheel() {
    python="$ROOT$HOME_OF_IT/bin/python"
    wheel=$SOURCE
    built=""
    if [ -d "$SOURCE" ]; then
        built=$(mktemp -d)
        "$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$built" "$SOURCE" ||
            refuse "the wheel could not be built; what pip said is above. Run this again when it is mended"
        wheel=$(echo "$built"/manchet-*.whl)
    fi
    extras=pi
    [ "$GUARD" != pico ] || extras=pi,flash
    # first with what it needs, then itself once more: the same version may hold other code
    { "$python" -m pip --disable-pip-version-check install --quiet --upgrade "${wheel}[$extras]" &&
        "$python" -m pip --disable-pip-version-check install --quiet --force-reinstall --no-deps "$wheel"; } ||
        refuse "the wheel could not be installed; what pip said is above. Run this again when it is mended"
    [ -z "$built" ] || rm -rf -- "$built"
    say "installed: $(basename -- "$wheel") with extra $extras"
}

lay_configuration() {
    folder /etc/manchet/protocols
    lay_for_the_clinic "$CONFIG/bench-$GUARD.toml" /etc/manchet/bench.toml "$EXAMPLES/bench-$GUARD.toml"
    for file in "$CONFIG"/protocols/*.toml; do
        name=protocols/$(basename -- "$file")
        lay_for_the_clinic "$file" "/etc/manchet/$name" "$EXAMPLES/$name"
    done
    rm -rf -- "${ROOT}${EXAMPLES:?}"
    folder "$EXAMPLES"
    cp -R -- "$CONFIG"/. "$ROOT$EXAMPLES"
    say "laid: $EXAMPLES (every example of this version)"
}

lay_services() {
    lay "$HERE/sysusers.conf" /etc/sysusers.d/manchet.conf
    lay "$HERE/tmpfiles.conf" /etc/tmpfiles.d/manchet.conf
    lay "$HERE/modules.conf" /etc/modules-load.d/manchet.conf
    lay "$HERE/manchet.rules" /etc/udev/rules.d/70-manchet.rules
    lay "$HERE/watchdog.conf" /etc/systemd/system.conf.d/50-manchet-watchdog.conf
    for unit in manchet-guard.service manchet.service; do
        lay "$HERE/$unit" "/etc/systemd/system/$unit"
        link "/etc/systemd/system/$unit" "/etc/systemd/system/multi-user.target.wants/$unit" "starts at boot"
    done
    for target in $SLEEP_TARGETS; do
        link /dev/null "/etc/systemd/system/$target" "masked: a bench does not sleep"
    done
}

tell_systemd() {
    if [ -n "$ROOT" ]; then
        say "left out below $ROOT: user, folders, port names and systemd of this machine"
        return 0
    fi
    systemd-sysusers /etc/sysusers.d/manchet.conf
    say "made: user manchet, in the groups i2c, gpio and dialout"
    systemd-tmpfiles --create /etc/tmpfiles.d/manchet.conf
    say "made: /run/manchet"
    udevadm control --reload
    udevadm trigger --subsystem-match=tty
    say "reloaded: udev"
    systemctl daemon-reload
    say "reloaded: systemd; the services start at the next boot"
}

check_libraries() {
    [ -z "$ROOT" ] || return 0
    missing=$("$HOME_OF_IT/bin/python" -c '
from importlib.util import find_spec
print(*(name for name in ("lgpio", "gpiozero", "serial", "smbus2") if find_spec(name) is None))')
    [ -z "$missing" ] || refuse "installed, but $HOME_OF_IT lacks: $missing. Run this again with a network"
}

# A comment stands on a line of its own: behind a setting the firmware takes the # for a part of its value.
has_dtparam() { grep -Eq "^[[:space:]]*dtparam=([^#]*,)?$1(,[^#]*)?[[:space:]]*\$" "$boot"; }

has_second_bus() { grep -Eq "^[[:space:]]*dtoverlay=i2c([0-9]|-gpio)[^#]*\$" "$boot"; }

second_bus() { # the first bus of a sensor B that is on the Pi and not on bus 1; nothing where there is none
    words=$(bench_says)
    case $words in "gpio "*) ;; *) return 0 ;; esac
    for bus in ${words#gpio }; do
        if [ "$bus" != 1 ]; then
            say "$bus"
            return 0
        fi
    done
}

check_boot_configuration() {
    boot=""
    for file in "$ROOT/boot/firmware/config.txt" "$ROOT/boot/config.txt"; do
        [ -n "$boot" ] || [ ! -f "$file" ] || boot=$file
    done
    if [ -z "$boot" ]; then
        say "no config.txt found: on a Raspberry Pi it must hold dtparam=strict_gpiod and dtparam=i2c_arm=on,i2c_arm_baudrate=400000"
        return 0
    fi
    lines=""
    has_dtparam 'strict_gpiod(=on)?' || lines="dtparam=strict_gpiod"
    if ! has_dtparam i2c_arm=on || ! has_dtparam i2c_arm_baudrate=400000; then
        lines="$lines dtparam=i2c_arm=on,i2c_arm_baudrate=400000"
    fi
    bus=$(second_bus)
    if [ -n "$bus" ] && ! has_second_bus; then
        lines="$lines dtoverlay=i2c$bus,pins_4_5,baudrate=400000"
    fi
    if [ -z "$lines" ]; then
        say "as it should be: ${boot#"$ROOT"} (strict_gpiod, I2C at 400 kHz${bus:+, a second bus})"
        return 0
    fi
    say "ADD to ${boot#"$ROOT"}, below [all], then reboot:"
    for line in $lines; do say "    $line"; done
    case $lines in
    *strict_gpiod*) say "  without strict_gpiod a line keeps its level when its process dies, and the guard refuses to start" ;;
    esac
    case $lines in
    *dtoverlay*) say "  the overlay is a Pi 4's, for sensor B on bus $bus; other models have another: firmware_bridge/README.md" ;;
    esac
    ! grep -Eq '^[[:space:]]*dt(param|overlay)=[^#]*#' "$boot" ||
        say "  a line with a # behind its setting does not count: config.txt takes comments on lines of their own only"
}

do_install() {
    check_python
    check_system install
    check_way
    choose_guard
    CONFIG=$(dirname -- "$HERE")/config
    make_environment
    install_wheel
    link "$HOME_OF_IT/bin/manchet" /usr/local/bin/manchet "the command"
    lay_configuration
    lay_services
    tell_systemd
    check_libraries
    check_boot_configuration
    say "next: edit /etc/manchet/bench.toml, look at it with \`manchet check-config /etc/manchet/bench.toml\`, reboot,"
    say "and go through the first power-up in firmware_bridge/README.md. At the bench: sudo -u manchet manchet status"
}

# --- uninstall ------------------------------------------------------------------------------------------------------

do_uninstall() {
    check_system uninstall
    [ -d "$ROOT$HOME_OF_IT" ] || refuse "nothing to take back: $HOME_OF_IT is not there"
    [ ! -f "$ROOT$LAID" ] || while read -r path; do
        case $path in
        */) continue ;;
        esac
        if [ -e "$ROOT$path" ] || [ -L "$ROOT$path" ]; then
            rm -f -- "$ROOT$path"
            say "removed: $path"
        fi
    done <"$ROOT$LAID"
    folders=$(grep '/$' "$ROOT$LAID" 2>/dev/null | sort -r || true)
    rm -rf -- "${ROOT}${HOME_OF_IT:?}"
    say "removed: $HOME_OF_IT"
    for path in $folders; do # only those we made, and only empty ones
        if [ -d "$ROOT$path" ] && rmdir -- "$ROOT$path" 2>/dev/null; then say "removed: ${path%/}"; fi
    done
    if [ -z "$ROOT" ]; then
        rm -rf /run/manchet
        systemctl daemon-reload
        udevadm control --reload
        say "reloaded: systemd and udev"
    fi
    say "left: /etc/manchet (the clinic's settings), /var/lib/manchet (journals, calibration) and the user manchet, whose they are"
    say "left: config.txt, as you made it"
}

# --- what is asked for ----------------------------------------------------------------------------------------------

verb=${1:-}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$1: must be followed by a value"
    case $1 in
    --guard) GUARD=$2 ;;
    --root) ROOT=$2 ;;
    --source) SOURCE=$2 ;;
    *) usage "$1: unknown option" ;;
    esac
    shift 2
done
case $GUARD in "" | gpio | pico) ;; *) usage "--guard $GUARD: must be gpio or pico" ;; esac
case $ROOT in "" | /*) ROOT=${ROOT%/} ;; *) usage "--root $ROOT: must begin with /" ;; esac
case $verb in
install) do_install ;;
uninstall) do_uninstall ;;
*) usage "${verb:-nothing asked}: must be install or uninstall" ;;
esac
