import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../src/postgres/port.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export type DevServer = { readonly url: string; stop(): Promise<void> };

/**
 * Starts what `npm run studio` starts, in a copy of the project: the server writes into the folder that it serves,
 * and starts again whenever a source file is saved.
 */
export async function startDevServer(env: NodeJS.ProcessEnv): Promise<DevServer> {
  const folder = await copyOfProject();
  const port = await freePort();
  const server = spawn(process.execPath, ["scripts/studio.js", "--port", String(port)], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    // It starts processes of its own; as a group, they end together.
    detached: true,
  });
  const stop = async () => {
    await endGroup(server);
    await rm(folder, { recursive: true, force: true });
  };
  await isReady(server).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url: `http://127.0.0.1:${port}`, stop };
}

async function copyOfProject(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "loregraph-studio-")));
  const parts = ["langgraph.json", "package.json", ".gitignore", "scripts", "src", "graphs", "checkpoints"];
  for (const part of parts) await cp(join(root, part), join(folder, part), { recursive: true });
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** Resolves when the server says so; rejects with all that it said when it fails instead. */
function isReady(server: ChildProcess): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    const listen = (chunk: Buffer) => {
      said += chunk;
      if (said.includes("Server running at")) resolve();
      else if (said.includes("Error")) reject(new Error(`the dev server failed:\n${said}`));
    };
    server.stdout?.on("data", listen);
    server.stderr?.on("data", listen);
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`the dev server ended with code ${code}:\n${said}`)));
  });
}

/** Waits until the last of the group is gone, for until then they write. */
async function endGroup(server: ChildProcess): Promise<void> {
  const closed = server.exitCode === null && server.signalCode === null ? once(server, "close") : undefined;
  if (server.pid !== undefined) kill(-server.pid, "SIGKILL");
  await closed;
}

function kill(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(group, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
