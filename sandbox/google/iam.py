"""IAM members of the emulated Google resources, checked as Google's IAM checks them.

What it does not do: look up users and service accounts, conditions, policies' etags.
"""

from __future__ import annotations

import base64
import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud, CloudError, member_name
from sandbox.google.resource import Json, Made, Resource, calling, invalid, not_emulated, parsed

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
    """Raise SandboxError for a role that cannot be granted there; custom roles are not looked up."""
    if role not in predefined and not re.fullmatch(r"(projects|organizations)/[^/]+/roles/[\w.]+", role):
        raise invalid(doing, f"Role {role} is not supported for this resource.")


class Grant(Resource):
    """One role of one member on a resource of the store's kind `parent`, which the input `on` names."""

    store: ClassVar[str]
    """Its own kind in the store."""
    parent: ClassVar[str]
    on: ClassVar[str]
    noun: ClassVar[str]
    """What the provider's messages call the parent."""
    prefix: ClassVar[str] = ""
    """What ids and the state put before the parent's name."""
    roles: ClassVar[frozenset[str]]
    outputs = ("etag",)

    @abstractmethod
    def named(self, inputs: Json) -> str:
        """The parent's name in the store."""

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from not_emulated(self.kind, inputs, "condition")
        yield from member_form(inputs.get("member"))

    def create(self, inputs: Json, timeout: float) -> Made:
        name, role, member = self.named(inputs), inputs["role"], inputs["member"]
        policy = f'IAM policy for {self.noun} "{self.prefix}{name}"'
        calling(f"Error retrieving {policy}", lambda: self.cloud.get(self.parent, name))
        check_role(f"Error setting {policy}", role, self.roles)
        check_member(self.cloud, f"Error setting {policy}", member)
        with suppress(CloudError):  # granted already
            self.cloud.create(self.store, member_name(name, role, member), {"role": role, "member": member})
        return self._made(inputs)

    def read(self, resource_id: str, inputs: Json) -> Made | None:
        if not inputs:
            parts = resource_id.split()
            if len(parts) != 3:
                raise SandboxError(
                    f"Wrong number of parts to Member id {parts}; expected 'resource_name role member [condition_title]'."
                )
            inputs = dict(zip((self.on, "role", "member"), parts, strict=True))
        try:
            self.cloud.get(self.store, member_name(self.named(inputs), inputs["role"], inputs["member"]))
        except CloudError:
            return None
        return self._made(inputs)

    def update(self, resource_id: str, state: Json, inputs: Json, timeout: float) -> Made:
        raise SandboxError("every change of an IAM member replaces it.")

    def delete(self, resource_id: str, state: Json) -> None:
        with suppress(CloudError):
            self.cloud.delete(self.store, member_name(self.named(state), state["role"], state["member"]))

    def _made(self, inputs: Json) -> Made:
        name, role, member = self.prefix + self.named(inputs), inputs["role"], inputs["member"]
        etag = base64.b64encode(f"{role} {member}".encode()).decode()[:12]
        state = {self.on: name, "role": role, "member": member, "etag": etag}
        if "project" in self.force_new:
            state["project"] = inputs.get("project", name.split("/")[1])
        return Made(f"{name}/{role}/{member}", state)
