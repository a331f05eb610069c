"""Many requests in flight on one connection: the work of `HTTPConnection.pipeline`."""
