-- Trades: the projection that requests read, and the append-only events it is folded from.
CREATE TABLE trades (
  id              uuid PRIMARY KEY,
  version         bigint NOT NULL CHECK (version > 0),
  status          text NOT NULL CHECK (status IN (
    'OFFERED', 'BID', 'NEGOTIATING', 'MATCHED', 'CONTRACTED', 'SAMPLED', 'QUALITY_PASSED', 'QUALITY_FAILED',
    'PAYMENT_PENDING', 'PAYMENT_CONFIRMED', 'DISPATCHED', 'DELIVERED', 'SETTLED', 'DISPUTED', 'ARBITRATION',
    'CANCELLED', 'EXPIRED')),
  seller_id       uuid NOT NULL,
  buyer_id        uuid,
  lot             jsonb NOT NULL,
  ask_paise       bigint NOT NULL CHECK (ask_paise > 0),
  price_paise     bigint CHECK (price_paise > 0),
  price_unit      text NOT NULL CHECK (price_unit IN ('candy_trade', 'candy_mcx', 'quintal', 'kg')),
  quality_terms   text NOT NULL DEFAULT 'none',
  minimum_grade   text NOT NULL DEFAULT 'C' CHECK (minimum_grade IN ('A', 'B', 'C', 'D')),
  signed_by       text CHECK (signed_by IN ('seller', 'buyer')),
  cancellation_by text CHECK (cancellation_by IN ('seller', 'buyer')),
  due_at          timestamptz,
  payable_paise   bigint CHECK (payable_paise >= 0),
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  CHECK (buyer_id <> seller_id),
  CHECK ((buyer_id IS NULL) = (price_paise IS NULL)),
  CHECK ((buyer_id IS NULL) = (signed_by IS NULL)),
  CHECK (due_at IS NULL OR status IN ('OFFERED', 'BID', 'NEGOTIATING', 'MATCHED', 'PAYMENT_PENDING'))
);
CREATE INDEX trades_seller ON trades (seller_id, id);
CREATE INDEX trades_buyer ON trades (buyer_id, id);
CREATE INDEX trades_open ON trades (id) WHERE status IN ('OFFERED', 'BID', 'NEGOTIATING');
CREATE INDEX trades_due ON trades (due_at, id) WHERE due_at IS NOT NULL;

-- `partner_id` is who took the step, null for the platform and its staff; `bidder_id` with whom a step on the market is.
CREATE TABLE trade_events (
  trade_id        uuid NOT NULL REFERENCES trades (id),
  sequence        bigint NOT NULL CHECK (sequence > 0),
  type            text NOT NULL,
  party           text NOT NULL CHECK (party IN ('seller', 'buyer', 'bidder', 'inspector', 'ops', 'system')),
  partner_id      uuid,
  bidder_id       uuid,
  data            jsonb NOT NULL,
  occurred_at     timestamptz NOT NULL,
  recorded_at     timestamptz NOT NULL,
  device_id       text,
  client_event_id uuid,
  PRIMARY KEY (trade_id, sequence),
  CHECK ((partner_id IS NULL) = (party IN ('inspector', 'ops', 'system'))),
  CHECK ((device_id IS NULL) = (client_event_id IS NULL))
);
-- What a device sends twice is recorded once.
CREATE UNIQUE INDEX trade_events_client ON trade_events (trade_id, partner_id, device_id, client_event_id)
  NULLS NOT DISTINCT WHERE device_id IS NOT NULL;
CREATE INDEX trade_events_bidder ON trade_events (trade_id, bidder_id, sequence) WHERE bidder_id IS NOT NULL;

ALTER TABLE trades ENABLE ROW LEVEL SECURITY;
ALTER TABLE trade_events ENABLE ROW LEVEL SECURITY;

-- An open lot is on the market: every partner sees it and may bid. From the match on it is between the two.
CREATE POLICY market_or_own ON trades FOR SELECT
  USING (may_see(seller_id) OR may_see(buyer_id)
         OR (status IN ('OFFERED', 'BID', 'NEGOTIATING') AND current_setting('app.partner_id', true) <> ''));
CREATE POLICY offer_own ON trades FOR INSERT WITH CHECK (may_see(seller_id));
CREATE POLICY change_market_or_own ON trades FOR UPDATE
  USING (may_see(seller_id) OR may_see(buyer_id)
         OR (status IN ('OFFERED', 'BID', 'NEGOTIATING') AND current_setting('app.partner_id', true) <> ''))
  WITH CHECK (true);

-- A bidder sees its own bids and what the seller answered to them; the seller, and the buyer once matched, everything.
CREATE POLICY own_events ON trade_events FOR SELECT
  USING (may_see(partner_id) OR may_see(bidder_id)
         OR EXISTS (SELECT FROM trades t WHERE t.id = trade_id AND (may_see(t.seller_id) OR may_see(t.buyer_id))));
CREATE POLICY append_own ON trade_events FOR INSERT WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE (version, status, buyer_id, price_paise, signed_by, cancellation_by, due_at, payable_paise,
  updated_at) ON trades TO trade_events;
GRANT SELECT, INSERT ON trade_events TO trade_events;
