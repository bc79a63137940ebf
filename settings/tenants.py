"""Who may use the gateway: teams and virtual keys, in LiteLLM's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from settings import wildcards
from settings.base import SECRET, DnsLabel, Section, Violation, is_like_a_key, repeated, rule, setting

# The periods after which LiteLLM 1.89.2 resets a budget (litellm_core_utils/duration_parser.py). It accepts
# others, but resets 30h at 6 the next morning and 1w at midnight, and fails on 2mo.
BudgetPeriod = Annotated[
    str,
    StringConstraints(pattern=r"^(([1-9]|[1-5][0-9])[sm]|([1-9]|1[0-9]|2[0-4])h|[1-9][0-9]{0,3}d|1mo)$"),
]
Instant = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$"
    ),
]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][-_.A-Za-z0-9]{0,62}$")]
MetadataValue = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ModelLimits = Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(max_length=100)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=20)]

_SHOWN = 20
"""Aliases of a message: a wildcard has hundreds."""
MANAGED_BY = "managed_by"
MANAGED_AS = "managed_as"
"""Keys in LiteLLM's metadata that say which stack made a team or a key, and the name that it is declared under."""
REPLACED = "/replaced"
"""How LiteLLM's alias of a key ends while another value takes its place (components/reconciler)."""
_MEANS_MORE = frozenset(
    {
        *(MANAGED_BY, MANAGED_AS, "managed_budget"),
        *("model_rpm_limit", "model_tpm_limit", "mcp_rpm_limit", "rpm_limit_type", "tpm_limit_type"),
        *("enforced_params", "temp_budget_increase", "temp_budget_expiry", "allowed_vector_store_indexes"),
        *("enforced_batch_output_expires_after", "enforced_file_expires_after", "disable_global_guardrails"),
        *("guardrails", "policies", "tags", "team_member_key_duration", "prompts", "logging"),
        *("secret_manager_settings", "allowed_passthrough_routes", "service_account_id"),
        *("team_member_budget_id", "callback_settings"),
    }
)
"""Metadata that LiteLLM 1.89.2 acts on (proxy/_types.py), and this program's own marks."""


def _is_no_key(alias: str) -> str:
    if alias.startswith("sk-") and is_like_a_key(alias):
        raise PydanticCustomError("key", "it looks like a key itself, not like what a key is called")
    return alias


# LiteLLM takes any text; none begins or ends with a space here, or has a line break or another control character.
Alias = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$", max_length=255),
    AfterValidator(_is_no_key),
    SECRET,
]


class Tenant(Section):
    """What a team and a virtual key have in common."""

    otherwise = "LiteLLM would refuse every request"

    name: DnsLabel = setting(
        about="Name in previews and of its secret, a DNS label, and in LiteLLM where alias is unset. Name and alias both changed "
        "make a new tenant and delete the old.",
        otherwise="its objects could not be named after it",
        write="name: search",
    )
    alias: Alias | None = setting(
        None,
        about="Name in LiteLLM, any text: an e-mail address, spaces, capitals. Unset means the name.",
        otherwise="LiteLLM's lists and logs would call it something else",
        write="alias: Search Team",
    )
    take_over: bool = setting(
        False,
        about="Take over the one with this alias that was made by hand in LiteLLM; its spend is kept (docs/tenants.md). Leave it out "
        "afterwards.",
        otherwise="what somebody else made would be changed",
        write="takeOver: true",
    )
    budget: float | None = setting(
        None,
        gt=0,
        allow_inf_nan=False,
        about="USD per budgetPeriod; then LiteLLM answers 'Budget has been exceeded'. Unset means no limit.",
        otherwise="LiteLLM would refuse every request, or never count",
        write="budget: 50",
    )
    budget_period: BudgetPeriod = setting(
        "1mo",
        about="Time after which spend restarts at zero: 1s to 59s, 1m to 59m, 1h to 24h, 1d to 9999d, or 1mo. LiteLLM looks for "
        "what is over every ten minutes.",
        otherwise="LiteLLM would reset the budget at another time",
    )
    tpm: int | None = setting(
        None, ge=1, about="Tokens per minute; more are refused. Unset means no limit.", write="tpm: 100000"
    )
    rpm: int | None = setting(
        None, ge=1, about="Requests per minute; more are refused. Unset means no limit.", write="rpm: 600"
    )
    models: list[str] = setting(
        default_factory=list,
        about="Model aliases it may ask for, a wildcard's models by their names or all by the wildcard; empty means all, for a key in a "
        "team all of the team's.",
        otherwise="it could call other models",
        write="models: [qwen-local]",
    )
    metadata: Metadata = setting(
        default_factory=dict,
        about="Notes to keep with it in LiteLLM.",
        otherwise="LiteLLM would refuse it",
        write="metadata: {costCentre: c-1042}",
    )
    blocked: bool = setting(
        False,
        about="Refuse its requests; spend and settings are kept.",
        otherwise="a tenant to be blocked could call the gateway",
        write="blocked: true",
    )

    @property
    def known_as(self) -> str:
        """The alias in LiteLLM."""
        return self.alias or self.name

    @rule
    def metadata_is_only_kept(self) -> Iterator[Violation]:
        for key in sorted(self.metadata.keys() & _MEANS_MORE):
            yield Violation(
                f"metadata.{key}",
                f"LiteLLM or this program acts on {key}",
                "the note would set a limit, a route or another owner",
                "another key",
            )


