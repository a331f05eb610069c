"""The classes that users hold: connections, with blocking, coroutine and async methods."""
