"""What a project has: enabled APIs (Service), service accounts (Account), and grants on both (IAMMember), emulated.

What they do not do: the APIs' own dependencies on each other, IAM conditions, and any role but those a
cluster's nodes, a reader of secrets and a pod that acts as an account may need. No call is made as a service
account, so that only a Cloud SQL Auth Proxy misses a grant to one (cloud_sql.py). The ids of Service and
IAMMember are not Google's. Behaviour and wording: hashicorp/terraform-provider-google,
google/services/resourcemanager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from pulumi.provider.experimental.provider import CheckFailure

from sandbox.errors import SandboxError
from sandbox.google.apis import IN_USE, service_name
from sandbox.google.cloud import ACCESSOR_ROLE, Cloud, CloudError, member_name, project_number
from sandbox.google.iam import Grant, check_member, check_role, member_form
from sandbox.google.resource import Json, Made, invalid, parsed
from sandbox.google.stored import Stored, require_api

_APIS = IN_USE | {"aiplatform.googleapis.com", "sqladmin.googleapis.com"}
_ROLES = frozenset(
    {
        ACCESSOR_ROLE,
        "roles/aiplatform.user",
        "roles/artifactregistry.reader",
        "roles/container.defaultNodeServiceAccount",
        "roles/logging.logWriter",
        "roles/monitoring.metricWriter",
        "roles/monitoring.viewer",
        "roles/stackdriver.resourceMetadata.writer",
    }
)


def enable(cloud: Cloud, project: str, service: str, row: Json | None = None) -> None:
    """Enable an API, as `gcloud services enable` does. Raises SandboxError for one that the sandbox does not know."""
    if service not in _APIS:
        raise SandboxError(f"the sandbox does not know the API {service}; it knows {sorted(_APIS)}.")
    spec = {"project": project, "service": service}
    with suppress(CloudError):  # enabled already
        cloud.create("service", service_name(project, service), row or {"project": project, "spec": spec})


class Service(Stored):
    """gcp:projects/service:Service."""

    kind = "gcp:projects/service:Service"
    api = "serviceusage"
    store = "service"
    emulated = frozenset({"disableOnDestroy", "service"})
    required = ("service",)
    force_new = ("project", "service")
    defaults: ClassVar[Json] = {**Stored.defaults, "disableOnDestroy": False}

    def full_name(self, inputs: Json) -> str:
        return service_name(inputs["project"], inputs["service"])

    def create(self, inputs: Json, timeout: float) -> Made:
        spec = self.normal(inputs)
        doing = f"Error when enabling service {spec['service']!r}"
        require_api(self.cloud, doing, spec["project"], self.api)
        enable(self.cloud, spec["project"], spec["service"], self.row(spec))
        return self._made(self.cloud.get(self.store, self.full_name(spec)), inputs)

    def delete(self, resource_id: str, state: Json) -> None:
        if state.get("disableOnDestroy"):
            super().delete(resource_id, state)


class Account(Stored):
    """gcp:serviceaccount/account:Account."""

    kind = "gcp:serviceaccount/account:Account"
    api = "iam"
    store = "serviceAccount"
    emulated = frozenset({"accountId", "description", "disabled", "displayName"})
    required = ("accountId",)
    force_new = ("project", "accountId")
    outputs = ("email", "member", "name", "uniqueId")

    def full_name(self, inputs: Json) -> str:
        email = f"{inputs['accountId']}@{inputs['project']}.iam.gserviceaccount.com"
        return f"projects/{inputs['project']}/serviceAccounts/{email}"

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        name = inputs.get("accountId")
        if isinstance(name, str) and not re.fullmatch(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])", name):
            yield CheckFailure(
                "accountId", f'"account_id" ({name!r}) must be 6 to 30 lowercase letters, digits and hyphens'
            )

    def computed(self, row: Json) -> Json:
        email = row["name"].rpartition("/")[2]
        unique = str(project_number(email)).zfill(21)
        return {"email": email, "member": f"serviceAccount:{email}", "name": row["name"], "uniqueId": unique}


class IAMMember(Stored):
    """gcp:projects/iAMMember:IAMMember."""

    kind = "gcp:projects/iAMMember:IAMMember"
    api = "cloudresourcemanager"
    store = "projectIamMember"
    emulated = frozenset({"member", "role"})
    required = ("project", "role", "member")
    force_new = ("project", "role", "member")
    outputs = ("etag",)
    defaults: ClassVar[Json] = {}

    def full_name(self, inputs: Json) -> str:
        project = inputs["project"].removeprefix("projects/")
        return member_name(f"projects/{project}", inputs["role"], inputs["member"])

    def check(self, inputs: Json) -> Iterator[CheckFailure]:
        yield from super().check(inputs)
        yield from member_form(inputs.get("member"))

    def refuse(self, spec: Json) -> None:
        doing = f'Error setting IAM policy for project "{spec["project"]}"'
        check_role(doing, spec["role"], _ROLES)
        check_member(self.cloud, doing, spec["member"])
        account = re.fullmatch(r"serviceAccount:(.+@(.+)\.iam\.gserviceaccount\.com)", spec["member"])
        if account and not self.cloud.list(
            "serviceAccount", f"projects/{account[2]}/serviceAccounts/{account[1]}"
        ):
            raise invalid(doing, f"Service account {account[1]} does not exist.")

    def create(self, inputs: Json, timeout: float) -> Made:
        with suppress(CloudError):  # granted already
            return self._made(self.cloud.get(self.store, self.full_name(inputs)), inputs)
        return super().create(inputs, timeout)

    def computed(self, row: Json) -> Json:
        return {"etag": "BwX="}


class AccountIAMMember(Grant):
    """gcp:serviceaccount/iAMMember:IAMMember."""

    kind = "gcp:serviceaccount/iAMMember:IAMMember"
    required = ("serviceAccountId", "role", "member")
    force_new = ("serviceAccountId", "role", "member", "condition")
    store, parent, on, noun = (
        "serviceAccountIamMember",
        "serviceAccount",
        "serviceAccountId",
        "service account",
    )
    roles = frozenset({"roles/iam.serviceAccountUser", "roles/iam.workloadIdentityUser"})

    def named(self, inputs: Json) -> str:
        account: str = inputs["serviceAccountId"]
        parsed("projects/<project>/serviceAccounts/<email>", account, "serviceAccountId")
        return account

    def create(self, inputs: Json, timeout: float) -> Made:
        project = self.named(inputs).split("/")[1]
        require_api(self.cloud, f"Error retrieving IAM policy for {self.noun}", project, "iam")
        return super().create(inputs, timeout)
