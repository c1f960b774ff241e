/*-------------------------------------------------------------------------
 *
 * queue.c
 *      What happens when: a heap of events, by time and then by the order in
 *      which they were asked for.
 *
 * Events of a paused process wait until it goes on; those of one that died
 * are dropped.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "sim/sim.h"

#define QUEUE_MAX	1000000		/* events that wait; more is a bug */

typedef struct Event
{
	int64_t		at_us;
	uint64_t	order;
	SimEvent	event;
	int			node;
	int			process;		/* SimProcessKind, -1 = the world's */
	uint32_t	incarnation;
	int64_t		number;
	void	   *owned;
} Event;

typedef struct EventList
{
	Event	   *items;
	int			count;
	int			size;
} EventList;

static EventList heap;
static EventList waiting[SIM_NODES_MAX][SIM_PROCESSES];	/* of paused processes, oldest first */
static uint64_t next_order;

static bool
list_grow(EventList *list)
{
	if (list->count >= QUEUE_MAX)
	{
		sim_fail("bug in the simulator: too many events wait");
		return false;
	}
	if (list->count == list->size)
	{
		int			size = list->size == 0 ? 256 : list->size * 2;
		Event	   *items = realloc(list->items, (size_t) size * sizeof(Event));

		if (items == NULL)
			abort();
		list->items = items;
		list->size = size;
	}
	return true;
}

static bool
is_before(const Event *a, const Event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void
heap_push(Event event)
{
	int			at;

	if (!list_grow(&heap))
	{
		free(event.owned);
		return;
	}
	for (at = heap.count++; at > 0; at = (at - 1) / 2)
	{
		if (!is_before(&event, &heap.items[(at - 1) / 2]))
			break;
		heap.items[at] = heap.items[(at - 1) / 2];
	}
	heap.items[at] = event;
}

static Event
heap_pop(void)
{
	Event		top = heap.items[0];
	Event		last = heap.items[--heap.count];
	int			at = 0;

	for (;;)
	{
		int			child = 2 * at + 1;

		if (child >= heap.count)
			break;
		if (child + 1 < heap.count && is_before(&heap.items[child + 1], &heap.items[child]))
			child++;
		if (!is_before(&heap.items[child], &last))
			break;
		heap.items[at] = heap.items[child];
		at = child;
	}
	if (heap.count > 0)
		heap.items[at] = last;
	return top;
}

static void
add(int64_t delay_us, SimEvent function, int node, int process, int64_t number, void *owned)
{
	Event		event = {
		.at_us = sim.now_us + (delay_us > 0 ? delay_us : 0),
		.order = next_order++,
		.event = function,
		.node = node,
		.process = process,
		.number = number,
		.owned = owned,
	};

	if (process >= 0)
	{
		if (!sim.node[node].process[process].is_alive)
		{
			free(owned);
			return;
		}
		event.incarnation = sim.node[node].process[process].incarnation;
	}
	heap_push(event);
}

/* Happens whatever the state of the nodes; takes "owned" over. */
void
sim_later(int64_t delay_us, SimEvent event, int node, int64_t number, void *owned)
{
	add(delay_us, event, node, -1, number, owned);
}

/* Happens in a process as it is now, or not at all; takes "owned" over. */
void
sim_later_in(int node, SimProcessKind process, int64_t delay_us,
			 SimEvent event, int64_t number, void *owned)
{
	add(delay_us, event, node, (int) process, number, owned);
}

static bool
is_of_the_dead(const Event *event)
{
	const SimProcess *process;

	if (event->process < 0)
		return false;
	process = &sim.node[event->node].process[event->process];
	return !process->is_alive || process->incarnation != event->incarnation;
}

static void
put_aside(Event event)
{
	EventList  *list = &waiting[event.node][event.process];

	if (list_grow(list))
		list->items[list->count++] = event;
	else
		free(event.owned);
}

/* Take the next event that is due until then; false: there is none. */
bool
sim_next(int64_t until_us)
{
	while (heap.count > 0 && heap.items[0].at_us <= until_us)
	{
		Event		event = heap_pop();

		if (event.at_us > sim.now_us)
			sim.now_us = event.at_us;
		if (is_of_the_dead(&event))
		{
			free(event.owned);
			continue;
		}
		if (event.process >= 0 && sim.node[event.node].process[event.process].n_pauses > 0)
		{
			put_aside(event);
			continue;
		}
		sim.n_events++;
		event.event(event.node, event.number, event.owned);
		free(event.owned);
		return true;
	}
	if (until_us > sim.now_us)
		sim.now_us = until_us;
	return false;
}

/* A process goes on: what waited for it happens now, in its order. */
void
sim_process_resumed(int node, SimProcessKind process)
{
	EventList  *list = &waiting[node][process];
	int			count = list->count;

	list->count = 0;
	for (int i = 0; i < count; i++)
	{
		Event		event = list->items[i];

		event.at_us = sim.now_us;
		event.order = next_order++;
		if (is_of_the_dead(&event))
			free(event.owned);
		else
			heap_push(event);
	}
}

static void
list_clear(EventList *list)
{
	for (int i = 0; i < list->count; i++)
		free(list->items[i].owned);
	list->count = 0;
}

/* Forget everything; the memory is kept for the next run. */
void
sim_queue_reset(void)
{
	list_clear(&heap);
	for (int node = 0; node < SIM_NODES_MAX; node++)
		for (int process = 0; process < SIM_PROCESSES; process++)
			list_clear(&waiting[node][process]);
	next_order = 0;
}
