from collections.abc import Iterator

import pytest

from .pubsub_backends import Backend, Endpoint, endpoint, google_backend, local_backend


@pytest.fixture(scope="package", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A Pub/Sub: the local one, and Google's emulator."""
    with local_backend() if request.param == "local" else google_backend() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    """Where pushes go."""
    with endpoint() as made:
        yield made
