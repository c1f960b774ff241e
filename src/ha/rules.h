/*-------------------------------------------------------------------------
 *
 * rules.h
 *      The decision tables of the engine, as rows of text.
 *
 * rules.o holds the tables alone, without any other dependency, so that the
 * server's stub can show them as patroni.rules().
 *-------------------------------------------------------------------------
 */
#ifndef PATRONI_HA_RULES_H
#define PATRONI_HA_RULES_H

#include <stdbool.h>

#define HA_RULE_TEXT_MAX	640

typedef struct HaRuleRow
{
	const char *table;			/* "standby", "leader", ... */
	const char *name;			/* the rule's name, as in the log */
	char		when[HA_RULE_TEXT_MAX];		/* facts that must hold, ", " between */
	char		unless[HA_RULE_TEXT_MAX];	/* facts that must not hold */
	const char *then;			/* what is done, in words */
	const char *because;		/* the reason, as in the log */
} HaRuleRow;

/* The rows in the order in which the engine tries them; false past the end. */
extern bool ha_rule_row(int index, HaRuleRow *row);

#endif							/* PATRONI_HA_RULES_H */
