"""Conversations in data: a list of messages, `{role, content}` each, or `{from, value}` as ShareGPT writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.errors import DataError
from whet.tasks._rows import Row, shown

Message = Mapping[str, str]

_ROLES = ("system", "user", "assistant")
_SHAREGPT = {"human": "user", "gpt": "assistant"}


def messages_of(row: Row, field: str) -> tuple[Message, ...]:
    """The messages of a field. Raises `DataError` for one that is no text of a system, a user or an assistant."""
    value = row.value(field)
    if not isinstance(value, list) or not value:
        raise DataError(f"{row.where}: expected a list of messages in {field!r}, found {shown(value)}")
    return tuple(_message(item, f"{row.where}: message {n} of {field!r}") for n, item in enumerate(value, 1))


def asked_and_answered(row: Row, field: str) -> tuple[tuple[Message, ...], str | None]:
    """The conversation up to its last question, and the assistant's answer to it where one follows.

    Raises `DataError` when nothing is asked.
    """
    messages = messages_of(row, field)
    answer = messages[-1]["content"] if messages[-1]["role"] == "assistant" else None
    asked = messages if answer is None else messages[:-1]
    if not asked or asked[-1]["role"] != "user":
        roles = ", ".join(m["role"] for m in messages)
        raise DataError(
            f"{row.where}: expected {field!r} to end with a user's message, or with the assistant's answer to one; "
            f"found {roles}"
        )
    return asked, answer


def completion_of(row: Row, field: str) -> str:
    """The text of a completion that is written as a list of one message of the assistant."""
    messages = messages_of(row, field)
    if [m["role"] for m in messages] != ["assistant"]:
        roles = ", ".join(m["role"] for m in messages)
        raise DataError(f"{row.where}: expected one message of the assistant in {field!r}, found {roles}")
    return messages[0]["content"]


def turns_of(messages: tuple[Message, ...]) -> str:
    """What makes two conversations the same question: the text of its turns, without the system's."""
    return "\n".join(m["content"] for m in messages if m["role"] != "system")


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, Mapping):
        raise DataError(f"{where}: expected {{role, content}}, found {shown(item)}")
    role = item.get("role", item.get("from"))
    role = _SHAREGPT.get(role, role)
    if role not in _ROLES:
        raise DataError(f"{where}: expected the role {', '.join(_ROLES)}, found {shown(role)}")
    if item.get("tool_calls"):
        raise DataError(f"{where}: tool calls are not read; leave the row out")
    content = _content(item.get("content", item.get("value")))
    if content is None:
        raise DataError(
            f"{where}: expected text as its content, found {shown(item.get('content', item.get('value')))}"
        )
    return {"role": role, "content": content}


def _content(value: Any) -> str | None:
    """Text as it is, or the joined parts of `[{type: text, text: ...}]`; None for anything else."""
    if not isinstance(value, list):
        return value if isinstance(value, str) else None
    parts = [part for part in value if isinstance(part, Mapping) and part.get("type") == "text"]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if len(texts) == len(value) else None
