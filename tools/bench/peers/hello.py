"""The peer of the cold start figure: the smallest function that functions-framework serves."""

import functions_framework
from flask import Request


@functions_framework.http
def hello(request: Request) -> str:  # noqa: ARG001 - the framework hands it over
    return "hello"
