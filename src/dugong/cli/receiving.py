"""How ``dugong get`` handles a response: it classifies the response and stores the body."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

from ..connection.blocking import HTTPConnection
from ..protocol.messages import HTTPResponse
from .arguments import Document
from .files import Destination
from .output import Failure, print_bytes
from .progress import Bars
from .ranges import Answer, answer, beginning_of, extent, range_fields, source_of
from .redirects import Trail
from .refusals import Refusal

_BLOCK_SIZE = 256 * 1024

#: Digests that the library can check (RFC 9530 section 5).
_DIGEST = re.compile(r"sha-(256|512)=:")


@dataclass
class Job:
    """A document to be fetched.

    Attributes:
        document: the document.
        name: the name of the file, ``""`` for standard output.
        destination: stores the document.
    """

    document: Document
    name: str
    destination: Destination


class Receiver:
    """Handles responses.

    Args:
        args: the arguments of the command.
        shown: shows the progress.
    """

    def __init__(self, args: argparse.Namespace, shown: Bars) -> None:
        self._wants_head: bool = args.head
        self._bars = shown
        self._own_range = any(name.lower() == "range" for name, _ in args.headers)

    def range_fields(self, job: Job, trail: Trail) -> list[tuple[str, str]]:
        """Return the fields that request the rest, if the beginning came from the same location."""
        there = job.destination
        beginning = there.beginning
        source = source_of(trail.document)
        if beginning is None or not there.received or beginning.source != source:
            return []
        return range_fields(beginning, there.received)

    def receive(self, conn: HTTPConnection, response: HTTPResponse, job: Job, trail: Trail) -> bool:
        """Store the body of a response.

        Returns:
            Whether the document is complete. If not, another request is necessary.

        Raises:
            Refusal: the server refused the request.
            Failure: the document cannot be stored, or the response is not what was requested.
            DugongError: the body could not be read to its end.
        """
        there = job.destination
        judged = self._judge(response, job, trail)
        if judged is Answer.REFUSAL:
            self._refuse(conn, response, job)
        if judged is Answer.USELESS:
            there.beginning = None
            conn.disconnect()  # its body may be as long as the document
            return False
        total = response.length
        end = None
        if judged is Answer.REST:
            end, total = extent(response)
        elif judged is Answer.WHOLE:
            if response.status == 206 and not self._own_range:
                raise Failure("the server sent partial content that was not requested")
            beginning = beginning_of(response, source_of(trail.document))
            head = _head(response) if self._wants_head else b""
            there.begin(None if self._own_range else beginning, head)
        if judged is not Answer.NOTHING_MISSING:
            self._store(conn, response, job, total)
        if end is not None and there.received != end:
            there.beginning = None
            raise Failure("the server sent partial content of the wrong length")
        if end != total and judged is Answer.REST:
            return False  # a server may send less than the requested range
        there.finish()
        return True

    def _judge(self, response: HTTPResponse, job: Job, trail: Trail) -> Answer:
        there = job.destination
        if there.beginning is not None and self.range_fields(job, trail):
            return answer(response, there.beginning, there.received)
        return Answer.WHOLE if 200 <= response.status < 300 else Answer.REFUSAL

    def _store(
        self, conn: HTTPConnection, response: HTTPResponse, job: Job, total: int | None
    ) -> None:
        """Read the body to its end and store it. Checks its digest if it has one."""
        announced = [response.headers[name] or "" for name in ("Content-Digest", "Repr-Digest")]
        if _DIGEST.search(announced[0] if response.status == 206 else ", ".join(announced)):
            conn.hash_body(check=True)
        there = job.destination
        buffer = memoryview(bytearray(_BLOCK_SIZE))
        with self._bars.bar(job.name, total, there.received) as bar:
            while count := conn.readinto(buffer):
                there.write(buffer[:count])
                bar.done += count

    def show_head(self, response: HTTPResponse, job: Job) -> None:
        """Print the head of a redirect or an error, if heads are wanted and nothing is stored."""
        if self._wants_head and not job.name:
            print_bytes(_head(response))

    def _refuse(self, conn: HTTPConnection, response: HTTPResponse, job: Job) -> None:
        self.show_head(response, job)
        if response.status < 200:  # a 101: the server has switched to another protocol
            conn.disconnect()
        where = response.headers["Location"]
        hint = f" (see {where})" if where else ""
        message = f"the server responded with {response.status} {response.reason}".rstrip()
        raise Refusal(message + hint, response)


def _head(response: HTTPResponse) -> bytes:
    lines = [f"HTTP/{response.version} {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
