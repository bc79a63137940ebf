"""Settings that the stack file has by their paths, as `pulumi new` writes them."""

from __future__ import annotations

from typing import Any

import pytest

from settings.flat import nested


@pytest.mark.parametrize(
    ("entries", "sections"),
    [
        ({"gcp.project": "p", "cluster.name": "c"}, {"gcp": {"project": "p"}, "cluster": {"name": "c"}}),
        ({"cluster": '{"name": "c"}', "cluster.location": "l"}, {"cluster": {"name": "c", "location": "l"}}),
        ({"gcp": {"project": "section"}, "gcp.project": "path"}, {"gcp": {"project": "path"}}),
        ({"models[0].alias": "a", "models[1].alias": "b"}, {"models": [{"alias": "a"}, {"alias": "b"}]}),
        (
            {"models": [{"alias": "a", "tpm": 1}], "models[0].tpm": "2"},
            {"models": [{"alias": "a", "tpm": 2}]},
        ),
        ({"models[0].inputCostPerToken": "5e-8"}, {"models": [{"inputCostPerToken": 5e-8}]}),
        (
            {"models[0].otherCosts.promptAbove128K": "1e-6"},
            {"models": [{"otherCosts": {"promptAbove128K": 1e-6}}]},
        ),
        ({"gcp": "no section", "gcp.project": "p"}, {"gcp": {"project": "p"}}),
        ({"protect": "true", "recover": True}, {"protect": True, "recover": True}),
        ({"..": "x", "[0]": "y", "models[": "z"}, {"..": "x", "[0]": "y", "models[": "z"}),
    ],
)
def test_entries_become_sections(entries: dict[str, Any], sections: dict[str, Any]) -> None:
    assert nested(entries) == sections
