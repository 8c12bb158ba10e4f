"""What happens on one seeded day: which capabilities its clients use, what they want, and when they begin."""

import random
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.simulation.clients import (
    consent_updates,
    data_export,
    deals,
    grading_requests,
    partner_onboarding,
    trade_events,
    webhook_delivery,
)
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.kernel import Promise
from tests.simulation.office import Office
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.yesterday import Yesterday

CAPABILITIES = frozenset(
    {
        "partner_onboarding",
        "trade_events",
        "consent_updates",
        "grading_requests",
        "data_export",
        "retention_sweep",
        "webhook_delivery",
        "outbox_relay",
        "live_feed",
        "audit_trail",
    }
)
"""What is simulated: everything. A capability joins with a module of clients, here, and what of it must hold in `rules`."""

NEWCOMER = "Devika"
STORIES = {
    "joins": 0.06,
    "trades": 0.16,
    "listens": 0.14,
    "consents": 0.08,
    "gradings": 0.07,
    "exports": 0.014,
    "erasures": 0.05,
    "sweeps": 0.01,
    "looks": 0.06,
}
"""What a day may have, and how often it has it; a day has one at least. Many days of little find more than a few of
everything: in each other things are left out (swarm testing, Groce et al., 2012), and it takes less to run."""
_ERASED = ("trades", "trades", "trades", "listens", "gradings", "exports", "consents")
"""What a partner has done that leaves."""
_JOBS = {
    "retention-nightly": (),
    "trade-watchdog": ("trades",),
    "partner-watchdog": ("joins",),
    "grading-watchdog": ("gradings",),
    "export-watchdog": ("exports", "erasures"),
    "consent-watchdog": ("consents", "erasures"),
    "webhook-watchdog": ("listens",),
}
"""What would find nothing to do on a day without one of these stories, or sweeps, which find what is of any kind."""
PLAYS = (
    (trade_events.KAPAS, deals.kapas_spot, ("", "claim")),
    (trade_events.EX_GIN, deals.ex_gin, ("", "silence", "apart", "late", "claim")),
    (trade_events.EX_GIN, deals.ex_gin, ("silence", "apart", "late")),
    (trade_events.DELIVERED, deals.delivered, ("", "silence", "bargain", "claim")),
)
"""What is dealt in by which terms, how it is performed, and what may be unusual about that."""
GOES = ("on",) * 6 + ("unanswered", "unsigned")
"""How far a trade comes: some bids are not answered, some contracts not signed."""
STOPS = (100, 100, 100, 3, 6, 10)
"""Steps after which the parties lose interest."""
LONG = 25
"""Days until which some runs meet the deadlines of trades: others end when most clients have done their work."""
_DECISIONS = ("granted", "granted", "denied", "withdrawn")
_PURPOSES = ("marketing", "analytics", "ai_processing")


