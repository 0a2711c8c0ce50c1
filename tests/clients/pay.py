# Pays URL with the published Python client, configured with nothing but a key:
#   EVM_PRIVATE_KEY=0x... python3 pay.py URL [BODY]
# With BODY it posts JSON. Prints one line {status, body, receipt} or {error}; exits 0 on 2xx.
import json
import os
import sys

from eth_account import Account
from x402 import x402ClientSync
from x402.http import decode_payment_response_header
from x402.http.clients.requests import x402_requests
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client


def pay(url, body=None):
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
