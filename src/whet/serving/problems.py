"""What is wrong with a request, in the form in which OpenAI's API says it."""

from __future__ import annotations

from typing import Any


class ApiProblem(Exception):
    """One error answer: its status, and the field and code that name the mistake."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status

    @property
    def body(self) -> dict[str, Any]:
        """`{"error": {...}}`, ready for JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def shutting_down() -> ApiProblem:
    """The answer to what cannot be finished any more."""
    return ApiProblem("the server is shutting down: ask again when it is back", status=503)


def our_fault() -> ApiProblem:
    """The answer when the server itself failed; the reason is in its log."""
    return ApiProblem("the server failed while it answered; its log says why", status=500)
