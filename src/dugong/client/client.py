"""`RequestClient`: requests for URLs, in blocking code. `AsyncRequestClient` is in `aio`.

`BaseClient` has everything that does not depend on the style: the settings, the checks of the
arguments of a call, and the coroutines. `call` performs the calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypedDict, TypeVar

from ..connection.leased import Leased, LeasedHTTPConnection
from ..errors import InvalidRequest, StateError
from ..pool.pool import BasePool, Pool
from ..protocol import grammar
from ..protocol.arguments import check_seconds, exactly_str, shown
from ..protocol.content import AsyncIterableContent
from ..protocol.limits import CONTINUE_TIMEOUT
from ..protocol.messages import BodyFollowing
from ..protocol.request import Fields
from ..transport.poll import run
from ..transport.timeouts import check_timeout
from ..transport.within import UNSET, Unset
from .authentication import Basic, check_auth
from .call import Call
from .forms import body_of, rewinder
from .redirects import Hop, Redirects, check_redirects
from .response import BaseResponse, Response
from .retries import check_retries
from .settings import ClientSettings, check_bool
from .url import encode_params, join

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from http.cookiejar import CookieJar
    from types import TracebackType
    from typing import Unpack

    from ..protocol.messages import HeadersArgument, WholeBody
    from ..transport.poll import Co
    from ..transport.timeouts import Timeouts
    from .authentication import Auth
    from .events import Event
    from .forms import Multipart
    from .guard import Allow
    from .resolving import Resolve
    from .retries import Retry
    from .tls import Cert, Verify
    from .url import Pairs

    class CommonOptions(TypedDict, total=False):
        """The keyword arguments of a request. `Client.request` documents them."""

        params: Pairs | None
        headers: HeadersArgument | None
        json: Any
        form: Pairs | Multipart | None
        auth: Auth | Unset | None
        timeout: float | Timeouts | Unset | None
        deadline: float | Unset | None
        redirects: Redirects | int | Unset | None
        retries: Retry | int | Unset | None
        decode: bool | Unset
        expect100: bool | None

    class Options(CommonOptions, total=False):
        """Those of a blocking client, and of coroutines."""

        body: WholeBody


C = TypeVar("C", bound=Leased)
R = TypeVar("R", bound=BaseResponse[Any])
P = TypeVar("P", bound=BasePool[Any])

#: Seconds without a byte before a request fails.
TIMEOUT = 30.0

#: What is followed unless the caller determines it.
REDIRECTS = Redirects()

#: The keyword arguments of a request.
_OPTIONS = frozenset({
    "params", "headers", "body", "json", "form", "auth", "timeout", "deadline", "redirects",
    "retries", "decode", "expect100",
})  # fmt: skip

#: What to use instead of arguments that other libraries have.
_INSTEAD = {
    "data": "pass form= or body=",
    "content": "pass body=",
    "files": "pass form=Multipart(…)",
    "allow_redirects": "pass redirects=, None to follow none",
    "follow_redirects": "pass redirects=, None to follow none",
    "cookies": "pass cookies= to the client",
    "verify": "pass verify= to the client",
    "cert": "pass cert= to the client",
    "proxies": "pass proxy= to the client",
    "proxy": "pass proxy= to the client",
    "stream": "leave it out, a response is always read as it arrives",
}


class BaseClient(Generic[C, P, R]):
    """The common part of all clients."""

    _pool_kind: type[P]
    _response_kind: type[R]

    def __init__(
        self,
        *,
        base_url: str | None = None,
        headers: HeadersArgument | None = None,
        params: Pairs | None = None,
        timeout: float | Timeouts | None = TIMEOUT,
        deadline: float | None = None,
        redirects: Redirects | int | None = REDIRECTS,
        retries: Retry | int | None = None,
        auth: Auth | None = None,
        cookies: CookieJar | Unset | None = UNSET,
        decode: bool = True,
        proxy: str | tuple[str, int] | Unset | None = UNSET,
        proxy_headers: HeadersArgument | None = None,
        verify: Verify = True,
        cert: Cert | None = None,
        allow: Allow | None = None,
        unix_socket: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        source_address: tuple[str, int] | None = None,
        socket_options: Iterable[tuple[int, int, int | bytes]] = (),
        continue_timeout: float | None = CONTINUE_TIMEOUT,
        resolve: Resolve | None = None,
        family: int | None = None,
        rate: float | None = None,
        max_body: int | None = None,
        pool: P | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        if pool is not None and not isinstance(pool, self._pool_kind):
            raise TypeError(
                f"the type of pool must be {self._pool_kind.__name__}, not {type(pool).__name__}"
            )
        self.settings: ClientSettings[C] = ClientSettings(
            base_url=base_url,
            headers=headers,
            params=params,
            timeout=timeout,
            deadline=deadline,
            redirects=redirects,
            retries=retries,
            auth=auth,
            cookies=cookies,
            decode=decode,
            proxy=None if isinstance(proxy, Unset) else proxy,
            proxies_from_environment=proxy is UNSET,
            proxy_headers=proxy_headers,
            verify=verify,
            cert=cert,
            allow=allow,
            unix_socket=unix_socket,
            source_address=source_address,
            socket_options=socket_options,
            continue_timeout=continue_timeout,
            resolve=resolve,
            family=family,
            rate=rate,
            max_body=max_body,
            on_event=on_event,
        )
        #: Whether the pool is the client's own, and not shared.
        self.owns_pool = pool is None
        self._pool: P = self._pool_kind() if pool is None else pool
        self._is_closed = False

    @property
    def cookies(self) -> CookieJar | None:
        """The cookie jar, an `http.cookiejar.CookieJar`; ``None`` if the client has none."""
        cookies = self.settings.cookies
        return None if cookies is None else cookies.jar

    @property
    def pool(self) -> P:
        """The pool that the connections come from."""
        return self._pool

    def _close(self) -> None:
        self._is_closed = True
        if self.owns_pool:
            self._pool.close()

    def prepare(self, method: str, url: str, options: CommonOptions) -> Call[C, R]:
        """Check the arguments of a call, which begins later. For other parts of this package."""
        if self._is_closed:
            raise StateError("the client is closed: make a new one")
        settings = self.settings
        if options:
            if not options.keys() <= _OPTIONS:
                name = min(options.keys() - _OPTIONS)
                hint = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
                raise TypeError(f"a request has no argument {name!r}{hint}")
            return self._call_with(method, url, **options)
        target = join(settings.base, url)
        if settings.params:
            target = target.with_params(settings.params)
        hop = Hop(method if method in _METHODS else check_method(method), target)
        call: Call[C, R] = Call(settings, self._pool, self._response_kind, hop, None, None)
        call.deadline = settings.deadline
        call.redirects = settings.redirects
        call.retries = settings.retries
        call.decode = settings.decode
        if settings.auth is not None or target.credentials is not None:
            call.auth = _auth_for(call, UNSET)
        return call

    def _call_with(
        self,
        method: str,
        url: str,
        *,
        params: Any = None,
        headers: Any = None,
        body: Any = None,
        json: Any = None,
        form: Any = None,
        auth: Any = UNSET,
        timeout: Any = UNSET,
        deadline: Any = UNSET,
        redirects: Any = UNSET,
        retries: Any = UNSET,
        decode: Any = UNSET,
        expect100: Any = None,
    ) -> Call[C, R]:
        settings = self.settings
        target = join(settings.base, url).with_params(settings.params, encode_params(params))
        fields: tuple[tuple[Any, Any], ...] = ()
        given: Any = ()
        if headers is not None:
            if hasattr(headers, "__next__"):
                headers = list(headers)
            checked = Fields(headers)
            given = checked.values.keys() | checked.left_out
            fields = tuple(headers.items() if hasattr(headers, "items") else headers)
        whole, content_type = body_of(body, json, form)
        if isinstance(whole, BodyFollowing):
            raise TypeError("body must be the body itself: a client sends all of it")
        if content_type is not None and "content-type" not in given:
            fields += (("Content-Type", content_type),)
        if hasattr(type(whole), "__aiter__"):
            whole = self._async_body(whole)
        if expect100 is not None:
            check_bool(expect100, "expect100")
        hop = Hop(check_method(method), target, fields, whole is not None)
        call: Call[C, R] = Call(
            settings, self._pool, self._response_kind, hop, whole, rewinder(whole)
        )
        call.deadline = (
            settings.deadline if deadline is UNSET else check_seconds(deadline, "deadline")
        )
        call.timeout = UNSET if timeout is UNSET else check_timeout(timeout)
        call.redirects = settings.redirects if redirects is UNSET else check_redirects(redirects)
        call.retries = settings.retries if retries is UNSET else check_retries(retries)
        call.decode = settings.decode if decode is UNSET else check_bool(decode, "decode")
        call.auth = _auth_for(call, auth)
        call.expect100 = expect100
        return call

    def _async_body(self, body: Any) -> AsyncIterableContent:
        raise TypeError("body must not be an async iterable: use AsyncClient")

    def co_request(self, method: str, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `request`; returns the response.

        The coroutine itself keeps the time limits, so they hold in any loop.
        """
        return self.co_perform(self.prepare(method, url, options))

    def co_perform(self, call: Call[C, R]) -> Co[R]:
        """Coroutine that performs a call. It keeps the time limits."""
        call.keeps_timeout = True
        if call.timeout is UNSET:
            call.timeout = self.settings.timeout
        return co_perform(call)

    def co_get(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `get`."""
        return self.co_request("GET", url, **options)

    def co_head(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `head`."""
        return self.co_request("HEAD", url, **options)

    def co_post(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `post`."""
        return self.co_request("POST", url, **options)

    def co_put(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `put`."""
        return self.co_request("PUT", url, **options)

    def co_patch(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `patch`."""
        return self.co_request("PATCH", url, **options)

    def co_delete(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `delete`."""
        return self.co_request("DELETE", url, **options)

    def co_options(self, url: str, **options: Unpack[Options]) -> Co[R]:
        """Coroutine of `options`."""
        return self.co_request("OPTIONS", url, **options)


#: Methods that need no check.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def check_method(method: Any) -> str:
    """Return the argument *method*.

    Raises:
        TypeError: it is not a `str`.
        InvalidRequest: it is not a method, or CONNECT, for which a client has no use.
    """
    name = exactly_str(method, "method")
    if not grammar.TOKEN.fullmatch(name):
        raise InvalidRequest(f"method must be a token such as 'GET', not {shown(name)}")
    if name == "CONNECT":
        raise InvalidRequest("a client cannot send CONNECT: use HTTPConnection")
    return name


def _auth_for(call: Call[Any, Any], auth: Any) -> Any:
    """Return what authenticates the first request: see rule 4 in `authentication`."""
    settings, url = call.settings, call.hop.url
    if auth is not UNSET:
        return check_auth(auth)
    base = settings.base
    if settings.auth is not None and (base is None or base.origin == url.origin):
        return settings.auth
    return None if url.credentials is None else Basic(*url.credentials)


def co_perform(call: Call[Any, R]) -> Co[R]:
    """Perform a call. Its driver keeps `Call.timeout`, unless `Call.keeps_timeout` is set."""
    steps = call.steps()
    try:
        crt = next(steps)
        while True:
            limits = call.limits
            try:
                # The connection keeps the limits of its exchange, and nothing else does.
                result = yield from (
                    crt if call.conn is not None or limits is None else limits.co_keep(crt)
                )
            except GeneratorExit:
                raise
            except BaseException as exc:
                crt = steps.throw(exc)
            else:
                crt = steps.send(result)
    except StopIteration as stop:
        response: R = stop.value
        return response
    finally:
        steps.close()


class RequestClient(BaseClient[LeasedHTTPConnection, Pool, Response]):
    """Everything of `Client` but transfers, which `transfer.client` adds."""

    _pool_kind = Pool
    _response_kind = Response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client, and its pool unless that is shared. Never waits."""
        self._close()

    def request(self, method: str, url: str, **options: Unpack[Options]) -> Response:
        """Send a request, follow redirects, and return the response with its head complete.

        Args:
            method: the method, such as ``'GET'``.
            url: an absolute URL, or one relative to *base_url*.
            options: keyword arguments:

                * *params*: query parameters, a mapping or pairs, which follow the URL's query.
                * *headers*: fields, a mapping or pairs. They replace those of the client.
                * *body*: bytes, a binary file, or an iterable of bytes.
                * *json*: a value to send as JSON.
                * *form*: a mapping or pairs to send URL-encoded, or a `Multipart`. At most one of
                  *body*, *json* and *form* can be passed.
                * *auth*, *timeout*, *deadline*, *redirects*, *retries*, *decode*: replace those of
                  the client.
                * *expect100*: whether to ask before the body is sent, as for
                  `HTTPConnection.request`.

        Raises:
            TypeError, InvalidRequest: an argument is not valid. Nothing was sent.
            StateError: the client is closed.
            RedirectError: a redirect is not followed. It has the response, which is closed.
            DugongError, OSError: as for `HTTPConnection.request`. A response with an error status
                is no error: see `Response.raise_for_status`.
        """
        call = self.prepare(method, url, options)
        call.brief = True
        steps = call.steps()
        try:
            crt = next(steps)
            while True:
                try:
                    conn = call.conn
                    result = self._wait(call, crt) if conn is None else conn.run(crt)
                except BaseException as exc:
                    crt = steps.throw(exc)
                else:
                    crt = steps.send(result)
        except StopIteration as stop:
            response: Response = stop.value
            return response
        finally:
            steps.close()

    def _wait(self, call: Call[Any, Any], crt: Co[Any]) -> Any:
        """Run a step that needs no connection."""
        timeout = self.settings.timeout if isinstance(call.timeout, Unset) else call.timeout
        limits = call.limits
        return run(crt if limits is None else limits.co_keep(crt), timeout, None, None)

    def get(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a GET. The arguments are those of `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a HEAD. The arguments are those of `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a POST. The arguments are those of `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a PUT. The arguments are those of `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a PATCH. The arguments are those of `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[Options]) -> Response:
        """Send a DELETE. The arguments are those of `request`."""
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Unpack[Options]) -> Response:
        """Send an OPTIONS. The arguments are those of `request`."""
        return self.request("OPTIONS", url, **options)
