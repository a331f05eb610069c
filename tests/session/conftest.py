"""Fixtures of the tests of a session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.uploads import WAYS


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Any:
    """Each way of making a request with a body."""
    return WAYS[request.param]
