"""Unit tests of `dugong.transport`: sockets and coroutines, without any HTTP connection."""
