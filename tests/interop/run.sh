#!/bin/sh
# Debian's SMS programs against the simulator and against Outpost. Installs them when it may; says why not otherwise.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin:/sbin"
export PATH

missing=""
for pair in gammu:gammu gammu-smsd:gammu-smsd smsd:smstools bearerbox:kannel; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done

/usr/bin/python3 -c 'import gammu' 2>/dev/null || missing="$missing python3-gammu"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "interop: missing$missing, and there is no apt-get here to install them with" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "interop: missing$missing; install them with: sudo apt-get install -y$missing" >&2
        exit 1
    fi
    echo "interop: installing$missing"
    # Their daemons must not be started: the tests start their own, with their own configuration.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of package names
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null || {
        echo "interop: apt-get could not install$missing" >&2
        exit 1
    }
fi

OUTPOST_INTEROP=1 .venv/bin/python -m pytest tests/interop "$@"
