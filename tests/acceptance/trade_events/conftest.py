"""The two sides of a trade."""

import pytest

from local_cloud.client import Client
from tests.journeys.partners import Partner, active_partner, gstin, registration


@pytest.fixture
def seller(client: Client) -> Partner:
    """A ginner of Gujarat."""
    return active_partner(client)


@pytest.fixture
def buyer(client: Client) -> Partner:
    """A mill of Gujarat."""
    return active_partner(client, type="spinning_mill")


@pytest.fixture
def distant_buyer(client: Client) -> Partner:
    """A mill of Tamil Nadu."""
    known = registration()["identifiers"]
    address = {"line": "12, Example Street", "city": "Coimbatore", "pin": "641001", "state_code": "33"}
    identifiers = known | {"gstin": gstin(known["pan"], "33")}
    return active_partner(client, type="spinning_mill", identifiers=identifiers, address=address)


@pytest.fixture
def farmer(client: Client) -> Partner:
    """An individual who cultivates, without a GST registration."""
    pan = registration()["identifiers"]["pan"]
    identifiers = {"pan": f"{pan[:3]}P{pan[4:]}"}
    return active_partner(client, type="farmer", constitution="individual", identifiers=identifiers)
