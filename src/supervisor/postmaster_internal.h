/*-------------------------------------------------------------------------
 *
 * postmaster_internal.h
 *      What task.c needs of the postmaster beyond postmaster.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_POSTMASTER_INTERNAL_H
#define PATRONI_SUPERVISOR_POSTMASTER_INTERNAL_H

#include "supervisor/postmaster.h"

/* One listener beside PostmasterOps.changed, called before it. */
typedef void (*PostmasterListener) (void *context, PostmasterEvent event);

extern void postmaster_listen(Postmaster *postmaster, PostmasterListener listener, void *context);
/* How the last one ended, e.g. "exited with exit code 1"; "" = not known. */
extern const char *postmaster_last_end(const Postmaster *postmaster);
extern const char *postmaster_data_directory(const Postmaster *postmaster);

#endif							/* PATRONI_SUPERVISOR_POSTMASTER_INTERNAL_H */
