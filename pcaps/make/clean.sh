#!/bin/sh
# Ends what a run that was killed left behind: every process in a namespace named vwp-PREFIX..., then the namespaces. clean.sh PREFIX
set -u
for n in $(ip netns list | awk '{print $1}' | grep "^vwp-${1:?prefix}-"); do
  for p in $(ip netns pids "$n"); do kill -9 "$p" 2>/dev/null; done
  ip netns del "$n"
done
rm -rf /tmp/vwp-"$1"-*