class Team(Tenant):
    """A team: limits that its keys share."""


class VirtualKey(Tenant):
    """A virtual key, with which an application calls the gateway. Its value is in Secret Manager."""

    team: DnsLabel | None = setting(
        None,
        about="Team whose limits hold for the key, too; unset means none.",
        otherwise="no team's limit would hold for it",
        write="team: search",
    )
    model_tpm: ModelLimits = setting(
        default_factory=dict,
        about="Tokens per minute of single models, by their aliases, beside tpm.",
        otherwise="the limit would bind nothing",
        write="modelTpm: {qwen-local: 20000}",
    )
    model_rpm: ModelLimits = setting(
        default_factory=dict,
        about="Requests per minute of single models, by their aliases, beside rpm.",
        otherwise="the limit would bind nothing",
        write="modelRpm: {qwen-local: 60}",
    )
    soft_budget: float | None = setting(
        None,
        gt=0,
        allow_inf_nan=False,
        about="USD per budgetPeriod. LiteLLM tells Slack, once a day, that the key has spent it, or goes on to by the end of the month; it "
        "refuses nothing. It needs litellm.generalSettings (docs/tenants.md).",
        otherwise="nobody would be told, or with each request",
        write="softBudget: 15",
    )
    expires: Instant | None = setting(
        None,
        about="Date, time and zone (ISO 8601, in quotes) from which LiteLLM refuses it; unset means never.",
        otherwise="LiteLLM would refuse it at another time, or never",
        write='expires: "2027-01-31T00:00:00Z"',
    )
    generation: int = setting(
        1,
        ge=1,
        about="Raise by one to rotate its value; the old one is refused a minute later at most.",
        otherwise="no new value would be made",
        write="generation: 2",
    )
    adopt: int | None = setting(
        None,
        ge=1,
        about="Version of the existing secret litellm-key-<name> to keep; unset means one is made.",
        otherwise="the import would fail, or an old value would come back",
        write="adopt: 1",
    )

    readers: list[DnsLabel] = setting(
        default_factory=list,
        about="Namespaces whose service account virtual-key-reader may read this key's value, and no other secret. "
        "Whoever may edit one of them can read it, too (docs/tenants.md).",
        otherwise="nobody could read the value there, or somebody else could",
        write="readers: [search]",
    )

    @property
    def secret_id(self) -> str:
        """Id of the secret in Secret Manager that holds the key's value."""
        return f"litellm-key-{self.name}"

    @rule
    def expires_at_a_time(self) -> Iterator[Violation]:
        try:
            datetime.fromisoformat(self.expires or "2000-01-01")
        except ValueError as error:
            yield Violation(
                "expires",
                f"{self.expires} is no date and time ({error})",
                "it would never expire",
                'expires: "2027-01-31T00:00:00Z"',
            )

    @rule
    def alias_is_no_half_rotated_keys(self) -> Iterator[Violation]:
        if self.known_as.endswith(REPLACED):
            yield Violation(
                "alias",
                f"a key is called so in LiteLLM while another value takes its place: it ends with {REPLACED}",
                "the key would be taken for the rest of a rotation, and deleted",
                "another end",
            )

    @rule
    def taken_over_with_its_value(self) -> Iterator[Violation]:
        if self.take_over and not self.adopt:
            yield Violation(
                "takeOver",
                "without adopt, a new value is made, and the key in LiteLLM has the one that its users hold",
                "they would be refused",
                f"adopt: the version of the secret litellm-key-{self.name} to which you have added that value (docs/tenants.md), or "
                "leave takeOver out where that is done",
            )

    @rule
    def is_told_before_it_is_refused(self) -> Iterator[Violation]:
        if self.soft_budget and self.budget and self.soft_budget >= self.budget:
            yield Violation(
                "softBudget",
                f"{self.soft_budget:g} is not less than budget: {self.budget:g}",
                "requests would be refused before anybody is told",
                f"less than {self.budget:g}",
            )

    @rule
    def readers_differ(self) -> Iterator[Violation]:
        for namespace in repeated(self.readers):
            yield Violation(
                "readers", f"{namespace} is there twice", "it would be granted twice", "each namespace once"
            )

    @rule
    def rotated_or_adopted(self) -> Iterator[Violation]:
        if self.adopt and self.generation > 1:
            yield Violation(
                "adopt",
                f"version {self.adopt} is kept, and generation: {self.generation} asks for a new value",
                "the raised generation would rotate nothing",
                "only one of them: adopt keeps the value, generation replaces it",
            )


