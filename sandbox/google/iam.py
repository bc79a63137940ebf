"""IAM members of the emulated Google resources, checked as Google's IAM checks them.

An unknown service account or user is not looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.google.resource import invalid, parsed

_MEMBER = re.compile(r".+:.+|allUsers|allAuthenticatedUsers")
_ACCOUNT = re.compile(r"(user|group|serviceAccount):[^@\s]+@[^@\s]+\.[^@\s]+")
_OTHER_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|domain:[^\s]+\.[^\s]+|project(Owner|Editor|Viewer):[^\s]+"
)
_PRINCIPAL = (
    "principal://iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>"
    "/subject/ns/<namespace>/sa/<account>"
)


def member_form(member: Any) -> Iterator[CheckFailure]:
    """A failure for a member that the provider refuses before it calls the API."""
    if isinstance(member, str) and not _MEMBER.fullmatch(member):
        yield CheckFailure(
            "member",
            f'invalid value "{member}" for member (IAM members must have one of the values outlined here: '
            "https://cloud.google.com/billing/docs/reference/rest/v1/Policy#Binding)",
        )


def check_member(cloud: Cloud, doing: str, member: str) -> None:
    """Raise SandboxError for a member that IAM does not accept."""
    if member.startswith("principal://"):
        number, pool, *_ = parsed(_PRINCIPAL, member, "member")
        # A project's pool is made with its first cluster that asks for it, and every emulated one does.
        pools = {
            str(row["number"]): f"{row['projectId']}.svc.id.goog"
            for row in cloud.list("project")
            if not row.get("bare") or cloud.list("cluster", f"{row['name']}/")
        }
        if pools.get(number) != pool:
            raise invalid(
                doing,
                f"Identity Pool does not exist (projects/{number}/locations/global/workloadIdentityPools/{pool}). "
                "Please check that you specified a valid resource name as returned in the `name` attribute in the "
                "configuration API.",
            )
    elif member.startswith("principalSet://"):
        raise SandboxError(f"the sandbox does not emulate principalSet:// members ({member}).")
    elif not (_ACCOUNT.fullmatch(member) or _OTHER_MEMBER.fullmatch(member)):
        raise invalid(doing, f"Invalid member: {member}")


def check_role(doing: str, role: str, predefined: frozenset[str]) -> None:
    """Raise SandboxError for a role that can not be granted on the resource; custom roles are not looked up."""
    if role not in predefined and not re.fullmatch(r"(projects|organizations)/[^/]+/roles/[\w.]+", role):
        raise invalid(doing, f"Role {role} is not supported for this resource.")
