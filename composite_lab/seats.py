"""Seat: a place at the table, that is a model and the parameters it is called with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    model_validator,
)

from composite_lab.errors import ConfigError
from composite_lab.redaction import MASK

COMPOSITE_PREFIX = "composite/"
PROFILE = "profile"
"""What stands in place of a strategy in `composite/profile/<name>`."""
MAX_DEPTH = 3
"""How deep composites may nest: a composite of composites of composites of plain models."""

_SECRET_NAME = re.compile(
    r"(^|[_-])(api_?key|key|key_id|secret|token|password|passwd|credentials?|auth|authorization|bearer|cookie|"
    r"(extra_|default_)?headers)$",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(\w+://)([^/@\s]+)@")
_NO_SECRET = re.compile(r"cost_per_token$|token_cost$|cache_key$")


class Frozen(BaseModel):
    """The base of all configuration: cannot be changed, and refuses a name it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # type checkers and editors keep the signature made from the fields

        def __init__(self, *unnamed: Any, **options: Any) -> None:
            if unnamed:
                kind, first = type(self).__name__, next(iter(type(self).model_fields))
                raise ConfigError(f"{kind} takes its options by name, for example {kind}({first}=…)")
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise ConfigError(explain(error, type(self).model_fields)) from None

        def __setattr__(self, name: str, value: Any) -> None:
            kind = type(self).__name__  # pydantic's own error would repeat the value, and it may be a key
            raise ConfigError(f"a {kind} is frozen: make another with model_copy(update={{{name!r}: …}})")


if TYPE_CHECKING:
    Secret = SecretStr | str
else:
    Secret = SecretStr
"""What a caller may write for a secret. It becomes a SecretStr."""


def reveal(secret: Secret) -> str:
    """The secret itself, for the one place that sends it."""
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


class Seat(Frozen):
    """A model and the parameters it is called with. A plain string is coerced to a Seat.

    Prices are USD per token and stand in for LiteLLM's price list. `params` is passed on to LiteLLM
    as it is; `credentials` too, but is kept secret like `api_key` (for example
    `{"aws_secret_access_key": …}`). Raises `ConfigError` on an unknown name or a bad value.
    """

    model: str = Field(min_length=1)
    name: str | None = None
    api_base: str | None = None
    api_key: Secret | None = None
    api_version: str | None = None
    credentials: Mapping[str, Secret] = Field(default_factory=dict)
    extra_headers: Mapping[str, Secret] = Field(default_factory=dict)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    max_completion_tokens: int | None = Field(default=None, gt=0)
    stop: str | list[str] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    timeout_s: float | None = Field(default=None, gt=0)
    retries: int | None = Field(default=None, ge=0)
    input_cost_per_token: float | None = Field(default=None, ge=0)
    output_cost_per_token: float | None = Field(default=None, ge=0)
    cache_read_input_token_cost: float | None = Field(default=None, ge=0)

    @field_serializer("api_base", when_used="json")
    def _without_user(self, url: str | None) -> str | None:
        return url and without_user_info(url)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.input_cost_per_token is None) != (self.output_cost_per_token is None):
            raise ValueError(
                "input_cost_per_token and output_cost_per_token go together: state both, in USD per token"
            )
        for name in self.params:
            if name in type(self).model_fields:
                raise ValueError(f"params[{name!r}] is a field of its own: Seat({name}=…)")
        if secret := next(filter(is_secret_name, _names_in(self.params)), None):
            place = "extra_headers" if secret.endswith("headers") else "credentials"
            raise ValueError(f"params holds {secret!r}, which looks like a secret: put it into `{place}`")
        return self

    def __str__(self) -> str:
        return self.name or self.model

    @property
    def is_composite(self) -> bool:
        """True when the model is itself a composite (`composite/moa/…`)."""
        return self.model.startswith(COMPOSITE_PREFIX)

    @property
    def plain_model(self) -> str | None:
        """The model at the bottom: of `composite/moa/openai/gpt-4o` it is `openai/gpt-4o`.

        None when a profile is there: which models that has is known when it is looked up.
        """
        if not self.is_composite:
            return self.model
        return None if self.profile is not None else self._innermost().partition("/")[2]

    @property
    def profile(self) -> str | None:
        """The profile at the bottom: of `composite/profile/fast` it is `fast`. None when there is none."""
        if not self.is_composite:
            return None
        kind, _, name = self._innermost().partition("/")
        return name if kind == PROFILE else None

    def _innermost(self) -> str:
        return self.model.rsplit(COMPOSITE_PREFIX, 1)[-1]

    def call_params(self, sample: int = 0) -> dict[str, Any]:
        """The model parameters of one call, without secrets.

        A stated `seed` is moved on by one for each further sample, or all samples would be alike.
        """
        names = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "reasoning_effort")
        params = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            params["seed"] = self.seed + sample
        return params | self.params

    def secrets(self) -> list[str]:
        """Every secret value of this seat, for redaction."""
        values = [*self.credentials.values(), *self.extra_headers.values()]
        if self.api_key is not None:
            values.append(self.api_key)
        stated = [revealed for value in values if (revealed := reveal(value))]
        return stated + user_info(self.api_base or "")


