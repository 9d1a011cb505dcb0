"""Who is told of incidents."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.shared.project.section import Section

_VARIABLE = r"^[A-Z][A-Z0-9_]*$"


class FileSink(Section):
    """A file that gets one line of JSON per message."""

    kind: Literal["file"] = Field(description="Type of the sink.")
    path: str = Field(description="The file, relative to the project file.")


class WebhookSink(Section):
    """A URL that gets each message as JSON by POST."""

    kind: Literal["webhook"] = Field(description="Type of the sink.")
    url: str | None = Field(None, pattern="^https?://", description="Where to send; without a secret in it.")
    url_env: str | None = Field(None, pattern=_VARIABLE, description="Environment variable that holds the URL.")

    @model_validator(mode="after")
    def _one_url(self) -> "WebhookSink":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("a webhook needs either 'url' or 'url_env'")
        return self


class EmailSink(Section):
    """A mail server."""

    kind: Literal["email"] = Field(description="Type of the sink.")
    host: str = Field(description="The SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is encrypted.")
    credentials_env: str | None = Field(
        None, pattern=_VARIABLE, description="Environment variable that holds 'user:password'."
    )
    sender: str = Field(description="Address of the sender.")
    to: tuple[str, ...] = Field(min_length=1, description="Addresses of the readers.")


class AlertmanagerSink(Section):
    """Prometheus's Alertmanager, which groups, silences and routes."""

    kind: Literal["alertmanager"] = Field(description="Type of the sink.")
    url: str = Field(pattern="^https?://", description="Its address, such as http://alertmanager:9093.")
    credentials_env: str | None = Field(
        None, pattern=_VARIABLE, description="Environment variable that holds 'user:password', if it asks for one."
    )


Sink = Annotated[FileSink | WebhookSink | EmailSink | AlertmanagerSink, Field(discriminator="kind")]
