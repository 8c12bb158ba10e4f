"""What several resources share."""

from typing import Any, cast

from pydantic import BaseModel

from functions.trade_events.schemas import TradeQuery


def test_the_schema_of_a_query_is_made_once() -> None:
    made = cast(Any, BaseModel.model_json_schema).__func__(TradeQuery)  # pydantic's own, not ours that keeps it
    assert TradeQuery.model_json_schema() == made
    assert TradeQuery.model_json_schema() is TradeQuery.model_json_schema()
    assert TradeQuery.model_json_schema(mode="serialization") is not TradeQuery.model_json_schema(mode="serialization")
