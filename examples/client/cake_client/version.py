"""The version of this client, the same as that of the server that it was released with."""

VERSION = "0.2.0"
