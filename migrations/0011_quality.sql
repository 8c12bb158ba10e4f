-- Whether the other side of a trade may trade at all: an open lot of a seller that was suspended takes no bids. Trading sees the
-- columns of `partners` that it is granted of everybody; what restrictions say it sees already.
CREATE POLICY who_trades ON partners FOR SELECT TO trade_events USING (true);
