--
-- How the engine decides.  A difference here is a changed decision.
--
\pset format unaligned
\x on
SELECT * FROM patroni.rules();
\x off
\pset format aligned
-- names are unique in their table, and every rule says why
SELECT rule_table, rule FROM patroni.rules() GROUP BY 1, 2 HAVING count(*) > 1;
SELECT rule_table, rule FROM patroni.rules() WHERE reason = '' OR action = '';
-- the last row of each table matches always
SELECT DISTINCT ON (rule_table) rule_table, rule, when_facts, unless_facts
  FROM patroni.rules() WITH ORDINALITY AS r (rule_table, rule, when_facts, unless_facts, action, reason, number)
 WHERE NOT EXISTS (SELECT FROM patroni.rules() l
                    WHERE l.rule_table = r.rule_table AND l.when_facts = '{}' AND l.unless_facts = '{}');
