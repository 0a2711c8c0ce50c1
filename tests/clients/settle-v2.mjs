// Verifies and settles on a local chain with the published facilitator of v2:
//   node settle-v2.mjs RPC KEY
// Prints one line {"port":N} when it listens, and ends with its standard input.
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import express from "express";
import { createWalletClient, http, nonceManager, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

const [rpc, key] = process.argv.slice(2);
const account = privateKeyToAccount(key, { nonceManager });
const client = createWalletClient({ account, chain: baseSepolia, transport: http(rpc), pollingInterval: 100 });
const wallet = client.extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  getCode: (args) => wallet.getCode(args),
  readContract: (args) => wallet.readContract({ ...args, args: args.args ?? [] }),
  verifyTypedData: (args) => wallet.verifyTypedData(args),
  writeContract: (args) => wallet.writeContract({ ...args, args: args.args ?? [] }),
  sendTransaction: (args) => wallet.sendTransaction(args),
  waitForTransactionReceipt: (args) => wallet.waitForTransactionReceipt(args),
});
const facilitator = registerExactEvmScheme(new x402Facilitator(), { signer, networks: "eip155:84532" });

const app = express();
app.use(express.json());
for (const does of ["verify", "settle"]) {
  app.post(`/${does}`, async (request, response) => {
    const { paymentPayload, paymentRequirements } = request.body;
    try {
      response.json(await facilitator[does](paymentPayload, paymentRequirements));
    } catch (error) {
      response.status(500).json({ error: String(error) });
    }
  });
}
app.get("/supported", (_, response) => response.json(facilitator.getSupported()));
const listener = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: listener.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
