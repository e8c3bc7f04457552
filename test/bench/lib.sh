# test/bench/lib.sh: what the benchmarks share.  Sourced by them, not run.
#
# A benchmark builds signalsmith without debugging aids in a directory of its own,
# starts a cluster and a web server that answers at once, and measures whatever it
# compares in turns, in one run: on a machine that others use too, times say
# little, but ratios of neighbours do.  Measurements are rows of bench.measured.
# shellcheck shell=bash

# shellcheck source=test/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# prepare [PACKAGE ...]: with what else a benchmark needs.
prepare() {
	local major
	major=$(postgres_major)
	install_packages gcc make libc6-dev perl curl libcurl4-openssl-dev libssl-dev libxxhash-dev \
		"postgresql-$major" "postgresql-server-dev-$major" nginx-light libnginx-mod-http-echo iso-codes "$@"
	make_work_directory signalsmith-bench
	trap clean_up EXIT
	copy_postgres "$major"
	copy_checkout
	build_and_install
	build_module hash_receiver
	start_cluster
	start_sink
}

build_module() {
	as_user make -s -C "$work/source/test/bench/$1" PG_CONFIG="$pg_bin/pg_config" all install >/dev/null
}

clean_up() {
	if [ -e "$work/data/postmaster.pid" ]; then
		as_user "$pg_bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null || true
	fi
	if [ -s "$work/nginx.pid" ]; then
		as_user /usr/sbin/nginx -p "$work" -c "$work/nginx.conf" -s stop 2>/dev/null || true
	fi
	rm -rf "$work"
}

# Everything is cached and nothing of the server's own accord comes in between;
# what makes commits durable is on.
start_cluster() {
	as_user mkdir "$work/socket"
	as_user "$pg_bin/initdb" -D "$work/data" -U postgres -A trust -k -N -E UTF8 --locale=C.UTF-8 >/dev/null
	as_user tee -a "$work/data/postgresql.conf" >/dev/null <<-SETTINGS
		listen_addresses = ''
		unix_socket_directories = '$work/socket'
		shared_buffers = '${SHARED_BUFFERS-4GB}'
		max_wal_size = '20GB'
		checkpoint_timeout = '1h'
		autovacuum = off
		jit = off
		shared_preload_libraries = 'signalsmith'
		signalsmith.allow_private_networks = on
	SETTINGS
	as_user "$pg_bin/pg_ctl" -D "$work/data" -l "$work/postgres.log" -w start >/dev/null
	sql <<-'SQL'
		CREATE EXTENSION signalsmith;
		CREATE SCHEMA bench;
		CREATE FUNCTION bench.hash_receiver_ms(query text) RETURNS double precision
		    STRICT LANGUAGE c AS 'hash_receiver';
		CREATE TABLE bench.measured (what text, value double precision);
		CREATE VIEW bench.median AS
		SELECT what, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value
		FROM bench.measured GROUP BY what;
	SQL
}

# A destination that takes everything and says nothing: its address is $sink.  Below
# slow/ it takes a tenth of a second for it.
start_sink() {
	local port
	port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
	sink=http://127.0.0.1:$port/
	as_user mkdir "$work/nginx-temporary"
	as_user tee "$work/nginx.conf" >/dev/null <<-CONF
		load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
		worker_processes 1;
		pid $work/nginx.pid;
		error_log $work/nginx-error.log;
		events { worker_connections 256; }
		http {
			access_log off;
			client_max_body_size 0;
			keepalive_requests 1000000000;
			client_body_temp_path $work/nginx-temporary;
			proxy_temp_path $work/nginx-temporary;
			fastcgi_temp_path $work/nginx-temporary;
			uwsgi_temp_path $work/nginx-temporary;
			scgi_temp_path $work/nginx-temporary;
			server {
				listen 127.0.0.1:$port;
				location / { return 200 '{}'; }
				location /slow/ { echo_read_request_body; echo_sleep 0.1; echo '{}'; }
			}
		}
	CONF
	as_user /usr/sbin/nginx -p "$work" -e "$work/nginx-error.log" -c "$work/nginx.conf"
}

sql() {
	as_user PAGER='' "$pg_bin/psql" -X -q -At -h "$work/socket" -U postgres -d postgres \
		-v ON_ERROR_STOP=1 "$@"
}

