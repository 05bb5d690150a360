"""Constants shared by the worker and the process that decoders are forked from."""

import struct

# The reply: a process id, or an error's number below 0.
FORKED = struct.Struct("<i")
# Standard input and output, the channel to the parent, and a pushed connection.
MAX_FILES = 4
# The number of the first file that a decoder inherits in addition to its standard ones.
FIRST_FD = 3
