/*-------------------------------------------------------------------------
 *
 * host_internal.h
 *      The inside of a Host, for the files of src/node only.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_NODE_HOST_INTERNAL_H
#define PATRONI_NODE_HOST_INTERNAL_H

#include <string.h>

#include "node/events.h"
#include "node/host.h"
#include "node/peers.h"
#include "node/trace.h"

#define HOST_QUEUE         512 /* inputs that wait */
#define HOST_STEPS_MAX     256 /* inputs handled in one host_process() */
#define HOST_EDITS         8   /* changes of the configuration under way */
#define HOST_PUTS          8
#define HOST_EDIT_ATTEMPTS 4   /* the first one and three more */
#define HOST_PEER_TIMEOUT  300
#define HOST_ASK_TIMEOUT   1500 /* a second member of the store is asked after 1000 */

/* Our own requests to the store have this bit, the engine's do not. */
#define HOST_REQUEST_BIT (UINT64_C(1) << 63)

typedef enum HostInputKind
{
	HOST_SETTINGS, /* host->ha_settings */
	HOST_VIEW,     /* dcs_view() as it is then */
	HOST_REACHABLE,
	HOST_REPLY,
	HOST_POSTGRES, /* host->postgres as it is then */
	HOST_PEER,
	HOST_TASK,
	HOST_COMMAND,
	HOST_TICK,
	HOST_PROMISE, /* as the page has it then */
	HOST_ASK_MEMBERS,
} HostInputKind;

typedef struct HostInput
{
	HostInputKind kind;
	union
	{
		struct
		{
			bool is_reachable;
			char reason[HA_REASON_MAX];
		} reachable;
		struct
		{
			uint64_t id;
			HaOutcome outcome;
			bool session_lost;
			bool may_change_session;
			int64_t sent_at_ms;
			uint64_t version;
			char error[HA_TEXT_MAX]; /* "" = none */
		} reply;
		HaPeer peer;
		struct
		{
			HaTask task;
			uint64_t id;
			HaTaskOutcome outcome;
			HaDivergence divergence;
			Lsn lsn;
			bool has_message;
			char message[HA_TEXT_MAX];
		} task;
		HaCommand command;
	};
} HostInput;

/* A change of the dynamic configuration under way; edit_config.c. */
typedef enum HostEditState
{
	HOST_EDIT_FREE,
	HOST_EDIT_NEW,     /* not looked at yet */
	HOST_EDIT_WRITING, /* request_id is with the store */
	HOST_EDIT_RACING,  /* lost the race: wait for a view newer than seen_version */
	HOST_EDIT_WAITING, /* written; members have to show the pause state */
} HostEditState;

typedef struct HostEdit
{
	HostEditState state;
	uint64_t command_id;
	uint64_t request_id;
	uint64_t seen_version; /* of the configuration it was based on */
	int attempts;
	bool wait;
	bool is_about_pause;
	bool is_only_pause; /* the patch has no other key, and must change something */
	bool is_whole;      /* "patch" is the whole configuration */
	bool pause_wanted;
	int64_t deadline_ms;
	char *patch;   /* owned */
	char *written; /* owned; what was, or is being, written */
} HostEdit;

/* A key being written; put_failover.c. */
typedef struct HostPut
{
	uint64_t request_id; /* 0 = free */
	uint64_t command_id;
	const char *rule; /* for patroni.event; static */
} HostPut;

typedef struct HostDcsConfig
{
	DcsConfig config;
	char hosts[SETTINGS_HOSTS_MAX][300];
} HostDcsConfig;

struct Host
{
	HaHome home;
	LeasePage *page;
	HostOps ops;
	CycleClock cycles; /* as of the engine's steps */
	HaNode *node;
	HaActions actions;
	int epoll_fd;

	LocalConfig *local;       /* NULL: not configured yet */
	Settings settings;        /* valid when local is */
	char *dynamic;            /* owned; dynamic configuration in force, NULL none */
	uint64_t refused_version; /* of a dynamic configuration that cannot be used */
	HaSettings ha_settings;

	Dcs *dcs; /* NULL until configured */
	HostDcsConfig dcs_config;
	bool is_reachable;
	bool has_been_told; /* the store has answered, or failed to, since it was opened */
	Peers *peers;

	bool is_driving;
	uint32_t generation;
	int64_t wake_at_ms; /* INT64_MAX = none */
	int64_t last_tick_ms;

	HaPostgres postgres;
	bool has_postgres;
	int64_t postgres_at_ms; /* when we were told */
	bool postgres_is_queued;
	bool view_is_queued;
	bool tick_is_queued;
	bool ask_members_is_queued;

	HostInput *queue; /* HOST_QUEUE of them, a ring */
	int queue_first;
	int queue_count;
	uint64_t commands[HA_COMMANDS_MAX * 2]; /* given to the engine, not answered yet */
	int n_commands;

	HostEdit edits[HOST_EDITS];
	HostPut puts[HOST_PUTS];
	uint64_t next_request_id;
	uint64_t ask_id;     /* of host_ask_store(); 0 = none under way */
	int64_t answered_ms; /* host_store_answered_ms() */

	HostEvents events;
	uint64_t snapshot_number;

	Trace *trace;     /* NULL: nothing is recorded */
	bool has_stepped; /* the engine's node is not as ha_node_create() made it */
};

/* Copy a text, cutting it if it must be. */
static inline void
host_copy_text(char *to, size_t size, const char *from)
{
	size_t length = from == NULL ? 0 : strlen(from);

	if (length >= size)
		length = size - 1;
	if (length > 0)
		memcpy(to, from, length);
	to[length] = '\0';
}

/* host.c */
extern void host_log(const Host *host, int level, const char *message, const char *detail);
extern void host_event(Host *host, const char *kind, const char *rule, const char *reason);
extern void host_answer(Host *host, uint64_t command_id, bool ok, const char *text,
                        const char *detail, const char *sqlstate);

/* postgres_json.c */
extern json_t *host_text_to_json(const char *text); /* a new reference */

/* edit_config.c */
extern void edit_reply(Host *host, const DcsReply *reply);
extern void edit_process(Host *host, int64_t now_ms);
extern int64_t edit_deadline_ms(const Host *host); /* INT64_MAX = none */
extern void edit_give_up(Host *host, const char *reason);

/* put_failover.c */
extern void put_reply(Host *host, const DcsReply *reply);
extern void put_give_up(Host *host, const char *reason);

#endif /* PATRONI_NODE_HOST_INTERNAL_H */
