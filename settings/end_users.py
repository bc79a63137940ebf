"""What an end user may spend: whom a request names as its `user`, which LiteLLM keeps no key for."""

from __future__ import annotations

from collections.abc import Iterator

from settings.base import Section, Violation, rule, setting
from settings.tenants import BudgetPeriod


class EndUsers(Section):
    """The same limits for each end user: whom a request names as its `user`. Teams' and keys' limits hold beside them."""

    otherwise = "LiteLLM would refuse every request of an end user"

    budget: float | None = setting(
        None,
        gt=0,
        allow_inf_nan=False,
        about="USD per budgetPeriod for each end user; then LiteLLM answers 'ExceededBudget'. Unset means no limit.",
        write="budget: 5",
    )
    budget_period: BudgetPeriod = setting(
        "1mo",
        about="Time after which every end user's spend restarts at zero, as for teams.",
        otherwise="LiteLLM would reset the budget at another time",
    )
    tpm: int | None = setting(
        None,
        ge=1,
        about="Tokens per minute for each end user; more are refused. Unset means no limit.",
        write="tpm: 20000",
    )
    rpm: int | None = setting(
        None,
        ge=1,
        about="Requests per minute for each end user; more are refused. Unset means no limit.",
        write="rpm: 60",
    )

    @rule
    def says_a_limit(self) -> Iterator[Violation]:
        if not (self.budget or self.tpm or self.rpm):
            yield Violation(
                "",
                "it has no budget, tpm or rpm",
                "end users would have no limit",
                "endUsers: {budget: 5}, or leave it out",
            )


def budget_id(owner: str) -> str:
    """Id of LiteLLM's budget that holds for each end user of a stack with this mark."""
    return f"{owner}:end-users"
