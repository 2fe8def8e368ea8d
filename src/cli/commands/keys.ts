import { Command, Option } from "@commander-js/extra-typings";
import { LoregraphError } from "../../errors.ts";
import { type Key, listKeys, type MadeKey, makeKey, type NewKey, revokeKey } from "../../keys/keys.ts";
import { ago, brief, print, table } from "../output.ts";
import { exampleText, newCommand, tenantOption, uuid } from "../program.ts";
import { withSession } from "../session.ts";

export const command = () =>
  new Command("keys")
    .description("make, list or revoke keys of the HTTP API")
    .addHelpText("after", exampleText("loregraph keys create --name me --admin"))
    .addCommand(create())
    .addCommand(list())
    .addCommand(revoke());

const create = () =>
  newCommand(
    "create",
    "make a key; its token is printed this once",
    "loregraph keys create --name product --tenant <uuid> --scope write --expires 30d",
  )
    .requiredOption("--name <text>", "what it is for")
    .option("--admin", "it may do everything, for all tenants")
    .addOption(tenantOption())
    .addOption(
      new Option("--scope <scope>", "what it may do for that tenant").choices(["read", "write"] as const),
    )
    .option("--expires <time>", "how long it lives, such as 30d, 12h or 15m; default: for good", lifetime)
    .action(async ({ json, ...options }) => {
      const wanted = newKey(options);
      await withSession(async ({ pool }) => {
        const made = await makeKey(pool, wanted);
        if (!json) process.stderr.write(`${told(made)}\n`);
        print(made, json, ({ token }) => token);
      });
    });

const list = () =>
  newCommand("list", "list all keys, newest first", "loregraph keys list").action(async ({ json }) => {
    await withSession(async ({ pool }) => print(await listKeys(pool), json, asText));
  });

const revoke = () =>
  newCommand("revoke", "make a key useless, for good", "loregraph keys revoke <id>")
    .argument("<id>", "the key's id", uuid("the key's id"))
    .action(async (id, { json }) => {
      await withSession(async ({ pool }) =>
        print(await revokeKey(pool, id), json, ({ name }) => `revoked ${brief(name)}; it stops within 5 s`),
      );
    });

type Options = {
  readonly name: string;
  readonly admin?: true | undefined;
  readonly tenant?: string | undefined;
  readonly scope?: "read" | "write" | undefined;
  readonly expires?: number | undefined;
};

/** An admin's key is of no tenant; every other is of one, and says what it may do there. */
function newKey({ name, admin, tenant, scope, expires: expiresInMs }: Options): NewKey {
  if (admin && tenant === undefined && scope === undefined)
    return { name, scope: "admin", tenant_id: null, expiresInMs };
  if (!admin && tenant !== undefined && scope !== undefined)
    return { name, scope, tenant_id: tenant, expiresInMs };
  throw invalid("expected either --admin alone, or --tenant with --scope");
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `30d`, `12h` or `15m` as milliseconds, up to ten years. */
function lifetime(value: string): number {
  const [, count = "", unit = ""] = /^([1-9]\d{0,6})([mhd])$/.exec(value) ?? [];
  const ms = Number(count) * (units[unit] ?? Number.NaN);
  if (ms <= 3_650 * 86_400_000) return ms;
  throw invalid(`expected --expires to be such as 30d, 12h or 15m, at most 3650d, got: ${value}`);
}

function invalid(message: string): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message);
}

function told({ key }: MadeKey): string {
  const until = key.expires_at ? `until ${key.expires_at.toISOString()}` : "until it is revoked";
  return `key ${key.id} for ${allowed(key)}, ${until}; its token is shown this once:`;
}

function asText(keys: readonly Key[]): string {
  if (keys.length === 0) return "no keys yet; `loregraph keys create` makes one";
  const rows = keys.map((key) => [key.id, brief(key.name, 40), allowed(key), stateOf(key), usedText(key)]);
  return table(["id", "name", "may", "is", "last used"], rows);
}

function allowed({ scope, tenant_id }: Key): string {
  return tenant_id === null ? scope : `${scope} ${tenant_id}`;
}

function stateOf({ revoked_at, expires_at }: Key): string {
  if (revoked_at) return "revoked";
  if (!expires_at) return "valid";
  return expires_at < new Date() ? "expired" : `valid until ${expires_at.toISOString().slice(0, 10)}`;
}

function usedText({ last_used_at }: Key): string {
  return last_used_at ? `${ago(last_used_at)} ago` : "never";
}
