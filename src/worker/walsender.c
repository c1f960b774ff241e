/*-------------------------------------------------------------------------
 *
 * walsender.c
 *      What walsenders send goes through functions of this extension.
 *
 * A session sends its messages through the functions in PqCommMethods
 * (libpq.h).  In walsenders they are replaced, once, when the client is
 * authenticated: only then is it known what the session is to be.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/walsender.h"

#include "worker/compat.h"

#include "replication/walsender.h"

#include "worker/consumer_hold.h"
#include "worker/wal_sent.h"

static const PQcommMethods *server_methods;
static PQcommMethods own_methods;
static ClientAuthentication_hook_type previous_authentication_hook;

static void
begin_session(Port *port, int status)
{
	if (previous_authentication_hook)
		previous_authentication_hook(port, status);
	if (status != STATUS_OK || !am_walsender || server_methods != NULL)
		return;
	server_methods = PqCommMethods;
	own_methods = *PqCommMethods;
	if (am_db_walsender)
		consumer_hold_begin(server_methods, &own_methods);
	else
		wal_sent_begin(server_methods, &own_methods);
	PqCommMethods = &own_methods;
}

/* Watch for walsenders. */
void
walsender_init(void)
{
	previous_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = begin_session;
}
