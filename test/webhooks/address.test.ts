import type { LookupAddress, lookup } from "node:dns";
import { describe, expect, test } from "vitest";
import { holdsPrivateAddress, isPublic, publicLookup } from "../../src/webhooks/address.ts";

describe("an address", () => {
  test.each([
    ["10.1.2.3", "private"],
    ["100.100.100.200", "a carrier's, and Alibaba's metadata"],
    ["127.0.0.1", "loopback"],
    ["0.0.0.0", "this host"],
    ["168.63.129.16", "Azure's host"],
    ["169.254.169.254", "the metadata of most clouds"],
    ["172.16.0.1", "private"],
    ["172.31.255.255", "private"],
    ["192.0.0.192", "Oracle's metadata"],
    ["192.168.1.1", "private"],
    ["198.18.0.1", "a benchmark's"],
    ["224.0.0.1", "multicast"],
    ["255.255.255.255", "broadcast"],
    ["::", "no host"],
    ["::1", "loopback"],
    ["::ffff:127.0.0.1", "loopback, mapped"],
    ["::ffff:7f00:1", "loopback, mapped, in hexadecimal"],
    ["::ffff:169.254.169.254", "metadata, mapped"],
    ["::ffff:93.184.216.34", "mapped, which no name resolves to"],
    ["::127.0.0.1", "loopback, compatible"],
    ["64:ff9b::7f00:1", "loopback, translated"],
    ["2002:7f00:1::", "loopback, by 6to4"],
    ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"],
    ["2001:db8::1", "a document's"],
    ["fd00:ec2::254", "Amazon's metadata"],
    ["fe80::1", "link-local"],
    ["fe80::1%eth0", "link-local, with its zone"],
    ["ff02::1", "multicast"],
    ["example.org", "no address"],
    ["", "nothing"],
  ])("%s is not public: it is %s", (address) => {
    expect(isPublic(address)).toBe(false);
  });

  test.each([
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:830::200e",
  ])("%s is public", (address) => {
    expect(isPublic(address)).toBe(true);
  });
});

describe("a URL", () => {
  test.each([
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://[::1]:8080/",
    "http://[::ffff:169.254.169.254]/",
    "http://[0:0:0:0:0:ffff:a00:1]/",
    "http://１２７.０.０.１/",
  ])("that holds a private address in whatever form is told: %s", (url) => {
    expect(holdsPrivateAddress(new URL(url))).toBe(true);
  });

  test.each(["https://example.org/hook", "https://1.1.1.1/hook", "https://[2606:4700:4700::1111]/"])(
    "that holds none is not: %s",
    (url) => {
      expect(holdsPrivateAddress(new URL(url))).toBe(false);
    },
  );
});

/** A resolver that answers these addresses, one list each time that it is asked. */
function resolving(...answers: readonly (readonly string[])[]): typeof lookup {
  let asked = 0;
  const resolve = (_name: string, _options: object, callback: (e: null, found: LookupAddress[]) => void) => {
    const addresses = answers[asked++] ?? [];
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  return resolve as unknown as typeof lookup;
}

type Found = { readonly error: unknown; readonly found: string | LookupAddress[] };

function ask(lookUp: ReturnType<typeof publicLookup>, all: boolean): Promise<Found> {
  return new Promise((resolve) => {
    lookUp("example.org", { all }, (error, found) => resolve({ error, found }));
  });
}

describe("a lookup", () => {
  test("finds public addresses, and passes over the others", async () => {
    const lookUp = publicLookup(resolving(["10.0.0.1", "1.1.1.1", "::1", "2606:4700:4700::1111"]));

    expect(await ask(lookUp, true)).toEqual({
      error: null,
      found: [
        { address: "1.1.1.1", family: 4 },
        { address: "2606:4700:4700::1111", family: 6 },
      ],
    });
  });

  test("finds one where one is asked for", async () => {
    expect(await ask(publicLookup(resolving(["127.0.0.1", "1.1.1.1"])), false)).toEqual({
      error: null,
      found: "1.1.1.1",
    });
  });

  test("refuses a name that was public when it was asked for the last time", async () => {
    const rebound = publicLookup(resolving(["1.1.1.1"], ["169.254.169.254"]));

    expect(await ask(rebound, true)).toMatchObject({ error: null });
    expect(await ask(rebound, true)).toMatchObject({ error: { code: "WEBHOOK_FAILED" }, found: [] });
  });
});
