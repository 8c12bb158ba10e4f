"""Models that cross a boundary: API resources (`partners`, `trades`, `webhooks`) and versioned events (`events`)."""
