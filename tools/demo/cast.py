"""The people, firms and figures of the day. All are made up; the PANs are well-formed and belong to nobody."""

from typing import Any

from kapas.values import ids
from local_cloud.client import Client
from tools.demo.day import Firm

# A lot as a laboratory finds it: figures in the units and within the ranges of the USDA/AMS classing record.
FIGURES: dict[str, Any] = {
    "micronaire": 4.1,
    "strength_g_tex": 29.6,
    "upper_half_mean_length_in": 1.14,
    "uniformity_index_pct": 83.2,
    "rd": 77.6,
    "plus_b": 8.7,
    "trash_area_pct": 0.2,
    "trash_weight_pct": 3.4,
    "color_grade": "31",
}
KAPAS: dict[str, Any] = {
    "kind": "kapas",
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Gondal",
    "amount": "136",
    "unit": "maund_20kg",
}
KAPAS_ASK: dict[str, Any] = {"paise": 1_540_00, "unit": "maund_20kg"}
LOT: dict[str, Any] = {
    "kind": "bales",
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Rajkot",
    "quantity": {"bales": 100, "kg": "16350"},
}
ASK: dict[str, Any] = {"paise": 61_500_00, "unit": "candy_trade"}
BID: dict[str, Any] = {"paise": 61_200_00, "unit": "candy_trade"}

WRONG_NAME = "Rajkot Ginning Private Limited"
"""What the ginner first writes; the GST registry has the name below."""
GINNER: dict[str, Any] = {
    "type": "ginner",
    "constitution": "private_limited",
    "legal_name": "Example Ginning Private Limited",
    "contact": {"name": "Asha Example", "phone": "+919800000001"},
    "identifiers": {"pan": "AAACX0001G", "gstin": "24AAACX0001G1Z4", "cin": "U17111GJ2015PTC000001"},
    "address": {"line": "1 Example Road", "city": "Rajkot", "pin": "360001", "state_code": "24"},
    "bank_account": {"ifsc": "EXAM0000001", "number": "50100000001"},
    "beneficial_owners": [{"name": "Asha Example", "share_percent": 60}],
}
MILL: dict[str, Any] = {
    "type": "spinning_mill",
    "constitution": "public_limited",
    "legal_name": "Example Spinning Mills Limited",
    "contact": {"name": "Ravi Example", "phone": "+919800000002"},
    "identifiers": {"pan": "AAACX0002M", "gstin": "33AAACX0002M1ZR", "cin": "L17111TZ1995PLC000002"},
    "address": {"line": "2 Example Road", "city": "Coimbatore", "pin": "641001", "state_code": "33"},
    "bank_account": {"ifsc": "EXAM0000001", "number": "50100000002"},
}
FARMER: dict[str, Any] = {
    "type": "farmer",
    "constitution": "individual",
    "legal_name": "Meena Example",
    "contact": {"name": "Meena Example", "phone": "+919800000003"},
    "identifiers": {"pan": "AAAPX0003E"},
    "address": {"line": "3 Example Road", "city": "Gondal", "pin": "360311", "state_code": "24"},
    "bank_account": {"ifsc": "EXAM0000001", "number": "50100000003"},
}


def firms(client: Client) -> tuple[Firm, Firm, Firm]:
    """The ginner, the mill and the farmer, not registered yet."""
    ginner, mill, farmer = (
        Firm(partner_id, client.as_user(name, partner_id, "owner"), body)
        for name, body in (("asha", GINNER), ("ravi", MILL), ("meena", FARMER))
        for partner_id in [ids.uuid7()]
    )
    return ginner, mill, farmer


def personal() -> list[str]:
    """What in the registrations identifies somebody."""
    return [WRONG_NAME] + [
        value
        for body in (GINNER, MILL, FARMER)
        for value in (
            body["legal_name"],
            *body["contact"].values(),
            *body["identifiers"].values(),
            body["address"]["line"],
            body["bank_account"]["number"],
        )
    ]
