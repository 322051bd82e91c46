#!/usr/bin/env python3
"""The services that Keybound speaks to, written from the protocol alone and in another language: the metadata service
(v2, plain HTTP), a token endpoint and a resource (both HTTPS with client certificates).

The first line on standard output is JSON: the CA file and one ready world. Each line on standard input is a command,
answered by one line:

    {"open": {"forms": ["chunked"], "tls": "1.2", "host": "127.0.0.1", "issuer": "rsa"}}   a world of its own
    {"fault": {"world": 1, "leg": "token", "fault": {"status": 502}}}                      null heals the leg
    {"log": 1}                                                                             what was asked of it
    {"close": 1}

It ends when standard input does. It needs Python 3.11 and `cryptography`.
"""

import itertools
import json
import sys
import tempfile

from pki import Pki
from world import World


class Services:
    def __init__(self, pki):
        self._pki = pki
        self._worlds = {}
        self._numbers = itertools.count(1)

    def open(self, settings):
        number = next(self._numbers)
        self._worlds[number] = World(self._pki, **settings)
        return {"world": number, **self._worlds[number].describe()}

    def fault(self, settings):
        self._worlds[settings["world"]].set_fault(settings["leg"], settings["fault"])
        return {}

    def log(self, number):
        return self._worlds[number].log()

    def close(self, number):
        self._worlds.pop(number).close()
        return {}

    def command(self, line):
        try:
            [(name, argument)] = json.loads(line).items()
            commands = {"open": self.open, "fault": self.fault, "log": self.log, "close": self.close}
            return commands[name](argument)
        except (KeyError, TypeError, ValueError) as error:
            return {"error": repr(error)}


def main():
    with tempfile.TemporaryDirectory(prefix="keybound-foreign-") as folder:
        pki = Pki(folder)
        services = Services(pki)
        say({"event": "ready", "ca_file": pki.ca_file, **services.open({})})
        for line in sys.stdin:
            say(services.command(line))


def say(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
