"""The common part of the adapters for httpx and for httpx2, which is a fork of httpx.

Theory of operation
===================

1. A transport of httpx gets a request and returns a response whose body is a stream. Ours leases a
   connection of a pool, performs one exchange on it, and gives the lease to the body. The lease
   ends with the last byte, when the body is closed, or when anything fails.
2. The two libraries have the same classes under the same names. A `Library` has those of one of
   them. Its requests, responses, streams and exceptions are the only ones that a transport uses.
3. The sequence is written once, as *steps* (`call.Call.steps`), for the blocking and for the async
   transport. A step is a coroutine to run, or a list of reports for the ``trace`` extension.
4. Exceptions are translated where they leave the transport or the body (`errors.translated`).
   Exceptions that the caller's own body or callback has raised pass through unchanged.
5. httpx decides on all fields of a request. Only those are added without which a request would not
   be valid: Host, and the length of a body.
"""
