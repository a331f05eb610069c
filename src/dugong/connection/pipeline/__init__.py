"""Many requests in flight on one connection: what `HTTPConnection.pipeline` returns."""
