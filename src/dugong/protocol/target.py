"""Request targets, and their four forms (RFC 9112 section 3.2).

The method limits which forms are valid:

========== ================ ===================== =========================================
form       example          methods               Host
========== ================ ===================== =========================================
origin     ``/path?query``  all but CONNECT       the server's
absolute   ``http://h/x``   all but CONNECT       that of the target (section 3.2.2)
authority  ``h:443``        CONNECT               that of the target (section 3.2.3)
asterisk   ``*``            OPTIONS               the server's
========== ================ ===================== =========================================

A fragment is not part of any form (RFC 9110 section 7.1), and user information is never sent
(section 4.2.4).
"""

from __future__ import annotations

from ..errors import InvalidRequest
from . import grammar
from .arguments import check_port, shown
from .authority import check_host


def check_target(method: str, target: str) -> str | None:
    """Check a method and a request target that are not a valid request line in origin-form.

    `request.prepare` handles the usual origin-form itself.

    Args:
        method: the method.
        target: the request target.

    Returns:
        The host in the target, with its port if it has one, as required in Host. ``None`` if the
        target has no host.

    Raises:
        InvalidRequest: the method is not a token, or the target has no form that is valid for it.
    """
    if not grammar.TOKEN.fullmatch(method):
        if grammar.TOKEN.fullmatch(target) and "/" in method:
            raise InvalidRequest("method and path are swapped")
        raise InvalidRequest(f"method must be a token such as 'GET', not {shown(method)}")
    if "#" in target:
        raise InvalidRequest(
            f"path {shown(target)} has a fragment, which is not sent: leave it out"
        )
    if not grammar.TARGET.fullmatch(target):
        raise InvalidRequest(
            f"path must be visible ASCII and not empty: quote {shown(target)} first"
        )
    if method == "CONNECT":
        form = grammar.AUTHORITY_FORM.fullmatch(target)
        if form is None or not form[4]:
            raise InvalidRequest(f"path of a CONNECT must be host:port, not {shown(target)}")
    elif target == "*" and method == "OPTIONS":
        return None
    else:
        form = grammar.ABSOLUTE_FORM.fullmatch(target)
        if form is None:
            raise InvalidRequest(_no_form(target))
    authority, address, name, port = form.groups()
    check_host(address or name, "the host of path")
    if address is not None and ":" not in address:
        raise InvalidRequest(f"path {shown(target)} has brackets without an IPv6 address")
    if port:
        check_port(int(port), "the port of path")
    return authority


def _no_form(target: str) -> str:
    if target == "*":
        return "path '*' is valid only for OPTIONS"
    if "@" in target.partition("://")[2].partition("/")[0]:
        return (
            f"path {shown(target)} has user information, which is not sent: "
            "use the field Authorization"
        )
    return f"path must be '/path?query' or a URL with a host, not {shown(target)}"
