"""Whose ExternalSecrets the store reads for, judged as External Secrets would."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.operators.external_secrets.controller import allowed_namespace
from tests.support.engine import run_program


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({}, []),
        ({"network": {"clientNamespaces": ["apps"]}}, ["apps"]),
    ],
)
def test_the_store_reads_for_its_own_namespaces_and_named_clients(
    settings: dict[str, Any], others: list[str]
) -> None:
    store = run_program(settings).one("ClusterSecretStore", "gateway-secret-sync-store").inputs
    served = [name for name in ("llm-gateway", "vllm", "apps", "other") if allowed_namespace(store, name)]
    assert served == ["llm-gateway", "vllm", *others]
