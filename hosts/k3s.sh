# shellcheck shell=bash
# k3s at one version, with the runtime `nvidia` in its containerd, until the node is Ready.
#
# NODE         the node's name in the stack file, and in Kubernetes
# VERSION      e.g. v1.34.4+k3s1
# ROLE         server or agent
# CONFIG       the content of our own file in k3s' configuration folder
# MIRROR       where releases are, laid out as on GitHub
# INSTALLER    where k3s' own installation script of this version is
#
# No name here begins with K3S_: k3s' script writes such variables to its service's environment.
#
# `bash -s undo` runs k3s' own uninstallation, which deletes the cluster's data on this host.

BINARY=/usr/local/bin/k3s
# Beside config.yaml, which stays the person's own.
CONFIG_FILE=/etc/rancher/k3s/config.yaml.d/llm-serving.yaml
DATA=/var/lib/rancher/k3s
RUNTIMES=$DATA/agent/etc/containerd/config.toml
READY_SECONDS=300
RUNTIME_SECONDS=60

unit_of() { if [ "$1" = server ]; then echo k3s; else echo k3s-agent; fi; }

version() { if [ -x "$BINARY" ]; then "$BINARY" --version | awk 'NR == 1 { print $3 }'; fi; }

is_active() { systemctl is-active --quiet "$UNIT"; }

# As the kubelet itself: an agent has no other right, and a server has this one too.
node() { "$BINARY" kubectl --kubeconfig "$DATA/agent/kubelet.kubeconfig" get node "$NODE" "$@"; }

# shellcheck disable=SC2317  # called by wait_for
is_ready() { [ "$(node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; }

# shellcheck disable=SC2317  # called by wait_for too
has_runtime() { grep -qs nvidia "$RUNTIMES"; }

wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 1
  done
}

check_what_is_there() {
  local other_role other found
  other_role=$(if [ "$ROLE" = server ]; then echo agent; else echo server; fi)
  other=$(unit_of "$other_role")
  [ ! -e "/etc/systemd/system/$other.service" ] ||
    fail "k3s is installed here as $other_role and the stack file says $ROLE; one host cannot be both." \
      "Write nodes.$NODE.k3s.role: $other_role, or run $other-uninstall.sh on the host, which deletes its data."
  found=$(version)
  if [ -n "$found" ] && [ "$found" != "$VERSION" ] &&
    [ "$(printf '%s\n' "$found" "$VERSION" | sort -V | tail -n 1)" = "$found" ]; then
    fail "k3s $found is here and $VERSION is older; Kubernetes cannot go back, its data would not be read." \
      "Write nodes.$NODE.k3s.version: $found or newer."
  fi
  # A kubelet under another name is another node; the old one would stay, with its pods and its volumes.
  if is_active && [ ! -e "$CONFIG_FILE" ] && wait_for 30 test -e "$DATA/agent/kubelet.kubeconfig" &&
    ! node -o name >/dev/null 2>&1; then
    fail "k3s runs here already under another name than $NODE, and its pods and volumes belong to that one." \
      "Name the node in the stack file as \`k3s kubectl get nodes\` does."
  fi
}

install() {
  local script
  if [ "$(version)" = "$VERSION" ] && [ -e "/etc/systemd/system/$UNIT.service" ]; then
    say "k3s $VERSION is there"
    return 1
  fi
  say "Installing k3s $VERSION ($ROLE)"
  script=$(mktemp)
  # shellcheck disable=SC2064  # the file of now
  trap "rm -f '$script'" EXIT
  fetch "$INSTALLER" "$script"
  case $MIRROR in
    file://*)
      # Without the internet k3s takes its own images from here.
      mkdir -p "$DATA/agent/images"
      local images
      images=k3s-airgap-images-$(dpkg --print-architecture).tar.zst
      fetch "$MIRROR/download/$VERSION/$images" "$DATA/agent/images/.$images"
      mv -f "$DATA/agent/images/.$images" "$DATA/agent/images/$images"
      ;;
  esac
  # The script checks the binary against its published sum. It would not start what an earlier run has
  # installed and not started, so starting is done below.
  GITHUB_URL=$MIRROR INSTALL_K3S_VERSION=$VERSION INSTALL_K3S_EXEC=$ROLE INSTALL_K3S_SKIP_START=true \
    INSTALL_K3S_SKIP_SELINUX_RPM=true sh "$script"
  [ "$(version)" = "$VERSION" ] ||
    fail "k3s calls itself $(version) after $VERSION was installed." "Look at what $MIRROR serves."
}

main() {
  local changed=no
  needs_root
  UNIT=$(unit_of "$ROLE")
  if [ "${1:-}" = undo ]; then
    say "Taking k3s away, with all that the cluster has on this host"
    [ ! -x "$BINARY-uninstall.sh" ] || "$BINARY-uninstall.sh"
    [ ! -x "$BINARY-agent-uninstall.sh" ] || "$BINARY-agent-uninstall.sh"
    return
  fi
  check_what_is_there
  if printf '%s' "$CONFIG" | put "$CONFIG_FILE" 600; then changed=yes; fi
  if install; then changed=yes; fi
  if ! is_active || [ "$changed" = yes ]; then
    say "Starting $UNIT"
    systemctl restart "$UNIT"
  elif ! has_runtime; then
    # It looks for runtimes only when it starts, and the toolkit came later. Pods go on running meanwhile.
    say "Restarting $UNIT, which has not seen the NVIDIA runtime yet"
    systemctl restart "$UNIT"
  fi
  wait_for "$RUNTIME_SECONDS" has_runtime ||
    fail "after $RUNTIME_SECONDS s there is no runtime nvidia in $RUNTIMES, so no pod would see a GPU." \
      "Look at journalctl -u $UNIT, and for a config.toml.tmpl beside that file that hides k3s' own."
  say "containerd knows the runtime nvidia"
  wait_for "$READY_SECONDS" is_ready ||
    fail "the node is not Ready after $READY_SECONDS s." "Look at journalctl -u $UNIT."
  say "$NODE is Ready"
}

main "$@" </dev/null
exit
