"""The web side: routes, bodies, events. The one file that knows Starlette and uvicorn."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from whet.errors import missing_extra
from whet.serving.answers import Answer, ChatAnswer
from whet.serving.chunks import Chunks
from whet.serving.problems import ApiProblem, our_fault
from whet.serving.questions import Question, read_chat, read_completion
from whet.serving.served import Served
from whet.serving.worker import Done, Event, Job, Token, Worker
from whet.types import Completion

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    Handler = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def require_extra() -> None:
    """Raises `ConfigError` with the command that installs what is missing."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise missing_extra("whet serve", str(error.name), "serve") from None
    assert starlette and uvicorn


def application(served: Served, worker: Worker, hosts: tuple[str, ...] = ("*",)) -> Starlette:
    """The ASGI application. hosts: names under which it may be asked; `*` is any."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    api = _Api(served, worker)
    return Starlette(
        routes=[
            Route("/health", _answering(api.health)),
            Route("/v1/models", _answering(api.models)),
            Route("/v1/models/{name:path}", _answering(api.model)),
            Route("/v1/completions", _answering(api.completions), methods=["POST"]),
            Route("/v1/chat/completions", _answering(api.chat_completions), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _no_route},
        # A page of another site must not reach the server under a name of its own (DNS rebinding).
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False)],
    )


def server(app: Starlette, on_exit: Callable[[bool], None], grace_s: float) -> uvicorn.Server:
    """A server that ends on SIGINT and SIGTERM without raising; `on_exit` hears of it, and whether it is urgent."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            on_exit(self.should_exit)
            self.force_exit = self.should_exit  # asked twice
            self.should_exit = True

    return Server(
        uvicorn.Config(
            app,
            log_level="critical",  # what matters is logged here
            access_log=False,
            lifespan="off",
            # A client that never sends its body would keep the server from ending.
            timeout_graceful_shutdown=round(grace_s) + 2,
        )
    )


class _Api:
    """The handlers."""

    def __init__(self, served: Served, worker: Worker) -> None:
        self._served = served
        self._worker = worker

    async def health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def models(self, request: Request) -> Response:
        return _json({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name != self._served.name:
            raise ApiProblem(f"The model {name!r} does not exist", "model", "model_not_found", 404)
        return _json(self._card())

    async def completions(self, request: Request) -> Response:
        question = read_completion(await _body(request), self._served)
        return await self._respond(request, Answer(question, self._served))

    async def chat_completions(self, request: Request) -> Response:
        question = read_chat(await _body(request), self._served)
        return await self._respond(request, ChatAnswer(question, self._served))

    def _card(self) -> dict[str, Any]:
        served = self._served
        return {"id": served.name, "object": "model", "created": served.created, "owned_by": "whet"}

    async def _respond(self, request: Request, answer: Answer) -> Response:
        pending = _Pending(self._worker, answer.question)
        if answer.question.stream:
            return _event_stream(_chunks(pending, answer))
        return _json(answer.whole(await _unless_gone(request, pending)))


class _Pending:
    """A job in the worker, seen from the event loop."""

    def __init__(self, worker: Worker, question: Question) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._job = Job(question, self._deliver)
        worker.submit(self._job)

    def _deliver(self, event: Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def drop(self) -> None:
        """Nobody waits any more."""
        self._job.is_dropped = True

    async def events(self) -> list[Token | Done]:
        """All that has come since, at least one; raises the problem that ended the job."""
        found = [await self._events.get()]
        while not self._events.empty():
            found.append(self._events.get_nowait())
        if isinstance(found[-1], ApiProblem):
            raise found[-1]
        return [e for e in found if not isinstance(e, ApiProblem)]

    async def completions(self) -> list[Completion]:
        """Every choice, in order."""
        found: dict[int, Completion] = {}
        while len(found) < self._job.question.num_choices:
            found.update({e.choice: e.completion for e in await self.events() if isinstance(e, Done)})
        return [found[i] for i in sorted(found)]


async def _unless_gone(request: Request, pending: _Pending) -> list[Completion]:
    """The completions; when the client leaves, the job is dropped."""
    answer = asyncio.ensure_future(pending.completions())
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ApiProblem("the client has left", status=499)
        return answer.result()
    finally:
        pending.drop()
        answer.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _chunks(pending: _Pending, answer: Answer) -> AsyncIterator[bytes]:
    """Server-sent events up to `[DONE]`. A problem on the way is the last event."""
    try:
        for chunk in answer.openings():
            yield _event(chunk)
        chunks = Chunks(answer)
        while chunks.left:
            for chunk in chunks.take(await pending.events()):
                yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except ApiProblem as problem:
        yield _event(problem.body)
    finally:
        pending.drop()


async def _body(request: Request) -> bytes:
    """The body of a request: JSON of a bounded size.

    A browser sends JSON to another site only after asking, and is not allowed to: pages cannot use a local server.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiProblem(f"expected the header Content-Type: application/json, found {kind!r}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ApiProblem(f"the body is larger than {MAX_BODY_BYTES} bytes", status=413)
    return bytes(body)


def _answering(handler: Handler) -> Handler:
    """The handler, with problems as answers and failures of ours as 500."""

    async def answer(request: Request) -> Response:
        from starlette.requests import ClientDisconnect

        try:
            return await handler(request)
        except ApiProblem as problem:
            return _json(problem.body, problem.status)
        except ClientDisconnect:
            return _json({}, 499)
        except Exception:  # noqa: BLE001 - a client gets an answer, the log the reason
            _log.exception("%s %s failed", request.method, request.url.path)
            return _json(our_fault().body, 500)

    return answer


async def _no_route(request: Request, error: Any) -> Response:
    """404 and 405 in OpenAI's words."""
    asked = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        problem = ApiProblem(f"Not allowed: {asked}; expected {allowed}", None, "method_not_supported", 405)
    else:
        problem = ApiProblem(f"Invalid URL ({asked})", None, "unknown_url", error.status_code)
    return _json(problem.body, problem.status, error.headers)


def _json(value: Any, status: int = 200, headers: Any = None) -> Response:
    """JSON in ASCII: a request may smuggle in halves of surrogate pairs, which have no UTF-8."""
    from starlette.responses import Response

    return Response(json.dumps(value).encode(), status, headers, "application/json")


def _event_stream(events: AsyncIterator[bytes]) -> Response:
    from starlette.responses import StreamingResponse

    return StreamingResponse(
        events,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
