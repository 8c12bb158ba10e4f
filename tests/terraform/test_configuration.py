"""What must hold on every order of an apply, so it is asked of the configuration, and not of what one apply made."""

from tests.terraform.configuration import Module, arguments, waits_for
from tests.terraform.deployed import KEYS


def test_what_is_encrypted_waits_for_the_grants_on_its_key(configuration: Module) -> None:
    names = {path.rpartition(".")[2] for path in KEYS.values()}
    encrypted: set[str] = set()
    for module in configuration.modules():
        for resource in module.resources():
            for key in arguments(resource["expressions"], names):
                encrypted.add(resource["type"].removeprefix("google_"))
                of_the_key = {address for name, address in waits_for(module, key) if name == "cmek_key"}
                assert {
                    "google_kms_crypto_key.this",
                    "google_kms_crypto_key_iam_member.agent",
                    "terraform_data.granted",
                } <= of_the_key, (module.name, resource["address"])
    assert encrypted == set(KEYS)
