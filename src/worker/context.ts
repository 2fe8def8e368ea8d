import type { CheckpointWriter } from "../../checkpoints/writer.ts";
import type { Pool } from "../db.ts";
import type { Lease } from "../ledger/run.ts";
import type { Models } from "../models/models.ts";
import type { Registry } from "../registry.ts";
import type { Log } from "../telemetry/log.ts";

/** What every attempt of a worker shares. */
export type Context = {
  readonly pool: Pool;
  readonly schema: string;
  /** Writes the checkpoints of all graphs of this process. */
  readonly checkpoints: CheckpointWriter;
  readonly registry: Registry;
  readonly models: Models;
  readonly log: Log;
  /** Resolves while an attempt surely holds its lease, and throws where it does not. A worker lends it to its attempts. */
  readonly sure?: (lease: Lease) => Promise<void>;
  /** Hears that an attempt has worked, and only its ending is to be committed. A worker lends it, too. */
  readonly worked?: (lease: Lease) => void;
};
