"""The section of alerts: who is told when an asset check turns. Secrets stay outside the file."""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from uad_orchestrator.project.errors import shown
from uad_orchestrator.project.settings.section import Section


def _variable(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(
            "is no name of an environment variable: the secret itself must not stand in the file"
        )
    return name


class WebhookSettings(Section):
    """A program that is told, in JSON. ``webhook: URL`` is short for ``webhook: {url: URL}``."""

    url: str | None = Field(None, description="where the JSON is posted to")
    url_env: str | None = Field(
        None,
        description="environment variable that holds the address, where that is a secret; instead of `url`",
    )
    token_env: str | None = Field(
        None, description="environment variable with a token, sent as `Authorization: Bearer`"
    )

    _names = field_validator("url_env", "token_env")(_variable)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return None if url is None else web_address(url)

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("needs one of `url: <address>` and `url_env: <environment variable>`")
        return self


class SlackSettings(Section):
    """A channel of Slack; needs the extra ``alerts``."""

    channel: str = Field(min_length=1, description="its name or id; the app has to be a member of it")
    token_env: str = Field(description="environment variable with the app's token (chat:write, files:write)")

    _names = field_validator("token_env")(_variable)


class EmailSettings(Section):
    """People who get a mail."""

    to: tuple[str, ...] = Field(min_length=1, description="addresses")
    sender: str = Field(description="the address it comes from")
    host: str = Field(min_length=1, description="the mail server")
    port: int = Field(587, ge=1, le=65535, description="its port")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`none` sends in the clear, and no password"
    )
    user: str | None = Field(None, description="who logs in there; default: nobody does")
    password_env: str | None = Field(None, description="environment variable with the password of `user`")

    _names = field_validator("password_env")(_variable)

    @field_validator("to", "sender")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", address):
                raise ValueError(f"holds {shown(address)}, no e-mail address")
        return value

    @model_validator(mode="after")
    def _log_in(self) -> Self:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("needs `user` and `password_env` together, or neither")
        if self.user is not None and self.security == "none":
            raise ValueError(
                "would send a password in the clear: `security` is starttls or tls, or `user` goes"
            )
        return self


class AlertSettings(Section):
    """One that is told: exactly one of the three."""

    webhook: WebhookSettings | None = Field(None, description="a program")
    slack: SlackSettings | None = Field(None, description="a channel of Slack")
    email: EmailSettings | None = Field(None, description="people, by mail")

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(kind is not None for kind in (self.webhook, self.slack, self.email)) != 1:
            raise ValueError("needs exactly one of `webhook`, `slack` and `email`")
        return self

    @property
    def kind(self) -> str:
        """``webhook``, ``slack`` or ``email``."""
        return next(name for name in ("webhook", "slack", "email") if getattr(self, name) is not None)


def web_address(url: str) -> str:
    """An http or https address without a user name or password in it.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"is {shown(url)}, should be an address such as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "has a user name or password in it: secrets stand in environment variables (token_env)"
        )
    return url
