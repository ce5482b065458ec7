"""The passwords that settings name, and texts without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from uad_orchestrator.orchestration.dagster_instance.settings.storages import (
    database_url,
    mapping,
    storages,
    value_of,
)


def passwords(settings: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """The passwords of the databases that settings name."""
    for storage in storages(settings):
        if password := value_of(mapping(storage.config.get("postgres_db")).get("password"), environ):
            yield str(password)
        with suppress(ValueError):
            if (url := database_url(storage, environ)) is not None and url.password:
                yield str(url.password)


def without(text: str, *secrets: str) -> str:
    """A text with secrets taken out of it, as they are and as they stand in a URL.

    >>> without("no user for uad:p%40ss", "p@ss")
    'no user for uad:***'
    """
    for secret in filter(None, secrets):
        for written in (quote(secret, safe=""), quote(secret), secret):
            text = text.replace(written, "***")
    return text
