#!/usr/bin/env bash
# Ends what start.sh FOLDER started, by its pid files, and takes its configuration away.
set -euo pipefail
state=${1:?usage: stop.sh FOLDER}

end() { # name of the program, its pid file
    local pid
    pid=$(cat "$2" 2>/dev/null) || return 0
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 0
    kill "$pid"
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

export SLURM_CONF=$state/etc/slurm.conf
if [ -s "$state/run/slurmctld.pid" ]; then
    timeout 10 scancel --user=root || true
    sleep 1
fi
for node in cpu01 gpu01 gpu02; do end slurmd "$state/run/slurmd-$node.pid"; done
end slurmctld "$state/run/slurmctld.pid"
end slurmdbd "$state/run/slurmdbd.pid"
end mariadbd "$state/run/mariadbd.pid"
end munged "$state/run/munged.pid"
for file in slurm gres; do
    [ "$(readlink "/etc/slurm/$file.conf")" != "$state/etc/$file.conf" ] || rm "/etc/slurm/$file.conf"
done
