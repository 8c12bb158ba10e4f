"""A ginner, a mill and a farmer become partners; one is held because the GST registry has another name, and mends it."""

from local_cloud.client import Client
from tools.demo import cast
from tools.demo.day import Day, Firm
from tools.demo.screen import expect, wait


def play(day: Day) -> None:
    day.screen.act("Onboarding")
    operations = day.staff("ops")
    _register(day, operations)
    _mend(day, operations)
    with day.screen.step("Operations reviews all three and activates them") as seen:
        for name, firm in (("ginner", day.ginner), ("mill", day.mill), ("farmer", day.farmer)):
            review = operations.get(f"{firm.path}/review")
            active = operations.post(f"{firm.path}/activate", if_match=review.etag)
            seen.append(f"{name}: {active.body['status']}, risk {review.body['risk']['level']}")


def _register(day: Day, operations: Client) -> None:
    registry_has = {"kind": "mismatch", "about": cast.GINNER["identifiers"]["gstin"], "name": cast.GINNER["legal_name"]}
    day.client.call("PUT", "/_local/providers/gst-registry", {"behaviours": [registry_has]})
    written = {**day.ginner.body, "legal_name": cast.WRONG_NAME}
    with day.screen.step("A ginner, a mill and a farmer register, and are checked") as seen:
        for firm, body in ((day.ginner, written), (day.mill, day.mill.body), (day.farmer, day.farmer.body)):
            registered = firm.owner.post("/v1/partners", body, expect=201)
            firm.owner.post(f"{firm.path}/submit", if_match=registered.etag, expect=200)
        for firm, status in (
            (day.ginner, "needs_clarification"),
            (day.mill, "under_review"),
            (day.farmer, "under_review"),
        ):
            _wait_until(firm, status)
        for name, firm in (("ginner", day.ginner), ("mill", day.mill), ("farmer", day.farmer)):
            seen.append(f"{name}: {_checks(operations, firm)}")


def _mend(day: Day, operations: Client) -> None:
    ginner = day.ginner
    with day.screen.step("The ginner is held, reads why, and mends its name") as seen:
        held = ginner.owner.get(ginner.path)
        errors = held.body["requirements"]["errors"]
        expect([error["code"] for error in errors] == ["gst_name_differs"], f"held for {errors}")
        seen.append(f"held: {errors[0]['message']}")
        seen.append(f"to mend: {errors[0]['how_to_mend']}")
        change = {"legal_name": ginner.body["legal_name"]}
        mended = ginner.owner.call("PATCH", ginner.path, change, headers={"If-Match": held.etag}, expect=200)
        ginner.owner.post(f"{ginner.path}/submit", if_match=mended.etag, expect=200)
        _wait_until(ginner, "under_review")
        seen.append(f"now: {_checks(operations, ginner)}")


def _checks(operations: Client, firm: Firm) -> str:
    checks = operations.get(f"{firm.path}/review").body["checks"]
    return ", ".join(f"{check['kind']} {check['result']}" for check in checks)


def _wait_until(firm: Firm, status: str) -> None:
    wait(lambda: firm.owner.get("/v1/partners").body["data"][0]["status"] == status, f"status {status}")
