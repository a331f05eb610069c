"""The client of a command, and the arguments of its requests, from the options."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import Client, InvalidRequest, Pool, Redirects, Retry, Timeouts
from . import environment
from .arguments import encoded
from .explaining import explained
from .output import Failure, complain, is_terminal, print_note

if TYPE_CHECKING:
    from .. import Event, Headers

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|https?:")


def with_scheme(text: str) -> str:
    """Return a URL as given, with http:// in front if it has no scheme, like curl."""
    text = text.strip(" ")
    return text if not text or _SCHEME.match(text) else f"http://{text}"


def shown(url: str) -> str:
    """Return a URL without user information, for messages."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url, count=1)


class Patience(Retry):
    """Retries that a terminal shows. A refused connection is not retried.

    Nothing listens on that port, and a script should learn that at once.

    Args:
        args: the options.
        label: what is being done, for messages.
    """

    __slots__ = ("_args", "_label", "_shows")

    def __init__(self, args: argparse.Namespace, label: str) -> None:
        super().__init__(args.retries, backoff=args.retry_delay)
        self._args = args
        self._label = label
        self._shows = not args.silent and is_terminal(2)

    def after_error(self, exc: BaseException, number: int, *args: Any) -> float | None:
        if isinstance(exc, ConnectionRefusedError) and not self._args.retry_connrefused:
            return None
        delay = super().after_error(exc, number, *args)
        return self._shown(delay, lambda: explained(exc))

    def after_response(
        self, method: str, status: int, headers: Headers, number: int, **more: Any
    ) -> float | None:
        delay = super().after_response(method, status, headers, number, **more)
        return self._shown(delay, lambda: f"the server responded with {status} {_phrase(status)}")

    def _shown(self, delay: float | None, why: Callable[[], str]) -> float | None:
        if delay is not None and self._shows:
            complain(f"{self._label}: {why()}; trying again in {delay:.1f} s")
        return delay


def _phrase(status: int) -> str:
    from http import HTTPStatus  # imported only for a retry

    return HTTPStatus(status).phrase


def new_client(args: argparse.Namespace, connections: int = 1) -> Client:
    """Return the client for the options of `options.add_common`.

    Args:
        args: the options.
        connections: how many connections may be necessary at a time.

    Raises:
        InvalidRequest: an option has an invalid value. The message names it.
        Failure: a file of cookies cannot be read.
    """
    settings: dict[str, Any] = {}
    if args.noproxy is not None and args.noproxy.strip() == "*":
        settings["proxy"] = None
    elif args.noproxy is not None:
        _use_environment(args)
    elif args.proxy is not None:
        settings["proxy"] = _proxy(args.proxy)
    timeout: Any = args.timeout
    if args.connect_timeout is not None:
        timeout = Timeouts(pool=None, connect=args.connect_timeout, send=timeout, receive=timeout)
    if args.interface is not None:
        settings |= _interface(args.interface)
    if args.key is not None and args.cert is None:
        raise InvalidRequest("--key needs --cert")
    watchers: list[Callable[[Event], object]] = []
    if environment.names_files() and not (args.insecure or args.cacert):
        watchers.append(environment.check)
    if args.verbose:
        watchers.append(_tell)
    return Client(
        timeout=timeout,
        redirects=Redirects(args.max_redirs) if args.follow else None,
        cookies=_jar(args),
        decode=args.compressed,
        verify=False if args.insecure else args.cacert or True,
        cert=None if args.cert is None else (args.cert, args.key or args.cert),
        unix_socket=args.unix_socket,
        resolve=dict(args.resolve) or None,
        family=args.family,
        rate=args.limit_rate,
        pool=Pool(max_connections=max(100, connections), per_host=None),
        on_event=(lambda event: [watch(event) for watch in watchers]) if watchers else None,
        **settings,
    )


def _proxy(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _use_environment(args: argparse.Namespace) -> None:
    """Pass ``--noproxy`` and ``-x`` to the client in the environment of this process."""
    if args.proxy is not None:
        for scheme in ("http", "https", "all"):
            os.environ[f"{scheme}_proxy"] = _proxy(args.proxy)
    os.environ["no_proxy"] = args.noproxy


def _interface(name: str) -> dict[str, Any]:
    name = name.removeprefix("if!").removeprefix("host!")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except OSError:
            continue
        return {"source_address": (name, 0)}
    if not hasattr(socket, "SO_BINDTODEVICE"):
        raise InvalidRequest("--interface needs an address on this system")
    return {"socket_options": [(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode() + b"\0")]}


def _jar(args: argparse.Namespace) -> Any:
    """Return the cookie jar; ``None`` if neither reading nor writing cookies was asked for."""
    files = [each for each in args.cookies if "=" not in each]
    if not files and args.cookie_jar is None:
        return None
    from http.cookiejar import LoadError, MozillaCookieJar

    jar = MozillaCookieJar()
    for name in files:
        try:
            if name:
                jar.load(name, ignore_discard=True, ignore_expires=True)
        except FileNotFoundError:
            pass  # like curl: the file may come into being with -c
        except (OSError, LoadError) as exc:
            raise Failure(f"cannot read cookies from {name}: {exc}") from None
    for cookie in jar:
        if cookie.expires == 0:  # that is how curl notes that a cookie is of this session
            cookie.expires, cookie.discard = None, True
    jar.clear_expired_cookies()
    return jar


def save_cookies(client: Client, name: str) -> None:
    """Write the cookies of a client to a file.

    Raises:
        Failure: the file cannot be written.
    """
    jar: Any = client.cookies
    for cookie in jar:
        if cookie.expires is None:
            cookie.expires = 0  # curl takes an empty column for none
    try:
        jar.save("/dev/stdout" if name == "-" else name, ignore_discard=True, ignore_expires=True)
    except OSError as exc:
        raise Failure(f"cannot write {name}: {exc.strerror}") from exc


# Requests.


def request_options(args: argparse.Namespace, label: str) -> dict[str, Any]:
    """Return the keyword arguments of each request."""
    fields: list[tuple[str, Any]] = list(args.headers)
    given = {name.lower() for name, _ in fields}
    pairs = [name_value for name_value in args.cookies if "=" in name_value]
    for name, value in (
        ("User-Agent", args.user_agent),
        ("Referer", args.referer),
        ("Cookie", "; ".join(pairs) or None),
    ):
        if value is not None and name.lower() not in given:
            fields.append((name, encoded(value) or None))
    if not args.compressed and "accept-encoding" not in given:
        fields.append(("Accept-Encoding", "identity"))
    options: dict[str, Any] = {"headers": fields, "retries": Patience(args, label)}
    if args.max_time is not None:
        options["deadline"] = args.max_time
    if args.user is not None:
        options["auth"] = _user(args)
    elif args.netrc:
        options["auth"] = "netrc"
    return options


def _user(args: argparse.Namespace) -> tuple[str, str]:
    user, colon, password = args.user.partition(":")
    if not colon:
        from getpass import getpass

        password = getpass(f"Password for {user}: ")
        args.user = f"{user}:{password}"  # for the other URLs
    return user, password


def _tell(event: Event) -> None:
    """Show an event, and the request when it has been sent, as ``curl -v`` does."""
    if event.name == "connecting":
        print_note(f"* connecting to {event.origin}")
    elif event.name in ("connected", "secured", "retry", "redirect"):
        print_note(f"* {event.name}")
    elif event.name == "sent":
        request = event.request
        path = request.url.partition("#")[0].split("/", 3)
        print_note(f"> {request.method} /{path[3] if len(path) > 3 else ''} HTTP/1.1")
        for name, value in request.headers.items():
            print_note(f"> {name}: {value}")
