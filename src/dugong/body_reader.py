"""Every way of reading a body.

Payload is received straight into the caller's buffer. Only chunk lines, and what arrives together
with them, pass through the receive buffer; and chunks that are smaller than it, because a call of
the system for each would cost more than copying them.
"""

from __future__ import annotations

from .errors import InvalidResponse
from .incoming import BLOCK_SIZE, IncomingBody
from .protocol.body import Chunked, Length
from .transport.buffer import Gathered
from .transport.poll import TURN_SIZE, PollNeeded, pause
from .transport.stream import PIECE_SIZE


class BodyReader(IncomingBody):
    """Reads the bodies of one link. Each operation is an attempt: see `Receiver`."""

    def try_read(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes, ``b""`` only at the end (or for *count* 0)."""
        if count == 0:
            return b""
        if self._exchanges.limited and (need := self.try_late()) is not None:
            return need
        if self._gathered.left:
            return self._gathered.take(count)
        most = min(count, BLOCK_SIZE)
        while (payload := self._try_payload(most)) and not isinstance(payload, PollNeeded):
            if self.buffer.end:
                return self._take(most)
            stream = self._link.require_stream()
            if stream.in_records and min(payload, most) > PIECE_SIZE:
                block = self._some_block()
                got = self._try_into(block[:most])
                return got if isinstance(got, PollNeeded) else bytes(block[:got])
            data = stream.recv(min(payload, most))
            if isinstance(data, PollNeeded):
                return data
            if data:
                self._took(data, len(data))
                return data
            self._connection_ended()
        if not payload:
            self.end_reported = True
        return payload or b""

    def try_readinto(self, view: memoryview) -> int | PollNeeded:
        """Read into *view*; return the number of bytes, 0 only at the end (or for no room)."""
        if not view:
            return 0
        if self._exchanges.limited and (need := self.try_late()) is not None:
            return need
        if self._gathered.left:
            data = self._gathered.take(len(view))
            view[: len(data)] = data
            return len(data)
        got = self._try_into(view)
        if got == 0:
            self.end_reported = True
        return got

    def try_readall(self, limit: int | None) -> bytes | PollNeeded:
        """Read the rest of the body. What it had when interrupted is served by the next read."""
        gathered, body = self._gathered, self._body
        length = body.payload if isinstance(body, Length) else None
        if limit is not None and gathered.left + (length or 0) > limit:
            raise self._beyond(limit)
        rest = b""
        buffer = self.buffer
        if body is None or (length is not None and length <= buffer.end - buffer.start):
            if self._exchanges.failure is not None:
                self._exchanges.check_alive()
            if body is not None:
                rest = buffer.take(length or 0)
                self._untouched = False
                if self._digest is not None:
                    self._digest.update(rest)
                self._finish(body)
            if not gathered.left:
                self.end_reported = True
                return rest
        elif (need := self._try_gather(length, limit)) is not None:
            return need
        self.end_reported = True
        self._gathered = Gathered()
        return gathered.take_all() + rest if rest else gathered.take_all()

    def try_late(self) -> PollNeeded | None:
        """If the exchange's deadline has passed, gather the rest of the body, if it has arrived.

        Returns:
            What the rest lacks, and so any call that reads the body. Its limits leave no time to
            wait for that.
        """
        limits = None if self._body is None else self._exchanges.receiving_limits()
        return self._try_gather(None, None) if limits is not None and limits.passed else None

    def _try_gather(self, length: int | None, limit: int | None) -> PollNeeded | None:
        block, moved = self._some_block(length), 0
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
            moved += count
            self._gathered.add(block[:count])
            if limit is not None and self._gathered.left > limit:
                raise self._beyond(limit)
            if moved >= TURN_SIZE and self._body is not None:
                return pause(self._link.require_stream().want_read)
        return None

    def _some_block(self, length: int | None = None) -> memoryview:
        """Return a block to receive into; it is kept until the end of the body."""
        if self._block is None:
            self._block = memoryview(bytearray(min(length or BLOCK_SIZE, BLOCK_SIZE)))
        return self._block

    def try_discard(self) -> PollNeeded | None:
        """Read the rest of the body and throw it away."""
        self._gathered = Gathered()
        block = self._some_block() if self._body is not None else memoryview(bytearray(1))
        moved = 0
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
            moved += count
            if moved >= TURN_SIZE and self._body is not None:
                return pause(self._link.require_stream().want_read)
        self.end_reported = True
        return None

    def _beyond(self, limit: int) -> InvalidResponse:
        message = f"response body is longer than the limit of {limit} bytes"
        return InvalidResponse(message, part="limit")

    def _try_into(self, view: memoryview) -> int | PollNeeded:
        size = len(view)
        while (payload := self._try_payload(size)) and not isinstance(payload, PollNeeded):
            if self.buffer.end:
                return self._take_into(view)
            if payload < size:
                with view[:payload] as room:  # let go even if this fails
                    return self._try_into(room)
            got = self._link.require_stream().recv_into(view)
            if isinstance(got, PollNeeded):
                return got
            if got:
                self._took(view, got)
                return got
            self._connection_ended()
        return payload

    # From the buffer.

    def _take(self, most: int) -> bytes:
        blocks: list[bytes] = []
        while True:
            block = b"".join(self._pieces(most))
            blocks.append(block)
            most -= len(block)
            if not self._goes_on() or not most:
                return block if len(blocks) == 1 else b"".join(blocks)

    def _take_into(self, view: memoryview) -> int:
        filled, size = 0, len(view)
        while True:
            for piece in self._pieces(size - filled):
                end = filled + len(piece)
                view[filled:end] = piece
                filled = end
            if not self._goes_on() or filled == size:
                return filled

    def _pieces(self, most: int) -> list[memoryview]:
        """Take payload, at most *most* bytes; it is to be copied before anything is received."""
        body, buffer = self._body, self.buffer
        assert body is not None
        self._untouched = False
        if isinstance(body, Chunked):
            pieces, end = body.take(buffer.data, buffer.view, buffer.start, buffer.end, most)
        else:
            end = min(buffer.start + min(body.payload, most), buffer.end)
            pieces = [buffer.view[buffer.start : end]]
            body.took(end - buffer.start)
        if self._digest is not None:
            for piece in pieces:
                self._digest.update(piece)
        buffer.skip_to(end)
        return pieces

    def _goes_on(self) -> bool:
        """Go on behind what was taken; tell whether the buffer has payload that comes next."""
        body = self._body
        if body is not None and (not body.payload or body.ended_by_close):
            self._advance(receive=True)
            body = self._body
        return body is not None and body.payload > 0 and self.buffer.end > 0
