"""The TLS contexts of a client, from its arguments *verify* and *cert*.

Rules
=====

1. *verify* decides which authorities are trusted. ``True`` means those of the system. Where OpenSSL
   does not find these (on macOS and Windows, and where its default file is missing), the package
   truststore does, if it is installed (extra ``truststore``). Elsewhere both find the same, but
   truststore reads all authorities for each connection, which takes 50 ms, and a context of `ssl`
   reads them once. If ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` is set, OpenSSL reads these, and
   truststore is not used, because it ignores them on some systems.
2. ``False`` verifies nothing. A path is a file of authorities in PEM form, or a directory of such
   files with the names that ``openssl rehash`` gives. A context is used as it is.
3. *cert* is the client's own certificate, with its key. A context has its own, so *cert* cannot be
   passed with one.
4. Connections are shared only by callers with the same context. So a client that verifies never
   gets a connection of another one that does not, and it makes its contexts only once.
5. An https proxy is always verified, as with ``verify=True``. Neither *verify* nor *cert* applies
   to it, as in curl: both are about the servers.
6. Files are read immediately. OpenSSL reports a missing file without its name, ignores a directory
   without usable files, and asks for the password of an encrypted key on the terminal. Each of
   these becomes an `InvalidRequest`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..protocol.arguments import shown
from ..transport.arguments import check_context

if TYPE_CHECKING:
    import ssl
    from typing import NoReturn, TypeAlias

    Location: TypeAlias = str | os.PathLike[str]
    Verify: TypeAlias = bool | Location | ssl.SSLContext
    Cert: TypeAlias = Location | tuple[Location, Location]

#: The names of files in a directory of authorities: a hash of the subject, and a number.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")

#: The ends of the first lines of PEM blocks (RFC 7468), which have a few variants each.
_CERTIFICATE = b"CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"


def context_for(verify: Any, cert: Any) -> ssl.SSLContext:
    """Return the context for connections to servers.

    Args:
        verify: ``True``, ``False``, the path of a file or a directory, or an `ssl.SSLContext`.
        cert: the paths of a certificate and its key, or one path of a file with both; ``None`` for
            no certificate.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: a file cannot be used, or *cert* was passed with a context.
    """
    chain = None if cert is None else _check_cert(cert)
    if not isinstance(verify, (bool, str, os.PathLike)):
        return _check_given(verify, chain is not None)
    return _new_context(verify, chain)


def system_context() -> ssl.SSLContext:
    """Return a new context that trusts the authorities of the system (rule 1)."""
    return _new_context(True, None)


def _check_given(verify: Any, has_cert: bool) -> ssl.SSLContext:
    if not callable(getattr(verify, "wrap_bio", None)) or isinstance(verify, type):
        raise TypeError(
            "verify must be True, False, the path of a file or directory of authorities, or an "
            f"ssl.SSLContext, not {type(verify).__name__}"
        )
    context = check_context(verify, "verify")
    if has_cert:
        raise InvalidRequest(
            "cert and a context as verify cannot be combined: call the context's load_cert_chain()"
        )
    return context


def _new_context(verify: bool | Location, chain: tuple[str, str] | None) -> ssl.SSLContext:
    import ssl

    if verify is True:
        context = _trusting_the_system()
    elif verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = _context_from(_path(verify, "verify"))
    # Nothing else is supported. Some servers refuse clients that offer nothing.
    context.set_alpn_protocols(["http/1.1"])
    if chain is not None:
        _load_chain(context, *chain)
    return context


def _trusting_the_system() -> ssl.SSLContext:
    import ssl

    if not _openssl_finds_authorities():
        try:
            import truststore
        except ImportError:
            pass
        else:
            context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return context
    return ssl.create_default_context()


def _openssl_finds_authorities() -> bool:
    import ssl

    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    if sys.platform in ("darwin", "win32"):
        return False
    return ssl.get_default_verify_paths().cafile is not None  # the file exists


def _context_from(path: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file or directory."""
    import ssl

    try:
        if Path(path).is_dir():
            if not any(_HASHED_NAME.fullmatch(each.name) for each in Path(path).iterdir()):
                raise InvalidRequest(
                    f"verify: the directory {path!r} has no authorities with the names that "
                    "OpenSSL looks for: run 'openssl rehash' there, or pass a file"
                )
            return ssl.create_default_context(capath=path)
        if _CERTIFICATE not in _read(path, "verify"):
            raise InvalidRequest(f"verify: the file {path!r} has no certificate in PEM form")
        return ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one
        raise _unusable("verify", path, exc) from exc


def _check_cert(cert: Any) -> tuple[str, str]:
    """Return the paths of a certificate and its key, both readable and in PEM form."""
    if isinstance(cert, (tuple, list)):
        if len(cert) != 2:
            raise InvalidRequest(f"cert must be a pair (file, key), but has {len(cert)} items")
        chain, key = (_path(each, "cert") for each in cert)
    else:
        chain = key = _path(cert, "cert")
    if _CERTIFICATE not in _read(chain, "cert"):
        raise InvalidRequest(f"cert: the file {chain!r} has no certificate in PEM form")
    if _KEY not in _read(key, "cert"):
        raise InvalidRequest(f"cert: the file {key!r} has no private key in PEM form")
    return chain, key


def _load_chain(context: ssl.SSLContext, chain: str, key: str) -> None:
    import ssl

    def ask_for_password() -> NoReturn:
        raise InvalidRequest(
            f"cert: the private key in {key!r} is encrypted: decrypt it, or pass a context as "
            "verify, and the password to its load_cert_chain()"
        )

    try:
        context.load_cert_chain(chain, key, ask_for_password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise InvalidRequest(
                f"cert: the private key in {key!r} does not belong to the certificate in {chain!r}"
            ) from exc
        where = chain if chain == key else f"{chain}, {key}"
        raise _unusable("cert", where, exc) from exc
    except OSError as exc:  # a file has vanished since it was checked
        raise _unusable("cert", chain, exc) from exc


def _path(path: Any, what: str) -> str:
    if not isinstance(path, (str, os.PathLike)):
        form = "a path, or a pair of paths (file, key)" if what == "cert" else "a path"
        raise TypeError(f"{what} must be {form}, not {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidRequest(f"{what} must be a path, not {shown(text)}")
    return text


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise _unusable(what, path, exc) from exc


def _unusable(what: str, path: str, exc: OSError) -> InvalidRequest:
    return InvalidRequest(f"{what}: cannot use {path!r}: {exc.strerror or exc}")
