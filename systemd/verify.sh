#!/usr/bin/env bash
# Checks what can be checked of these files without a running systemd: syntax, unknown settings, the
# users and folders they make, and how exposed the service is. Part of `make lint`.
set -euo pipefail
CI=${CI:-}
cd "$(dirname "$0")/.."

for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
  if ! command -v "$tool" >/dev/null; then
    echo "systemd/verify.sh: $tool is missing; not checked" >&2
    exit $((${#CI} > 0 ? 1 : 0))
  fi
done

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The unit names the place where it is installed; here only the files' own correctness is in question.
sed "s#/opt/outpost/.venv/bin/outpost#$(command -v true)#; s#^Documentation=file:.*#Documentation=man:systemd(1)#" \
  systemd/outpost.service >"$root/outpost.service"
systemd-analyze verify --recursive-errors=one --man=no "$root/outpost.service"
# In tenths: 25 is 2.5 of 10, "OK". This unit has to be at home with little.
systemd-analyze security --offline=true --threshold=25 --no-pager "$root/outpost.service" | tail -n 1

install -D -m 0644 systemd/outpost.sysusers "$root/usr/lib/sysusers.d/outpost.conf"
install -D -m 0644 systemd/outpost.tmpfiles "$root/usr/lib/tmpfiles.d/outpost.conf"
printf 'root:x:0:0:root:/root:/bin/sh\n' | install -D -m 0644 /dev/stdin "$root/etc/passwd"
printf 'root:x:0:\ndialout:x:20:\n' | install -D -m 0644 /dev/stdin "$root/etc/group"
systemd-sysusers --root="$root" outpost.conf 2>/dev/null
grep -q '^outpost:' "$root/etc/passwd"
grep -q '^dialout:.*outpost' "$root/etc/group"
systemd-tmpfiles --root="$root" --create outpost.conf
test "$(stat -c %a "$root/var/lib/outpost")" = 700

# udev rules: udevadm verify came after Debian 12, so every GOTO is held against the labels here.
while read -r label; do
  grep -q "^LABEL=\"$label\"" systemd/60-outpost.rules || { echo "60-outpost.rules: no label $label" >&2; exit 1; }
done < <(grep -oP 'GOTO="\K[^"]+' systemd/60-outpost.rules | sort -u)
if grep -nE '[^!=+:]=[^="]' systemd/60-outpost.rules | grep -vE '^[0-9]+:#'; then
  echo "60-outpost.rules: a value without quotes" >&2
  exit 1
fi
echo "systemd files: fine"
