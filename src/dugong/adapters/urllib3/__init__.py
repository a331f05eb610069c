"""Connection pools of urllib3 that use dugong: the common part of the adapters for its users.

Theory of operation
===================

requests and botocore do not make connections. Each asks a `urllib3.PoolManager` for a
`urllib3.HTTPConnectionPool`, and calls its method `urlopen`. The manager finds the pool for a host,
its TLS settings and its proxy, and makes it with a class from ``pool_classes_by_scheme``. `adopt`
sets that attribute, so the pools become ours (`pool`). Everything above them is unchanged: the
arguments, the attributes that applications and subclasses set, the mapping of exceptions.

1. A `pool.HTTPPool` has a `dugong.Pool` for its host. ``maxsize`` is the number of idle connections
   that are kept, and with ``block`` also the limit for all. It makes the connections with the
   settings that a pool of urllib3 has: `tls` makes the TLS context from them.
2. `urlopen` performs one exchange at a time. A `urllib3.Retry` decides about retries. The only
   exception is a reused connection that ends before any byte of the response (RFC 9112 section
   9.3.1): if the request is safe to retry, it is sent again on a new connection, once.
3. Errors become urllib3's exceptions (`errors`), from which the host libraries make their own.
   Exceptions that the caller's own body raises pass through unchanged.
4. The result is a `urllib3.HTTPResponse` (`response`). Its file object reads from the leased
   connection, and ends the lease when it has reached the end of the body or is closed.
5. Redirects are returned, never followed: both host libraries follow them, with their own rules.

Only documented names of urllib3 are used, besides the names that subclasses share with their base
classes there.
"""

from __future__ import annotations

try:
    import urllib3  # noqa: F401
except ImportError as exc:
    raise ImportError(
        "this adapter needs urllib3: pip install 'dugong[requests]' or 'dugong[botocore]'"
    ) from exc
