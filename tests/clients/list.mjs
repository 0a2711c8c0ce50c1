// Lists what a facilitator knows of, with the published client:
//   node list.mjs FACILITATOR [PARAMS]
// PARAMS is JSON. Prints one line: what supported and listResources answer, or {error}.
import { HTTPFacilitatorClient } from "@x402/core/server";
import { withBazaar } from "@x402/extensions/bazaar";

const [url, params] = process.argv.slice(2);

async function list() {
  const client = withBazaar(new HTTPFacilitatorClient({ url }));
  const { extensions } = await client.getSupported();
  return { extensions, listed: await client.extensions.bazaar.listResources(JSON.parse(params ?? "{}")) };
}

console.log(JSON.stringify(await list().catch((error) => ({ error: String(error) }))));
