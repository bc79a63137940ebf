"""Every policy of the pack."""

from __future__ import annotations

from pulumi_policy import Policy

from policy import database, gpu, iam, images, pods, salt, secret_values

NAME = "llm-gateway"
POLICIES: list[Policy] = [
    *salt.POLICIES,
    *secret_values.POLICIES,
    *images.POLICIES,
    *gpu.POLICIES,
    *database.POLICIES,
    *iam.POLICIES,
    *pods.POLICIES,
]
