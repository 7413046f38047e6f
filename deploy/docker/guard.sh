#!/bin/sh
# Refuses to let others in with the passwords of docker-compose.yml, which everybody knows. The balancer waits for it.
#
# STARLING_BIND is where the balancer is published; GUARDED names the variables to look at.
set -eu

case ${STARLING_BIND:-127.0.0.1} in
127.* | localhost | ::1 | '[::1]') exit 0 ;;
esac
public=''
for name in $GUARDED; do
	eval "value=\${$name:-}"
	case $value in
	'' | local-only-*) public="$public $name" ;;
	esac
done
if [ -n "$public" ]; then
	echo "STARLING_BIND=$STARLING_BIND lets others in, and these have no value of your own:$public" >&2
	echo "Choose them in .env (see .env.example) before the first start, or bind to 127.0.0.1." >&2
	exit 1
fi
