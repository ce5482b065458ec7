"""Mail and Slack get title, sentence, link and picture; what goes wrong is said without secrets."""

from __future__ import annotations

import json
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from typing import Any

import dagster as dg
import pytest

from uad_orchestrator.orchestration.automation import alert_channels
from uad_orchestrator.orchestration.automation.alert_channels import (
    LARGEST_PICTURE,
    NotDelivered,
    send,
)
from uad_orchestrator.orchestration.automation.alert_message import Alert, Picture, Place
from uad_orchestrator.orchestration.dagster_instance.check_events import Evaluation
from uad_orchestrator.project.settings import AlertSettings

FOUND = Evaluation(
    number=12,
    when=1_795_000_000.0,
    key=dg.AssetCheckKey(dg.AssetKey("line_health"), "look_drift"),
    partition="alpha/disc:patchcore|2026-11-26",
    passed=False,
    said="brighter",
    metadata={},
)
ALERT = Alert(
    "12:look_drift",
    FOUND,
    Place("alpha/disc x patchcore", "2026-11-26"),
    "http://line7:3000/assets/line_health",
    Picture(b"\x89PNG picture", "image/png", "disc.png"),
    None,
)
TITLE = "look_drift warns: alpha/disc x patchcore, 2026-11-26"


@dataclass
class MailServer:
    """Speaks as much SMTP as a client needs."""

    port: int
    refuses: str = ""
    mails: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline().decode().strip():
                found.said.append(line)
                verb = line.split()[0].upper()
                if found.refuses and verb == found.refuses:
                    self.wfile.write(b"554 5.7.1 no mail from there\r\n")
                elif verb == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    found.mails.append(b"".join(lines))
                    self.wfile.write(b"250 taken\r\n")
                elif verb == "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        found = MailServer(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        server.shutdown()


def by_mail(server: MailServer, **changes: Any) -> AlertSettings:
    about = {
        "to": ["anna@line7.example", "ben@line7.example"],
        "sender": "uad@line7.example",
        "host": "127.0.0.1",
    }
    return AlertSettings.model_validate(
        {"email": {**about, "port": server.port, "security": "none", **changes}}
    )


def test_a_mail_has_the_picture_with_it(mail_server: MailServer) -> None:
    send(ALERT, by_mail(mail_server), print)
    (raw,) = mail_server.mails
    mail = message_from_bytes(raw, policy=policy.default)
    assert (mail["Subject"], mail["To"]) == (TITLE, "anna@line7.example, ben@line7.example")
    text, picture = mail.iter_parts()
    assert text.get_content().splitlines() == [TITLE, "brighter", "http://line7:3000/assets/line_health"]
    assert (picture.get_content_type(), picture.get_content()) == ("image/png", b"\x89PNG picture")
    assert [line for line in mail_server.said if line.startswith("rcpt")] == [
        "rcpt TO:<anna@line7.example>", "rcpt TO:<ben@line7.example>"
    ]  # fmt: skip
    send(replace(ALERT, picture=None), by_mail(mail_server), print)
    assert not message_from_bytes(mail_server.mails[1], policy=policy.default).is_multipart()


@pytest.mark.parametrize(
    ("refuses", "said"),
    [("MAIL", "answered 554"), ("RCPT", "none of its receivers"), ("DATA", "answered 554")],
)
def test_a_server_that_refuses_is_quoted(mail_server: MailServer, refuses: str, said: str) -> None:
    mail_server.refuses = refuses
    with pytest.raises(NotDelivered, match=said):
        send(ALERT, by_mail(mail_server), print)


def test_a_server_that_cannot_be_reached_or_has_no_tls_is_named(mail_server: MailServer) -> None:
    with pytest.raises(NotDelivered, match=r"the mail server 127.0.0.1:9 cannot be reached"):
        send(ALERT, by_mail(mail_server, port=9), print)
    with pytest.raises(NotDelivered, match=r"none of its receivers|STARTTLS"):
        send(ALERT, by_mail(mail_server, security="starttls"), print)
    assert not mail_server.mails, "nothing goes out in the clear that was to be encrypted"


def test_a_password_that_is_not_set_is_said_and_never_sent(mail_server: MailServer) -> None:
    with pytest.raises(ValueError, match="in the clear"):
        by_mail(mail_server, user="uad", password_env="MAIL_PASSWORD")  # pragma: allowlist secret


