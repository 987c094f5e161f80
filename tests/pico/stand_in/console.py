"""The raw console of a board, for the real mpremote: the unix MicroPython has none of its own.

https://docs.micropython.org/en/latest/reference/repl.html: Ctrl-A enters it, Ctrl-D runs what was typed, or resets
softly where nothing was. The current folder becomes the root, as a board's flash is.
"""

import io
import os
import sys

import vfs

BANNER = b"raw REPL; CTRL-B to exit\r\n>"


def serve():
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix(os.getenv("FLASH")), "/")
    os.chdir("/")
    read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
    typed = b""
    place = {}
    while True:
        key = read(1)
        if key == b"\x01":
            typed = b""
            write(BANNER)
        elif key == b"\x03" or key == b"\x02":
            typed = b""
        elif key == b"\x05":
            read(2)
            write(b"R\x00")  # no raw paste here
        elif key != b"\x04":
            typed += key
        elif not typed:
            place = {}
            write(b"OK\r\nMPY: soft reboot\r\n" + BANNER)
        else:
            write(b"OK")
            error_text = io.StringIO()
            try:
                exec(typed, place)
            except Exception as error:
                sys.print_exception(error, error_text)
            write(b"\x04" + error_text.getvalue().encode() + b"\x04>")
            typed = b""
