"""What proxies share."""

from tests.support.entries import CA, Cases, cluster, redis

STATE = "llm-gateway:litellm.sharedState"

BAD: Cases = [
    ({"litellm": {"replicas": 2}}, "llm-gateway:litellm.sharedState.kind", "kind: valkey"),
    ({"litellm": {"sharedState": {"kind": "redis"}}}, "llm-gateway:litellm.sharedState.host", "10.0.0.3"),
    ({"litellm": {"sharedState": {"host": "10.0.0.3"}}}, "llm-gateway:litellm.sharedState.kind", "redis"),
    # Ports that mean TLS, and whom TLS believes.
    (redis(port=6378), f"{STATE}.tls: 6378 is the port at which Memorystore", "tls: verify-ca and the ca"),
    (redis(port=6380), f"{STATE}.tls: 6380 is the port", "or tls: none"),
    (cluster("redis.example.com:6378"), f"{STATE}.tls: 6378 is the port", "tls: none"),
    (redis(tls="verify-ca"), f"{STATE}.ca: verify-ca without a ca", "verify-full"),
    (redis(tls="verify-full"), f"{STATE}.ca: verify-full without a ca, and an address", "authority"),
    (redis(ca=CA), f"{STATE}.ca: a ca, and tls: unset", "tls: verify-ca"),
    (redis(ca=CA, tls="none"), f"{STATE}.ca: a ca, and tls: none", "tls: verify-ca"),
    (redis(ca="redis.pem", tls="verify-ca"), f"{STATE}.ca: no certificate can be read", "ca: |"),
    (
        redis(ca=f"{CA}-----BEGIN PRIVATE KEY-----", tls="verify-ca"),
        f"{STATE}.ca: it holds something",
        "ca: |",
    ),
    (redis(tls="yes"), f"{STATE}.tls", "tls: verify-ca"),
    # Clusters.
    (redis(nodes=["10.0.0.3:6379"]), f"{STATE}.nodes: host is for one Redis", "only one"),
    (
        cluster("10.0.0.3:6379"),
        f"{STATE}.nodeAddresses: a Redis cluster leads",
        "nodeAddresses: [10.0.0.0/28]",
    ),
    (
        cluster("10.0.0.3:6379", nodeAddresses=["10.1.0.0/28"]),
        f"{STATE}.nodes[0]: 10.0.0.3 is in none of nodeAddresses",
        "the range of 10.0.0.3",
    ),
    (cluster("10.0.0.3:99999", nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodes[0]: 99999 is no port", "6379"),
    (cluster("10.0.0.3", nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodes[0]", '["10.0.0.3:6379"]'),
    (cluster("a.b.svc:1", "a.b.svc:1"), f"{STATE}.nodes: a.b.svc:1 is there twice", "each node once"),
    (
        cluster("a.b.svc:1", nodeAddresses=["10.0.0.3/28"]),
        f"{STATE}.nodeAddresses[0]: it is no range",
        "[10.0.0.0/28]",
    ),
    (redis(nodeAddresses=["10.0.0.0/28"]), f"{STATE}.nodeAddresses: there are no nodes", "leave it out"),
    (
        {"litellm": {"sharedState": {"kind": "valkey", "tls": "none"}}},
        f"{STATE}.kind: tls: for kind redis",
        "redis",
    ),
]