class Market:
    """The partners of a run and what they do. Three have joined before; a fourth may join."""

    def __init__(self, world: World, joined: dict[str, Partner], stories: Collection[str]) -> None:
        self._world = world
        self._draw = draw = random.Random(f"{world.kernel.seed}/workload")
        self.stories = {name for name, share in STORIES.items() if draw.random() < share}
        self.stories = set(stories) or self.stories or set(draw.choices(list(STORIES), list(STORIES.values())))
        if self.stories == {"erasures"} and not stories:
            self.stories.add(draw.choice(_ERASED))  # else there is little to erase
        self._partners: dict[str, Promise] = {}
        for name, partner in joined.items():
            self._partners[name] = Promise()
            self._partners[name].set_result(partner)
        if "joins" in self.stories:
            self._partners[NEWCOMER] = Promise()

    def open(self) -> None:
        """Plan the clients."""
        plans = {
            "joins": self._joins,
            "trades": self._trades,
            "listens": self._listens,
            "consents": self._consents,
            "gradings": self._gradings,
            "exports": self._exports,
            "erasures": self._erasures,
            "looks": self._looks,
        }
        for name, plan in plans.items():
            if name in self.stories:
                plan()
        for job, stories in _JOBS.items():
            if not self.stories & {*stories, "sweeps"}:
                self._world.cloud.pause(job)
        Office(self._world, self._draw).open(sweeps="sweeps" in self.stories, dispatches="consents" in self.stories)

    def _joins(self) -> None:
        world, number = self._world, len(self._partners) - 1

        def script() -> None:
            self._partners[NEWCOMER].set_result(partner_onboarding.join(world, NEWCOMER, number))

        start = self._draw.choice((0, 0, 0, 296))  # or right before the watchdog of checks comes, every five minutes
        world.client(f"{NEWCOMER} joins", script, start)

    # Trades

    def _trades(self) -> None:
        draw = self._draw
        if draw.random() < 0.2:
            self._world.closes_after(LONG)
        for number in range(draw.choice((1, 1, 1, 1, 2))):
            seller, buyer = self._two()
            script = self._trade(seller, buyer, number, graded=draw.random() < 0.2)
            self._world.client(f"trade {number}", script, draw.choice((0, 0, 2, 90)))

    def _trade(self, seller_name: str, buyer_name: str, number: int, *, graded: bool) -> Callable[[], None]:
        draw, lot = self._draw, f"lot {number}"
        rivals = [name for name in self._partners if name not in (seller_name, buyer_name) and draw.random() < 0.4]
        terms, play, twists = draw.choice(PLAYS)
        twist, goes = draw.choice(twists), draw.choice(GOES)
        stops, patience, valid = draw.choice(STOPS), timedelta(days=draw.choice((1, 2))), timedelta(days=3)

        def script() -> None:
            world = self._world
            seller, buyer = self._partner(seller_name), self._partner(buyer_name)
            trade_id = trade_events.offer(world, seller, lot, terms, valid)
            if not trade_id:
                return
            asked = terms["ask"]["paise"]
            for rival in rivals:
                bid = lambda rival=rival: self._outbid(rival, trade_id, lot, asked - 100_00, patience)  # noqa: E731
                world.client(f"{rival} bids for {lot}", bid, 0)
            if graded:
                world.client(f"{seller_name} grades {lot} too early", lambda: self._grade_early(seller, trade_id), 0)
            sequence = trade_events.place_bid(world, buyer, trade_id, lot, asked - 300_00, patience)
            if sequence is None or goes == "unanswered" or not trade_events.accept(seller, trade_id, lot, sequence):
                return
            if goes == "unsigned" or not trade_events.sign(seller, buyer, trade_id, lot):
                return
            deal = deals.Deal(world, trade_id, lot, seller, buyer, number, stops)
            if graded:
                self._inspect(deal)
            else:
                play(deal, twist)

        return script

    def _outbid(self, rival: str, trade_id: str, lot: str, paise: int, patience: timedelta) -> None:
        trade_events.place_bid(self._world, self._partner(rival), trade_id, lot, paise, patience)

    def _grade_early(self, seller: Partner, trade_id: str) -> None:
        device = seller.device(self._world, f"hurried laboratory for {self._world.called(trade_id)}")
        grading_requests.before_the_contract(seller, device, trade_id)

    def _inspect(self, deal: "deals.Deal") -> None:
        """A sample is drawn, the seller has it graded, and the buyer takes what was read."""
        deal.fact("inspector", "samples", "sample", samples=5)
        device = deal.seller.device(self._world, f"laboratory for {deal.name}")
        if grading_requests.by_figures(deal.seller, device, 0, deal.trade_id):
            deals.accept_grading(deal)

    # Webhooks

    def _listens(self) -> None:
        draw = self._draw
        for number in range(draw.choice((1, 1, 1, 1, 2))):
            name = draw.choice(list(self._partners))
            self._world.client(f"{name} listens {number}", self._listen(name, number), draw.choice((0, 0, 1, 60)))

    def _listen(self, name: str, number: int) -> Callable[[], None]:
        fate = self._draw.choice(("stays", "stays", "stays", "pauses", "goes"))
        pause = self._draw.choice((0, 5, 600))
        tests = self._draw.choice((0, 0, 0, 1, 1, 12))

        def script() -> None:
            world, partner = self._world, self._partner(name)
            endpoint_id = webhook_delivery.listen(world, partner, number)
            if not endpoint_id:
                return
            webhook_delivery.test(partner, endpoint_id, number, tests)
            if fate == "stays":
                return
            world.kernel.sleep(pause)
            if fate == "goes":
                webhook_delivery.remove(world, partner, endpoint_id)
                return
            webhook_delivery.change(world, partner, endpoint_id, "disabled")
            world.kernel.sleep(pause)
            webhook_delivery.change(world, partner, endpoint_id, "enabled")
            webhook_delivery.recover(partner, endpoint_id, number)
            for other in self._others(name):
                webhook_delivery.pry(world, self._partner(other), endpoint_id)

        return script

    # Consents and gradings

    def _consents(self) -> None:
        """One partner, at one device or two."""
        draw, world = self._draw, self._world
        name, start = draw.choice(list(self._partners)), draw.choice((0, 0, 1, 30))
        for device in ("telephone", "desk")[: draw.choice((1, 2, 2))]:
            chosen = [
                {purpose: draw.choice(_DECISIONS) for purpose in draw.sample(_PURPOSES, draw.choice((1, 1, 2)))}
                for _ in range(draw.choice((1, 1, 2, 3)))
            ]

            def script(device: str = device, chosen: list[dict[str, str]] = chosen) -> None:
                partner = self._partner(name)
                client = partner.device(world, device)
                for number, decided in enumerate(chosen):
                    consent_updates.decide(world, partner, client, number, decided)

            world.client(f"{name} decides at the {device}", script, start)

    def _gradings(self) -> None:
        draw, world = self._draw, self._world
        name = draw.choice(list(self._partners))
        wanted = draw.sample(
            ("figures", "telephone", "image", "image", "unreadable", "lost", "free"), draw.choice((1, 1, 2, 3))
        )
        for number, kind in enumerate(wanted):
            for device in ("laboratory", "gin")[: 2 if kind == "free" else 1]:

                def script(number: int = number, kind: str = kind, device: str = device) -> None:
                    self._have_graded(name, device, number, kind)

                world.client(f"{name} grades {kind} {number} at the {device}", script, draw.choice((0, 0, 3, 60)))

    def _have_graded(self, name: str, at: str, number: int, kind: str) -> None:
        world, partner = self._world, self._partner(name)
        device = partner.device(world, f"{at} {number}", tier="free" if kind == "free" else "basic")
        match kind:
            case "figures":
                grading_requests.by_figures(partner, device, number)
            case "telephone":
                grading_requests.by_telephone(partner, device, number)
            case "free":
                grading_requests.spend_the_day(partner, device, 4)
            case _:
                grading_requests.by_image(
                    world, partner, device, number, uploads=kind != "lost", readable=kind == "image"
                )

    # Exports and erasures

    def _exports(self) -> None:
        """One partner, at one device or two."""
        draw, world = self._draw, self._world
        name = draw.choice(list(self._partners))
        for device in ("telephone", "desk")[: draw.choice((1, 1, 2))]:

            def script(device: str = device) -> None:
                partner = self._partner(name)
                export_id = data_export.export(world, partner, partner.device(world, device), 0)
                if export_id is not None:
                    data_export.pry(world, self._partner(self._others(name)[0]), export_id)

            world.client(f"{name} exports at the {device}", script, draw.choice((0, 1, 20, 200)))

    def _erasures(self) -> None:
        name = self._draw.choice(list(self._partners))
        held, exports = self._draw.random() < 0.25, self._draw.random() < 0.4

        def script() -> None:
            world, partner = self._world, self._partner(name)
            if held:
                Office.hold_for_a_while(world, partner)
            if exports:
                data_export.ask(partner)
            data_export.erase(world, partner)

        self._world.client(f"{name} leaves", script, self._draw.choice((1, 5, 20, 60, 300)))

    # Readers

    def _looks(self) -> None:
        name = self._draw.choice(list(self._partners))

        def script() -> None:
            reader = self._partner(name)
            trade_events.look_around(self._world, reader)
            for other in self._partners:
                partner_onboarding.read(self._world, self._partner(other), reader)

        self._world.client(f"{name} looks around", script, self._draw.choice((2, 30, 300)))

    def _two(self) -> list[str]:
        return self._draw.sample(list(self._partners), 2)

    def _others(self, name: str) -> list[str]:
        return [other for other in self._partners if other != name]

    def _partner(self, name: str) -> Partner:
        """The partner, as soon as it has joined."""
        return self._partners[name].result()


def day(world: World, before: "Yesterday", stories: Collection[str] = ()) -> None:
    """The workload of every seed; with `stories`, of these."""
    Market(world, before.begin(world), stories).open()
