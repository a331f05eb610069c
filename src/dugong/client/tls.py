"""The arguments *verify* and *cert*."""

from __future__ import annotations

import os
import ssl
from typing import Any, TypeAlias

Verify: TypeAlias = bool | str | os.PathLike[str] | ssl.SSLContext
Cert: TypeAlias = str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]]


def context_for(verify: Any, cert: Any) -> ssl.SSLContext:
    """Return the context."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context(cafile=None if isinstance(verify, bool) else verify)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*cert)
    return context
