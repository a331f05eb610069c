"""The settings of a client, checked, and what follows from them for each origin.

A request's fields come from three places. The connection adds those that HTTP needs, the client
those of its settings, and the caller those of the request. The later wins. The first two are the
same for most requests to an origin, so they are serialised once (`Destination`).

The client's own credentials (``Authorization``, ``Cookie`` and ``Host`` in its *headers*, its
*auth*, and its certificate *cert*) belong to the origin of *base_url*, if there is one. After a
redirect to another origin, they are left out like those of the request (see `redirects`). So there
are two kinds of destinations. Their connections are shared, unless there is a *cert*.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..connection.leased import Leased
from ..errors import InvalidRequest
from ..pool.place import ConnectionSettings
from ..protocol.arguments import check_seconds, check_size
from ..protocol.proxy import parse_proxy
from ..protocol.request import Fields
from ..transport.timeouts import check_timeout
from ..transport.within import UNSET
from ..version import __version__
from .authentication import check_auth
from .callbacks import marked
from .coding import accept_encoding
from .cookies import Cookies
from .guard import check_allow, is_public
from .proxies import EnvironmentProxies
from .redirects import CREDENTIALS, check_redirects, is_about_body
from .resolving import resolver_for
from .retries import check_retries
from .tls import context_for, system_context
from .url import encode_params, parse_base

if TYPE_CHECKING:
    from ..pool.origin import Origin
    from ..pool.place import Place
    from ..pool.pool import BasePool
    from ..protocol.request import Defaults

C = TypeVar("C", bound=Leased)

#: Origins for which a client keeps what it has computed.
_REMEMBERED = 256

#: Fields that describe one request, so that a client cannot have them for all requests.
_OF_ONE_REQUEST = frozenset(
    {"content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
)

#: The client's own fields that belong to an origin.
_OF_ORIGIN = CREDENTIALS | {"host"}


class OwnFields:
    """The fields that a client adds to each request.

    Args:
        headers: the argument *headers* of the client.
        decode: whether the client decodes responses.

    Attributes:
        lines: from lower-case names to lines.
        left_out: the lower-case names of the fields that the caller does not want.
        sets_accept_encoding: whether the caller determines ``Accept-Encoding``.
        about_body: the fields about a body, each with the value ``None``.
        explicit: pairs for fields that have to be passed with each request, because they change
            how the connection treats it.
    """

    def __init__(self, headers: Any, decode: bool) -> None:
        if hasattr(headers, "__next__"):
            headers = list(headers)
        fields = Fields(headers)
        if wrong := _OF_ONE_REQUEST & fields.values.keys():
            raise InvalidRequest(
                f"the field {min(wrong)} belongs to one request: pass it with that request"
            )
        self.lines = {
            "user-agent": f"User-Agent: dugong/{__version__}",
            "accept": "Accept: */*",
        }
        if decode:
            self.lines["accept-encoding"] = f"Accept-Encoding: {accept_encoding()}"
        own: dict[str, list[str]] = {}
        for line in [fields.host, *fields.lines]:
            if line:
                own.setdefault(line.partition(":")[0].lower(), []).append(line.removesuffix("\r\n"))
        self.explicit = [("Connection", value) for value in [fields.values.get("connection")]
                         if value is not None]  # fmt: skip
        own.pop("connection", None)
        self.lines |= {name: "\r\n".join(lines) for name, lines in own.items()}
        self.left_out = fields.left_out
        self.sets_accept_encoding = "accept-encoding" in fields.values.keys() | fields.left_out
        self.about_body = [(name, None) for name in own if is_about_body(name)]

    def added_to(self, defaults: Defaults, without: frozenset[str] | set[str]) -> Defaults:
        """Return *defaults* with these fields, except those *without*.

        Fields that *defaults* itself has, such as the proxy's credentials, stay.
        """
        lines = {name: line for name, line in self.lines.items() if name not in without}
        return defaults.changed(lines, self.left_out)


class Connections:
    """The settings of connections, for each proxy.

    Args:
        arguments: those that all have.
        proxy: the argument *proxy*.
        proxies: the proxies from the environment, ``None`` if they do not count.
    """

    def __init__(
        self, arguments: dict[str, Any], proxy: Any, proxies: EnvironmentProxies | None
    ) -> None:
        self._arguments = arguments
        self._proxies = proxies
        self._usual = self._through(proxy)
        self._by_proxy: dict[str, ConnectionSettings] = {}

    def settings_for(self, origin: Origin) -> ConnectionSettings:
        """Return the settings of connections to *origin*."""
        proxy = None if self._proxies is None else self._proxies.find(origin)
        if proxy is None:
            return self._usual
        settings = self._by_proxy.get(proxy)
        if settings is None:
            # Connections must have the same settings, also if two threads come here at a time.
            settings = self._by_proxy.setdefault(proxy, self._through(proxy))
        return settings

    def _through(self, proxy: Any) -> ConnectionSettings:
        arguments = self._arguments
        if proxy is not None and parse_proxy(proxy).scheme == "https":
            arguments = {**arguments, "proxy_ssl_context": system_context()}
        return ConnectionSettings(proxy=proxy, **arguments)


class Destination(Generic[C]):
    """An origin, and what all requests of a client to it have in common.

    Attributes:
        place: the pool's place.
        usual: the fields of a request, unless it has its own.
        takes_proxy_credentials: whether a proxy reads the requests.
    """

    __slots__ = ("place", "takes_proxy_credentials", "usual")

    def __init__(self, place: Place[C], own: OwnFields, trusted: bool) -> None:
        self.place = place
        route = place.blueprint.route
        self.takes_proxy_credentials = route.proxy is not None and route.tunnel is None
        without = set() if trusted else set(_OF_ORIGIN)
        if not self.takes_proxy_credentials:
            without.add("proxy-authorization")
        self.usual = own.added_to(route.defaults, without)


class Destinations(Generic[C]):
    """The destinations that were used last.

    Args:
        connections: the settings of their connections.
        own: the client's own fields.
        trusted: whether requests may have the client's credentials.
    """

    def __init__(self, connections: Connections, own: OwnFields, trusted: bool) -> None:
        self._connections = connections
        self._own = own
        self._trusted = trusted
        self._found: dict[Origin, Destination[C]] = {}
        self._last: tuple[Origin, Destination[C]] | None = None

    def find(self, origin: Origin, pool: BasePool[C]) -> Destination[C]:
        """Return the destination of a request to *origin*."""
        last = self._last
        if last is not None and last[0] is origin:
            return last[1]
        found = self._found.get(origin)
        if found is None:
            place = pool.place_of(origin, self._connections.settings_for(origin))
            found = Destination(place, self._own, self._trusted)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[origin] = found
        self._last = origin, found
        return found


class ClientSettings(Generic[C]):
    """The arguments of `Client`, checked. Immutable.

    Attributes:
        trusted: the destinations of requests that may have the client's credentials.
        untrusted: those of other requests.

    The other attributes have the names of the arguments.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """

    def __init__(
        self,
        *,
        base_url: Any,
        headers: Any,
        params: Any,
        timeout: Any,
        deadline: Any,
        redirects: Any,
        retries: Any,
        auth: Any,
        cookies: Any,
        decode: Any,
        proxy: Any,
        proxies_from_environment: bool,
        proxy_headers: Any,
        verify: Any,
        cert: Any,
        allow: Any,
        unix_socket: Any,
        source_address: Any,
        socket_options: Any,
        continue_timeout: Any,
        resolve: Any,
        family: Any,
        rate: Any,
        max_body: Any,
        on_event: Any,
    ) -> None:
        self.base = None if base_url is None else parse_base(base_url)
        self.params = encode_params(params)
        self.timeout = check_timeout(timeout)
        self.deadline = check_seconds(deadline, "deadline")
        self.redirects = check_redirects(redirects)
        self.retries = check_retries(retries)
        self.auth = check_auth(auth)
        self.cookies = None if cookies is None else Cookies(None if cookies is UNSET else cookies)
        self.decode = check_bool(decode, "decode")
        self.own = OwnFields(headers, self.decode)
        self.rate = check_rate(rate)
        self.max_body = None if max_body is None else check_size(max_body, "max_body")
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be a callable, not {type(on_event).__name__}")
        self.on_event = None if on_event is None else marked(on_event)
        if allow is not None:
            allow = check_allow(allow)
            if unix_socket is not None:
                raise InvalidRequest("allow and unix_socket cannot be combined: pass only one")
            if allow is not is_public:
                allow = marked(allow)
        arguments = {
            "allow": allow,
            "resolve": resolver_for(resolve, family),
            "timeout": self.timeout,
            "continue_timeout": continue_timeout,
            "unix_socket": unix_socket,
            "source_address": source_address,
            "socket_options": again(socket_options),
            "proxy_headers": again(proxy_headers),
            "make_context": system_context,
        }
        proxies = None
        if proxies_from_environment and allow is None and unix_socket is None:
            proxies = EnvironmentProxies(os.environ) or None

        def connections(verify: Any, cert: Any) -> Connections:
            context = None  # made when it is needed, because that takes long and cannot fail
            if verify is not True or cert is not None:
                context = context_for(verify, cert)
            return Connections({**arguments, "ssl_context": context}, proxy, proxies)

        with_cert = connections(verify, cert)
        without_cert = with_cert if cert is None else connections(verify, None)
        self.trusted: Destinations[C] = Destinations(with_cert, self.own, trusted=True)
        self.untrusted: Destinations[C] = Destinations(without_cert, self.own, trusted=False)


def again(argument: Any) -> Any:
    """Return an argument that can be used more than once, because every connection needs it."""
    return list(argument) if hasattr(argument, "__next__") else argument


def check_bool(value: Any, what: str) -> bool:
    """Return the argument *value*.

    Raises:
        TypeError: it is not a `bool`.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, not {type(value).__name__}")
    return value


def check_rate(rate: Any) -> float | None:
    """Return the argument *rate*.

    Raises:
        TypeError: it is not a number.
        InvalidRequest: it is not positive.
    """
    checked = check_seconds(rate, "rate", "a number of bytes per second")
    if checked == 0:
        raise InvalidRequest("rate must be more than 0 bytes per second: pass None for no limit")
    return checked
