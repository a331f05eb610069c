"""A context whose connections resume the TLS session of the one before, for any client."""

from __future__ import annotations

import ssl
from typing import Any


class ResumingContext(ssl.SSLContext):
    """Passes on the session that `keep_session` found.

    With TLS 1.3 the server sends what is needed for that after the handshake, so it has come for
    certain only when the first response has.
    """

    last: ssl.SSLSocket | None = None
    session: ssl.SSLSession | None = None
    resumed = 0

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Do what any context does, with the session of the previous connection."""
        self.last = super().wrap_socket(*args, **{**options, "session": self.session})
        return self.last

    def keep_session(self) -> None:
        """Remember the session of the connection that a response has just come by."""
        assert self.last is not None
        self.resumed += bool(self.last.session_reused)
        self.session = self.last.session
        self.last = None
