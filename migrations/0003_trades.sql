-- Trades: each as it stands, and the append-only events it is the fold of.

-- Whether the session may see what any of these partners may.
CREATE FUNCTION may_see_any(partners uuid[]) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE
  RETURN current_setting('app.partner_id', true) = '*' OR current_setting('app.partner_id', true) = ANY (partners::text[]);

-- `state` is the whole trade; the other columns repeat what rows are found, listed and shown by.
CREATE TABLE trades (
  id          uuid PRIMARY KEY,
  version     bigint NOT NULL CHECK (version > 0),
  status      text NOT NULL CHECK (status IN ('offered', 'negotiating', 'matched', 'contracted', 'in_delivery', 'disputed',
                'completed', 'closed_out', 'cancelled', 'expired')),
  seller_id   uuid NOT NULL,
  buyer_id    uuid,
  broker_ids  uuid[] NOT NULL,
  template    text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('kapas', 'bales')),
  variety     text NOT NULL,
  crop_year   text NOT NULL,
  station     text NOT NULL,
  ask_paise   bigint NOT NULL CHECK (ask_paise > 0),
  ask_unit    text NOT NULL,
  due_at      timestamptz,
  state       jsonb NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  CHECK (buyer_id <> seller_id),
  CHECK ((buyer_id IS NULL) OR status NOT IN ('offered', 'negotiating', 'expired')),
  -- What has not ended has a deadline.
  CHECK ((due_at IS NULL) = (status IN ('completed', 'closed_out', 'cancelled', 'expired')))
);
CREATE INDEX trades_seller ON trades (seller_id, id);
CREATE INDEX trades_buyer ON trades (buyer_id, id);
CREATE INDEX trades_brokers ON trades USING gin (broker_ids) WHERE broker_ids <> '{}';
CREATE INDEX trades_open ON trades (id) WHERE status IN ('offered', 'negotiating');
CREATE INDEX trades_due ON trades (due_at, id) WHERE due_at IS NOT NULL;

-- Who took a step: `partner_id`, null for the platform and its staff, for `principal_id` if it is a broker. `bidder_id` is
-- with whom a step on the market is, and `broker_ids` who brokers it.
CREATE TABLE trade_events (
  trade_id        uuid NOT NULL REFERENCES trades (id),
  sequence        bigint NOT NULL CHECK (sequence > 0),
  type            text NOT NULL,
  role            text NOT NULL CHECK (role IN ('partner', 'broker', 'inspector', 'operations', 'system')),
  side            text CHECK (side IN ('seller', 'buyer')),
  partner_id      uuid,
  principal_id    uuid,
  bidder_id       uuid,
  broker_ids      uuid[] NOT NULL,
  device_id       text,
  client_event_id uuid,
  data            jsonb NOT NULL,
  occurred_at     timestamptz NOT NULL,
  recorded_at     timestamptz NOT NULL,
  PRIMARY KEY (trade_id, sequence),
  CHECK ((partner_id IS NULL) = (role IN ('inspector', 'operations', 'system'))),
  CHECK ((device_id IS NULL) = (client_event_id IS NULL))
);
-- What a device sends twice is recorded once.
CREATE UNIQUE INDEX trade_events_client ON trade_events (trade_id, partner_id, device_id, client_event_id)
  NULLS NOT DISTINCT WHERE device_id IS NOT NULL;
CREATE INDEX trade_events_bidder ON trade_events (trade_id, bidder_id, sequence) WHERE bidder_id IS NOT NULL;

-- An invoice number is its issuer's own in a financial year, which begins in April (CGST Rules 2017, rule 46(b)); capitals
-- and small letters are the same to the registrar of invoices.
CREATE UNIQUE INDEX trade_events_invoice ON trade_events (
  coalesce(principal_id, partner_id), upper(data->>'number'),
  extract(year FROM (occurred_at AT TIME ZONE 'Asia/Kolkata') - interval '3 months'))
  WHERE type = 'trade.document_recorded.v1' AND data->>'kind' IN ('tax_invoice', 'bill_of_supply', 'self_invoice');

ALTER TABLE trades ENABLE ROW LEVEL SECURITY;
ALTER TABLE trade_events ENABLE ROW LEVEL SECURITY;

-- An open lot is on the market: every partner sees it and may bid. From the match on it is between the two and their brokers.
CREATE POLICY market_or_own ON trades FOR SELECT
  USING (may_see(seller_id) OR may_see(buyer_id) OR may_see_any(broker_ids)
         OR (status IN ('offered', 'negotiating') AND current_setting('app.partner_id', true) <> ''));
CREATE POLICY offer_own ON trades FOR INSERT WITH CHECK (may_see(seller_id));
CREATE POLICY change_market_or_own ON trades FOR UPDATE
  USING (may_see(seller_id) OR may_see(buyer_id) OR may_see_any(broker_ids)
         OR (status IN ('offered', 'negotiating') AND current_setting('app.partner_id', true) <> ''))
  WITH CHECK (true);

-- A bidder sees its own negotiation only, also once it has bought: what the seller and a rival said to each other stays
-- between those two. The seller sees everything, and both parties and their brokers all that is not with one bidder.
CREATE POLICY own_events ON trade_events FOR SELECT
  USING (may_see(partner_id) OR may_see(bidder_id) OR may_see_any(broker_ids)
         OR EXISTS (SELECT FROM trades t WHERE t.id = trade_events.trade_id
                    AND (may_see(t.seller_id)
                         OR (trade_events.bidder_id IS NULL AND (may_see(t.buyer_id) OR may_see_any(t.broker_ids))))));
-- What follows at once from a partner's step is the platform's own, and is written with it.
CREATE POLICY append_own ON trade_events FOR INSERT WITH CHECK (partner_id IS NULL OR may_see(partner_id));

GRANT SELECT, INSERT, UPDATE (version, status, buyer_id, broker_ids, template, ask_paise, due_at, state, updated_at)
  ON trades TO trade_events;
GRANT SELECT, INSERT ON trade_events TO trade_events;
