"""Who signs people in is who the functions and Firestore's rules believe: one token for both."""

from tests.terraform.deployed import Deployed


def test_functions_believe_who_signs_people_in(deployed: Deployed) -> None:
    project = deployed.one("identity_platform_config")["project"]
    assert project == deployed.project
    # As Identity Platform issues its tokens (cloud.google.com/identity-platform/docs/use-rest-api), which `request.auth` of
    # Firestore's rules is filled from.
    for name in deployed.functions("http"):
        variables = deployed.environments[name]
        assert variables["TOKEN_ISSUER"] == f"https://securetoken.google.com/{project}", name
        assert variables["TOKEN_AUDIENCE"] == project, name
        assert variables["TOKEN_JWKS_URL"].endswith("/jwk/securetoken@system.gserviceaccount.com"), name
    assert "request.auth.token.partner_id" in deployed.rules


def test_its_services_are_on(deployed: Deployed) -> None:
    services = {values["service"] for values in deployed.values("project_service")}
    assert services >= {"identitytoolkit.googleapis.com", "securetoken.googleapis.com"}


def test_nobody_makes_an_account_with_claims_of_their_own(deployed: Deployed) -> None:
    config = deployed.one("identity_platform_config")
    assert config["client"][0]["permissions"][0]["disabled_user_signup"] is True
    assert not config["sign_in"][0]["anonymous"]
