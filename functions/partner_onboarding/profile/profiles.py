"""A partner's details between plain and encrypted, and as they are shown: identifiers by their end only."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.privacy.keys import Field, Keyring, KeyStore, SubjectCipher

from .. import store
from ..records import Account, Document, Stored
from ..schemas import (
    CheckKind,
    Contact,
    Disabled,
    Identifiers,
    MaskedAddress,
    MaskedBankAccount,
    MaskedContact,
    MaskedOwner,
    Partner,
    PartnerProfile,
)
from . import requirements

SHOWN = {"gstin": 3}
"""Identifier -> how many of its last characters an answer shows, else four: the fourth last of a GSTIN is of the PAN."""


def seal(cipher: SubjectCipher, partner_id: UUID, profile: PartnerProfile) -> dict[str, bytes | None]:
    """Encrypted column -> ciphertext, None for what is not there."""
    plain = _columns(profile)
    return {
        name: None if value is None else cipher.encrypt(Field("partners", name, partner_id), value)
        for name, value in plain.items()
    }


def reseal(keyring: Keyring, keys: KeyStore, partner_id: UUID, profile: PartnerProfile) -> dict[str, bytes | None]:
    """The same for a partner that has a key. Raises `kapas.privacy.keys.Shredded`."""
    plain = {name: value for name, value in _columns(profile).items() if value is not None}
    fields = {name: Field("partners", name, partner_id) for name in plain}
    sealed = keyring.encrypt_many(keys, partner_id, {fields[name]: value for name, value in plain.items()})
    return {name: sealed[fields[name]] if name in plain else None for name in store.SEALED}


def indexes(keyring: Keyring, keys: KeyStore, profile: PartnerProfile) -> dict[str, bytes | None]:
    """The columns by which duplicates are found."""
    account = profile.bank_account
    known = {
        "pan": profile.identifiers.pan,
        "gstin": profile.identifiers.gstin,
        # A number is unique within a bank, whichever branch is named, with or without its leading zeros.
        "bank": account and f"{account.ifsc[:4]}:{account.number.lstrip('0')}",
    }
    return {
        f"{purpose}_index": None if value is None else keyring.blind_index(keys, purpose, value)
        for purpose, value in known.items()
    }


def states(profile: PartnerProfile) -> dict[str, str | None]:
    """The GST state codes of the address and of the GSTIN."""
    address, gstin = profile.address, profile.identifiers.gstin
    return {"state_code": address and address.state_code, "gstin_state": gstin and gstin[:2]}


def open_profile(keyring: Keyring, keys: KeyStore, stored: Stored) -> PartnerProfile:
    """What the partner told. Raises `kapas.privacy.keys.Shredded` or `kapas.platform.ports.Tampered`."""
    partner_id = stored.account.id
    fields = {Field("partners", name, partner_id): value for name, value in stored.sealed.items()}
    opened = {f.column: v.decode() for f, v in keyring.decrypt_many(keys, partner_id, fields).items()}
    parsed: dict[str, Any] = {
        name: json.loads(opened[name])
        for name in ("contact", "address", "bank_account", "beneficial_owners")
        if name in opened
    }
    known = {name: opened[name] for name in Identifiers.model_fields if name in opened}
    return PartnerProfile.model_validate({"legal_name": opened["legal_name"], "identifiers": known, **parsed})


def show(
    account: Account,
    profile: PartnerProfile,
    documents: Sequence[Document],
    pending: Sequence[CheckKind],
    now: datetime,
    disabled: Disabled | None = None,
) -> Partner:
    """The partner as an answer."""
    address, bank = profile.address, profile.bank_account
    return Partner(
        id=account.id,
        version=account.version,
        status=account.status,
        type=account.type,
        constitution=account.constitution,
        legal_name=profile.legal_name,
        contact=_contact(profile.contact),
        identifiers={
            name: mask(value, SHOWN.get(name, 4)) for name, value in profile.identifiers.model_dump().items() if value
        },
        address=address and MaskedAddress(city=address.city, pin=address.pin, state_code=address.state_code),
        bank_account=bank and MaskedBankAccount(ifsc=bank.ifsc, number=mask(bank.number)),
        beneficial_owners=[
            MaskedOwner(
                name=owner.name,
                basis=owner.basis,
                share_percent=owner.share_percent,
                pan=owner.pan and mask(owner.pan),
            )
            for owner in profile.beneficial_owners
        ],
        requirements=requirements.compute(account, profile, documents, pending, now),
        warnings=requirements.warnings(profile),
        disabled=disabled,
        created_at=account.created_at,
        updated_at=account.updated_at,
    )


def mask(value: str, shown: int = 4) -> str:
    """All but the last characters of `value` as asterisks, at least as many as are shown."""
    shown = min(shown, len(value) // 2)
    return "*" * (len(value) - shown) + value[len(value) - shown :]


def _contact(contact: Contact) -> MaskedContact:
    email = contact.email
    if email is not None:
        local, _, domain = email.rpartition("@")
        email = f"{local[0]}***@{domain}"
    return MaskedContact(name=contact.name, phone=mask(contact.phone), email=email)


def _columns(profile: PartnerProfile) -> Mapping[str, str | None]:
    known = profile.identifiers.model_dump()
    address, bank, owners = profile.address, profile.bank_account, profile.beneficial_owners
    return {
        "legal_name": profile.legal_name,
        "contact": profile.contact.model_dump_json(),
        **{name: known[name] for name in Identifiers.model_fields},
        "address": address and address.model_dump_json(),
        "bank_account": bank and bank.model_dump_json(),
        "beneficial_owners": json.dumps([owner.model_dump(mode="json") for owner in owners]) if owners else None,
    }
