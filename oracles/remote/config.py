"""How a service is asked over a network: settings that change no answer, and so are part of no run key."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from oracles.errors import InvalidSpec, likely
from oracles.guard import RateLimit

MOST_IN_FLIGHT = 64

Seconds = Annotated[float, Field(gt=0.0, le=86_400.0, allow_inf_nan=False)]


class RemoteConfig(BaseModel):
    """The settings of a remote oracle. Raises InvalidSpec through `of`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds the API key."
    )
    key_file: str | None = Field(default=None, min_length=1, description="The file that holds the API key.")
    in_flight: Annotated[int, Field(strict=True, ge=1, le=MOST_IN_FLIGHT)] = Field(
        default=4, description="Calls that are sent side by side, 1 to 64."
    )
    pace: str | None = Field(
        default=None, description="At most so many images or calls per time, such as `10/second` or `5 calls/second`."
    )
    timeout: Seconds = Field(default=60.0, description="Seconds after which a call without a reply counts as lost.")
    patience: Seconds = Field(
        default=600.0, description="Seconds in which one call is repeated after losses, rate limits and outages."
    )
    batch: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Images per call; by default as many as the service states, else 128."
    )
    endpoint: str | None = Field(
        default=None, description="The address of the service where its name does not state one: `https://HOST`."
    )
    class_names: str | tuple[str, ...] | None = Field(
        default=None,
        description="The names of the classes in the order of their numbers, or a file with a name a line; by default"
        " those that the service states, else those of the images.",
    )
    ca_file: str | None = Field(default=None, description="Certificates (PEM) to trust in place of the system's.")
    proxy: bool = Field(default=False, description="Use the proxy that the environment names (HTTPS_PROXY).")
    plain_http: bool = Field(
        default=False, description="Send the key to another machine over http://, which everybody on the way can read."
    )

    @field_validator("pace")
    @classmethod
    def _pace(cls, text: str | None) -> str | None:
        if text is not None:
            RateLimit.parse(text)  # InvalidSpec is a ValueError
        return text

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, text: str | None) -> str | None:
        if text is not None and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname):
            raise ValueError("give an address such as https://HOST")
        return text

    @model_validator(mode="after")
    def _one_key(self) -> RemoteConfig:
        if self.key_env is not None and self.key_file is not None:
            raise ValueError("key_env and key_file exclude each other; keep one")
        return self

    @classmethod
    def of(cls, settings: dict[str, Any]) -> RemoteConfig:
        """A config from plain values. Raises InvalidSpec in one line."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"][:1])
            if first["type"] == "extra_forbidden":
                raise InvalidSpec(f"remote has no setting {name!r}{likely(name, cls.model_fields)}") from None
            said = first["msg"].removeprefix("Value error, ")
            raise InvalidSpec(f"remote{f'.{name}' if name else ''}: {said}") from None
