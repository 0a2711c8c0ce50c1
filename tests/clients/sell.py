# Sells GET /paid for $0.01 on Base Sepolia with the published Python middleware for Flask:
#   python3 sell.py FACILITATOR PAY_TO
# Prints one line {"port": N} when it listens, and ends with its standard input.
import json
import os
import sys
import threading

from flask import Flask
from werkzeug.serving import make_server
from x402.http import FacilitatorConfig, HTTPFacilitatorClientSync
from x402.http.middleware.flask import payment_middleware_from_config
from x402.mechanisms.evm.exact import ExactEvmServerScheme

url, pay_to = sys.argv[1:]
app = Flask("shop")
accepts = {"scheme": "exact", "price": "$0.01", "network": "eip155:84532", "payTo": pay_to}
payment_middleware_from_config(
    app,
    {"GET /paid": {"accepts": accepts, "description": "a page"}},
    HTTPFacilitatorClientSync(FacilitatorConfig(url=url)),
    [{"network": "eip155:84532", "server": ExactEvmServerScheme()}],
)


@app.get("/paid")
def paid():
    return "hello from Flask"


server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.port}), flush=True)
sys.stdin.read()
os._exit(0)
