// Pays URL with the published v1 client, configured with nothing but a key:
//   EVM_PRIVATE_KEY=0x... node pay-v1.mjs URL [BODY]
// With BODY it posts JSON. Prints one line {status, body, receipt} or {error}; exits 0 on 2xx.
import { privateKeyToAccount } from "viem/accounts";
import { decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

function check(url) {
  if (!/^0x[0-9a-f]{64}$/i.test(process.env.EVM_PRIVATE_KEY ?? "")) {
    throw new Error("set EVM_PRIVATE_KEY to the payer's private key: 0x and 64 hex digits");
  }
  if (!url) throw new Error("name the URL to pay for: node pay-v1.mjs URL [BODY]");
}

async function pay(url, body) {
  check(url);
  const account = privateKeyToAccount(process.env.EVM_PRIVATE_KEY);
  const post = { method: "POST", headers: { "content-type": "application/json" }, body };
  const response = await wrapFetchWithPayment(fetch, account)(url, body ? post : undefined);
  const header = response.headers.get("x-payment-response");
  const receipt = header ? decodeXPaymentResponse(header) : null;
  return { status: response.status, body: await response.text(), receipt };
}

const [url, body] = process.argv.slice(2);
const result = await pay(url, body).catch((error) => ({ error: String(error) }));
console.log(JSON.stringify(result));
process.exitCode = result.status >= 200 && result.status < 300 ? 0 : 1;
