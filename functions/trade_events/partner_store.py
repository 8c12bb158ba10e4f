"""What trading knows of partners: who may trade, from where it supplies, and what the deal's rules ask of both sides."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

from kapas.platform.db import Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.schemas.vocabulary import PartnerStatus, PartnerType

from .deal.parties import Party

Constitution = Literal["individual", "huf", "company", "partnership", "society", "trust", "government"]

_CONSTITUTIONS: dict[str, Constitution] = {
    "individual": "individual",
    "proprietorship": "individual",
    "hindu_undivided_family": "huf",
    "partnership": "partnership",
    "limited_liability_partnership": "partnership",
    "private_limited": "company",
    "public_limited": "company",
    "trust": "trust",
    "society": "society",
    "cooperative_society": "society",
    "government": "government",
}
"""Constitution at registration -> the one that taxes tell apart. A proprietorship is its owner."""

COLUMNS = f"""p.id, p.status, p.type, p.constitution, p.state_code, p.gstin_state, p.bank_account IS NOT NULL,
    {UNRESTRICTED.format("p.id")}"""

_FIND = f"SELECT {COLUMNS} FROM partners p WHERE p.id = ANY(:ids::uuid[]) ORDER BY p.id"

SEALED = ("legal_name", "contact", "gstin", "address", "bank_account")
"""The encrypted columns that say who a partner is."""

_SEALED = f"SELECT {', '.join(SEALED)} FROM partners WHERE id = :id"


@dataclass(frozen=True, slots=True)
class Known:
    """A partner without what is sealed."""

    status: PartnerStatus
    type: PartnerType
    party: Party

    @property
    def trades(self) -> bool:
        """Whether it is active, and is not being erased."""
        return self.party.status == "active"


def registration_id(partner_id: UUID) -> UUID:
    """The id of a partner's GST registration; a partner has one at most."""
    return uuid5(partner_id, "gstin")


def account_id(partner_id: UUID) -> UUID:
    """The id of a partner's bank account; a partner has one at most."""
    return uuid5(partner_id, "bank_account")


def find(db: Session, partner_ids: Iterable[UUID]) -> Mapping[UUID, Known]:
    """The registered ones of these partners."""
    return {row[0]: known(row) for row in db.run(_FIND, ids=list(partner_ids))}


def known(row: list[Any]) -> Known:
    """A partner of a row of `COLUMNS`."""
    partner_id, status, kind, constitution, state, gstin_state, has_account, unrestricted = row
    active = status == "active"
    return Known(
        status,
        kind,
        Party(
            id=partner_id,
            constitution=_CONSTITUTIONS[constitution],
            cultivates=kind == "farmer",
            state=state or gstin_state or "",
            status="erased" if not unrestricted else "active" if active else "suspended",
            registrations={} if gstin_state is None else {registration_id(partner_id): gstin_state},
            # An account is verified before its partner is activated.
            accounts=frozenset({account_id(partner_id)} if has_account else ()),
        ),
    )


def sealed(db: Session, partner_id: UUID) -> Mapping[str, bytes]:
    """Encrypted column -> ciphertext of what says who a partner is; what is missing is left out."""
    row = db.one(_SEALED, id=partner_id) or [None] * len(SEALED)
    return {name: bytes(value) for name, value in zip(SEALED, row, strict=True) if value is not None}
