# shellcheck shell=bash
# What every step has in common. It is put before a step's own file, and both are given to `bash -s` as one text.
set -euo pipefail

# WSL2 has nvidia-smi here and nowhere else, and sudo's PATH does not lead to it.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/wsl/lib
export PATH LC_ALL=C DEBIAN_FRONTEND=noninteractive
umask 022

say() { printf '==> %s\n' "$*"; }

# fail FACT AND CONSEQUENCE, REPAIR
fail() {
  printf 'error: %s: %s\n' "${NODE:?}" "$1" >&2
  printf 'repair: %s\n' "$2" >&2
  exit 1
}

# put FILE MODE: standard input becomes FILE. Gives 0 if FILE has changed, 1 if it was so already.
put() {
  local file=$1 mode=$2 new
  mkdir -p "$(dirname "$file")"
  new=$(umask 077 && mktemp "$file.XXXXXX")
  cat >"$new"
  if cmp -s "$new" "$file"; then
    rm -f "$new"
    return 1
  fi
  chmod "$mode" "$new"
  mv -f "$new" "$file"
}

# fetch URL FILE: https://, http:// or file://
fetch() {
  curl --fail --silent --show-error --location --retry 3 --connect-timeout 15 --output "$2" "$1" ||
    fail "$1 could not be fetched, so there is nothing to install from." \
      "Let the host reach it, or name a mirror (also file:///...) in the stack file."
}

needs_root() {
  [ "$(id -u)" = 0 ] || fail "this runs as $(id -un), who may not install anything." "Use root, or a user with sudo."
}
