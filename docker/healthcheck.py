"""`healthcheck VARIABLE`: whether `/livez` answers on the port that the environment variable holds.

Unlike urllib, http.client ignores a proxy in the environment.
"""

import os
import sys
from http.client import HTTPConnection


def main(variable: str) -> int:
    connection = HTTPConnection("127.0.0.1", int(os.environ[variable]), timeout=2)
    connection.request("GET", "/livez")
    return 0 if connection.getresponse().status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
