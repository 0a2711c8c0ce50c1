"""Keystores as eth-account writes and reads them: seal FILE KEY PASSWORD KDF COST, open FILE PASSWORD."""

import json
import sys

from eth_account import Account

verb, file, *rest = sys.argv[1:]
if verb == "seal":
    key, password, kdf, cost = rest
    with open(file, "w") as out:
        json.dump(Account.encrypt(key, password, kdf=kdf, iterations=int(cost)), out)
else:
    (password,) = rest
    with open(file) as text:
        print("0x" + Account.decrypt(json.load(text), password).hex().removeprefix("0x"))
