"""API keys: their file, and what each of them may do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from oracles.guard import RateLimit
from oracles.spec import OracleSpec


class Key(BaseModel):
    """One API key. Raises ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[a-z0-9]{8}$", description="Public part of the key; it stands in ledgers and logs.")
    name: str = Field(min_length=1, max_length=100, description="Whose key it is.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the secret part.")
    created: datetime = Field(description="When it was made.")
    budget: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Queries in all; none for no limit.")
    topped_up: int = Field(default=0, ge=0, description="Queries added to the budget later.")
    rate: str | None = Field(default=None, description="Limit over all models, as `rate_limit` of an oracle.")
    oracle: OracleSpec = Field(default=OracleSpec(), description="Restrictions besides those of the models.")
    models: tuple[str, ...] | None = Field(default=None, description="Models it may ask; none for all.")
    price_per_thousand: float | None = Field(default=None, ge=0, description="Price of 1000 queries.")
    currency: str = Field(default="", max_length=10, description="Of the price.")
    expires: datetime | None = Field(default=None, description="When it ends.")
    revoked: bool = Field(default=False, description="Whether it was ended before.")
    pardoned: datetime | None = Field(default=None, description="Bans before this time do not count.")

    @field_validator("rate")
    @classmethod
    def _rate(cls, text: str | None) -> str | None:
        if text is not None:
            RateLimit.parse(text)
        return text

    @property
    def cap(self) -> int | None:
        """The budget with what was added later."""
        return None if self.budget is None else self.budget + self.topped_up
