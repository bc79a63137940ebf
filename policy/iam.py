"""Who may read secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policy.base import Resource, resource_policy

_BROAD = re.compile(r"gcp:(projects|folder|organizations)/iAM(Member|Binding|Policy):\w+")
_ON_SECRETS = re.compile(r"gcp:secretmanager/secretIam(Member|Binding|Policy):\w+")
_AUTHORITATIVE = re.compile(r".*Iam(Binding|Policy):\w+")
# The viewer sees names and labels, no value.
_READS_SECRETS = re.compile(r"roles/(secretmanager\.(?!viewer$).*|owner)")
_EVERYONE = {"allUsers", "allAuthenticatedUsers"}


def _per_secret(grant: Resource) -> Iterator[str]:
    policy = grant.props.get("policyData")
    roles = [
        grant.props.get("role"),
        *(re.findall(r'"(roles/[^"]+)"', policy) if isinstance(policy, str) else ()),
    ]
    if _ON_SECRETS.fullmatch(grant.type):
        if _AUTHORITATIVE.fullmatch(grant.type):
            yield f"{grant.name} removes every member that others have added to the secret."
        if grant.props.get("member") in _EVERYONE:
            yield f"{grant.name} lets everyone read the secret."
        return
    for role in roles:
        if isinstance(role, str) and _READS_SECRETS.fullmatch(role):
            yield f"{grant.name} gives {role} on every secret, present and future."


POLICIES = [
    resource_policy(
        "iam-is-per-secret",
        "Access is given per secret and per member: no role that reads or changes secrets for a whole project, folder or organization, no "
        "binding or policy that replaces a secret's members, and no access for everyone.",
        "one `gcp.secretmanager.SecretIamMember` per secret and reader, with "
        '`role="roles/secretmanager.secretAccessor"` and one workload or service account as `member`.',
        lambda resource: bool(_BROAD.fullmatch(resource.type) or _ON_SECRETS.fullmatch(resource.type)),
        _per_secret,
    ),
]
