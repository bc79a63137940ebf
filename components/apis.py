"""Google's APIs that nothing would miss before much is made: whether each is enabled is looked up first."""

from __future__ import annotations

import asyncio

import pulumi
import pulumi_gcp as gcp

from settings import Settings
from settings.prerequisites import APIS, SERVICE_VIEWER, CheckedApi

_LOOKUP = "gcp:projects/getProjectService:getProjectService"


def disabled(
    settings: Settings, cluster_project: pulumi.Input[str], provider: gcp.Provider
) -> pulumi.Output[list[str]]:
    """What is wrong, a text per setting whose API is not enabled in its project.

    Where that cannot be looked up, a warning says so: the role for it is needed for nothing else.
    """
    options = pulumi.InvokeOptions(provider=provider)

    async def asked(own: str) -> list[str]:
        needed = [
            (api, key, project or own)
            for api in APIS
            if isinstance(api, CheckedApi)
            for key, project in api.keys(settings).items()
        ]
        # At once: the provider collects the lookups of some seconds into one call.
        enabled = await asyncio.gather(*(_enabled(*need, options) for need in needed))
        return [
            f"{key}: the API {api.name} is not enabled in {project}, so {api.otherwise}. Enable it: "
            f"`gcloud services enable {api.name} --project {project}`, and wait a few minutes."
            for (api, key, project), on in zip(needed, enabled, strict=True)
            if not on
        ]

    return pulumi.Output.from_input(cluster_project).apply(asked)


async def _enabled(api: CheckedApi, key: str, project: str, options: pulumi.InvokeOptions) -> bool:
    try:
        found = await pulumi.runtime.invoke_async(_LOOKUP, {"project": project, "service": api.name}, options)
    except Exception as error:  # the SDK raises Exception itself
        pulumi.log.warn(
            f"llm-gateway:{key}: whether the API {api.name} is enabled in {project} could not be looked up; if it is not, "
            f"{api.otherwise}. Whoever runs this needs {SERVICE_VIEWER} there. Google's answer: {str(error)[:300]}"
        )
        return True
    # The provider leaves the id out where the API is off, and says nothing else.
    return bool(found and found.get("id"))
