#!/bin/sh
# Check the machine before anything is installed: preflight.sh PYTHON "SUPPORTED VERSIONS" [PORT]
set -eu
python=$1 versions=$2 port=${3-}

fail() {
    echo "make: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

[ "$(uname -s)" = Linux ] || fail "CAKE runs on Linux. On macOS and Windows use Docker or WSL 2; see README.md."
release=$(uname -r)
major=${release%%.*} rest=${release#*.}
minor=${rest%%[!0-9]*}
[ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 14 ]; } ||
    fail "CAKE needs Linux 5.14 or later. This is Linux $release."

version=$(version_of "$python")
case " $versions " in
*" ${version:-none} "*) ;;
*)
    suitable=
    for candidate in $versions; do
        [ "$(version_of "python$candidate")" != "$candidate" ] || suitable="$suitable python$candidate"
    done
    advice="Install one of these versions."
    [ -z "$suitable" ] || advice="Found:$suitable. Choose one: make run PYTHON=${suitable##* }"
    fail "CAKE needs one of Python $versions; $python is ${version:-not a Python}. $advice"
    ;;
esac
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no module venv. On Debian and Ubuntu, install python3-venv."

[ -z "$port" ] || "$python" - "$port" <<'PROGRAM' || fail "Port $port is in use. Choose another: make run PORT=8001"
import socket, sys
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
PROGRAM
