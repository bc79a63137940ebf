"""The stack's settings: one validated, typed object read from `Pulumi.<stack>.yaml`.

Each top-level field of `Settings` is one `llm-gateway:<key>` entry. All mistakes are reported together before any
resource is registered: the key as written in the file, what would happen, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence, Set
from math import ceil
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from settings import cloud_sql, gpu_parts, gpus, modes, secrets, stack_text, tenants
from settings.base import (
    Section,
    Violation,
    gibibytes,
    repeated,
    rule,
    secret_and_version,
    section,
    setting,
    urls_in,
)
from settings.capacity import Room
from settings.deployment import Charts, Namespaces, Network, Timeouts
from settings.egress import GOOGLE_APIS, PROXY_LOGIN, STORAGE, Egress, without_a_login
from settings.errors import SettingsError, broken_rules, readable, refused_settings
from settings.flat import nested
from settings.gke import Cluster, Gcp, GpuPool
from settings.images import Images
from settings.litellm import DATABASE_CONNECTIONS, REDIS_PASSWORD, ROLLOUT_PODS, LiteLLM
from settings.models import Model
from settings.names import LONGEST
from settings.operators import Operators
from settings.postgres import MAX_WAL_GIB, WAL_SHARE, Postgres
from settings.routes import Routes
from settings.secrets import Secrets
from settings.tenants import Team, VirtualKey
from settings.vllm import VllmModel
from versions import EXTERNAL_SECRETS_IMAGE

PROJECT = "llm-gateway"
SPEND_LOG_BYTES = 5 * 1024
"""Bytes per record in LiteLLM_SpendLogs, its five indexes included. Measured on Postgres 18: 3.9 kB for a request to a
hosted model, whose prices are in the record, and 2.6 kB for others and for failures. A fifth more is for records that
are deleted and that autovacuum has not removed yet."""
OTHER_CONNECTIONS = 15
"""Connections of the migration, the standbys, CloudNativePG's manager and exporter, and three for superusers."""


