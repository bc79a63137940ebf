"""Python runs it before all else where its folder is in PYTHONPATH: TLS believes the authorities beside it, and the image's own.

A file that SSL_CERT_FILE or REQUESTS_CA_BUNDLE names stands in place of the public authorities. So both kinds go into one
file. ssl, httpx, aiohttp in LiteLLM (llms/custom_httpx/http_handler.py) and huggingface_hub read the first variable, requests
and botocore the second. LiteLLM makes clients as it is imported, which is before its own startup hooks.
"""

import os
import sys
import tempfile
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import certifi

HERE = Path(__file__).parent


def _believe(authorities: Path) -> None:
    # A file per process: another one may be reading its own.
    file, path = tempfile.mkstemp(prefix="authorities-", suffix=".pem")
    with os.fdopen(file, "w") as both:
        both.write(f"{Path(certifi.where()).read_text()}\n{authorities.read_text()}")
    os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = path


def _run_the_images_own() -> None:
    """Python runs the first module of this name alone."""
    found = PathFinder.find_spec("sitecustomize", [path for path in sys.path if Path(path) != HERE])
    if found and found.loader:
        found.loader.exec_module(module_from_spec(found))


if "REQUESTS_CA_BUNDLE" not in os.environ:  # what a process starts has its environment
    _believe(HERE / "egress.pem")
_run_the_images_own()
