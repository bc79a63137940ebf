"""The plugin's program, `python -m sandbox.plugins.kubernetes`."""

from importlib.metadata import version

from sandbox.plugins.kubernetes.provider import KubernetesProvider
from sandbox.plugins.server import serve

serve(KubernetesProvider(), version("pulumi-kubernetes"))
