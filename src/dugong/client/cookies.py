"""Cookies: an adapter between `http.cookiejar` and our requests and responses.

Rules
=====

1. The jar's policy decides which cookies are stored, and where they go. By default that is
   `cookie_policy.CookiePolicy`, which implements RFC 6265. A jar of the caller's with Python's
   default policy gets it, too, because that policy sends cookies to other hosts. A policy that the
   caller has chosen, or a `DefaultCookiePolicy` with other settings, stays.
2. The host is that of the URL. A ``Host`` field of the caller's changes nothing.
3. Without cookies, nothing is done: `http.cookiejar` is not even loaded before the first
   ``Set-Cookie``.
4. A ``Cookie`` field of the caller's replaces that of the jar. `Cookies.header` is not called then.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from ..protocol.headers import Headers
    from .url import URL

#: Held while a jar is made. Without it, two threads could store cookies in two jars.
_LOCK = threading.Lock()


class Cookies:
    """The cookies of a client.

    Args:
        jar: a jar of the caller's. By default, a new one is made when it is needed.

    Raises:
        TypeError: *jar* is something else.
    """

    __slots__ = ("_jar",)

    def __init__(self, jar: CookieJar | None = None) -> None:
        if jar is not None:
            module = sys.modules.get("http.cookiejar")  # loaded if there is any jar
            if module is None or not isinstance(jar, module.CookieJar):
                raise TypeError(
                    f"cookies must be an http.cookiejar.CookieJar or None, not {type(jar).__name__}"
                )
            from .cookie_policy import adopt

            adopt(jar)
        self._jar = jar

    @property
    def jar(self) -> CookieJar:
        """The jar."""
        if self._jar is None:
            from .cookie_policy import new_jar

            with _LOCK:
                if self._jar is None:
                    self._jar = new_jar()
        return self._jar

    @property
    def empty(self) -> bool:
        """Whether there are no cookies."""
        return self._jar is None or next(iter(self._jar), None) is None

    def header(self, url: URL) -> str | None:
        """Return the value of ``Cookie`` for a request; ``None`` if there are no cookies for it.

        Args:
            url: the URL of the request.
        """
        jar = self._jar
        if jar is None or self.empty:
            return None
        request: Any = _Request(url)
        jar.add_cookie_header(request)
        value: str | None = request.cookie
        return value

    def store(self, url: URL, headers: Headers) -> None:
        """Store the cookies of a response, as far as the policy permits.

        Args:
            url: the URL of the request.
            headers: the fields of the response.
        """
        if headers.mentions("set-cookie"):
            response: Any = _Response(headers)
            request: Any = _Request(url)
            self.jar.extract_cookies(response, request)


class _Request:
    """What `http.cookiejar` uses of an `urllib.request.Request`.

    Attributes:
        url: the URL.
        cookie: the value of ``Cookie`` that the jar has set.
    """

    unverifiable = False

    def __init__(self, url: URL) -> None:
        self.url = url
        self.cookie: str | None = None
        self.type: Literal["http", "https"] = "https" if url.is_secure else "http"
        self.host = str(url.origin).partition("://")[2]
        self.origin_req_host = url.origin.host

    def get_full_url(self) -> str:
        return f"{self.url.origin}{self.url.target}"

    def has_header(self, name: str) -> bool:
        return False

    def get_header(self, name: str, default: str | None = None) -> str | None:
        return default

    def header_items(self) -> list[tuple[str, str]]:
        return []

    def add_unredirected_header(self, name: str, value: str) -> None:
        if name == "Cookie":  # Cookie2 is obsolete (RFC 6265 section 9.4)
            self.cookie = value


class _Response:
    """What `http.cookiejar` uses of a response."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def info(self) -> Headers:
        return self._headers
