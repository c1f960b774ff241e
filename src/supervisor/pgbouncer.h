/*-------------------------------------------------------------------------
 *
 * pgbouncer.h
 *      PAUSE before a switchover's gap, RESUME after it, whatever happens.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_PGBOUNCER_H
#define PATRONI_SUPERVISOR_PGBOUNCER_H

#include "ha/ha.h"

typedef struct Bouncers Bouncers;

struct Supervisor;

extern Bouncers *bouncers_create(struct Supervisor *supervisor); /* NULL: no memory */
extern void bouncers_free(Bouncers *bouncers);					 /* NULL is fine */
/* The settings may have changed. */
extern void bouncers_configure(Bouncers *bouncers);
/* After each event. */
extern void bouncers_turn(Bouncers *bouncers);
/* True: the task is started when the PgBouncers are paused; false: start it now. */
extern bool bouncers_pause_first(Bouncers *bouncers, const HaAction *action);
/* True: the task had not begun, and will not. */
extern bool bouncers_cancel(Bouncers *bouncers);
/* True: it was the answer to a request of ours. */
extern bool bouncers_answer(Bouncers *bouncers, const HaAction *answer);

#endif /* PATRONI_SUPERVISOR_PGBOUNCER_H */
