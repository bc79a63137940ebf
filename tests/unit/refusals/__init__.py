"""Settings that are refused, by section."""

from tests.unit.refusals import (
    costs,
    gke,
    hosted,
    litellm,
    models,
    postgres,
    secrets,
    shared_state,
    stack,
    vllm,
)

BAD = [
    case
    for section in (models, vllm, hosted, costs, litellm, shared_state, gke, postgres, secrets, stack)
    for case in section.BAD
]
