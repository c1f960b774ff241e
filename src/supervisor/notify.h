/*-------------------------------------------------------------------------
 *
 * notify.h
 *      Tells systemd how we are, without libsystemd.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_SUPERVISOR_NOTIFY_H
#define PATRONI_SUPERVISOR_NOTIFY_H

/* Remember NOTIFY_SOCKET and take it out of the environment. */
extern void notify_init(void);
extern void notify_ready(void);
extern void notify_reloading(void);
extern void notify_stopping(void);
extern void notify_status(const char *text);

#endif /* PATRONI_SUPERVISOR_NOTIFY_H */