class Settings(Section):
    """All settings of one stack."""

    gcp: Gcp = setting(
        about="The Google Cloud project.",
        otherwise="there would be no project to deploy to",
        write="{project: my-project-id}",
    )
    cluster: Cluster = setting(
        about="The GKE cluster.",
        otherwise="there would be no cluster to deploy to",
        write="{name: platform-dev, location: europe-west4}",
    )
    models: list[Model] = setting(
        min_length=1,
        about="The models that clients can ask for.",
        otherwise="the gateway would answer no request",
        write="- {alias: qwen-local, inputCostPerToken: 0.00000005, outputCostPerToken: 0.0000002, "
        "vllm: {model: Qwen/Qwen2.5-0.5B-Instruct}}",
    )
    production: bool = setting(
        True,
        about="Whether the policies of production hold for this stack (docs/policies.md).",
        otherwise="an environment that people rely on could go without backups, copies and protection",
        write="production: false, where nothing would be missed",
    )
    protect: bool = setting(
        False,
        about="Protect the database, the secrets and the node pool from deletion; the salt always is.",
        otherwise="a `pulumi destroy`, or a change that replaces them, could delete them",
        write="protect: true",
    )
    recover: bool = setting(
        False,
        about="Take over Kubernetes objects and releases that a lost state knew, or that carry no stack's mark. "
        "Only to recover from a lost state (docs/operations.md).",
        otherwise="an `up` would fail on existing objects, or take over what somebody else made",
        write="recover: true",
    )
    owner: str | None = setting(
        None,
        pattern=r"^[\w.-]{1,100}/[\w.-]{1,100}(/[\w.-]+)?$",
        about="The mark on the secrets, teams and virtual keys of this stack; unset means `<project>/<stack>`, and "
        "`<project>/<stack>/<component>` where a program of your own calls the component something else than `gateway`. "
        "After a rename of the stack: its former name.",
        otherwise="the stack would be refused what it made under its former name",
        write="owner: llm-gateway/dev",
    )
    namespaces: Namespaces = section(Namespaces)
    gpu_pool: GpuPool = section(GpuPool)
    more_gpu_pools: list[GpuPool] = setting(
        default_factory=list,
        max_length=20,
        about="More node pools, with the settings of gpuPool: for models whose vllm.pool names them.",
        otherwise="models could only run on one kind of GPU",
        write="- {name: llm-gpu-h100, machineType: a3-highgpu-8g, accelerator: nvidia-h100-80gb, acceleratorCount: 8}",
    )
    secrets: Secrets = section(Secrets)
    operators: Operators = section(Operators)
    postgres: Postgres = section(Postgres)
    litellm: LiteLLM = section(LiteLLM)
    network: Network = section(Network)
    egress: Egress = section(Egress)
    teams: list[Team] | None = setting(
        None,
        max_length=500,
        about="Teams in LiteLLM. Unset, with virtualKeys unset too: this stack manages no tenant. "
        "[] deletes the teams that this stack made.",
        write="- {name: search, budget: 100}",
    )
    virtual_keys: list[VirtualKey] | None = setting(
        None,
        max_length=1000,
        about="Virtual keys in LiteLLM, each value in Secret Manager as litellm-key-<name>. "
        "Unset, with teams unset too: this stack manages no tenant. [] deletes the keys that this stack made.",
        write="- {name: search-app, team: search, budget: 50}",
    )
    charts: Charts = section(Charts)
    images: Images = section(Images)
    timeouts: Timeouts = section(Timeouts)

    @property
    def declares_tenants(self) -> bool:
        """Whether this stack manages teams and keys; it does with empty lists, too."""
        return self.teams is not None or self.virtual_keys is not None

    @property
    def pools(self) -> Mapping[str, GpuPool]:
        """The GPU pools that models run on, by their keys in the settings."""
        given = {
            "gpuPool": self.gpu_pool,
            **{f"moreGpuPools[{index}]": pool for index, pool in enumerate(self.more_gpu_pools)},
        }
        used = {self.pool_of(model.vllm).name for model in self.models if model.vllm}
        return {key: pool for key, pool in given.items() if pool.name in used}

    def pool_of(self, model: VllmModel) -> GpuPool:
        """The pool that a model's engines run on; `gpuPool` for one that names none."""
        named = [pool for pool in self.more_gpu_pools if pool.name == model.pool]
        return (named or [self.gpu_pool])[0]

    @rule
    def models_and_pools_find_each_other(self) -> Iterator[Violation]:
        names = [self.gpu_pool.name, *(pool.name for pool in self.more_gpu_pools)]
        for name in repeated(names):
            yield Violation(
                "moreGpuPools",
                f"two pools are called {name}",
                "GKE would refuse the second",
                "a name of its own for each pool, other than gpuPool.name",
            )
        for index, model in enumerate(self.models):
            if model.vllm and model.vllm.pool not in (None, *names):
                yield Violation(
                    f"models[{index}].vllm.pool",
                    f"there is no pool {model.vllm.pool}",
                    "the engines would run on other GPUs than is meant",
                    f"pool: one of {', '.join(names)}",
                )
        for index, pool in enumerate(self.more_gpu_pools):
            if pool.name not in [used.name for used in self.pools.values()]:
                yield Violation(
                    f"moreGpuPools[{index}].name",
                    f"no model runs on {pool.name}",
                    "it would never be used",
                    f"pool: {pool.name}, in vllm of a model, or leave the pool out",
                )

    @property
    def routes(self) -> Routes:
        """Which models answer for an alias."""
        return Routes(self.models)

    @property
    def rooms(self) -> Sequence[Room]:
        """The pools with the models that run on them."""
        keyed = {f"models[{index}].vllm": model.vllm for index, model in enumerate(self.models)}
        models = {key: model for key, model in keyed.items() if model}
        return [
            Room(key, pool, {of: model for of, model in models.items() if self.pool_of(model) is pool})
            for key, pool in self.pools.items()
        ]

    @rule
    def engines_fit_a_node(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from room.too_small_nodes()

    @rule
    def the_gpus_can_do_that(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from gpus.broken(room.models, room.pool.accelerator, room.key)
            yield from gpu_parts.broken(room.models, room.pool, room.key)

    @rule
    def caches_fit_a_nodes_disk(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from room.too_small_disks()

    @rule
    def cache_disks_fit_the_machine(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from room.disks_without_a_machine()

    @rule
    def engines_fit_the_pool(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from room.too_few_nodes()

    @rule
    def engines_of_a_node_fit_together(self) -> Iterator[Violation]:
        for room in self.rooms:
            yield from room.too_many_together()

    @rule
    def deployments_are_told_apart(self) -> Iterator[Violation]:
        yield from self.routes.undecided()

    @rule
    def aliases_make_one_thing(self) -> Iterator[Violation]:
        yield from self.routes.mixed(self.litellm.fallbacks)

    @rule
    def fallbacks_answer(self) -> Iterator[Violation]:
        yield from self.routes.unanswered(self.litellm.fallbacks)

    @property
    def self_hosted(self) -> Mapping[str, VllmModel]:
        """The models that vLLM serves, by their names among its objects."""
        return {model.vllm_name: model.vllm for model in self.models if model.vllm}

    @property
    def litellm_keys(self) -> Mapping[str, str]:
        """Ids of the secrets made elsewhere, by the proxy's environment variable that holds the value."""
        keys = {
            secrets.variable(secret): secret for model in self.models for secret in model.secrets.values()
        }
        keys |= self.litellm.secret_environment
        if login := self.egress.proxy_secret:
            keys[PROXY_LOGIN] = login
        if password := self.litellm.shared_state.password_secret:
            keys[REDIS_PASSWORD] = password
        return keys

    @property
    def vertex_projects(self) -> Sequence[str]:
        """Projects whose models the proxy asks as its own Kubernetes service account, sorted."""
        hosted = [model.hosted for model in self.models if model.hosted and model.hosted.as_workload]
        return sorted({model.params["vertex_project"] for model in hosted})

    @property
    def litellm_urls(self) -> Sequence[str]:
        """URLs that the settings have the proxy ask, sorted."""
        urls = {model.endpoint.url for model in self.models if model.endpoint}
        urls = urls.union(*(model.hosted.urls for model in self.models if model.hosted))
        return sorted(urls | urls_in(self.litellm.environment))

    @property
    def litellm_texts(self) -> set[str]:
        """Of these variables, those with a file's text."""
        hosted = [model.hosted for model in self.models if model.hosted]
        texts = {secrets.variable(secret) for model in hosted for secret in model.texts}
        return {*texts, *self.litellm.secret_environment}

    @property
    def installs_cnpg(self) -> bool:
        """Whether CloudNativePG, and its plugin for backups, are this stack's to install."""
        return self.operators.cnpg.install and not self.postgres.existing

    @property
    def installs_cert_manager(self) -> bool:
        """Whether cert-manager, which the plugin needs, is this stack's to install."""
        backed_up = self.postgres.backups.method == "objectStore"
        return backed_up and self.installs_cnpg and self.operators.cert_manager.install

    @property
    def database_password(self) -> str | None:
        """The secret with the password of a database that exists; None where this stack makes both."""
        return self.postgres.existing.password_secret if self.postgres.existing else None

    @property
    def hugging_face_tokens(self) -> Mapping[str, str]:
        """The secrets with Hugging Face tokens, made elsewhere, by the model's name among vLLM's objects."""
        tokens = {name: model.hugging_face_token for name, model in self.self_hosted.items()}
        return {name: secret for name, secret in tokens.items() if secret}

    @property
    def engine_secrets(self) -> Mapping[str, str]:
        """Ids of the secrets in engines' environments, made elsewhere, by their keys in the engines' Secret."""
        ids = (secret for model in self.self_hosted.values() for secret in model.secret_environment.values())
        login = self.egress.proxy_secret if self.self_hosted else None
        return {secrets.variable(secret): secret for secret in ids} | ({PROXY_LOGIN: login} if login else {})

    @property
    def pooling(self) -> Set[str]:
        """Names, among vLLM's objects, of the models that it serves with its pooling runner."""
        return {model.vllm_name for model in self.models if model.vllm and model.makes in modes.POOLING}

    @property
    def adapters(self) -> Mapping[str, Sequence[str]]:
        """The repositories of the adapters that a self-hosted model's engines serve, by its name among vLLM's objects."""
        found = self.routes.adapters
        return {
            model.vllm_name: found[model.alias]
            for model in self.models
            if model.vllm and model.alias in found
        }

    @property
    def weight_buckets(self) -> Sequence[str]:
        """The buckets that engines read, sorted."""
        return sorted({model.bucket for model in self.self_hosted.values() if model.bucket})

    @rule
    def adapters_are_served(self) -> Iterator[Violation]:
        yield from self.routes.unserved_adapters()

    @rule
    def vllm_names_differ(self) -> Iterator[Violation]:
        named = [(model.alias, model.vllm_name) for model in self.models if model.vllm]
        for name in repeated(name for _, name in named):
            aliases = [alias for alias, of in named if of == name]
            yield Violation(
                "models",
                f"among vLLM's objects the models {' and '.join(aliases)} are all called {name!r}",
                "one's Deployment, Service and claim would overwrite the others'",
                f"vllm.name: {name[: LONGEST - 2].strip('-')}-2, for one of them",
            )

    @rule
    def records_fit_the_database(self) -> Iterator[Violation]:
        proxy, postgres = self.litellm, self.postgres
        if postgres.existing:
            return
        records, free = proxy.spend_logs * SPEND_LOG_BYTES / 2**30, 0.1
        if postgres.wal_storage_size:
            needed = records / (1 - free)
        else:
            needed = (records + MAX_WAL_GIB) / (1 - free - WAL_SHARE)
        if needed > gibibytes(postgres.storage_size):
            yield Violation(
                "postgres.storageSize",
                f"{proxy.requests_per_day} requests per day (litellm.requestsPerDay), kept for "
                f"{proxy.spend_log_retention} (litellm.spendLogRetention), need {needed:.1f}Gi "
                f"{'' if postgres.wal_storage_size else 'with WAL '}and a tenth of it free; the volume has "
                f"{postgres.storage_size}",
                "the database's volume would fill, and the gateway would refuse every request",
                f"storageSize: {ceil(needed)}Gi, or a shorter spendLogRetention",
            )

    @rule
    def the_pull_secret_comes_by_an_operator_that_runs(self) -> Iterator[Violation]:
        if (
            self.images.pull_secret
            and self.operators.external_secrets.install
            and not self.images.read_by_nodes
        ):
            yield Violation(
                "images.pullSecret",
                "External Secrets brings it into the cluster, and this stack installs External Secrets, whose image comes from "
                f"{self.images.at(EXTERNAL_SECRETS_IMAGE).registry}",
                "its own pods would have nothing to log in with, could not be pulled, and would bring no secret at all",
                f"for {EXTERNAL_SECRETS_IMAGE.registry} a mirror in Artifact Registry, which nodes read as their own service account; or "
                "operators.externalSecrets.install: false, and an External Secrets that its owner has given a pull secret",
            )

    @rule
    def backups_reach_their_bucket(self) -> Iterator[Violation]:
        backed_up = self.postgres.backups.method == "objectStore"
        yield from without_a_login(self.egress, self.operators.external_secrets.install, backed_up)
        if backed_up and self.egress.ca and self.egress.by(STORAGE):
            yield Violation(
                "egress.ca",
                "backups go to Cloud Storage by the proxy, and the plugin for them can be given no authority for it",
                "where the proxy looks into TLS, no WAL would be archived, and the database never be healthy",
                f"egress.noProxy: [{GOOGLE_APIS}], and Private Google Access, by which nodes reach it themselves",
            )

    @rule
    def engines_reach_their_buckets(self) -> Iterator[Violation]:
        if self.weight_buckets and self.egress.ca and self.egress.by(STORAGE):
            yield Violation(
                "egress.ca",
                "engines read weights from Cloud Storage by the proxy, and vLLM's streamer can be given no authority for it",
                "where the proxy looks into TLS, no engine would start",
                f"egress.noProxy: [{GOOGLE_APIS}], and Private Google Access, by which nodes reach it themselves",
            )

    @rule
    def an_existing_databases_password_is_its_owners(self) -> Iterator[Violation]:
        ours = {
            "databasePasswordGeneration": self.secrets.database_password_generation > 1,
            "adopt.databasePassword": self.secrets.adopt.database_password,
        }
        for key in [key for key, given in ours.items() if given and self.postgres.existing]:
            yield Violation(
                f"secrets.{key}",
                "the database exists (postgres.existing), and its password is only read",
                "it would be ignored, and nothing rotated",
                "another version of postgres.existing.passwordSecret, by whoever owns the database",
            )

    @rule
    def cloud_sql_is_kept_to_the_proxy(self) -> Iterator[Violation]:
        existing = self.postgres.existing
        if existing and existing.cloud_sql:
            yield from cloud_sql.broken(existing.cloud_sql, self.network.policies, self.egress)

    @rule
    def connections_suffice(self) -> Iterator[Violation]:
        needed = self.litellm.connections + OTHER_CONNECTIONS
        if needed > self.postgres.max_connections:
            yield Violation(
                "postgres.maxConnections",
                f"{self.litellm.replicas} replicas and the {ROLLOUT_PODS} more pods of a rollout, with "
                f"{DATABASE_CONNECTIONS} connections each, and {OTHER_CONNECTIONS} for migrations, standbys and the "
                f"operator or the owner, need {needed}",
                "Postgres would refuse pods their connections, first during a rollout",
                f"maxConnections: {needed}, or fewer litellm.replicas",
            )

    @rule
    def every_node_of_a_redis_is_reached(self) -> Iterator[Violation]:
        state = self.litellm.shared_state
        if self.network.policies and state.nodes and not (state.node_addresses or state.nodes_are_services):
            yield Violation(
                "litellm.sharedState.nodeAddresses",
                "a Redis cluster leads the proxy to nodes at addresses of its own, which no setting names",
                "the NetworkPolicies would keep the proxy from them, and each pod would count limits on its own",
                "nodeAddresses: [10.0.0.0/28], the range of all nodes, or network.policies: false",
            )

    @rule
    def zones_are_in_the_region(self) -> Iterator[Violation]:
        location = self.cluster.location
        region = "-".join(location.split("-")[:2]) if location else ""
        pools = {"gpuPool": self.gpu_pool, **self.pools}
        for key, index, zone in [(key, *at) for key, pool in pools.items() for at in enumerate(pool.zones)]:
            if region and not zone.startswith(f"{region}-"):
                yield Violation(
                    f"{key}.zones[{index}]",
                    f"{zone} is not in {region}, where the cluster is",
                    "GKE would refuse the node pool",
                    f"zones: [{region}-a]",
                )

    @property
    def made_elsewhere(self) -> frozenset[str]:
        """The secrets that are only read."""
        vllm_key = self.secrets.existing_vllm_api_key if self.self_hosted else None
        of_engines = {*self.engine_secrets.values(), *self.hugging_face_tokens.values()}
        references = {
            *self.litellm_keys.values(),
            *of_engines,
            vllm_key,
            self.database_password,
            self.images.pull_secret,
        }
        return frozenset(filter(None, references))

    @rule
    def tenants_fit_together(self) -> Iterator[Violation]:
        elsewhere = {secret_and_version(reference)[0] for reference in self.made_elsewhere}
        aliases = dict.fromkeys([*self.routes.deployments, *self.routes.offered])
        prefix = self.secrets.prefix
        ids = frozenset(secret.removeprefix(prefix) for secret in elsewhere if secret.startswith(prefix))
        yield from tenants.broken(self.teams or [], self.virtual_keys or [], list(aliases), ids)
        url = {**self.litellm.environment, **self.litellm.secret_environment}.get("SLACK_WEBHOOK_URL")
        yield from tenants.untold(self.virtual_keys or [], bool(url) and self.litellm.tells_slack)

    @rule
    def readers_are_clients(self) -> Iterator[Violation]:
        own = set(self.namespaces.names.values())
        for index, key in enumerate(self.virtual_keys or []):
            for namespace in sorted(own.intersection(key.readers)):
                yield Violation(
                    f"virtualKeys[{index}].readers",
                    f"{namespace} is a namespace of this stack",
                    "whoever may edit it could read the key; what runs there has its own secrets",
                    "the namespaces of applications only",
                )

    @rule
    def the_salts_copy_is_elsewhere(self) -> Iterator[Violation]:
        if (self.secrets.salt_copy or "").startswith(f"projects/{self.gcp.project}/"):
            yield Violation(
                "secrets.saltCopy",
                f"{self.gcp.project} is the project of the salt itself",
                "whoever may delete the salt there could delete its copy, too",
                "saltCopy: projects/<another project>/secrets/<id>",
            )

    @rule
    def own_secrets_stay_apart(self) -> Iterator[Violation]:
        own = {secrets.MASTER_KEY, secrets.SALT_KEY, secrets.REDIS_PASSWORD}
        existing = self.postgres.existing
        if self.database_password is None:
            own.add(secrets.DATABASE_PASSWORD)
        if self.secrets.existing_vllm_api_key is None:
            own.add(secrets.VLLM_API_KEY)
        own = {self.secrets.prefix + secret_id for secret_id in own}
        read = {"secrets.existingVllmApiKey": self.secrets.existing_vllm_api_key}
        read["litellm.sharedState.passwordSecret"] = self.litellm.shared_state.password_secret
        for name, secret in self.litellm.secret_environment.items():
            read[f"litellm.secretEnvironment.{name}"] = secret
        read["images.pullSecret"] = self.images.pull_secret
        read["egress.proxySecret"] = self.egress.proxy_secret
        read["postgres.existing.passwordSecret"] = existing.password_secret if existing else None
        for index, model in enumerate(self.models):
            key = f"models[{index}]"
            read[f"{key}.vllm.huggingFaceToken"] = model.vllm.hugging_face_token if model.vllm else None
            for name, secret in model.vllm.secret_environment.items() if model.vllm else ():
                read[f"{key}.vllm.secretEnvironment.{name}"] = secret
            kind = "hosted" if model.hosted else "endpoint"
            for param, secret in model.secrets.items():
                named = "apiKeySecret" if param == "api_key" else f"secretParams.{param}"
                read[f"{key}.{kind}.{named}"] = secret
        for key, secret in read.items():
            if secret and secret_and_version(secret)[0] in own:
                yield Violation(
                    key,
                    f"{secret} is the gateway's own secret",
                    "it would be sent to somebody else",
                    f"{key.rpartition('.')[2]}: the id of a secret made for this",
                )


def parse(entries: Mapping[str, str], stack: str) -> Settings:
    """Validate the stack's configuration.

    Args:
        entries: configuration as Pulumi hands it over: `llm-gateway:<key>` to a string, JSON for objects.
        stack: the stack's name, for messages.

    Raises:
        SettingsError: with every mistake, each with key, consequence and fix.
    """
    own = f"{PROJECT}:"
    values = nested({key.removeprefix(own): text for key, text in entries.items() if key.startswith(own)})
    mistakes = [*_other_names(entries), *_too_large(values)]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        mistakes += refused_settings(Settings, errors)
        settings = readable(Settings, values, {error["loc"] for error in errors})
    mistakes += broken_rules(settings)
    if mistakes:
        raise SettingsError(PROJECT, stack, mistakes)
    return settings


def _other_names(entries: Mapping[str, str]) -> Iterator[Violation]:
    """Keys whose namespace is nearly this program's."""
    for key in entries:
        namespace, _, name = key.partition(":")
        near = difflib.get_close_matches(namespace.lower().replace("_", "-"), [PROJECT], cutoff=0.8)
        if near and namespace != PROJECT:
            yield Violation(
                name,
                f"it is written as {key}, and nobody reads {namespace}",
                "it would be ignored and a default used in its place",
                f"{PROJECT}:{name}",
            )


def _too_large(value: Any, key: str = "") -> Iterator[Violation]:
    """Whole numbers that the engine would hand on changed: it keeps every number in 64 bits, 53 of them digits."""
    if isinstance(value, dict):
        for name, inner in cast(dict[str, Any], value).items():
            yield from _too_large(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[Any], value)):
            yield from _too_large(inner, f"{key}[{index}]")
    elif isinstance(value, int) and abs(value) > 2**53:
        yield Violation(
            key,
            f"it has {len(str(abs(value)))} digits",
            "the engine would round it, since it keeps numbers in 64 bits",
            "a number of at most 15 digits",
        )


def load() -> Settings:
    """The current stack's settings. Raises pulumi.RunError, which lists every mistake."""
    import pulumi  # here, so that the sandbox reads this package without the Pulumi SDK

    config, stack = pulumi.runtime.config, pulumi.get_stack()
    file = Path(f"Pulumi.{stack}.yaml")
    try:
        if file.exists():
            # The engine has kept the last of two equal keys: only the text shows that there were two.
            stack_text.read(file.read_bytes())
        return parse({**config.get_config_env(), **config.CONFIG.get()}, stack)
    except stack_text.StackTextError as error:
        raise pulumi.RunError(f"{file}: {error}. Nothing was touched.") from error
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from error
