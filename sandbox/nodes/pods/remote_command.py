"""`kubectl exec`: a command in a container, its streams over a WebSocket (v5.channel.k8s.io).

A message's first byte is its stream: 0 stdin, 1 stdout, 2 stderr, 3 the outcome, 4 the terminal's size, 255 the end of another.
What it does not do: change a terminal's size, or give a command its terminal to control, by which Ctrl-C would reach it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Sequence

from sandbox.nodes.pods.process import Container
from sandbox.nodes.pods.websocket import WebSocket

PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _OUTCOME, _END = 0, 1, 2, 3, 255


def run(socket: WebSocket, container: Container, words: Sequence[str], asked: dict[str, str]) -> None:
    """Run a command in a container until it ends; say how it ended. `asked` is kubectl's: `tty`, `input`."""
    tty = asked.get("tty") in ("1", "true")
    master, terminal = pty.openpty() if tty else (-1, -1)
    piped = terminal if tty else subprocess.PIPE
    try:
        process = container.spawn(
            words,
            stdin=piped if tty or asked.get("input") in ("1", "true") else subprocess.DEVNULL,
            stdout=piped,
            stderr=piped,
        )
    except OSError as error:
        refuse(socket, f'exec: "{words[0]}": {error.strerror}')
        return
    if tty:
        os.close(terminal)
        outputs = [(master, _STDOUT)]
        given = master
    else:
        outputs = [(process.stdout.fileno(), _STDOUT), (process.stderr.fileno(), _STDERR)]  # pyright: ignore[reportOptionalMemberAccess]
        given = process.stdin.fileno() if process.stdin else -1
    threading.Thread(target=_feed, args=(socket, given, process, tty), daemon=True).start()
    reading = [threading.Thread(target=_pass_on, args=(socket, *output)) for output in outputs]
    for thread in reading:
        thread.start()
    code = process.wait()
    for thread in reading:
        thread.join()
    outcome(socket, 128 - code if code < 0 else code)
    if tty:
        os.close(master)


def _feed(socket: WebSocket, given: int, process: subprocess.Popen[bytes], tty: bool) -> None:
    """Pass on what comes in until its end; who went away ends the command."""
    with contextlib.suppress(OSError):
        while message := socket.receive():
            if message[0] == _STDIN and given >= 0:
                os.write(given, message[1:])
            elif message[0] == _END and message[1:2] == bytes([_STDIN]) and process.stdin and not tty:
                process.stdin.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _pass_on(socket: WebSocket, output: int, stream: int) -> None:
    with contextlib.suppress(OSError):  # a terminal whose program has ended
        while data := os.read(output, 32768):
            socket.send(bytes([stream]) + data)


def outcome(socket: WebSocket, code: int) -> None:
    """Say how a command ended."""
    status: dict[str, object] = {"metadata": {}, "status": "Success"}
    if code:
        text = f"command terminated with non-zero exit code: exit status {code}"
        causes = [{"reason": "ExitCode", "message": str(code)}]
        status = {"metadata": {}, "status": "Failure", "message": text}
        status |= {"reason": "NonZeroExitCode", "details": {"causes": causes}}
    _end(socket, status)


def refuse(socket: WebSocket, message: str) -> None:
    """Say why a command was not started, as containerd's kubelet does."""
    text = f"Internal error occurred: error executing command in container: {message}"
    status: dict[str, object] = {"metadata": {}, "status": "Failure", "message": text}
    status |= {"reason": "InternalError", "code": 500}
    _end(socket, status)


def _end(socket: WebSocket, status: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        socket.send(bytes([_OUTCOME]) + json.dumps(status).encode())
        socket.close()
