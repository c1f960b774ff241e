/*-------------------------------------------------------------------------
 *
 * allowlist.h
 *      From where calls that change something may come: restapi.allowlist and
 *      restapi.allowlist_include_members.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_REST_ALLOWLIST_H
#define PATRONI_REST_ALLOWLIST_H

#include <sys/socket.h>

#include "cluster/cluster.h"
#include "config/settings.h"

typedef struct Allowlist Allowlist;

extern Allowlist *allowlist_create(void); /* NULL: no memory */
extern void allowlist_free(Allowlist *list);
/* Take over what the settings say, and begin to look names up. */
extern void allowlist_configure(Allowlist *list, const Settings *settings);
/*
 * Look up what has to be, and take in what was found; "view" may be NULL.
 * Returns whether it wants to be called again within a second.
 */
extern bool allowlist_look(Allowlist *list, const ClusterView *view, int64_t now_ms);
/* Is anything configured?  If not, calls may come from everywhere. */
extern bool allowlist_is_used(const Allowlist *list);
extern bool allowlist_has_entries(const Allowlist *list);
extern bool allowlist_allows(const Allowlist *list, const ClusterView *view,
							 const struct sockaddr *from);

#endif /* PATRONI_REST_ALLOWLIST_H */
