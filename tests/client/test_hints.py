"""Names that users of other libraries know lead to those of this one."""

from __future__ import annotations

import weakref

import pytest

from dugong import Client
from tests.client.styled import Style, styled
from tests.support.in_turn import in_turn
from tests.support.site import Site, site


@in_turn(
    ("name", "hint"),
    [
        ("data", "pass form= or body="),
        ("files", "pass form=Multipart"),
        ("allow_redirects", "pass redirects="),
        ("verify", "pass verify= to the client"),
        ("stream", "leave it out"),
    ],
)
def test_arguments(name: str, hint: str) -> None:
    with Client() as client:
        with pytest.raises(TypeError) as info:
            client.get("http://127.0.0.1:1/", **{name: True})  # type: ignore[arg-type]
        assert str(info.value).startswith(f"a request has no argument {name!r}: {hint}")


def test_any_other_argument() -> None:
    with Client() as client, pytest.raises(TypeError) as info:
        client.get("http://127.0.0.1:1/", zzz=1)  # type: ignore[call-arg]
    assert str(info.value) == "a request has no argument 'zzz'"


@styled
async def test_attributes(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url) as client:
        response = await client.get("/")
        for name, hint in [
            ("content", ": use readall()"), ("status_code", ": use status"), ("zzz", ""),
        ]:  # fmt: skip
            with pytest.raises(AttributeError) as info:
                getattr(response, name)
            assert str(info.value).endswith(f"object has no attribute {name!r}{hint}")
            assert info.value.name == name
        assert not hasattr(response, "ok")
        await response.readall()


def test_requests_are_keys() -> None:
    """Also weak ones, so that a callback for events can keep what belongs to a request."""
    seen: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()

    def note(event: object) -> None:
        seen[event.request] = event.name  # type: ignore[attr-defined]

    with site() as server, Client(base_url=server.url, on_event=note) as client:
        response = client.get("/")
        response.discard()
        assert list(seen.values()) == ["done"]
