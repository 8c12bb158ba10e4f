"""Serve any google-cloud service over gRPC without servicer classes.

Google's Python clients ship no server side. Their own gRPC transport, given a channel that only records, tells each
method's path and (de)serialisers; a handler object then implements the methods by name:

    def CreateTopic(self, request, context) -> Topic

Handlers raise `google.api_core.exceptions`; the caller sees that status. What a handler lacks answers UNIMPLEMENTED.
This leans on private attributes of the transports, so versions are pinned and a test compares the method tables.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any

import grpc
from google.api_core import exceptions

Method = tuple[str, Any, Any]
"""Kind (`unary_unary`, `unary_stream`, `stream_stream`), request type, response type."""


def _recorder(kind: str) -> Any:
    def multicallable(channel: Any, path: str, request_serializer: Any, response_deserializer: Any, *_: Any) -> Any:
        channel.methods[path] = (kind, request_serializer.__self__, response_deserializer.__self__)
        return lambda *_, **__: None

    return multicallable


class _RecordingChannel(grpc.Channel):
    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}

    unary_unary = _recorder("unary_unary")
    unary_stream = _recorder("unary_stream")
    stream_unary = _recorder("stream_unary")
    stream_stream = _recorder("stream_stream")

    def subscribe(self, *_: Any, **__: Any) -> None: ...
    def unsubscribe(self, *_: Any) -> None: ...
    def close(self) -> None: ...


def methods(transport: type) -> dict[str, Method]:
    """The methods that a client's gRPC transport class can call, by path (`/google.pubsub.v1.Publisher/Publish`)."""
    channel = _RecordingChannel()
    instance: Any = transport(channel=channel)
    instance._logged_channel = instance._grpc_channel = channel
    instance._stubs = {}
    for name, _ in inspect.getmembers(transport, lambda member: isinstance(member, property)):
        if name != "operations_client":
            getattr(instance, name, None)
    return channel.methods


def _abort(context: grpc.ServicerContext, error: Exception) -> None:
    if isinstance(error, exceptions.GoogleAPICallError):
        context.abort(error.grpc_status_code or grpc.StatusCode.UNKNOWN, error.message)
    logging.exception("a local service failed")
    context.abort(grpc.StatusCode.INTERNAL, repr(error))


def _unary(handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(request, context)
        except Exception as error:
            return _abort(context, error)

    return call


def _stream(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from handler(request, context)
        except Exception as error:
            _abort(context, error)

    return call


def serve(services: Mapping[type, object], port: int = 0, *, threads: int = 64) -> tuple[grpc.Server, int]:
    """Serve each handler object under its client's transport class; the started server and its port on loopback.

    Every open Listen or StreamingPull holds one of `threads`. Start PostgreSQL before this: gRPC does not fork.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)],
    )
    for transport, handler in services.items():
        by_service: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for path, (kind, request_type, response_type) in methods(transport).items():
            _, service, name = path.split("/")
            function = getattr(handler, name, None)
            if function is None:
                continue
            wrap = _stream if kind.endswith("stream") else _unary
            by_service.setdefault(service, {})[name] = getattr(grpc, f"{kind}_rpc_method_handler")(
                wrap(function),
                getattr(request_type, "deserialize", None) or request_type.FromString,
                getattr(response_type, "serialize", None) or response_type.SerializeToString,
            )
        for service, handlers in by_service.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound
