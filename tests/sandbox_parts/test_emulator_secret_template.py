"""The template engine of the External Secrets emulation."""

from __future__ import annotations

import pytest

from sandbox.operators.external_secrets.template import TemplateError, render

VALUES = {"password": "p&ss", "user": "litellm", "db-host": "pg"}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("litellm", "litellm"),
        ("{{ .password }}", "p&ss"),
        ("{{.password}}", "p&ss"),
        ("{{ .user }}:{{ .password | urlquery }}", "litellm:p%26ss"),
        ("{{ .user | upper | b64enc }}", "TElURUxMTQ=="),
        ('{{ index . "db-host" | toString }}', "pg"),
        ('{{ "a" | quote }}', '"a"'),
        ("a\n{{- .user -}}\nb", "alitellmb"),
        ("a\n{{ .user }}\nb", "a\nlitellm\nb"),
    ],
)
def test_renders_the_documented_subset(template: str, rendered: str) -> None:
    assert render("key", template, VALUES) == rendered


@pytest.mark.parametrize(
    ("template", "cause"),
    [
        (
            "\n{{ .missing }}",
            'template: key:2: executing "key" at <.missing>: map has no entry for key "missing"',
        ),
        ("{{ .user | sha256sum }}", 'function "sha256sum" is not emulated by the sandbox'),
        ("{{ if .user }}x{{ end }}", "{{ if .user }} is not emulated by the sandbox"),
        ("{{ .user | b64dec }}", "unable to execute template at key key"),
    ],
)
def test_refuses_the_rest_by_name(template: str, cause: str) -> None:
    with pytest.raises(TemplateError) as raised:
        render("key", template, VALUES)
    assert cause in str(raised.value)
