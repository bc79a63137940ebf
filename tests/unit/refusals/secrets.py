"""Secrets."""

from tests.support.entries import Cases, database

BAD: Cases = [
    ({"secrets": {"masterKeyGeneration": 0}}, "llm-gateway:secrets.masterKeyGeneration", "2"),
    ({"secrets": {"existingVllmApiKey": "a/b"}}, "llm-gateway:secrets.existingVllmApiKey", "vllm-api-key"),
    (
        {**database(), "secrets": {"databasePasswordGeneration": 2}},
        "llm-gateway:secrets.databasePasswordGeneration: the database exists",
        "another version of postgres.existing.passwordSecret",
    ),
    (
        {**database(), "secrets": {"adopt": {"databasePassword": 1}}},
        "llm-gateway:secrets.adopt.databasePassword: the database exists",
        "another version",
    ),
    (
        {"secrets": {"saltCopy": "projects/example-llm-dev/secrets/copy"}},
        "llm-gateway:secrets.saltCopy",
        "projects/<another project>/secrets/<id>",
    ),
    (
        {"secrets": {"saltCopy": "copy"}},
        "llm-gateway:secrets.saltCopy",
        "projects/example-llm-vault/secrets/",
    ),
    (
        {"secrets": {"replicaLocations": ["europe-west4", "europe-west4"]}},
        "llm-gateway:secrets.replicaLocations",
        "each region once",
    ),
    (
        {"secrets": {"adopt": {"masterKey": 1}, "masterKeyGeneration": 2}},
        "llm-gateway:secrets.adopt.masterKey",
        "only one of them",
    ),
    ({"secrets": {"adopt": {"saltKey": 0}}}, "llm-gateway:secrets.adopt.saltKey", "saltKey: 1"),
    (
        {"secrets": {"existingVllmApiKey": "shared-key", "vllmApiKeyGeneration": 2}},
        "llm-gateway:secrets.existingVllmApiKey",
        "existingVllmApiKey alone",
    ),
    ({"secrets": {"adopt": {"saltKey": 2**64}}}, "llm-gateway:secrets.adopt.saltKey: it has 20", "15 digits"),
]
