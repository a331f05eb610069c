"""A `Site` for tests that do not get one for each kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Site
from tests.support.site import site as serving_site


@pytest.fixture
def site() -> Iterator[Site]:
    """A new server."""
    with serving_site() as server:
        yield server
