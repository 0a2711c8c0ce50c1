// As sell-v2.mjs, and has GET /users/:id and POST /orders listed by the facilitator, by the published
// extension "bazaar":
//   node sell-listed.mjs FACILITATOR PAY_TO [TOKEN]
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { declareDiscoveryExtension } from "@x402/extensions/bazaar";
import express from "express";

const [url, payTo, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const createAuthHeaders = async () => ({ verify: headers, settle: headers, supported: headers });
const facilitator = new HTTPFacilitatorClient({ url, createAuthHeaders });
const server = new x402ResourceServer(facilitator).register("eip155:84532", new ExactEvmScheme());
const accepts = { scheme: "exact", price: "$0.01", network: "eip155:84532", payTo };

const user = declareDiscoveryExtension({
  input: { verbose: "true" },
  inputSchema: { properties: { verbose: { type: "string" } } },
  output: { example: { name: "Ada" } },
});
const order = declareDiscoveryExtension({
  bodyType: "json",
  input: { item: "tea" },
  inputSchema: { type: "object", properties: { item: { type: "string" } }, required: ["item"] },
});
const routes = {
  "GET /users/:id": { accepts, description: "a user", mimeType: "application/json", extensions: user },
  "POST /orders": { accepts, description: "an order", extensions: order },
};
const app = express();
app.use(paymentMiddleware(routes, server));
app.get("/users/:id", (_, response) => response.send("a user"));
app.post("/orders", (_, response) => response.send("an order"));
const listener = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: listener.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