def test_a_password_goes_out_encrypted_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    class Server:
        def __init__(self, host: str, port: int, **_: Any) -> None:
            calls.append(("open", host, str(port)))

        def starttls(self, context: Any) -> None:
            calls.append(("starttls", str(context.check_hostname)))

        def login(self, user: str, password: str) -> None:
            calls.append(("login", user, password))

        def send_message(self, message: Any) -> None:
            calls.append(("send", message["Subject"]))

        def quit(self) -> None:
            calls.append(("quit",))

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(smtplib, "SMTP", Server)
    about = {
        "to": ["a@b.example"],
        "sender": "u@b.example",
        "host": "mail",
        "user": "uad",
        "password_env": "LINE_MAIL",  # pragma: allowlist secret
    }
    to = AlertSettings.model_validate({"email": about})
    with pytest.raises(NotDelivered, match="LINE_MAIL is not set"):
        send(ALERT, to, print)
    assert calls == [("open", "mail", "587"), ("starttls", "True"), ("quit",)]
    calls.clear()
    monkeypatch.setenv("LINE_MAIL", "hidden")
    send(ALERT, to, print)
    assert calls[1:] == [("starttls", "True"), ("login", "uad", "hidden"), ("send", TITLE)]


class SlackClient:
    """Stands in for slack_sdk's."""

    def __init__(self, refuses: str = "") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refuses = refuses

    def _call(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        from slack_sdk.errors import SlackApiError

        self.calls.append((name, given))
        if self.refuses == name:
            raise SlackApiError("refused", {"ok": False, "error": "not_in_channel"})
        return {"channel": "C042", "ts": "17.5"}

    def chat_postMessage(self, **given: Any) -> dict[str, Any]:  # noqa: N802
        return self._call("message", given)

    def files_upload_v2(self, **given: Any) -> dict[str, Any]:
        return self._call("picture", given)


BY_SLACK = AlertSettings.model_validate({"slack": {"channel": "#line7", "token_env": "LINE_SLACK"}})


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackClient]:
    dagster_slack = pytest.importorskip("dagster_slack")
    client, tokens = SlackClient(), []

    def get_client(self: Any) -> SlackClient:
        tokens.append(self.token)
        return client

    monkeypatch.setattr(dagster_slack.SlackResource, "get_client", get_client)
    monkeypatch.setenv("LINE_SLACK", "xoxb-hidden")
    yield client
    assert set(tokens) <= {"xoxb-hidden"}


def test_slack_gets_the_message_and_the_picture_below_it(slack: SlackClient) -> None:
    send(ALERT, BY_SLACK, print)
    (_, message), (_, picture) = slack.calls
    assert message["channel"] == "#line7" and message["text"].startswith(TITLE)
    assert (picture["channel"], picture["thread_ts"], picture["content"]) == (
        "C042",
        "17.5",
        b"\x89PNG picture",
    )


def test_slack_without_the_picture_is_delivered_all_the_same(slack: SlackClient) -> None:
    slack.refuses, said = "picture", list[str]()
    send(ALERT, BY_SLACK, said.append)
    assert said == ["Slack has the message, but took no picture: not_in_channel"]


def test_slack_that_refuses_is_said(slack: SlackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slack.refuses = "message"
    with pytest.raises(NotDelivered, match="Slack refused the message: not_in_channel") as error:
        send(ALERT, BY_SLACK, print)
    assert "hidden" not in str(error.value)
    monkeypatch.delenv("LINE_SLACK")
    with pytest.raises(NotDelivered, match="LINE_SLACK is not set"):
        send(ALERT, BY_SLACK, print)


def test_slack_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uad_orchestrator.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"uad_orchestrator\[alerts\]"):
        send(ALERT, BY_SLACK, print)


def test_a_large_picture_is_left_out_of_a_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, Any]] = []
    monkeypatch.setattr(
        alert_channels, "post_json", lambda url, message, *about: bodies.append(json.loads(message))
    )
    to = AlertSettings.model_validate({"webhook": "http://127.0.0.1/hook"})
    for size in (LARGEST_PICTURE, LARGEST_PICTURE + 1):
        send(replace(ALERT, picture=Picture(b"x" * size, "image/png", "a.png")), to, print)
    assert [body["picture"] is None for body in bodies] == [False, True]


def test_an_address_from_the_environment_that_is_none_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINE7_HOOK", "http://127.0.0.1:9/hook/se cret")
    to = AlertSettings.model_validate({"webhook": {"url_env": "LINE7_HOOK"}})
    with pytest.raises(NotDelivered, match="cannot be reached: InvalidURL") as failed:
        send(ALERT, to, print)
    assert "cret" not in str(failed.value) and failed.value.__context__ is None
