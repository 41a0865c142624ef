#!/bin/sh
# Installs k3s as k3s' own script does: what it reads of the environment, what it writes, and when it does nothing.
set -e
bin=/usr/local/bin
role=$INSTALL_K3S_EXEC
if [ "$role" = server ]; then unit=k3s; else unit=k3s-agent; fi
file=/etc/systemd/system/$unit.service
url=$GITHUB_URL/download/$INSTALL_K3S_VERSION

work=$(mktemp -d -t k3s-install.XXXXXXXXXX)
trap 'rm -rf "$work"' EXIT
curl -o "$work/hash" -sfL "$url/sha256sum-amd64.txt"
expected=$(sed -n 's/ *k3s$//p' "$work/hash")
if [ "$(sha256sum "$bin/k3s" 2>/dev/null | cut -d ' ' -f 1)" != "$expected" ]; then
  curl -o "$work/k3s" -sfL "$url/k3s"
  [ "$(sha256sum "$work/k3s" | cut -d ' ' -f 1)" = "$expected" ] || {
    echo '[ERROR]  Download sha256 does not match' >&2
    exit 1
  }
  chmod 755 "$work/k3s"
  mv -f "$work/k3s" "$bin/k3s"
fi
echo "install $unit $INSTALL_K3S_VERSION" >>/var/log/standin.log
[ -e "$bin/kubectl" ] || ln -sf k3s "$bin/kubectl"
cat >"$bin/$unit-uninstall.sh" <<EOF
#!/bin/sh
systemctl stop $unit
rm -rf /etc/rancher/k3s /var/lib/rancher/k3s $file $file.env $bin/k3s $bin/kubectl $bin/$unit-uninstall.sh
EOF
chmod 755 "$bin/$unit-uninstall.sh"
rm -f "$file" "$file.env"
# All variables of the environment that begin so become the service's.
sh -c export | sed -n "s/^export //p" | grep -E '^(K3S|CONTAINERD)_' >"$file.env" || true
cat >"$file" <<EOF
[Service]
Type=notify
EnvironmentFile=-$file.env
ExecStart=$bin/k3s \\
    $role

EOF
systemctl enable "$file"
systemctl daemon-reload
[ "$INSTALL_K3S_SKIP_START" = true ] || systemctl restart "$unit"
