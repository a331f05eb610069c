"""TLS contexts from the attributes of a `urllib3.HTTPSConnectionPool`.

1. The attributes mean what they mean to urllib3. A context that the application passes is used
   as it is, except that urllib3 sets its `verify_mode` and loads certificates into it, and so does
   this module.
2. OpenSSL checks the host name, if the context asks for it. Three settings go beyond that:
   ``assert_fingerprint``, ``assert_hostname``, and ``server_hostname``. Also, a context that checks
   certificates but no names is common (botocore makes one), and urllib3 then checks the name. In
   these cases, dugong gets a `CheckingContext` instead, which checks each connection at the end of
   its handshake. So no request is ever sent on a connection that was not checked.
3. TLS with an https proxy has a separate context, which never has the client's certificate. It
   trusts the same authorities as the one for servers.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import (
    assert_fingerprint,
    create_urllib3_context,
    resolve_cert_reqs,
    resolve_ssl_version,
)
from urllib3.util.ssl_match_hostname import match_hostname

if TYPE_CHECKING:
    from .pool import HTTPSPool

S = TypeVar("S", ssl.SSLSocket, ssl.SSLObject)

#: The attributes of a pool that determine its context.
_ATTRIBUTES = (
    "ssl_version", "ssl_minimum_version", "ssl_maximum_version", "cert_reqs", "ca_certs",
    "ca_cert_dir", "cert_file", "key_file", "key_password", "assert_hostname",
    "assert_fingerprint",
)  # fmt: skip


def settings_of(pool: HTTPSPool) -> tuple[Any, ...]:
    """Return what determines the context of *pool*. It may change between two requests."""
    return tuple([getattr(pool, name) for name in _ATTRIBUTES])


def context_for(pool: HTTPSPool) -> Any:
    """Return a new context for *pool*.

    Raises:
        urllib3.exceptions.SSLError: a certificate or key cannot be used.
    """
    given = pool.conn_kw.get("ssl_context")
    try:
        context = given or create_urllib3_context(
            ssl_version=resolve_ssl_version(pool.ssl_version),
            ssl_minimum_version=pool.ssl_minimum_version,
            ssl_maximum_version=pool.ssl_maximum_version,
            cert_reqs=resolve_cert_reqs(pool.cert_reqs),
        )
        _configure(context, pool, is_ours=given is None)
    except OSError as exc:  # ssl.SSLError is one
        raise SSLError(exc) from exc
    name = pool.conn_kw.get("server_hostname")
    if given is None and context.check_hostname and name is None and not pool.assert_fingerprint:
        return context
    return CheckingContext(context, name, pool.assert_hostname, pool.assert_fingerprint)


@dataclass(frozen=True)
class VerifySettings:
    """Which certificates are trusted. The names are those of a pool's attributes."""

    cert_reqs: Any
    ca_certs: str | None
    ca_cert_dir: str | None


def given_settings(pool: HTTPSPool) -> VerifySettings:
    """Return the present settings of *pool*."""
    return VerifySettings(pool.cert_reqs, pool.ca_certs, pool.ca_cert_dir)


def context_for_proxy(settings: VerifySettings | HTTPSPool) -> ssl.SSLContext:
    """Return a new context for TLS with a proxy.

    Raises:
        urllib3.exceptions.SSLError: a certificate cannot be used.
    """
    mode = resolve_cert_reqs(settings.cert_reqs)
    try:
        context = create_urllib3_context(cert_reqs=mode)
        if mode == ssl.CERT_NONE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif settings.ca_certs or settings.ca_cert_dir:
            context.load_verify_locations(settings.ca_certs, settings.ca_cert_dir)
        else:
            context.load_default_certs()
        context.set_alpn_protocols(["http/1.1"])
    except OSError as exc:
        raise SSLError(exc) from exc
    return context


def _configure(context: ssl.SSLContext, pool: HTTPSPool, *, is_ours: bool) -> None:
    mode = resolve_cert_reqs(pool.cert_reqs)
    checks_itself = pool.assert_fingerprint or pool.assert_hostname or pool.assert_hostname is False
    if checks_itself or mode == ssl.CERT_NONE:
        context.check_hostname = False
    context.verify_mode = ssl.VerifyMode(mode)
    data = pool.conn_kw.get("ca_cert_data")
    if pool.ca_certs or pool.ca_cert_dir or data:
        context.load_verify_locations(pool.ca_certs, pool.ca_cert_dir, data)
    elif is_ours:
        context.load_default_certs()
    if pool.cert_file:
        # Without a password, OpenSSL would ask on the terminal.
        password = pool.key_password or _no_password
        context.load_cert_chain(pool.cert_file, pool.key_file, password)
    context.set_alpn_protocols(["http/1.1"])


def _no_password() -> str:
    raise SSLError("Client private key is encrypted, password is required")


class CheckingContext:
    """An `ssl.SSLContext` with further checks at the end of each handshake.

    Args:
        context: the context.
        server_hostname: the name for SNI and the certificate, ``None`` for that of the host.
        assert_hostname: another name for the certificate; ``False`` for any, ``None`` for none.
        fingerprint: the certificate's fingerprint, which replaces the check of the name, or
            ``None``.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None,
        assert_hostname: str | bool | None,
        fingerprint: str | None,
    ) -> None:
        self._context = context
        self._server_hostname = server_hostname
        self._assert_hostname = assert_hostname
        self._fingerprint = fingerprint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def wrap_socket(self, sock: Any, *, server_hostname: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap a socket, as `ssl.SSLContext.wrap_socket`."""
        name = self._server_hostname or server_hostname
        return self._checked(self._context.wrap_socket(sock, server_hostname=name, **options), name)

    def wrap_bio(
        self, incoming: Any, outgoing: Any, *, server_hostname: Any, **options: Any
    ) -> ssl.SSLObject:
        """Wrap two buffers, as `ssl.SSLContext.wrap_bio`: for TLS through an https proxy."""
        name = self._server_hostname or server_hostname
        return self._checked(
            self._context.wrap_bio(incoming, outgoing, server_hostname=name, **options), name
        )

    def _checked(self, wrapped: S, name: str | bytes) -> S:
        shake_hands = wrapped.do_handshake
        expected = name.decode("ascii") if isinstance(name, bytes) else name

        def do_handshake() -> None:
            shake_hands()
            self._check(wrapped, expected)
            del wrapped.do_handshake  # it refers to the object: a cycle would keep that open

        wrapped.do_handshake = do_handshake  # type: ignore[assignment, method-assign]
        return wrapped

    def _check(self, sock: ssl.SSLSocket | ssl.SSLObject, name: str) -> None:
        if self._fingerprint:
            assert_fingerprint(sock.getpeercert(binary_form=True), self._fingerprint)
            return
        context = self._context
        if context.verify_mode == ssl.CERT_NONE or context.check_hostname:
            return
        if self._assert_hostname is not False:
            asserted, certificate = self._assert_hostname, sock.getpeercert()
            match_hostname(
                certificate,  # type: ignore[arg-type]
                asserted if isinstance(asserted, str) else name,
                getattr(context, "hostname_checks_common_name", False) or False,
            )
