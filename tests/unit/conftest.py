"""Fixtures of the program's tests."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
from on_mocks import Deployed, Raw, raw_of, run, settings_of

from toolchain.paths import REPOSITORY

# Without a time limit for each example: a busy machine would fail what is not wrong. And with the same examples each
# time, so that a change is refused for what it changed; `make fuzz` looks for others.
hypothesis.settings.register_profile("unit", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile("unit")

Deploy = Callable[[Raw], Deployed]


@pytest.fixture(scope="session")
def deployed() -> Deploy:
    """Deploys plain data of a stack file on mocks; the same data is deployed once a session."""
    done: dict[str, Deployed] = {}

    def once(raw: Raw) -> Deployed:
        key = repr(raw)
        if key not in done:
            done[key] = run(settings_of(raw))
        return done[key]

    return once


@pytest.fixture
def dev() -> Raw:
    """Plain data of the dev stack, for a test to change."""
    return raw_of(REPOSITORY / "Pulumi.dev.yaml")
