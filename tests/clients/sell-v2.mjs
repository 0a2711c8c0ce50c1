// Sells GET /paid for $0.01 on Base Sepolia with the published v2 middleware for Express:
//   node sell-v2.mjs FACILITATOR PAY_TO [TOKEN]
// Prints one line {"port":N} when it listens, and ends with its standard input.
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";

const [url, payTo, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const createAuthHeaders = async () => ({ verify: headers, settle: headers, supported: headers });
const facilitator = new HTTPFacilitatorClient({ url, createAuthHeaders });
const server = new x402ResourceServer(facilitator).register("eip155:84532", new ExactEvmScheme());
const accepts = { scheme: "exact", price: "$0.01", network: "eip155:84532", payTo };

const app = express();
app.use(paymentMiddleware({ "GET /paid": { accepts, description: "a page" } }, server));
app.get("/paid", (_, response) => response.send("hello from Express"));
const listener = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: listener.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
