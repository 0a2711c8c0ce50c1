# Pays URL with the published Python client, configured with nothing but a key:
#   EVM_PRIVATE_KEY=0x... python3 pay.py URL [BODY]
# With BODY it posts JSON. Prints one line {status, body, receipt} or {error}; exits 0 on 2xx.
import json
import os
import re
import sys

from eth_account import Account
from x402 import x402ClientSync
from x402.http import decode_payment_response_header
from x402.http.clients.requests import x402_requests
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client


def check(url):
    if not re.fullmatch("0x[0-9a-fA-F]{64}", os.environ.get("EVM_PRIVATE_KEY", "")):
        raise ValueError("set EVM_PRIVATE_KEY to the payer's private key: 0x and 64 hex digits")
    if not url:
        raise ValueError("name the URL to pay for: python3 pay.py URL [BODY]")


def pay(url=None, body=None):
    check(url)
    client = x402ClientSync()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key(os.environ["EVM_PRIVATE_KEY"])))
    with x402_requests(client) as session:
        if body is None:
            response = session.get(url)
        else:
            response = session.post(url, data=body.encode(), headers={"content-type": "application/json"})
    header = response.headers.get("payment-response")
    receipt = decode_payment_response_header(header).model_dump(mode="json") if header else None
    response.encoding = "utf-8"
    return {"status": response.status_code, "body": response.text, "receipt": receipt}


try:
    result = pay(*sys.argv[1:])
except Exception as error:
    result = {"error": repr(error)}
print(json.dumps(result))
sys.exit(0 if 200 <= result.get("status", 0) < 300 else 1)
