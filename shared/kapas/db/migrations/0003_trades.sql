-- Trades: the projection that requests read, and the append-only events it is folded from.
CREATE TABLE trades (
  id          uuid PRIMARY KEY,
  version     bigint NOT NULL CHECK (version > 0),
  status      text NOT NULL CHECK (status IN ('OFFERED', 'BID', 'MATCHED', 'CONTRACTED')),
  seller_id   uuid NOT NULL,
  buyer_id    uuid,
  lot         jsonb NOT NULL,
  ask_paise   bigint NOT NULL CHECK (ask_paise > 0),
  price_paise bigint CHECK (price_paise > 0),
  price_unit  text NOT NULL CHECK (price_unit IN ('candy_trade', 'candy_mcx', 'quintal', 'kg')),
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  CHECK (buyer_id <> seller_id),
  CHECK ((buyer_id IS NULL) = (price_paise IS NULL))
);
CREATE INDEX trades_seller ON trades (seller_id, id);
CREATE INDEX trades_buyer ON trades (buyer_id, id);
CREATE INDEX trades_open ON trades (id) WHERE status IN ('OFFERED', 'BID');

CREATE TABLE trade_events (
  trade_id    uuid NOT NULL REFERENCES trades (id),
  sequence    bigint NOT NULL CHECK (sequence > 0),
  type        text NOT NULL,
  partner_id  uuid NOT NULL,
  data        jsonb NOT NULL,
  occurred_at timestamptz NOT NULL,
  PRIMARY KEY (trade_id, sequence)
);

ALTER TABLE trades ENABLE ROW LEVEL SECURITY;
ALTER TABLE trade_events ENABLE ROW LEVEL SECURITY;

-- An open lot is on the market: every partner sees it and may bid. From the match on it is between the two.
CREATE POLICY market_or_own ON trades FOR SELECT
  USING (may_see(seller_id) OR may_see(buyer_id)
         OR (status IN ('OFFERED', 'BID') AND current_setting('app.partner_id', true) <> ''));
CREATE POLICY offer_own ON trades FOR INSERT WITH CHECK (may_see(seller_id));
CREATE POLICY change_market_or_own ON trades FOR UPDATE
  USING (may_see(seller_id) OR may_see(buyer_id)
         OR (status IN ('OFFERED', 'BID') AND current_setting('app.partner_id', true) <> ''))
  WITH CHECK (true);

-- A bidder sees its own bids; the seller, and the buyer once matched, see everything.
CREATE POLICY own_events ON trade_events FOR SELECT
  USING (may_see(partner_id)
         OR EXISTS (SELECT FROM trades t WHERE t.id = trade_id AND (may_see(t.seller_id) OR may_see(t.buyer_id))));
CREATE POLICY append_own ON trade_events FOR INSERT WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE (version, status, buyer_id, price_paise, updated_at) ON trades TO trade_events;
GRANT SELECT, INSERT ON trade_events TO trade_events;
