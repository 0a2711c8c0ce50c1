// Sells GET /paid for $0.01 on Base Sepolia with the published v1 middleware for Express:
//   node sell-v1.mjs FACILITATOR PAY_TO
// Prints one line {"port":N} when it listens, and ends with its standard input.
import express from "express";
import { paymentMiddleware } from "x402-express";

const [url, payTo] = process.argv.slice(2);
const app = express();
app.use(paymentMiddleware(payTo, { "GET /paid": { price: "$0.01", network: "base-sepolia" } }, { url }));
app.get("/paid", (_, response) => response.send("hello from Express"));
const listener = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: listener.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
