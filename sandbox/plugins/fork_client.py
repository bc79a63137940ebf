"""Runs a module as a fork of the fork server: `python -I -S fork_client.py SOCKET MODULE [ARGUMENT ...]`.

Where no server answers, this process becomes the module's own interpreter. It passes SIGINT and SIGTERM on and ends with
the module's exit code; when it is killed, the fork ends. Standard library only, as an engine starts it often.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from types import FrameType


def main() -> int:
    path, module, *arguments = sys.argv[1:]
    request = json.dumps([module, arguments, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            accepted = connection.recv(1)
        except OSError:
            accepted = b""
        if not accepted:
            options = [part for name, value in sys._xoptions.items() for part in ("-X", f"{name}={value}")]  # pyright: ignore[reportPrivateUsage]
            command = [sys.executable, *options, "-P", "-m", module, *arguments]
            os.execv(command[0], command)  # noqa: S606 - there is no shell in it

        forwarded: list[int] = []

        def forward(number: int, frame: FrameType | None) -> None:
            forwarded.append(number)
            connection.send(bytes([number]))

        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(request)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, forward)
        code = connection.recv(1)
    if forwarded and not code:  # the signal ended the fork
        signal.signal(forwarded[-1], signal.SIG_DFL)
        os.kill(os.getpid(), forwarded[-1])
    return code[0] if code else 1


if __name__ == "__main__":
    sys.exit(main())
