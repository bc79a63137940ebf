"""Runs a Pulumi program for the stand-in language host: `python -m sandbox.plugins.program ENGINE`, a RunRequest on stdin.

Errors surface as with the real host: a RunError as its message, any other exception with the program's traceback, a
`sys.exit` as its code, a SIGINT, where the program lets it, with the traceback of whatever was under way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
from pulumi.runtime import reset_options, run_in_stack, set_all_config
from pulumi.runtime.proto import language_pb2

from sandbox.paths import REPOSITORY

SHOWN = 32
"""Exit code of a program whose error the user has seen."""


def run(request: language_pb2.RunRequest, engine: str) -> int:
    """Run the program that a request names; returns the exit code."""
    # A failed resource leaves futures that nobody awaits; the real host does not report them either.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    reset_options(
        project=request.project,
        stack=request.stack,
        root_directory=request.info.root_directory,
        parallel=request.parallel,
        engine_address=engine,
        monitor_address=request.monitor_address,
        preview=request.dryRun,
        organization=request.organization,
    )
    set_all_config(dict(request.config), list(request.configSecretKeys))
    program = Path(request.info.program_directory, request.info.entry_point)
    os.chdir(request.info.program_directory)
    # The program must find its own modules, not this repository's of the same names.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY]
    sys.path.insert(0, request.info.program_directory)
    sys.argv = [str(program), *request.args]

    def run_program() -> None:
        runpy.run_path(str(program), run_name="__main__")

    loop = asyncio.new_event_loop()
    executor = ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4)
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(run_in_stack(run_program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return 1
    except Exception as error:  # whatever a program can raise
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_program_traceback(error, program)}")
        return SHOWN
    finally:
        executor.shutdown(wait=True)
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _program_traceback(error: Exception, program: Path) -> str:
    """The traceback from the program's first frame on."""
    entry = {str(program), str(program / "__main__.py")}
    frames = traceback.extract_tb(error.__traceback__)
    first = next((index for index, frame in enumerate(frames) if frame.filename in entry), 0)
    return "".join(traceback.format_exception(error, limit=first - len(frames)))


if __name__ == "__main__":
    sys.exit(run(language_pb2.RunRequest.FromString(sys.stdin.buffer.read()), sys.argv[1]))
