"""How the children that read video report errors. They have no log: the parent logs what they send."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from model.video.errors import VideoError
from service.confinement.system_calls import ConfinementUnavailableError
from service.decoder.protocol import ERROR, Output

NOT_CONFINED = (
    "This server cannot confine its decoders, which requires Linux 5.14 or newer with seccomp. See the server's log."
)
UNEXPECTED = "An unexpected error occurred in the decoder. Report it with the server's log."


@contextmanager
def reported_errors(output: Output) -> Iterator[None]:
    """Send the error that ends the context as an ERROR message, unless the parent has closed the pipe.

    Raises BrokenPipeError, and errors that are bugs, after they were sent.
    """
    try:
        yield
    except VideoError as error:
        output.send_json(ERROR, {"code": error.code, "detail": error.detail})
    except BrokenPipeError:
        raise
    except ConfinementUnavailableError:
        output.send_json(ERROR, {"code": "internal", "detail": NOT_CONFINED, "traceback": traceback.format_exc()})
    except Exception:
        output.send_json(ERROR, {"code": "internal", "detail": UNEXPECTED, "traceback": traceback.format_exc()})
        raise
