#!/usr/bin/python3
# ctl_reference.py: Debian's patronictl for many calls.  Each line of standard
# input is {"args": [...], "input": text, "environment": {...}}, each answer a
# line {"status", "out", "err"}.  Every call has a process of its own, forked
# from this one, which has loaded everything already: that is what takes long.
import json
import os
import sys
import tempfile

import dateutil.parser  # noqa: F401
import patroni.dcs.etcd3  # noqa: F401
import patroni.request  # noqa: F401
from patroni.ctl import ctl


def call(request):
    files = [tempfile.TemporaryFile() for _ in range(3)]
    files[0].write(request.get('input', '').encode())
    files[0].seek(0)
    pid = os.fork()
    if pid == 0:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        for number, mode in ((0, 'r'), (1, 'w'), (2, 'w')):
            setattr(sys, ('stdin', 'stdout', 'stderr')[number], open(number, mode, encoding='utf-8', closefd=False))
        os.environ.update(request.get('environment', {}))
        status = 1
        try:
            ctl(request['args'], prog_name='patronictl')
            status = 0
        except SystemExit as e:
            status = e.code if isinstance(e.code, int) else 1
        except BaseException as e:
            print('exception', type(e), e, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    status = os.waitpid(pid, 0)[1]
    texts = []
    for file in files[1:]:
        file.seek(0)
        texts.append(file.read().decode('utf-8', 'replace'))
        file.close()
    files[0].close()
    return {'status': status >> 8, 'out': texts[0], 'err': texts[1]}


for line in sys.stdin:
    print(json.dumps(call(json.loads(line))), flush=True)
