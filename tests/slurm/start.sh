#!/usr/bin/env bash
# A real SLURM on this machine's loopback: controller, three nodes, munge and accounting, from Debian
# packages, without systemd. start.sh FOLDER keeps all state there; stop.sh FOLDER ends it.
# Exit code 3: it cannot be had here, for the reason in the one line that is printed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
state=${1:?usage: start.sh FOLDER}
packages=(slurmctld slurmd slurmdbd slurm-client munge mariadb-server)

unable() { echo "no SLURM here: $1" >&2; exit 3; }

wait_for() { # what command...
    for _ in $(seq 200); do
        if timeout 10 "${@:2}" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "$1 did not come up; the ends of its logs:" >&2
    tail -n 20 "$state"/log/* >&2
    exit 1
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    # Debian's scripts are not to start any of them.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap "rm -f $policy" EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$state/log/apt.log" 2>&1; then
        tail -n 5 "$state/log/apt.log" >&2
        unable "${missing[*]} could not be installed"
    fi
}

write_configuration() {
    local file
    for file in slurm gres slurmdbd; do
        sed "s|@STATE@|$state|g; s|@HOST@|$host|g" "$here/$file.conf" >"$state/etc/$file.conf"
    done
    chmod 600 "$state/etc/slurmdbd.conf"
    # A job's inner srun finds the configuration at its usual place only: Snakemake's job step drops
    # all variables named SLURM_.
    mkdir -p /etc/slurm
    for file in slurm gres; do
        ln -sfn "$state/etc/$file.conf" "/etc/slurm/$file.conf"
    done
    local gpu
    for gpu in 0 1 2 3; do mknod -m 666 "$state/nvidia$gpu" c 1 3 2>/dev/null || : >"$state/nvidia$gpu"; done
}

start_munge() {
    head -c 128 /dev/urandom >"$state/etc/munge.key"
    chmod 600 "$state/etc/munge.key"
    munged --force --key-file="$state/etc/munge.key" --socket="$state/munge.sock" \
        --pid-file="$state/run/munged.pid" --log-file="$state/log/munged.log" \
        --seed-file="$state/munge.seed" 2>/dev/null
    wait_for munge munge -S "$state/munge.sock" -n
}

start_accounting() {
    mariadb-install-db --no-defaults --user=root --datadir="$state/database" --skip-test-db \
        --auth-root-authentication-method=socket >"$state/log/mariadb-install.log" 2>&1
    setsid mariadbd --no-defaults --user=root --datadir="$state/database" --skip-networking \
        --socket="$state/mariadb.sock" --pid-file="$state/run/mariadbd.pid" \
        --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
        --innodb-lock-wait-timeout=900 >"$state/log/mariadb.log" 2>&1 </dev/null &
    wait_for MariaDB mariadb --no-defaults -S "$state/mariadb.sock" -e 'select 1'
    MYSQL_UNIX_PORT=$state/mariadb.sock slurmdbd
    wait_for slurmdbd sacctmgr -n list cluster
    sacctmgr -i add cluster test >/dev/null
    sacctmgr -i add account kidney Cluster=test >/dev/null
    sacctmgr -i add user root Account=kidney DefaultAccount=kidney >/dev/null
}

start_nodes() {
    slurmctld
    wait_for slurmctld scontrol ping
    local node
    for node in cpu01 gpu01 gpu02; do slurmd -N $node; done
    wait_for "the nodes" bash -c '[ "$(sinfo -h -N -o %t | grep -c idle)" = 3 ]'
}

[ "$(id -u)" = 0 ] || unable "it takes root to install and start it"
command -v apt-get >/dev/null || unable "its packages are Debian's, and there is no apt-get"
host=$(hostname -s)
case $(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}') in
127.*) ;;
*) unable "the name $host is not loopback's; add '127.0.0.1 $host' to /etc/hosts" ;;
esac
for file in slurm gres; do
    if [ -e /etc/slurm/$file.conf ] && [ ! -L /etc/slurm/$file.conf ]; then
        unable "/etc/slurm/$file.conf is that of another cluster"
    fi
done
umask 022
mkdir -p "$state"/{etc,run,log,ctld,spool-cpu01,spool-gpu01,spool-gpu02}
chmod 755 "$state"
state=$(cd "$state" && pwd)
install_packages
write_configuration
export SLURM_CONF=$state/etc/slurm.conf
start_munge
start_accounting
start_nodes
