"""The default policy for cookies: RFC 6265, for the jars of `http.cookiejar`.

Python's own `DefaultCookiePolicy` implements older specifications. It sends a cookie without
``Domain`` to all subdomains, too, and it knows only few public suffixes. Here, these rules apply:

1. A cookie without ``Domain`` is *host-only*: it goes only to the host that set it (section 5.4).
2. A cookie with ``Domain`` goes to that domain and its subdomains. A host may set cookies only for
   a domain that it belongs to (section 5.3, item 6). An address has no subdomains.
3. No cookie is accepted for a public suffix such as ``co.uk``, unless that is the host itself. Then
   the cookie is host-only (section 5.3, item 5). The package ``publicsuffixlist`` has the list,
   with its private part (``github.io``). Without the package, every name of one label is a suffix,
   and some of two labels are.
4. Paths, ``Secure`` and expiry are as in `DefaultCookiePolicy`. Ports and versions, which RFC 6265
   does not know, count for nothing.

This module is loaded with the first cookie, because `http.cookiejar` takes long to import.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from ..protocol import grammar

if TYPE_CHECKING:
    from urllib.request import Request

#: Some public suffixes of two labels, for installations without the list: generic names below the
#: domains of countries.
_SECOND_LEVEL = re.compile(r"(?:ac|co|com|edu|gov|mil|ne|net|nom|or|org)\.[a-z]{2}")


class CookiePolicy(DefaultCookiePolicy):
    """The rules of this module."""

    def set_ok_version(self, cookie: Cookie, request: Request) -> bool:
        cookie.version = 0
        return True

    def set_ok_port(self, cookie: Cookie, request: Request) -> bool:
        cookie.port, cookie.port_specified = None, False
        return True

    def set_ok_domain(self, cookie: Cookie, request: Request) -> bool:
        if self.is_blocked(cookie.domain) or self.is_not_allowed(cookie.domain):
            return False
        if not cookie.domain_specified:
            return True
        host, domain = _host(request), cookie.domain.removeprefix(".").lower()
        if not _matches(host, domain):
            return False
        if is_public_suffix(domain) and not _is_address(domain):
            if host != domain:
                return False
            cookie.domain, cookie.domain_specified = _key(host), False
        return True

    def return_ok_domain(self, cookie: Cookie, request: Request) -> bool:
        host = _host(request)
        if not cookie.domain_specified:
            return _key(host) == cookie.domain.lower()
        return _matches(host, cookie.domain.removeprefix(".").lower())


def _host(request: Any) -> str:
    host: str = request.url.origin.host
    return host


def _is_address(host: str) -> bool:
    return ":" in host or grammar.IPV4.fullmatch(host) is not None


def _matches(host: str, domain: str) -> bool:
    """Whether a host belongs to a domain (RFC 6265 section 5.1.3)."""
    if host == domain:
        return True
    return bool(domain) and host.endswith(f".{domain}") and not _is_address(host)


def _key(host: str) -> str:
    """Return the host as `http.cookiejar` notes it for a cookie without ``Domain``."""
    name = f"[{host}]" if ":" in host else host
    return name if "." in name and ":" not in name else f"{name}.local"


def is_public_suffix(domain: str) -> bool:
    """Return whether a domain, in lower case, is a public suffix (rule 3)."""
    domain = domain.removesuffix(".")
    listed = _list()
    if listed is None:
        return "." not in domain or _SECOND_LEVEL.fullmatch(domain) is not None
    suffix: str | None = listed.publicsuffix(domain)
    return suffix == domain


@lru_cache(maxsize=1)  # parsing the list takes a tenth of a second
def _list() -> Any:
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        return None
    return PublicSuffixList()


def new_jar() -> CookieJar:
    """Return an empty jar with this policy."""
    return CookieJar(CookiePolicy())


def adopt(jar: CookieJar) -> None:
    """Give a jar this policy if it has Python's, with the defaults of that."""
    policy = getattr(jar, "_policy", None)  # there is no other way to look at it
    if type(policy) is DefaultCookiePolicy and _settings(policy) == _settings(
        DefaultCookiePolicy()
    ):
        jar.set_policy(CookiePolicy())


def _settings(policy: DefaultCookiePolicy) -> dict[str, Any]:
    return {name: value for name, value in vars(policy).items() if name != "_now"}
