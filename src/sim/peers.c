/*-------------------------------------------------------------------------
 *
 * peers.c
 *      Ask the other members over REST: the functions of src/node/peers.h, a
 *      network between, and the answer that src/supervisor/status.c,
 *      src/rest/facts.c and documents.c would give.
 *
 * What is simplified: no text goes over the network, only what
 * peer_from_status() reads in it.  A question or an answer that the network
 * loses is a silence until the time is over, as is a host without power; a
 * supervisor that is dead on a living host refuses.
 *-------------------------------------------------------------------------
 */
#include "sim/home.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define PEER_REQUESTS_MAX	(2 * SIM_NODES_MAX)
#define PEERS_FD			0x7ffffff0	/* never opened, never read */

typedef struct PeerRequest
{
	bool		is_used;
	bool		is_answered;
	uint64_t	number;
	int64_t		deadline_ms;
	HaPeer		peer;
} PeerRequest;

struct Peers
{
	int			node;
	int			home;
	void		(*answer) (void *context, const HaPeer *peer);
	void	   *context;
	uint64_t	next_number;
	PeerRequest requests[PEER_REQUESTS_MAX];
};

static Peers *peers_of[SIM_NODES_MAX][2];

/* Make ready to ask: for the home whose code runs. */
bool
peers_open(Peers **result, void (*answer) (void *context, const HaPeer *peer), void *context,
		   Error *error)
{
	Peers	   *peers = calloc(1, sizeof(Peers));

	*result = peers;
	if (peers == NULL)
		return error_set(error, "out of memory");
	peers->node = sim.current_node;
	peers->home = sim.current_home;
	peers->answer = answer;
	peers->context = context;
	peers_of[peers->node][peers->home] = peers;
	return true;
}

/* NULL is fine; no more answers. */
void
peers_close(Peers *peers)
{
	if (peers == NULL)
		return;
	if (peers_of[peers->node][peers->home] == peers)
		peers_of[peers->node][peers->home] = NULL;
	free(peers);
}

/* Nobody checks passwords here. */
void
peers_configure(Peers *peers, const Settings *settings)
{
	(void) peers;
	(void) settings;
}

/* No descriptor: answers wake the home's loop. */
int
peers_fd(const Peers *peers)
{
	(void) peers;
	return PEERS_FD;
}

/* When peers_process() has something to do; -1 = never. */
int
peers_timeout_ms(const Peers *peers, int64_t now_ms)
{
	int64_t		wait_ms = -1;

	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
	{
		const PeerRequest *request = &peers->requests[i];
		int64_t		left_ms = request->is_answered ? 0 : request->deadline_ms - now_ms;

		if (!request->is_used)
			continue;
		if (left_ms < 0)
			left_ms = 0;
		if (wait_ms < 0 || left_ms < wait_ms)
			wait_ms = left_ms;
	}
	return (int) wait_ms;
}

/* Deliver what has arrived, and silence as what it is. */
void
peers_process(Peers *peers, int64_t now_ms)
{
	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
	{
		PeerRequest *request = &peers->requests[i];
		HaPeer		peer;

		if (!request->is_used || (!request->is_answered && request->deadline_ms > now_ms))
			continue;
		peer = request->peer;
		request->is_used = false;
		sim_trace(peers->node, "%s: %s %s", home_name((HaHome) peers->home), peer.name,
				  !request->is_answered ? "is silent" :
				  peer.is_vote ? peer.has_accepted ? "accepts" : "refuses" :
				  peer.is_reachable ? "answers" : "says nothing of its WAL or refuses");
		peers->answer(peers->context, &peer);
	}
}

/* ------------------------------------------------------------------------
 * On the way
 * ------------------------------------------------------------------------
 */

static SimQuestion *
copy_question(const SimQuestion *question)
{
	SimQuestion *copy = malloc(sizeof(SimQuestion));

	if (copy == NULL)
		abort();
	*copy = *question;
	return copy;
}

typedef struct Answer
{
	SimQuestion question;
	HaPeer		peer;
} Answer;

