# shellcheck shell=bash
# Looks at the host and changes nothing. Every difference from the stack file is told, all at once.
#
# NODE            the node's name in the stack file
# PLATFORM        native or wsl2, as the stack file says
# GPU_MODEL       the catalogue's name, for messages
# GPU_WORDS       words that the driver's name for the card has
# GPU_MEMORY_MIB  memory of one card, as the catalogue has it
# GPU_COUNT       cards that the stack file says
# DISK_GIB        free space that k3s' folder must have

problems=0

problem() {
  printf 'error: %s: %s\nrepair: %s\n' "$NODE" "$1" "$2" >&2
  problems=$((problems + 1))
}

check_system() {
  local ID=unknown ID_LIKE='' PRETTY_NAME='an unknown system' found=native
  # shellcheck disable=SC1091  # the host's own file
  . /etc/os-release
  case " $ID $ID_LIKE " in
    *' debian '* | *' ubuntu '*) ;;
    *) problem "$PRETTY_NAME is not prepared here, only Debian, Ubuntu and what is made of them (apt)." \
      "Install the NVIDIA container toolkit and k3s by hand and take host out of nodes.$NODE." ;;
  esac
  # 'microsoft' is in the release of every WSL2 kernel that Microsoft builds.
  grep -qi microsoft /proc/sys/kernel/osrelease && found=wsl2
  [ "$found" = "$PLATFORM" ] ||
    problem "the host is $found and the stack file says $PLATFORM, so pods would look for the driver in the wrong place." \
      "Write nodes.$NODE.platform: $found."
  [ -d /run/systemd/system ] ||
    problem "systemd does not run, so nothing would start k3s." \
      "On WSL2 write [boot] systemd=true to /etc/wsl.conf and run wsl --shutdown; elsewhere use a host with systemd."
  say "$PRETTY_NAME, $found"
}

check_disk() {
  local folder=/var/lib/rancher free
  if [ -d "$folder/k3s/agent/containerd" ]; then
    say "k3s has its images at $folder already"
    return
  fi
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(($(df --output=avail --block-size=1M "$folder" | tail -n 1) / 1024))
  [ "$free" -ge "$DISK_GIB" ] ||
    problem "$folder has $free GiB free and images alone need $DISK_GIB, so pods would be evicted." \
      "Free space, or mount a larger disk at /var/lib/rancher."
  say "$free GiB free at $folder"
}

check_gpus() {
  local list said driver
  if ! command -v nvidia-smi >/dev/null; then
    problem "there is no nvidia-smi, so the NVIDIA driver is not installed; it is never installed from here." \
      "$(if [ "$PLATFORM" = wsl2 ]; then echo "Install NVIDIA's driver for Windows, and none within WSL2."; else
        echo "Install the driver of your distribution, e.g. with ubuntu-drivers or from Debian's non-free, and reboot."
      fi)"
    return
  fi
  if ! list=$(nvidia-smi --query-gpu=name,memory.total,driver_version,uuid --format=csv,noheader,nounits 2>&1); then
    problem "nvidia-smi fails, so the driver does not work: $(head -n 1 <<<"$list")" \
      "Reboot if the driver was updated; else install it again."
    return
  fi
  driver=$(head -n 1 <<<"$list" | awk -F ', *' '{ print $3 }')
  # Of names that contain the words, those with a word of another product are another product.
  if said=$(awk -F ', *' -v words="$GPU_WORDS" -v memory="$GPU_MEMORY_MIB" -v count="$GPU_COUNT" '
    BEGIN { wanted = split(words, word, " "); for (i in word) asked[word[i]] = 1 }
    NF >= 4 {
      found++
      split("", has)
      parts = split(tolower($1), part, /[^a-z0-9]+/)
      for (i = 1; i <= parts; i++) has[part[i]] = 1
      same = 1
      for (i = 1; i <= wanted; i++) if (!(word[i] in has)) same = 0
      parts = split("ti super laptop max", part, " ")
      for (i = 1; i <= parts; i++) if ((part[i] in has) && !(part[i] in asked)) same = 0
      # 5%: a driver keeps some hundred MiB for itself, and how much differs between versions.
      if ($2 < memory * 0.95 || $2 > memory * 1.05) same = 0
      if (!same) wrong = 1
      names = names (names == "" ? "" : ", ") $1 " (" $2 " MiB)"
    }
    END { print (found + 0) ": " names; exit (found != count || wrong) }' <<<"$list"); then
    say "GPUs $said, driver $driver"
  else
    problem "the stack file says $GPU_COUNT x $GPU_MODEL ($GPU_MEMORY_MIB MiB) and the driver shows $said, so models would be placed on memory that is not there." \
      "Correct nodes.$NODE.gpus, or the cards in the host."
  fi
  if [ "$PLATFORM" = wsl2 ] && [ ! -e /usr/lib/wsl/lib/libcuda.so.1 ]; then
    problem "/usr/lib/wsl/lib/libcuda.so.1 is not there, so Windows lends its driver to no program in here." \
      "Update NVIDIA's driver for Windows and run wsl --update."
  fi
}

main() {
  say "Looking at $NODE; nothing is changed yet"
  check_system
  check_disk
  check_gpus
  [ "$problems" = 0 ] || exit 1
}

main </dev/null
exit
