"""A lot is graded twice before it is offered: from a laboratory's figures, and from a photograph of it."""

import hashlib
from typing import Any

import urllib3

from tools.demo import cast
from tools.demo.day import Day, Firm
from tools.demo.screen import StepFailed, expect, wait
from tools.synthetic_camera import Camera, Scene, photograph

SCENE = Scene(rd=cast.FIGURES["rd"], plus_b=cast.FIGURES["plus_b"], specks=18)
CAMERA = Camera(width=960, height=1280)


def play(day: Day) -> None:
    day.screen.act("Grading")
    with day.screen.step("The ginner's lot is graded from a laboratory's figures") as seen:
        grading = by_figures(day.ginner)
        seen.append(", ".join(_axis(grading, name) for name in ("micronaire", "length", "strength", "rd")))
        seen.append(_grade(grading))
    with day.screen.step("It is graded from a photograph with a colour card, taken by the synthetic camera") as seen:
        shot = photograph(SCENE, CAMERA)
        grading = by_image(day.ginner, shot.data)
        truth = {"rd": shot.truth.rd, "plus_b": shot.truth.plus_b, "trash_area": shot.truth.trash_area_pct}
        for name, true in truth.items():
            seen.append(f"{_axis(grading, name)}, drawn as {true:.2f}")
        unknown = [one["axis"] for one in grading["result"]["not_measured"] if one["reason"] == "not_from_image"]
        seen.append(f"{_grade(grading)}; not measured, because no image shows it: {', '.join(unknown)}")


def by_figures(firm: Firm, trade_id: str | None = None) -> dict[str, Any]:
    """A completed grading of the laboratory's figures, ordered for a trade or for none."""
    body = {"kind": "lab", "figures": cast.FIGURES, "trade_id": trade_id}
    return firm.owner.post("/v1/gradings", body, expect=201).body


def announcement(data: bytes) -> dict[str, Any]:
    """The request that announces a photograph."""
    digest = hashlib.sha256(data).hexdigest()
    described = {"sha256": digest, "size": len(data), "content_type": "image/jpeg"}
    return {"kind": "image", "card": "colorchecker24", **described}


def by_image(firm: Firm, data: bytes) -> dict[str, Any]:
    """Announce a photograph, upload it, submit it, and wait for its grading."""
    announced = firm.owner.post("/v1/gradings", announcement(data), expect=201).body
    upload, path = announced["upload"], f"/v1/gradings/{announced['id']}"
    uploaded = urllib3.request(upload["method"], upload["url"], body=data, headers=upload["headers"], retries=False)
    expect(uploaded.status == 200, f"the upload answered {uploaded.status}")
    firm.owner.post(f"{path}/submit", expect=200)
    wait(lambda: firm.owner.get(path).body["status"] in ("completed", "refused"), "end of the grading")
    grading: dict[str, Any] = firm.owner.get(path).body
    if grading["refusal"]:
        raise StepFailed(f"the image was refused: {grading['refusal']['detail']}")
    return grading


def _axis(grading: dict[str, Any], name: str) -> str:
    found = next(one for one in grading["result"]["measured"] if one["axis"] == name)
    unit = "" if found["unit"] == name else f" {found['unit']}"
    return f"{name} {found['value']} ± {found['uncertainty']}{unit}"


def _grade(grading: dict[str, Any]) -> str:
    grade = grading["result"]["platform_grade"]
    return f"platform grade {grade['grade']} by policy {grade['policy']}, confidence {grade['confidence']}"
