#!/bin/sh
# Starts the real llama-server. The lab has no Hugging Face: whatever repository is named, it gets the small model of
# random weights that lies beside it. The cache is not quantized: the program was built for newer CPUs than some have,
# and such a cache ends it there by SIGILL. All else stays as it is written.
set -eu
left=$#
while [ "$left" -gt 0 ]; do
  word=$1
  shift
  left=$((left - 1))
  case $word in
    --hf-repo)
      shift
      left=$((left - 1))
      set -- "$@" --model /app/lab/model.gguf
      ;;
    --hf-file)
      shift
      left=$((left - 1))
      ;;
    --cache-type-k | --cache-type-v)
      shift
      left=$((left - 1))
      set -- "$@" "$word" f16
      ;;
    *) set -- "$@" "$word" ;;
  esac
done
exec /app/lab/llama-server "$@"
