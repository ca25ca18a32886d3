"""From the body of a request to what the engine is asked for. Whatever does not fit is an `ApiProblem`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whet.errors import WhetError
from whet.seeding import key
from whet.serving.problems import ApiProblem
from whet.serving.served import Served
from whet.types import Request, SamplingParams

MAX_CHOICES = 1024
"""Completions of one request, over all of its prompts."""
_MAX_STOPS = 4

_WITHOUT_EFFECT = {
    "user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
}  # fmt: skip
"""Known to OpenAI's API, and without influence on what a model says: taken and not looked at."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "top_logprobs": (0,),
    "functions": ([],),
    "function_call": ("none",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
}
"""Known to OpenAI's API and not built here: only these values, which ask for nothing, are taken."""
_EXPECTED: Mapping[str, str] = {
    "prompt": "a text, a list of texts, a list of token ids, or a list of such lists",
    "stop": "a text, or a list of up to 4 texts, none of them empty",
    "messages": "a list of one message or more, each with a role (system, developer, user, assistant) and a content "
    "(a text, or a list of text parts)",
}

Ids = Annotated[list[int], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that the engine can answer."""

    requests: tuple[Request, ...]
    """One per prompt; choice `i * n + j` is sample j of prompt i."""
    params: SamplingParams
    stream: bool
    include_usage: bool
    logprobs: bool

    @property
    def num_choices(self) -> int:
        """Completions in the answer."""
        return sum(len(r.keys) for r in self.requests)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once."""
        return sum(len(r.prompt_ids) for r in self.requests)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _StreamOptions(_Body):
    include_usage: bool = False
    include_obfuscation: bool = False  # random padding against listeners, none here


class _Common(_Body):
    model: str
    n: int = Field(default=1, ge=1, le=128)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=0)
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 63)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def wants_logprobs(self) -> bool:
        value = getattr(self, "logprobs", None)
        return value is not None and value is not False  # 0 is a wish: the sampled tokens, no alternatives


Asked = TypeVar("Asked", bound=_Common)


class _Completion(_Common):
    prompt: str | Annotated[list[str], Field(min_length=1)] | Ids | Annotated[list[Ids], Field(min_length=1)]
    logprobs: int | None = Field(default=None, ge=0, le=5)


class _Part(_Body):
    type: Literal["text"]
    text: str


class _Message(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None


class _Chat(_Common):
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False


def read_completion(body: bytes, served: Served) -> Question:
    """The question of a `/v1/completions` body."""
    asked = _validated(_Completion, body, served)
    if asked.logprobs:
        raise ApiProblem(
            f"logprobs is {asked.logprobs}, and only the log-probabilities of the sampled tokens are known: expected 0",
            "logprobs",
            "unsupported_value",
        )
    return _question(asked, [_plain_ids(p, served) for p in _prompts(asked.prompt)], served)


def read_chat(body: bytes, served: Served) -> Question:
    """The question of a `/v1/chat/completions` body."""
    asked = _validated(_Chat, body, served)
    if asked.max_completion_tokens is not None:
        if asked.max_tokens not in (None, asked.max_completion_tokens):
            raise ApiProblem("max_tokens and max_completion_tokens differ: give one of them", "max_tokens")
        asked.max_tokens = asked.max_completion_tokens
    messages = [_message(m) for m in asked.messages]
    try:
        ids = served.encoder.chat(messages)
    except WhetError as error:
        hint = "" if served.encoder.is_chat else ". This model completes plain text: ask /v1/completions"
        raise ApiProblem(f"{error}{hint}", "messages") from error
    return _question(asked, [ids], served)


def _validated(kind: type[Asked], body: bytes, served: Served) -> Asked:
    values = {name: value for name, value in _mapping(body).items() if value is not None}
    for name in values.keys() & _NEUTRAL.keys():
        if values[name] not in _NEUTRAL[name]:
            raise ApiProblem(f"{name} is not supported here: leave it out", name, "unsupported_parameter")
    try:
        asked = kind.model_validate(
            {k: v for k, v in values.items() if k not in _WITHOUT_EFFECT and k not in _NEUTRAL}
        )
    except ValidationError as error:
        _explain(error)
    if asked.model != served.name:
        raise ApiProblem(
            f"The model {asked.model!r} does not exist; this server has {served.name!r}",
            "model",
            "model_not_found",
            404,
        )
    if asked.stream_options is not None and not asked.stream:
        raise ApiProblem("stream_options goes only with stream: true", "stream_options")
    if asked.stream and asked.wants_logprobs:
        raise ApiProblem(
            "logprobs are known once a completion is done, not while it streams: set stream to false",
            "logprobs",
            "unsupported_value",
        )
    return asked


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiProblem(
            f"We could not parse the JSON body of your request: {error}", code="invalid_json"
        ) from error
    if not isinstance(values, dict):
        raise ApiProblem(f"expected a JSON object, found {_short(values)}", code="invalid_json")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _explain(error: ValidationError) -> NoReturn:
    """Raises the first mistake in OpenAI's words; codes are theirs too."""
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])
    top = str(first["loc"][0])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        raise ApiProblem(f"Missing required parameter: {top!r}.", top, "missing_required_parameter")
    if first["type"] == "extra_forbidden":
        raise ApiProblem(f"Unrecognized request argument supplied: {param}", param, "unknown_parameter")
    if top in _EXPECTED:
        raise ApiProblem(f"Invalid value for {top!r}: expected {_EXPECTED[top]}", top, "invalid_value")
    found = _short(first["input"])
    raise ApiProblem(f"Invalid value for {param!r}: {first['msg']}; found {found}", param, "invalid_value")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _question(asked: _Common, prompts: Sequence[tuple[int, ...]], served: Served) -> Question:
    if len(prompts) * asked.n > MAX_CHOICES:
        raise ApiProblem(
            f"{len(prompts)} prompts with n {asked.n} are {len(prompts) * asked.n} completions; at most {MAX_CHOICES}",
            "n",
        )
    for ids in prompts:
        _check_room(ids, asked, served)
    seed = secrets.randbits(63) if asked.seed is None else asked.seed
    return Question(
        requests=tuple(
            Request(prompt_ids=ids, keys=tuple(key(seed, "generate", i, j) for j in range(asked.n)))
            for i, ids in enumerate(prompts)
        ),
        params=_params(asked, max(map(len, prompts)), served),
        stream=asked.stream,
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
        logprobs=asked.wants_logprobs,
    )


