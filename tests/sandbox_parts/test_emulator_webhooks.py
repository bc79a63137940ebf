"""Which port of its pods a webhook's Service leads to."""

import pytest

from sandbox.cluster.webhooks import target_port

DEPLOYMENT = {
    "spec": {
        "template": {
            "spec": {"containers": [{"ports": [{"name": "webhook", "containerPort": 9443}]}, {}]},
        }
    }
}


@pytest.mark.parametrize(
    ("target", "port"), [({"targetPort": "webhook"}, 9443), ({"targetPort": 10250}, 10250), ({}, 443)]
)
def test_a_target_is_named_numbered_or_the_services_own(target: dict[str, int | str], port: int) -> None:
    service = {"spec": {"ports": [{"port": 8080, "targetPort": 8080}, {"port": 443, **target}]}}
    assert target_port(service, 443, DEPLOYMENT) == port
