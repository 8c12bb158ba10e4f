"""The log of the whole day, looked through for what identifies somebody."""

from pathlib import Path

from tools.demo import cast
from tools.demo.day import Day
from tools.demo.screen import expect


def play(day: Day, log: Path) -> None:
    day.screen.act("The log of the day")
    with day.screen.step("No name, telephone number, address, bank account or PAN in any line") as seen:
        text = log.read_text()
        values = cast.personal()
        found = [value for value in values if value in text]
        expect(not found, f"{len(found)} values stand in the log")
        seen.append(f"{len(text.splitlines())} lines looked through for {len(values)} values")
