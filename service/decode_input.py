"""What a decoder child hears from its parent after the request."""

import os

from service.decode_messages import ASK, LOOK, LOOK_AWAY


class Input:
    """Bytes of `fd`, taken as they come; nothing here waits."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self.is_asked = False
        """For the next frame of a live source; whoever sends it takes that back."""
        self.is_watched = False
        """Whether somebody looks at the pictures."""

    def read(self) -> None:
        """Hear what was said since."""
        try:
            said = os.read(self._fd, 64)
        except BlockingIOError:
            return
        self.is_asked |= ASK in said
        looked, looked_away = said.rfind(LOOK), said.rfind(LOOK_AWAY)
        if looked != looked_away:
            self.is_watched = looked > looked_away
