# shellcheck shell=bash
# The cluster's token, by which nodes join. It comes with this text, and so is in no argument and in no environment.
#
# NODE    the node's name in the stack file
# SECRET  the token; a variable of the shell that is not exported

main() {
  needs_root
  if put /etc/rancher/k3s/llm-serving-token 600 <<<"$SECRET"; then
    say "The cluster's token is written"
  else
    say "The cluster's token is there"
  fi
}

main </dev/null
exit
