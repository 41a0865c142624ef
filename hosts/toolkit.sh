# shellcheck shell=bash
# NVIDIA's container toolkit at one version, from an apt repository whose key is known beforehand.
#
# NODE                 the node's name in the stack file
# TOOLKIT_VERSION      e.g. 1.20.1
# TOOLKIT_REPOSITORY   URL with gpgkey and stable/deb/<architecture>/ below it
# TOOLKIT_FINGERPRINT  of the only key that may sign it
#
# `bash -s undo` takes it away again.

KEYRING=/usr/share/keyrings/llm-serving-nvidia-container-toolkit.gpg
SOURCE=/etc/apt/sources.list.d/llm-serving-nvidia-container-toolkit.list
# All four have the same version; apt alone would take the newest of those that are only depended on.
PACKAGES=(nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1)

apt() { apt-get -o DPkg::Lock::Timeout=300 -q "$@"; }

installed() {
  local package
  for package in "${PACKAGES[@]}"; do
    # Status and version, since a package that is half installed or removed has a version too.
    [ "$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$package" 2>/dev/null)" = \
      "installed $TOOLKIT_VERSION-1" ] || return 1
  done
}

trust_key() {
  local work fingerprints
  command -v gpg >/dev/null || apt install -y --no-install-recommends gnupg
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  fetch "$TOOLKIT_REPOSITORY/gpgkey" "$work/key"
  mkdir -m 700 "$work/gnupg"
  fingerprints=$(gpg --homedir "$work/gnupg" --batch --quiet --with-colons --show-keys "$work/key" |
    awk -F : '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
  [ "$fingerprints" = "$TOOLKIT_FINGERPRINT" ] ||
    fail "$TOOLKIT_REPOSITORY/gpgkey holds the key ${fingerprints:-(none)} and not $TOOLKIT_FINGERPRINT; nothing was installed." \
      "Find out why. If NVIDIA has announced a new key, write it as containerToolkit.keyFingerprint."
  gpg --homedir "$work/gnupg" --batch --quiet --dearmor <"$work/key" | put "$KEYRING" 644 || true
}

main() {
  needs_root
  if [ "${1:-}" = undo ]; then
    say "Taking the NVIDIA container toolkit away"
    # Those that dpkg knows: to apt a package that no source has any more is an error, and to dpkg one it never had.
    { dpkg-query -W -f '${Package}\n' "${PACKAGES[@]}" 2>/dev/null || true; } | xargs -r dpkg --purge
    rm -f "$SOURCE" "$KEYRING"
    return
  fi
  if installed; then
    say "NVIDIA container toolkit $TOOLKIT_VERSION is there"
    return
  fi
  # What a run that was cut off has left half done would fail every other installation.
  [ -z "$(dpkg --audit)" ] || dpkg --configure -a
  command -v curl >/dev/null || { apt update && apt install -y --no-install-recommends curl ca-certificates; }
  say "Installing the NVIDIA container toolkit $TOOLKIT_VERSION from $TOOLKIT_REPOSITORY"
  trust_key
  printf 'deb [signed-by=%s] %s/stable/deb/%s /\n' "$KEYRING" "$TOOLKIT_REPOSITORY" "$(dpkg --print-architecture)" |
    put "$SOURCE" 644 || true
  # This source alone: another one that is broken is not ours to fail on.
  apt update -o Dir::Etc::sourcelist="$SOURCE" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
  apt install -y --no-install-recommends --allow-downgrades --allow-change-held-packages \
    "${PACKAGES[@]/%/=$TOOLKIT_VERSION-1}"
  installed || fail "apt has installed another version than $TOOLKIT_VERSION." "Look at apt-cache policy ${PACKAGES[0]}."
  command -v nvidia-container-runtime >/dev/null ||
    fail "the toolkit is installed and nvidia-container-runtime is not on PATH, so k3s would not find it." \
      "Look at dpkg -L nvidia-container-toolkit-base."
}

main "$@" </dev/null
exit