def broken(
    teams: Sequence[Team], keys: Sequence[VirtualKey], aliases: Sequence[str], protected_ids: frozenset[str]
) -> Iterator[Violation]:
    """The violations of rules between teams, keys and aliases; `protected_ids` are those of other secrets."""
    for kind, tenants in (("teams", teams), ("virtualKeys", keys)):
        for name in repeated(tenant.name for tenant in tenants):
            yield Violation(
                kind,
                f"two are called {name}",
                "each would undo what the other asks for",
                "a different name for each",
            )
        # Where names differ: two of a name are one mistake.
        known = {tenant.name: tenant.known_as for tenant in tenants}
        for alias in repeated(known.values()):
            yield Violation(
                kind,
                f"two have the alias {alias}: {' and '.join(name for name, own in known.items() if own == alias)}",
                "LiteLLM would refuse the second key"
                if kind == "virtualKeys"
                else "nothing would tell them apart",
                "a different alias for each; a name is the alias where none is set",
            )
        for index, tenant in enumerate(tenants):
            for model in sorted(set(tenant.models) - set(aliases)):
                yield Violation(
                    f"{kind}[{index}].models",
                    f"no model has the alias {model}",
                    "every request for it would be refused",
                    f"models: [{', '.join(aliases[:_SHOWN])}], or fewer",
                )
    by_name = {team.name: team for team in teams}
    for index, key in enumerate(keys):
        at = f"virtualKeys[{index}]"
        team = by_name.get(key.team or "")
        yield from _of_models(at, key, key.models or (team.models if team else []) or aliases)
        if key.secret_id in protected_ids:
            yield Violation(
                f"{at}.name",
                f"{key.secret_id} is read as another secret of this stack",
                "a virtual key would be sent to an upstream",
                "another name",
            )
        if key.team and key.team not in by_name:
            yield Violation(
                f"{at}.team",
                f"there is no team {key.team}",
                "LiteLLM would take the key, and no team's limit would hold for it",
                f"team: one of {', '.join(by_name)}"
                if by_name
                else "a team of that name under llm-gateway:teams",
            )
        elif key.team:
            yield from _within_team(at, key, by_name[key.team])


def untold(keys: Sequence[VirtualKey], told: bool) -> Iterator[Violation]:
    """Soft budgets that pass in silence; `told` says whether LiteLLM can send an alert of a budget."""
    for index, key in enumerate(keys):
        if key.soft_budget and not told:
            yield Violation(
                f"virtualKeys[{index}].softBudget",
                "LiteLLM has nowhere to send alerts of budgets to",
                "the key would pass its soft budget, and nobody be told",
                "litellm: {generalSettings: {alerting: [slack]}, secretEnvironment: {SLACK_WEBHOOK_URL: the id of the secret with the "
                "webhook's URL}}; alert_types, if set, with budget_alerts",
            )


def _of_models(at: str, key: VirtualKey, allowed: Sequence[str]) -> Iterator[Violation]:
    for name, limits, whole in (
        ("modelTpm", key.model_tpm, key.tpm),
        ("modelRpm", key.model_rpm, key.rpm),
    ):
        for alias, limit in limits.items():
            if alias not in allowed:
                yield Violation(
                    f"{at}.{name}.{alias}",
                    f"{alias} is no model that it may ask for",
                    "the limit would bind nothing",
                    f"one of {', '.join(allowed)}",
                )
            elif whole and limit > whole:
                yield Violation(
                    f"{at}.{name}.{alias}",
                    f"{limit} is more than it has for all models ({whole})",
                    "the model's limit would never bind",
                    f"{alias}: {whole}, or less",
                )


def _within_team(at: str, key: VirtualKey, team: Team) -> Iterator[Violation]:
    limits: list[tuple[str, float | None, float | None]] = [
        ("tpm", key.tpm, team.tpm),
        ("rpm", key.rpm, team.rpm),
        *((f"modelTpm.{alias}", limit, team.tpm) for alias, limit in key.model_tpm.items()),
        *((f"modelRpm.{alias}", limit, team.rpm) for alias, limit in key.model_rpm.items()),
    ]
    if key.budget_period == team.budget_period:
        limits.append(("budget", key.budget, team.budget))
    for name, own, shared in limits:
        if own and shared and own > shared:
            yield Violation(
                f"{at}.{name}",
                f"{own:g} is more than team {team.name} has ({shared:g})",
                "the team's limit would be reached first, so that the key's would never bind",
                f"{name.rpartition('.')[2]}: {shared:g}, or less",
            )
    outside = sorted(
        model
        for model in set(key.models)
        if model not in team.models and not any(wildcards.matches(model, wild) for wild in team.models)
    )
    outside = outside if team.models else []
    if outside:
        yield Violation(
            f"{at}.models",
            f"{', '.join(outside)}: not among the models of team {team.name}",
            "every request for it would be refused",
            f"models: [{', '.join(team.models)}], or fewer",
        )
