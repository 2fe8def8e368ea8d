import { type LookupAddress, lookup } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";
import { LoregraphError } from "../errors.ts";

/** Every address of IPv4 that is not one host on the public internet: IANA's special-purpose registry, and a cloud's own. */
const specialV4 = blockList("ipv4", [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // carriers; Alibaba's metadata
  ["127.0.0.0", 8], // loopback
  ["168.63.129.16", 32], // Azure's host
  ["169.254.0.0", 16], // link-local; the metadata of most clouds
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocols; Oracle's metadata
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 3], // multicast, reserved, broadcast
]);

/** Of IPv6 only what is given out for the internet may be public: that leaves out mapped IPv4, local and translated. */
const globalV6 = blockList("ipv6", [["2000::", 3]]);
const specialV6 = blockList("ipv6", [
  ["2001::", 23], // protocols, Teredo among them
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4, which holds any IPv4
  ["3fff::", 20], // documentation
]);

function blockList(family: "ipv4" | "ipv6", subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, bits] of subnets) list.addSubnet(network, bits, family);
  return list;
}

/** Is it the address of one host on the public internet? */
export function isPublic(address: string): boolean {
  if (isIPv6(address)) return globalV6.check(address, "ipv6") && !specialV6.check(address, "ipv6");
  return isIP(address) === 4 && !specialV4.check(address, "ipv4");
}

/**
 * Resolves a name for a connection that is about to be made, to its public addresses only: what the name meant when
 * the webhook was made says nothing about where it leads now. Fails with WEBHOOK_FAILED where there are none.
 */
export function publicLookup(resolve: typeof lookup = lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isPublic(address));
      answer(allowed, options.all === true, callback);
    });
  };
}

function answer(
  [first, ...rest]: readonly LookupAddress[],
  all: boolean,
  callback: Parameters<LookupFunction>[2],
): void {
  if (first === undefined) callback(notPublic(), []);
  else if (all) callback(null, [first, ...rest]);
  else callback(null, first.address, first.family);
}

/** Does the URL hold an address that is not public? Of a host's name, nothing can be said before its lookup. */
export function holdsPrivateAddress({ hostname }: URL): boolean {
  const address = hostname.replace(/^\[|\]$/g, "");
  return isIP(address) !== 0 && !isPublic(address);
}

export function notPublic(): LoregraphError {
  return new LoregraphError(
    "WEBHOOK_FAILED",
    "the subscriber's address is not a public one: LOREGRAPH_WEBHOOK_PRIVATE lets webhooks go there",
  );
}
