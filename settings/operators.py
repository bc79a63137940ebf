"""The operators that the gateway needs, and whether they are this stack's."""

from __future__ import annotations

from settings.base import Section, section, setting


class Operator(Section):
    """Installed by this stack, or by somebody else."""

    install: bool = setting(
        True,
        about="Install it. false: the cluster has it, by whoever; that it serves the API versions which this stack needs is checked "
        "before anything is made. Cannot be changed later.",
        otherwise="Helm would refuse a second one, or nobody would act on what this stack makes",
        write="install: false",
    )


class Operators(Section):
    """The operators. A cluster has each once: of the stacks on it, one installs it, and is the last to go."""

    cnpg: Operator = section(Operator)
    external_secrets: Operator = section(Operator)
    cert_manager: Operator = section(Operator)
