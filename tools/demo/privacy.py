"""The ginner withdraws a consent, takes its data home, and asks for erasure."""

import zipfile
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK

from tools.demo import consents, grading
from tools.demo.day import Day, Firm
from tools.demo.screen import expect, wait
from tools.synthetic_camera import photograph
from tools.verify_archive import faults


def play(day: Day) -> None:
    day.screen.act("Privacy")
    _withdraw(day)
    _export(day)
    _erase(day)


def _withdraw(day: Day) -> None:
    ginner = day.ginner
    with day.screen.step("The ginner withdraws what it consented to, and no image is graded any more") as seen:
        consents.decide(ginner, "gu", ai_processing="withdrawn", analytics="withdrawn")
        image = grading.announcement(photograph(grading.SCENE, grading.CAMERA).data)
        refused = ginner.owner.post("/v1/gradings", image, expect=403)
        dispatches = day.staff("dpo").get("/v1/consent-dispatches?status=open").body["data"]
        notified = sorted({one["processor"] for one in dispatches if one["principal_id"] == str(ginner.id)})
        seen.append(f"an image: {refused.status}, {refused.body['detail']}")
        expect(notified == ["product-analytics"], f"to be told to stop: {notified}")
        seen.append(f"to be told to stop: {', '.join(notified)}")


def _export(day: Day) -> None:
    owner = day.ginner.owner
    with day.screen.step("It asks for its data, downloads the archive and verifies it") as seen:
        export = owner.post("/v1/exports", {}, expect=202).body
        path = f"/v1/exports/{export['id']}"
        wait(lambda: owner.get(path).body["status"] != "preparing", "archive")
        export = owner.get(path).body
        expect(export["status"] == "ready", f"the export is {export['status']}")
        link = owner.post(f"{path}/download-link", expect=201).body
        archive = day.folder / "archive.zip"
        archive.write_bytes(urllib3.request("GET", link["url"], retries=False).data)
        found = [list(faults(archive, key)) for key in _published_keys(day.ginner)]
        expect([] in found, f"the archive has faults: {found}")
        seen.append(f"{export['record_count']} records and {_files(archive)} files in {export['size_bytes']:,} bytes")
        seen.append("signature, hashes and counts [green]verified[/]; the link ends in five minutes")


def _published_keys(firm: Firm) -> list[str]:
    """The platform's public keys for receipts, in PEM."""
    keys = firm.owner.get("/v1/consents/receipt-keys").body["keys"]
    return [PyJWK(key).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in keys]


def _files(archive: Path) -> int:
    with zipfile.ZipFile(archive) as opened:
        return len(opened.namelist())


def _erase(day: Day) -> None:
    owner = day.ginner.owner
    with day.screen.step("It asks for erasure, and reads what went, what stays and why") as seen:
        erasure = owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
        path = f"/v1/erasures/{erasure['id']}"
        day.advance("PT31M")
        wait(lambda: owner.get(path).body["status"] == "completed", "end of the erasure")
        erasure = owner.get(path).body
        consents.verified(day.ginner, erasure["certificate"])
        statement = erasure["statement"]
        refused = owner.post("/v1/exports", {}, expect=409)
        expect("table subject_keys" in {one["store"] for one in statement["erased"]}, "the key is still there")
        erased, titles = sum(one["count"] for one in statement["erased"]), {one["title"] for one in statement["erased"]}
        seen.append(
            f"erased: {erased} records of {len(titles)} kinds, with the key that personal data was encrypted by"
        )
        seen += _staying(statement["retained"])
        seen.append(f"the certificate's signature [green]verified[/]; a new export: {refused.status}")


def _staying(retained: list[dict[str, Any]]) -> list[str]:
    """What stays, by law and date, the latest last."""
    reasons: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in sorted(retained, key=lambda entry: (entry["earliest_deletion"], entry["law"])):
        reasons.setdefault((one["earliest_deletion"], one["law"]), []).append(one)
    return [f"stays until {until} at least by {law}: {_titles(of_law)}" for (until, law), of_law in reasons.items()]


def _titles(entries: list[dict[str, Any]]) -> str:
    """Each title once."""
    titles = [entry["title"][:1].lower() + entry["title"][1:] for entry in entries]
    return ", ".join(dict.fromkeys(titles))
