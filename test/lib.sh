# test/lib.sh: what test/check and test/demo share.  Sourced by them, not run.
#
# Both work the same way: install from apt what is missing, then leave the
# machine alone.  A copy of the checkout is built against a private copy of the
# PostgreSQL installation, all in one directory that belongs to an unprivileged
# user, since PostgreSQL refuses to run as root.
# shellcheck shell=bash

set -o errexit -o nounset -o pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The other user may not be able to enter where we are.
cd /

say() {
	printf '%s\n' "$*"
}

heading() {
	printf '\n== %s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

is_root() {
	[ "$(id -u)" = 0 ]
}

# The unprivileged user that builds and runs everything: root becomes postgres.
run_user() {
	if is_root; then echo postgres; else id -un; fi
}

# Runs a command as that user, with an environment that is the same everywhere:
# no PGHOST, no python of somebody's own, no foreign locale.
as_user() {
	local environment=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 LC_ALL=C.UTF-8
		HOME="${work:-/}" USER="$(run_user)")
	if is_root; then
		runuser -u postgres -- "${environment[@]}" "$@"
	else
		"${environment[@]}" "$@"
	fi
}

#
# Packages
#

# The PostgreSQL major version to use: PG_MAJOR, else the newest one installed
# with its server headers, else the distribution's own.
postgres_major() {
	local found
	if [ -n "${PG_MAJOR-}" ]; then
		echo "$PG_MAJOR"
		return
	fi
	found=$(find /usr/lib/postgresql -path '*/lib/pgxs/src/makefiles/pgxs.mk' 2>/dev/null |
		cut -d/ -f5 | sort -n | tail -n 1)
	if [ -z "$found" ]; then
		# The version of the package "postgresql" reads like 15+248+deb12u1.
		found=$(apt-cache show --no-all-versions postgresql 2>/dev/null |
			sed -n 's/^Version: \([0-9]*\)+.*/\1/p')
	fi
	echo "${found:-15}"
}

# What a build against PostgreSQL $1 needs; README.md names the same packages.
build_packages() {
	echo gcc make libc6-dev perl libcurl4-openssl-dev libssl-dev libxxhash-dev zlib1g-dev \
		"postgresql-$1" "postgresql-server-dev-$1"
}

# Node.js and npm, unless a package that is not Debian's has brought both, which
# would then be in conflict with Debian's.
node_packages() {
	[ -x /usr/bin/node ] && [ -x /usr/bin/npm ] || echo nodejs npm
}

# Prints the packages among the arguments that are not installed.
missing_packages() {
	local package
	for package; do
		if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
			echo "$package"
		fi
	done
}

# Installs those of the given packages that are missing, through sudo if need be.
# Nothing is started: no PostgreSQL cluster "main", no nginx on port 80.
install_packages() {
	local missing
	command -v apt-get >/dev/null ||
		die "this needs Debian or a relative of it: there is no apt-get"
	mapfile -t missing < <(missing_packages "$@")
	if [ ${#missing[@]} = 0 ]; then
		return
	fi
	say "installing ${missing[*]}"
	if is_root; then
		apt_install "${missing[@]}"
	elif command -v sudo >/dev/null; then
		sudo bash -c "$(declare -f apt_install); apt_install \"\$@\"" apt_install "${missing[@]}"
	else
		die "these packages are missing, and there is no sudo to install them: ${missing[*]}"
	fi
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} = 0 ] || die "could not install ${missing[*]}"
}

# Runs as root, in a shell of its own when called through sudo.  The lock is for
# a second check that starts at the same time.
apt_install() (
	set -o errexit
	export DEBIAN_FRONTEND=noninteractive
	local log policy=/usr/sbin/policy-rc.d
	local no_cluster=/etc/postgresql-common/createcluster.d/signalsmith-test.conf
	log=$(mktemp)
	exec 9>/run/lock/signalsmith-test-apt
	flock 9
	trap 'rm -f "$log" "$no_cluster" ${made_policy:+"$policy"}' EXIT
	if [ ! -e "$policy" ]; then
		made_policy=yes
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = false' >"$no_cluster"
	if ! { apt-get -q update && apt-get -qy install --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		exit 1
	fi
)

# Installs the npm packages of test/peers, as their lock file pins them, beside it
# in the copied checkout.  None of their install scripts runs.
install_npm_packages() {
	local log=$work/npm.log
	as_user env --chdir="$work/source/test/peers" /usr/bin/npm ci --cache "$work/npm" --fetch-retries 5 \
		--ignore-scripts --no-audit --no-fund --no-update-notifier </dev/null >"$log" 2>&1 ||
		{ tail -n 40 "$log" && return 1; }
}

#
# The private copies
#

# Makes the directory that everything lives in.  Short, since it holds Unix
# sockets, and not in TMPDIR, which may be out of the other user's reach.
make_work_directory() {
	work=$(mktemp -d "/tmp/$1.XXXXXX")
	chmod 755 "$work"
	if is_root; then
		chown postgres: "$work"
	fi
}

# Copies the checkout to $work/source, without what was built in it.
copy_checkout() {
	as_user mkdir "$work/source"
	tar -C "$repository" --exclude=./.git --exclude=node_modules --exclude=./tmp_check --exclude=./tmp_check_iso \
		--exclude=./test/fuzz/build -cf - . |
		as_user tar -C "$work/source" -xf -
	in_source clean >/dev/null
}

# Copies PostgreSQL $1 below $work/postgres.  Its programs, pg_config among them,
# find everything relative to themselves, so "make install" changes the copy.
copy_postgres() {
	local private=$work/postgres
	pg_bin=$private/lib/postgresql/$1/bin
	as_user mkdir -p "$private/lib/postgresql" "$private/share/postgresql" "$private/include"
	as_user cp -R "/usr/lib/postgresql/$1" "$private/lib/postgresql/"
	as_user cp -R "/usr/share/postgresql/$1" "$private/share/postgresql/"
	as_user ln -s /usr/include/postgresql "$private/include/postgresql"
}

# Runs make in the copied checkout, against the private PostgreSQL.
in_source() {
	as_user make -s -C "$work/source" PG_CONFIG="$pg_bin/pg_config" "$@"
}

# Builds, every warning an error, and installs.  Arguments are make's.
build_and_install() {
	in_source -j "$(nproc)" COPT='-Wall -Wextra -Werror -Wno-unused-parameter' "$@" all &&
		in_source install >/dev/null
}

# prepare_private_build PACKAGE...: what a script needs that runs one Perl file by
# itself; the packages beside those of the build.
prepare_private_build() {
	local major
	major=$(postgres_major)
	# shellcheck disable=SC2046
	install_packages $(build_packages "$major") "$@"
	make_work_directory "signalsmith-${0##*/}"
	trap 'rm -rf "$work"' EXIT
	copy_postgres "$major"
	copy_checkout
	build_and_install
}

# run_perl FILE [NAME=VALUE...]: runs a file as the TAP tests are run, with these
# in its environment, and shows its notes and what failed.  When it fails, what it
# left is kept.
run_perl() {
	local file=$1 status=0
	shift
	in_source REGRESS= ISOLATION= PROVE_FLAGS=-v PROVE_TESTS="$file" "$@" installcheck 2>&1 |
		stdbuf -oL grep -E '^(# |#$|ok |not ok|Dubious|Bail out)' | stdbuf -oL sed 's/^# \?//' || status=${PIPESTATUS[0]}
	if [ "$status" != 0 ]; then
		trap - EXIT
		say "it failed; what it left is in $work"
	fi
	return "$status"
}
