"""Whether a service answers, in a time that is short whatever the network does."""

from __future__ import annotations

import threading

TIMEOUT_S = 3.0


def why_unreachable(url: str, timeout_s: float = TIMEOUT_S) -> str | None:
    """None when something answers there, be it with an error page; else why not. Proxies are those of the system."""
    found: list[str | None] = []
    # A look-up of a name has no time limit of its own, so the whole question runs beside us and is left behind.
    asking = threading.Thread(target=lambda: found.append(_ask(url, timeout_s)), daemon=True)
    asking.start()
    asking.join(timeout_s)
    return found[0] if found else f"no answer in {timeout_s:g} s"


def _ask(url: str, timeout_s: float) -> str | None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        urlopen(Request(url, method="HEAD"), timeout=timeout_s).close()
    except HTTPError:
        return None
    except URLError as error:
        return str(error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None
