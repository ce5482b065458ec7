"""Receivers of alerts are read whole or not at all, and no secret may stand in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uad_orchestrator.project import Project, ProjectError
from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.parsing.reading import project_from_text

MAIL = {"to": ["anna@line7.example"], "sender": "uad@line7.example", "host": "mail.line7.example"}


def project(alerts: list[Any], **automation: Any) -> Project:
    values = {
        "datasets": {"demo": {"layout": "demo"}},
        "detectors": {"patchcore": {"model": "vision_patchcore"}},
        "automation": {"alerts": alerts, **automation},
    }
    return project_from_text(yaml.safe_dump(values), Path("somewhere"), installed_catalogue())


def test_the_short_and_the_long_form_are_one() -> None:
    found = project(
        [
            {"webhook": "https://line7.example/hook"},
            {"webhook": {"url": "https://line7.example/hook"}},
            {"slack": {"channel": "#line7", "token_env": "SLACK"}},
            {"email": MAIL},
        ],
        ui="http://line7:3000/",
    ).automation
    first, second, slack, mail = found.alerts
    assert first == second
    assert [one.kind for one in found.alerts] == ["webhook", "webhook", "slack", "email"]
    assert slack.slack is not None and slack.slack.token_env == "SLACK"
    assert mail.email is not None and (mail.email.port, mail.email.security) == (587, "starttls")
    assert found.ui == "http://line7:3000"


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        ({}, "exactly one of"),
        ({"webhook": "https://a.example", "email": MAIL}, "exactly one of"),
        ({"webhook": {}}, "needs one of `url"),
        ({"webhook": {"url": "https://a.example", "url_env": "HOOK"}}, "needs one of `url"),
        ({"webhook": "ftp://a.example/hook"}, "should be an address such as"),
        (
            {"webhook": "https://user:secret@a.example/hook"},  # pragma: allowlist secret
            "has a user name or password in it",
        ),
        ({"webhook": {"url": "https://a.example", "token_env": "xoxb-0815 4711"}}, "the secret itself must not stand"),
        ({"slack": {"channel": "#line7"}}, "token_env"),
        (
            {"slack": {"channel": "#line7", "token_env": "xoxb-12-34"}},  # pragma: allowlist secret
            "the secret itself must not stand",
        ),
        ({"email": {**MAIL, "to": []}}, "to"),
        ({"email": {**MAIL, "to": ["anna"]}}, "no e-mail address"),
        ({"email": {**MAIL, "sender": "a@b.example\nBcc: all@b.example"}}, "no e-mail address"),
        ({"email": {**MAIL, "user": "uad"}}, "`user` and `password_env` together"),
        (
            {"email": {**MAIL, "user": "uad", "password_env": "PW", "security": "none"}},  # pragma: allowlist secret
            "in the clear",
        ),
        ({"email": {**MAIL, "password": "secret"}}, "password"),  # pragma: allowlist secret
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_an_error_that_repeats_no_secret(alert: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError) as error:
        project([alert])
    text = str(error.value)
    assert said in text and "automation.alerts" in text
    assert "user:secret@" not in text and "xoxb" not in text
