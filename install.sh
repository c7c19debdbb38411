#!/usr/bin/env bash
# The production set-up. Safe to run again: what is there is kept, what is missing is added.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: sudo ./install.sh [--no-database] [--models basic|all|none] [--help]

Parts, in this order:
  1 system packages   Python with venv, MariaDB server (by apt-get, only what is missing)
  2 environment       .venv with the packages of requirements.txt and requirements-nodeps.txt, and the model
                      files into models/, verified by sha256
  3 database          MariaDB started; schema and user "faceservice", who may touch this schema only; a generated
                      password in config/db.secret (mode 0600)
  4 tables            main.py --migrate config/coordinator.conf

  --no-database       leave out the MariaDB server and parts 3 and 4: for machines that run a node only, or use a
                      database elsewhere or SQLite (then set [database] in the configuration)
  --models SET        basic: recognition by dlib and by YuNet + SFace (default); all; none

Then start the daemons: python3 main.py config/coordinator.conf, config/collector.conf, config/node.conf
TEXT
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
secret=$root/config/db.secret
schema=faceservice
user=faceservice
database=yes
models=basic
while [ $# -gt 0 ]; do
    case $1 in
        --no-database) database=no ;;
        --models) models=${2:?--models wants basic, all or none}; shift ;;
        --models=*) models=${1#*=} ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
case $models in basic | all | none) ;; *) usage >&2; exit 2 ;; esac
export PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin

say() { printf '== %s\n' "$*"; }
fail() { printf 'install failed: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

need_root() { # for WHAT
    if [ "$(id -u)" != 0 ]; then fail "$1 needs root: sudo ./install.sh"; fi
}

as_owner() { # run a command as the one whose folder this is, so that no file becomes root's
    local owner
    owner=$(stat -c %U "$root")
    if [ "$(id -u)" = 0 ] && [ "$owner" != root ] && [ "$owner" != UNKNOWN ]; then
        runuser -u "$owner" -- env HOME="$(getent passwd "$owner" | cut -d: -f6)" "$@"
    else
        "$@"
    fi
}

find_python() { # print a Python that is 3.11 or newer
    local name
    for name in ${PYTHON:+"$PYTHON"} python3.11 python3 python3.12 python3.13; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return
        fi
    done
}

missing_packages() { # print the system packages that are not there yet
    local python
    python=$(find_python)
    if [ -z "$python" ]; then
        printf '%s\n' python3.11 python3.11-venv
    elif ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
    if [ "$database" = yes ]; then
        if ! have mariadbd && ! have mysqld; then printf '%s\n' mariadb-server; fi
        if ! have mariadb && ! have mysql; then printf '%s\n' mariadb-client; fi
    fi
}

install_system_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    if [ ${#packages[@]} = 0 ]; then
        say "1/4 system packages: all there"
        return
    fi
    say "1/4 system packages: ${packages[*]}"
    have apt-get || fail "no apt-get here; install ${packages[*]} by your system's means, then run this again"
    need_root "installing ${packages[*]}"
    apt-get update -q || fail "apt-get update (is there a network?)"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" ||
        fail "apt-get could not install ${packages[*]}; see the lines above"
}

client() { # SQL from stdin, as the database's root over its socket
    local program=mariadb
    have mariadb || program=mysql
    "$program" --batch --skip-column-names --user=root
}

answers() { client <<<'SELECT 1' >/dev/null 2>&1; }

server_is_up() { # also when root may not log in
    local program=mariadb-admin
    have mariadb-admin || program=mysqladmin
    "$program" --connect-timeout=3 "$@" ping >/dev/null 2>&1
}

start_server() {
    if server_is_up; then return; fi
    say "    starting MariaDB"
    if [ -d /run/systemd/system ]; then
        systemctl enable --now mariadb || systemctl enable --now mysql || true
    elif have service && { service mariadb start || service mysql start; }; then
        :
    else
        mkdir -p /run/mysqld && chown mysql: /run/mysqld
        setsid mysqld_safe --user=mysql >/dev/null 2>&1 </dev/null &
    fi
    server_is_up --wait=60 || fail "MariaDB does not start; see its log (journalctl -u mariadb, /var/log/mysql)"
}

write_secret() { # keep the password of an earlier run
    if [ ! -s "$secret" ]; then
        local password
        password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
        (umask 077 && printf '%s\n' "$password" >"$secret.new")
        mv -f -- "$secret.new" "$secret"
    fi
    chmod 600 "$secret"
    chown --reference="$root" "$secret"
}

make_schema() { # the password goes through stdin: arguments can be seen by all
    local password
    password=$(cat -- "$secret")
    case $password in *[!A-Za-z0-9_.=-]*) fail "$secret holds characters other than letters, digits and _ . = -" ;; esac
    client <<SQL || fail "the schema could not be made; see the lines above"
CREATE DATABASE IF NOT EXISTS $schema CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS '$user'@'localhost' IDENTIFIED BY '$password';
CREATE USER IF NOT EXISTS '$user'@'127.0.0.1' IDENTIFIED BY '$password';
ALTER USER '$user'@'localhost' IDENTIFIED BY '$password';
ALTER USER '$user'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON $schema.* TO '$user'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON $schema.* TO '$user'@'127.0.0.1';
SQL
}

set_up_database() {
    if [ "$database" = no ]; then
        say "3/4 database: left out"
        say "4/4 tables: left out"
        return
    fi
    need_root "the database"
    say "3/4 database: schema and user $schema, password in config/db.secret"
    start_server
    answers || fail "the database's root cannot log in over the socket; make schema and user yourself (docs/operating.md)"
    write_secret
    make_schema
    say "4/4 tables"
    (cd -- "$root" && as_owner "$root/.venv/bin/python" main.py --migrate config/coordinator.conf)
}

install_system_packages
say "2/4 environment and models"
as_owner env PYTHON="$(find_python)" "$root/scripts/setup" --models "$models"
set_up_database
say "installed; start with: python3 main.py config/coordinator.conf (then collector.conf, node.conf)"
