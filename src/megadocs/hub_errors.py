"""What the Hugging Face hub's client raises: its own errors and those of the HTTP library below it.

    try:
        info = HfApi().dataset_info(name)
    except hub_errors() as error:
        raise InputError(...) from error

The client changed its HTTP library more than once; its HTTP error derives from that library's base error, which is also
the base of a refused connection and of a name that does not resolve.
"""

from __future__ import annotations


def hub_errors() -> tuple[type[Exception], ...]:
    """The classes to catch around a call that may reach the hub."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    bases = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (OSError, EntryNotFoundError, HFValidationError, *bases)