def _check_room(ids: tuple[int, ...], asked: _Common, served: Served) -> None:
    """OpenAI's own words for a request that is longer than the context."""
    context, wanted = served.policy.context_length, asked.max_tokens or 1
    param = "messages" if isinstance(asked, _Chat) else "prompt"
    if not ids:
        raise ApiProblem("the prompt is empty: the first token needs one before it", param, "invalid_value")
    if len(ids) + wanted > context:
        raise ApiProblem(
            f"This model's maximum context length is {context} tokens. However, you requested {len(ids) + wanted} "
            f"tokens ({len(ids)} in the prompt, {wanted} in the completion): shorten the prompt or lower max_tokens",
            param,
            "context_length_exceeded",
        )


def _params(asked: _Common, longest: int, served: Served) -> SamplingParams:
    """What is not asked for is as in the training; its completion length gives way to the context."""
    own, room = served.sampling, served.policy.context_length - longest
    stop = own.stop if asked.stop is None else _stops(asked.stop)
    return SamplingParams(
        max_completion_length=asked.max_tokens or min(own.max_completion_length, room),
        temperature=own.temperature if asked.temperature is None else asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        min_p=asked.min_p,
        stop=stop,
    )


def _stops(stop: str | list[str]) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > _MAX_STOPS or not all(stops):
        raise ApiProblem(f"Invalid value for 'stop': expected {_EXPECTED['stop']}", "stop", "invalid_value")
    return stops


def _prompts(prompt: Any) -> list[Any]:
    """Each prompt a text or a list of ids."""
    is_one = isinstance(prompt, str) or isinstance(prompt[0], int)
    return [prompt] if is_one else list(prompt)


def _plain_ids(prompt: str | list[int], served: Served) -> tuple[int, ...]:
    if isinstance(prompt, str):
        try:
            return served.encoder.plain(prompt)
        except WhetError as error:
            raise ApiProblem(str(error), "prompt", "invalid_value") from error
    size = served.policy.tokenizer.vocab_size
    if bad := [i for i in prompt if not 0 <= i < size]:
        raise ApiProblem(f"{bad[0]} is no token id; expected 0 to {size - 1}", "prompt", "invalid_value")
    return tuple(prompt)


def _message(message: _Message) -> dict[str, str]:
    """What a chat template takes; `developer` is OpenAI's newer name of `system`."""
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return {"role": "system" if message.role == "developer" else message.role, "content": text}
