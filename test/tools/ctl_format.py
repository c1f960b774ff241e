#!/usr/bin/python3
# ctl_format.py PROGRAM COUNT SEED: random values through "PROGRAM __format" and
# through the functions of Patroni's own patronictl, as Debian has it.  Prints
# what differs, and "N compared, N differ"; the exit code is 1 if anything does.
import difflib
import json
import random
import subprocess
import sys

import yaml
from patroni.ctl import PatronictlPrettyTable, format_config_for_editing
from prettytable import ALL, FRAME

program, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)

WORDS = ['', 'on', 'off', 'Yes', 'null', '~', 'true', '1', '-1', '0', '007', '0x1f', '0b11', '1_000', '1.5', '.5',
         '1e3', '1.0e+3', '-.inf', '.NaN', '1:30', '190:20:30.15', '2026-01-02', '2026-1-2', '2026-01-02 03:04:05',
         '2026-01-02T03:04:05Z', '2026-01-02 03:04:05.6 +01:00', '=', '<<', '!', '&', '*', '- a', 'a: b', 'a:', ':a',
         'a #b', '#a', '? a', '?', '-', '--', '---', '...', '%a', '@a', '`a', '"a"', "it's", "'a'", '|', '>', '[a]',
         '{a}', 'a, b', 'a,b', 'C:\\x', 'a\tb', ' a', 'a ', 'a\nb', 'a\n', '\na', 'a\n\nb ', 'x' * 250,
         'word ' * 60, 'logical', '16MB', '5432', 'host all all 0.0.0.0/0 md5', 'h\u00e4\u00df', '\u4e2d\u6587',
         'a\u2028b', 'a\x7fb', 'a\x01b', '\ufeffa', 'e\u0301', 'cp %p ../archive/%f', 'a]', 'a}', 'a?b',
         "test ! -f /x/%f && cp %p '/x y/%f'", 'a: [b, c]', 'y', 'n', 'N', 'None', '12e03', '+1', '1.', '1.e+3', '0.0',
         '0o17', '1__0', '08', '0_', '-0', '9:59', '1:60', '-9:5', '0:0', 'a\r\nb', 'a\u00a0b', 'key with blanks']
SCALARS = [None, True, False, 0, 1, -5, 10 ** 15, 0.1, 1e-7, 1e16, 1.5e300, 100.0, -2.5, 3e-5, 123456789.123456789, 1e22,
           5e-324]


def word():
    if rng.random() < 0.15:
        return ''.join(rng.choice('ab:- #,[]{}\'"\\?!&*|>%@`\n\t.~=0123_e+\u00e9') for _ in range(rng.randint(1, 8)))
    return rng.choice(WORDS)


# what src/ctl/yaml_text.c says to differ is left out
def key():
    return word() or 'empty'


def value(depth=0):
    kind = rng.random()
    if depth < 4 and kind < 0.3:
        return {key(): value(depth + 1) for _ in range(rng.randint(0, 4))}
    if depth < 4 and kind < 0.45:
        return [value(depth + 1) for _ in range(rng.randint(0, 4))]
    return word() if kind < 0.85 else rng.choice(SCALARS)


def container():
    return {key(): value(1) for _ in range(rng.randint(0, 5))} if rng.random() < 0.8 else [value(1), value(1)]


def text_of_lines():
    return '\n'.join(rng.choice('abcdefgh') for _ in range(rng.choice([0, 1, 3, 8, 30, 250]))) + rng.choice(['', '\n', '\n\n'])


def mutated(text):
    lines = text.split('\n')
    for _ in range(rng.randint(0, 6)):
        at = rng.randint(0, len(lines))
        if rng.random() < 0.5 and at < len(lines):
            del lines[at]
        else:
            lines.insert(at, rng.choice('abcxyz'))
    return '\n'.join(lines)


def diff(before, after):
    def listify(string):
        return [line + '\n' for line in string.rstrip('\n').split('\n')]
    return ''.join(line.rstrip('\n') + '\n' for line in difflib.unified_diff(listify(before), listify(after)))


def table(step):
    rows = step['table']
    high = any(any(isinstance(c, str) and '\n' in c for c in r) for r in rows)
    drawn = PatronictlPrettyTable(step['title'], step['columns'], hrules=ALL if high else FRAME)
    drawn.align = 'l'
    for name, letter in zip(step['columns'], step['align']):
        drawn.align[name] = letter
    for row in rows:
        drawn.add_row(row)
    return str(drawn)


def make_step():
    kind = rng.randint(0, 3)
    if kind == 0:
        v = value()
        return {'json': v}, json.dumps(v)
    if kind == 1:
        v, flow = container(), rng.random() < 0.3
        text = format_config_for_editing(v, flow)
        # PyYAML breaks a quoted text behind an escape, too
        return make_step() if '\\\n' in text else ({'yaml': v, 'flow': flow}, text)
    if kind == 2:
        a = text_of_lines()
        b = mutated(a)
        return {'diff': [a, b]}, diff(a, b)
    n = rng.randint(1, 6)
    cells = ['', 'a', 'running', '127.0.0.1:5432', 3, 'x\ny', 'a: 1\nbc: 2\n', None, True, 1.5, 'h\u00e4', '\u4e2d']
    step = {'title': rng.choice([None, ' Cluster: batman ', ' Cluster: ' + 'long' * 30 + ' ', ' \u4e2d\u6587 ']),
            'columns': rng.sample(['Member', 'Host', 'TL', 'Lag in MB', 'Role', 'Tags'], n),
            'align': ''.join(rng.choice('lr') for _ in range(n)),
            'table': [[rng.choice(cells[:5] if rng.random() < 0.7 else cells) for _ in range(n)]
                      for _ in range(rng.randint(0, 4))]}
    return step, table(step)


steps = [make_step() for _ in range(count)]
lines = subprocess.run([program, '__format'], input=''.join(json.dumps(s) + '\n' for s, _ in steps),
                       stdout=subprocess.PIPE, encoding='utf-8', check=True).stdout.split('\n')
differ = 0
for (step, wanted), line in zip(steps, lines):
    got = json.loads(line)
    if got != wanted:
        differ += 1
        if differ <= 10:
            print('step  ', json.dumps(step), '\nwanted', json.dumps(wanted), '\ngot   ', line)
print('{0} compared, {1} differ'.format(len(steps), differ))
sys.exit(differ > 0)
