"""How an alert goes out: a webhook, Slack, mail. Secrets come from the environment, and are in no message.

Dagster's own senders of mail tell of failed runs, in HTML without attachments: a check that turned is none of those.
So mail goes through Python's ``smtplib``, and Slack through Dagster's ``SlackResource``.
"""

from __future__ import annotations

import base64
import json
import os
import smtplib
import ssl
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from http.client import HTTPException

from uad_orchestrator.extras import require_extra
from uad_orchestrator.inference.sending.post import post_json
from uad_orchestrator.orchestration.automation.alert_message import Alert
from uad_orchestrator.project.settings import AlertSettings, EmailSettings, SlackSettings, WebhookSettings

SECONDS = 20.0
"""How long a receiver may take to answer."""
LARGEST_PICTURE = 512 * 1024
"""Bytes of a picture inside the JSON of a webhook; of a larger one only the path is said."""

Log = Callable[[str], None]


class NotDelivered(RuntimeError):
    """An alert did not arrive; the message says why, without addresses that may be secret."""


def send(alert: Alert, to: AlertSettings, log: Log) -> None:
    """Send an alert.

    Args:
        alert: what is said.
        to: whom.
        log: is told what could not be sent along.

    Raises:
        NotDelivered: it did not arrive.
        ImportError: Slack without the extra ``alerts``.
    """
    if to.webhook is not None:
        _post(alert, to.webhook)
    elif to.slack is not None:
        _slack(alert, to.slack, log)
    elif to.email is not None:
        _mail(alert, to.email)


def secret(variable: str) -> str:
    """The value of an environment variable that the project file names.

    Raises:
        NotDelivered: it is not set where the alert is sent from.
    """
    if value := os.environ.get(variable):
        return value
    raise NotDelivered(
        f"the environment variable {variable} is not set in Dagster's processes: set it where `uad ui`, or the "
        "daemon and the code server, are started"
    )


def _post(alert: Alert, to: WebhookSettings) -> None:
    picture = alert.picture
    with_picture = picture is not None and len(picture.content) <= LARGEST_PICTURE
    values = alert.to_json() | {
        "picture": {
            "media_type": picture.media_type,
            "base64": base64.b64encode(picture.content).decode(),
        }
        if picture is not None and with_picture
        else None
    }
    url = to.url or secret(to.url_env or "")
    headers = {} if to.token_env is None else {"Authorization": f"Bearer {secret(to.token_env)}"}
    if not url.startswith(("http://", "https://")):
        raise NotDelivered(f"the environment variable {to.url_env} holds no http or https address")
    try:
        return post_json(url, json.dumps(values).encode(), headers, SECONDS)
    except urllib.error.HTTPError as error:
        why = f"the webhook answered {error.code} {error.reason}"
    except urllib.error.URLError as error:
        why = f"the webhook cannot be reached: {_plainly(error.reason)}"
    except (OSError, HTTPException, ValueError) as error:
        why = f"the webhook cannot be reached: {type(error).__name__}"
    raise NotDelivered(why)  # outside: the error before it names the address


def _plainly(reason: object) -> str:
    return (reason.strerror or type(reason).__name__) if isinstance(reason, OSError) else str(reason)


def _slack(alert: Alert, to: SlackSettings, log: Log) -> None:
    require_extra("dagster_slack", extra="alerts", what="an alert by Slack")
    from dagster_slack import SlackResource
    from slack_sdk.errors import SlackApiError

    client, failure = SlackResource(token=secret(to.token_env)).get_client(), ""
    try:
        said = client.chat_postMessage(channel=to.channel, text=alert.text)
    except SlackApiError as error:
        failure = f"Slack refused the message: {error.response['error']}"
    except OSError as error:
        failure = f"Slack cannot be reached: {_plainly(error)}"
    if failure:
        raise NotDelivered(failure)
    if alert.picture is None:
        return
    try:
        client.files_upload_v2(
            channel=said["channel"],
            thread_ts=said["ts"],
            content=alert.picture.content,
            filename=alert.picture.name,
            title=alert.title,
        )
    except (SlackApiError, OSError) as error:  # the message is there: it is not sent again for its picture
        why = error.response["error"] if isinstance(error, SlackApiError) else _plainly(error)
        log(f"Slack has the message, but took no picture: {why}")


def _mail(alert: Alert, to: EmailSettings) -> None:
    message = EmailMessage()
    message["Subject"] = " ".join(alert.title.split())
    message["From"], message["To"] = to.sender, ", ".join(to.to)
    message["Message-ID"] = f"<{alert.id.encode().hex()}@uad>"
    message.set_content(alert.text + "\n")
    if alert.picture is not None:
        kind, _, subtype = alert.picture.media_type.partition("/")
        message.add_attachment(
            alert.picture.content, maintype=kind, subtype=subtype, filename=alert.picture.name
        )
    why = ""
    try:
        with _server(to) as server:
            server.send_message(message)
    except smtplib.SMTPResponseException as error:
        answer = error.smtp_error
        answer = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        why = f"the mail server answered {error.smtp_code}: {answer}"
    except smtplib.SMTPException as error:
        why = f"the mail server took the mail for none of its receivers ({type(error).__name__})"
    except OSError as error:
        why = f"the mail server {to.host}:{to.port} cannot be reached: {_plainly(error)}"
    if why:
        raise NotDelivered(why)


def _server(to: EmailSettings) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if to.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(to.host, to.port, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(to.host, to.port, timeout=SECONDS)
    try:
        if to.security == "starttls":
            server.starttls(context=context)
        if to.user is not None and to.password_env is not None:
            server.login(to.user, secret(to.password_env))
    except BaseException:
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
        raise
    return server
