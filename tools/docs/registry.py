"""The model of every event, by type: for documents, tests and tools."""

from importlib import import_module

from kapas.messaging.events import EventData
from kapas.schemas import access
from tools.catalog import ROOT

_HOMES = sorted(path.parent.name for path in ROOT.glob("functions/*/event_models.py"))
_MODULES = [access, *(import_module(f"functions.{capability}.event_models") for capability in _HOMES)]

EVENTS: dict[str, type[EventData]] = {
    model.type: model
    for module in _MODULES
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, EventData) and "type" in vars(model)
}
"""Event type -> its model."""
