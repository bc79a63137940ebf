"""Cloud SQL behind its Auth Proxy, which the stack runs."""

from __future__ import annotations

from collections.abc import Iterator

from settings.base import Section, Violation, setting
from settings.egress import GOOGLE_APIS, TOKENS, Egress

SQL_ADMIN = "https://sqladmin.googleapis.com"
_ACCOUNT_DOMAIN = ".gserviceaccount.com"


class CloudSql(Section):
    """A Cloud SQL instance, reached by the Cloud SQL Auth Proxy, which this stack runs in place of a host with TLS."""

    otherwise = "the Auth Proxy would not start, and `up` would wait for it in vain"

    instance: str = setting(
        pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]:[a-z]+-[a-z]+[0-9]+:[a-z]([-a-z0-9]{0,95}[a-z0-9])?$",
        about="Connection name of the instance, `<project>:<region>:<instance>`.",
        write="instance: my-project-id:europe-west4:gateway",
    )
    service_account: str = setting(
        pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]@[a-z][-a-z0-9]{4,28}[a-z0-9]\.iam\.gserviceaccount\.com$",
        about="Email of the Google service account that the Auth Proxy acts as. It exists, and has roles/cloudsql.client in the instance's "
        "project, and roles/cloudsql.instanceUser with `iam`.",
        write="serviceAccount: litellm-database@my-project-id.iam.gserviceaccount.com",
    )
    iam: bool = setting(
        False,
        about="Log in to the database as that service account, without a password (IAM database authentication). "
        "False: as `user`, with the password in `passwordSecret`.",
        write="iam: true",
    )
    private_ip: bool = setting(
        True,
        about="Reach the instance at its private address; false: at its public one.",
        write="privateIp: false",
    )

    @property
    def project(self) -> str:
        """The instance's project."""
        return self.instance.partition(":")[0]

    @property
    def account_project(self) -> str:
        """The service account's project."""
        return self.service_account.partition("@")[2].partition(".")[0]

    @property
    def account_user(self) -> str:
        """The service account as a user of the database."""
        return self.service_account.removesuffix(_ACCOUNT_DOMAIN)


def broken(cloud_sql: CloudSql, policies: bool, egress: Egress) -> Iterator[Violation]:
    """What the sections beside it make impossible; keys are those of the whole stack file."""
    if cloud_sql.iam and not policies:
        yield Violation(
            "network.policies",
            "the Auth Proxy logs in for whoever reaches it (postgres.existing.cloudSql.iam), and nothing would keep others away",
            "every pod of the cluster could read and change the gateway's database",
            "policies: true, or iam: false and a passwordSecret",
        )
    if egress.ca and egress.by(SQL_ADMIN):
        yield Violation(
            "egress.ca",
            "the Cloud SQL Auth Proxy asks Google's APIs by the proxy, and is given no authority for it",
            "where the proxy looks into TLS, the database would never be reached",
            f"egress.noProxy: [{GOOGLE_APIS}], and Private Google Access, by which nodes reach it themselves",
        )
    if egress.proxy_secret and (egress.by(SQL_ADMIN) or egress.by(TOKENS)):
        yield Violation(
            "egress.proxySecret",
            "the Cloud SQL Auth Proxy asks Google's APIs by the proxy, and is given no login for it",
            "the database would never be reached",
            f"egress.noProxy: [{GOOGLE_APIS}], and Private Google Access, by which nodes reach it themselves",
        )
