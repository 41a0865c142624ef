#!/bin/sh
# As in the real image: before nginx starts, the scripts of /docker-entrypoint.d that may be run are run in order.
set -e
if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    for script in /docker-entrypoint.d/*; do
        [ -x "$script" ] || continue
        case "$script" in
        *.envsh) . "$script" ;;
        *.sh) "$script" ;;
        esac
    done
fi
exec "$@"
