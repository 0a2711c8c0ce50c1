// Prints what the published packages write, as vectors for the wire crate:
//   node vectors.mjs > crates/wire/testdata/published.json
// The key is the public test mnemonic's third; nonces and times are the packages' own.
import { readFileSync } from "node:fs";
import { encodePaymentRequiredHeader, encodePaymentResponseHeader } from "@x402/core/http";
import { ExactEvmScheme } from "@x402/evm";
import { wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";
import { wrapFetchWithPayment } from "x402-fetch";

const account = privateKeyToAccount("0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a");
const payTo = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const url = "http://127.0.0.1:8080/services/demo-hello/";
const extra = { name: "USDC", version: "2" };
const required = {
  x402Version: 2,
  error: "PAYMENT-SIGNATURE header is required",
  resource: { url, description: "hello", mimeType: "application/json" },
  accepts: [
    { scheme: "exact", network: "eip155:84532", amount: "10000", asset, payTo, maxTimeoutSeconds: 300, extra },
  ],
};
const requiredV1 = {
  x402Version: 1,
  error: "X-PAYMENT header is required",
  accepts: [
    {
      scheme: "exact", network: "base-sepolia", maxAmountRequired: "10000", resource: url, description: "hello",
      mimeType: "application/json", payTo, maxTimeoutSeconds: 300, asset, extra,
    },
  ],
};

// Answers the first request with a challenge and keeps the header of the second.
function seller(header, body, name) {
  const seen = {};
  const answer = async (input, init) => {
    const sent = new Request(input, init).headers.get(name);
    if (sent) {
      seen.payment = sent;
      return new Response("{}", { status: 200 });
    }
    return new Response(JSON.stringify(body), {
      status: 402,
      headers: header ? { "PAYMENT-REQUIRED": header } : {},
    });
  };
  return { seen, answer };
}

const version = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const challengeV2 = encodePaymentRequiredHeader(required);
const v2 = seller(challengeV2, {}, "payment-signature");
const schemes = [{ network: "eip155:*", client: new ExactEvmScheme(account) }];
await wrapFetchWithPaymentFromConfig(v2.answer, { schemes })(url);
const v1 = seller(null, requiredV1, "x-payment");
await wrapFetchWithPayment(v1.answer, account)(url);

const transaction = "0x" + "ab".repeat(32);
const settled = { success: true, transaction, network: "eip155:84532", payer: account.address };
const pending = { success: false, errorReason: "settlement_pending", transaction, network: "eip155:84532", payer: account.address };
const failed = { success: false, errorReason: "insufficient_funds", transaction: "", network: "base-sepolia" };

console.log(JSON.stringify({
  from: Object.fromEntries(["@x402/core", "@x402/fetch", "@x402/evm", "x402-fetch"].map((name) => [name, version(name)])),
  payer: account.address,
  challenge_v2_header: challengeV2,
  challenge_v1_body: JSON.stringify(requiredV1),
  payment_v2_header: v2.seen.payment,
  payment_v1_header: v1.seen.payment,
  receipt_settled: encodePaymentResponseHeader(settled),
  receipt_pending: encodePaymentResponseHeader(pending),
  receipt_failed_v1: encodePaymentResponseHeader(failed),
}, null, 1));
