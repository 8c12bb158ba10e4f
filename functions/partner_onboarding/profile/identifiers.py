"""Indian business identifiers: form, check digits and what they say about each other.

A PAN is well-formed, never verified: its check letter is undocumented. Sources are in `kapas/values/states.json`,
`requirements.json` and the functions below.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from stdnum import lei, luhn
from stdnum.exceptions import ValidationError

from kapas.errors import FieldError
from kapas.values.clock import IST
from kapas.values.states import states

from ..schemas import Constitution, Identifiers, PartnerProfile

_PAN = r"[A-Z]{3}[ABCFGHJLPTK][A-Z][0-9]{4}[A-Z]"
_GSTIN = re.compile(rf"([0-9]{{2}}){_PAN}[1-9A-Z]Z[0-9A-Z]")
_GSTIN_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CIN = re.compile(
    r"[LU][0-9]{5}[A-Z]{2}([0-9]{4})(?:PLC|PTC|OPC|FTC|FLC|GOI|SGC|NPL|GAP|GAT|ULL|ULT)[0-9]{6}"  # MCA's company classes
)
_IEC_OF_PAN = re.compile(_PAN)
_IEC_LEGACY = re.compile(r"[0-9]{10}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a field that does not fit another one; `code` is explained in `reasons.json`."""

    field: str
    code: str


def faults(profile: PartnerProfile) -> list[FieldError]:
    """What is malformed beyond what the schema sees: check digits, state codes, classes of companies."""
    found = [
        FieldError(f"/identifiers/{name}", "malformed", message) for name, message in _malformed(profile.identifiers)
    ]
    if profile.address is not None and profile.address.state_code not in states().successors:
        found.append(FieldError("/address/state_code", "unknown", "Unknown GST state code"))
    return found


def _malformed(identifiers: Identifiers) -> Iterator[tuple[str, str]]:
    if identifiers.gstin is not None and (message := _gstin_fault(identifiers.gstin)):
        yield "gstin", message
    if identifiers.cin is not None and not _CIN.fullmatch(identifiers.cin):
        yield "cin", "A CIN consists of L or U, then industry, state, year, class and number of the company"
    if identifiers.iec is not None and not (
        _IEC_OF_PAN.fullmatch(identifiers.iec) or _IEC_LEGACY.fullmatch(identifiers.iec)
    ):
        yield "iec", "An IEC is the holder's PAN, or ten digits if issued before 2017"
    # The pattern of the schema has the length, which stdnum does not look at.
    if identifiers.lei is not None and not lei.is_valid(identifiers.lei):
        yield "lei", "The check digits of the LEI are wrong (ISO 17442); correct the mistyped character"


def _gstin_fault(gstin: str) -> str | None:
    """GSTN's rule: state, PAN, entity, Z, and Luhn's check modulo 36.

    `stdnum.in_.gstin` computes the same and knows fewer states: 38 Ladakh, 97 and 99 are issued as well.
    """
    match = _GSTIN.fullmatch(gstin)
    if match is None:
        return "A GSTIN consists of the state, the holder's PAN, an entity number, Z and a check character"
    if match[1] not in states().successors:
        return "The first two digits of the GSTIN are not a state code"
    try:
        luhn.validate(gstin, _GSTIN_ALPHABET)
    except ValidationError:
        return "The check character of the GSTIN is wrong; one of the characters is mistyped"
    return None


def contradictions(
    profile: PartnerProfile, constitution: Constitution, pan_entities: Mapping[str, str], now: datetime
) -> Iterator[Finding]:
    """What cannot be right together. `pan_entities`: constitution -> fourth letters that its PAN may have."""
    known, pan = profile.identifiers, profile.identifiers.pan
    if pan is not None and pan[3] not in pan_entities[constitution]:
        yield Finding("identifiers.pan", "pan_entity_differs")
    if known.gstin is not None:
        if pan is not None and known.gstin[2:12] != pan:
            yield Finding("identifiers.gstin", "gstin_pan_differs")
        if profile.address is not None and _current(known.gstin[:2]) != _current(profile.address.state_code):
            yield Finding("identifiers.gstin", "gstin_state_differs")
    if known.cin is not None and int(known.cin[8:12]) > now.astimezone(IST).year:
        yield Finding("identifiers.cin", "cin_year_in_future")
    # DGFT Trade Notice 09 of 12 June 2017: a new IEC is the PAN.
    if known.iec is not None and pan is not None and not known.iec.isdigit() and known.iec != pan:
        yield Finding("identifiers.iec", "iec_pan_differs")


def oddities(profile: PartnerProfile) -> Iterator[Finding]:
    """What is unusual and may be right."""
    known, table = profile.identifiers, states()
    if known.gstin is not None and table.successors[known.gstin[:2]] != known.gstin[:2]:
        yield Finding("identifiers.gstin", "gst_state_legacy")
    if known.iec is not None and known.iec.isdigit():
        yield Finding("identifiers.iec", "iec_legacy")
    if profile.address is not None:
        usual = table.pin_prefixes.get(profile.address.pin[:2])
        if usual is not None and _current(profile.address.state_code) not in usual:
            yield Finding("address.pin", "pin_state_unusual")


def _current(state_code: str) -> str:
    return states().successors[state_code]
