"""A server whose connections do what functions say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def scripted(*scripts: Callable[[socket.socket], object]) -> Iterator[str]:
    """Serve a connection by each of *scripts*, one after the other. Yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for script in scripts:
                sock, _ = listener.accept()
                with sock:
                    script(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(60)
