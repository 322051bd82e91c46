#!/usr/bin/env python3
"""An independent implementation of the services, written from the protocol alone: the metadata service (v2, plain HTTP), a
token endpoint and a resource (both HTTPS with client certificates).

The first line on standard output is JSON: the CA file and one service set that is ready. Each line on standard input is a
command, and each response is one line:

    {"open": {"forms": ["chunked"], "tls": "1.2", "host": "127.0.0.1", "issuer": "rsa"}}   starts a service set
    {"log": 1}                                                                             returns the requests received
    {"close": 1}                                                                           closes the service set

The process ends at the end of standard input. It needs Python 3.11 and `cryptography`.
"""

import itertools
import json
import sys
import tempfile

from pki import Pki
from service_set import ServiceSet


class ServiceSets:
    def __init__(self, pki):
        self._pki = pki
        self._sets = {}
        self._numbers = itertools.count(1)

    def open(self, settings):
        number = next(self._numbers)
        self._sets[number] = ServiceSet(self._pki, **settings)
        return {"service_set": number, **self._sets[number].describe()}

    def log(self, number):
        return self._sets[number].log()

    def close(self, number):
        self._sets.pop(number).close()
        return {}

    def command(self, line):
        try:
            [(name, argument)] = json.loads(line).items()
            commands = {"open": self.open, "log": self.log, "close": self.close}
            return commands[name](argument)
        except (KeyError, TypeError, ValueError) as error:
            return {"error": repr(error)}


def main():
    with tempfile.TemporaryDirectory(prefix="keybound-foreign-") as folder:
        pki = Pki(folder)
        sets = ServiceSets(pki)
        write_line({"event": "ready", "ca_file": pki.ca_file, **sets.open({})})
        for line in sys.stdin:
            write_line(sets.command(line))


def write_line(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
