"""Every stack file under examples/stacks is previewed, passes the policies, and comes up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

import settings
from sandbox.google.cloud import member_name
from sandbox.paths import REPOSITORY
from settings.prerequisites import APIS, CheckedApi
from tests.support.driver import PROJECT
from tests.support.sandboxes import Sandboxes

FILES = sorted((REPOSITORY / "examples" / "stacks").glob("*.yaml"))
BESIDE = {"shared-cluster": "dev"}
"""The stack that is up where another one shares its cluster."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_passes_the_policies_and_comes_up(sandboxes: Sandboxes, file: Path) -> None:
    config = yaml.safe_load(file.read_text())["config"]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    with sandboxes.forked(BESIDE.get(file.stem, "empty")) as sandbox:
        sandbox.stack = file.stem
        shutil.copy(file, sandbox.root / f"Pulumi.{file.stem}.yaml")
        sandbox.run("start").succeeded()
        stack = settings.parse(texts, file.stem)
        for secret in stack.made_elsewhere:
            value = '{"auths": {}}' if secret == stack.images.pull_secret else f"value-of-{secret}"
            sandbox.make_secret(secret, value, PROJECT)
        for bucket in stack.weight_buckets:
            sandbox.cloud.create("bucket", bucket, {"project": PROJECT, "location": "EUROPE-WEST4"})
        for api in APIS:
            for project in api.keys(stack).values() if isinstance(api, CheckedApi) else ():
                sandbox.enable_api(api.name, project or PROJECT)
        existing = stack.postgres.existing
        if existing and existing.cloud_sql:
            email = existing.cloud_sql.service_account
            spec = {"project": PROJECT, "accountId": email.partition("@")[0]}
            sandbox.cloud.create(
                "serviceAccount", f"projects/{PROJECT}/serviceAccounts/{email}", {"spec": spec}
            )
            client = member_name(f"projects/{PROJECT}", "roles/cloudsql.client", f"serviceAccount:{email}")
            sandbox.cloud.create("projectIamMember", client, {"project": PROJECT})
        sandbox.run("up").succeeded()
