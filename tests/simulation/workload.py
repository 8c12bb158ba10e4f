"""What happens on one seeded day: which clients there are, what they want, and when they begin."""

import random
from collections.abc import Callable

from tests.simulation.clients import partner_onboarding, trade_events, webhook_delivery
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.kernel import Promise
from tests.simulation.world import World

CAPABILITIES = frozenset(
    {"partner_onboarding", "trade_events", "webhook_delivery", "outbox_relay", "live_feed", "audit_trail"}
)
"""What is simulated. A capability joins with a module of clients, here, and what of it must hold in invariants.py."""
NAMES = ("Asha", "Bhavin", "Chetan")


class Market:
    """The partners of a run, who trade with each other once they have joined."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = random.Random(f"{world.kernel.seed}/workload")
        self._joined = {name: Promise() for name in NAMES[: self._draw.choice((2, 2, 2, 3))]}

    def open(self) -> None:
        """Plan the clients."""
        draw, world = self._draw, self._world
        for number, name in enumerate(self._joined):
            world.client(f"{name} joins", self._join(name, number), draw.choice((0, 0, 1)))
        for number in range(draw.choice((1, 1, 1, 2))):
            seller, buyer = draw.sample(list(self._joined), 2)
            world.client(f"trade {number}", self._trade(seller, buyer, f"lot {number}"), draw.choice((0, 0, 2, 90)))
        for number in range(draw.choice((1, 1, 1, 2))):
            name = draw.choice(list(self._joined))
            world.client(f"{name} listens {number}", self._listen(name, number), draw.choice((0, 0, 1, 60)))
        if draw.random() < 0.5:
            onlooker = draw.choice(list(self._joined))
            world.client(f"{onlooker} looks around", self._look_around(onlooker), draw.choice((2, 30, 300)))

    def _join(self, name: str, number: int) -> Callable[[], None]:
        def script() -> None:
            self._joined[name].set_result(partner_onboarding.join(self._world, name, number))

        return script

    def _trade(self, seller_name: str, buyer_name: str, lot: str) -> Callable[[], None]:
        rivals = [name for name in self._joined if name not in (seller_name, buyer_name)]

        def script() -> None:
            world = self._world
            seller, buyer = self._partner(seller_name), self._partner(buyer_name)
            trade_id = trade_events.offer(world, seller, lot)
            for rival in rivals:
                world.client(f"{rival} bids for {lot}", lambda rival=rival: self._outbid(rival, trade_id, lot), 0)
            sequence = trade_events.place_bid(world, buyer, trade_id, lot, 61_200_00)
            if sequence is not None and trade_events.accept(world, seller, trade_id, lot, sequence):
                trade_events.sign(world, buyer, trade_id, lot)

        return script

    def _outbid(self, rival: str, trade_id: str, lot: str) -> None:
        trade_events.place_bid(self._world, self._partner(rival), trade_id, lot, 61_300_00)

    def _listen(self, name: str, number: int) -> Callable[[], None]:
        fate = self._draw.choice(("stays", "stays", "stays", "pauses", "goes"))
        pause = self._draw.choice((0, 5, 600))

        def script() -> None:
            world, partner = self._world, self._partner(name)
            endpoint_id = webhook_delivery.listen(world, partner, number)
            if fate == "stays":
                return
            world.kernel.sleep(pause)
            if fate == "goes":
                webhook_delivery.remove(world, partner, endpoint_id)
                return
            webhook_delivery.change(world, partner, endpoint_id, "disabled")
            webhook_delivery.change(world, partner, endpoint_id, "enabled")
            for other in self._joined:
                if other != name:
                    webhook_delivery.pry(world, self._partner(other), endpoint_id)

        return script

    def _look_around(self, name: str) -> Callable[[], None]:
        def script() -> None:
            reader = self._partner(name)
            trade_events.look_around(self._world, reader)
            for other in self._joined:
                partner_onboarding.read(self._world, self._partner(other), reader)

        return script

    def _partner(self, name: str) -> Partner:
        """The partner, as soon as it has joined."""
        return self._joined[name].result()


def day(world: World) -> None:
    """The workload of every seed."""
    Market(world).open()
