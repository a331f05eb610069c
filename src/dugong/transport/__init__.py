"""Everything that can wait: name resolution, connecting, sending and receiving, as coroutines."""