def _coerce_seat(value: Any) -> Any:
    if isinstance(value, str):
        return {"model": value}
    return value


if TYPE_CHECKING:
    SeatLike = Seat | str | Mapping[str, Any]
else:
    SeatLike = Annotated[Seat, BeforeValidator(_coerce_seat)]
"""What a caller may write for a Seat: a Seat, a model string or a dict of Seat fields. It becomes a Seat."""


def nesting_depth(model: str) -> int:
    """How many composites are wrapped around the plain model in a model string."""
    return model.count(COMPOSITE_PREFIX)


def unknown_name(name: str, known: Iterable[str], what: str = "option") -> str:
    """A sentence about a misspelt name that offers the nearest right one."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown {what} {name!r}: {hint}"


def explain(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """A pydantic error as one sentence a fault: the option, what was given, what would work.

    Secrets are never repeated.
    """
    sentences = []
    for fault in error.errors():
        path = [str(part) for part in fault["loc"]]
        where = ".".join(path)
        if fault["type"] == "extra_forbidden":
            known = fields if len(path) == 1 else Seat.model_fields
            sentences.append(unknown_name(path[-1], known))
            continue
        sentences.append(f"{where}: {describe(fault)}" if where else describe(fault))
    return "; ".join(sentences)


def describe(fault: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a sentence that does not say where: the rule, and what was given."""
    path = [str(part) for part in fault["loc"]]
    message = str(fault["msg"]).removeprefix("Value error, ")
    told_below = isinstance(fault.get("ctx", {}).get("error"), ConfigError)
    if fault["type"] == "string_type" and isinstance(fault["input"], bool):
        message += "; YAML reads yes and no as true and false: put them in quotes"
    hidden = not path or told_below or fault["type"] == "missing" or any(map(is_secret_name, path))
    return message if hidden else f"{message} (given: {_shown(fault['input'])!r})"


def is_secret_name(name: str) -> bool:
    """True for the name of something that looks like a key, a token or a password."""
    return _SECRET_NAME.search(name) is not None and _NO_SECRET.search(name) is None


def secrets_in(value: Any) -> list[str]:
    """Every text that stands under a secret's name somewhere in the data."""
    if isinstance(value, Mapping):
        below = (
            _texts(item) if is_secret_name(str(name)) else secrets_in(item) for name, item in value.items()
        )
    elif isinstance(value, list | tuple):
        below = (secrets_in(item) for item in value)
    else:
        return []
    return [text for texts in below for text in texts]


def without_secrets(value: Any) -> Any:
    """The data with a mask for what stands under a secret's name, and for the user in a URL."""
    if isinstance(value, Mapping):
        return {
            name: MASK if item is not None and is_secret_name(str(name)) else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return without_user_info(value) if isinstance(value, str) else value


def without_user_info(text: str) -> str:
    """The text with a mask for who logs in with the URLs in it."""
    return _USER_INFO.sub(rf"\g<1>{MASK}@", text)


def user_info(url: str) -> list[str]:
    """Who logs in with a URL (`https://user:password@host`): all of it, and the password."""
    found = _USER_INFO.match(url)
    if found is None:
        return []
    _, _, password = found[2].partition(":")
    return [found[2], *([password] if password else [])]


def _texts(value: Any) -> list[str]:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, str):
        return [value, value.rpartition(" ")[2]]  # `Bearer abc` gives away abc
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list | tuple) else []


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield str(name)
            yield from _names_in(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _names_in(below)


def _shown(value: Any) -> Any:
    """The value with what looks like a secret masked."""
    if isinstance(value, dict):
        return {name: MASK if is_secret_name(str(name)) else _shown(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_shown, value))
    return value