static void
answer_read(int node, int64_t number, void *owned)
{
	const Answer *answer = owned;
	Peers	   *peers = peers_of[node][number];
	PeerRequest *request;

	if (peers == NULL)
		return;
	request = &peers->requests[answer->question.slot];
	if (!request->is_used || request->is_answered || request->number != answer->question.number)
		return;
	request->is_answered = true;
	{
		HaPeer		peer = answer->peer;

		memcpy(peer.name, request->peer.name, sizeof(peer.name));
		peer.round = request->peer.round;
		peer.is_vote = request->peer.is_vote;
		request->peer = peer;
	}
	sim_host_wake(node, (HaHome) number);
}

static void
answer_arrives(int node, int64_t number, void *owned)
{
	const Answer *answer = owned;
	const SimProcess *process = &sim.node[node].process[sim_home_process((HaHome) number)];
	Answer	   *copy;

	if (!process->is_alive || process->incarnation != answer->question.incarnation)
		return;
	copy = malloc(sizeof(Answer));
	if (copy == NULL)
		abort();
	*copy = *answer;
	sim_later_in(node, sim_home_process((HaHome) number), 0, answer_read, number, copy);
}

/* Send the answer on its way. */
void
peers_reply(const SimQuestion *question, const HaPeer *peer)
{
	int64_t		delay_us = sim_send_delay(question->target, question->asker);
	Answer	   *answer;

	if (delay_us < 0)
		return;
	answer = malloc(sizeof(Answer));
	if (answer == NULL)
		abort();
	answer->question = *question;
	answer->peer = *peer;
	sim_later(delay_us, answer_arrives, question->asker, question->home, answer);
}

static void
nobody(HaPeer *peer)
{
	memset(peer, 0, sizeof(*peer));
	peer->can_lead = true;
	peer->state = MEMBER_STATE_UNKNOWN;
}

static void
question_read(int node, int64_t number, void *owned)
{
	const SimQuestion *question = owned;
	SimHome    *supervisor;
	SimContext	before;
	HaPeer		peer;

	(void) number;
	if (sim.node[node].kind == SIM_PATRONI)
	{
		/* failsafe_mode of a Patroni member is not modelled: it refuses */
		if (question->is_consent)
			nobody(&peer);
		else if (!sim_patroni_status(node, &peer))
			return;
		peers_reply(question, &peer);
		return;
	}
	supervisor = sim_home(node, HA_HOME_SUPERVISOR);
	if (supervisor == NULL || supervisor->must_close)
	{
		nobody(&peer);
		peers_reply(question, &peer);
		return;
	}
	before = home_enter(supervisor);
	if (question->is_consent)
		consent_asked(supervisor, question);
	else
		supervisor_asked(supervisor, question);
	home_leave(supervisor, before);
}

static void
question_arrives(int node, int64_t number, void *owned)
{
	const SimQuestion *question = owned;
	HaPeer		peer;

	(void) number;
	if (!sim.node[node].host_is_up || !sim.node[node].is_member)
		return;
	if (!sim.node[node].process[SIM_SUPERVISOR].is_alive)
	{
		nobody(&peer);
		peers_reply(question, &peer);
		return;
	}
	sim_later_in(node, SIM_SUPERVISOR, sim_between(50, 500), question_read, 0,
				 copy_question(question));
}

