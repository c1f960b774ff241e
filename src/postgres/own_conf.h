/*-------------------------------------------------------------------------
 *
 * own_conf.h
 *      What the operator's own configuration files say, and what to do about
 *      a server that was not managed before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_POSTGRES_OWN_CONF_H
#define PATRONI_POSTGRES_OWN_CONF_H

#include "postgres/postgres_files.h"

extern bool conf_line(const char **text, char *name, size_t name_size, char *value, size_t size);
extern bool own_conf_value(const Settings *settings, const char *name, char *value, size_t size);
extern void own_conf_compare(const Settings *settings, ConfigProblems *problems);
extern bool own_conf_may_lead(const Settings *settings, Error *error) MUST_CHECK;

#endif							/* PATRONI_POSTGRES_OWN_CONF_H */
