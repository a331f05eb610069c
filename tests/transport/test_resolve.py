"""Names: numeric ones at once, and what it means when others fail."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dugong import DNSUnavailable, HostnameNotResolvable
from dugong.transport import resolve
from dugong.transport.resolve import AddressInfo, Lookup, numeric
from tests.transport.tools import wait_for

TEST_HOSTS = (("one.example", 80), ("two.example", 53))
ADDRESS: AddressInfo = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))


class System:
    """Stands for `socket.getaddrinfo`: each name has its answers, the last one for good."""

    def __init__(self, **answers: list[int | Exception | None]) -> None:
        self.answers = {name.replace("_", "."): codes for name, codes in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **options: Any) -> list[AddressInfo]:
        assert options["type"] == socket.SOCK_STREAM
        self.asked.append(host)
        answers = self.answers.get(host, [socket.EAI_NONAME])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            raise socket.gaierror(answer, "no")
        return [ADDRESS]


# -------------------------------------------------------------------------------- numeric


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 81)),
        ("::1", ("::1", 81, 0, 0)),
        ("2001:db8::1", ("2001:db8::1", 81, 0, 0)),
    ],
)
def test_numeric(host: str, address: tuple[Any, ...]) -> None:
    found = numeric(host, 81)
    assert found is not None
    ((_, kind, _, _, got),) = found
    assert (kind, got) == (socket.SOCK_STREAM, address)


@pytest.mark.parametrize(
    "host", ["localhost", "h", "256.1.1.1", "127.0.0.1.example", "a" * 64, ".a"]
)
def test_not_numeric(host: str) -> None:
    assert numeric(host, 80) is None


# ------------------------------------------------------------------------- classification

NONAME, FAIL, AGAIN = socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_AGAIN

#: Answers for the name and the two test hosts; what comes of it, and who is asked in what order.
CLASSIFIED: dict[str, tuple[dict[str, Any], type[Exception] | None, str]] = {
    "there": ({"name": [None]}, None, "n"),
    "try again": ({"name": [AGAIN], "one_example": [None]}, DNSUnavailable, "n"),
    "unknown": ({"name": [NONAME], "one_example": [None]}, HostnameNotResolvable, "n1n"),
    "failed": ({"name": [FAIL], "one_example": [None]}, HostnameNotResolvable, "n1n"),
    "unknown, one is enough": (
        {"name": [NONAME], "two_example": [None]}, HostnameNotResolvable, "n12n",
    ),
    "a test host that is none": (
        {"name": [NONAME], "one_example": [UnicodeError()], "two_example": [None]},
        HostnameNotResolvable, "n12n",
    ),
    "down": ({"name": [NONAME]}, DNSUnavailable, "n12"),
    "back again": ({"name": [NONAME, None], "one_example": [None]}, None, "n1n"),
    "away again": ({"name": [NONAME, AGAIN], "one_example": [None]}, DNSUnavailable, "n1n"),
    "not a name": ({"name": [UnicodeError()]}, HostnameNotResolvable, "n"),
}  # fmt: skip


@pytest.mark.parametrize(("answers", "error", "asked"), CLASSIFIED.values(), ids=CLASSIFIED)
def test_classification(
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, Any],
    error: type[HostnameNotResolvable | DNSUnavailable] | None,
    asked: str,
) -> None:
    system = System(**{name: [*codes] for name, codes in answers.items()})
    monkeypatch.setattr(socket, "getaddrinfo", system)
    monkeypatch.setattr(resolve, "DNS_TEST_HOSTNAMES", TEST_HOSTS)
    for call in (resolve.resolve, lambda host, port: wait_for(Lookup(host, port))):
        system.asked.clear()
        system.answers = {name.replace("_", "."): [*codes] for name, codes in answers.items()}
        if error is None:
            assert call("name", 80) == [ADDRESS]
        else:
            with pytest.raises(error) as info:
                call("name", 80)
            assert info.value.name == "name"
        short = {"name": "n", "one.example": "1", "two.example": "2"}
        assert "".join(short[name] for name in system.asked) == asked


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", System(name=[OSError("broken")]))
    with pytest.raises(OSError, match="broken"):
        wait_for(Lookup("name", 80))