/* The answer's place, and the question if there is a way for it. */
static SimQuestion *
begin_question(Peers *peers, const char *name, uint64_t round, int timeout_ms, bool is_consent,
			   PeerRequest **result)
{
	PeerRequest *request = NULL;
	SimQuestion *question;

	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
	{
		PeerRequest *candidate = &peers->requests[i];

		if (candidate->is_used && candidate->peer.is_vote == is_consent &&
			strcmp(candidate->peer.name, name) == 0)
			candidate->is_used = false;
		if (!candidate->is_used && request == NULL)
			request = candidate;
	}
	*result = request;
	if (request == NULL)
		return NULL;
	memset(request, 0, sizeof(*request));
	request->is_used = true;
	request->number = ++peers->next_number;
	request->deadline_ms = clock_now_ms() + timeout_ms;
	nobody(&request->peer);
	strncpy(request->peer.name, name, sizeof(request->peer.name) - 1);
	request->peer.round = round;
	request->peer.is_vote = is_consent;
	question = calloc(1, sizeof(SimQuestion));
	if (question == NULL)
		abort();
	question->asker = peers->node;
	question->home = peers->home;
	question->target = sim_node_of(name);
	question->slot = (int) (request - peers->requests);
	question->number = request->number;
	question->is_consent = is_consent;
	question->incarnation =
		sim.node[peers->node].process[sim_home_process((HaHome) peers->home)].incarnation;
	return question;
}

/* On its way; takes the question over. */
static void
send_question(Peers *peers, PeerRequest *request, SimQuestion *question)
{
	int			target = question->target;
	int64_t		delay_us = target < 0 ? -1 : sim_send_delay(peers->node, target);

	if (delay_us >= 0)
	{
		sim_later(delay_us, question_arrives, target, 0, question);
		return;
	}
	free(question);				/* silence */
	if (target >= 0 && sim.link[peers->node][target].is_cut && sim.link[peers->node][target].is_refusing)
		request->is_answered = true;
}

/*
 * Ask one member; an older question to it is given up.  False: there will be
 * no answer.
 */
bool
peers_ask(Peers *peers, const char *name, const char *url, uint64_t round, int timeout_ms)
{
	PeerRequest *request;
	SimQuestion *question = url[0] == '\0' ? NULL :
		begin_question(peers, name, round, timeout_ms, false, &request);

	if (question == NULL)
		return false;
	send_question(peers, request, question);
	return true;
}

/* POST /failsafe: of the body only what the engine of the other one is told. */
bool
peers_ask_consent(Peers *peers, const char *name, const char *url, const char *body,
				  uint64_t round, int timeout_ms)
{
	json_t	   *json = json_loads(body, 0, NULL);
	PeerRequest *request;
	SimQuestion *question = url[0] == '\0' ? NULL :
		begin_question(peers, name, round, timeout_ms, true, &request);

	if (question != NULL)
	{
		strncpy(question->leader, json_string_value(json_object_get(json, "name")),
				sizeof(question->leader) - 1);
		question->ttl_ms = json_integer_value(json_object_get(json, "ttl_ms"));
		send_question(peers, request, question);
	}
	json_decref(json);
	return question != NULL;
}

/* Give up all questions; no answers will come. */
void
peers_forget_all(Peers *peers)
{
	for (int i = 0; i < PEER_REQUESTS_MAX; i++)
		peers->requests[i].is_used = false;
}

/* ------------------------------------------------------------------------
 * What a member of ours answers
 * ------------------------------------------------------------------------
 */

static MemberState
state_by_server(HaServer server)
{
	switch (server)
	{
		case HA_SERVER_RUNNING:
			return MEMBER_RUNNING;
		case HA_SERVER_STARTING:
			return MEMBER_STARTING;
		case HA_SERVER_STOPPING:
			return MEMBER_STOPPING;
		case HA_SERVER_STOPPED:
			return MEMBER_STOPPED;
		case HA_SERVER_UNKNOWN:
			break;
	}
	return MEMBER_STATE_UNKNOWN;
}

/*
 * What peer_from_status() would read in our status document.  is_fresh: the
 * home that drives has just looked at the server.
 */
