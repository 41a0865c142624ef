#!/bin/sh
# As in the real image: fills each template's environment variables in. Only those that are set (and match the
# filter) are replaced, so that nginx's own variables stay.
set -e
from=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
to=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
[ -d "$from" ] || exit 0
if [ ! -w "$to" ]; then
    echo "$0: ERROR: $from exists, but $to is not writable"
    exit 0
fi
names=$(awk "END { for (name in ENVIRON) if (name ~ /$NGINX_ENVSUBST_FILTER/) printf \"\${%s} \", name }" </dev/null)
find -L "$from" -type f -name "*$suffix" | while read -r template; do
    result=$to/${template#"$from"/}
    result=${result%"$suffix"}
    mkdir -p "$(dirname "$result")"
    echo "$0: Running envsubst on $template to $result"
    envsubst "$names" <"$template" >"$result"
done
