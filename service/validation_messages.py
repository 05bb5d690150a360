"""Describes invalid input in our own sentences, for people who do not know the library that validates it."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

_Context = Mapping[str, Any]
_SENTENCES: Mapping[str, Callable[[_Context], str]] = {
    "missing": lambda _: "is required",
    "extra_forbidden": lambda _: "is not a known field",
    "string_type": lambda _: "must be a string",
    "string_too_short": lambda context: f"must have at least {_count(context['min_length'], 'character')}",
    "string_too_long": lambda context: f"must have at most {_count(context['max_length'], 'character')}",
    "string_pattern_mismatch": lambda context: f"must match the pattern {context['pattern']}",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "greater_than": lambda context: f"must be greater than {_number(context['gt'])}",
    "greater_than_equal": lambda context: f"must be at least {_number(context['ge'])}",
    "less_than": lambda context: f"must be less than {_number(context['lt'])}",
    "less_than_equal": lambda context: f"must be at most {_number(context['le'])}",
    "literal_error": lambda context: f"must be {context['expected']}",
    "enum": lambda context: f"must be {context['expected']}",
    "list_type": lambda _: "must be a list",
    "tuple_type": lambda _: "must be a list",
    "too_short": lambda context: f"must have at least {_count(context['min_length'], 'item')}",
    "too_long": lambda context: f"must have at most {_count(context['max_length'], 'item')}",
    "dict_type": lambda _: "must be an object",
    "model_type": lambda _: "must be an object",
    "model_attributes_type": lambda _: "must be an object",
    "union_tag_not_found": lambda context: f"needs the field {context['discriminator']}, which says what it is",
    "union_tag_invalid": lambda context: (
        f"has {context['tag']!r} as {context['discriminator']}, which must be one of {context['expected_tags']}"
    ),
    "json_invalid": lambda context: f"is not valid JSON: {context['error']}",
    "url_type": lambda _: "must be an absolute URL",
    "url_parsing": lambda context: f"is not a valid URL: {context['error']}",
    "url_scheme": lambda context: f"must be a URL with the scheme {context['expected_schemes']}",
    "ip_any_network": lambda _: "must be a network such as 10.0.0.0/8",
}
"""By the type of an error; each completes a sentence whose subject is the field."""


def explain_validation_error(error: ErrorDetails) -> str:
    """What is wrong with a field: `must be at least 1`, or the sentence that one of our validators raised."""
    sentence = _SENTENCES.get(error["type"])
    if sentence is not None:
        return sentence(error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ").removesuffix(".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
