#!/usr/bin/env bash
# The example units, as systemd reads them: verify_units.sh GUARDCHECK DIRECTORY
set -euo pipefail

guardcheck="$1"
units="$(mktemp -d)"
trap 'rm -rf "$units"' EXIT
# What they start must exist to be verified.
ln -s "$guardcheck" "$units/guardcheck"  # a path without blanks
for unit in "$2"/*.service "$2"/*.timer; do
  sed -e "s#/usr/bin/guardcheck#$units/guardcheck#" -e 's#-- /opt/.*#-- /bin/true#' "$unit" \
    >"$units/${unit##*/}"
done
said="$(systemd-analyze verify --man=no "$units"/*.service "$units"/*.timer "$units/guarded@x.service" 2>&1)" ||
  { printf '%s\n' "$said"; exit 1; }
# Unknown settings are warnings, with exit code 0.
if [[ "$said" == *"$units"* ]]; then
  printf '%s\n' "$said"
  exit 1
fi
echo "verified: $(cd "$units" && echo *)"