# What the figures were measured on, for those who read them.
describe_machine() {
	say
	say "$(sql -c "SELECT 'PostgreSQL ' || current_setting('server_version')"), $(nproc) processors," \
		"load $(cut -d' ' -f1 /proc/loadavg), $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
}

# The result of a query as a Markdown table.
markdown() {
	say
	sql -P tuples_only=off -P format=unaligned -P fieldsep=' | ' -P footer=off "$@" |
		awk '{ print "| " $0 " |" } NR == 1 { rule = "|"; for (n = gsub(/[|]/, ""); n >= 0; n--) rule = rule "---|"; print rule }'
}

# The table that facts are known of: about 111 bytes a row, 177 as JSON.
create_customers() {
	sql -v rows="$1" <<-'SQL'
		CREATE TABLE customer (id bigint PRIMARY KEY, email text, first_name text, last_name text,
		    lifetime_value numeric(12,2), updated_at timestamptz, plan text);
		INSERT INTO customer
		SELECT i, 'customer' || i || '@example.com', 'First' || i % 1000, 'Last' || i % 10000,
		    (i * 37 % 1000000) / 100.0, timestamptz '2026-01-01' + i * interval '1 second',
		    (ARRAY['free', 'pro', 'team', 'enterprise'])[1 + i % 4]
		FROM generate_series(1, :rows) AS i;
		VACUUM (ANALYZE) customer;
	SQL
}

# create_sync NAME TABLE KEY [SIZE [IN_FLIGHT [PATH]]]: every column of the table
# goes to the sink.
create_sync() {
	sql -v name="$1" -v query="SELECT * FROM $2" -v key="$3" \
		-v config="{\"url\":\"$sink${6-}\",\"batch_size\":${4-1000}}" \
		-v options="{\"max_in_flight\":${5-8}}" >/dev/null <<-'SQL'
		SELECT signalsmith.create_model(:'name', :'query', :'key');
		SELECT signalsmith.create_destination(:'name', 'webhook', :'config');
		SELECT signalsmith.create_sync(:'name', :'name', :'name', 'mirror', options => :'options');
	SQL
}

# The next run of a sync is as its first one was.
forget_sync() {
	sql -v name="$1" <<-'SQL'
		SELECT signalsmith.reset_sync(:'name') \g /dev/null
		VACUUM signalsmith.segment, signalsmith.outbox;
		CHECKPOINT;
	SQL
}

# Runs a sync to its end; the run's number is $run then.
run_sync() {
	run=$(sql -v name="$1" <<-'SQL'
		SELECT substr(signalsmith.trigger_sync(:'name'), 5) AS run \gset
		SELECT signalsmith.wait_for_run('run_' || :run, '1 hour') = 'completed' AS completed \gset
		\if :completed
		\echo :run
		\endif
	SQL
	)
	[ -n "$run" ] || die "a run of $1 did not complete: $(sql -c "SELECT error FROM signalsmith.run ORDER BY id DESC LIMIT 1")"
}

# measure WHAT EXPRESSION: of the row of the last run.
measure_run() {
	sql -v what="$1" -v run="$run" <<-SQL
		INSERT INTO bench.measured SELECT :'what', $2 FROM signalsmith.run WHERE id = :run;
	SQL
}

# From the claim to the plan's commit, which follows at once.
plan_ms='1000 * extract(epoch FROM planned_at - started_at)'

# A run of a sync, as it is planned.
measure_plan() {
	run_sync "$2"
	measure_run "$1" "$plan_ms"
}

# H, in a process of its own as a run is.
measure_hash() {
	sql -v what="$1" -v query="SELECT * FROM $2" <<-'SQL'
		INSERT INTO bench.measured SELECT :'what', bench.hash_receiver_ms(:'query');
	SQL
}

# measure_query WHAT SQL: the SQL's own time as the server sees it.
measure_query() {
	sql -v what="$1" <<-SQL
		SELECT clock_timestamp() AS began \gset
		$2 \g /dev/null
		INSERT INTO bench.measured
		SELECT :'what', 1000 * extract(epoch FROM clock_timestamp() - :'began'::timestamptz);
	SQL
}
