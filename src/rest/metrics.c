/*-------------------------------------------------------------------------
 *
 * metrics.c
 *      GET /metrics: what Prometheus reads (patroni/api.py, do_GET_metrics()).
 *
 * First Patroni's series, with its names, types and order, so that dashboards
 * and alerts go on to work; then ours.  What is not known is left out, except
 * where Patroni says 0.
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "rest/rest_internal.h"

#define LABELS_MAX (4 * CLUSTER_NAME_MAX + 64)

typedef struct Page
{
	FILE *out;
	char labels[LABELS_MAX]; /* scope="...",name="..." */
} Page;

/* A label's value: backslash, quote and newline are escaped. */
static size_t
add_label(char *text, size_t used, const char *name, const char *value)
{
	used += (size_t) snprintf(text + used, LABELS_MAX - used, "%s%s=\"", used > 0 ? "," : "", name);
	for (; *value != '\0' && used + 4 < LABELS_MAX; value++)
	{
		if (*value == '\\' || *value == '"' || *value == '\n')
			text[used++] = '\\';
		text[used++] = *value == '\n' ? 'n' : *value;
	}
	text[used++] = '"';
	text[used] = '\0';
	return used;
}

static void
add_head(const Page *page, const char *name, const char *type, const char *help)
{
	fprintf(page->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add(const Page *page, const char *name, const char *type, const char *help,
                const char *format, ...) PRINTF_LIKE(5, 6);

/* One series of one value. */
static void
add(const Page *page, const char *name, const char *type, const char *help, const char *format, ...)
{
	va_list args;

	add_head(page, name, type, help);
	fprintf(page->out, "%s{%s} ", name, page->labels);
	va_start(args, format);
	vfprintf(page->out, format, args);
	va_end(args);
	fputc('\n', page->out);
}

static void
add_flag(const Page *page, const char *name, const char *help, bool value)
{
	add(page, name, "gauge", help, "%d", value ? 1 : 0);
}

/* 4.1.4 is 040104 */
static void
add_version(const Page *page)
{
	int part[3] = { 0, 0, 0 };

	sscanf(PATRONI_PROTOCOL_VERSION, "%d.%d.%d", &part[0], &part[1], &part[2]);
	add(page, "patroni_version", "gauge", "Patroni semver without periods.", "%02d%02d%02d",
	    part[0], part[1], part[2]);
}

/* The comment stands where Patroni has it, between HELP and TYPE. */
static void
add_state(const Page *page, MemberState state)
{
	fprintf(page->out, "# HELP patroni_postgres_state Numeric representation of Postgres state.\n"
	                   "# Values:");
	for (int i = 0; i < MEMBER_STATE_UNKNOWN; i++)
	{
		char name[64];

		snprintf(name, sizeof(name), "%s", member_state_name((MemberState) i));
		for (char *c = name; *c != '\0'; c++)
			*c = *c == ' ' ? '_' : *c;
		fprintf(page->out, "%s %d=%s", i > 0 ? "," : "", i,
		        i == MEMBER_INITDB ? "initdb" : name);
	}
	fprintf(page->out, "\n# TYPE patroni_postgres_state gauge\npatroni_postgres_state{%s} %d\n",
	        page->labels, state == MEMBER_STATE_UNKNOWN ? -1 : (int) state);
}

/* What the server says of its WAL; nothing of it is known when it does not run. */
static void
add_wal(const Page *page, const RestFacts *facts)
{
	const HaPostgres *postgres = facts->is_running ? facts->status->postgres : NULL;
	const HaPostgres *standby = facts->is_replica ? postgres : NULL;
	Lsn received = standby == NULL ? 0 : standby->received_lsn;

	add(page, "patroni_xlog_received_location", "counter",
	    "Current location of the received Postgres transaction log, 0 if this node is not a "
	    "replica.",
	    "%" PRIu64, received != 0 ? received : standby == NULL ? 0 : standby->replayed_lsn);
	add(page, "patroni_xlog_replayed_location", "counter",
	    "Current location of the replayed Postgres transaction log, 0 if this node is not a "
	    "replica.",
	    "%" PRIu64, standby == NULL ? 0 : standby->replayed_lsn);
	add(page, "patroni_xlog_replayed_timestamp", "gauge",
	    "Current timestamp of the replayed Postgres transaction log, 0 if null.", "%.3f",
	    standby == NULL ? 0.0 : (double) facts->status->replayed_at_ms / 1000.0);
	add_flag(page, "patroni_xlog_paused", "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
	         standby != NULL && standby->is_replay_paused);
	add_flag(page, "patroni_postgres_streaming", "Value is 1 if Postgres is streaming, 0 otherwise.",
	         strcmp(facts->replication_state, "streaming") == 0);
	add_flag(page, "patroni_postgres_in_archive_recovery",
	         "Value is 1 if Postgres is replicating from archive, 0 otherwise.",
	         strcmp(facts->replication_state, "in archive recovery") == 0);
	add(page, "patroni_postgres_server_version", "gauge",
	    "Version of Postgres (if running), 0 otherwise.", "%d",
	    postgres == NULL ? 0 : postgres->version_num);
}

/* Is this member named in the store as one to be asked in failsafe mode? */
static bool
is_failsafe_member(const RestFacts *facts)
{
	const char *text = facts->view == NULL ? NULL : facts->view->failsafe_json;
	json_t *members = text == NULL ? NULL : json_loads(text, 0, NULL);
	bool is_member = json_object_get(members, facts->status->settings->name) != NULL;

	json_decref(members);
	return is_member;
}

static void
add_cluster(const Page *page, const RestFacts *facts)
{
	const RestStatus *status = facts->status;
	const Settings *settings = status->settings;

	add_flag(page, "patroni_cluster_unlocked",
	         "Value is 1 if the cluster is unlocked, 0 if locked.",
	         facts->view == NULL || !facts->view->has_leader);
	add_flag(page, "patroni_failsafe_mode_is_active",
	         "Value is 1 if failsafe mode is active, 0 if inactive.", status->is_failsafe_active);
	add_flag(page, "patroni_failsafe_mode_enabled",
	         "Value is 1 if failsafe mode is enabled, 0 otherwise.", settings->failsafe_mode);
	add_flag(page, "patroni_failsafe_member",
	         "Value is 1 if this node is a failsafe member, 0 otherwise.",
	         is_failsafe_member(facts));
	add(page, "patroni_postgres_timeline", "gauge",
	    "Postgres timeline of this node (if running), 0 otherwise.", "%" PRIu32,
	    facts->is_running ? status->postgres->timeline : 0);
	add(page, "patroni_dcs_last_seen", "gauge",
	    "Epoch timestamp when DCS was last contacted successfully by Patroni.", "%" PRId64,
	    status->store_last_seen_ms / 1000);
	add_flag(page, "patroni_pending_restart",
	         "Value is 1 if the node needs a restart, 0 otherwise.",
	         status->postgres != NULL && status->postgres->has_pending_restart);
	add_flag(page, "patroni_is_paused", "Value is 1 if auto failover is disabled, 0 otherwise.",
	         status->is_paused);
	add_state(page, facts->state);
	add(page, "patroni_failover_priority", "gauge",
	    "Failover priority of this node, 0 if it may not become the leader.", "%d",
	    settings->tags.nofailover ? 0 : settings->tags.failover_priority);
}

/* ------------------------------------------------------------------------
 * Ours
 * ------------------------------------------------------------------------
 */

static void
add_phase(const Page *page, const char *name, const char *phase, int64_t ms)
{
	if (ms >= 0)
		fprintf(page->out, "%s{%s,phase=\"%s\"} %.3f\n", name, page->labels, phase,
		        (double) ms / 1000.0);
}

static void
add_takeover(const Page *page, const char *name, const char *help, const Takeover *takeover)
{
	if (!takeover->exists)
		return;
	add_head(page, name, "gauge", help);
	add_phase(page, name, "handover", takeover->handover_ms);
	add_phase(page, name, "election", takeover->election_ms);
	add_phase(page, name, "promotion", takeover->promotion_ms);
	add_phase(page, name, "total",
	          (takeover->handover_ms > 0 ? takeover->handover_ms : 0) + takeover->election_ms +
	              takeover->promotion_ms);
}

static void
add_fence(const Page *page, const RestFacts *facts)
{
	const LeasePage *lease = facts->status->page;
	int64_t deadline_us = lease == NULL ? LEASE_CLOSED_US : lease_page_deadline_us(lease);
	double remaining = (double) (deadline_us / 1000 - facts->now_ms) / 1000.0;
	const char *help = "How long this node may still acknowledge writes without a renewal of its "
	                   "lease: 0 not at all, +Inf in pause mode.";

	add_flag(page, "patroni_fence_open", "Value is 1 if this node may acknowledge writes, 0 otherwise.",
	         facts->is_fence_open);
	if (deadline_us == LEASE_NEVER_US)
		add(page, "patroni_lease_remaining_seconds", "gauge", help, "+Inf");
	else
		add(page, "patroni_lease_remaining_seconds", "gauge", help, "%.3f",
		    remaining > 0 ? remaining : 0.0);
	if (lease == NULL)
		return;
	add(page, "patroni_fence_refused_commits_total", "counter",
	    "Commits that were refused because the lease was over.", "%" PRIu64,
	    __atomic_load_n((const uint64_t *) &lease->refused_commits, __ATOMIC_RELAXED));
	add(page, "patroni_fence_withheld_acknowledgements_total", "counter",
	    "Commits that were done, but not acknowledged because the lease was over.", "%" PRIu64,
	    __atomic_load_n((const uint64_t *) &lease->withheld_acks, __ATOMIC_RELAXED));
}

/* What patroni.synchronous shows. */
static void
add_synchronous(const Page *page, const RestFacts *facts)
{
	const Settings *settings = facts->status->settings;
	const SyncState *sync = facts->view == NULL ? NULL : &facts->view->sync;
	const HaPostgres *postgres = facts->is_primary ? facts->status->postgres : NULL;
	const char *list = sync == NULL ? NULL : sync->sync_standby;
	const char *name;
	size_t length;
	int n_named = 0;
	int n_connected = 0;

	while (sync_next_standby(&list, &name, &length))
		n_named++;
	for (int i = 0; postgres != NULL && i < postgres->n_senders; i++)
		n_connected += postgres->senders[i].is_streaming &&
		               (postgres->senders[i].sync_state == SYNC_WALSENDER_SYNC ||
		                postgres->senders[i].sync_state == SYNC_WALSENDER_QUORUM);
	add(page, "patroni_synchronous_mode", "gauge",
	    "Synchronous mode as configured: 0 off, 1 on, 2 quorum.", "%d",
	    settings->synchronous_mode == SYNC_MODE_OFF  ? 0
	    : settings->synchronous_mode == SYNC_MODE_ON ? 1
	                                                 : 2);
	add_flag(page, "patroni_synchronous_mode_strict",
	         "Value is 1 if commits wait also when no standby is there, 0 otherwise.",
	         settings->synchronous_mode_strict);
	add(page, "patroni_synchronous_named_standbys", "gauge",
	    "How many standbys the sync key names: these may become primary.", "%d", n_named);
	add(page, "patroni_synchronous_quorum", "gauge",
	    "How many others of the sync key must not be ahead of a member that is to lead.", "%d",
	    sync != NULL && sync->exists ? sync->quorum : 0);
	add(page, "patroni_synchronous_connected_standbys", "gauge",
	    "How many standbys stream that commits wait for, 0 if this node is not the leader.", "%d",
	    n_connected);
	add_flag(page, "patroni_synchronous_in_force",
	         "Value is 1 if this primary's setting is in force in all its processes, 0 otherwise.",
	         postgres != NULL && postgres->is_sync_settled);
}

/* failsafe_mode: what the members have agreed to. */
static void
add_failsafe(const Page *page, const RestFacts *facts)
{
	const LeasePage *lease = facts->status->page;
	const char *text = facts->status->view == NULL ? NULL : facts->status->view->failsafe_json;
	json_t *members = text == NULL ? NULL : json_loads(text, 0, NULL);
	int64_t agreed_ms = lease == NULL ? 0 : atomic_load(&lease->failsafe_until_ms) - facts->now_ms;
	int64_t bound_ms = lease == NULL ? 0 : atomic_load(&lease->bound_until_ms) - facts->now_ms;

	add(page, "patroni_failsafe_key_members", "gauge",
	    "How many members have to agree that the leader goes on without the DCS.", "%zu",
	    json_object_size(members));
	json_decref(members);
	add(page, "patroni_failsafe_remaining_seconds", "gauge",
	    "For how long what all members agreed to still lasts, 0 if failsafe mode is not active.",
	    "%.3f", agreed_ms > 0 ? (double) agreed_ms / 1000.0 : 0.0);
	add(page, "patroni_failsafe_promise_seconds", "gauge",
	    "For how long this node has promised not to become leader, 0 if it has not.", "%.3f",
	    bound_ms > 0 ? (double) bound_ms / 1000.0 : 0.0);
}

static int64_t
slot_is_active(const HaSlot *slot, Lsn end)
{
	(void) end;
	return slot->is_active ? 1 : 0;
}

/* As patroni.slot has it: its user could go on here. */
static int64_t
slot_is_usable(const HaSlot *slot, Lsn end)
{
	(void) end;
	return !slot->is_lost && !slot->is_copying && slot->problem[0] == '\0' ? 1 : 0;
}

/* -1: not known, or not of this kind of slot. */
static int64_t
slot_retained_bytes(const HaSlot *slot, Lsn end)
{
	if (slot->restart_lsn == 0 || end == 0)
		return -1;
	return end > slot->restart_lsn ? (int64_t) (end - slot->restart_lsn) : 0;
}

static int64_t
slot_unconfirmed_bytes(const HaSlot *slot, Lsn end)
{
	if (!slot->is_logical || slot->confirmed_lsn == 0 || end == 0)
		return -1;
	return end > slot->confirmed_lsn ? (int64_t) (end - slot->confirmed_lsn) : 0;
}

/* One line for each slot; "end" is the end of this server's WAL. */
static const struct
{
	const char *name;
	int64_t (*value)(const HaSlot *slot, Lsn end);
	const char *help;
} slot_series[] = {
	{ "patroni_slot_active", slot_is_active,
	  "Value is 1 if somebody is connected to the slot here, 0 otherwise." },
	{ "patroni_slot_usable", slot_is_usable,
	  "Value is 1 if the user of the slot could go on here, 0 otherwise." },
	{ "patroni_slot_retained_bytes", slot_retained_bytes, "WAL that the slot keeps on this node." },
	{ "patroni_slot_unconfirmed_bytes", slot_unconfirmed_bytes,
	  "WAL that the consumer of the logical slot has not confirmed, as this node knows." },
};

/* What patroni.slot shows of the slots that this server has. */
static void
add_slots(const Page *page, const RestFacts *facts)
{
	const HaPostgres *postgres = facts->is_running ? facts->status->postgres : NULL;
	Lsn end = postgres == NULL                                   ? 0
	          : !postgres->is_in_recovery                        ? postgres->flush_lsn
	          : postgres->received_lsn > postgres->replayed_lsn ? postgres->received_lsn
	                                                             : postgres->replayed_lsn;

	add(page, "patroni_missing_slots", "gauge",
	    "How many permanent logical slots could not be used here after a failover.", "%d",
	    facts->is_replica ? facts->status->missing_slots : 0);
	if (postgres == NULL || postgres->n_slots == 0)
		return;
	for (size_t i = 0; i < sizeof(slot_series) / sizeof(slot_series[0]); i++)
	{
		bool has_head = false;

		for (int k = 0; k < postgres->n_slots; k++)
		{
			const HaSlot *slot = &postgres->slots[k];
			int64_t value = slot_series[i].value(slot, end);

			if (value < 0)
				continue;
			if (!has_head)
				add_head(page, slot_series[i].name, "gauge", slot_series[i].help);
			has_head = true;
			fprintf(page->out, "%s{%s,slot=\"%s\",type=\"%s\"} %" PRId64 "\n", slot_series[i].name,
			        page->labels, slot->name, slot->is_logical ? "logical" : "physical", value);
		}
	}
}

/* The whole page.  malloc'ed; NULL: no configuration yet, or no memory. */
char *
metrics_document(const RestFacts *facts)
{
	const RestStatus *status = facts->status;
	const HaPostgres *postgres = facts->is_running ? status->postgres : NULL;
	MemberRole role = facts->role;
	Page page;
	char *text = NULL;
	size_t size = 0;
	bool ok;

	if (status->settings == NULL)
		return NULL;
	page.out = open_memstream(&text, &size);
	if (page.out == NULL)
		return NULL;
	add_label(page.labels, add_label(page.labels, 0, "scope", status->settings->scope), "name",
	          status->settings->name);
	add_version(&page);
	add_flag(&page, "patroni_postgres_running", "Value is 1 if Postgres is running, 0 otherwise.",
	         facts->state == MEMBER_RUNNING);
	add(&page, "patroni_postmaster_start_time", "gauge", "Epoch seconds since Postgres started.",
	    "%.3f", postgres == NULL ? 0.0 : (double) postgres->start_time_ms / 1000.0);
	add_flag(&page, "patroni_primary", "Value is 1 if this node is the leader, 0 otherwise.",
	         role == ROLE_PRIMARY);
	add(&page, "patroni_xlog_location", "counter",
	    "Current location of the Postgres transaction log, 0 if this node is not the leader.",
	    "%" PRIu64, facts->is_primary ? postgres->flush_lsn : 0);
	add_flag(&page, "patroni_standby_leader",
	         "Value is 1 if this node is the standby_leader, 0 otherwise.",
	         role == ROLE_STANDBY_LEADER);
	add_flag(&page, "patroni_replica", "Value is 1 if this node is a replica, 0 otherwise.",
	         role == ROLE_REPLICA);
	add_flag(&page, "patroni_sync_standby",
	         "Value is 1 if this node is a sync standby, 0 otherwise.", facts->is_sync_standby);
	add_flag(&page, "patroni_quorum_standby",
	         "Value is 1 if this node is a quorum standby, 0 otherwise.",
	         facts->is_quorum_standby);
	add_wal(&page, facts);
	add_cluster(&page, facts);
	add_fence(&page, facts);
	add_synchronous(&page, facts);
	add_failsafe(&page, facts);
	add_slots(&page, facts);
	if (status->takeovers != NULL)
	{
		add_takeover(&page, "patroni_last_switchover_seconds",
		             "Duration of the last switchover that this member saw, by phase.",
		             &status->takeovers->last_switchover);
		add_takeover(&page, "patroni_last_failover_seconds",
		             "Duration of the last failover that this member saw, by phase.",
		             &status->takeovers->last_failover);
	}
	add_head(&page, "patroni_bgw_info", "gauge", "Version of patroni_bgw, as a label.");
	fprintf(page.out, "patroni_bgw_info{%s,version=\"%s\"} 1\n", page.labels, PATRONI_BGW_VERSION);
	ok = ferror(page.out) == 0;
	if (fclose(page.out) != 0 || !ok)
	{
		free(text);
		return NULL;
	}
	return text;
}
