"""Sends GET requests with requests.Session, in batches of the sizes on standard input."""

import sys
from concurrent.futures import ThreadPoolExecutor

import requests

url, callers, ca, certificate, key = sys.argv[1:]
authorization = sys.stdin.readline().strip()


def new_session():
    session = requests.Session()
    session.verify = ca
    session.cert = (certificate, key)
    session.headers.update({"Authorization": authorization, "x-ms-tokenboundauth": "true"})
    return session


def get(session, count):
    for _ in range(count):
        response = session.get(url)
        assert response.status_code == 200
        assert response.content


sessions = [new_session() for _ in range(int(callers))]
with ThreadPoolExecutor(len(sessions)) as pool:
    print("done", flush=True)
    for line in sys.stdin:
        count = int(line)
        if len(sessions) == 1:
            get(sessions[0], count)
        else:
            list(pool.map(lambda one: get(one, count), sessions))
        print("done", flush=True)
