"""GETs by requests.Session, in batches, as standard input says."""

import sys
from concurrent.futures import ThreadPoolExecutor

import requests

url, callers, ca, certificate, key = sys.argv[1:]
authorization = sys.stdin.readline().strip()


def session():
    made = requests.Session()
    made.verify = ca
    made.cert = (certificate, key)
    made.headers.update({"Authorization": authorization, "x-ms-tokenboundauth": "true"})
    return made


def get(session, count):
    for _ in range(count):
        answer = session.get(url)
        assert answer.status_code == 200
        assert answer.content


sessions = [session() for _ in range(int(callers))]
with ThreadPoolExecutor(len(sessions)) as pool:
    print("done", flush=True)
    for line in sys.stdin:
        count = int(line)
        if len(sessions) == 1:
            get(sessions[0], count)
        else:
            list(pool.map(lambda one: get(one, count), sessions))
        print("done", flush=True)
