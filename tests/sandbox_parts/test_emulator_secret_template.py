"""The template engine of the External Secrets emulation."""

from __future__ import annotations

import pytest

from sandbox.operators.external_secrets.template import TemplateError, render

VALUES = {"password": "p&ss", "user": "litellm", "db-host": "pg", "made-by-hand": "\ufeffsk-1\r\n"}
VALUES["separated"] = " \x1fa\n"


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
        ('{{ (index . "made-by-hand" | trimPrefix "\\ufeff" | trim) }}', "sk-1"),
        ('{{ if regexMatch "^[a-z]+$" .user }}{{ .user }}{{ else }}{{ fail "no" }}{{ end }}!', "litellm!"),
        ('{{ if regexMatch "^x" .user }}a{{ end }}b', "b"),
        ('{{ if regexMatch "^sk-1$" (index . "made-by-hand") }}a{{ else }}b{{ end }}', "b"),
        ("{{ .separated | trim }}", "\x1fa"),
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
        ("{{ range .user }}x{{ end }}", "{{ range .user }} is not emulated by the sandbox"),
        ("{{ if .user }}{{ else }}{{ .user | sha256sum }}{{ end }}", 'function "sha256sum" is not emulated'),
        ('{{ if .user }}{{ fail "wrong" }}{{ end }}', 'at <fail "wrong">: error calling fail: wrong'),
        ('{{ fail "wrong, and long" }}', 'at <fail "wrong, and lon...>: error calling fail: wrong, and long'),
        ("{{ if .user }}x", "unexpected EOF"),
        ("{{ $x := .user }}", "{{ $x := .user }} is not emulated by the sandbox"),
        ("{{ .user | b64dec }}", "unable to execute template at key key"),
        ('{{ regexMatch "(" .user }}', "unable to execute template at key key"),
        ('{{ regexMatch "a" .user | trim }}', "unable to execute template at key key"),
    ],
)
def test_refuses_the_rest_by_name(template: str, cause: str) -> None:
    with pytest.raises(TemplateError) as raised:
        render("key", template, VALUES)
    assert cause in str(raised.value)
