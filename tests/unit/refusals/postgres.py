"""The database."""

from tests.support.entries import CA, LONG, Cases, database

BAD: Cases = [
    ({"litellm": {"requestsPerDay": 1_700_000}}, "llm-gateway:postgres.storageSize", "storageSize: 349Gi"),
    (
        {"litellm": {"spendLogRetention": "90d"}},
        "llm-gateway:postgres.storageSize",
        "shorter spendLogRetention",
    ),
    ({"postgres": {"storageSize": "5Gi"}}, "llm-gateway:postgres.storageSize", "storageSize: 10Gi"),
    (
        {"litellm": {"requestsPerDay": 1_700_000}, "postgres": {"walStorageSize": "10Gi"}},
        "llm-gateway:postgres.storageSize",
        "storageSize: 271Gi",
    ),
    ({"postgres": {"walStorageSize": "2Gi"}}, "llm-gateway:postgres.walStorageSize", "walStorageSize: 10Gi"),
    ({"postgres": {"maxConnections": 50}}, "llm-gateway:postgres.maxConnections", "maxConnections: 55"),
    (
        {"litellm": {"replicas": 9, "sharedState": {"kind": "valkey"}}},
        "llm-gateway:postgres.maxConnections",
        "maxConnections: 135",
    ),
    ({"postgres": {"storageSize": "10 GB"}}, "llm-gateway:postgres.storageSize", "10Gi"),
    ({"postgres": {"name": LONG}}, "llm-gateway:postgres.name", "litellm-pg"),
    (
        {"postgres": {"backups": {"method": "objectStore", "bucket": "My.Bucket"}}},
        "llm-gateway:postgres.backups.bucket",
        "bucket: ",
    ),
    # The database and its standbys.
    ({"postgres": {"instances": 0}}, "llm-gateway:postgres.instances", "instances: 3"),
    ({"postgres": {"synchronousReplicas": 1}}, "llm-gateway:postgres.synchronousReplicas", "more instances"),
    (
        {"postgres": {"instances": 2, "synchronousReplicas": 2}},
        "llm-gateway:postgres.synchronousReplicas",
        "synchronousReplicas: 1",
    ),
    ({"postgres": {"memory": "500m"}}, "llm-gateway:postgres.memory", "memory: 1Gi"),
    ({"postgres": {"cpu": "half"}}, "llm-gateway:postgres.cpu", "cpu: 500m"),
    ({"postgres": {"backups": {"method": "s3"}}}, "llm-gateway:postgres.backups.method", "objectStore"),
    (
        {"postgres": {"backups": {"method": "objectStore", "schedule": "0 2 * * *"}}},
        "llm-gateway:postgres.backups.schedule",
        "0 0 2 * * *",
    ),
    (
        {"postgres": {"backups": {"method": "volumeSnapshot"}}},
        "llm-gateway:postgres.backups.snapshotClass",
        "snapshotClass: ",
    ),
    (
        {"postgres": {"backups": {"bucket": "some-bucket"}}},
        "llm-gateway:postgres.backups.bucket",
        "method: objectStore",
    ),
    (
        {"postgres": {"backups": {"method": "objectStore", "bucketLocation": "europe-west4-a"}}},
        "llm-gateway:postgres.backups.bucketLocation",
        "europe-west4",
    ),
    ({"postgres": {"restore": {"source": "litellm-pg"}}}, "llm-gateway:postgres.restore.source", "name"),
    (
        {"postgres": {"restore": {"source": "old", "targetTime": "yesterday"}}},
        "llm-gateway:postgres.restore.targetTime",
        "2030-01-31T12:00:00Z",
    ),
    # A database that exists.
    (database(tls=None), "llm-gateway:postgres.existing.tls: the key is missing", "tls: verify-full"),
    (database(tls="verify-ca"), "llm-gateway:postgres.existing.tls", "tls: verify-full"),
    (database(ca=CA), "llm-gateway:postgres.existing.ca: a ca, and tls: require", "verify-full"),
    (database(ca=CA + CA, tls="verify-full"), "llm-gateway:postgres.existing.ca: 2 certificates", "the one"),
    (database(tls="verify-full"), "llm-gateway:postgres.existing.ca: verify-full without", "host"),
    (database(user="lite:llm"), "llm-gateway:postgres.existing.user", "user: litellm"),
    (database(host="10.20.0.5:5432"), "llm-gateway:postgres.existing.host", "host: 10.20.0.5"),
    (
        database({"instances": 3, "backups": {"method": "objectStore"}}),
        "llm-gateway:postgres.existing: instances and backups beside it",
        "backups by whoever owns that database",
    ),
    (
        database(passwordSecret="litellm-master-key"),
        "llm-gateway:postgres.existing.passwordSecret: litellm-master-key is the gateway's own",
        "made for this",
    ),
    (
        {**database({"maxConnections": 30}), "litellm": {"replicas": 1}},
        "llm-gateway:postgres.maxConnections",
        "maxConnections: 55",
    ),
]
