"""An event loop that closes completely even if a test left a connection open, and reports that in the same test."""

import warnings

import uvloop


class LeakReportingLoop(uvloop.Loop):
    """uvloop warns of each open connection while it closes.

    Where a warning is an error, it neither closes that connection nor informs its caller: the loop then waits forever,
    or the next test fails.
    """

    def close(self) -> None:
        """Raises ResourceWarning about the first of them, once everything is closed."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", ResourceWarning)
            super().close()
        for warning in found:
            raise ResourceWarning(str(warning.message))