void
peers_status_of(SimHome *supervisor, bool is_fresh, HaPeer *peer)
{
	const Settings *settings = host_settings(supervisor->host);
	const HaPostgres *postgres = host_last_postgres(supervisor->host);
	bool		is_fence_open = lease_page_is_open(sim.node[supervisor->node].page);
	bool		is_running = is_fresh && postgres != NULL && postgres->server == HA_SERVER_RUNNING;
	const ClusterView *view = host_view(supervisor->host);
	MemberRole	role = ROLE_UNINITIALIZED;
	MemberTags	tags;
	bool		is_outranked;

	nobody(peer);
	if (host_is_driving(supervisor->host))
	{
		role = ha_role(host_node(supervisor->host));
		peer->state = ha_state(host_node(supervisor->host));
	}
	else if (postgres != NULL)
	{
		if (postgres->data == HA_DATA_PRESENT)
			role = postgres->is_in_recovery ? ROLE_REPLICA : ROLE_PRIMARY;
		peer->state = state_by_server(postgres->server);
	}
	if (peer->state == MEMBER_RUNNING && !is_running)
		peer->state = MEMBER_STATE_UNKNOWN;
	member_tags_from_json(&tags, settings == NULL ? NULL : settings->tags_json);
	peer->nofailover = tags.nofailover;
	peer->failover_priority = tags.failover_priority;
	peer->is_hanging = postgres != NULL && postgres->hang[0] != '\0';
	peer->can_lead = host_store_is_reachable(supervisor->host) && !peer->is_hanging &&
		sim.node[supervisor->node].page->bound_until_ms <= clock_now_ms();
	if (!is_running)
	{
		if ((role == ROLE_PRIMARY || role == ROLE_PROMOTED) && !is_fence_open)
			role = ROLE_REPLICA;
		peer->is_in_recovery = role != ROLE_PRIMARY;
		return;
	}
	peer->timeline = postgres->timeline;
	is_outranked = postgres->is_in_recovery && view != NULL && view->is_loaded && !view->has_leader &&
		settings != NULL && ha_is_outranked(view, settings->name, postgres,
											settings->maximum_lag_on_failover);
	if (is_outranked)
		peer->can_lead = false;
	if (is_outranked && settings->synchronous_mode != SYNC_MODE_QUORUM)
		peer->is_in_recovery = true;	/* likewise: it is out of the race */
	else if (postgres->is_in_recovery && host_is_driving(supervisor->host))
		peer->is_in_recovery = true;	/* an old position is told to nobody */
	else if (postgres->is_in_recovery)
	{
		Lsn			received = postgres->received_lsn != 0 ? postgres->received_lsn :
			postgres->replayed_lsn;

		peer->is_reachable = true;
		peer->is_in_recovery = true;
		peer->position = received > postgres->replayed_lsn ? received : postgres->replayed_lsn;
		peer->checkpoint_redo = postgres->checkpoint_redo;
	}
	else if (is_fence_open)
	{
		peer->is_reachable = true;
		peer->position = postgres->flush_lsn;
	}
	else
		peer->is_in_recovery = true;	/* shown as a replica without WAL */
}

/* What the node answers to GET /patroni, whatever the network does. */
void
sim_peer_status(int node, HaPeer *peer)
{
	SimHome    *supervisor = sim_home(node, HA_HOME_SUPERVISOR);
	SimHome    *worker = sim_home(node, HA_HOME_WORKER);
	SimContext	before;
	bool		is_fresh;

	nobody(peer);
	if (sim.node[node].kind == SIM_PATRONI)
	{
		if (!sim_patroni_status(node, peer))
			nobody(peer);
		return;
	}
	if (supervisor == NULL || supervisor->must_close ||
		sim.node[node].process[SIM_SUPERVISOR].n_pauses > 0)
		return;
	before = home_enter(supervisor);
	is_fresh = host_is_driving(supervisor->host);
	if (is_fresh)
		supervisor_observe_and_tell(supervisor);
	else if (supervisor->link != 0 && worker != NULL && !worker->must_close &&
			 worker->link == supervisor->link &&
			 sim.node[node].process[SIM_WORKER].n_pauses == 0)
	{
		SimContext	inner = home_enter(worker);

		supervisor->seen = *worker_look(worker);
		home_leave(worker, inner);
		supervisor->has_seen = true;
		supervisor->seen_postmaster = supervisor->postmaster;
		host_postgres(supervisor->host, &supervisor->seen);
		is_fresh = true;
	}
	peers_status_of(supervisor, is_fresh, peer);
	home_leave(supervisor, before);
}
