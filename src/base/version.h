/*-------------------------------------------------------------------------
 *
 * version.h
 *      Our version, and the version of Patroni whose protocol we speak.
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_BASE_VERSION_H
#define PATRONI_BASE_VERSION_H

#define PATRONI_BGW_VERSION			"1.0.0"

/*
 * Published as "version" in the member key and by REST: members that run
 * Patroni judge by it what another member can do (for example, only above
 * 1.5.6 does a missing "checkpoint_after_promote" mean that it is done).
 */
#define PATRONI_PROTOCOL_VERSION	"4.1.4"

#endif							/* PATRONI_BASE_VERSION_H */
