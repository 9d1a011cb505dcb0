"""Hand a message to a file, a webhook, a mail server or Alertmanager; what it does not take raises ``NotDelivered``."""

import json
import os
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import urllib3

from components.shared.incidents.message import Event, Message, Severity
from components.shared.project import AlertmanagerSink, EmailSink, FileSink, Sink, WebhookSink

_TIMEOUT_S = 10.0
_SUCCESS = range(200, 300)

Alert = dict[str, str | dict[str, str]]
"""An alert in the JSON of Alertmanager's API, version 2."""


class NotDelivered(Exception):
    """A sink did not take a message; the text says why, without a secret."""


def wants(sink: Sink, event: Event) -> bool:
    """Return whether a sink gets messages of an event.

    People are told once. Alertmanager forgets an alert that is not repeated, and tells people by its own rules.
    """
    return event != "seen again" or isinstance(sink, AlertmanagerSink)


def send(sink: Sink, message: Message, root: Path) -> None:
    """Send a message, once.

    Args:
        sink: Where.
        message: What.
        root: The project's folder, to which a file is relative.

    Raises:
        NotDelivered: If it was not taken.
    """
    try:
        match sink:
            case FileSink():
                _append(root / sink.path, message)
            case WebhookSink():
                _post(_url(sink), message.model_dump_json().encode())
            case EmailSink():
                _mail(sink, message)
            case AlertmanagerSink():
                url = f"{sink.url.rstrip('/')}/api/v2/alerts"
                _post(url, json.dumps(_alerts(message)).encode(), _credentials(sink.credentials_env))
    except smtplib.SMTPException as error:
        raise NotDelivered(f"the mail server did not take it ({error})") from error
    except urllib3.exceptions.HTTPError as error:
        # The text of the error has the URL, which may be a secret.
        raise NotDelivered(f"the server cannot be reached ({type(error).__name__})") from error
    except OSError as error:
        raise NotDelivered(f"{error.strerror or error}") from error


def _append(path: Path, message: Message) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(message.model_dump_json() + "\n")


def _post(url: str, body: bytes, credentials: str | None = None) -> None:
    headers = {"Content-Type": "application/json"}
    if credentials is not None:
        headers |= urllib3.make_headers(basic_auth=credentials)
    with urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False) as pool:
        response = pool.request("POST", url, body=body, headers=headers)
    if response.status not in _SUCCESS:
        raise NotDelivered(f"the server answered with status {response.status}")


def _mail(sink: EmailSink, message: Message) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.title, sink.sender, ", ".join(sink.to)
    mail["Message-ID"] = f"<{message.id}@perennial>"
    mail.set_content(message.text)
    context, credentials = ssl.create_default_context(), _credentials(sink.credentials_env)
    connected = (
        smtplib.SMTP_SSL(sink.host, sink.port, timeout=_TIMEOUT_S, context=context)
        if sink.security == "tls"
        else smtplib.SMTP(sink.host, sink.port, timeout=_TIMEOUT_S)
    )
    with connected as server:
        if sink.security == "starttls":
            server.starttls(context=context)
        if credentials is not None:
            user, _, password = credentials.partition(":")
            server.login(user, password)
        server.send_message(mail)


def _alerts(message: Message) -> list[Alert]:
    """Return what Alertmanager's API takes. Equal labels are one alert, so a former severity is an alert that ends."""
    alerts = [_alert(message, message.severity, message.told_at if message.event == "resolved" else message.ends_at)]
    if message.former_severity is not None:
        alerts.append(_alert(message, message.former_severity, message.told_at))
    return alerts


def _alert(message: Message, severity: Severity, ends_at: str | None) -> Alert:
    labels = {
        "alertname": "PerennialIncident",
        "model": message.model,
        "incident": str(message.incident),
        "cause": message.cause,
        "severity": severity,
    }
    if message.owner:
        labels["owner"] = message.owner
    alert: Alert = {
        "labels": labels,
        "annotations": {"summary": message.title, "description": message.text},
        "startsAt": message.opened_at,
    }
    return alert if ends_at is None else alert | {"endsAt": ends_at}


def _url(sink: WebhookSink) -> str:
    return sink.url or _variable(sink.url_env or "")


def _credentials(name: str | None) -> str | None:
    return None if name is None else _variable(name)


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise NotDelivered(f"the environment variable {name} is not set")
    return value
