-- A bidder sees its own negotiation only, also once it has bought: what the seller and a rival said to each other stays
-- between those two. The seller sees everything, and both parties all that is not with one bidder.
ALTER POLICY own_events ON trade_events
  USING (may_see(partner_id) OR may_see(bidder_id)
         OR EXISTS (SELECT FROM trades t WHERE t.id = trade_events.trade_id
                    AND (may_see(t.seller_id) OR (trade_events.bidder_id IS NULL AND may_see(t.buyer_id)))));

-- An invoice number is a seller's own in a financial year, which begins in April (CGST Rules 2017, rule 46(b)); capitals and
-- small letters are the same to the registrar of invoices.
CREATE UNIQUE INDEX trade_events_invoice ON trade_events (
  partner_id, upper(data->>'invoice_number'),
  extract(year FROM (occurred_at AT TIME ZONE 'Asia/Kolkata') - interval '3 months'))
  WHERE type = 'payment_requested';
